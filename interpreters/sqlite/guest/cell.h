/* Running a cell: its statements and commands, one after the other. */
#ifndef SANDPOOL_CELL_H
#define SANDPOOL_CELL_H

#include <stddef.h>

#include "request.h"
#include "sqlite3.h"

/* Set by the host to end a cell (interpreters/README.md). */
extern volatile unsigned sandpool_interrupted;

/* `text` is terminated. */
enum status sandpool_run_cell(sqlite3 *database, const char *text);

/* A command, `.name argument`, from which the line has been cut out. False: an error has been told. */
int sandpool_run_command(sqlite3 *database, char *line);

/* Tell of an error. `offset` is where in `text` it is, or negative. */
void sandpool_fail(const char *name, const char *message, const char *text, int offset);

/* Run statements; the rows of the last one are the result if `ends_cell`. False: an error has been told. */
int sandpool_run_sql(sqlite3 *database, const char *text, const char *end, int ends_cell);

#endif
