/* The floating-point status that WebAssembly does not have, worked out afterwards: a result that is not finite, although
 * what it was made of was, tells what has happened. Included by ufunc_object.c, reduction.c and multiarraymodule.c. */
#ifndef SANDPOOL_NUMPY_FPCHECK_H
#define SANDPOOL_NUMPY_FPCHECK_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "numpy/halffloat.h"

extern int npy_wasm_fpstatus;

/* What one number is. */
enum npy_fpkind { NPY_FP_FINITE, NPY_FP_ZERO, NPY_FP_TINY, NPY_FP_INF, NPY_FP_NAN };

static inline enum npy_fpkind
npy_fpkind_double(double x)
{
    if (isnan(x)) return NPY_FP_NAN;
    if (isinf(x)) return NPY_FP_INF;
    if (x == 0) return NPY_FP_ZERO;
    return fabs(x) < DBL_MIN ? NPY_FP_TINY : NPY_FP_FINITE;
}

static inline enum npy_fpkind
npy_fpkind_float(float x)
{
    if (isnan(x)) return NPY_FP_NAN;
    if (isinf(x)) return NPY_FP_INF;
    if (x == 0) return NPY_FP_ZERO;
    return fabsf(x) < FLT_MIN ? NPY_FP_TINY : NPY_FP_FINITE;
}

static inline enum npy_fpkind
npy_fpkind_longdouble(long double x)
{
    if (isnan(x)) return NPY_FP_NAN;
    if (isinf(x)) return NPY_FP_INF;
    if (x == 0) return NPY_FP_ZERO;
    return fabsl(x) < LDBL_MIN ? NPY_FP_TINY : NPY_FP_FINITE;
}

static inline enum npy_fpkind
npy_fpkind_half(npy_half x)
{
    if (npy_half_isnan(x)) return NPY_FP_NAN;
    if (npy_half_isinf(x)) return NPY_FP_INF;
    if (npy_half_iszero(x)) return NPY_FP_ZERO;
    return (x & 0x7c00u) ? NPY_FP_FINITE : NPY_FP_TINY;
}

/* The parts of a number of this type: 1, or 2 for complex ones; 0 for other types. */
static inline int
npy_fpparts(int type)
{
    switch (type) {
    case NPY_HALF: case NPY_FLOAT: case NPY_DOUBLE: case NPY_LONGDOUBLE: return 1;
    case NPY_CFLOAT: case NPY_CDOUBLE: case NPY_CLONGDOUBLE: return 2;
    default: return 0;
    }
}

static inline enum npy_fpkind
npy_fpkind_at(int type, const char *at, int part)
{
    switch (type) {
    case NPY_HALF: { npy_half x; memcpy(&x, at, sizeof(x)); return npy_fpkind_half(x); }
    case NPY_FLOAT: case NPY_CFLOAT: { float x; memcpy(&x, at + part * sizeof(x), sizeof(x)); return npy_fpkind_float(x); }
    case NPY_DOUBLE: case NPY_CDOUBLE: { double x; memcpy(&x, at + part * sizeof(x), sizeof(x)); return npy_fpkind_double(x); }
    default: { long double x; memcpy(&x, at + part * sizeof(x), sizeof(x)); return npy_fpkind_longdouble(x); }
    }
}

/* The kind of a whole number of any type: the worst of its parts. An integer is finite, and a time that is none no number. */
static inline enum npy_fpkind
npy_fpkind_of(int type, const char *at, npy_intp size)
{
    int parts = npy_fpparts(type);
    if (type == NPY_TIMEDELTA || type == NPY_DATETIME) {
        npy_int64 x;
        memcpy(&x, at, sizeof(x));
        return x == NPY_DATETIME_NAT ? NPY_FP_NAN : x == 0 ? NPY_FP_ZERO : NPY_FP_FINITE;
    }
    if (parts == 0) {
        for (npy_intp i = 0; type <= NPY_ULONGLONG && i < size; i++) {
            if (at[i]) return NPY_FP_FINITE;
        }
        return type <= NPY_ULONGLONG ? NPY_FP_ZERO : NPY_FP_FINITE;
    }
    enum npy_fpkind kind = npy_fpkind_at(type, at, 0);
    if (parts == 2) {
        enum npy_fpkind other = npy_fpkind_at(type, at, 1);
        if (kind == NPY_FP_ZERO || other > NPY_FP_TINY) {
            kind = kind > other && kind > NPY_FP_TINY ? kind : other;
        }
    }
    return kind;
}

/* Whether n numbers are all finite; quick for contiguous floats and doubles. */
static inline int
npy_fpall_finite(int type, const char *at, npy_intp n, npy_intp stride)
{
    int parts = npy_fpparts(type);
    if ((type == NPY_DOUBLE && stride == 8) || (type == NPY_CDOUBLE && stride == 16)) {
        uint64_t bad = 0;
        for (npy_intp i = 0; i < n * parts; i++) {
            uint64_t bits;
            memcpy(&bits, at + 8 * i, 8);
            bad |= (bits & 0x7ff0000000000000) == 0x7ff0000000000000;
        }
        return !bad;
    }
    if ((type == NPY_FLOAT && stride == 4) || (type == NPY_CFLOAT && stride == 8)) {
        uint32_t bad = 0;
        for (npy_intp i = 0; i < n * parts; i++) {
            uint32_t bits;
            memcpy(&bits, at + 4 * i, 4);
            bad |= (bits & 0x7f800000) == 0x7f800000;
        }
        return !bad;
    }
    for (npy_intp i = 0; i < n; i++) {
        for (int part = 0; part < parts; part++) {
            if (npy_fpkind_at(type, at + i * stride, part) >= NPY_FP_INF) return 0;
        }
    }
    return 1;
}

static inline int
npy_fpname_in(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (!strcmp(name, *names)) return 1;
    }
    return 0;
}

/* Infinite at finite arguments: a pole, where others overflow. */
static inline int
npy_fppole(const char *name, int zero)
{
    static const char *const dividing[] = {"divide", "floor_divide", "true_divide", "reciprocal", "power", "float_power",
                                           "remainder", "fmod", "divmod", "modf", NULL};
    static const char *const poles[] = {"log", "log2", "log10", "log1p", "arctanh", NULL};
    return npy_fpname_in(name, poles) || (zero && npy_fpname_in(name, dividing));
}

/* Of a result of this kind: the status that it was left with. */
static inline int
npy_fpverdict(const char *name, enum npy_fpkind out, int nan_in, int inf_in, int zero_in)
{
    if (nan_in) return 0;
    if (out == NPY_FP_NAN) return NPY_FPE_INVALID;
    if (out == NPY_FP_INF && !inf_in) return npy_fppole(name, zero_in) ? NPY_FPE_DIVIDEBYZERO : NPY_FPE_OVERFLOW;
    return 0;
}

/* Functions whose results are zero or denormal at other arguments only by underflow. */
static inline int
npy_fpunderflow(const char *name)
{
    static const char *const names[] = {"multiply", "divide", "true_divide", "exp", "exp2", "power", "float_power", "square",
                                        "reciprocal", "ldexp", NULL};
    return npy_fpname_in(name, names);
}

/* Whether one of n numbers is zero. */
static inline int
npy_fpsome_zero(int type, const char *at, npy_intp n, npy_intp stride, npy_intp size)
{
    for (npy_intp k = 0; k < n; k++) {
        if (npy_fpkind_of(type, at + k * stride, size) == NPY_FP_ZERO) return 1;
    }
    return 0;
}

/* Before a loop that overwrites an input: a bit for each input that lies where an output will, and is finite; 16 above it, one
 * if a zero among its numbers makes a pole. */
static inline unsigned
npy_fpbefore(PyArrayMethod_Context *context, char *const *data, npy_intp n, npy_intp const *strides)
{
    int nin = context->method->nin, nout = context->method->nout;
    const char *name = ufunc_get_name_cstr((PyUFuncObject *)context->caller);
    unsigned before = 0;
    for (int i = 0; i < nin && i < 16; i++) {
        for (int o = nin; o < nin + nout; o++) {
            PyArray_Descr *descr = context->descriptors[i];
            if (data[i] == data[o] && npy_fpall_finite(descr->type_num, data[i], n, strides[i])) {
                before |= 1u << i;
                if (npy_fppole(name, 1) && npy_fpsome_zero(descr->type_num, data[i], n, strides[i], descr->elsize)) {
                    before |= 1u << (16 + i);
                }
            }
        }
    }
    return before;
}

static inline void
npy_fpafter(PyArrayMethod_Context *context, int errormask, char *const *data, npy_intp n, npy_intp const *strides,
            unsigned before)
{
    int nin = context->method->nin, nout = context->method->nout;
    const char *name = ufunc_get_name_cstr((PyUFuncObject *)context->caller);
    int underflow = ((errormask >> 6) & 7) && npy_fpunderflow(name);
    static const char *const quiet[] = {"nextafter", "spacing", "copysign", "sign", "positive", "negative", "absolute", "fabs",
                                        "conjugate", "maximum", "minimum", "fmax", "fmin", "frexp", "clip", "heaviside",
                                        NULL};
    if (errormask == 0 || PyErr_Occurred() || npy_fpname_in(name, quiet)) return;
    for (int o = nin; o < nin + nout; o++) {
        int type = context->descriptors[o]->type_num, parts = npy_fpparts(type);
        if (parts == 0 || (!underflow && npy_fpall_finite(type, data[o], n, strides[o]))) continue;
        for (npy_intp k = 0; k < n; k++) {
            int nan_in = 0, inf_in = 0, zero_in = 0, zeros = 0;
            for (int i = 0; i < nin; i++) {
                if (data[i] == data[o] && !(before & (1u << i))) {
                    nan_in = 1;
                    continue;
                }
                if (before & (1u << i)) {
                    zero_in |= (before >> (16 + i)) & 1;
                    continue;
                }
                enum npy_fpkind in = npy_fpkind_of(context->descriptors[i]->type_num, data[i] + k * strides[i],
                                                   context->descriptors[i]->elsize);
                nan_in |= in == NPY_FP_NAN;
                inf_in |= in == NPY_FP_INF;
                zero_in |= in == NPY_FP_ZERO;
                zeros += in == NPY_FP_ZERO && !(i == 1 && (name[0] == 'p' || name[0] == 'f'));
            }
            for (int part = 0; part < parts; part++) {
                enum npy_fpkind out = npy_fpkind_at(type, data[o] + k * strides[o], part);
                npy_wasm_fpstatus |= npy_fpverdict(name, out, nan_in, inf_in, zero_in);
                int none = zeros && strncmp(name, "exp", 3) != 0;
                if (underflow && parts == 1 && !nan_in && !inf_in && !none && (out == NPY_FP_ZERO || out == NPY_FP_TINY)) {
                    npy_wasm_fpstatus |= NPY_FPE_UNDERFLOW;
                }
            }
        }
    }
}

/* Whether an array has infinities (1) or anything that is not a number (2). */
static inline int
npy_fpcontent(PyArrayObject *array)
{
    int type = PyArray_TYPE(array), parts = npy_fpparts(type), found = 0;
    if (parts == 0 || !PyArray_ISNOTSWAPPED(array)) return 0;
    if (PyArray_IS_C_CONTIGUOUS(array) &&
            npy_fpall_finite(type, PyArray_BYTES(array), PyArray_SIZE(array), PyArray_ITEMSIZE(array))) {
        return 0;
    }
    PyArrayIterObject *it = (PyArrayIterObject *)PyArray_IterNew((PyObject *)array);
    if (it == NULL) {
        PyErr_Clear();
        return 0;
    }
    while (it->index < it->size && found != 3) {
        for (int part = 0; part < parts; part++) {
            enum npy_fpkind kind = npy_fpkind_at(type, it->dataptr, part);
            found |= kind == NPY_FP_INF ? 1 : kind == NPY_FP_NAN ? 2 : 0;
        }
        PyArray_ITER_NEXT(it);
    }
    Py_DECREF(it);
    return found;
}

/* After a reduction, or a product of arrays: what in the result cannot come from what is in the operands, or from the number
 * of the result's type (or NULL) that the reduction began with. */
static inline void
npy_fpreduced(PyArrayObject *result, PyArrayObject *first, PyArrayObject *second, const char *initial)
{
    if (PyErr_Occurred() || npy_fpparts(PyArray_TYPE(result)) == 0) return;
    int out = npy_fpcontent(result);
    if (out == 0) return;
    int in = npy_fpcontent(first) | (second ? npy_fpcontent(second) : 0);
    if (initial) {
        enum npy_fpkind kind = npy_fpkind_of(PyArray_TYPE(result), initial, PyArray_ITEMSIZE(result));
        in |= kind == NPY_FP_INF ? 1 : kind == NPY_FP_NAN ? 2 : 0;
    }
    if (in & 2) return;
    if (out & 2) npy_wasm_fpstatus |= NPY_FPE_INVALID;
    if ((out & 1) && !(in & 1)) npy_wasm_fpstatus |= NPY_FPE_OVERFLOW;
}

/* The kinds (a bit each) of the numbers at n places: where `indices` say, or one after the other where they are NULL. */
static inline unsigned
npy_fpkinds(int type, npy_intp size, const char *at, npy_intp n, npy_intp stride, const char *indices, npy_intp between,
            npy_intp length)
{
    unsigned kinds = 0;
    for (npy_intp k = 0; k < n; k++) {
        npy_intp index = k;
        if (indices) {
            memcpy(&index, indices + k * between, sizeof(index));
            if (index < 0) index += length;
        }
        kinds |= 1u << npy_fpkind_of(type, at + index * stride, size);
    }
    return kinds;
}

/* After `ufunc.at`, where `in1` and `in2` are the kinds that the operands had at the places that it changed. */
static inline void
npy_fpchanged(const char *name, unsigned in1, unsigned in2, unsigned out)
{
    const unsigned nan = 1u << NPY_FP_NAN, inf = 1u << NPY_FP_INF, zero = 1u << NPY_FP_ZERO;
    int poles = ((!in2 || name[0] == 'p' || name[0] == 'f') && (in1 & zero)) || (in2 & zero);
    if ((in1 | in2) & nan) return;
    if (out & nan) npy_wasm_fpstatus |= NPY_FPE_INVALID;
    if ((out & inf) && !((in1 | in2) & inf)) {
        npy_wasm_fpstatus |= npy_fppole(name, poles) ? NPY_FPE_DIVIDEBYZERO : NPY_FPE_OVERFLOW;
    }
}

#endif
