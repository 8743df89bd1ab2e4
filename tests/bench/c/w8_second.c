/* W8: the two diagonals of the Hessian of sum(100*(x[i+1] - x[i]^2)^2 + (1 - x[i])^2); and the dense Hessian of
   logsumexp(A@x) + sum(x^4) as weighted products of the rows of A. */
#include "vector.h"

void tridiagonal(int64_t n, const double *restrict x, double *restrict diagonal, double *restrict beside) {
    diagonal[0] = 1200 * x[0] * x[0] - 400 * x[1] + 2;
    beside[0] = -400 * x[0];
    for (int64_t i = 1; i < n - 1; i++) {
        diagonal[i] = 1200 * x[i] * x[i] - 400 * x[i + 1] + 202;
        beside[i] = -400 * x[i];
    }
    diagonal[n - 1] = 200;
}

/* The same with the band above, and zeros where a band ends: rows of n entries, that below the diagonal first. */
void three_bands(int64_t n, const double *restrict x, double *restrict bands) {
    double *restrict below = bands, *restrict diagonal = bands + n, *restrict above = bands + 2 * n;
    below[0] = 0;
    diagonal[0] = 1200 * x[0] * x[0] - 400 * x[1] + 2;
    above[0] = -400 * x[0];
    for (int64_t i = 1; i < n - 1; i++) {
        below[i] = -400 * x[i - 1];
        diagonal[i] = 1200 * x[i] * x[i] - 400 * x[i + 1] + 202;
        above[i] = -400 * x[i];
    }
    below[n - 1] = -400 * x[n - 2];
    diagonal[n - 1] = 200;
    above[n - 1] = 0;
}

/* d up to 64. H = A' diag(p) A - (A'p)(A'p)' + diag(12 x^2), in tiles of 5 rows and a strip of 16 columns. */
void dense(int64_t m, int64_t d, const double *restrict A, const double *restrict x, double *restrict H) {
    double p[m], mean[64], top = -INFINITY, sum = 0, B[m * 64];
    for (int64_t k = 0; k < m; k++) {
        double s = 0;
        for (int64_t j = 0; j < d; j++)
            s += A[k * d + j] * x[j];
        p[k] = s;
        top = s > top ? s : top;
    }
    for (int64_t k = 0; k < m; k++)
        p[k] = exp(p[k] - top);
    for (int64_t k = 0; k < m; k++)
        sum += p[k];
    memset(mean, 0, sizeof mean);
    for (int64_t k = 0; k < m; k++) {
        p[k] /= sum;
        for (int64_t j = 0; j < d; j++) {
            B[k * 64 + j] = p[k] * A[k * d + j];
            mean[j] += B[k * 64 + j];
        }
        for (int64_t j = d; j < 64; j++)
            B[k * 64 + j] = 0;
    }
    for (int64_t i = 0; i < d; i += 5) {
        const int rows = d - i < 5 ? d - i : 5;
        for (int64_t j = 0; j < d; j += 16) {
            vec low[5] = {{0}}, high[5] = {{0}};
            for (int64_t k = 0; k < m; k++) {
                const vec u = VEC(B + k * 64 + j), v = VEC(B + k * 64 + j + 8);
                const double *a = A + k * d + (rows == 5 ? i : d - 5);
#pragma GCC unroll 5
                for (int r = 0; r < 5; r++)
                    low[r] += a[r] * u, high[r] += a[r] * v;
            }
            const int64_t first = rows == 5 ? i : d - 5;
            for (int r = 0; r < 5; r++) {
                double line[16];
                STORE(line, low[r]);
                STORE(line + 8, high[r]);
                for (int64_t q = 0; q < 16 && j + q < d; q++)
                    H[(first + r) * d + j + q] = line[q] - mean[first + r] * mean[j + q];
            }
        }
    }
    for (int64_t i = 0; i < d; i++)
        H[i * d + i] += 12 * x[i] * x[i];
}
