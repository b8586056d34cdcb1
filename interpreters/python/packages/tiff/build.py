"""libtiff with zlib and JPEG: lib/libtiff.a and include/. The archive has no configure: its settings are made here."""

import re
import shutil

from building import cxx, modules
from shared.steps import RecipeError

LEFT_OUT = {"mkg3states.c", "mkspans.c", "tif_win32.c"}

DEFINED = {
    "HAVE_ASSERT_H", "HAVE_FCNTL_H", "HAVE_FSEEKO", "HAVE_STRINGS_H", "HAVE_SYS_TYPES_H", "HAVE_UNISTD_H",
    "HAVE_IEEEFP", "CHECK_JPEG_YCBCR_SUBSAMPLING", "CHUNKY_STRIP_READ_SUPPORT", "DEFER_STRILE_LOAD", "DEFAULT_EXTRASAMPLE_AS_ALPHA",
    "CCITT_SUPPORT", "JPEG_SUPPORT", "LOGLUV_SUPPORT", "LZW_SUPPORT", "MDI_SUPPORT", "NEXT_SUPPORT", "PACKBITS_SUPPORT",
    "PIXARLOG_SUPPORT", "STRIPCHOP_DEFAULT", "STRIP_SIZE_DEFAULT", "SUBIFD_SUPPORT", "THUNDER_SUPPORT", "ZIP_SUPPORT",
}
VALUES = {
    "PACKAGE_NAME": "tiff", "PACKAGE_BUGREPORT": "", "PACKAGE_TARNAME": "tiff", "PACKAGE_URL": "", "LIBJPEG_12_PATH": "",
    "SIZEOF_SIZE_T": "4", "STRIP_SIZE_DEFAULT": "8192", "TIFF_MAX_DIR_COUNT": "1048576",
    "HOST_BIG_ENDIAN": "0", "TIFF_SSIZE_T": "int32_t", "LIBTIFF_VERSION": "4.7.0", "LIBTIFF_MAJOR_VERSION": "4", "LIBTIFF_MINOR_VERSION": "7",
    "LIBTIFF_MICRO_VERSION": "0", "LIBTIFF_RELEASE_DATE": "20240911",
    **{f"TIFF_{sign}INT{bits}_T": f"{sign.lower()}int{bits}_t" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}


def build(build, folder, context):
    room = modules.unpack(context.debian("tiff"), folder)
    source = room / "libtiff"
    for name in ("tif_config.h", "tiffconf.h", "tiffvers.h"):
        (source / name).write_text(_settings((source / f"{name}.cmake.in").read_text(), name))
    flags = [f"-I{source}", f"-I{context.libraries['zlib'].folder}/include",
             f"-I{context.needs['jpeg'].folder}/include", *cxx.SETJMP]
    files = [path for path in sorted(source.glob("*.c")) if path.name not in LEFT_OUT]
    context.compiler.archive(folder, "libtiff.a", files, flags)
    (folder / "include").mkdir()
    for name in ("tiff.h", "tiffio.h", "tiffvers.h", "tiffconf.h"):
        shutil.copyfile(source / name, folder / "include" / name)
    shutil.rmtree(room)
    del build


def _settings(template, name):
    """What CMake would make of a template."""
    def define(match):
        return f"#define {match[1]}" if match[1] in DEFINED else f"#undef {match[1]} //"

    def value(match):
        # The templates' own comments speak of @VAR@.
        return VALUES.get(match[1], match[0])

    text = re.sub(r"@(\w+)@", value, re.sub(r"^#cmakedefine (\w+)", define, template, flags=re.MULTILINE))
    if left := re.findall(r"^#define .*@\w+@", text, re.MULTILINE):
        raise RecipeError(f"libtiff's {name} has a setting that the recipe does not know: {left[0]}")
    return text
