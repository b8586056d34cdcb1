/* The room for a request: the part of the guest ABI (interpreters/README.md) that is the same in every guest. */
#ifndef SANDPOOL_REQUEST_H
#define SANDPOOL_REQUEST_H

#define EXPORT(name) __attribute__((export_name(#name))) name

/* The operations of sandpool_execute, and what it answers. */
enum operation { PREPARE = 0, CELL = 1, RESEED = 2 };
enum status { FINISHED = 0, RAISED = 1 };

/* The bytes that the host wrote; not terminated. */
const char *sandpool_source(void);

/* Give the room back, once the bytes have been read. */
void sandpool_source_read(void);

#endif
