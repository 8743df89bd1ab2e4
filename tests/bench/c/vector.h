/* What all floors share. A floor is written for gcc; it asks for vectors by plain loops over restrict pointers. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Eight numbers that need not be aligned. */
#define LANES 8
typedef double vec __attribute__((vector_size(64), aligned(8)));
#define VEC(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))

static inline double total(vec a) {
    double sum = 0;
    for (int k = 0; k < LANES; k++)
        sum += a[k];
    return sum;
}
