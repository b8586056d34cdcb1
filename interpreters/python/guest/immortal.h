#ifndef SANDPOOL_IMMORTAL_H
#define SANDPOOL_IMMORTAL_H

#include <stddef.h>

/* Make every object that can be reached immortal; the number of them. Call once, at the end of the initialisation. */
size_t sandpool_immortalize(void);

#endif
