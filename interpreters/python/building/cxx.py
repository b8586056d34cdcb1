"""C++ for the guest, with exceptions: libc++, libc++abi and libunwind.

Debian's libc++ for wasm32 is built without exceptions, and no other package has it with them. The ziglang wheel carries the
sources of the same LLVM version as the compiler's, so they come from there.
"""

import shutil
import subprocess
import zipfile

from shared.fetch import repeat
from shared.steps import RecipeError, check_digest, need

# The standard's exception handling, which wasmtime runs, not the older proposal's that LLVM still emits by default.
EXCEPTIONS = ["-mllvm", "-wasm-use-legacy-eh=false"]

# For C that uses setjmp and longjmp.
SETJMP = ["-mllvm", "-wasm-enable-sjlj", *EXCEPTIONS]

# The sources of one LLVM release, as Zig ships them.
ROOMS = ("libcxx", "libcxxabi", "libunwind")

# Zig gives the settings by command line; ours are in a header again, so that packages need not know them.
SETTINGS_OF_ZIG = "/* zig patch: instead of including __config_site, zig adds -D flags when compiling */"
SETTINGS_OF_LIBCXX = "#include <__config_site>"

# libc++ without: what needs a file system or a time-zone database in libc++ itself, and what replaces parts of libc++abi.
LIBCXX_ROOMS = [".", "ryu"]
LIBCXX_LEFT_OUT = {"new.cpp"}
LIBCXXABI_LEFT_OUT = {"cxa_noexception.cpp"}


def flags(folder):
    """Flags to compile C++ with, given the folder of step `cxx`; `-std` is the package's business."""
    # The emulation makes pthread_create a function (which fails) instead of a compile-time error.
    return ["-nostdinc++", "-isystem", str(folder / "include/c++/v1"), "-D_WASI_EMULATED_PTHREAD",
            "-fwasm-exceptions", *EXCEPTIONS]


def link_flags(folder):
    """Flags to link C++, or C that uses setjmp, with. The driver must not add a libc++ of its own."""
    archives = [str(folder / "lib" / name) for name in ("libc++.a", "libc++abi.a", "libunwind.a")]
    return ["-nostdlib++", *archives, "-lsetjmp", "-lwasi-emulated-pthread"]


def sources(build, folder, sources):
    """LLVM's C++ runtime libraries out of the ziglang wheel. Any machine's wheel has them: it is always the same one."""
    wheel = sources[0]
    command = [need("python3", "python3"), "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
               "--only-binary", ":all:", "--platform", "manylinux_2_12_x86_64", "--python-version", "3.13",
               "--implementation", "py", "--dest", folder / "files", f"{wheel['name']}=={wheel['version']}"]
    if subprocess.run(command[:3] + ["--version"], capture_output=True).returncode != 0:
        raise RecipeError("pip is missing; install it with: apt-get install python3-pip")
    repeat(lambda: build.run(command, folder / "pip.log"))
    file = next((folder / "files").glob("*.whl"))
    check_digest(file, wheel["sha256"])
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if any(name.startswith(f"ziglang/lib/{room}/") for room in ROOMS):
                archive.extract(name, folder)
    for room in ROOMS:
        (folder / "ziglang/lib" / room).rename(folder / room)
    # 100 MB that nobody needs again.
    shutil.rmtree(folder / "files")
    shutil.rmtree(folder / "ziglang")


def libraries(build, folder, zig, own, compiler):
    """`lib/libc++.a`, `libc++abi.a`, `libunwind.a` and `include/c++/v1`. `own` is the folder with our files."""
    _headers(folder / "include/c++/v1", zig.folder / "libcxx/include", own)
    shutil.copytree(zig.folder / "libcxxabi/include", folder / "include/c++/v1", dirs_exist_ok=True)
    library = zig.folder / "libcxx/src"
    abi = zig.folder / "libcxxabi/src"
    common = ["-O2", "-std=c++23", *flags(folder), "-fno-strict-aliasing", "-DLIBCXX_BUILDING_LIBCXXABI",
              "-D_LIBCPP_BUILDING_LIBRARY", "-D_LIBCXXABI_BUILDING_LIBRARY", "-Wno-nullability-completeness"]
    build.say("libc++")
    _archive(compiler, folder, "libc++.a",
             [path for room in LIBCXX_ROOMS for path in sorted((library / room).glob("*.cpp"))
              if path.name not in LIBCXX_LEFT_OUT],
             [*common, f"-I{library}", f"-I{zig.folder}/libcxx/libc"])
    build.say("libc++abi")
    _archive(compiler, folder, "libc++abi.a",
             [path for path in sorted(abi.glob("*.cpp")) if path.name not in LIBCXXABI_LEFT_OUT],
             [*common, "-D_LIBCXXABI_HAS_NO_THREADS", f"-I{abi}", f"-I{library}", f"-I{zig.folder}/libunwind/include"])
    unwind = zig.folder / "libunwind"
    _archive(compiler, folder, "libunwind.a", [unwind / "src/Unwind-wasm.c", own / "tags.s"],
             ["-O2", "-fwasm-exceptions", *EXCEPTIONS, "-D_LIBUNWIND_HAS_NO_THREADS", "-D_LIBUNWIND_HIDE_SYMBOLS",
              f"-I{unwind}/include", f"-I{unwind}/src", "-Wno-unused-command-line-argument"])


def _archive(compiler, folder, name, sources, options):
    """As Compiler.archive, with a folder of objects for each archive."""
    room = folder / name.removesuffix(".a")
    room.mkdir()
    compiler.archive(room, name, sources, options)
    (folder / "lib").mkdir(exist_ok=True)
    (room / "lib" / name).rename(folder / "lib" / name)
    shutil.rmtree(room)


def _headers(target, source, own):
    """libc++'s headers, reading our settings."""
    shutil.copytree(source, target)
    changed = 0
    for path in sorted(target.rglob("*")):
        if path.is_file() and SETTINGS_OF_ZIG in (text := path.read_text()):
            path.write_text(text.replace(SETTINGS_OF_ZIG, SETTINGS_OF_LIBCXX))
            changed += 1
    if changed == 0:
        raise RecipeError("libc++'s headers do not have the line that the recipe changes")
    shutil.copyfile(own / "__config_site", target / "__config_site")
