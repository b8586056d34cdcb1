"""Integers as on 64-bit Linux: int, np.int_, np.intp and np.long have 64 bits, as have indices that numpy returns.

The guest's pointers have 32 bits, and so have numpy's own indices (npy_intp). On such a machine numpy's default integer has
32 bits too, and code that was written on a 64-bit one overflows silently. So what Python sees as np.intp is the 64-bit
`longlong`, and the type number of `long`, which has the bits of npy_intp, serves only inside: NPY_INDEX. Arrays of it are
made 64-bit before they are returned; index arrays that are passed in are narrowed with saturation, so that an index beyond
32 bits is out of bounds instead of another index.
"""

import re

from building.modules import replace


def change(numpy):
    _types(numpy / "_core")
    _conversions(numpy / "_core/src/multiarray")
    _results(numpy / "_core/src")
    _strings(numpy / "_core/src/umath")
    _random(numpy / "random")
    _aliases(numpy)


def _types(core):
    """Which type number is which."""
    replace(core / "include/numpy/npy_common.h",
            ("        #define NPY_INTP NPY_LONG\n        #define NPY_UINTP NPY_ULONG\n"
             "        #define PyIntpArrType_Type PyLongArrType_Type\n        #define PyUIntpArrType_Type PyULongArrType_Type\n",
             "        /* What Python calls intp; npy_intp itself has 32 bits, and so have arrays of NPY_INDEX. */\n"
             "        #define NPY_INTP NPY_LONGLONG\n        #define NPY_UINTP NPY_ULONGLONG\n"
             "        #define NPY_INDEX NPY_LONG\n"
             "        #define PyIntpArrType_Type PyLongLongArrType_Type\n"
             "        #define PyUIntpArrType_Type PyULongLongArrType_Type\n"),
            # int32 is `int`: nobody outside is to see the type of indices.
            ("#elif NPY_BITSOF_LONG == 32\n", "#elif NPY_BITSOF_LONG == 32 && !defined(__wasm__)\n"))
    sources = core / "src/multiarray"
    replace(sources / "arraytypes.h.src",
            ("#if NPY_SIZEOF_INT == NPY_SIZEOF_LONG\n    #define INT_not_size_named\n",
             "#if NPY_SIZEOF_INT == NPY_SIZEOF_LONG\n    #define LONG_not_size_named\n"))
    replace(sources / "arraytypes.c.src",
            ("    LETTER_TO_NUM('n') = NPY_INTP;\n",
             "    LETTER_TO_NUM('l') = NPY_LONGLONG;\n    LETTER_TO_NUM('L') = NPY_ULONGLONG;\n"
             "    LETTER_TO_NUM('n') = NPY_INTP;\n"))
    # Buffers of other libraries, whose `long` has 32 bits.
    replace(sources / "buffer.c",
            ("return native ? NPY_LONG : NPY_INT32;", "return native ? NPY_INT : NPY_INT32;"),
            ("return native ? NPY_ULONG : NPY_UINT32;", "return native ? NPY_UINT : NPY_UINT32;"),
            ("return native ? NPY_INTP : -1;", "return native ? NPY_INT : -1;"),
            ("return native ? NPY_UINTP : -1;", "return native ? NPY_UINT : -1;"))
    replace(core / "src/umath/ufunc_object.c",
            ("else if ((size_t)PyArray_ITEMSIZE(arr) < sizeof(npy_intp)) {",
             "else if ((size_t)PyArray_ITEMSIZE(arr) < sizeof(npy_longlong)) {"),
            ("        PyArray_Descr *indtype = PyArray_DescrFromType(NPY_INTP);\n",
             "        PyArray_Descr *indtype = PyArray_DescrFromType(NPY_INDEX);\n"))
    # Equal numbers have equal hashes. Python's are the remainder of a prime below 2**31 here.
    replace(sources / "scalartypes.c.src",
            (" * #lname = byte, short, uint#\n * #name = Byte, Short, UInt#\n", " * #lname = byte, short#\n * #name = Byte, Short#\n"),
            ("static npy_hash_t\nulong_arrtype_hash(PyObject *obj)\n",
             "static npy_hash_t\nuint_arrtype_hash(PyObject *obj)\n{\n"
             "    PyObject * l = PyLong_FromUnsignedLong(PyArrayScalar_VAL(obj, UInt));\n    npy_hash_t x = PyObject_Hash(l);\n"
             "    Py_DECREF(l);\n    return x;\n}\n\nstatic npy_hash_t\nulong_arrtype_hash(PyObject *obj)\n"),
            ("    npy_hash_t x = (npy_hash_t)(PyArrayScalar_VAL(obj, Int));\n    if (x == -1) {\n        x = -2;\n    }\n    return x;\n",
             "    PyObject *l = PyLong_FromLong(PyArrayScalar_VAL(obj, Int));\n    npy_hash_t x = PyObject_Hash(l);\n"
             "    Py_DECREF(l);\n    return x;\n"))
    # Casts of the types that have no name of their size: that is `long` here.
    replace(sources / "stringdtype/casts.cpp",
            *((f"CastSpec<npy_{name},{gap}{value}NPY_{name.upper()}>()", f"CastSpec<npy_{long},{gap}{value}NPY_{long.upper()}>()")
              for name, long, gap, value in (("int", "long", "  ", "npy_longlong,  "), ("uint", "ulong", " ", "npy_ulonglong, "),
                                             ("int", "long", "  ", "long long,          "),
                                             ("uint", "ulong", " ", "unsigned long long, "))))
    tests = core / "src/umath/_umath_tests.c.src"
    tests.write_text(re.sub(r"(#typ=.*)npy_intp", r"\1npy_int64", tests.read_text()))


def _conversions(sources):
    """Index arrays that are passed in."""
    for name, count in (("iterators.c", 3), ("calculation.c", 2), ("item_selection.c", 10), ("mapping.c", 6)):
        replace(sources / name, ("NPY_INTP)", "NPY_INDEX)", count))
    replace(sources / "item_selection.c", ("NPY_INTP, 0, ", "NPY_INDEX, 0, ", 2))
    replace(sources / "compiled_base.c", ("DescrFromType(NPY_INTP)", "DescrFromType(NPY_INDEX)", 5))
    replace(sources / "ctors.c",
            ("    /* Raise an error if the casting rule isn't followed */\n"
             "    if (!PyArray_CanCastArrayTo(arr, newtype, casting)) {\n",
             "    /* Indices: see NPY_INDEX. The cast saturates. */\n"
             "    if (newtype->type_num == NPY_INDEX &&\n"
             "            (PyArray_DESCR(arr)->type_num == NPY_LONGLONG || PyArray_DESCR(arr)->type_num == NPY_UINT)) {\n"
             "        casting = NPY_UNSAFE_CASTING;\n    }\n\n"
             "    /* Raise an error if the casting rule isn't followed */\n"
             "    if (!PyArray_CanCastArrayTo(arr, newtype, casting)) {\n"))
    # Narrowed once, here, an index takes numpy's fast paths.
    replace(sources / "mapping.c",
            ("        else if (PyArray_ISINTEGER(arr)) {\n            if (PyArray_NDIM(arr) == 0) {\n",
             "        else if (PyArray_ISINTEGER(arr)) {\n"
             "            if (PyArray_NDIM(arr) != 0 && PyArray_ITEMSIZE(arr) == 8) {\n"
             "                PyArrayObject *narrow = (PyArrayObject *)PyArray_FromArray(\n"
             "                        arr, PyArray_DescrFromType(NPY_INDEX), NPY_ARRAY_FORCECAST);\n"
             "                Py_DECREF(arr);\n"
             "                arr = narrow;\n"
             "                if (arr == NULL) {\n"
             "                    goto failed_building_indices;\n"
             "                }\n"
             "            }\n"
             "            if (PyArray_NDIM(arr) == 0) {\n"))


RESULT = """#pragma once
/* An index array as Python sees it: 64 bits. Takes over the reference. */
static inline PyObject *
npy_index_result(PyObject *array)
{
    if (array == NULL || !PyArray_Check(array) || PyArray_TYPE((PyArrayObject *)array) != NPY_INDEX) {
        return array;
    }
    PyObject *wide = PyArray_CastToType((PyArrayObject *)array, PyArray_DescrFromType(NPY_LONGLONG), 0);
    Py_DECREF(array);
    return wide;
}

"""


def _results(sources):
    """Indices that are returned."""
    arrays = sources / "multiarray"
    (arrays / "npy_index.h").write_text(RESULT)
    for name in ("calculation.c", "item_selection.c", "compiled_base.c"):
        replace(arrays / name, ('#include "common.h"\n', '#include "common.h"\n#include "npy_index.h"\n'))
    replace(arrays / "calculation.c",
            ("        rp = out;\n        Py_INCREF(rp);\n    }\n    return (PyObject *)rp;\n",
             "        rp = out;\n        Py_INCREF(rp);\n    }\n    return out ? (PyObject *)rp : npy_index_result((PyObject *)rp);\n"))
    replace(arrays / "item_selection.c",
            ("    return (PyObject *)rop;\n", "    return npy_index_result((PyObject *)rop);\n", 2),
            # lexsort
            ("    PyArray_free(mps);\n    PyArray_free(its);\n    return (PyObject *)ret;\n",
             "    PyArray_free(mps);\n    PyArray_free(its);\n    return npy_index_result((PyObject *)ret);\n"),
            # searchsorted
            ("    Py_DECREF(ap1);\n    Py_DECREF(ap2);\n    return (PyObject *)ret;\n",
             "    Py_DECREF(ap1);\n    Py_DECREF(ap2);\n    return npy_index_result((PyObject *)ret);\n"),
            # nonzero
            ("            PyArray_FLAGS(ret), (PyObject *)ret, (PyObject *)ret);\n        if (view == NULL) {\n",
             "            PyArray_FLAGS(ret), (PyObject *)ret, (PyObject *)ret);\n"
             "        view = (PyArrayObject *)npy_index_result((PyObject *)view);\n        if (view == NULL) {\n"))
    replace(arrays / "compiled_base.c",
            # bincount counts in 64 bits
            ("    npy_intp *numbers, *ians, len, mx, mn, ans_size;\n",
             "    npy_intp *numbers, len, mx, mn, ans_size;\n    npy_longlong *ians;\n"),
            ("        ians = (npy_intp *)PyArray_DATA(ans);\n", "        ians = (npy_longlong *)PyArray_DATA(ans);\n"),
            # ravel_multi_index
            ("    return PyArray_Return(ret);\n\nfail:\n    Py_XDECREF(dtype[0]);\n",
             "    return PyArray_Return((PyArrayObject *)npy_index_result((PyObject *)ret));\n\n"
             "fail:\n    Py_XDECREF(dtype[0]);\n"),
            # unravel_index
            ("                NPY_ARRAY_WRITEABLE, NULL, (PyObject *)ret_arr);\n        if (view == NULL) {\n",
             "                NPY_ARRAY_WRITEABLE, NULL, (PyObject *)ret_arr);\n"
             "        view = (PyArrayObject *)npy_index_result((PyObject *)view);\n        if (view == NULL) {\n"))
    replace(arrays / "multiarraymodule.c",
            ("    PyArray_Descr *descr = PyArray_DescrFromType(NPY_INTP);\n"
             "    if (descr == NULL) {\n        return NULL;\n    }\n    return PyArray_Scalar(&count, descr, NULL);\n",
             "    PyArray_Descr *descr = PyArray_DescrFromType(NPY_LONGLONG);\n"
             "    if (descr == NULL) {\n        return NULL;\n    }\n    npy_longlong wide = count;\n"
             "    return PyArray_Scalar(&wide, descr, NULL);\n"))


def _strings(umath):
    """The loops of string functions, whose indices are np.intp to Python."""
    for name, results, arguments in (("string_ufuncs.cpp", 3, "(npy_intp*)"), ("stringdtype_ufuncs.cpp", 2, "(npy_intp *)")):
        replace(umath / name, ("*(npy_intp *)out = ", "*(npy_int64 *)out = ", results),
                *((f"npy_intp {part} = *{arguments}{part}_ptr;",
                   f"npy_intp {part} = (npy_intp)npy_clip_index(*(npy_int64 *){part}_ptr);") for part in ("start", "stop", "step")))
        replace(umath / name, ('#include "numpy/ndarraytypes.h"\n', """#include "numpy/ndarraytypes.h"

static inline npy_int64
npy_clip_index(npy_int64 index)
{
    return index > NPY_MAX_INTP ? NPY_MAX_INTP : index < NPY_MIN_INTP ? NPY_MIN_INTP : index;
}
"""))


def _random(random):
    """The older generator returns C's `long`."""
    path = random / "mtrand.pyx"
    replace(path,
            ("legacy_random_multinomial(bitgen_t *bitgen_state, long n, long *mnix,",
             "legacy_random_multinomial(bitgen_t *bitgen_state, int64_t n, int64_t *mnix,"),
            ("        return <long>x64\n", "        return x64\n"),
            ("cdef long *randoms_data", "cdef int64_t *randoms_data"),
            ("        cdef np.npy_intp _in = 0\n        cdef bint is_scalar = True\n",
             "        cdef int64_t _in = 0\n        cdef bint is_scalar = True\n"),
            ("_in = (<np.npy_intp*>np.PyArray_MultiIter_DATA(it, 2))[0]", "_in = (<int64_t*>np.PyArray_MultiIter_DATA(it, 2))[0]"),
            ("(<long*>np.PyArray_MultiIter_DATA(it, 0))[0]", "(<int64_t*>np.PyArray_MultiIter_DATA(it, 0))[0]"),
            ("return <long>legacy_random_binomial(", "return <int64_t>legacy_random_binomial("),
            ("randoms_data = <long *>np.PyArray_DATA(randoms)", "randoms_data = <int64_t *>np.PyArray_DATA(randoms)"),
            ("def multinomial(self, long n, object pvals, size=None):", "def multinomial(self, int64_t n, object pvals, size=None):"),
            ("        cdef long *mnix\n        cdef long ni\n", "        cdef int64_t *mnix\n        cdef int64_t ni\n"),
            ("mnix = <long*>np.PyArray_DATA(mnarr)", "mnix = <int64_t*>np.PyArray_DATA(mnarr)"))
    replace(random / "_generator.pyx",
            ("pi = (<np.npy_intp*>np.PyArray_MultiIter_DATA(it, 1))[0]", "pi = <np.npy_intp>(<int64_t*>np.PyArray_MultiIter_DATA(it, 1))[0]"))
    replace(random / "_common.pyx",
            ('cdef extern from "limits.h":\n    cdef long LONG_MAX', 'cdef extern from "stdint.h":\n    cdef long long LONG_MAX "INT64_MAX"'))
    # The same random streams as there.
    replace(random / "src/distributions/distributions.c", ("#if ULONG_MAX <= 0xffffffffUL\n", "#if 0\n", 2))
    replace(random.parent / "_core/include/numpy/random/distributions.h",
            ("#define RAND_INT_TYPE long\n#define RAND_INT_MAX LONG_MAX\n",
             "#define RAND_INT_TYPE int64_t\n#define RAND_INT_MAX INT64_MAX\n"))


def _aliases(numpy):
    """np.long, and what Cython code takes for np.intp."""
    replace(numpy / "_core/_type_aliases.py",
            ("sctypeDict = {}\nallTypes = {}\n",
             "# The C library's 32-bit long serves inside only; Python's has 64 bits, as on 64-bit Linux.\n"
             'for _name, _same in [("long", "int64"), ("NPY_LONG", "NPY_LONGLONG"), ("ulong", "uint64"), ("NPY_ULONG", "NPY_ULONGLONG")]:\n'
             "    typeinfo[_name] = typeinfo[_same]\n\n"
             "sctypeDict = {}\nallTypes = {}\n"))
    # ctypes says 'l' of its 32-bit types, which dtype() takes for 64 bits.
    replace(numpy / "_core/_dtype_ctypes.py",
            ("        return np.dtype('>' + t._type_)\n", "        return np.dtype('>' + {'l': 'i', 'L': 'I'}.get(t._type_, t._type_))\n"),
            ("        return np.dtype('<' + t._type_)\n", "        return np.dtype('<' + {'l': 'i', 'L': 'I'}.get(t._type_, t._type_))\n"),
            ("        return np.dtype(t._type_)\n", "        return np.dtype({'l': 'i', 'L': 'I'}.get(t._type_, t._type_))\n"))
    for name in ("__init__.pxd", "__init__.cython-30.pxd"):
        replace(numpy / name, ("ctypedef npy_intp       intp_t\n", "ctypedef npy_int64      intp_t\n"),
                ("ctypedef npy_uintp      uintp_t\n", "ctypedef npy_uint64     uintp_t\n"))
