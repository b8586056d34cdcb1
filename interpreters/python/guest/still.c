/* Still code: CPython counts in a function's bytecode how soon it tries to specialise an instruction. What runs a cell has
 * been warmed up, and goes on counting only for instructions that cannot be specialised; each count would cost every
 * session a page. Other code of the image, and the user's, specialises as ever. */
#include <string.h>

#include "Python.h"
#include "internal/pycore_backoff.h"
#include "internal/pycore_code.h"
#include "internal/pycore_opcode_metadata.h"

#include "still.h"

/* Our own guest code and IPython's. Not the standard library: a session may need it fast in another way than a cell does. */
static const char *const still[] = {
    "/usr/lib/python3.13/site-packages/sandpool_guest/",
    "/usr/lib/python3.13/site-packages/IPython/",
    "/usr/lib/python3.13/site-packages/traitlets/",
};

static int
is_still(PyCodeObject *code)
{
    const char *name = PyUnicode_AsUTF8(code->co_filename);
    for (size_t i = 0; name != NULL && i < sizeof(still) / sizeof(still[0]); i++) {
        if (strncmp(name, still[i], strlen(still[i])) == 0) {
            return 1;
        }
    }
    PyErr_Clear();
    return 0;
}

void
sandpool_still(PyCodeObject *code)
{
    if (!is_still(code)) {
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
