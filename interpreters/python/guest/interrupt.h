/* The interrupt cell: what the host writes to raise KeyboardInterrupt. See interpreters/README.md. */
#ifndef SANDPOOL_INTERRUPT_H
#define SANDPOOL_INTERRUPT_H

/* Fill the cell. Call once, when the interpreter is up. */
void sandpool_interrupt_prepare(void);

/* Forget an interrupt that came too late, so that it does not hit the next cell. */
void sandpool_interrupt_clear(void);

#endif
