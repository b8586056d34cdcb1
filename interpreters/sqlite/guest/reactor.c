/* The reactor: the exports of the guest ABI (interpreters/README.md) around SQLite.
 *
 * The session's database lies in memory, not in a file: then it is part of what a session is, like the variables of another
 * language, and no file is open between two cells. `.save` and `.open` copy it to files in /mnt/data and back, and ATTACH
 * works on those as it does anywhere. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cell.h"
#include "output.h"
#include "request.h"

/* So many of SQLite's own instructions between two looks at the word that interrupts. */
#define LOOK_EVERY 1000

struct write {
    uint32_t address, value, or_bits;
};

struct interrupt_cell {
    uint32_t count;
    struct write writes[4];
};

/* Read by the host from the image. */
struct interrupt_cell sandpool_interrupt_cell;

static sqlite3 *database;

static int
look(void *nothing)
{
    return sandpool_interrupted != 0;
}

void
EXPORT(sandpool_init)(void)
{
    chdir("/mnt/data");
    if (sqlite3_open(":memory:", &database) != SQLITE_OK) {
        fprintf(stderr, "sandpool_init: %s\n", sqlite3_errmsg(database));
        abort();
    }
    sqlite3_progress_handler(database, LOOK_EVERY, look, NULL);
    sandpool_interrupt_cell.writes[0] = (struct write){(uint32_t)(uintptr_t)&sandpool_interrupted, 1, 0};
    sandpool_interrupt_cell.count = 1;
    /* The image has what every session needs: the first statement makes SQLite set itself up. */
    sandpool_mute(1);
    sandpool_run_cell(database, "SELECT 1");
    sandpool_mute(0);
}

static void
reseed(void)
{
    /* SQLite seeds its generator anew when it is next used. */
    sqlite3_randomness(0, NULL);
}

static enum status
run(uint32_t length)
{
    char *text = malloc(length + 1);
    if (text == NULL) {
        sandpool_fail("SQLITE_NOMEM", "out of memory", "", -1);
        return RAISED;
    }
    memcpy(text, sandpool_source(), length);
    sandpool_source_read();
    text[length] = '\0';
    enum status status = sandpool_run_cell(database, text);
    free(text);
    return status;
}

int32_t
EXPORT(sandpool_execute)(uint32_t operation, uint32_t length)
{
    enum status status = FINISHED;
    sandpool_interrupted = 0;
    if (operation == CELL) {
        status = run(length);
    }
    else {
        reseed();
        if (operation == PREPARE) {
            sandpool_mute(1);
            sandpool_run_cell(database, "SELECT 1");
            sandpool_mute(0);
        }
    }
    sandpool_flush();
    sandpool_interrupted = 0;
    return (int32_t)status;
}
