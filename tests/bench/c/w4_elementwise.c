/* W4: sum(tanh(a*x + b)*sigmoid(x)*exp(-x*x)) and its gradients: one pass, nothing stored but the gradient of x. */
#include "vector.h"

static inline vec terms(vec v, double a, double b, vec *t, vec *s, vec *se) {
    *t = vtanh(a * v + b);
    const vec e = vexp(-v);
    *s = 1 / (1 + e);
    *se = *s * vexp(-v * v);
    return *t * *se;
}

double value_and_grad(int64_t n, const double *restrict x, double a, double b, double *restrict dx, double *restrict dab) {
    vec loss = {0}, da = {0}, db = {0}, t, s, se;
    double last[LANES] = {0}, slope[LANES];
    for (int64_t i = 0; i < n; i += LANES) {
        const int whole = i + LANES <= n;
        if (!whole)
            memcpy(last, x + i, (n - i) * sizeof *x);
        const vec v = VEC(whole ? x + i : last);
        vec y = terms(v, a, b, &t, &s, &se);
        vec u = (1 - t * t) * se;
        const vec g = a * u + y * (1 - s - 2 * v);
        if (whole) {
            STORE(dx + i, g);
        } else {
            STORE(slope, g);
            memcpy(dx + i, slope, (n - i) * sizeof *x);
            for (int64_t k = n - i; k < LANES; k++)
                y[k] = u[k] = 0;
        }
        loss += y;
        da += u * v;
        db += u;
    }
    dab[0] = total(da);
    dab[1] = total(db);
    return total(loss);
}
