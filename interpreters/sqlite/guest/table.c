#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "text.h"

/* More rows are counted, not shown: whoever wants them all writes them to a file, or asks for a part. */
#define MOST_SHOWN 1000
/* A longer value is cut in the tables, not in JSON. */
#define MOST_WIDE 200

struct cell {
    /* As text; NULL is SQL's. */
    char *text;
    size_t length;
    int type;
};

struct table {
    int columns;
    char **names;
    struct cell *cells;
    size_t shown, room, rows;
};

static char *
copied(const char *bytes, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, bytes, length);
        copy[length] = '\0';
    }
    return copy;
}

struct table *
table_new(sqlite3_stmt *statement)
{
    struct table *table = calloc(1, sizeof(*table));
    if (table == NULL) {
        return NULL;
    }
    table->columns = sqlite3_column_count(statement);
    table->names = calloc((size_t)table->columns, sizeof(char *));
    for (int i = 0; table->names != NULL && i < table->columns; i++) {
        const char *name = sqlite3_column_name(statement, i);
        table->names[i] = name ? copied(name, strlen(name)) : NULL;
        if (table->names[i] == NULL) {
            table_free(table);
            return NULL;
        }
    }
    if (table->names == NULL) {
        table_free(table);
        return NULL;
    }
    return table;
}

void
table_free(struct table *table)
{
    for (int i = 0; table->names != NULL && i < table->columns; i++) {
        free(table->names[i]);
    }
    for (size_t i = 0; i < table->shown * (size_t)table->columns; i++) {
        free(table->cells[i].text);
    }
    free(table->names);
    free(table->cells);
    free(table);
}

/* x'0102' */
static char *
hexadecimal(const unsigned char *bytes, size_t length, size_t *written)
{
    char *text = malloc(length * 2 + 4);
    if (text != NULL) {
        char *at = text + sprintf(text, "x'");
        for (size_t i = 0; i < length; i++) {
            at += sprintf(at, "%02x", bytes[i]);
        }
        *written = (size_t)(at - text) + (size_t)sprintf(at, "'");
    }
    return text;
}

static int
take(struct cell *cell, sqlite3_stmt *statement, int column)
{
    *cell = (struct cell){.type = sqlite3_column_type(statement, column)};
    if (cell->type == SQLITE_NULL) {
        return 1;
    }
    if (cell->type == SQLITE_BLOB) {
        const unsigned char *bytes = sqlite3_column_blob(statement, column);
        cell->text = hexadecimal(bytes, (size_t)sqlite3_column_bytes(statement, column), &cell->length);
        return cell->text != NULL;
    }
    const unsigned char *text = sqlite3_column_text(statement, column);
    cell->length = (size_t)sqlite3_column_bytes(statement, column);
    cell->text = text ? copied((const char *)text, cell->length) : NULL;
    return cell->text != NULL;
}

int
table_row(struct table *table, sqlite3_stmt *statement)
{
    table->rows++;
    if (table->shown == MOST_SHOWN) {
        return 1;
    }
    size_t columns = (size_t)table->columns;
    if (table->shown == table->room) {
        size_t room = table->room == 0 ? 16 : table->room * 2;
        struct cell *larger = realloc(table->cells, room * columns * sizeof(struct cell));
        if (larger == NULL) {
            return 0;
        }
        table->cells = larger;
        table->room = room;
    }
    struct cell *row = table->cells + table->shown * columns;
    memset(row, 0, columns * sizeof(struct cell));
    table->shown++;
    for (int i = 0; i < table->columns; i++) {
        if (!take(row + i, statement, i)) {
            return 0;
        }
    }
    return 1;
}

/* The part of a value that is shown: to the end of its line, and not too much of that. */
static struct cell
visible(const struct cell *cell)
{
    struct cell part = *cell;
    if (part.text == NULL) {
        part.text = "NULL";
        part.length = 4;
    }
    const char *end = memchr(part.text, '\n', part.length);
    part.length = end ? (size_t)(end - part.text) : part.length;
    if (part.length > MOST_WIDE) {
        part.length = MOST_WIDE;
        while (part.length > 0 && (part.text[part.length] & 0xC0) == 0x80) {
            part.length--;
        }
    }
    return part;
}

static void
rule(struct text *text, const struct table *table, const size_t *widths, const char *left, const char *middle,
     const char *right)
{
    for (int i = 0; i < table->columns; i++) {
        text_say(text, i == 0 ? left : middle);
        text_repeat(text, "─", widths[i] + 2);
    }
    text_say(text, right);
}

static void
field(struct text *text, const char *bytes, size_t length, size_t width, int is_number)
{
    size_t space = width - text_width(bytes, length);
    text_say(text, "│ ");
    text_repeat(text, " ", is_number ? space : 0);
    text_add(text, bytes, length);
    text_repeat(text, " ", is_number ? 0 : space);
    text_say(text, " ");
}

/* The lines of a box; numbers stand to the right. */
static void
draw(struct text *text, const struct table *table, size_t *widths)
{
    size_t columns = (size_t)table->columns;
    for (size_t i = 0; i < columns; i++) {
        widths[i] = text_width(table->names[i], strlen(table->names[i]));
        for (size_t row = 0; row < table->shown; row++) {
            struct cell part = visible(table->cells + row * columns + i);
            size_t width = text_width(part.text, part.length);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    rule(text, table, widths, "┌", "┬", "┐\n");
    for (size_t i = 0; i < columns; i++) {
        field(text, table->names[i], strlen(table->names[i]), widths[i], 0);
    }
    text_say(text, "│\n");
    rule(text, table, widths, "├", "┼", "┤\n");
    for (size_t row = 0; row < table->shown; row++) {
        for (size_t i = 0; i < columns; i++) {
            struct cell part = visible(table->cells + row * columns + i);
            field(text, part.text, part.length, widths[i], part.type == SQLITE_INTEGER || part.type == SQLITE_FLOAT);
        }
        text_say(text, "│\n");
    }
    rule(text, table, widths, "└", "┴", "┘");
}

static void
add_note(struct text *text, const struct table *table, const char *before)
{
    if (table->rows > table->shown) {
        char note[100];
        snprintf(note, sizeof(note), "%sthe first %zu of %zu rows", before, table->shown, table->rows);
        text_say(text, note);
    }
}

static void
write_html(struct text *text, const struct table *table)
{
    size_t columns = (size_t)table->columns;
    text_say(text, "<table><thead><tr>");
    for (size_t i = 0; i < columns; i++) {
        text_say(text, "<th>");
        text_html(text, table->names[i], strlen(table->names[i]));
        text_say(text, "</th>");
    }
    text_say(text, "</tr></thead><tbody>");
    for (size_t row = 0; row < table->shown; row++) {
        text_say(text, "<tr>");
        for (size_t i = 0; i < columns; i++) {
            struct cell part = visible(table->cells + row * columns + i);
            text_say(text, "<td>");
            text_html(text, part.text, part.length);
            text_say(text, "</td>");
        }
        text_say(text, "</tr>");
    }
    text_say(text, "</tbody></table>");
    add_note(text, table, "<p>");
}

static void
write_value(struct text *text, const struct cell *cell)
{
    /* SQLite writes infinity as Inf, which JSON does not have. */
    if (cell->text == NULL || (cell->type == SQLITE_FLOAT && strstr(cell->text, "Inf"))) {
        text_say(text, "null");
    }
    else if (cell->type == SQLITE_INTEGER || cell->type == SQLITE_FLOAT) {
        text_add(text, cell->text, cell->length);
    }
    else {
        text_json(text, cell->text, cell->length);
    }
}

/* A list of objects; of columns that have the same name, the last one stays. */
static void
write_json(struct text *text, const struct table *table)
{
    size_t columns = (size_t)table->columns;
    text_say(text, "[");
    for (size_t row = 0; row < table->shown; row++) {
        text_say(text, row == 0 ? "{" : ",{");
        for (size_t i = 0; i < columns; i++) {
            text_say(text, i == 0 ? "" : ",");
            text_json(text, table->names[i], strlen(table->names[i]));
            text_say(text, ":");
            write_value(text, table->cells + row * columns + i);
        }
        text_say(text, "}");
    }
    text_say(text, "]");
}

int
table_send(struct table *table, enum kind kind)
{
    struct text drawn = {0}, html = {0}, event = {0};
    size_t *widths = calloc((size_t)table->columns, sizeof(size_t));
    if (widths != NULL) {
        draw(&drawn, table, widths);
        add_note(&drawn, table, "\n");
        write_html(&html, table);
        text_say(&event, "{\"data\":{\"text/plain\":");
        text_json(&event, drawn.bytes, drawn.length);
        text_say(&event, ",\"text/html\":");
        text_json(&event, html.bytes, html.length);
        text_say(&event, ",\"application/json\":");
        write_json(&event, table);
        text_say(&event, "},\"metadata\":{}}");
    }
    int good = widths != NULL && !drawn.failed && !html.failed && !event.failed;
    if (good) {
        sandpool_send(kind, event.bytes, event.length);
    }
    free(widths);
    text_free(&drawn);
    text_free(&html);
    text_free(&event);
    table_free(table);
    return good;
}
