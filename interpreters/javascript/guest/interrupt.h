/* The interrupt cell: the word that the host sets to end a cell. See interpreters/README.md. */
#ifndef SANDPOOL_INTERRUPT_H
#define SANDPOOL_INTERRUPT_H

#include "quickjs.h"

/* Let the engine look at the word. */
void sandpool_interrupt_watch(JSRuntime *runtime);

int sandpool_interrupted(void);

/* Forget an interrupt: it has been reported, or came too late. */
void sandpool_interrupt_clear(void);

#endif
