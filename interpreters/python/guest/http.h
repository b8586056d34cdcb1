/* Requests to the outside, which the host carries out. */
#ifndef SANDPOOL_HTTP_H
#define SANDPOOL_HTTP_H

#include "Python.h"

/* http(head, body) -> (head, body): see http_request in interpreters/README.md. */
PyObject *sandpool_http(PyObject *module, PyObject *arguments);

#endif
