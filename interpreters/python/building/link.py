"""Linking the reactor: the guest's C sources, libpython, and the libraries, into one core module."""

from . import packages
from .cpython import ARCHIVES

STACK_BYTES = 16 * 1024 * 1024
# The linker only warns of a function that is declared with another signature than it is defined with. Its call is a trap.
STRICT = "-Wl,--fatal-warnings"


def reactor(build, folder, sources, cpython, library, archives, compiler, modules=(), runtime=()):
    """`folder/module.wasm`, from the guest's C files, with the compiled modules of the steps `modules`.

    `runtime`: the linker's options for what the modules' languages need.
    """
    del build
    source = cpython.folder / "src"
    flags = ["-DPy_BUILD_CORE", f"-I{library.folder}", f"-I{source}/Include", f"-I{source}/Include/internal",
             "-Wall", *(f"-I{path}" for path in sorted({path.parent for path in sources})), "-Wno-unused-function"]
    table = folder / "packages.c"
    table.write_text(packages.inittab(packages.modules(modules)))
    objects = compiler.objects(folder, [*(path for path in sources if path.suffix == ".c"), table], flags)
    python = [library.folder / name for name in ARCHIVES]
    extra = [path for step in archives for path in sorted((step.folder / "lib").glob("*.a"))]
    compiler.reactor(folder, [*objects, *packages.objects(modules)],
                     # numpy prints long double; without the last one the C library ends the program when somebody does.
                     [*python, *extra, *runtime, "-ldl", "-lpthread", "-lc-printscan-long-double", STRICT], STACK_BYTES)
