"""Pillow, with zlib, JPEG, TIFF, WebP and FreeType.

Not there: JPEG 2000, AVIF, colour management (lcms2), complex text layout (raqm).
"""

import re

from building import cxx, modules
from shared.steps import RecipeError

VERSION = "13.0.0"

# Called with arguments that they do not declare.
SHORT = [(f"{name}(ImagingObject *self) {{", f"{name}(ImagingObject *self, PyObject *arguments) {{")
         for name in ("ExportArrowSchemaPyCapsule", "ExportArrowArrayPyCapsule")]


def build(build, folder, context):
    source = modules.copy_source(context.sdist("pillow"), folder / "src")
    modules.replace(source / "src/_imaging.c", *SHORT)
    setup = (source / "setup.py").read_text()
    names = [f"src/{name}.c" for name in ("_imaging", *_names(setup, "_IMAGING"))]
    names += [f"src/libImaging/{name}.c" for name in _names(setup, "_LIB_IMAGING")]
    # It is a library of its own in setup.py; each module that uses it gets a copy here.
    mode = "src/libImaging/Mode.c"
    needs = [f"-I{context.needs[name].folder}/include" for name in ("freetype", "jpeg", "tiff", "webp")]
    flags = [*needs, f"-I{context.libraries['zlib'].folder}/include", "-DHAVE_LIBZ", "-DHAVE_LIBJPEG",
             "-DHAVE_LIBTIFF", f'-DPILLOW_VERSION="{VERSION}"', *cxx.SETJMP]
    compiled = {"_imaging": [*names, mode]}
    compiled |= {name: [f"src/{name}.c", mode] for name in ("_imagingft", "_imagingmath", "_imagingmorph", "_webp")}
    modules.compile_modules(build, folder, context,
                            [modules.Module(f"PIL.{name}", [source / path for path in paths], flags)
                             for name, paths in compiled.items()])
    modules.copy_python(source / "src/PIL", folder / "site/PIL")
    modules.metadata(source, folder / "site", "pillow", VERSION)


def _names(setup, variable):
    """The file names in a tuple of setup.py."""
    found = re.search(rf"^{variable} = \((.*?)\)$", setup, re.MULTILINE | re.DOTALL)
    if not found:
        raise RecipeError(f"Pillow's setup.py has no {variable}")
    return re.findall(r'"(\w+)"', found[1])
