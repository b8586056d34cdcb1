/* Deliberately does not: know HTTP. What the heads mean is Python's business, in site/sandpool_guest/network.py. */
#include <stdint.h>
#include <string.h>

#include "http.h"
#include "output.h"

__attribute__((import_module("sandpool"), import_name("http_request")))
extern uint32_t host_http_request(const void *request, uint32_t length);
__attribute__((import_module("sandpool"), import_name("http_take")))
extern uint32_t host_http_take(void *room, uint32_t length);

/* Sends a request; the length of the answer, or 0 with an exception set. */
static uint32_t
ask(const Py_buffer *head, const Py_buffer *body)
{
    uint32_t head_length = (uint32_t)head->len;
    uint64_t length = sizeof(head_length) + (uint64_t)head->len + (uint64_t)body->len;
    char *request = length > PY_SSIZE_T_MAX ? NULL : PyMem_Malloc((size_t)length);
    if (request == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    memcpy(request, &head_length, sizeof(head_length));
    memcpy(request + sizeof(head_length), head->buf, (size_t)head->len);
    memcpy(request + sizeof(head_length) + head->len, body->buf, (size_t)body->len);
    /* It may take a while: what was printed is seen before. */
    sandpool_flush();
    uint32_t answer = host_http_request(request, (uint32_t)length);
    PyMem_Free(request);
    /* The host came back early if it has an interrupt to tell of. */
    return PyErr_CheckSignals() < 0 ? 0 : answer;
}

/* The next `length` bytes of the answer. */
static PyObject *
take(uint32_t length)
{
    PyObject *part = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (part != NULL && host_http_take(PyBytes_AS_STRING(part), length) != length) {
        Py_DECREF(part);
        PyErr_SetString(PyExc_SystemError, "the host's answer is cut");
        return NULL;
    }
    return part;
}

static PyObject *
take_answer(uint32_t length)
{
    uint32_t head_length = 0;
    if (length < sizeof(head_length) || host_http_take(&head_length, sizeof(head_length)) != sizeof(head_length)
        || head_length > length - sizeof(head_length)) {
        PyErr_SetString(PyExc_SystemError, "the host's answer is cut");
        return NULL;
    }
    PyObject *head = take(head_length);
    PyObject *body = head ? take(length - (uint32_t)sizeof(head_length) - head_length) : NULL;
    PyObject *answer = body ? PyTuple_Pack(2, head, body) : NULL;
    Py_XDECREF(head);
    Py_XDECREF(body);
    return answer;
}

PyObject *
sandpool_http(PyObject *module, PyObject *arguments)
{
    Py_buffer head, body;
    if (!PyArg_ParseTuple(arguments, "y*y*", &head, &body)) {
        return NULL;
    }
    uint32_t length = ask(&head, &body);
    PyBuffer_Release(&head);
    PyBuffer_Release(&body);
    return length == 0 ? NULL : take_answer(length);
}
