"""SQLite, the guest around it, and the guest's files."""

from shared.fetch import vendored
from shared.layer import pack, skeleton

STACK_BYTES = 8 * 1024 * 1024

# One connection, no threads, no shared memory: so no WAL and no memory-mapped files. What is in double quotes is a name:
# code that is written for another database must not silently compare with a text.
OPTIONS = ["THREADSAFE=0", "OMIT_LOAD_EXTENSION", "OMIT_WAL", "MAX_MMAP_SIZE=0", "OMIT_SHARED_CACHE", "TEMP_STORE=2", "DQS=0",
           "ENABLE_FTS5", "ENABLE_RTREE", "ENABLE_MATH_FUNCTIONS", "ENABLE_PERCENTILE", "ENABLE_STAT4", "ENABLE_DBSTAT_VTAB",
           "OMIT_DEPRECATED", "DEFAULT_MEMSTATUS=0"]


def library(build, folder, compiler, crates):
    """The amalgamation: one file, half a minute."""
    del build
    source = vendored(crates, "libsqlite3-sys") / "sqlite3"
    compiler.archive(folder, "libsqlite3.a", [source / "sqlite3.c"], ["-w", *(f"-DSQLITE_{option}" for option in OPTIONS)])


def reactor(build, folder, compiler, crates, library, sources):
    """`folder/module.wasm`, from the guest's C files."""
    del build
    includes = sorted({path.parent for path in sources})
    flags = ["-Wall", "-Wextra", "-Wno-unused-parameter", f"-isystem{vendored(crates, 'libsqlite3-sys') / 'sqlite3'}",
             *(f"-I{path}" for path in includes)]
    objects = compiler.objects(folder, [path for path in sources if path.suffix == ".c"], flags)
    compiler.reactor(folder, objects, [library.folder / "lib/libsqlite3.a"], STACK_BYTES)


def tree(build, folder, manifest):
    """`base.tar` and `packages.json`."""
    del build
    root = folder / "root"
    skeleton(root)
    pack(root, folder, manifest, [])
