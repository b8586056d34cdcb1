"""f2c: `bin/f2c` for the building machine, and its library for the guest, `lib/libf2c.a` with `include/f2c.h`."""

import shutil

from building import fortran, modules
from shared.steps import need

# Programs that find out about a machine, and what a guest has not: arguments, signals, processes, processor times, tails of files.
LEFT_OUT = {"arithchk", "main", "uninit", "getarg_", "iargc_", "getenv_", "signal_", "system_", "s_paus", "dtime_", "etime_",
            "ftell64_", "pow_qq", "qbitbits", "qbitshft"}
# What arithchk would say.
ARITHMETIC = "#define IEEE_8087\n#define Arith_Kind_ASL 1\n"


def build(build, folder, context):
    room = modules.unpack(context.debian("f2c"), folder)
    source = room / "src"
    # The machine's own settings would be looked for by compiling a test: mkdtemp has been everywhere for decades.
    (source / "sysdep.hd").write_text("/*OK*/\n")
    tokens = (source / "tokens").read_text().split()
    (source / "tokdefs.h").write_text("".join(f"#define {name} {number}\n" for number, name in enumerate(tokens, 1)))
    left_out = {"malloc.c", "memset.c", "sysdeptest.c", "xsum.c"}
    files = [path for path in sorted(source.glob("*.c")) if path.name not in left_out]
    (folder / "bin").mkdir()
    build.run([need("cc", "build-essential"), "-O1", "-std=gnu89", "-w", f"-I{source}", "-o", folder / "bin/f2c", *files],
              folder / "log")
    (folder / "include").mkdir()
    # A procedure of which it is not known whether it is a subroutine is one.
    modules.replace(room / "f2c.h", ("typedef int /* Unknown procedure type */ (*U_fp)", "typedef /* Subroutine */ int (*U_fp)", 2))
    (folder / "include/f2c.h").write_text(fortran.signatures((room / "f2c.h").read_text()))
    shutil.rmtree(room)
    _library(folder, context)


def _library(folder, context):
    room = modules.unpack(context.debian("libf2c2"), folder)
    for name in ("f2c", "signal1", "sysdep1"):
        shutil.copyfile(room / f"{name}.h0", room / f"{name}.h")
    (room / "arith.h").write_text(ARITHMETIC)
    # Scratch files: WASI has no tmpfile(), so they cannot be opened, which Fortran can say.
    modules.replace(room / "endfile.c", ("extern FILE *tmpfile();", "#define tmpfile() ((FILE *)0)"))
    modules.replace(room / "open.c", ("b->ufd = tmpfile()", "b->ufd = (FILE *)0"))
    files = [path for path in sorted(room.glob("*.c")) if path.stem not in LEFT_OUT]
    flags = [*fortran.CFLAGS, "-DNON_UNIX_STDIO", "-DSkip_f2c_Undefs", f"-I{room}"]
    context.compiler.archive(folder, "libf2c.a", files, flags)
    shutil.rmtree(room)
    shutil.rmtree(folder / "obj")
