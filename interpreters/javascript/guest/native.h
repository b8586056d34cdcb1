/* What the JavaScript part of the guest (lib/) cannot do for itself: the object `native` that it is started with. */
#ifndef SANDPOOL_NATIVE_H
#define SANDPOOL_NATIVE_H

#include "quickjs.h"

/* A new object with all native functions. */
JSValue sandpool_native(JSContext *context);

/* Adds the functions for files to it; files.c. */
void sandpool_native_files(JSContext *context, JSValueConst native);

/* Adds the function for requests to the outside; http.c. */
void sandpool_native_http(JSContext *context, JSValueConst native);

#endif
