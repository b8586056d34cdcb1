/* What f2py writes in Fortran for _dfitpack: functions as subroutines, and the address of a common block. */

extern double splint_(double *t, int *n, double *c, int *nc, int *k, double *a, double *b, double *wrk);
extern double dblint_(double *tx, int *nx, double *ty, int *ny, double *c, int *kx, int *ky, double *xb, double *xe,
                      double *yb, double *ye, double *wrk);

/* COMMON /TYPES/ INTVAR: what Python learns the size of FITPACK's integers from. */
static int intvar;

void f2pywrapsplint_(double *result, double *t, int *n, double *c, int *nc, int *k, double *a, double *b, double *wrk)
{
    *result = splint_(t, n, c, nc, k, a, b, wrk);
}

void f2pywrapdblint_(double *result, double *tx, int *nx, double *ty, int *ny, double *c, int *kx, int *ky, double *xb,
                     double *xe, double *yb, double *ye, double *wrk)
{
    *result = dblint_(tx, nx, ty, ny, c, kx, ky, xb, xe, yb, ye, wrk);
}

void f2pyinittypes_(void (*set)(int *))
{
    set(&intvar);
}
