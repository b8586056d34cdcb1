#ifndef SANDPOOL_PACKAGES_H
#define SANDPOOL_PACKAGES_H

#include "Python.h"

/* The compiled modules of the edition's packages, by their full dotted names; the recipe writes it. Ends with NULLs. */
extern struct _inittab sandpool_packages[];

#endif
