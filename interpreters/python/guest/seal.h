#ifndef SANDPOOL_SEAL_H
#define SANDPOOL_SEAL_H

/* Use up every hole in the heap, so that what a session allocates lies together. Call once, as the image's last allocation. */
void sandpool_seal(void);

#endif
