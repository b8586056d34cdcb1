/* Sealing the heap: the image's allocators have holes all over it, and a session that fills them copies a page for each.
 * The holes are allocated and given up for good, so a session's own objects start on fresh, neighbouring pages. */
#include <stdint.h>
#include <stdlib.h>

#include "Python.h"

#include "seal.h"

/* Larger than any hole that importing leaves, so it is cut from the end of the heap. */
#define PROBE_BYTES (1u << 20)
/* pymalloc's largest block; above it an object is an allocation of the C library. */
#define SMALL_BYTES 512
#define STEP_BYTES 16

/* All holes of the C library's heap. Largest first: what is left of a hole is used up by the smaller sizes. */
static void
seal_heap(uintptr_t end)
{
    size_t step;
    for (size_t bytes = PROBE_BYTES / 2; bytes >= STEP_BYTES; bytes -= step) {
        void *block = malloc(bytes);
        while (block != NULL && (uintptr_t)block < end) {
            block = malloc(bytes);
        }
        free(block);
        step = bytes > 4096 ? bytes / 8 / STEP_BYTES * STEP_BYTES : STEP_BYTES;
    }
}

/* All free blocks in pools, and all free pools, that lie below `end`. */
static void
seal_pools(uintptr_t end)
{
    for (size_t bytes = STEP_BYTES; bytes <= SMALL_BYTES; bytes += STEP_BYTES) {
        void *block = PyObject_Malloc(bytes);
        while (block != NULL && (uintptr_t)block < end) {
            block = PyObject_Malloc(bytes);
        }
        /* The first one beyond stays, or the arena would be given back. */
        if (bytes > STEP_BYTES) {
            PyObject_Free(block);
        }
    }
}

void
sandpool_seal(void)
{
    void *probe = malloc(PROBE_BYTES);
    uintptr_t end = (uintptr_t)probe;
    free(probe);
    if (end != 0) {
        seal_heap(end);
        seal_pools(end);
    }
}
