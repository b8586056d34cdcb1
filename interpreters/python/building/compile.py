"""The C libraries that CPython's modules need."""

import os

from shared.fetch import vendored


def zlib(build, folder, compiler, crates):
    del build
    source = vendored(crates, "libz-sys") / "src/zlib"
    compiler.archive(folder, "libz.a", sorted(source.glob("*.c")), ["-DHAVE_UNISTD_H", f"-I{source}"])
    _link_headers(folder, [source / "zlib.h", source / "zconf.h"])


def bzip2(build, folder, compiler, crates):
    del build
    source = vendored(crates, "bzip2-sys") / "bzip2-1.0.8"
    names = ["blocksort", "huffman", "crctable", "randtable", "compress", "decompress", "bzlib"]
    compiler.archive(folder, "libbz2.a", [source / f"{name}.c" for name in names], ["-D_FILE_OFFSET_BITS=64"])
    _link_headers(folder, [source / "bzlib.h"])


def xz(build, folder, compiler, crates):
    """liblzma with the crate's own config.h, without threads, as the crate's build script would."""
    del build
    crate = vendored(crates, "liblzma-sys")
    base = crate / "xz/src"
    rooms = ["common", "lzma", "lz", "check", "delta", "rangecoder", "simple"]
    sources = [path for room in rooms for path in sorted((base / "liblzma" / room).glob("*.c")) if _in_liblzma(path.stem)]
    includes = [crate, base / "common", base / "liblzma/api", *(base / "liblzma" / room for room in rooms)]
    compiler.archive(folder, "liblzma.a", sources, ["-DHAVE_CONFIG_H", "-std=c99", *(f"-I{path}" for path in includes)])
    _link_headers(folder, [base / "liblzma/api/lzma.h", base / "liblzma/api/lzma"])


def _in_liblzma(stem):
    """Not the table generators, the small variants of the checksums, or what needs threads."""
    return not (stem.endswith(("tablegen", "mt", "_small")) or stem == "crc_clmul_consts_gen")


def sqlite(build, folder, compiler, crates):
    """One connection at a time, no threads, no shared memory: so no WAL and no memory-mapped files."""
    del build
    source = vendored(crates, "libsqlite3-sys") / "sqlite3"
    options = ["THREADSAFE=0", "OMIT_LOAD_EXTENSION", "OMIT_WAL", "MAX_MMAP_SIZE=0", "ENABLE_FTS5", "ENABLE_MATH_FUNCTIONS",
               "OMIT_SHARED_CACHE", "TEMP_STORE=2", "ENABLE_COLUMN_METADATA"]
    # -O2 after CFLAGS' -O3: half the compile time, and sqlite is not bound by it.
    compiler.archive(folder, "libsqlite3.a", [source / "sqlite3.c"], ["-O2", *(f"-DSQLITE_{option}" for option in options)])
    _link_headers(folder, [source / "sqlite3.h"])


def _link_headers(folder, headers):
    include = folder / "include"
    include.mkdir()
    for header in headers:
        os.symlink(header, include / header.name)
