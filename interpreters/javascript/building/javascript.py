"""quickjs-ng, the guest around it, and the guest's files."""

import shutil

from shared.fetch import vendored
from shared.layer import pack, skeleton

from . import stack

# 8 MiB of C stack below the data; guest/engine sets the depth at which JavaScript throws a RangeError.
STACK_BYTES = 8 * 1024 * 1024

# Its warnings are quickjs-ng's own business.
FLAGS = ["-D_GNU_SOURCE", "-w"]

# Where guest/modules.c looks for the part of the guest that is written in JavaScript.
LIB = "usr/lib/sandpool"


def _quickjs(crates):
    return vendored(crates, "rquickjs-sys") / "quickjs"


def library(build, folder, compiler, crates):
    """What quickjs.c leans on: regular expressions, Unicode, numbers as text."""
    del build
    source = _quickjs(crates)
    _write_patched(source, folder, "libregexp.c")
    files = [folder / "src/libregexp.c", source / "libunicode.c", source / "dtoa.c"]
    compiler.archive(folder, "libquickjs.a", files, [*FLAGS, f"-I{source}"])


def engine(build, folder, compiler, crates, guest):
    """quickjs.c as one unit with the few functions of ours that need its inside. A step of its own: it takes a minute."""
    del build
    _write_patched(_quickjs(crates), folder, "quickjs.c")
    compiler.archive(folder, "libengine.a", sorted(guest.glob("*.c")), [*FLAGS, f"-I{folder}/src", f"-I{_quickjs(crates)}"])


def _write_patched(source, folder, name):
    (folder / "src").mkdir()
    (folder / "src" / name).write_text(stack.patched(name, (source / name).read_text()))


def reactor(build, folder, compiler, crates, engine, library, headers, sources):
    """`folder/module.wasm`, from the guest's C files."""
    del build
    includes = [headers, *sorted({path.parent for path in sources})]
    flags = ["-Wall", "-Wextra", "-Wno-unused-parameter", f"-isystem{_quickjs(crates)}", *(f"-I{path}" for path in includes)]
    objects = compiler.objects(folder, [path for path in sources if path.suffix == ".c"], flags)
    archives = [engine.folder / "lib/libengine.a", library.folder / "lib/libquickjs.a"]
    compiler.reactor(folder, objects, archives, STACK_BYTES)


def tree(build, folder, lib, manifest):
    """`base.tar` and `packages.json`: nothing can be installed, so there are no packages."""
    del build
    root = folder / "root"
    skeleton(root)
    shutil.copytree(lib, root / LIB)
    pack(root, folder, manifest, [])
