"""matplotlib: Agg, PNG, SVG, PDF and PostScript, with its own fonts.

No windows: of the GUI backends only the Python files are there.
"""

import shutil

from building import cxx, modules

VERSION = "3.10.7"

AGG = ("bezier_arc", "curves", "image_filters", "trans_affine", "vcgen_contour", "vcgen_dash", "vcgen_stroke",
       "vpgen_segmentator")

MODULES = {
    "backends._backend_agg": ["_backend_agg", "_backend_agg_wrapper"],
    "_c_internal_utils": ["_c_internal_utils"],
    "ft2font": ["ft2font", "ft2font_wrapper"],
    "_image": ["_image_wrapper", "py_converters"],
    "_path": ["_path_wrapper"],
    "_qhull": ["_qhull_wrapper"],
    "_tri": ["tri/_tri", "tri/_tri_wrapper"],
}
WITH_AGG = {"backends._backend_agg", "_image", "_path"}

# In a shared library, constructors of static objects run when Python imports it. Linked statically they run before
# there is a Python, so what they do with it has to wait until the module is initialised.
LATE_ENUMS = [
    ("#include <pybind11/pybind11.h>\n", "#include <pybind11/pybind11.h>\n#include <functional>\n#include <vector>\n"),
    ("    auto enums = std::unordered_map<std::string, py::object>{};\n",
     "    auto enums = std::unordered_map<std::string, py::object>{};\n"
     "    auto declared = std::vector<std::function<void()>>{};\n"),
    ("      for (auto& [py_name, spec]: enums) {\n",
     "      for (auto const& declare: declared) {\n        declare();\n      }\n"
     "      for (auto& [py_name, spec]: enums) {\n"),
    ("          py::gil_scoped_acquire gil; \\\n", "          p11x::declared.push_back([args] { \\\n"),
    ("          p11x::enums[py_name] = pybind11::cast(std::pair{py_base_cls, pairs}); \\\n",
     "          p11x::enums[py_name] = pybind11::cast(std::pair{py_base_cls, pairs}); \\\n          }); \\\n"),
]

# Fonts are read into memory at once: a font whose file is open could not stay in the image, since descriptors do not.
FONTS_IN_MEMORY = ("""        self->py_file = py::module_::import("io").attr("open")(filename, "rb");
""", """        auto io = py::module_::import("io");
        auto file = io.attr("open")(filename, "rb");
        self->py_file = io.attr("BytesIO")(file.attr("read")());
        self->py_file.attr("name") = file.attr("name");
        file.attr("close")();
""")

# No thread can tell that the font cache takes long; the image has it already.
NO_TIMER = [
    ("""        timer = threading.Timer(5, lambda: _log.warning(
            'Matplotlib is building the font cache; this may take a moment.'))
        timer.start()
""", ""),
    ("            timer.cancel()\n", "            pass\n"),
]


def build(build, folder, context):
    source = modules.copy_source(context.sdist("matplotlib"), folder / "src")
    modules.replace(source / "src/_enums.h", *LATE_ENUMS)
    modules.replace(source / "src/ft2font_wrapper.cpp", FONTS_IN_MEMORY)
    modules.replace(source / "lib/matplotlib/font_manager.py", *NO_TIMER)
    agg = source / "extern/agg24-svn"
    flags = [f"-I{source}/src", f"-I{agg}/include", "-DMPL_DEVNULL=/dev/null", '-DFREETYPE_BUILD_TYPE="system"',
             *(f"-I{context.needs[name].folder}/include" for name in ("freetype", "qhull")),
             *modules.include_pybind11(context), *cxx.SETJMP]
    agg_sources = [agg / "src" / f"agg_{name}.cpp" for name in AGG]
    compiled = []
    for name, paths in MODULES.items():
        files = [source / "src" / f"{path}.cpp" for path in paths] + (agg_sources if name in WITH_AGG else [])
        compiled.append(modules.Module(f"matplotlib.{name}", files, flags))
    modules.compile_modules(build, folder, context, compiled)
    site = folder / "site"
    for name in ("matplotlib", "mpl_toolkits"):
        modules.copy_python(source / "lib" / name, site / name)
    shutil.copyfile(source / "lib/pylab.py", site / "pylab.py")
    (site / "matplotlib/_version.py").write_text(f'version = "{VERSION}"\n')
    modules.metadata(source, site, "matplotlib", VERSION)
