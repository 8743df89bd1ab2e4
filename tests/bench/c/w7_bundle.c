/* W7: the 2 x 15 Jacobian of every reprojection residual. Blocks of observations are gathered into arrays, then they are
   the lanes; the rotation is written without a unit axis, p = A v + B (r x v) + D (r.v) r, and both rows of the Jacobian
   share everything but two products. Out: J[30][n], entry by entry; the order is rotation, centre, focal length, principal
   point, distortion, point, weight. */
#include "vector.h"

#define BLOCK 136 /* no power of two: the rows of `leaves` would fall on the same sets of the cache */

typedef struct {
    double r[3][BLOCK], v[3][BLOCK], f[BLOCK], at[2][BLOCK], k1[BLOCK], k2[BLOCK];
} leaves;

static void gather(int64_t count, const double *restrict cams, const double *restrict X, const int64_t *restrict obs,
                   const double *restrict feat, leaves *restrict to) {
    for (int64_t i = 0; i < count; i++) {
        const double *c = cams + 11 * obs[2 * i], *x = X + 3 * obs[2 * i + 1];
        for (int k = 0; k < 3; k++) {
            to->r[k][i] = c[k];
            to->v[k][i] = x[k] - c[3 + k];
        }
        to->f[i] = c[6];
        to->at[0][i] = c[7] - feat[2 * i];
        to->at[1][i] = c[8] - feat[2 * i + 1];
        to->k1[i] = c[9];
        to->k2[i] = c[10];
    }
}

#define OUT(k, column) J[((k) * 15 + (column)) * n + i]

static void block(int64_t n, int64_t count, const leaves *restrict of, const double *restrict w, double *restrict J) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; i++) {
        const double r0 = of->r[0][i], r1 = of->r[1][i], r2 = of->r[2][i];
        const double v0 = of->v[0][i], v1 = of->v[1][i], v2 = of->v[2][i];
        const double f = of->f[i], k1 = of->k1[i], k2 = of->k2[i], weight = w[i];
        const double square = r0 * r0 + r1 * r1 + r2 * r2 + 1e-300, over = 1 / square, angle = sqrt(square);
        /* not cos(angle): gcc joins it with the sine to a call that has no vector form */
        const double S = sin(angle), half = sin(angle / 2), A = 1 - 2 * half * half, B = S * angle * over;
        const double D = 2 * half * half * over;
        const double dB = (A - B) * over, dD = (B - 2 * D) * over;
        const double q0 = r1 * v2 - r2 * v1, q1 = r2 * v0 - r0 * v2, q2 = r0 * v1 - r1 * v0;
        const double rv = r0 * v0 + r1 * v1 + r2 * v2;
        const double p0 = A * v0 + B * q0 + D * rv * r0, p1 = A * v1 + B * q1 + D * rv * r1;
        const double p2 = A * v2 + B * q2 + D * rv * r2, z = 1 / p2;
        const double a = p0 * z, b = p1 * z, s = a * a + b * b;
        const double L = 1 + s * (k1 + s * k2), M = 2 * (k1 + 2 * s * k2), g = weight * f;
        const double e00 = g * (L + a * a * M), e01 = g * a * b * M, e11 = g * (L + b * b * M);
        const double rows[2][3] = {{e00 * z, e01 * z, -(e00 * a + e01 * b) * z}, {e01 * z, e11 * z, -(e01 * a + e11 * b) * z}};
        const double flat[2] = {a, b};
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const double g0 = rows[k][0], g1 = rows[k][1], g2 = rows[k][2];
            const double gr = g0 * r0 + g1 * r1 + g2 * r2, gv = g0 * v0 + g1 * v1 + g2 * v2;
            const double gq = g0 * q0 + g1 * q1 + g2 * q2;
            const double x0 = A * g0 + B * (g1 * r2 - g2 * r1) + D * gr * r0;
            const double x1 = A * g1 + B * (g2 * r0 - g0 * r2) + D * gr * r1;
            const double x2 = A * g2 + B * (g0 * r1 - g1 * r0) + D * gr * r2;
            const double along = dB * gq - B * gv + dD * gr * rv;
            OUT(k, 0) = along * r0 + B * (v1 * g2 - v2 * g1) + D * (rv * g0 + gr * v0);
            OUT(k, 1) = along * r1 + B * (v2 * g0 - v0 * g2) + D * (rv * g1 + gr * v1);
            OUT(k, 2) = along * r2 + B * (v0 * g1 - v1 * g0) + D * (rv * g2 + gr * v2);
            OUT(k, 3) = -x0;
            OUT(k, 4) = -x1;
            OUT(k, 5) = -x2;
            OUT(k, 6) = weight * L * flat[k];
            OUT(k, 7) = k == 0 ? weight : 0;
            OUT(k, 8) = k == 1 ? weight : 0;
            OUT(k, 9) = g * flat[k] * s;
            OUT(k, 10) = g * flat[k] * s * s;
            OUT(k, 11) = x0;
            OUT(k, 12) = x1;
            OUT(k, 13) = x2;
            OUT(k, 14) = f * L * flat[k] + of->at[k][i];
        }
    }
}

void jacobian(int64_t n, const double *restrict cams, const double *restrict X, const double *restrict w,
              const int64_t *restrict obs, const double *restrict feat, double *restrict J) {
    leaves of;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t count = n - start < BLOCK ? n - start : BLOCK;
        gather(count, cams, X, obs + 2 * start, feat + 2 * start, &of);
        block(n, count, &of, w + start, J + start);
    }
}
