#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modules.h"

#define LIB "/usr/lib/sandpool/"

static JSValue resolve = JS_UNDEFINED, load = JS_UNDEFINED;

static char *
copy(JSContext *context, JSValue text)
{
    const char *found = JS_IsException(text) ? NULL : JS_ToCString(context, text);
    char *copied = found ? js_strdup(context, found) : NULL;
    JS_FreeCString(context, found);
    JS_FreeValue(context, text);
    return copied;
}

/* The name of a module, from the specifier that `base` imports it by. */
static char *
normalize(JSContext *context, const char *base, const char *name, void *nothing)
{
    if (JS_IsUndefined(resolve)) {
        return js_strdup(context, name);
    }
    JSValue arguments[] = {JS_NewString(context, base), JS_NewString(context, name)};
    JSValue answer = JS_Call(context, resolve, JS_UNDEFINED, 2, (JSValueConst *)arguments);
    JS_FreeValue(context, arguments[0]);
    JS_FreeValue(context, arguments[1]);
    return copy(context, answer);
}

static JSModuleDef *
compile(JSContext *context, const char *name, const char *source, size_t length)
{
    JSValue compiled = JS_Eval(context, source, length, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(compiled)) {
        return NULL;
    }
    JSModuleDef *module = JS_VALUE_GET_PTR(compiled);
    /* The engine's list of modules holds it. */
    JS_FreeValue(context, compiled);
    return module;
}

/* A part of the guest's library, `sandpool:name`. */
static JSModuleDef *
load_own(JSContext *context, const char *name)
{
    char path[256];
    const char *colon = strchr(name, ':');
    snprintf(path, sizeof(path), LIB "%.200s.js", colon ? colon + 1 : name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        JS_ThrowReferenceError(context, "there is no %s", path);
        return NULL;
    }
    fseek(file, 0, SEEK_END);
    size_t length = (size_t)ftell(file);
    rewind(file);
    char *source = malloc(length + 1);
    length = fread(source, 1, length, file);
    source[length] = '\0';
    fclose(file);
    JSModuleDef *module = compile(context, name, source, length);
    free(source);
    return module;
}

/* Export what `names` lists of the module's private value. */
static int
export_values(JSContext *context, JSModuleDef *module)
{
    JSValue values = JS_GetModulePrivateValue(context, module);
    JSPropertyEnum *names;
    uint32_t count;
    int status = JS_GetOwnPropertyNames(context, &names, &count, values, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY);
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        const char *name = JS_AtomToCString(context, names[i].atom);
        JSValue value = JS_GetProperty(context, values, names[i].atom);
        status = name == NULL || JS_IsException(value) ? -1 : JS_SetModuleExport(context, module, name, value);
        JS_FreeCString(context, name);
    }
    if (status == 0) {
        JS_FreePropertyEnum(context, names, count);
    }
    JS_FreeValue(context, values);
    return status;
}

/* A module whose exports are an object's properties: CommonJS, JSON. */
static JSModuleDef *
wrap(JSContext *context, const char *name, JSValue values)
{
    JSModuleDef *module = JS_NewCModule(context, name, export_values);
    JSPropertyEnum *names;
    uint32_t count;
    int flags = JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY;
    if (module == NULL || JS_GetOwnPropertyNames(context, &names, &count, values, flags) < 0) {
        JS_FreeValue(context, values);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *export = JS_AtomToCString(context, names[i].atom);
        if (export != NULL) {
            JS_AddModuleExport(context, module, export);
        }
        JS_FreeCString(context, export);
    }
    JS_FreePropertyEnum(context, names, count);
    JS_SetModulePrivateValue(context, module, values);
    return module;
}

/* `hooks.load` gives the text of an ES module, or an object with its exports. */
static JSModuleDef *
load_module(JSContext *context, const char *name, void *nothing, JSValueConst attributes)
{
    if (JS_IsUndefined(load)) {
        return load_own(context, name);
    }
    JSValue arguments[] = {JS_NewString(context, name), JS_DupValue(context, attributes)};
    JSValue answer = JS_Call(context, load, JS_UNDEFINED, 2, (JSValueConst *)arguments);
    JS_FreeValue(context, arguments[0]);
    JS_FreeValue(context, arguments[1]);
    if (JS_IsException(answer)) {
        return NULL;
    }
    if (JS_IsObject(answer)) {
        return wrap(context, name, answer);
    }
    size_t length;
    const char *source = JS_ToCStringLen(context, &length, answer);
    JSModuleDef *module = source ? compile(context, name, source, length) : NULL;
    JS_FreeCString(context, source);
    JS_FreeValue(context, answer);
    if (module != NULL) {
        JSValue meta = JS_GetImportMeta(context, module);
        JSValue arguments[] = {meta, JS_NewString(context, name)};
        JSValue described = JS_Invoke(context, load, JS_NewAtom(context, "describe"), 2, (JSValueConst *)arguments);
        JS_FreeValue(context, described);
        JS_FreeValue(context, arguments[1]);
        JS_FreeValue(context, meta);
    }
    return module;
}

static int
accept_attributes(JSContext *context, void *nothing, JSValueConst attributes)
{
    return 0;
}

void
sandpool_modules_install(JSRuntime *runtime)
{
    JS_SetModuleLoaderFunc2(runtime, normalize, load_module, accept_attributes, NULL);
}

void
sandpool_modules_hook(JSContext *context, JSValueConst hooks)
{
    resolve = JS_GetPropertyStr(context, hooks, "resolve");
    load = JS_GetPropertyStr(context, hooks, "load");
}
