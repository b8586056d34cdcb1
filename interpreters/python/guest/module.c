/* `_sandpool`, the guest's one door to the host, as Python sees it. */
#include "Python.h"

#include "compile.h"
#include "http.h"
#include "module.h"
#include "output.h"

/* Text as UTF-8. Lone surrogates, which UTF-8 cannot hold, are written as escapes. A new reference. */
static PyObject *
encode(PyObject *text)
{
    return PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
}

static PyObject *
print_to(enum kind kind, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        return PyErr_Format(PyExc_TypeError, "write() argument must be str, not %s", Py_TYPE(text)->tp_name);
    }
    Py_ssize_t length;
    const char *bytes = NULL;
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        length = PyUnicode_GET_LENGTH(text);
        bytes = (const char *)PyUnicode_1BYTE_DATA(text);
        sandpool_print(kind, bytes, (size_t)length);
    }
    else {
        PyObject *encoded = encode(text);
        if (encoded == NULL) {
            return NULL;
        }
        sandpool_print(kind, PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded));
        Py_DECREF(encoded);
    }
    return PyLong_FromSsize_t(PyUnicode_GET_LENGTH(text));
}

static PyObject *
write_stdout(PyObject *module, PyObject *text)
{
    return print_to(STDOUT, text);
}

static PyObject *
write_stderr(PyObject *module, PyObject *text)
{
    return print_to(STDERR, text);
}

static PyObject *
write_bytes(PyObject *module, PyObject *arguments)
{
    int kind;
    Py_buffer bytes;
    if (!PyArg_ParseTuple(arguments, "iy*", &kind, &bytes)) {
        return NULL;
    }
    sandpool_print(kind == STDERR ? STDERR : STDOUT, bytes.buf, (size_t)bytes.len);
    Py_ssize_t length = bytes.len;
    PyBuffer_Release(&bytes);
    return PyLong_FromSsize_t(length);
}

static PyObject *
flush(PyObject *module, PyObject *nothing)
{
    sandpool_flush();
    Py_RETURN_NONE;
}

static PyObject *
emit(PyObject *module, PyObject *arguments)
{
    int kind;
    PyObject *payload;
    if (!PyArg_ParseTuple(arguments, "iO", &kind, &payload)) {
        return NULL;
    }
    PyObject *encoded = PyUnicode_Check(payload) ? PyUnicode_AsEncodedString(payload, "utf-8", "replace")
                                                 : PyObject_Bytes(payload);
    if (encoded == NULL) {
        return NULL;
    }
    sandpool_send((enum kind)kind, PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    Py_RETURN_NONE;
}

static PyObject *
mute(PyObject *module, PyObject *on)
{
    sandpool_mute(PyObject_IsTrue(on));
    Py_RETURN_NONE;
}

/* The handler of the interrupt. Built in, so that no frame of ours shows in the traceback, and not Python's own
 * default_int_handler, which asyncio would replace by one that merely asks the running task to end. */
static PyObject *
interrupted(PyObject *module, PyObject *arguments)
{
    sandpool_flush();
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return NULL;
}

static PyMethodDef methods[] = {
    {"write_stdout", write_stdout, METH_O, "Print text; the number of characters."},
    {"write_stderr", write_stderr, METH_O, "Print text to stderr; the number of characters."},
    {"write_bytes", write_bytes, METH_VARARGS, "write_bytes(kind, bytes): print UTF-8; the number of bytes."},
    {"flush", flush, METH_NOARGS, "Send the text that waits."},
    {"emit", emit, METH_VARARGS, "emit(kind, payload): send an event; text is sent as UTF-8."},
    {"interrupted", interrupted, METH_VARARGS, "Signal handler: raise KeyboardInterrupt."},
    {"compile_cell", sandpool_compile_cell, METH_VARARGS, "Compile a cell; see compile.h."},
    {"http", sandpool_http, METH_VARARGS, "http(head, body): ask the outside; see http.h."},
    {"mute", mute, METH_O, "mute(on): while on, printed text goes nowhere."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_sandpool", "The event stream.", -1, methods,
};

PyMODINIT_FUNC
PyInit__sandpool(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || PyModule_AddIntConstant(module, "STDOUT", STDOUT) < 0
        || PyModule_AddIntConstant(module, "STDERR", STDERR) < 0 || PyModule_AddIntConstant(module, "DISPLAY", DISPLAY) < 0
        || PyModule_AddIntConstant(module, "UPDATE_DISPLAY", UPDATE_DISPLAY) < 0
        || PyModule_AddIntConstant(module, "CLEAR_OUTPUT", CLEAR_OUTPUT) < 0
        || PyModule_AddIntConstant(module, "RESULT", RESULT) < 0 || PyModule_AddIntConstant(module, "ERROR", ERROR) < 0) {
        return NULL;
    }
    return module;
}
