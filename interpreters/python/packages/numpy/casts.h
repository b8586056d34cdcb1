/* Conversions as x86-64 does them, with the floating-point status that they leave there. In C they are undefined where the
 * value does not fit, and WebAssembly's instructions saturate: -1.0 as an unsigned byte would be 0 instead of 255. */
#ifndef SANDPOOL_NUMPY_CASTS_H
#define SANDPOOL_NUMPY_CASTS_H

#include <stdint.h>

extern int npy_wasm_fpstatus;

#define NPY_INVALID_CAST(value) (npy_wasm_fpstatus |= NPY_FPE_INVALID, (value))

/* Towards zero; what does not fit (or is no number) is the smallest integer. */
#define NPY_AS_INT32(x) ((x) > -2147483649.0 && (x) < 2147483648.0 ? (int32_t)(x) : NPY_INVALID_CAST(INT32_MIN))
#define NPY_AS_INT64(x) \
    ((x) >= -9223372036854775808.0 && (x) < 9223372036854775808.0 ? (int64_t)(x) : NPY_INVALID_CAST(INT64_MIN))
/* As compilers do it with signed conversions only. */
#define NPY_AS_UINT64(x) \
    ((x) >= 9223372036854775808.0 ? (uint64_t)NPY_AS_INT64((x) - 9223372036854775808.0) ^ ((uint64_t)1 << 63) \
                                  : (uint64_t)NPY_AS_INT64(x))

/* To a narrower floating-point type. */
#define NPY_NARROW(from, to, x) ({ \
    from wide_ = (x); \
    to narrow_ = (to)wide_; \
    if (__builtin_isinf(narrow_) && !__builtin_isinf(wide_)) { \
        npy_wasm_fpstatus |= NPY_FPE_OVERFLOW; \
    } \
    narrow_; })

/* To an index: one that needs more than 32 bits stays out of bounds. */
#define NPY_AS_INDEX_S(x) ((x) > 2147483647LL ? INT32_MAX : (x) < -2147483648LL ? INT32_MIN : (int32_t)(x))
#define NPY_AS_INDEX_U(x) ((x) > 2147483647ULL ? INT32_MAX : (int32_t)(x))

#endif
