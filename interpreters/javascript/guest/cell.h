/* Running a cell: its script, then its promises and timers until none is left. */
#ifndef SANDPOOL_CELL_H
#define SANDPOOL_CELL_H

#include <stdint.h>

#include "quickjs.h"
#include "request.h"

/* The functions that the JavaScript part of the guest offers; see lib/main.js. */
void sandpool_cell_hook(JSContext *context, JSValueConst hooks);

enum status sandpool_run_cell(JSContext *context, const char *source, size_t length);

#endif
