"""What is changed in SciPy's source, and why: a platform without Fortran, threads and addresses, whose pointers have 32 bits
while `np.intp` has 64 (see packages/numpy/integers.py).
"""

import re

from building.modules import replace
from shared.steps import RecipeError

# The routines of scipy.linalg.cython_lapack. Only compiled code can call them, and all compiled code is in the image: these are
# those that SciPy itself and the packages built on it import. (scipy.linalg.lapack is complete.)
CYTHON_LAPACK = {f"{kind}{name}" for kind in "sdcz" for name in (
    "gecon", "gees", "geev", "geqrf", "gesdd", "gesv", "gesvd", "getrf", "getri", "getrs", "lange", "larf", "larfg", "larfgp", "lartg", "orm2r",
    "unm2r", "ormqr", "unmqr", "orgqr", "ungqr", "potrf", "potri", "potrs", "posv", "rot", "trsyl",
    "trtri", "trtrs", "stev", "syev", "syevr", "gels", "gelsd", "pbtrf", "pbtrs", "lamch", "ladiv")}


# Data that only tests read, and numpy makes.
TEST_DATA = re.compile(r"^npz_files = \[\n.*?^endforeach\n", re.MULTILINE | re.DOTALL)
# Modules that only tests import.
TEST_MODULE = re.compile(r"^py3\.extension_module\('\w+',\n(?:  .*\n)+?  install_tag: 'tests'\n\)\n", re.MULTILINE)


def change(source, pybind11, own):
    """Change the `source`. `pybind11` are the flags that find pybind11's headers, `own` is the folder of our C files."""
    package = source / "scipy"
    _build(source, pybind11, own)
    _wide_indices(package)
    _narrow_pointers(package)
    _callbacks(package)
    _no_threads(package)


def _build(source, pybind11, own):
    """Fortran files as the C that has been made of them, and libraries from where they are here."""
    package = source / "scipy"
    replace(source / "meson.build", ("add_languages('fortran', native: false)\nff = meson.get_compiler('fortran')\n", "ff = cc\n"))
    quoted = ", ".join(f"'{flag}'" for flag in pybind11)
    replace(package / "meson.build",
            ("  blas = dependency(blas_name)\n", "  blas = declare_dependency()\n"),
            ("  lapack = dependency(lapack_name)\n", "  lapack = declare_dependency()\n"),
            ("pybind11_dep = dependency('pybind11', version: '>=2.13.2')", f"pybind11_dep = declare_dependency(compile_args: [{quoted}])"),
            ("npymath_lib = cc.find_library('npymath', dirs: npymath_path)", "npymath_lib = declare_dependency()"),
            ("thread_dep = dependency('threads', required: false)", "thread_dep = dependency('', required: false)"),
            ("  output : ['_@BASENAME@module.c', '_@BASENAME@-f2pywrappers.f'],", "  output : ['_@BASENAME@module.c'],"),
            # What was found out about libraries that are not there.
            ("dependency_map = {\n  'BLAS': blas,\n  'LAPACK': lapack,\n  'PYBIND11': pybind11_dep,\n}", "dependency_map = {}"),
            ("  'CYTHON': meson.get_compiler('cython'),\n  'FORTRAN': meson.get_compiler('fortran')\n", "  'CYTHON': meson.get_compiler('cython'),\n"))
    replace(package / "linalg/meson.build",
            ("  output: ['_fblasmodule.c', '_fblas-f2pywrappers.f'],", "  output: ['_fblasmodule.c'],"))
    replace(package / "interpolate/meson.build",
            ("  f2py_gen.process('src/dfitpack.pyf', extra_args: extra_f2py_arg),",
             f"  [f2py_gen.process('src/dfitpack.pyf', extra_args: extra_f2py_arg), '{own}/dfitpack-wrappers.c'],"))
    for name in ("linalg", "interpolate", "odr"):
        path = package / name / "meson.build"
        text = path.read_text().replace("link_language: 'fortran'", "link_language: 'c'")
        # f2c's C is that of 1989.
        text = re.sub(r"fortran_args: .*$", "c_args: ['-std=gnu89', '-fno-strict-aliasing'],", text, flags=re.MULTILINE)
        path.write_text(re.sub(r"'((?:fitpack|odrpack)/\w+)\.f'", r"'\1.c'", text))
    for path in sorted(package.rglob("meson.build")):
        path.write_text(TEST_DATA.sub("", TEST_MODULE.sub("", path.read_text())))
    # Fortran subroutines that are declared with a result, or with lengths of strings.
    replace(package / "linalg/src/_common_array_utils.hh", *((f"CBLAS_INT\nBLAS_FUNC({kind}{name})", f"void\nBLAS_FUNC({kind}{name})")
                                                            for kind in "sdcz" for name in ("getrf", "getri")))
    for path in sorted((package / "sparse/linalg/_dsolve/SuperLU/SRC").glob("*.[ch]")):
        text = path.read_text("latin-1")
        changed = re.sub(r"\bint\s+([sdcz](?:gem[mv]|trs[mv])_\s*\()", r"void \1", text)
        if changed != text:
            path.write_text(changed, "latin-1")
    replace(package / "special/lapack_defs.h", ("CBLAS_INT *info, size_t jobz_len, size_t range_len);", "CBLAS_INT *info);"),
            ("lwork, iwork, liwork, info,\n                      1, 1);", "lwork, iwork, liwork, info);"))
    replace(package / "optimize/_trlib/trlib_private.h", ("double *beta, double *b, CBLAS_INT *ldb, int);", "double *beta, double *b, CBLAS_INT *ldb);"),
            ("beta, b, &ldb_, 1);", "beta, b, &ldb_);"))
    # Called with two.
    replace(package / "odr/__odrpack.c", ("PyObject *set_exceptions(PyObject * self, PyObject * args, PyObject * kwds)",
                                          "PyObject *set_exceptions(PyObject * self, PyObject * args)"),
            ("(F_INT *lun, char *fn, int fnlen);", "(F_INT *lun, char *fn);"),
            ("(&lunerr, errfile, lerrfile);", "(&lunerr, errfile);"), ("(&lunrpt, rptfile, lrptfile);", "(&lunrpt, rptfile);"))
    # Calls with arguments that the subroutines do not have: lengths of strings, and of arrays.
    wrappers = package / "linalg/flapack_gen.pyf.src"
    replace(wrappers, ("work,&lwork,bwork,&info,1,1)\n", "work,&lwork,bwork,&info)\n"),
            ("work,&lwork,rwork,bwork,&info,1,1)\n", "work,&lwork,rwork,bwork,&info)\n"), ("F_INT*,F_INT,F_INT\n", "F_INT*\n", 2))
    replace(package / "linalg/flapack_other.pyf.src",
            ("subroutine <prefix>larfg(n, alpha, x, incx, tau, lx)\n",
             "subroutine <prefix>larfg(n, alpha, x, incx, tau, lx)\n    callstatement (*f2py_func)(&n,&alpha,x,&incx,&tau)\n"
             "    callprotoargument F_INT*,<ctype>*,<ctype>*,F_INT*,<ctype>*\n"),
            ("subroutine <prefix>larf(side,m,n,v,incv,tau,c,ldc,work,lwork)\n",
             "subroutine <prefix>larf(side,m,n,v,incv,tau,c,ldc,work,lwork)\n"
             "    callstatement (*f2py_func)(&side,&m,&n,v,&incv,&tau,c,&ldc,work)\n"
             "    callprotoargument char*,F_INT*,F_INT*,<ctype>*,F_INT*,<ctype>*,<ctype>*,F_INT*,<ctype>*\n"))
    signatures = package / "linalg/cython_lapack_signatures.txt"
    kept = [line for line in signatures.read_text().splitlines() if re.match(r"\w+ (\w+)\(", line) and
            re.match(r"\w+ (\w+)\(", line)[1] in CYTHON_LAPACK]
    if not kept:
        raise RecipeError("cython_lapack_signatures.txt has none of the routines that the recipe keeps")
    signatures.write_text("\n".join(kept) + "\n")


def _wide_indices(package):
    """Arrays of np.intp and of C's long, which Python sees with 64 bits."""
    # The functions themselves go on with what their C types hold; a number beyond it is an invalid argument.
    replace(package / "special/_generate_pyx.py",
            ("    'l': 'NPY_LONG',\n    'p': 'NPY_INTP',\n}\n",
             "    'l': 'NPY_LONGLONG',\n    'p': 'NPY_LONGLONG',\n}\n\nLOOP_TYPES = {**CY_TYPES, 'l': 'long long', 'p': 'long long'}\n"),
            ("    ('l', 'i'),\n}", "    ('l', 'i'), ('l', 'l'), ('l', 'p'), ('p', 'p'),\n}"),
            ("<{CY_TYPES[ufunc_inputs[j]]}*>", "<{LOOP_TYPES[ufunc_inputs[j]]}*>", 3),
            ("(<{CY_TYPES[outtype]} *>op{j})[0] = ", "(<{LOOP_TYPES[outtype]} *>op{j})[0] = ", 3))
    replace(package / "special/_ufuncs_extra_code_common.pxi", ("    NPY_INT, NPY_LONG, NPY_INTP)\n", "    NPY_INT, NPY_LONGLONG)\n"))
    # Arguments only, whose lower half is read where they are `long`.
    replace(package.parent / "subprojects/xsf/include/xsf/numpy.h",
            ("static constexpr NPY_TYPES value = NPY_LONG;", "static constexpr NPY_TYPES value = NPY_LONGLONG;"),
            ("static constexpr NPY_TYPES value = NPY_ULONG;", "static constexpr NPY_TYPES value = NPY_ULONGLONG;"))
    replace(package / "spatial/ckdtree/src/ckdtree_decl.h", ("#define ckdtree_intp_t npy_intp\n", "#define ckdtree_intp_t npy_int64\n"))
    replace(package / "spatial/ckdtree/src/build.cxx", ("(intptr_t *)(self->raw_indices)", "self->raw_indices", 2))
    replace(package / "spatial/ckdtree/src/count_neighbors.cxx", ("double *real_r, intptr_t *results", "double *real_r, ckdtree_intp_t *results"))
    replace(package / "spatial/_voronoi.pyx", ("    cdef np.npy_intp[:] remaining\n", "    cdef np.intp_t[:] remaining\n"))
    replace(package / "sparse/csgraph/_reordering.pyx", ("cdef np.ndarray[np.npy_intp] ", "cdef np.ndarray[np.intp_t] ", 2))
    replace(package / "ndimage/src/nd_image.c", ("*(npy_intp *)PyArray_GETPTR1(ndxArr,", "*(npy_int64 *)PyArray_GETPTR1(ndxArr,"))
    # The number of the type with npy_intp's width, which numpy narrows to.
    replace(package / "signal/_sigtoolsmodule.cc", ("PyArray_ContiguousFromObject(size, NPY_INTP, 1, 1)",
                                                    "PyArray_ContiguousFromObject(size, NPY_LONG, 1, 1)"))
    pava = package / "optimize/_pava/pava_pybind.cpp"
    pava.write_text(pava.read_text().replace("intptr_t", "int64_t"))


def _narrow_pointers(package):
    """What points into numpy's own structures, whose sizes have 32 bits."""
    replace(package / "signal/_upfirdn_apply.pyx",
            ("    np.intp_t * shape\n    np.intp_t * strides\n", "    np.npy_intp * shape\n    np.npy_intp * strides\n"),
            ("<np.intp_t *> ", "<np.npy_intp *> ", 4))
    # A buffer of Py_ssize_t.
    replace(package / "signal/_max_len_seq.py", ("    taps_dtype = np.int32 if np.intp().itemsize == 4 else np.int64\n", "    taps_dtype = np.int32\n"))


def _callbacks(package):
    """Callbacks in C take their data by address, which ctypes does not have here and numpy's arrays do."""
    path = package / "_lib/_ccallback_c.pyx"
    text = path.read_text()
    head, found, _ = text.partition("# Ctypes declarations of the callables above\n")
    if not found:
        raise RecipeError("_ccallback_c.pyx has no ctypes declarations for its tests any more")
    path.write_text(head)
    replace(package / "_lib/_ccallback.py",
            ("        if isinstance(user_data, ctypes.c_void_p):\n",
             "        if hasattr(user_data, '__array_interface__'):\n"
             "            context = user_data.__array_interface__['data'][0]\n"
             "        elif isinstance(user_data, ctypes.c_void_p):\n"))
    replace(package / "stats/_continuous_distns.py", (".ctypes.data_as(ctypes.c_void_p)", "", 7))


def _no_threads(package):
    # numpy's macros that take the lock again are empty here, so SuperLU's allocator would go on without it.
    replace(package / "sparse/linalg/_dsolve/_superluobject.h",
            ("do { if (_save == NULL) _save = PyEval_SaveThread(); } while (0)", "(void)_save"),
            ("do { if (_save) { PyEval_RestoreThread((PyThreadState*)_save); _save = NULL;} } while (0)", "(void)_save"))
    replace(package / "io/_fast_matrix_market/__init__.py", ("PARALLELISM = 0\n", "PARALLELISM = 1\n"))
    replace(package / "fft/_pocketfft/meson.build",
            ("pocketfft_threads = []\n", "pocketfft_threads = ['-DPOCKETFFT_NO_MULTITHREADING']\n"))
    replace(package.parent / "subprojects/highs/meson.build",
            ("threads_dep = dependency('threads', required: false)\n", "threads_dep = dependency('', required: false)\n"))
    # SciPy compiles the same files again, with its own settings.
    replace(package.parent / "subprojects/highs/highs/meson.build",
            ("highslib = library('highs',\n                   highslib_srcs", "highslib = library('highs', build_by_default: false, sources: highslib_srcs"))
