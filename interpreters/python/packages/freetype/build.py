"""FreeType: lib/libfreetype.a and include/. Its modules are one C file each that includes the others."""

import shutil

from building import cxx, modules

BASE = ["ftsystem", "ftinit", "ftdebug", "ftbase", "ftbbox", "ftbitmap", "ftcid", "ftfstype", "ftgasp", "ftglyph",
        "ftgxval", "ftmm", "ftotval", "ftpatent", "ftpfr", "ftstroke", "ftsynth", "fttype1", "ftwinfnt", "ftbdf"]
# All modules of its standard configuration (include/freetype/config/ftmodule.h), and what they share.
MODULES = ["autofit/autofit", "bdf/bdf", "cache/ftcache", "cff/cff", "cid/type1cid", "gzip/ftgzip", "lzw/ftlzw",
           "pcf/pcf", "pfr/pfr", "psaux/psaux", "pshinter/pshinter", "psnames/psnames", "raster/raster", "sdf/sdf",
           "sfnt/sfnt", "smooth/smooth", "svg/svg", "truetype/truetype", "type1/type1", "type42/type42",
           "winfonts/winfnt"]


def build(build, folder, context):
    source = modules.unpack(context.debian("freetype"), folder)
    files = [source / "src/base" / f"{name}.c" for name in BASE] + [source / "src" / f"{name}.c" for name in MODULES]
    # Compressed fonts: zlib is linked anyway, so FreeType needs no copy of its own.
    flags = ["-DFT2_BUILD_LIBRARY", "-DFT_CONFIG_OPTION_SYSTEM_ZLIB", f"-I{source}/include",
             f"-I{context.libraries['zlib'].folder}/include", *cxx.SETJMP]
    context.compiler.archive(folder, "libfreetype.a", files, flags)
    shutil.copytree(source / "include", folder / "include")
    shutil.rmtree(source)
    del build
