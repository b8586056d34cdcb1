/* The floating-point status that WebAssembly does not have: one word for all of numpy's modules, each of which has its own
 * copy of npymath. The bits are NPY_FPE_*. */
int npy_wasm_fpstatus;
