/* W4: sum(tanh(a*x + b)*sigmoid(x)*exp(-x*x)) and its gradients: one pass, nothing stored but the gradient of x. */
#include "vector.h"

double value_and_grad(int64_t n, const double *restrict x, double a, double b, double *restrict dx, double *restrict dab) {
    double loss = 0, da = 0, db = 0;
#pragma omp simd reduction(+ : loss, da, db)
    for (int64_t i = 0; i < n; i++) {
        const double v = x[i];
        const double t = tanh(a * v + b);
        const double s = 1 / (1 + exp(-v));
        const double se = s * exp(-v * v);
        const double y = t * se;
        const double u = (1 - t * t) * se;
        loss += y;
        da += u * v;
        db += u;
        dx[i] = a * u + y * (1 - s - 2 * v);
    }
    dab[0] = da;
    dab[1] = db;
    return loss;
}

double value(int64_t n, const double *restrict x, double a, double b) {
    double loss = 0;
#pragma omp simd reduction(+ : loss)
    for (int64_t i = 0; i < n; i++)
        loss += tanh(a * x[i] + b) * exp(-x[i] * x[i]) / (1 + exp(-x[i]));
    return loss;
}
