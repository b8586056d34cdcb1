"""libxml2 and libxslt by their own configure: lib/libxml2.a, libxslt.a, libexslt.a and include/. No network."""

import shutil

from building import modules
from shared.compile import CFLAGS, EMULATION

COMMON = ["--host=wasm32-wasi", "--disable-shared", "--without-python", "--without-debug"]
XML = ["--without-http", "--without-ftp", "--without-lzma", "--without-zlib", "--without-threads", "--without-modules",
       "--without-legacy", "--without-readline", "--without-history", "--with-iconv"]
XSLT = ["--without-crypto", "--without-plugins", "--without-debugger"]


def build(build, folder, context):
    xml = _configured(build, folder, context, "libxml2", XML)
    _make(build, folder, context, xml, "libxml2.la")
    xslt = _configured(build, folder, context, "libxslt", [*XSLT, f"--with-libxml-src={xml}"])
    for name in ("libxslt", "libexslt"):
        _make(build, folder, context, xslt / name, f"{name}.la")
    (folder / "lib").mkdir()
    for library in (xml / ".libs/libxml2.a", xslt / "libxslt/.libs/libxslt.a", xslt / "libexslt/.libs/libexslt.a"):
        shutil.copyfile(library, folder / "lib" / library.name)
    for headers in (xml / "include/libxml", xslt / "libxslt", xslt / "libexslt"):
        shutil.copytree(headers, folder / "include" / headers.name,
                        ignore=lambda _, names: [name for name in names if not name.endswith(".h")])
    for source in (xml, xslt):
        shutil.rmtree(source)


def _configured(build, folder, context, name, options):
    room = folder / name
    room.mkdir()
    source = modules.unpack(context.debian(name), room)
    for script in ("config.sub", "config.guess"):
        # Those of the archive are older than the target; CPython's are not.
        shutil.copyfile(context.cpython.folder / "src" / script, source / script)
    build.run([source / "configure", *COMMON, *options], folder / "log", cwd=source, env=_environment(context))
    return source


def _make(build, folder, context, room, target):
    build.run([context.compiler.make, f"-j{build.jobs}", target], folder / "log", cwd=room, env=_environment(context))


def _environment(context):
    compiler = context.compiler
    return {"CC": " ".join(map(str, compiler.cc)), "CFLAGS": " ".join([*CFLAGS, "-O2", *EMULATION]), "CPPFLAGS": "",
            "LDFLAGS": "", "AR": str(compiler.bin / "llvm-ar"), "RANLIB": str(compiler.bin / "llvm-ranlib"),
            "LD": str(compiler.bin / "wasm-ld"), "NM": str(compiler.bin / "llvm-nm"),
            # The machine's own libraries are not the guest's.
            "PKG_CONFIG_LIBDIR": "/nonexistent", "PKG_CONFIG_PATH": ""}
