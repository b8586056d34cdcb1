"""CPython itself: a native one to build with, the static library for WASI."""

import os
import shutil
import subprocess
import tarfile

from shared.compile import CFLAGS
from shared.steps import RecipeError

from . import faster

MINOR = "3.13"

# Built by make besides libpython itself: archives that it does not contain.
ARCHIVES = ["libpython3.13.a", "Modules/_decimal/libmpdec/libmpdec.a", "Modules/_hacl/libHacl_Hash_SHA2.a",
            "Modules/expat/libexpat.a"]

# Limits on recursion in C, fitted to the 4 MiB of native stack that the gateway gives a guest: (file, line, new line).
# Upstream's guess for WASI is 5000 nested calls (2500 leaves functions under lru_cache the depth they have
# elsewhere), and a parser stack that is smaller than on other platforms.
LIMITS = [
    ("Include/cpython/pystate.h", "#  define Py_C_RECURSION_LIMIT 5000", "#  define Py_C_RECURSION_LIMIT 2500"),
    ("Parser/parser.c", "#    define MAXSTACK 4000", "#    define MAXSTACK 6000"),
]

# CPython's configure adds -fno-strict-overflow, which in clang 20 and later lets pointers wrap too: then no constant offset
# can go into a load or store. Only integers need to wrap.
POINTERS = ["-fwrapv", "-fno-wrapv-pointer"]
# Static functions go by their file's name without its folder, which differs from machine to machine.
PROFILE_NAMES = ["-mllvm", "-static-func-full-module-prefix=false"]


def source(build, folder, files):
    """Unpack CPython."""
    archive = next((files.folder / "files").glob("python3.13_*.orig.tar.xz"))
    with tarfile.open(archive) as tar:
        # Debian 12's python3 has no extractall(filter=...); the archive's hash has been checked.
        tar.extractall(folder)
    unpacked = next(folder.glob("Python-*"))
    unpacked.rename(folder / "src")
    for name, before, after in LIMITS:
        _replace_line(folder / "src" / name, before, after)
    faster.apply(folder / "src")
    build.say("unpacked")


def _replace_line(path, before, after):
    text = path.read_text()
    if text.count(before) != 1:
        raise RecipeError(f"{path.name} does not have the line {before!r} that the recipe changes")
    path.write_text(text.replace(before, after))


def native_on_path():
    """The machine's own python3.13, or None. It only freezes modules and compiles bytecode."""
    for name in (f"python{MINOR}", "python3"):
        program = shutil.which(name)
        check = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
        if program:
            answer = subprocess.run([program, "-I", "-c", check], capture_output=True, text=True)
            version, _, path = answer.stdout.strip().partition(" ")
            if answer.returncode == 0 and version == MINOR:
                return path
    return None


def native(build, folder, cpython, compiler):
    """A python3.13 for this machine: the one on PATH, or one built from the same source."""
    (folder / "bin").mkdir()
    found = native_on_path()
    if found:
        build.say(f"using {found}")
        os.symlink(found, folder / "bin/python")
        return
    if not shutil.which("cc"):
        raise RecipeError("a C compiler is missing; install it with: apt-get install gcc libc6-dev")
    configure = [cpython.folder / "src/configure", "--disable-test-modules", "--without-ensurepip", "CFLAGS=-O1 -g0"]
    room = folder / "build"
    room.mkdir()
    build.run(configure, folder / "log", cwd=room, env={"PKG_CONFIG_LIBDIR": str(room), "CC": "cc"})
    build.run([compiler.make, f"-j{build.jobs}", "python", "pybuilddir.txt"], folder / "log", cwd=room)
    os.symlink(room / "python", folder / "bin/python")


def profile(build, folder, counts, compiler):
    """How often each path ran in training, in the compiler's form. profile/README.md says where the counts come from."""
    build.run([compiler.bin / "llvm-profdata", "merge", counts, "-o", folder / "python.profdata"], folder / "log")


def library(build, folder, cpython, native, profile, compiler):
    """libpython and its archives for wasm32-wasip1, and the configuration data that sysconfig reads."""
    source = cpython.folder / "src"
    build.run(_configure(source, native), folder / "log", cwd=folder, env=_environment(build, source, compiler))
    flags = [*POINTERS, f"-fprofile-use={profile.folder}/python.profdata", *PROFILE_NAMES, "-Wno-profile-instr-unprofiled",
             "-Wno-profile-instr-out-of-date"]
    build.run([compiler.make, f"-j{build.jobs}", f"EXTRA_CFLAGS={' '.join(flags)}", *ARCHIVES, "pybuilddir.txt"],
              folder / "log", cwd=folder)


def _configure(source, native):
    machine = subprocess.run([source / "config.guess"], capture_output=True, text=True).stdout.strip()
    # pymalloc is off for WASI by default; without it each small object is an allocation of the C library: CPU-bound code took a third longer.
    return [source / "configure", "--host=wasm32-wasi", f"--build={machine}", f"--with-build-python={native.folder}/bin/python",
            "--prefix=/usr", "--disable-test-modules", "--without-ensurepip", "--disable-ipv6", "--with-pymalloc", f"CFLAGS={' '.join(CFLAGS)}"]


def _environment(build, source, compiler):
    cc = " ".join(str(part) for part in compiler.cc)
    return {
        "CC": cc, "CPP": f"{cc} -E", "CXX": cc, "LD": str(compiler.bin / "wasm-ld"),
        "AR": str(compiler.bin / "llvm-ar"), "RANLIB": str(compiler.bin / "llvm-ranlib"),
        "CONFIG_SITE": str(source / "Tools/wasm/config.site-wasm32-wasi"),
        # The machine's own libraries are not the guest's.
        "PKG_CONFIG_LIBDIR": "/nonexistent", "PKG_CONFIG_PATH": "", "HOSTRUNNER": "false",
    }
