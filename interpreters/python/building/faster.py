"""Changes to CPython's sources that make it faster in the sandbox, where a call costs more than on bare metal, and so does the
first write to each page of the image.

Ints of one digit get a free list, as floats have in 3.13 and ints have from 3.14 on: without it each allocation and each
release is a chain of indirect calls.

Bytecode is written to less: branches do not record their history, which only CPython's own JIT reads, and a counter that was
stopped for good (guest/still.c) is not stored again. Both edits keep the function's control flow as it was, or the recorded
profile would no longer fit the interpreter loop: hence the empty assembly, and the store that goes elsewhere.
"""

from shared.steps import RecipeError

_LISTS = """\
struct _Py_int_freelist {
    /* Exact ints of one digit, linked through ob_type. Negative: closed, the interpreter ends. */
    int numfree;
    PyLongObject *items;
};

"""

_FUNCTIONS = """\
#define MAX_FREE_INTS 100

/* Room for an int of one digit; NULL when there is no memory. */
static inline PyLongObject *
take_digit(void)
{
    struct _Py_int_freelist *list = &_Py_object_freelists_GET()->ints;
    PyLongObject *taken = list->items;
    if (taken == NULL) {
        return PyObject_Malloc(sizeof(PyLongObject));
    }
    list->items = (PyLongObject *)Py_TYPE(taken);
    list->numfree--;
    return taken;
}

/* Releases an int that is of exactly this type. */
void
_PyLong_ExactDealloc(PyObject *self)
{
    struct _Py_int_freelist *list = &_Py_object_freelists_GET()->ints;
    if (!_PyLong_IsCompact((PyLongObject *)self) || list->numfree >= MAX_FREE_INTS || list->numfree < 0) {
        PyObject_Free(self);
        return;
    }
    Py_SET_TYPE(self, (PyTypeObject *)list->items);
    list->items = (PyLongObject *)self;
    list->numfree++;
}

static inline void
release(PyObject *self)
{
    if (PyLong_CheckExact(self)) {
        _PyLong_ExactDealloc(self);
    }
    else {
        Py_TYPE(self)->tp_free(self);
    }
}

void
_PyLong_ClearFreeList(struct _Py_object_freelists *freelists, int is_finalization)
{
    struct _Py_int_freelist *list = &freelists->ints;
    while (list->items != NULL) {
        PyLongObject *item = list->items;
        list->items = (PyLongObject *)Py_TYPE(item);
        PyObject_Free(item);
    }
    list->numfree = is_finalization ? -1 : 0;
}

"""

_ADVANCE = """\
        static _Py_BackoffCounter elsewhere_; \\
        _Py_BackoffCounter next_ = advance_backoff_counter((COUNTER)); \\
        uintptr_t stopped_ = (uintptr_t)0 - is_unreachable_backoff_counter(next_); \\
        __asm__("" : "+r"(stopped_)); \\
        uintptr_t at_ = (uintptr_t)&(COUNTER) ^ (stopped_ & ((uintptr_t)&(COUNTER) ^ (uintptr_t)&elsewhere_)); \\
        *(_Py_BackoffCounter *)at_ = next_; \\
"""

# File: what to replace, with what, and how often it is there.
CHANGES = {
    "Include/internal/pycore_freelist.h": [
        ("struct _Py_dict_freelist {\n", _LISTS + "struct _Py_dict_freelist {\n", 1),
        ("struct _Py_object_freelists {\n", "struct _Py_object_freelists {\n    struct _Py_int_freelist ints;\n", 1),
        ("extern void _PyFloat_ClearFreeList(",
         "extern void _PyLong_ClearFreeList(struct _Py_object_freelists *freelists, int is_finalization);\n"
         "extern void _PyFloat_ClearFreeList(", 1),
    ],
    "Include/internal/pycore_long.h": [
        ("PyAPI_FUNC(PyObject*) _PyLong_Add(",
         "extern void _PyLong_ExactDealloc(PyObject *self);\nPyAPI_FUNC(PyObject*) _PyLong_Add(", 1),
    ],
    "Objects/object.c": [
        ("    _PyFloat_ClearFreeList(freelists, is_finalization);\n",
         "    _PyFloat_ClearFreeList(freelists, is_finalization);\n    _PyLong_ClearFreeList(freelists, is_finalization);\n", 1),
    ],
    "Objects/longobject.c": [
        ('#include "pycore_object.h" ', '#include "pycore_pystate.h"\n#include "pycore_object.h" ', 1),
        ("PyLongObject *v = PyObject_Malloc(sizeof(PyLongObject));", "PyLongObject *v = take_digit();", 1),
        ("Py_TYPE(self)->tp_free(self);", "release(self);", 1),
        ("static PyObject *\n_PyLong_FromMedium(sdigit x)\n", _FUNCTIONS + "static PyObject *\n_PyLong_FromMedium(sdigit x)\n", 1),
    ],
    "Python/ceval_macros.h": [("        (COUNTER) = advance_backoff_counter((COUNTER)); \\\n", _ADVANCE, 1)],
    "Python/generated_cases.c.h": [
        # All of these release ints of exactly that type.
        ("(destructor)PyObject_Free)", "(destructor)_PyLong_ExactDealloc)", 12),
        ("this_instr[1].cache = (this_instr[1].cache << 1) | flag;", '__asm__ volatile("" :: "r"(flag));', 7),
        ("this_instr[1].cache = (this_instr[1].cache << 1) | !nflag;", '__asm__ volatile("" :: "r"(!nflag));', 1),
    ],
}


def apply(source):
    """Change the files below `source`; stop when one is not as expected."""
    for name, edits in CHANGES.items():
        path = source / name
        text = path.read_text()
        for before, after, count in edits:
            if text.count(before) != count:
                raise RecipeError(f"{name} is not as the recipe expects: it has {before.strip()!r} {text.count(before)} times")
            text = text.replace(before, after)
        path.write_text(text)
