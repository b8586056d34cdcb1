/* Modules built into the interpreter beside CPython's own. */
#ifndef SANDPOOL_MODULE_H
#define SANDPOOL_MODULE_H

#include "Python.h"

PyMODINIT_FUNC PyInit__sandpool(void);
PyMODINIT_FUNC PyInit_zlib(void);
PyMODINIT_FUNC PyInit__bz2(void);
PyMODINIT_FUNC PyInit__lzma(void);
PyMODINIT_FUNC PyInit__sqlite3(void);

#endif
