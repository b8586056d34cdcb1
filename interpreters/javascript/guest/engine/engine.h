/* What the guest needs of the engine's inside, beyond quickjs.h. */
#ifndef SANDPOOL_ENGINE_H
#define SANDPOOL_ENGINE_H

#include <stdint.h>

#include "quickjs.h"

/* A runtime whose allocator keeps a reserve: when memory runs out, the reserve is given back, so that what reports the
 * error finds some. */
JSRuntime *engine_new_runtime(void);

/* Take the reserve again, if memory allows. */
void engine_refill_reserve(void);

/* Throw a RangeError once the C stack is this deep, counted from here. */
void engine_limit_stack(JSRuntime *runtime, uint32_t bytes);

/* Seed Math.random. */
void engine_reseed(JSContext *context, uint64_t seed);

/* Forget the global bindings that a compiled script declares: it may declare them again. */
void engine_forget_declared(JSContext *context, JSValueConst script);

/* Forget all jobs that wait. */
void engine_drop_jobs(JSRuntime *runtime);

/* What an iterator of a Map or Set has yet to give, as an array; its property `isEntries` says whether these are pairs. */
JSValue engine_peek(JSContext *context, JSValueConst iterator);

/* The name of an object's class, whatever it says it is; undefined for primitives. */
JSValue engine_class_of(JSContext *context, JSValueConst value);

#endif
