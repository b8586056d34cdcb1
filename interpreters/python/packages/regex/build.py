"""regex: one C module."""

from building import modules

VERSION = "2026.11.15"

# METH_NOARGS functions, and getters, that lack the second parameter they are called with.
SHORT = [(f"static PyObject* {name}({self}) {{", f"static PyObject* {name}({self}, void* unused) {{")
         for name, self in (("match_allspans", "MatchObject* self"), ("match_allcaptures", "MatchObject* self"),
                            ("match_capturesdict", "MatchObject* self"), ("pattern_groupindex", "PyObject* self_"),
                            ("pattern_pickled_data", "PyObject* self_"))]


def build(build, folder, context):
    source = modules.copy_source(context.sdist("regex"), folder / "src")
    modules.replace(source / "src/_regex.c", *SHORT)
    files = [source / "src/_regex.c", source / "src/_regex_unicode.c"]
    modules.compile_modules(build, folder, context, [modules.Module("regex._regex", files)])
    modules.copy_python(source / "regex", folder / "site/regex")
    modules.metadata(source, folder / "site", "regex", VERSION)
