"""libjpeg-turbo: lib/libjpeg.a and include/. Its SIMD code is assembly for other machines."""

import shutil

from building import modules
from shared.steps import RecipeError

NAMES = """
    jcapimin jcapistd jccoefct jccolor jcdctmgr jchuff jcicc jcinit jcmainct jcmarker jcmaster jcomapi jcparam
    jcphuff jcprepct jcsample jctrans jdapimin jdapistd jdatadst jdatasrc jdcoefct jdcolor jddctmgr jdhuff jdicc
    jdinput jdmainct jdmarker jdmaster jdmerge jdphuff jdpostct jdsample jdtrans jerror jfdctflt jfdctfst jfdctint
    jidctflt jidctfst jidctint jidctred jquant1 jquant2 jutils jmemmgr jmemnobs jaricom jcarith jdarith jsimd_none
""".split()

# What its CMake would find out. Version 80 of the interface: Pillow wants more than the oldest.
SETTINGS = {
    "jconfig.h": {
        "@JPEG_LIB_VERSION@": "80", "@VERSION@": "2.1.5", "@LIBJPEG_TURBO_VERSION_NUMBER@": "2001005",
        "@BITS_IN_JSAMPLE@": "8",
        "#cmakedefine C_ARITH_CODING_SUPPORTED": "#define C_ARITH_CODING_SUPPORTED",
        "#cmakedefine D_ARITH_CODING_SUPPORTED": "#define D_ARITH_CODING_SUPPORTED",
        "#cmakedefine MEM_SRCDST_SUPPORTED": "#define MEM_SRCDST_SUPPORTED",
        "#cmakedefine WITH_SIMD 1": "", "#cmakedefine RIGHT_SHIFT_IS_UNSIGNED 1": "",
    },
    "jconfigint.h": {
        "@BUILD@": "", "@INLINE@": "__inline__ __attribute__((always_inline))", "@THREAD_LOCAL@": "__thread",
        "@CMAKE_PROJECT_NAME@": "libjpeg-turbo", "@VERSION@": "2.1.5", "@SIZE_T@": "4",
        "#cmakedefine HAVE_BUILTIN_CTZL": "#define HAVE_BUILTIN_CTZL", "#cmakedefine HAVE_INTRIN_H": "",
    },
    "jversion.h": {"@COPYRIGHT_YEAR@": "1991-2023"},
}


def build(build, folder, context):
    source = modules.unpack(context.debian("libjpeg-turbo"), folder)
    for name, settings in SETTINGS.items():
        _settings(source / f"{name}.in", source / name, settings)
    context.compiler.archive(folder, "libjpeg.a", [source / f"{name}.c" for name in NAMES], [f"-I{source}"])
    (folder / "include").mkdir()
    for name in ("jpeglib.h", "jmorecfg.h", "jerror.h", "jconfig.h"):
        shutil.copyfile(source / name, folder / "include" / name)
    shutil.rmtree(source)
    del build


def _settings(template, target, settings):
    text = template.read_text()
    for before, after in settings.items():
        if before not in text:
            raise RecipeError(f"libjpeg-turbo's {template.name} has no {before}")
        text = text.replace(before, after)
    if "@" in text or "cmakedefine" in text:
        raise RecipeError(f"libjpeg-turbo's {template.name} has settings that the recipe does not know")
    target.write_text(text)
