// Stands in for LLVM's profile runtime, which WASI does not have: reads the counters out of memory and writes them to /tmp.
//
// `import _sandpool_prof` in the guest: reset() forgets what was counted so far, dump() writes the files that counts.py reads.
// Values that clang wants watched (targets of indirect calls, sizes of copies) go into one hash table.

#include <Python.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NODES (1u << 17)
#define TRIES 64

typedef struct {
    uint32_t record, site;
    uint64_t value, count;
} node;

extern char __start___llvm_prf_data[], __stop___llvm_prf_data[];
extern char __start___llvm_prf_cnts[], __stop___llvm_prf_cnts[];
extern char __start___llvm_prf_names[], __stop___llvm_prf_names[];

int __llvm_profile_runtime;
static node nodes[NODES];
static uint32_t used;

void __llvm_profile_instrument_target(uint64_t value, void *data, uint32_t site)
{
    uint32_t record = (uint32_t)(uintptr_t)data;
    uint32_t hash = (record * 2654435761u) ^ (site * 40503u) ^ ((uint32_t)value * 2246822519u);
    hash ^= hash >> 15;
    for (uint32_t i = 0; i < TRIES; i++) {
        node *at = &nodes[(hash + i) % NODES];
        if (at->count == 0) {
            if (used > NODES / 4 * 3) {
                return;
            }
            used++;
            *at = (node){record, site, value, 1};
            return;
        }
        if (at->record == record && at->site == site && at->value == value) {
            at->count++;
            return;
        }
    }
}

// Sizes above 8 are told apart by powers of two only, and those above 512 not at all, as LLVM's own runtime does.
void __llvm_profile_instrument_memop(uint64_t value, void *data, uint32_t site)
{
    if (value > 8) {
        if (value >= 513) {
            value = 513;
        }
        else if (value & (value - 1)) {
            value = (1ull << (63 - __builtin_clzll(value))) + 1;
        }
    }
    __llvm_profile_instrument_target(value, data, site);
}

static void save(const char *name, const void *from, size_t bytes)
{
    FILE *file = fopen(name, "wb");
    if (file == NULL || fwrite(from, 1, bytes, file) != bytes) {
        perror(name);
    }
    if (file != NULL) {
        fclose(file);
    }
}

static PyObject *reset(PyObject *module, PyObject *none)
{
    memset(__start___llvm_prf_cnts, 0, __stop___llvm_prf_cnts - __start___llvm_prf_cnts);
    memset(nodes, 0, sizeof nodes);
    used = 0;
    Py_RETURN_NONE;
}

static PyObject *dump(PyObject *module, PyObject *none)
{
    uint32_t at[2] = {(uint32_t)(uintptr_t)__start___llvm_prf_data, (uint32_t)(uintptr_t)__start___llvm_prf_cnts};
    save("/tmp/prof.at", at, sizeof at);
    save("/tmp/prof.cnts", __start___llvm_prf_cnts, __stop___llvm_prf_cnts - __start___llvm_prf_cnts);
    save("/tmp/prof.data", __start___llvm_prf_data, __stop___llvm_prf_data - __start___llvm_prf_data);
    save("/tmp/prof.names", __start___llvm_prf_names, __stop___llvm_prf_names - __start___llvm_prf_names);
    save("/tmp/prof.nodes", nodes, sizeof nodes);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {{"reset", reset, METH_NOARGS, ""}, {"dump", dump, METH_NOARGS, ""}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_sandpool_prof", 0, -1, functions};

static PyObject *make(void)
{
    return PyModule_Create(&definition);
}

__attribute__((constructor)) static void add(void)
{
    PyImport_AppendInittab("_sandpool_prof", make);
}
