/* W3: mean(softplus(-y*(X@w + b))) and the gradients of w and b. A block of rows is read once, from memory, for the
   product with w, and is still in the cache when it is added up into the gradient. */
#include "vector.h"

#define ROWS 64

/* Row by row: one stream from memory. Four rows at a time save loads of w and still take twice as long, since the
   hardware fetches a single stream ahead best. */
static void products(int64_t rows, int64_t d, const double *restrict X, const double *restrict w, double *restrict z) {
    for (int64_t i = 0; i < rows; i++) {
        const double *p = X + i * d;
        vec a = {0}, b = {0}, c = {0}, e = {0};
        int64_t j = 0;
        for (; j + 4 * LANES <= d; j += 4 * LANES) {
            a += VEC(w + j) * VEC(p + j);
            b += VEC(w + j + LANES) * VEC(p + j + LANES);
            c += VEC(w + j + 2 * LANES) * VEC(p + j + 2 * LANES);
            e += VEC(w + j + 3 * LANES) * VEC(p + j + 3 * LANES);
        }
        double sum = total(a + b + c + e);
        for (; j < d; j++)
            sum += p[j] * w[j];
        z[i] = sum;
    }
}

static void gather(int64_t rows, int64_t d, const double *restrict X, const double *restrict c, double *restrict g) {
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) {
        const double *p = X + i * d, *k = c + i;
        for (int64_t j = 0; j < d; j++)
            g[j] += k[0] * p[j] + k[1] * p[j + d] + k[2] * p[j + 2 * d] + k[3] * p[j + 3 * d] + k[4] * p[j + 4 * d] +
                    k[5] * p[j + 5 * d] + k[6] * p[j + 6 * d] + k[7] * p[j + 7 * d];
    }
    for (; i < rows; i++)
        for (int64_t j = 0; j < d; j++)
            g[j] += c[i] * X[i * d + j];
}

/* softplus(u) for u = -y*(z + b), and c = d softplus / d z */
static double losses(int64_t rows, const double *restrict z, const double *restrict y, double b, double *restrict c) {
    double loss = 0;
    for (int64_t i = 0; i < rows; i++) {
        const double u = -y[i] * (z[i] + b), e = exp(-fabs(u));
        loss += (u > 0 ? u : 0) + log1p(e);
        c[i] = -y[i] * (u > 0 ? 1 : e) / (1 + e);
    }
    return loss;
}

double value_and_grad(int64_t n, int64_t d, const double *restrict X, const double *restrict y, const double *restrict w,
                      double b, double *restrict g, double *restrict db) {
    double loss = 0, sum = 0, z[ROWS], c[ROWS];
    memset(g, 0, d * sizeof *g);
    for (int64_t start = 0; start < n; start += ROWS) {
        const int64_t rows = n - start < ROWS ? n - start : ROWS;
        const double *block = X + start * d;
        products(rows, d, block, w, z);
        loss += losses(rows, z, y + start, b, c);
        for (int64_t i = 0; i < rows; i++)
            sum += c[i];
        gather(rows, d, block, c, g);
    }
    for (int64_t j = 0; j < d; j++)
        g[j] /= n;
    db[0] = sum / n;
    return loss / n;
}

/* W8: the Hessian times (v, vb), and the gradient, in the same single pass. */
void hvp(int64_t n, int64_t d, const double *restrict X, const double *restrict y, const double *restrict w, double b,
         const double *restrict v, double vb, double *restrict h, double *restrict hb) {
    double sum = 0, z[ROWS], t[ROWS];
    memset(h, 0, d * sizeof *h);
    for (int64_t start = 0; start < n; start += ROWS) {
        const int64_t rows = n - start < ROWS ? n - start : ROWS;
        const double *block = X + start * d;
        products(rows, d, block, w, z);
        products(rows, d, block, v, t);
        for (int64_t i = 0; i < rows; i++) {
            const double e = exp(-fabs(z[i] + b)), yy = y[start + i];
            t[i] = (t[i] + vb) * yy * yy * e / ((1 + e) * (1 + e));
            sum += t[i];
        }
        gather(rows, d, block, t, h);
    }
    for (int64_t j = 0; j < d; j++)
        h[j] /= n;
    hb[0] = sum / n;
}
