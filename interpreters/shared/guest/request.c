#include <stdint.h>
#include <stdlib.h>

#include "request.h"

/* The version of the ABI, by address. */
const uint32_t sandpool_abi = 1;

/* Most cells fit here; a page or two of memory that is touched anyway. */
static char small_request[8192];
static char *large_request;

void *
EXPORT(sandpool_request)(uint32_t length)
{
    free(large_request);
    large_request = NULL;
    if (length <= sizeof(small_request)) {
        return small_request;
    }
    large_request = malloc(length);
    return large_request;
}

const char *
sandpool_source(void)
{
    return large_request ? large_request : small_request;
}

void
sandpool_source_read(void)
{
    free(large_request);
    large_request = NULL;
}
