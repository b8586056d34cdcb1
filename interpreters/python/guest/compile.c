/* Compiling a cell in one go: what runs, and apart from it the last expression, whose value is shown. Does on CPython's
 * own syntax tree what IPython does on Python objects, so that the tree never becomes objects: that is most of the time
 * that a short cell takes. */
#include "Python.h"
#include "internal/pycore_ast.h"
#include "internal/pycore_compile.h"
#include "internal/pycore_parser.h"
#include "internal/pycore_pyarena.h"

#include "compile.h"

static PyObject *
code_or_none(mod_ty module, PyObject *filename, PyCompilerFlags *flags, PyArena *arena)
{
    return module == NULL ? Py_NewRef(Py_None) : (PyObject *)_PyAST_Compile(module, filename, flags, -1, arena);
}

/* Take the last statement off the module if it is an expression. */
static stmt_ty
take_last_expression(mod_ty module)
{
    asdl_stmt_seq *body = module->v.Module.body;
    Py_ssize_t count = asdl_seq_LEN(body);
    if (count == 0) {
        return NULL;
    }
    stmt_ty last = (stmt_ty)asdl_seq_GET(body, count - 1);
    if (last->kind != Expr_kind) {
        return NULL;
    }
    body->size = count - 1;
    return last;
}

static PyObject *
compile_module(mod_ty module, PyObject *filename, PyCompilerFlags *flags, PyArena *arena)
{
    stmt_ty last = take_last_expression(module);
    mod_ty rest = asdl_seq_LEN(module->v.Module.body) > 0 ? module : NULL;
    mod_ty expression = last ? _PyAST_Expression(last->v.Expr.value, arena) : NULL;
    if (last && expression == NULL) {
        return NULL;
    }
    PyObject *body = code_or_none(rest, filename, flags, arena);
    if (body == NULL) {
        return NULL;
    }
    PyObject *value = code_or_none(expression, filename, flags, arena);
    if (value == NULL) {
        Py_DECREF(body);
        return NULL;
    }
    return Py_BuildValue("(NNiii)", body, value, last ? last->end_lineno : 0, last ? last->end_col_offset : 0,
                         flags->cf_flags & PyCF_MASK);
}

PyObject *
sandpool_compile_cell(PyObject *module, PyObject *arguments)
{
    const char *source;
    PyObject *filename;
    PyCompilerFlags flags = _PyCompilerFlags_INIT;
    if (!PyArg_ParseTuple(arguments, "sUi", &source, &filename, &flags.cf_flags)) {
        return NULL;
    }
    flags.cf_flags |= PyCF_ALLOW_TOP_LEVEL_AWAIT | PyCF_SOURCE_IS_UTF8 | PyCF_IGNORE_COOKIE;
    PyArena *arena = _PyArena_New();
    if (arena == NULL) {
        return NULL;
    }
    PyObject *answer = NULL;
    mod_ty tree = _PyParser_ASTFromString(source, filename, Py_file_input, &flags, arena);
    if (tree != NULL) {
        answer = compile_module(tree, filename, &flags, arena);
    }
    _PyArena_Free(arena);
    return answer;
}
