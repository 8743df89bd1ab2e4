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

typedef double half __attribute__((vector_size(32)));

static inline double total(vec a) {
    const half b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
    return (b[0] + b[2]) + (b[1] + b[3]);
}

/* exp and tanh of eight numbers, to 1-3 units in the last place: Cody and Waite's reduction (Software Manual for the
   Elementary Functions, 1980) and the Taylor polynomial, summed in pairs. Not for a file that is built with -ffast-math,
   which takes `k - shift` apart. */
typedef int64_t ivec __attribute__((vector_size(64), aligned(8)));

#ifdef __AVX512F__
#include <immintrin.h>
#endif

static inline vec clipped(vec x, double low, double high) {
#ifdef __AVX512F__
    return (vec)_mm512_min_pd(_mm512_max_pd((__m512d)x, _mm512_set1_pd(low)), _mm512_set1_pd(high));
#else
    const ivec a = (ivec)(x < low), b = (ivec)(x > high);
    const vec l = x * 0 + low, h = x * 0 + high;
    return (vec)(((ivec)l & a) | ((ivec)h & b) | ((ivec)x & ~(a | b)));
#endif
}

/* expm1(r) for |r| <= log(2)/2, where x = k*log(2) + r: gives 2^k in *scale. Adding 1.5*2^52 rounds to a whole number. */
static inline vec expm1_reduced(vec x, vec *scale) {
    const double shift = 0x1.8p52;
    const vec k = x * 0x1.71547652b82fep0 + shift;
    const vec n = k - shift;
    const vec r = (x - n * 0x1.62e42fefa3800p-1) - n * 0x1.ef35793c76730p-45;
    *scale = (vec)(((ivec)k + 1023) << 52);
    const vec r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const vec a = 1.0 / 2 + r * (1.0 / 6), b = 1.0 / 24 + r * (1.0 / 120), c = 1.0 / 720 + r * (1.0 / 5040);
    const vec d = 1.0 / 40320 + r * (1.0 / 362880), e = 1.0 / 3628800 + r * (1.0 / 39916800);
    const vec f = 1.0 / 479001600 + r * (1.0 / 6227020800);
    return r + r2 * ((a + r2 * b) + r4 * (c + r2 * d) + r8 * (e + r2 * f));
}

static inline vec vexp(vec x) {
    vec scale;
    const vec p = expm1_reduced(clipped(x, -708, 709), &scale);
    return scale + scale * p;
}

static inline vec vtanh(vec x) {
    vec scale;
    const vec p = expm1_reduced(clipped(x + x, -40, 40), &scale), e = scale * p + (scale - 1.0);
    return e / (e + 2.0);
}
