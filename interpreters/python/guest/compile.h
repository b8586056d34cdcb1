#ifndef SANDPOOL_COMPILE_H
#define SANDPOOL_COMPILE_H

#include "Python.h"

/* compile_cell(source, filename, future_flags) -> (body, value, end_line, end_column, future_flags): code objects or
 * None; where the last expression ends (line from 1, column in UTF-8 bytes); and the __future__ flags now in force. */
PyObject *sandpool_compile_cell(PyObject *module, PyObject *arguments);

#endif
