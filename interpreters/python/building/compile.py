"""Compiling for the guest: the compiler's command line, and the C libraries that CPython's modules need."""

import os
from pathlib import Path

from .steps import RecipeError

# -O3 pays in the interpreter loop; SIMD and bulk memory are in every wasmtime.
CFLAGS = ["-O3", "-DNDEBUG", "-msimd128", "-mbulk-memory", "-g0"]

# wasi-libc's stand-ins for what WASI lacks; each -D goes with a -l when linking.
EMULATION = ["-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_GETPID", "-D_WASI_EMULATED_PROCESS_CLOCKS"]


class Compiler:
    """The unpacked clang, pointed at the unpacked wasi-libc."""

    def __init__(self, build, toolchain, sysroot):
        self.build = build
        self.key = [toolchain.key, sysroot.key, CFLAGS, EMULATION]
        self.bin = toolchain.folder / "bin"
        self.target = ["--target=wasm32-wasip1", f"--sysroot={sysroot.folder}/usr",
                       # Paths of the building machine stay out of the module.
                       f"-ffile-prefix-map={build.work}=/build"]

    @property
    def cc(self):
        return [self.bin / "clang", *self.target]

    @property
    def make(self):
        private = self.bin / "make"
        return private if private.exists() else "make"

    def archive(self, folder, name, sources, flags):
        """Compile C sources to `folder/lib/name`."""
        objects = self.objects(folder, sources, flags)
        (folder / "lib").mkdir(exist_ok=True)
        self.build.run([self.bin / "llvm-ar", "rcsD", folder / "lib" / name, *objects], folder / "log")

    def objects(self, folder, sources, flags):
        """Compile C sources into `folder/obj`; the objects, in the order of the sources."""
        (folder / "obj").mkdir(exist_ok=True)
        pairs = [(source, folder / "obj" / f"{number:03}-{Path(source).stem}.o")
                 for number, source in enumerate(sources)]

        def compile_one(pair):
            command = [*self.cc, *CFLAGS, *EMULATION, *flags, "-c", pair[0], "-o", pair[1]]
            self.build.run(command, folder / "log")

        self.build.each(compile_one, pairs)
        return [target for _, target in pairs]


def vendored(crates, name):
    """The folder of a vendored crate."""
    folder = crates.folder / "vendor" / name
    if not folder.is_dir():
        raise RecipeError(f"cargo vendored no {name}")
    return folder


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
