/* The rows of a query as an event: a table of text, of HTML, and JSON. */
#ifndef SANDPOOL_TABLE_H
#define SANDPOOL_TABLE_H

#include "output.h"
#include "sqlite3.h"

struct table;

/* NULL: no memory. */
struct table *table_new(sqlite3_stmt *statement);

/* Take the statement's current row. False: no memory. */
int table_row(struct table *table, sqlite3_stmt *statement);

/* Send what has been taken; false: no memory. Frees the table. */
int table_send(struct table *table, enum kind kind);

void table_free(struct table *table);

#endif
