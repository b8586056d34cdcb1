/* The reactor: the exports of the guest ABI (interpreters/README.md) around CPython.
 * Deliberately does not: decide what a cell means. That is Python, in site/sandpool_guest. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "Python.h"

#include "immortal.h"
#include "interrupt.h"
#include "module.h"
#include "output.h"
#include "packages.h"
#include "request.h"
#include "seal.h"

static PyObject *prepare_session, *reseed_session, *run_cell;

static struct _inittab built_in[] = {
    {"_sandpool", PyInit__sandpool}, {"zlib", PyInit_zlib},       {"_bz2", PyInit__bz2},
    {"_lzma", PyInit__lzma},         {"_sqlite3", PyInit__sqlite3}, {NULL, NULL},
};

static void
die(const char *doing)
{
    /* Whatever was being done, this is to be read. */
    sandpool_mute(0);
    fprintf(stderr, "sandpool_init: %s failed\n", doing);
    if (PyErr_Occurred()) {
        PyErr_Print();
    }
    sandpool_flush();
    abort();
}

static void
check(PyStatus status, const char *doing)
{
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "%s\n", status.err_msg ? status.err_msg : "no message");
        die(doing);
    }
}

static void
set_paths(PyConfig *config)
{
    check(PyConfig_SetString(config, &config->home, L"/usr"), "home");
    check(PyConfig_SetString(config, &config->program_name, L"/usr/bin/python3.13"), "program name");
    check(PyConfig_SetString(config, &config->executable, L"/usr/bin/python3.13"), "executable");
    check(PyConfig_SetString(config, &config->stdlib_dir, L"/usr/lib/python3.13"), "standard library");
    config->module_search_paths_set = 1;
    check(PyWideStringList_Append(&config->module_search_paths, L"/usr/lib/python3.13"), "search path");
    check(PyWideStringList_Append(&config->module_search_paths, L"/usr/lib/python3.13/site-packages"), "search path");
}

static void
start_python(void)
{
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    check(Py_PreInitialize(&before), "pre-initialisation");
    if (PyImport_ExtendInittab(built_in) < 0 || PyImport_ExtendInittab(sandpool_packages) < 0) {
        die("built-in modules");
    }
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.install_signal_handlers = 0;
    config.write_bytecode = 0;
    config.pathconfig_warnings = 0;
    /* One seed for all: it cannot be changed once strings have been hashed, and the image has hashed thousands. */
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    set_paths(&config);
    check(Py_InitializeFromConfig(&config), "initialisation");
    PyConfig_Clear(&config);
}

static PyObject *
function_of(PyObject *module, const char *name)
{
    PyObject *function = PyObject_GetAttrString(module, name);
    if (function == NULL) {
        die(name);
    }
    return function;
}

void
EXPORT(sandpool_init)(void)
{
    start_python();
    PyObject *guest = PyImport_ImportModule("sandpool_guest");
    if (guest == NULL) {
        die("import sandpool_guest");
    }
    PyObject *done = PyObject_CallMethod(guest, "initialize", NULL);
    if (done == NULL) {
        die("sandpool_guest.initialize");
    }
    Py_DECREF(done);
    prepare_session = function_of(guest, "prepare");
    reseed_session = function_of(guest, "reseed");
    run_cell = function_of(guest, "run_cell");
    sandpool_interrupt_prepare();
    sandpool_immortalize();
    PyObject *freeze = PyObject_CallMethod(guest, "freeze", NULL);
    if (freeze == NULL) {
        die("sandpool_guest.freeze");
    }
    sandpool_flush();
    sandpool_seal();
}

/* The last resort: the code that would have told of the exception has failed itself, most often for want of memory. */
static enum status
report_failure(void)
{
    PyObject *exception = PyErr_GetRaisedException();
    const char *name = exception ? Py_TYPE(exception)->tp_name : "SystemError";
    char event[256];
    int length = snprintf(event, sizeof(event), "{\"name\":\"%.60s\",\"value\":\"\",\"traceback\":[\"%.60s\"]}", name, name);
    sandpool_send(ERROR, event, (size_t)length);
    Py_XDECREF(exception);
    return RAISED;
}

static PyObject *
call_cell(uint32_t length)
{
    PyObject *text = PyUnicode_DecodeUTF8(sandpool_source(), (Py_ssize_t)length, "replace");
    sandpool_source_read();
    if (text == NULL) {
        return NULL;
    }
    PyObject *answer = PyObject_CallOneArg(run_cell, text);
    Py_DECREF(text);
    return answer;
}

static PyObject *
carry_out(uint32_t operation, uint32_t length)
{
    switch (operation) {
    case PREPARE:
        return PyObject_CallNoArgs(prepare_session);
    case RESEED:
        return PyObject_CallNoArgs(reseed_session);
    default:
        return call_cell(length);
    }
}

int32_t
EXPORT(sandpool_execute)(uint32_t operation, uint32_t length)
{
    enum status status = FINISHED;
    sandpool_interrupt_clear();
    PyObject *answer = carry_out(operation, length);
    if (answer == NULL) {
        status = report_failure();
    }
    else {
        status = answer == Py_True ? FINISHED : RAISED;
        Py_DECREF(answer);
    }
    sandpool_flush();
    sandpool_interrupt_clear();
    return (int32_t)status;
}
