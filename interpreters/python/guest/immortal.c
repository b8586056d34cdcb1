/* Immortal objects: nothing writes their reference counts, so a session does not copy a page of the image only
 * because it used what lies there. All live sessions share those pages. */
#include <stdlib.h>

#include "Python.h"
#include "internal/pycore_code.h"
#include "internal/pycore_object.h"

#include "immortal.h"
#include "still.h"

/* Objects still to be followed. Plain malloc: nothing here may disturb the object allocator. */
struct stack {
    PyObject **items;
    size_t count, room, seen;
};

static void
push(struct stack *stack, PyObject *object)
{
    if (object == NULL || object->ob_refcnt == _Py_IMMORTAL_REFCNT) {
        return;
    }
    if (stack->count == stack->room) {
        stack->room = stack->room ? stack->room * 2 : 65536;
        stack->items = realloc(stack->items, stack->room * sizeof(PyObject *));
        if (stack->items == NULL) {
            abort();
        }
    }
    object->ob_refcnt = _Py_IMMORTAL_REFCNT;
    stack->seen++;
    stack->items[stack->count++] = object;
}

static int
visit(PyObject *object, void *stack)
{
    push(stack, object);
    return 0;
}

/* What code objects hold: the collector does not track them, so they have no tp_traverse. */
static void
follow_code(struct stack *stack, PyCodeObject *code)
{
    PyObject *held[] = {code->co_consts, code->co_names, code->co_exceptiontable, code->co_localsplusnames,
                        code->co_localspluskinds, code->co_filename, code->co_name, code->co_qualname,
                        code->co_linetable};
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
        push(stack, held[i]);
    }
}

static void
follow(struct stack *stack, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    push(stack, (PyObject *)type);
    if (PyCode_Check(object)) {
        follow_code(stack, (PyCodeObject *)object);
        sandpool_still((PyCodeObject *)object);
    }
    else if (type->tp_traverse != NULL && PyObject_IS_GC(object)) {
        type->tp_traverse(object, visit, stack);
    }
}

/* The collector's own callback: every tracked object is a root. Never frames and generators: they end. */
static int
root(PyObject *object, void *stack)
{
    if (!PyFrame_Check(object) && !PyGen_Check(object) && !PyCoro_CheckExact(object)) {
        push(stack, object);
    }
    return 1;
}

/* Static types are born immortal, so push() passes them by, but what they hold is not: walk the tree of subclasses. */
static void
follow_static_types(struct stack *stack, PyTypeObject *type)
{
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        push(stack, PyType_GetDict(type));
        push(stack, PyObject_GetAttrString((PyObject *)type, "__mro__"));
    }
    PyObject *subclasses = PyObject_CallMethod((PyObject *)&PyType_Type, "__subclasses__", "O", type);
    for (Py_ssize_t i = 0; subclasses != NULL && i < PyList_GET_SIZE(subclasses); i++) {
        follow_static_types(stack, (PyTypeObject *)PyList_GET_ITEM(subclasses, i));
    }
    Py_XDECREF(subclasses);
}

size_t
sandpool_immortalize(void)
{
    struct stack stack = {0};
    PyUnstable_GC_VisitObjects(root, &stack);
    follow_static_types(&stack, &PyBaseObject_Type);
    PyErr_Clear();
    while (stack.count > 0) {
        follow(&stack, stack.items[--stack.count]);
    }
    free(stack.items);
    return stack.seen;
}
