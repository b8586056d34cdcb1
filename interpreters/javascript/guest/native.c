#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "native.h"
#include "output.h"

#define NATIVE(name) static JSValue name(JSContext *context, JSValueConst self, int count, JSValueConst *arguments)

/* print(kind, text) */
NATIVE(print)
{
    int32_t kind;
    size_t length;
    if (JS_ToInt32(context, &kind, arguments[0]) < 0) {
        return JS_EXCEPTION;
    }
    const char *text = JS_ToCStringLen(context, &length, arguments[1]);
    if (text == NULL) {
        return JS_EXCEPTION;
    }
    sandpool_print(kind == STDERR ? STDERR : STDOUT, text, length);
    JS_FreeCString(context, text);
    return JS_UNDEFINED;
}

/* emit(kind, payload): send an event. */
NATIVE(emit)
{
    int32_t kind;
    size_t length;
    if (JS_ToInt32(context, &kind, arguments[0]) < 0) {
        return JS_EXCEPTION;
    }
    const char *text = JS_ToCStringLen(context, &length, arguments[1]);
    if (text == NULL) {
        return JS_EXCEPTION;
    }
    sandpool_send((enum kind)kind, text, length);
    JS_FreeCString(context, text);
    return JS_UNDEFINED;
}

/* now(): milliseconds of the monotonic clock. */
NATIVE(now)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return JS_NewFloat64(context, (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6);
}

/* random(bytes): fill a Uint8Array. */
NATIVE(randomize)
{
    size_t length;
    uint8_t *bytes = JS_GetUint8Array(context, &length, arguments[0]);
    if (bytes == NULL) {
        return JS_EXCEPTION;
    }
    for (size_t done = 0; done < length;) {
        size_t part = length - done > 256 ? 256 : length - done;
        if (getentropy(bytes + done, part) != 0) {
            return JS_ThrowInternalError(context, "the host gives no random bytes");
        }
        done += part;
    }
    return JS_UNDEFINED;
}

/* classOf(value): the name of an object's class, whatever it says it is. */
NATIVE(class_of)
{
    return engine_class_of(context, arguments[0]);
}

/* promiseParts(promise): ["pending" | "fulfilled" | "rejected", result]. */
NATIVE(promise_parts)
{
    static const char *const names[] = {"pending", "fulfilled", "rejected"};
    int state = JS_PromiseState(context, arguments[0]);
    if (state < 0) {
        return JS_UNDEFINED;
    }
    JSValue parts = JS_NewArray(context);
    JS_SetPropertyUint32(context, parts, 0, JS_NewString(context, names[state]));
    JS_SetPropertyUint32(context, parts, 1, JS_PromiseResult(context, arguments[0]));
    return parts;
}

/* proxyTarget(value): what is behind a proxy, or undefined. */
NATIVE(proxy_target)
{
    return JS_IsProxy(arguments[0]) ? JS_GetProxyTarget(context, arguments[0]) : JS_UNDEFINED;
}

/* peek(iterator): what the iterator of a Map or Set has yet to give. */
NATIVE(peek)
{
    return engine_peek(context, arguments[0]);
}

/* encode(text): its UTF-8, a Uint8Array. */
NATIVE(encode)
{
    size_t length;
    const char *text = JS_ToCStringLen(context, &length, arguments[0]);
    if (text == NULL) {
        return JS_EXCEPTION;
    }
    JSValue bytes = JS_NewUint8ArrayCopy(context, (const uint8_t *)text, length);
    JS_FreeCString(context, text);
    return bytes;
}

/* The length of the UTF-8 sequence at `bytes`, or 0; `width` is how much a decoder skips then. */
static size_t
sequence(const uint8_t *bytes, size_t left, size_t *width)
{
    uint8_t first = bytes[0], low = 0x80, high = 0xBF;
    size_t wanted = first < 0x80 ? 1 : first >= 0xC2 && first <= 0xDF ? 2 : first >= 0xE0 && first <= 0xEF ? 3
                    : first >= 0xF0 && first <= 0xF4                  ? 4 : 0;
    low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : low;
    high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : high;
    *width = 1;
    for (size_t i = 1; i < wanted; i++) {
        if (i >= left || bytes[i] < (i == 1 ? low : 0x80) || bytes[i] > (i == 1 ? high : 0xBF)) {
            *width = i;
            return 0;
        }
    }
    return wanted;
}

/* decode(bytes, fatal): the text of UTF-8, with U+FFFD for what is none; undefined where `fatal` forbids it. */
NATIVE(decode)
{
    size_t length;
    const uint8_t *bytes = JS_GetUint8Array(context, &length, arguments[0]);
    if (bytes == NULL) {
        return JS_EXCEPTION;
    }
    int fatal = JS_ToBool(context, arguments[1]);
    size_t bad = 0, width;
    for (size_t i = 0; i < length;) {
        size_t found = sequence(bytes + i, length - i, &width);
        bad += found == 0;
        i += found ? found : width;
    }
    if (bad == 0) {
        return JS_NewStringLen(context, (const char *)bytes, length);
    }
    if (fatal) {
        return JS_UNDEFINED;
    }
    char *clean = js_malloc(context, length + bad * 3);
    if (clean == NULL) {
        return JS_EXCEPTION;
    }
    size_t size = 0;
    for (size_t i = 0; i < length;) {
        size_t found = sequence(bytes + i, length - i, &width);
        memcpy(clean + size, found ? (const char *)bytes + i : "\xEF\xBF\xBD", found ? found : 3);
        size += found ? found : 3;
        i += found ? found : width;
    }
    JSValue text = JS_NewStringLen(context, clean, size);
    js_free(context, clean);
    return text;
}

/* runScript(source, name): evaluate a script; CommonJS modules are functions in parentheses. */
NATIVE(run_script)
{
    size_t length;
    const char *source = JS_ToCStringLen(context, &length, arguments[0]);
    const char *name = JS_ToCString(context, arguments[1]);
    JSValue value = source && name ? JS_Eval(context, source, length, name, JS_EVAL_TYPE_GLOBAL) : JS_EXCEPTION;
    JS_FreeCString(context, source);
    JS_FreeCString(context, name);
    return value;
}

/* heap(): bytes in use. */
NATIVE(heap)
{
    JSMemoryUsage usage;
    JS_ComputeMemoryUsage(JS_GetRuntime(context), &usage);
    return JS_NewInt64(context, usage.malloc_size);
}

NATIVE(collect)
{
    JS_RunGC(JS_GetRuntime(context));
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("print", 2, print),
    JS_CFUNC_DEF("emit", 2, emit),
    JS_CFUNC_DEF("now", 0, now),
    JS_CFUNC_DEF("random", 1, randomize),
    JS_CFUNC_DEF("classOf", 1, class_of),
    JS_CFUNC_DEF("promiseParts", 1, promise_parts),
    JS_CFUNC_DEF("proxyTarget", 1, proxy_target),
    JS_CFUNC_DEF("peek", 1, peek),
    JS_CFUNC_DEF("encode", 1, encode),
    JS_CFUNC_DEF("decode", 2, decode),
    JS_CFUNC_DEF("runScript", 2, run_script),
    JS_CFUNC_DEF("heap", 0, heap),
    JS_CFUNC_DEF("collect", 0, collect),
};

JSValue
sandpool_native(JSContext *context)
{
    JSValue native = JS_NewObject(context);
    JS_SetPropertyFunctionList(context, native, functions, sizeof(functions) / sizeof(functions[0]));
    sandpool_native_files(context, native);
    sandpool_native_http(context, native);
    return native;
}
