#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "output.h"
#include "table.h"
#include "text.h"

volatile unsigned sandpool_interrupted;

static const char *
name_of(int code)
{
    static const struct {
        int code;
        const char *name;
    } names[] = {
        {SQLITE_ERROR, "SQLITE_ERROR"},     {SQLITE_CONSTRAINT, "SQLITE_CONSTRAINT"}, {SQLITE_INTERRUPT, "SQLITE_INTERRUPT"},
        {SQLITE_NOMEM, "SQLITE_NOMEM"},     {SQLITE_TOOBIG, "SQLITE_TOOBIG"},         {SQLITE_MISMATCH, "SQLITE_MISMATCH"},
        {SQLITE_BUSY, "SQLITE_BUSY"},       {SQLITE_LOCKED, "SQLITE_LOCKED"},         {SQLITE_READONLY, "SQLITE_READONLY"},
        {SQLITE_IOERR, "SQLITE_IOERR"},     {SQLITE_CORRUPT, "SQLITE_CORRUPT"},       {SQLITE_FULL, "SQLITE_FULL"},
        {SQLITE_CANTOPEN, "SQLITE_CANTOPEN"}, {SQLITE_NOTADB, "SQLITE_NOTADB"},       {SQLITE_RANGE, "SQLITE_RANGE"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].code == (code & 0xFF)) {
            return names[i].name;
        }
    }
    return "SQLITE_ERROR";
}

void
sandpool_fail(const char *name, const char *message, const char *text, int offset)
{
    struct text event = {0}, line = {0};
    text_say(&event, "{\"name\":");
    text_json(&event, name, strlen(name));
    text_say(&event, ",\"value\":");
    text_json(&event, message, strlen(message));
    text_say(&event, ",\"traceback\":[");
    if (offset >= 0) {
        int number = 1, start = 0;
        for (int i = 0; i < offset && text[i] != '\0'; i++) {
            if (text[i] == '\n') {
                number++;
                start = i + 1;
            }
        }
        size_t length = strcspn(text + start, "\n");
        size_t before = text_width(text + start, (size_t)(offset - start));
        char place[80];
        snprintf(place, sizeof(place), "line %d, column %zu:", number, before + 1);
        text_json(&event, place, strlen(place));
        text_say(&event, ",");
        text_json(&event, text + start, length < 200 ? length : 200);
        text_say(&event, ",");
        text_repeat(&line, " ", before < 200 ? before : 200);
        text_say(&line, "^");
        text_json(&event, line.bytes, line.length);
        text_say(&event, ",");
    }
    text_free(&line);
    text_say(&line, name);
    text_say(&line, ": ");
    text_say(&line, message);
    text_json(&event, line.bytes, line.length);
    text_say(&event, "]}");
    static const char plain[] = "{\"name\":\"SQLITE_NOMEM\",\"value\":\"out of memory\","
                                "\"traceback\":[\"SQLITE_NOMEM: out of memory\"]}";
    if (event.failed || line.failed) {
        sandpool_send(ERROR, plain, sizeof(plain) - 1);
    }
    else {
        sandpool_send(ERROR, event.bytes, event.length);
    }
    text_free(&line);
    text_free(&event);
}

/* Tell of the connection's last error. */
static int
fail(sqlite3 *database, const char *text, const char *statement)
{
    int offset = sqlite3_error_offset(database), code = sqlite3_errcode(database);
    const char *message = sandpool_interrupted ? "interrupted" : sqlite3_errmsg(database);
    int at = offset >= 0 ? (int)(statement - text) + offset : (int)(statement - text);
    sandpool_fail(name_of(code), message, text, at);
    return 0;
}

static void
tell_changes(sqlite3 *database, sqlite3_int64 before)
{
    sqlite3_int64 changed = sqlite3_total_changes64(database) - before;
    if (changed > 0) {
        char line[80];
        int length = snprintf(line, sizeof(line), "%lld row%s changed\n", changed, changed == 1 ? "" : "s");
        sandpool_print(STDOUT, line, (size_t)length);
    }
}

/* Run one statement to its end. False: an error; the table, if any, is freed. */
static int
run_statement(sqlite3_stmt *statement, struct table **table)
{
    *table = NULL;
    if (sqlite3_column_count(statement) > 0 && (*table = table_new(statement)) == NULL) {
        return 0;
    }
    int status;
    while ((status = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!table_row(*table, statement)) {
            status = SQLITE_NOMEM;
            break;
        }
    }
    if (status != SQLITE_DONE && *table != NULL) {
        table_free(*table);
        *table = NULL;
    }
    return status == SQLITE_DONE;
}

/* Past space and comments. */
static const char *
next(const char *at, const char *end)
{
    for (;;) {
        while (at < end && strchr(" \t\r\n;", *at)) {
            at++;
        }
        if (end - at >= 2 && at[0] == '-' && at[1] == '-') {
            const char *line = memchr(at, '\n', (size_t)(end - at));
            at = line ? line : end;
        }
        else if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
            const char *close = strstr(at + 2, "*/");
            at = close && close < end ? close + 2 : end;
        }
        else {
            return at;
        }
    }
}

int
sandpool_run_sql(sqlite3 *database, const char *text, const char *end, int ends_cell)
{
    const char *at = text;
    while ((at = next(at, end)) < end) {
        if (*at == '.') {
            size_t length = strcspn(at, "\r\n");
            char *line = strndup(at, length);
            int good = line != NULL && sandpool_run_command(database, line);
            free(line);
            if (!good) {
                return 0;
            }
            at += length;
            continue;
        }
        sqlite3_stmt *statement;
        const char *tail;
        struct table *table;
        sqlite3_int64 changes = sqlite3_total_changes64(database);
        if (sqlite3_prepare_v2(database, at, (int)(end - at), &statement, &tail) != SQLITE_OK) {
            return fail(database, text, at);
        }
        if (!run_statement(statement, &table)) {
            if (sqlite3_errcode(database) == SQLITE_OK || sqlite3_errcode(database) == SQLITE_ROW) {
                sandpool_fail("SQLITE_NOMEM", "out of memory", text, -1);
            }
            else {
                fail(database, text, at);
            }
            sqlite3_finalize(statement);
            return 0;
        }
        sqlite3_finalize(statement);
        at = next(tail, end);
        tell_changes(database, changes);
        if (table != NULL && !table_send(table, at == end && ends_cell ? RESULT : DISPLAY)) {
            sandpool_fail("SQLITE_NOMEM", "out of memory", text, -1);
            return 0;
        }
    }
    return 1;
}

enum status
sandpool_run_cell(sqlite3 *database, const char *text)
{
    return sandpool_run_sql(database, text, text + strlen(text), 1) ? FINISHED : RAISED;
}
