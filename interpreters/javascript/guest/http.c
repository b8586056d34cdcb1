/* Deliberately does not: know HTTP. What the heads mean is lib/fetch.js's business. */
#include <stdint.h>
#include <string.h>

#include "interrupt.h"
#include "native.h"
#include "output.h"

__attribute__((import_module("sandpool"), import_name("http_request")))
extern uint32_t host_http_request(const void *request, uint32_t length);
__attribute__((import_module("sandpool"), import_name("http_take")))
extern uint32_t host_http_take(void *room, uint32_t length);

/* Sends a request; the length of the answer, or 0 with an exception thrown. */
static uint32_t
ask(JSContext *context, const void *head, size_t head_length, const void *body, size_t body_length)
{
    uint32_t told = (uint32_t)head_length;
    uint64_t length = sizeof(told) + (uint64_t)head_length + body_length;
    char *request = length > INT32_MAX ? NULL : js_malloc(context, (size_t)length);
    if (request == NULL) {
        JS_ThrowOutOfMemory(context);
        return 0;
    }
    memcpy(request, &told, sizeof(told));
    memcpy(request + sizeof(told), head, head_length);
    if (body_length > 0) {
        memcpy(request + sizeof(told) + head_length, body, body_length);
    }
    /* It may take a while: what was printed is seen before. */
    sandpool_flush();
    uint32_t answer = host_http_request(request, (uint32_t)length);
    js_free(context, request);
    /* The host came back early if it has an interrupt to tell of; the engine throws at its next look at the flag, for good. */
    if (sandpool_interrupted()) {
        JS_ThrowInternalError(context, "interrupted");
        return 0;
    }
    if (answer == 0) {
        JS_ThrowInternalError(context, "the host does not answer");
    }
    return answer;
}

/* The next `length` bytes of the answer, a Uint8Array. */
static JSValue
take(JSContext *context, uint32_t length)
{
    uint8_t *part = js_malloc(context, length + 1);
    if (part == NULL) {
        return JS_EXCEPTION;
    }
    JSValue bytes = host_http_take(part, length) == length ? JS_NewUint8ArrayCopy(context, part, length)
                                                           : JS_ThrowInternalError(context, "the host's answer is cut");
    js_free(context, part);
    return bytes;
}

static JSValue
take_answer(JSContext *context, uint32_t length)
{
    uint32_t head_length = 0;
    if (length < sizeof(head_length) || host_http_take(&head_length, sizeof(head_length)) != sizeof(head_length)
        || head_length > length - sizeof(head_length)) {
        return JS_ThrowInternalError(context, "the host's answer is cut");
    }
    JSValue head = take(context, head_length);
    JSValue body = JS_IsException(head) ? head : take(context, length - (uint32_t)sizeof(head_length) - head_length);
    if (JS_IsException(body)) {
        if (!JS_IsException(head)) {
            JS_FreeValue(context, head);
        }
        return JS_EXCEPTION;
    }
    JSValue answer = JS_NewArray(context);
    JS_SetPropertyUint32(context, answer, 0, head);
    JS_SetPropertyUint32(context, answer, 1, body);
    return answer;
}

/* http(head, body): ask the outside; [head, body]. All are Uint8Arrays: see http_request in interpreters/README.md. */
static JSValue
http(JSContext *context, JSValueConst self, int count, JSValueConst *arguments)
{
    size_t head_length, body_length;
    const uint8_t *head = JS_GetUint8Array(context, &head_length, arguments[0]);
    if (head == NULL) {
        return JS_EXCEPTION;
    }
    const uint8_t *body = JS_GetUint8Array(context, &body_length, arguments[1]);
    if (body == NULL) {
        return JS_EXCEPTION;
    }
    uint32_t length = ask(context, head, head_length, body, body_length);
    return length == 0 ? JS_EXCEPTION : take_answer(context, length);
}

void
sandpool_native_http(JSContext *context, JSValueConst native)
{
    JS_SetPropertyStr(context, native, "http", JS_NewCFunction(context, http, "http", 2));
}
