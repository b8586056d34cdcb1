"""Floating-point errors and conversions as on x86-64.

WebAssembly has no floating-point status, so numpy would never warn of a division by zero. The status is a variable here
(fpstatus.c), and is worked out from results and arguments (fpcheck.h). Conversions to integers follow x86 (casts.h).
"""

import shutil
from pathlib import Path

from building.modules import replace

HERE = Path(__file__).resolve().parent


def change(core):
    for name in ("fpcheck.h", "casts.h"):
        shutil.copyfile(HERE / name, core / "src/common" / name)
    _status(core / "src")
    _loops(core / "src")
    _scalars(core / "src/umath/scalarmath.c.src")
    _casts(core / "src/multiarray/lowlevel_strided_loops.c.src")


STATUS = """
/* NPY_FPE_* are the bits. One word for all modules, each of which has its own copy of this code. */
#define FE_DIVBYZERO 1
#define FE_OVERFLOW 2
#define FE_UNDERFLOW 4
#define FE_INVALID 8
#define fetestexcept(mask) (npy_wasm_fpstatus & (mask))
#define feclearexcept(mask) ((void)(npy_wasm_fpstatus &= ~(mask)))
#define feraiseexcept(mask) ((void)(npy_wasm_fpstatus |= (mask)))
"""


def _status(sources):
    replace(sources / "npymath/ieee754.c.src", ("#  include <fenv.h>\n", STATUS + "extern int npy_wasm_fpstatus;\n"))
    # The same in C++, for half floats.
    replace(sources / "common/float_status.hpp", ("#include <fenv.h>\n", STATUS + 'extern "C" int npy_wasm_fpstatus;\n'))


# ufunc.at: by indices (`args` and `steps` as the loop gets them), element by element, and element by element with conversions.
AT = (
    ("        res = ufuncimpl->contiguous_indexed_loop(\n                context, args, inner_size, steps, NULL);\n",
     "        PyArray_Descr *const *types = context->descriptors;\n        npy_intp count = *inner_size;\n"
     "        int checked = !(flags & NPY_METH_NO_FLOATINGPOINT_ERRORS);\n"
     "        unsigned in1 = 0, in2 = 0;\n"
     "        if (checked) {\n"
     "            in1 = npy_fpkinds(types[0]->type_num, types[0]->elsize, args[0], count, steps[0], args[1], steps[1], steps[3]);\n"
     "            in2 = args[2] ? npy_fpkinds(types[1]->type_num, types[1]->elsize, args[2], count, steps[2], NULL, 0, 0) : 0;\n"
     "        }\n"
     "        res = ufuncimpl->contiguous_indexed_loop(\n                context, args, inner_size, steps, NULL);\n"
     "        if (res == 0 && checked) {\n"
     "            npy_fpchanged(ufunc_get_name_cstr((PyUFuncObject *)context->caller), in1, in2,\n"
     "                          npy_fpkinds(types[0]->type_num, types[0]->elsize, args[0], count, steps[0], args[1], steps[1],\n"
     "                                      steps[3]));\n        }\n"),
    *((f"        res = strided_loop(context, {data}, &count, strides, auxdata);\n        if (res != 0) {{\n            break;\n        }}\n",
       f"        unsigned before = npy_fpbefore(context, {data}, count, strides);\n"
       f"        res = strided_loop(context, {data}, &count, strides, auxdata);\n        if (res != 0) {{\n            break;\n        }}\n"
       "        if (!(flags & NPY_METH_NO_FLOATINGPOINT_ERRORS)) {\n"
       f"            npy_fpafter(context, errormask, {data}, count, strides, before);\n        }}\n")
      for data in ("dataptr", "buffer_dataptr")),
)


def _loops(sources):
    """Look at results after each loop of a ufunc, after reductions and after dot."""
    replace(sources / "umath/ufunc_object.c",
            ('#include "multiarraymodule.h"\n', '#include "multiarraymodule.h"\n#include "fpcheck.h"\n'),
            ("    int res = strided_loop(context, data, &count, fixed_strides, auxdata);\n\n    NPY_END_THREADS;\n",
             "    unsigned before = npy_fpbefore(context, data, count, fixed_strides);\n"
             "    int res = strided_loop(context, data, &count, fixed_strides, auxdata);\n"
             "    if (res == 0 && !(flags & NPY_METH_NO_FLOATINGPOINT_ERRORS)) {\n"
             "        npy_fpafter(context, errormask, data, count, fixed_strides, before);\n    }\n\n    NPY_END_THREADS;\n"),
            ("        res = strided_loop(context, dataptr, countptr, strides, auxdata);\n    } while (res == 0 && iternext(iter));\n\n"
             "    NPY_END_THREADS;\n    NPY_AUXDATA_FREE(auxdata);\n\n"
             "    if (res == 0 && !(flags & NPY_METH_NO_FLOATINGPOINT_ERRORS)) {\n"
             "        /* NOTE: We could check float errors even when `res < 0` */\n"
             "        const char *name",
             "        unsigned before = npy_fpbefore(context, dataptr, *countptr, strides);\n"
             "        res = strided_loop(context, dataptr, countptr, strides, auxdata);\n"
             "        if (res == 0 && !masked && !(flags & NPY_METH_NO_FLOATINGPOINT_ERRORS)) {\n"
             "            npy_fpafter(context, errormask, dataptr, *countptr, strides, before);\n        }\n"
             "    } while (res == 0 && iternext(iter));\n\n"
             "    NPY_END_THREADS;\n    NPY_AUXDATA_FREE(auxdata);\n\n"
             "    if (res == 0 && !(flags & NPY_METH_NO_FLOATINGPOINT_ERRORS)) {\n"
             "        /* NOTE: We could check float errors even when `res < 0` */\n"
             "        const char *name"),
            ("        res = _check_ufunc_fperr(errormask, \"accumulate\");\n",
             "        if (errormask) {\n            npy_fpreduced(out, arr, NULL, NULL);\n        }\n"
             "        res = _check_ufunc_fperr(errormask, \"accumulate\");\n"),
            ("        res = _check_ufunc_fperr(errormask, \"reduceat\");\n",
             "        if (errormask) {\n            npy_fpreduced(out, arr, NULL, NULL);\n        }\n"
             "        res = _check_ufunc_fperr(errormask, \"reduceat\");\n"),
            *AT,
            # matmul and its kin; the other generalised functions set the status themselves
            ("        retval = _check_ufunc_fperr(errormask, ufunc_name);\n",
             "        static const char *const products[] = {\"matmul\", \"vecdot\", \"matvec\", \"vecmat\", NULL};\n"
             "        if (errormask && npy_fpname_in(ufunc_name, products)) {\n"
             "            npy_fpreduced(op[2] ? op[2] : NpyIter_GetOperandArray(iter)[2], op[0], op[1], NULL);\n        }\n"
             "        retval = _check_ufunc_fperr(errormask, ufunc_name);\n"))
    replace(sources / "umath/reduction.c",
            ('#include "reduction.h"\n', '#include "reduction.h"\n#include "ufunc_object.h"\n#include "fpcheck.h"\n'),
            ("        if (_check_ufunc_fperr(errormask, \"reduce\") < 0) {\n",
             "        if (errormask) {\n            npy_fpreduced(result, operand, NULL, initial_buf);\n        }\n"
             "        if (_check_ufunc_fperr(errormask, \"reduce\") < 0) {\n"))
    replace(sources / "multiarray/multiarraymodule.c",
            ("    int fpes = npy_get_floatstatus_barrier((char *) result);\n",
             "    npy_fpreduced(out_buf, ap1, ap2, NULL);\n    int fpes = npy_get_floatstatus_barrier((char *) result);\n"),
            ('#include "npy_dlpack.h"\n', '#include "npy_dlpack.h"\n#include "../umath/ufunc_object.h"\n#include "fpcheck.h"\n'))


SCALARS = """
/* The status that an operation on two numbers leaves; see fpcheck.h. */
/**begin repeat
 * #name = half, float, double, longdouble#
 * #type = npy_half, npy_float, npy_double, npy_longdouble#
 */
static int
@name@_fpcheck(const char *name, @type@ a, @type@ b, @type@ out)
{
    enum npy_fpkind in1 = npy_fpkind_@name@(a), in2 = npy_fpkind_@name@(b);
    return npy_fpverdict(name, npy_fpkind_@name@(out), in1 == NPY_FP_NAN || in2 == NPY_FP_NAN,
                         in1 == NPY_FP_INF || in2 == NPY_FP_INF, in1 == NPY_FP_ZERO || in2 == NPY_FP_ZERO);
}
/**end repeat**/
/**begin repeat
 * #name = cfloat, cdouble, clongdouble#
 * #type = npy_cfloat, npy_cdouble, npy_clongdouble#
 * #NAME = CFLOAT, CDOUBLE, CLONGDOUBLE#
 */
static int
@name@_fpcheck(const char *name, @type@ a, @type@ b, @type@ out)
{
    enum npy_fpkind in1 = npy_fpkind_of(NPY_@NAME@, (char *)&a, 0), in2 = npy_fpkind_of(NPY_@NAME@, (char *)&b, 0);
    int status = 0;
    for (int part = 0; part < 2; part++) {
        status |= npy_fpverdict(name, npy_fpkind_at(NPY_@NAME@, (char *)&out, part), in1 == NPY_FP_NAN || in2 == NPY_FP_NAN,
                                in1 == NPY_FP_INF || in2 == NPY_FP_INF, in1 == NPY_FP_ZERO || in2 == NPY_FP_ZERO);
    }
    return status;
}
/**end repeat**/

"""


def _scalars(path):
    replace(path,
            ('#include "loops.h"\n', '#include "loops.h"\n#include "ufunc_object.h"\n#include "fpcheck.h"\n' + SCALARS),
            ("    /* Check status flag.  If it is set, then look up what to do */\n"
             "    retstatus |= npy_get_floatstatus_barrier((char*)&out);\n#endif\n"
             "    if (retstatus) {\n        if (PyUFunc_GiveFloatingpointErrors(\"scalar \" OP_NAME, retstatus) < 0) {\n",
             "    /* Check status flag.  If it is set, then look up what to do */\n"
             "    retstatus |= npy_get_floatstatus_barrier((char*)&out);\n"
             "    retstatus |= @name@_fpcheck(\"@oper@\", arg1, arg2, out);\n"
             "#if @twoout@\n    retstatus |= @name@_fpcheck(\"@oper@\", arg1, arg2, out2);\n#endif\n#endif\n"
             "    if (retstatus) {\n        if (PyUFunc_GiveFloatingpointErrors(\"scalar \" OP_NAME, retstatus) < 0) {\n"),
            ("    int retstatus = npy_get_floatstatus_barrier((char*)&out);\n    if (retstatus) {\n"
             "        if (PyUFunc_GiveFloatingpointErrors(\"scalar divide\"",
             "    int retstatus = npy_get_floatstatus_barrier((char*)&out);\n"
             "    retstatus |= double_fpcheck(\"divide\", arg1, arg2, out);\n    if (retstatus) {\n"
             "        if (PyUFunc_GiveFloatingpointErrors(\"scalar divide\""),
            ("    retstatus |= npy_get_floatstatus_barrier((char*)&out);\n#endif\n    if (retstatus) {\n"
             "        if (PyUFunc_GiveFloatingpointErrors(\"scalar power\"",
             "    retstatus |= npy_get_floatstatus_barrier((char*)&out);\n"
             "    retstatus |= @name@_fpcheck(\"power\", arg1, arg2, out);\n#endif\n    if (retstatus) {\n"
             "        if (PyUFunc_GiveFloatingpointErrors(\"scalar power\""))


# What the template of the casts is told of each type besides what it knows, in the order of its lists of types.
KINDS1 = """ * #is_complex1 = 0*15, 1*3#
 * #is_real1 = 0*12, 1*6#
 * #is_signed1 = 0*6, 1*5, 0*7#
 * #is_unsigned1 = 0, 1*5, 0*12#
 * #width1 = 0*12, 1, 2, 3, 1, 2, 3#
"""
KINDS2 = """ * #is_complex2 = 0*15, 1*3#
 * #is_int32_2 = 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0*7#
 * #is_int64_2 = 0*3, 1, 1, 0*5, 1, 0*7#
 * #is_uint64_2 = 0*5, 1, 0*12#
 * #is_index2 = 0*9, 1, 0*8#
 * #width2 = 0*12, 1, 2, 3, 1, 2, 3#
"""


def _integer(condition, value):
    """The preprocessor's lines for conversions of `value` to each kind of integer."""
    kinds = (("int32_2", "INT32"), ("int64_2", "INT64"), ("uint64_2", "UINT64"))
    return "".join(f"#  elif {condition}@is_{kind}@\n#    define _CONVERT_FN(x) ((_TYPE2)NPY_AS_{name}({value}))\n"
                   for kind, name in kinds)


def _casts(path):
    half = "#    define _CONVERT_FN(x) ((npy_bool)!npy_half_iszero(x))\n"
    plain = "#  if @is_bool2@ || @is_bool1@\n#    define _CONVERT_FN(x) ((npy_bool)(x != 0))\n"
    replace(path,
            ('#include "array_assign.h"\n', '#include "array_assign.h"\n#include "casts.h"\n'),
            (" * #is_complex1 = 0*15, 1*3#\n", KINDS1),
            (" * #is_complex2 = 0*15, 1*3#\n", KINDS2),
            (half, half + _integer("", "npy_half_to_float(x)")),
            (plain, plain + _integer("@is_real1@ && ", "(x)") +
             "#  elif @is_signed1@ && @is_index2@\n#    define _CONVERT_FN(x) ((_TYPE2)NPY_AS_INDEX_S((npy_longlong)(x)))\n"
             "#  elif @is_unsigned1@ && @is_index2@\n#    define _CONVERT_FN(x) ((_TYPE2)NPY_AS_INDEX_U((npy_ulonglong)(x)))\n"
             "#  elif @width1@ > @width2@ && @width2@\n#    define _CONVERT_FN(x) NPY_NARROW(_TYPE1, _TYPE2, x)\n"))
