/* What a cell means is decided here and in lib/: C keeps what must work when JavaScript cannot, as after an interrupt or
 * when memory has run out. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cell.h"
#include "engine.h"
#include "interrupt.h"
#include "output.h"

/* Rejected promises that nothing handles yet; what there are more is not reported, one is. */
#define MOST_REJECTED 64

static JSValue prepare = JS_UNDEFINED, tick = JS_UNDEFINED, report = JS_UNDEFINED, show = JS_UNDEFINED;
static JSValue rejected[MOST_REJECTED], reasons[MOST_REJECTED];
static int rejected_count;
static JSValue cell_promise = JS_UNDEFINED;

static void
track(JSContext *context, JSValueConst promise, JSValueConst reason, bool is_handled, void *nothing)
{
    if (!is_handled) {
        if (rejected_count < MOST_REJECTED) {
            reasons[rejected_count] = JS_DupValue(context, reason);
            rejected[rejected_count++] = JS_DupValue(context, promise);
        }
        return;
    }
    for (int i = 0; i < rejected_count; i++) {
        if (JS_VALUE_GET_PTR(rejected[i]) == JS_VALUE_GET_PTR(promise)) {
            JS_FreeValue(context, rejected[i]);
            JS_FreeValue(context, reasons[i]);
            rejected_count--;
            memmove(rejected + i, rejected + i + 1, sizeof(JSValue) * (size_t)(rejected_count - i));
            memmove(reasons + i, reasons + i + 1, sizeof(JSValue) * (size_t)(rejected_count - i));
            return;
        }
    }
}

void
sandpool_cell_hook(JSContext *context, JSValueConst hooks)
{
    prepare = JS_GetPropertyStr(context, hooks, "prepare");
    tick = JS_GetPropertyStr(context, hooks, "tick");
    report = JS_GetPropertyStr(context, hooks, "report");
    show = JS_GetPropertyStr(context, hooks, "show");
    JS_SetHostPromiseRejectionTracker(JS_GetRuntime(context), track, NULL);
}

/* The last resort: the code that would have told of the error has failed itself, most often for want of memory. */
static void
report_plainly(JSContext *context, JSValueConst error)
{
    JSValue name = JS_GetPropertyStr(context, error, "name"), message = JS_GetPropertyStr(context, error, "message");
    const char *name_text = JS_ToCString(context, name), *message_text = JS_ToCString(context, message);
    if (name_text == NULL || message_text == NULL || strpbrk(name_text, "\"\\") || strpbrk(message_text, "\"\\\n\r\t")) {
        JS_FreeCString(context, name_text);
        JS_FreeCString(context, message_text);
        name_text = message_text = NULL;
    }
    char event[512];
    const char *kind = name_text ? name_text : "InternalError", *what = message_text ? message_text : "out of memory";
    const char *form = "{\"name\":\"%.60s\",\"value\":\"%.100s\",\"traceback\":[\"%.60s: %.100s\"]}";
    int length = snprintf(event, sizeof(event), form, kind, what, kind, what);
    sandpool_send(ERROR, event, (size_t)length);
    JS_FreeCString(context, name_text);
    JS_FreeCString(context, message_text);
    JS_FreeValue(context, name);
    JS_FreeValue(context, message);
    JS_FreeValue(context, JS_GetException(context));
}

/* Tell of an error that ends the cell, and forget all that the cell has begun. Takes `error`. Finished: it was no error. */
static enum status
fail(JSContext *context, JSValue error, const char *origin)
{
    JSRuntime *runtime = JS_GetRuntime(context);
    sandpool_flush();
    sandpool_interrupt_clear();
    engine_drop_jobs(runtime);
    JS_ClearUncatchableError(context, error);
    JSValue arguments[] = {error, JS_NewString(context, origin)};
    JSValue told = JS_Call(context, report, JS_UNDEFINED, 2, (JSValueConst *)arguments);
    if (JS_IsException(told)) {
        JS_FreeValue(context, JS_GetException(context));
        sandpool_interrupt_clear();
        report_plainly(context, error);
    }
    enum status status = JS_IsBool(told) && JS_ToBool(context, told) ? FINISHED : RAISED;
    JS_FreeValue(context, told);
    JS_FreeValue(context, arguments[1]);
    JS_FreeValue(context, error);
    engine_drop_jobs(runtime);
    return status;
}

static enum status
fail_with_exception(JSContext *context)
{
    return fail(context, JS_GetException(context), "error");
}

static enum status
fail_interrupted(JSContext *context)
{
    JSValue error = JS_NewInternalError(context, "interrupted");
    return fail(context, error, "error");
}

/* Run what promises have made ready. False: an error ended it, and is the context's exception. */
static int
run_jobs(JSContext *context)
{
    JSRuntime *runtime = JS_GetRuntime(context);
    while (JS_IsJobPending(runtime)) {
        JSContext *of;
        if (JS_ExecutePendingJob(runtime, &of) < 0) {
            return 0;
        }
        /* A job that only makes the next one is too short for the engine to look at the flag. */
        if (sandpool_interrupted()) {
            JS_ThrowInternalError(context, "interrupted");
            return 0;
        }
    }
    return 1;
}

static void
forget_rejected(JSContext *context)
{
    while (rejected_count > 0) {
        rejected_count--;
        JS_FreeValue(context, rejected[rejected_count]);
        JS_FreeValue(context, reasons[rejected_count]);
    }
}

/* The reason of a rejection that nothing handles, or uninitialised. */
static JSValue
unhandled(JSContext *context)
{
    for (int i = 0; i < rejected_count; i++) {
        if (JS_VALUE_GET_PTR(rejected[i]) != JS_VALUE_GET_PTR(cell_promise)) {
            return JS_DupValue(context, reasons[i]);
        }
    }
    return JS_UNINITIALIZED;
}

static void
sleep_milliseconds(double milliseconds)
{
    /* The host ends it early when an interrupt is due. */
    struct timespec time = {(time_t)(milliseconds / 1000), 0};
    time.tv_nsec = (long)((milliseconds - (double)time.tv_sec * 1000) * 1e6);
    sandpool_flush();
    nanosleep(&time, NULL);
}

/* Jobs, then one timer, then jobs, until nothing is left. False: the cell has ended before, with *status. */
static int
run_to_completion(JSContext *context, enum status *status)
{
    for (;;) {
        if (!run_jobs(context)) {
            *status = fail_with_exception(context);
            return 0;
        }
        if (JS_IsObject(cell_promise) && JS_PromiseState(context, cell_promise) == JS_PROMISE_REJECTED) {
            *status = fail(context, JS_PromiseResult(context, cell_promise), "error");
            return 0;
        }
        JSValue reason = unhandled(context);
        if (!JS_IsUninitialized(reason)) {
            *status = fail(context, reason, "rejection");
            return 0;
        }
        /* Milliseconds until the next timer; 0: it has just run; negative: there is none. */
        JSValue answer = JS_Call(context, tick, JS_UNDEFINED, 0, NULL);
        double wait;
        if (JS_IsException(answer) || JS_ToFloat64(context, &wait, answer) < 0) {
            *status = fail_with_exception(context);
            return 0;
        }
        if (wait < 0 && !JS_IsJobPending(JS_GetRuntime(context))) {
            return 1;
        }
        if (wait > 0) {
            sleep_milliseconds(wait);
            if (sandpool_interrupted()) {
                *status = fail_interrupted(context);
                return 0;
            }
        }
    }
}

/* The text as lib/ has it: `import` declarations made into expressions, and so on. */
static JSValue
compile(JSContext *context, const char *source, size_t length, int *is_async)
{
    JSValue text = JS_NewStringLen(context, source, length);
    JSValue prepared = JS_Call(context, prepare, JS_UNDEFINED, 1, (JSValueConst *)&text);
    JS_FreeValue(context, text);
    if (JS_IsException(prepared)) {
        return prepared;
    }
    JSValue name_value = JS_GetPropertyUint32(context, prepared, 0);
    const char *name = JS_ToCString(context, name_value);
    JSValue script = JS_UNDEFINED;
    /* Candidates: [name, text, is_async, text, is_async, ...]; the last one's error is the cell's. */
    for (uint32_t i = 1; JS_IsUndefined(script); i += 2) {
        JSValue candidate = JS_GetPropertyUint32(context, prepared, i);
        JSValue next = JS_GetPropertyUint32(context, prepared, i + 2);
        *is_async = JS_ToBool(context, JS_GetPropertyUint32(context, prepared, i + 1));
        int flags = JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_COMPILE_ONLY | (*is_async ? JS_EVAL_FLAG_ASYNC : 0);
        size_t size;
        const char *code = JS_ToCStringLen(context, &size, candidate);
        script = code ? JS_Eval(context, code, size, name, flags) : JS_EXCEPTION;
        if (JS_IsException(script) && !JS_IsUndefined(next) && !sandpool_interrupted()) {
            JS_FreeValue(context, JS_GetException(context));
            script = JS_UNDEFINED;
        }
        JS_FreeCString(context, code);
        JS_FreeValue(context, candidate);
        JS_FreeValue(context, next);
    }
    JS_FreeCString(context, name);
    JS_FreeValue(context, name_value);
    JS_FreeValue(context, prepared);
    return script;
}

/* The value of a script that awaits, out of its promise. */
static JSValue
awaited(JSContext *context)
{
    if (JS_PromiseState(context, cell_promise) == JS_PROMISE_PENDING) {
        JSValue error = JS_NewError(context);
        JSValue message = JS_NewString(context, "the cell awaits a promise that nothing is left to settle");
        JS_DefinePropertyValueStr(context, error, "message", message, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
        return JS_Throw(context, error);
    }
    JSValue wrapped = JS_PromiseResult(context, cell_promise);
    JSValue value = JS_GetPropertyStr(context, wrapped, "value");
    JS_FreeValue(context, wrapped);
    return value;
}

/* Takes `value`. */
static enum status
show_result(JSContext *context, JSValue value)
{
    if (JS_IsUndefined(value)) {
        return FINISHED;
    }
    JSValue shown = JS_IsException(value) ? value : JS_Call(context, show, JS_UNDEFINED, 1, (JSValueConst *)&value);
    JS_FreeValue(context, value);
    if (JS_IsException(shown)) {
        return fail_with_exception(context);
    }
    JS_FreeValue(context, shown);
    return FINISHED;
}

static enum status
run(JSContext *context, const char *source, size_t length)
{
    int is_async = 0;
    JSValue script = compile(context, source, length, &is_async);
    sandpool_source_read();
    if (JS_IsException(script)) {
        return fail_with_exception(context);
    }
    engine_forget_declared(context, script);
    JSValue value = JS_EvalFunction(context, script);
    if (JS_IsException(value)) {
        return fail_with_exception(context);
    }
    if (is_async) {
        cell_promise = value;
        value = JS_UNDEFINED;
    }
    enum status status;
    if (!run_to_completion(context, &status)) {
        JS_FreeValue(context, value);
        return status;
    }
    return show_result(context, is_async ? awaited(context) : value);
}

enum status
sandpool_run_cell(JSContext *context, const char *source, size_t length)
{
    engine_refill_reserve();
    enum status status = run(context, source, length);
    JS_FreeValue(context, cell_promise);
    cell_promise = JS_UNDEFINED;
    forget_rejected(context);
    return status;
}
