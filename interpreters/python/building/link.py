"""Linking the reactor: the guest's C sources, libpython, and the libraries, into one core module."""

from . import packages
from .cpython import ARCHIVES

# 16 MiB of C stack below the data, so that an overflow traps instead of overwriting it.
STACK_BYTES = 16 * 1024 * 1024
DATA_EXPORTS = ["__stack_pointer", "sandpool_abi", "sandpool_interrupt_cell"]


def reactor(build, folder, guest_sources, cpython, library, archives, compiler, modules, runtime=()):
    """`folder/module.wasm`, from the guest's C files, with the compiled modules of the steps `modules`.

    `runtime`: the linker's options for what the modules' languages need.
    """
    source = cpython.folder / "src"
    flags = ["-DPy_BUILD_CORE", f"-I{library.folder}", f"-I{source}/Include", f"-I{source}/Include/internal",
             "-Wall", f"-I{guest_sources[0].parent}", "-Wno-unused-function"]
    table = folder / "packages.c"
    table.write_text(packages.inittab(packages.modules(modules)))
    objects = compiler.objects(folder, [*(path for path in guest_sources if path.suffix == ".c"), table], flags)
    python = [library.folder / name for name in ARCHIVES]
    extra = [path for step in archives for path in sorted((step.folder / "lib").glob("*.a"))]
    linker = ["-z,stack-size=%d" % STACK_BYTES, "--stack-first", "--strip-debug",
              *(f"--export={name}" for name in DATA_EXPORTS)]
    command = [*compiler.cc, "-O3", "-mexec-model=reactor", *objects, *packages.objects(modules), *python, *extra, *runtime,
               "-lwasi-emulated-signal", "-lwasi-emulated-getpid", "-lwasi-emulated-process-clocks", "-ldl", "-lpthread", "-lm",
               # numpy prints long double; without this the C library ends the program when somebody does.
               "-lc-printscan-long-double",
               *(f"-Wl,{option}" for option in linker), "-o", folder / "module.wasm"]
    build.run(command, folder / "log")
