/* The commands that SQLite's own shell has too, as far as they make sense here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "output.h"

static void
say(const char *words)
{
    sandpool_print(STDOUT, words, strlen(words));
}

static int
complain(const char *message)
{
    sandpool_fail("SQLITE_ERROR", message, "", -1);
    return 0;
}

/* A query with the command's argument in it, or all when there is none. */
static int
query(sqlite3 *database, const char *sql, const char *argument)
{
    char *filled = sqlite3_mprintf(sql, argument && *argument ? argument : "%");
    int good = filled != NULL && sandpool_run_sql(database, filled, filled + strlen(filled), 0);
    sqlite3_free(filled);
    return good;
}

static int
tables(sqlite3 *database, const char *pattern)
{
    return query(database,
                 "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')"
                 " AND name NOT LIKE 'sqlite\\_%%' ESCAPE '\\' AND name LIKE %Q ORDER BY name",
                 pattern);
}

static int
indexes(sqlite3 *database, const char *pattern)
{
    return query(database,
                 "SELECT name, tbl_name AS \"table\" FROM sqlite_schema WHERE type = 'index' AND tbl_name LIKE %Q"
                 " ORDER BY name",
                 pattern);
}

static int
schema(sqlite3 *database, const char *pattern)
{
    sqlite3_stmt *statement;
    const char *sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name LIKE ?"
                      " ORDER BY tbl_name, type DESC, name";
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK) {
        return complain(sqlite3_errmsg(database));
    }
    sqlite3_bind_text(statement, 1, *pattern ? pattern : "%", -1, SQLITE_STATIC);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        say((const char *)sqlite3_column_text(statement, 0));
        say(";\n");
    }
    return sqlite3_finalize(statement) == SQLITE_OK ? 1 : complain(sqlite3_errmsg(database));
}

/* Copy the session's database to a file, or a file to it. The file is closed again: nothing stays open between cells. */
static int
copy(sqlite3 *database, const char *path, int to_file)
{
    sqlite3 *file;
    int flags = to_file ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    if (*path == '\0') {
        return complain("the command needs the name of a file");
    }
    int status = sqlite3_open_v2(path, &file, flags, NULL);
    sqlite3_backup *backup = NULL;
    if (status == SQLITE_OK) {
        sqlite3 *target = to_file ? file : database, *source = to_file ? database : file;
        backup = sqlite3_backup_init(target, "main", source, "main");
        status = backup ? sqlite3_backup_step(backup, -1) : sqlite3_errcode(target);
        sqlite3_backup_finish(backup);
    }
    char message[300];
    snprintf(message, sizeof(message), "%.200s: %s", path, status == SQLITE_DONE ? "" : sqlite3_errstr(status));
    sqlite3_close(file);
    return status == SQLITE_DONE ? 1 : complain(message);
}

static int
save(sqlite3 *database, const char *path)
{
    return copy(database, path, 1);
}

static int
load(sqlite3 *database, const char *path)
{
    return copy(database, path, 0);
}

static int
run_file(sqlite3 *database, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return complain("the file cannot be opened");
    }
    fseek(file, 0, SEEK_END);
    size_t length = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(length + 1);
    length = text ? fread(text, 1, length, file) : 0;
    fclose(file);
    if (text == NULL) {
        return complain("out of memory");
    }
    text[length] = '\0';
    int good = sandpool_run_sql(database, text, text + length, 0);
    free(text);
    return good;
}

static int help(sqlite3 *database, const char *nothing);

static const struct command {
    const char *name, *what;
    int (*run)(sqlite3 *database, const char *argument);
} commands[] = {
    {".help", "this list", help},
    {".tables", "[PATTERN]: tables and views", tables},
    {".schema", "[PATTERN]: the statements that made them", schema},
    {".indexes", "[TABLE]: indexes", indexes},
    {".save", "FILE: write the session's database to a file in /mnt/data", save},
    {".open", "FILE: replace the session's database by that of a file", load},
    {".read", "FILE: run the statements in a file", run_file},
};

static int
help(sqlite3 *database, const char *nothing)
{
    char line[200];
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        snprintf(line, sizeof(line), "%-9s %s\n", commands[i].name, commands[i].what);
        say(line);
    }
    return 1;
}

int
sandpool_run_command(sqlite3 *database, char *line)
{
    size_t length = strcspn(line, " \t;");
    char *argument = line + length;
    if (*argument != '\0') {
        *argument++ = '\0';
    }
    argument += strspn(argument, " \t;");
    for (size_t end = strlen(argument); end > 0 && strchr(" \t;", argument[end - 1]); end--) {
        argument[end - 1] = '\0';
    }
    size_t size = strlen(argument);
    if (size >= 2 && (argument[0] == '\'' || argument[0] == '"') && argument[size - 1] == argument[0]) {
        argument[size - 1] = '\0';
        argument++;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(line, commands[i].name) == 0) {
            return commands[i].run(database, argument);
        }
    }
    char message[200];
    snprintf(message, sizeof(message), "there is no command %.60s; .help lists them", line);
    return complain(message);
}
