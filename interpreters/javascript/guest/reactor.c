/* The reactor: the exports of the guest ABI (interpreters/README.md) around quickjs-ng. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cell.h"
#include "engine.h"
#include "interrupt.h"
#include "modules.h"
#include "native.h"
#include "output.h"
#include "request.h"

/* So deep, every way of recursing throws a RangeError before the host's stack (4 MiB) is full: ../building/stack.py. About
 * 4,000 calls. */
#define STACK_BYTES (1280 * 1024)

/* A collection walks over the whole heap and makes the image's part of it private: not before a session has its own. */
#define COLLECT_AFTER_BYTES (8 * 1024 * 1024)

static JSContext *context;
static JSValue hooks;

static void
die(const char *doing)
{
    JSValue error = JS_GetException(context);
    JSValue stack = JS_GetPropertyStr(context, error, "stack");
    const char *text = JS_ToCString(context, error), *where = JS_ToCString(context, stack);
    fprintf(stderr, "sandpool_init: %s: %s\n%s\n", doing, text ? text : "?", where ? where : "");
    abort();
}

/* Evaluate `sandpool:main`. It finds the native functions in a global, which is taken away again, and leaves its hooks
 * there. */
static void
start_library(void)
{
    JSValue global = JS_GetGlobalObject(context);
    JSValue native = sandpool_native(context);
    JS_SetPropertyStr(context, global, "__native", JS_DupValue(context, native));
    const char *start = "import 'sandpool:main';";
    JSValue promise = JS_Eval(context, start, strlen(start), "sandpool:start", JS_EVAL_TYPE_MODULE);
    JSContext *of;
    while (JS_IsJobPending(JS_GetRuntime(context))) {
        if (JS_ExecutePendingJob(JS_GetRuntime(context), &of) < 0) {
            die("a job");
        }
    }
    if (JS_IsException(promise)) {
        die("lib");
    }
    if (JS_PromiseState(context, promise) != JS_PROMISE_FULFILLED) {
        JS_Throw(context, JS_PromiseResult(context, promise));
        die("lib");
    }
    JS_FreeValue(context, promise);
    hooks = JS_GetPropertyStr(context, native, "hooks");
    JSAtom name = JS_NewAtom(context, "__native");
    JS_DeleteProperty(context, global, name, 0);
    JS_FreeAtom(context, name);
    JS_FreeValue(context, native);
    JS_FreeValue(context, global);
}

void
EXPORT(sandpool_init)(void)
{
    chdir("/mnt/data");
    JSRuntime *runtime = engine_new_runtime();
    context = JS_NewContext(runtime);
    engine_limit_stack(runtime, STACK_BYTES);
    JS_SetCanBlock(runtime, false);
    sandpool_modules_install(runtime);
    start_library();
    sandpool_modules_hook(context, hooks);
    sandpool_cell_hook(context, hooks);
    sandpool_interrupt_watch(runtime);
    JS_RunGC(runtime);
    JS_SetGCThreshold(runtime, COLLECT_AFTER_BYTES);
    sandpool_flush();
}

static void
reseed(void)
{
    uint64_t seed = 0;
    getentropy(&seed, sizeof(seed));
    engine_reseed(context, seed);
}

int32_t
EXPORT(sandpool_execute)(uint32_t operation, uint32_t length)
{
    enum status status = FINISHED;
    sandpool_interrupt_clear();
    if (operation == CELL) {
        status = sandpool_run_cell(context, sandpool_source(), length);
    }
    else {
        reseed();
        if (operation == PREPARE) {
            /* lib/cell.js knows it. It touches what a first cell will touch. */
            static const char first[] = "console.log(1), [1] /* first */";
            sandpool_mute(1);
            sandpool_run_cell(context, first, sizeof(first) - 1);
            sandpool_mute(0);
        }
    }
    sandpool_flush();
    sandpool_interrupt_clear();
    return (int32_t)status;
}
