"""numpy, by its own meson build, for a 32-bit machine whose users expect what they know from 64-bit Linux.

Leaves, besides what every package does, `dev/numpy`: what other packages are compiled with (`dev/numpy/_core/include`, the
.pxd files for cython, and a stand-in for the package that knows no more than where its headers are).

What is changed in its source: integers.py (64-bit integers), floating.py (floating-point errors, conversions), and below.
"""

import shutil
from pathlib import Path

from building import meson, modules

from . import floating, integers

HERE = Path(__file__).resolve().parent

OPTIONS = ["allow-noblas=true", "blas=none", "lapack=none", "disable-threading=true", "cpu-baseline=none",
           "cpu-dispatch=none"]

# Python files that only a build, a type checker or a developer reads.
LEFT_OUT = {"tests", "_pyinstaller", "__pycache__", "distutils", "src", "code_generators", "meson.build", "typing_tests",
            "examples", "_examples"}
# Loaded by nothing but tests of numpy's SIMD layer (which has none for this target), and by nothing at all.
LEFT_OUT_MODULES = {"numpy._core._simd", "numpy.linalg.lapack_lite"}



def build(build, folder, context):
    source = modules.copy_source(context.sdist("numpy"), folder / "src")
    _platform(source / "numpy/_core")
    _signatures(source / "numpy/_core/src/multiarray")
    _unlocked(source / "numpy/_core/src/multiarray")
    integers.change(source / "numpy")
    floating.change(source / "numpy/_core")
    project = meson.Project(build, folder, context, source)
    project.configure(["python3", source / "vendored-meson/meson/meson.py"], OPTIONS)
    project.compile()
    project.collect(LEFT_OUT_MODULES)
    (status,) = context.compiler.objects(folder, [HERE / "fpstatus.c"], [])
    status.rename(folder / "objects/numpy-fpstatus.o")
    _site(source, project.room, folder / "site")
    modules.metadata(source, folder / "site", "numpy", "2.3.5")
    _dev(source, project.room, folder / "dev/numpy")


def _platform(core):
    """Say which processor this is, and do without dup(), which WASI does not have."""
    modules.replace(core / "include/numpy/npy_cpu.h",
                    ("#elif defined(__EMSCRIPTEN__)", "#elif defined(__EMSCRIPTEN__) || defined(__wasm__)"))
    modules.replace(
        core / "include/numpy/npy_3kcompat.h",
        ("""    /*
     * The handle needs to be dup'd because we have to call fclose
     * at the end
     */
    os = PyImport_ImportModule("os");
    if (os == NULL) {
        return NULL;
    }
    ret = PyObject_CallMethod(os, "dup", "i", fd);
    Py_DECREF(os);
    if (ret == NULL) {
        return NULL;
    }
    fd2_tmp = PyNumber_AsSsize_t(ret, PyExc_IOError);
    Py_DECREF(ret);
    if (fd2_tmp == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (fd2_tmp < INT_MIN || fd2_tmp > INT_MAX) {
        PyErr_SetString(PyExc_IOError,
                        "Getting an 'int' from os.dup() failed");
        return NULL;
    }
    fd2 = (int)fd2_tmp;
""", """    (void)fd2, (void)fd2_tmp, (void)os;
"""),
        ("    handle = fdopen(fd2, mode);\n", "    handle = npy_wasi_fdopen(fd, mode);\n"),
        ("""/*
 * Get a FILE* handle to the file represented by the Python object
 */
""", """/* A FILE over a descriptor that stays open when the FILE is closed: there is no dup() to make a second one. */
static ssize_t
npy_wasi_read(void *cookie, char *buffer, size_t size)
{
    return read((int)(intptr_t)cookie, buffer, size);
}

static ssize_t
npy_wasi_write(void *cookie, const char *buffer, size_t size)
{
    /* All of it: the C library takes less for an error, and the host takes 16 MiB at a time. */
    size_t done = 0;
    while (done < size) {
        ssize_t now = write((int)(intptr_t)cookie, buffer + done, size - done);
        if (now <= 0) {
            return now < 0 && done == 0 ? -1 : (ssize_t)done;
        }
        done += (size_t)now;
    }
    return (ssize_t)done;
}

static int
npy_wasi_seek(void *cookie, off_t *offset, int whence)
{
    off_t now = lseek((int)(intptr_t)cookie, *offset, whence);
    if (now < 0) {
        return -1;
    }
    *offset = now;
    return 0;
}

static inline FILE *
npy_wasi_fdopen(int fd, const char *mode)
{
    cookie_io_functions_t calls = {npy_wasi_read, npy_wasi_write, npy_wasi_seek, NULL};
    return fopencookie((void *)(intptr_t)fd, mode, calls);
}

/*
 * Get a FILE* handle to the file represented by the Python object
 */
"""),
        ("#include <Python.h>\n", "#ifndef _GNU_SOURCE\n#define _GNU_SOURCE\n#endif\n#include <Python.h>\n#include <unistd.h>\n"))


def _unlocked(sources):
    """Without threads numpy's macros that take the GIL are empty, so what has let it go by hand would go on without it."""
    modules.replace(sources / "unique.cpp",
                    ("    PyThreadState *_save;\n    _save = PyEval_SaveThread();\n", ""),
                    ("    auto grab_gil = finally([&]() { PyEval_RestoreThread(_save); });\n", ""))


def _signatures(sources):
    """Functions that are called with an argument more than they take, which in WebAssembly is a trap."""
    replace = modules.replace
    replace(sources / "array_converter.c", ("array_converter_get_scalar_input(PyArrayArrayConverterObject *self)",
                                            "array_converter_get_scalar_input(PyArrayArrayConverterObject *self, void *closure)"))
    replace(sources / "convert_datatype.c", ("_get_castingimpl(PyObject *NPY_UNUSED(module), PyObject *args)",
                                             "_get_castingimpl(PyObject *NPY_UNUSED(module), PyObject *args, PyObject *kwds)"))
    replace(sources / "convert_datatype.h", ("_get_castingimpl(PyObject *NPY_UNUSED(module), PyObject *args)",
                                             "_get_castingimpl(PyObject *NPY_UNUSED(module), PyObject *args, PyObject *kwds)"))
    replace(sources / "_multiarray_tests.c.src", ("printf_float_g(PyObject *NPY_UNUSED(dummy), PyObject *args, PyObject *kwds)",
                                                  "printf_float_g(PyObject *NPY_UNUSED(dummy), PyObject *args)"))
    replace(sources.parent / "umath/_scaled_float_dtype.c", ("sfloat___reduce__(PyArray_SFloatDescr *self)",
                                                            "sfloat___reduce__(PyArray_SFloatDescr *self, void *unused)"))
    replace(sources / "array_method.c", ("boundarraymethod__supports_unaligned(PyBoundArrayMethodObject *self)",
                                         "boundarraymethod__supports_unaligned(PyBoundArrayMethodObject *self, void *closure)"))


def _site(source, room, site):
    """The Python files of the source, and those that the build has generated."""
    def unwanted(_, names):
        return [name for name in names if name in LEFT_OUT or name.endswith((".pyx", ".pxd", ".pyi", ".in", ".h", ".c"))]

    shutil.copytree(source / "numpy", site / "numpy", ignore=unwanted)
    for path in sorted((room / "numpy").rglob("*.py")):
        target = site / path.relative_to(room)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


GET_INCLUDE = """import os.path

__version__ = "2.3.5"


def get_include():
    return os.path.join(os.path.dirname(__file__), "_core", "include")
"""


def _dev(source, room, target):
    """What other packages' builds ask of numpy."""
    include = target / "_core/include/numpy"
    shutil.copytree(source / "numpy/_core/include/numpy", include)
    for name in ("_numpyconfig.h", "__multiarray_api.h", "__multiarray_api.c", "__ufunc_api.h", "__ufunc_api.c"):
        for path in (room / "numpy/_core").rglob(name):
            shutil.copyfile(path, include / name)
    for path in sorted((source / "numpy").rglob("*.pxd")):
        place = target / path.relative_to(source / "numpy")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for name in ("", "random", "_core"):
        (target / name / "__init__.py").write_text(GET_INCLUDE if not name else "")
