/* The functions of numpy's libnpymath that SciPy calls. They are C's own, by other names. */

#include <complex.h>
#include <math.h>

double npy_cabs(double complex z) { return cabs(z); }
double npy_carg(double complex z) { return carg(z); }
double complex npy_clog(double complex z) { return clog(z); }
double complex npy_cexp(double complex z) { return cexp(z); }
double complex npy_csin(double complex z) { return csin(z); }
double complex npy_ccos(double complex z) { return ccos(z); }
double complex npy_csqrt(double complex z) { return csqrt(z); }
double complex npy_cpow(double complex x, double complex y) { return cpow(x, y); }
