#ifndef SANDPOOL_STILL_H
#define SANDPOOL_STILL_H

#include "Python.h"

/* Stop counting in the inline caches of `code`, if it is what runs a cell. Call at the end of the initialisation. */
void sandpool_still(PyCodeObject *code);

#endif
