"""Linking the reactor: the guest's C sources, libpython, and the libraries, into one core module."""

from .cpython import ARCHIVES

STACK_BYTES = 16 * 1024 * 1024


def reactor(build, folder, sources, cpython, library, archives, compiler):
    """`folder/module.wasm`, from the guest's C files."""
    del build
    source = cpython.folder / "src"
    flags = ["-DPy_BUILD_CORE", f"-I{library.folder}", f"-I{source}/Include", f"-I{source}/Include/internal",
             "-Wall", *(f"-I{path}" for path in sorted({path.parent for path in sources})), "-Wno-unused-function"]
    objects = compiler.objects(folder, [path for path in sources if path.suffix == ".c"], flags)
    python = [library.folder / name for name in ARCHIVES]
    extra = [path for step in archives for path in sorted((step.folder / "lib").glob("*.a"))]
    compiler.reactor(folder, objects, [*python, *extra, "-ldl", "-lpthread"], STACK_BYTES)
