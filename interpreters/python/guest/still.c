/* Still code: CPython counts in a function's bytecode how soon it tries to specialise an instruction. What runs a cell has
 * been warmed up, and goes on counting only for instructions that cannot be specialised; each count would cost every
 * session a page. So it is with functions of packages that the warm-up has run often enough. Other code of the image, and the
 * user's, specialises as ever. */
#include <string.h>

#include "Python.h"
#include "internal/pycore_backoff.h"
#include "internal/pycore_code.h"
#include "internal/pycore_opcode_metadata.h"

#include "still.h"

/* Our own guest code and IPython's. Not the standard library: a session may need it fast in another way than a cell does. */
static const char *const ours[] = {
    "/usr/lib/python3.13/site-packages/sandpool_guest/",
    "/usr/lib/python3.13/site-packages/IPython/",
    "/usr/lib/python3.13/site-packages/traitlets/",
    NULL,
};

/* Only what the warm-up made warm: the rest has yet to learn what it is called with. */
static const char *const packages[] = {"/usr/lib/python3.13/site-packages/", NULL};

/* Whether its file is in one of the folders. */
static int
is_of(PyCodeObject *code, const char *const *folders)
{
    const char *name = PyUnicode_AsUTF8(code->co_filename);
    for (; name != NULL && *folders != NULL; folders++) {
        if (strncmp(name, *folders, strlen(*folders)) == 0) {
            return 1;
        }
    }
    PyErr_Clear();
    return 0;
}

/* Whether the warm-up has run it so often that instructions were specialised. */
static int
is_warm(PyCodeObject *code)
{
    _Py_CODEUNIT *units = _PyCode_CODE(code);
    for (Py_ssize_t i = 0; i < Py_SIZE(code); i++) {
        int caches = _PyOpcode_Caches[_PyOpcode_Deopt[units[i].op.code]];
        if (caches > 0 && units[i].op.code != _PyOpcode_Deopt[units[i].op.code]) {
            return 1;
        }
        i += caches;
    }
    return 0;
}

void
sandpool_still(PyCodeObject *code)
{
    if (!is_of(code, ours) && !(is_of(code, packages) && is_warm(code))) {
        return;
    }
    _Py_CODEUNIT *units = _PyCode_CODE(code);
    for (Py_ssize_t i = 0; i < Py_SIZE(code); i++) {
        int caches = _PyOpcode_Caches[_PyOpcode_Deopt[units[i].op.code]];
        if (caches > 0) {
            units[i + 1].counter = initial_unreachable_backoff_counter();
        }
        i += caches;
    }
}
