#include <stdint.h>

#include "interrupt.h"

static volatile uint32_t flag;

struct write {
    uint32_t address, value, or_bits;
};

struct interrupt_cell {
    uint32_t count;
    struct write writes[4];
};

/* Read by the host from the image. */
struct interrupt_cell sandpool_interrupt_cell;

static int
look(JSRuntime *runtime, void *nothing)
{
    return flag != 0;
}

void
sandpool_interrupt_watch(JSRuntime *runtime)
{
    sandpool_interrupt_cell.writes[0] = (struct write){(uint32_t)(uintptr_t)&flag, 1, 0};
    sandpool_interrupt_cell.count = 1;
    JS_SetInterruptHandler(runtime, look, NULL);
}

int
sandpool_interrupted(void)
{
    return flag != 0;
}

void
sandpool_interrupt_clear(void)
{
    /* Read first: a write would make the page private for nothing. */
    if (flag) {
        flag = 0;
    }
}
