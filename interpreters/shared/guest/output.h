/* The event stream: what a cell prints, shows and raises goes to the host as numbered events. */
#ifndef SANDPOOL_OUTPUT_H
#define SANDPOOL_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

/* Kinds of events; see interpreters/README.md. */
enum kind { STDOUT = 1, STDERR = 2, DISPLAY = 3, UPDATE_DISPLAY = 4, CLEAR_OUTPUT = 5, RESULT = 6, ERROR = 7 };

/* Send an event, after whatever text was printed before it. */
void sandpool_send(enum kind kind, const char *bytes, size_t length);

/* Append text to stdout or stderr. */
void sandpool_print(enum kind kind, const char *text, size_t length);

/* Send the text that waits. */
void sandpool_flush(void);

/* While muted, nothing is sent: a session is being prepared. */
void sandpool_mute(int on);

#endif
