/* What LAPACK asks about the machine's numbers, and how it complains. Signatures as Fortran's, without lengths of strings. */

#include <float.h>
#include <stdio.h>

/* The answers of LAPACK's SLAMCH and DLAMCH, which in Fortran come from intrinsic functions. */
#define LAMCH(name, type, prefix)                                                                                     \
    type name(const char *what)                                                                                       \
    {                                                                                                                 \
        /* Rounding is to nearest, so the relative error is half of the distance to the next number. */               \
        const type eps = prefix##_EPSILON / 2;                                                                        \
        switch (*what | 0x20) {                                                                                       \
        case 'e': return eps;                                                                                         \
        /* 1 / FLT_MIN is finite, so nothing has to be added for the reciprocal of it. */                             \
        case 's': return prefix##_MIN;                                                                                \
        case 'b': return FLT_RADIX;                                                                                   \
        case 'p': return eps * FLT_RADIX;                                                                             \
        case 'n': return prefix##_MANT_DIG;                                                                           \
        case 'r': return 1;                                                                                           \
        case 'm': return prefix##_MIN_EXP;                                                                            \
        case 'u': return prefix##_MIN;                                                                                \
        case 'l': return prefix##_MAX_EXP;                                                                            \
        case 'o': return prefix##_MAX;                                                                                \
        default: return 0;                                                                                            \
        }                                                                                                             \
    }

LAMCH(slamch_, float, FLT)
LAMCH(dlamch_, double, DBL)

/* A sum that is rounded to its type: WebAssembly has no wider registers. */
float slamc3_(const float *a, const float *b)
{
    return *a + *b;
}

double dlamc3_(const double *a, const double *b)
{
    return *a + *b;
}

int sisnan_(const float *number)
{
    return *number != *number;
}

int disnan_(const double *number)
{
    return *number != *number;
}

int slaisnan_(const float *a, const float *b)
{
    return *a != *b;
}

int dlaisnan_(const double *a, const double *b)
{
    return *a != *b;
}

/* Fortran's MAXLOC: the first place, counted from one, of the greatest number. */
#define MAXLC(name, type)                                                                                             \
    int name(const int *count, const type *numbers)                                                                   \
    {                                                                                                                 \
        int best = 0;                                                                                                 \
        for (int place = 1; place < *count; place++) {                                                                \
            if (numbers[place] > numbers[best] || (numbers[best] != numbers[best] && numbers[place] == numbers[place])) { \
                best = place;                                                                                         \
            }                                                                                                         \
        }                                                                                                             \
        return best + 1;                                                                                              \
    }

MAXLC(smaxlc_, float)
MAXLC(dmaxlc_, double)

/* The reference's XERBLA ends the program. Its callers set INFO and return, which is what Python can make an error of. */
void xerbla_(const char *routine, const int *parameter)
{
    int length = 0;
    while (length < 32 && routine[length] != '\0' && routine[length] != ' ') {
        length++;
    }
    fprintf(stderr, " ** On entry to %.*s parameter number %2d had an illegal value\n", length, routine, *parameter);
}

/* How to tune the two-stage routines, which are left out. ILAENV would ask. */
int iparam2stage_(const int *what, const char *routine, const char *options, const int *n1, const int *n2, const int *n3, const int *n4)
{
    (void)what, (void)routine, (void)options, (void)n1, (void)n2, (void)n3, (void)n4;
    return -1;
}
