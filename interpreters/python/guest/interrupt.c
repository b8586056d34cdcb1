/* The interrupt cell. An interrupt is a SIGINT that nobody had to send: the three words that CPython's own C handler
 * sets when a signal arrives. Unlike an asynchronous exception, long C loops that call PyErr_CheckSignals (re, big
 * integers, time.sleep) notice it too, and user code may catch it the way it would catch Ctrl-C. */
#include <stdint.h>

#include "Python.h"
#include "internal/pycore_ceval.h"
#include "internal/pycore_pystate.h"
#include "internal/pycore_runtime.h"
#include "internal/pycore_signal.h"

#include "interrupt.h"

struct write {
    uint32_t address, value, or_bits;
};

struct interrupt_cell {
    uint32_t count;
    struct write writes[4];
};

/* Read by the host from the image. */
struct interrupt_cell sandpool_interrupt_cell;

static uint32_t
address_of(const volatile void *place)
{
    return (uint32_t)(uintptr_t)place;
}

void
sandpool_interrupt_prepare(void)
{
    PyThreadState *tstate = PyThreadState_Get();
    struct interrupt_cell *cell = &sandpool_interrupt_cell;
    cell->writes[0] = (struct write){address_of(&_PyRuntime.signals.handlers[SIGINT].tripped), 1, 0};
    cell->writes[1] = (struct write){address_of(&_PyRuntime.signals.is_tripped), 1, 0};
    cell->writes[2] = (struct write){address_of(&tstate->eval_breaker), 0, _PY_SIGNALS_PENDING_BIT};
    cell->count = 3;
}

void
sandpool_interrupt_clear(void)
{
    PyThreadState *tstate = PyThreadState_Get();
    /* Read first: a write would make the page private for nothing. */
    if (_PyRuntime.signals.is_tripped || _PyRuntime.signals.handlers[SIGINT].tripped) {
        _PyRuntime.signals.handlers[SIGINT].tripped = 0;
        _PyRuntime.signals.is_tripped = 0;
        _Py_unset_eval_breaker_bit(tstate, _PY_SIGNALS_PENDING_BIT);
    }
}
