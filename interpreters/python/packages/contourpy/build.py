"""contourpy, matplotlib's contour lines: one C++ module."""

from building import modules

NAMES = ("chunk_local", "contour_generator", "converter", "fill_type", "line_type", "mpl2005_original", "mpl2005",
         "mpl2014", "outer_or_hole", "serial", "threaded", "util", "wrap", "z_interp")
VERSION = "1.3.3"

# The calling thread does all the work that the threaded algorithm would share out.
NO_THREADS = [
    ("""    for (index_t i = 0; i < _n_threads-1; ++i)
        threads.emplace_back(
            &ThreadedContourGenerator::thread_function, this, std::ref(return_lists));
""", ""),
    ("        if (_finished_count == _n_threads)\n", "        if (_finished_count >= 1)\n"),
]

# meson generates this file with everything about the machine it ran on.
BUILD_CONFIG = '''def build_config():
    """Return a dictionary containing build configuration settings."""
    return {{"contourpy_version": "{version}", "host_cpu": "wasm32", "host_cpu_system": "wasi"}}
'''


def build(build, folder, context):
    source = modules.copy_source(context.sdist("contourpy"), folder / "src")
    modules.replace(source / "src/threaded.cpp", *NO_THREADS)
    flags = [f"-DCONTOURPY_VERSION={VERSION}", *modules.include_pybind11(context)]
    module = modules.Module("contourpy._contourpy", [source / "src" / f"{name}.cpp" for name in NAMES], flags)
    modules.compile_modules(build, folder, context, [module])
    modules.copy_python(source / "lib/contourpy", folder / "site/contourpy")
    (folder / "site/contourpy/util/_build_config.py").write_text(BUILD_CONFIG.format(version=VERSION))
    modules.metadata(source, folder / "site", "contourpy", VERSION)
