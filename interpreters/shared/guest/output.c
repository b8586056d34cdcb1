/* Printed text waits in one buffer for both streams, so that their order holds. It leaves when the buffer is full, when the
 * other stream or an event follows, when the cell ends or is interrupted, before the guest sleeps (time.sleep is
 * wrapped), and at a newline when the last send is some time ago: a loop that prints its progress is seen at once. */
#include <string.h>
#include <time.h>

#include "output.h"

#define BUFFER_BYTES 8192
#define SEND_INTERVAL_NANOSECONDS 20000000

__attribute__((import_module("sandpool"), import_name("emit")))
extern void host_emit(uint32_t kind, const void *bytes, uint32_t length);

static char buffer[BUFFER_BYTES];
static size_t waiting;
static enum kind waiting_kind = STDOUT;
static uint64_t last_sent;
static int muted;

static uint64_t
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void
send(enum kind kind, const char *bytes, size_t length)
{
    if (!muted) {
        host_emit(kind, bytes, (uint32_t)length);
    }
}

void
sandpool_mute(int on)
{
    sandpool_flush();
    muted = on;
}

void
sandpool_flush(void)
{
    if (waiting > 0) {
        size_t length = waiting;
        waiting = 0;
        send(waiting_kind, buffer, length);
    }
}

void
sandpool_send(enum kind kind, const char *bytes, size_t length)
{
    sandpool_flush();
    send(kind, bytes, length);
}

static void
send_when_due(void)
{
    uint64_t time = now();
    if (time - last_sent > SEND_INTERVAL_NANOSECONDS) {
        last_sent = time;
        sandpool_flush();
    }
}

void
sandpool_print(enum kind kind, const char *text, size_t length)
{
    if (kind != waiting_kind || length > BUFFER_BYTES - waiting) {
        sandpool_flush();
        waiting_kind = kind;
    }
    if (length > BUFFER_BYTES) {
        send(kind, text, length);
        return;
    }
    memcpy(buffer + waiting, text, length);
    waiting += length;
    if (length > 0 && text[length - 1] == '\n') {
        send_when_due();
    }
}
