"""The built-in modules that CPython's configure leaves out: it does not look for their libraries when cross-compiling."""

from shared.compile import EMULATION

# Module name: its sources below CPython's Modules.
EXTENSIONS = {
    "zlib": ["zlibmodule.c"],
    "_bz2": ["_bz2module.c"],
    "_lzma": ["_lzmamodule.c"],
    "_sqlite3": [f"_sqlite/{name}.c" for name in ("blob", "connection", "cursor", "microprotocols", "module",
                                                 "prepare_protocol", "row", "statement", "util")],
}


def extensions(build, folder, cpython, library, compiler, libraries):
    """zlib, bz2, lzma and sqlite3."""
    del build
    source = cpython.folder / "src"
    flags = ["-DPy_BUILD_CORE_BUILTIN", "-DMODULE_NAME=\"sqlite3\"", f"-I{library.folder}", f"-I{source}/Include",
             f"-I{source}/Include/internal", "-Wno-int-conversion", *EMULATION]
    flags += [f"-I{step.folder}/include" for step in libraries]
    files = [source / "Modules" / name for names in EXTENSIONS.values() for name in names]
    compiler.archive(folder, "libextensions.a", files, flags)
