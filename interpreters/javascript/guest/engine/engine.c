/* quickjs.c as one unit with the few functions that need its inside: it has no interface for them. */
#include "quickjs.c"

#include "engine.h"

#define RESERVE_BYTES (256 * 1024)

static void *reserve;

static void *
kept(void *memory)
{
    if (memory == NULL) {
        free(reserve);
        reserve = NULL;
    }
    return memory;
}

static void *
allocate_cleared(void *opaque, size_t count, size_t size)
{
    return kept(calloc(count, size));
}

static void *
allocate(void *opaque, size_t size)
{
    return kept(malloc(size));
}

static void
release(void *opaque, void *memory)
{
    free(memory);
}

static void *
resize(void *opaque, void *memory, size_t size)
{
    void *resized = realloc(memory, size);
    return size > 0 ? kept(resized) : resized;
}

static const JSMallocFunctions allocator = {
    allocate_cleared, allocate, release, resize, (size_t(*)(const void *))malloc_usable_size,
};

JSRuntime *
engine_new_runtime(void)
{
    engine_refill_reserve();
    return JS_NewRuntime2(&allocator, NULL);
}

void
engine_refill_reserve(void)
{
    if (reserve == NULL) {
        reserve = malloc(RESERVE_BYTES);
    }
}

void
engine_limit_stack(JSRuntime *runtime, uint32_t bytes)
{
    /* JS_SetMaxStackSize does nothing for WASI. */
    runtime->stack_limit = js_get_stack_pointer() - bytes;
}

void
engine_reseed(JSContext *context, uint64_t seed)
{
    context->random_state = seed != 0 ? seed : 1;
}

static void
forget(JSContext *context, JSAtom name)
{
    JSObject *lexical = JS_VALUE_GET_OBJ(context->global_var_obj);
    if (find_own_property1(lexical, name)) {
        delete_property(context, lexical, name);
        return;
    }
    /* What `var` and `function` declare cannot be deleted, but it can be written; undefined, NaN and Infinity cannot. */
    JSObject *global = JS_VALUE_GET_OBJ(context->global_obj);
    JSShapeProperty *property = find_own_property1(global, name);
    if (property == NULL || (property->flags & JS_PROP_CONFIGURABLE) || !(property->flags & JS_PROP_WRITABLE)) {
        return;
    }
    if (js_shape_prepare_update(context, global, &property) == 0) {
        property->flags |= JS_PROP_CONFIGURABLE;
        delete_property(context, global, name);
    }
}

void
engine_forget_declared(JSContext *context, JSValueConst script)
{
    if (JS_VALUE_GET_TAG(script) != JS_TAG_FUNCTION_BYTECODE) {
        return;
    }
    const JSFunctionBytecode *code = JS_VALUE_GET_PTR(script);
    int position = 0;
    while (position < code->byte_code_len) {
        const uint8_t *at = code->byte_code_buf + position;
        if (*at == OP_check_define_var) {
            /* `var x` keeps the value that an earlier `var x` has; a function or a lexical declaration replaces. */
            JSAtom name = get_u32(at + 1);
            int lexical = at[5] & DEFINE_GLOBAL_LEX_VAR;
            if (lexical || find_own_property1(JS_VALUE_GET_OBJ(context->global_var_obj), name)) {
                forget(context, name);
            }
        }
        position += short_opcode_info(*at).size;
    }
}

void
engine_drop_jobs(JSRuntime *runtime)
{
    struct list_head *link, *next;
    list_for_each_safe(link, next, &runtime->job_list) {
        JSJobEntry *job = list_entry(link, JSJobEntry, link);
        list_del(&job->link);
        for (int i = 0; i < job->argc; i++) {
            JS_FreeValueRT(runtime, job->argv[i]);
        }
        js_free_rt(runtime, job);
    }
}

JSValue
engine_peek(JSContext *context, JSValueConst iterator)
{
    JSClassID class_id = JS_GetClassID(iterator);
    if (class_id != JS_CLASS_MAP_ITERATOR && class_id != JS_CLASS_SET_ITERATOR) {
        return JS_UNDEFINED;
    }
    const JSMapIteratorData *state = JS_GetOpaque(iterator, class_id);
    JSValue found = JS_NewArray(context);
    if (JS_IsException(found) || state == NULL || JS_IsUndefined(state->obj)) {
        return found;
    }
    JSMapState *map = JS_GetOpaque(state->obj, class_id - JS_CLASS_MAP_ITERATOR + JS_CLASS_MAP);
    struct list_head *link = state->cur_record ? state->cur_record->link.next : map->records.next;
    uint32_t count = 0;
    int is_entries = state->kind == JS_ITERATOR_KIND_KEY_AND_VALUE;
    JS_SetPropertyStr(context, found, "isEntries", JS_NewBool(context, is_entries));
    for (; link != &map->records; link = link->next) {
        JSMapRecord *record = list_entry(link, JSMapRecord, link);
        if (record->empty) {
            continue;
        }
        int is_set = class_id == JS_CLASS_SET_ITERATOR;
        JSValue key = js_dup(record->key), item = js_dup(is_set ? record->key : record->value);
        if (is_entries) {
            JSValue pair = JS_NewArray(context);
            JS_SetPropertyUint32(context, pair, 0, key);
            JS_SetPropertyUint32(context, pair, 1, item);
            JS_SetPropertyUint32(context, found, count++, pair);
        }
        else {
            int is_key = state->kind == JS_ITERATOR_KIND_KEY;
            JS_FreeValue(context, is_key ? item : key);
            JS_SetPropertyUint32(context, found, count++, is_key ? key : item);
        }
    }
    return found;
}

JSValue
engine_class_of(JSContext *context, JSValueConst value)
{
    if (!JS_IsObject(value)) {
        return JS_UNDEFINED;
    }
    return JS_AtomToString(context, context->rt->class_array[JS_GetClassID(value)].class_name);
}
