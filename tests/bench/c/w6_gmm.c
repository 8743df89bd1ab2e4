/* W6: the Gaussian mixture of ADBench. The exponent of a component is a quadratic form in (x, 1), so that all that is
   needed of the points is their weighted second moments: a triangle of products forward, the same triangle back. Points
   are the lanes, blocks of points stay in the cache, and no temporary is larger than a block. */
#include "vector.h"

#define BLOCK 256
#define KT 5 /* components at a time */
#define INLINE static inline __attribute__((always_inline))

/* z[k] = sum over j <= i of c[k][i, j]*x[i]*x[j], for kt components and every point of the block */
INLINE void forms(const int kt, int64_t dim, int64_t size, const double *restrict c, const double *restrict x,
                  double *restrict z) {
    for (int64_t n = 0; n < BLOCK; n += 2 * LANES) {
        vec a[KT], b[KT];
        for (int k = 0; k < kt; k++)
            a[k] = b[k] = (vec){0};
        const double *row = c;
        for (int64_t i = 0; i < dim; row += ++i) {
            vec s[KT], t[KT];
            for (int k = 0; k < kt; k++)
                s[k] = t[k] = (vec){0};
            for (int64_t j = 0; j <= i; j++) {
                const vec u = VEC(x + j * BLOCK + n), v = VEC(x + j * BLOCK + n + LANES);
                for (int k = 0; k < kt; k++)
                    s[k] += u * row[k * size + j], t[k] += v * row[k * size + j];
            }
            const vec u = VEC(x + i * BLOCK + n), v = VEC(x + i * BLOCK + n + LANES);
            for (int k = 0; k < kt; k++)
                a[k] += s[k] * u, b[k] += t[k] * v;
        }
        for (int k = 0; k < kt; k++) {
            STORE(z + k * BLOCK + n, a[k]);
            STORE(z + k * BLOCK + n + LANES, b[k]);
        }
    }
}

/* m[k][j] += sum over points of w[k]*x[j], for kt components and jt coordinates */
INLINE void tile(const int kt, const int jt, int64_t size, const double *restrict w, const double *restrict x,
                 double *restrict m) {
    vec sum[KT][4];
    for (int k = 0; k < kt; k++)
        for (int j = 0; j < jt; j++)
            sum[k][j] = (vec){0};
    for (int64_t n = 0; n < BLOCK; n += LANES) {
        vec v[4];
        for (int j = 0; j < jt; j++)
            v[j] = VEC(x + j * BLOCK + n);
        for (int k = 0; k < kt; k++) {
            const vec u = VEC(w + k * BLOCK + n);
            for (int j = 0; j < jt; j++)
                sum[k][j] += u * v[j];
        }
    }
    for (int k = 0; k < kt; k++)
        for (int j = 0; j < jt; j++)
            m[k * size + j] += total(sum[k][j]);
}

/* moments m[k][i, j] += sum over points of p[k]*x[i]*x[j], j <= i */
INLINE void moments(const int kt, int64_t dim, int64_t size, const double *restrict p, const double *restrict x,
                    double *restrict m) {
    double w[KT * BLOCK];
    double *row = m;
    for (int64_t i = 0; i < dim; row += ++i) {
        for (int k = 0; k < kt; k++)
            for (int64_t n = 0; n < BLOCK; n++)
                w[k * BLOCK + n] = p[k * BLOCK + n] * x[i * BLOCK + n];
        int64_t j = 0;
        for (; j + 4 <= i + 1; j += 4)
            tile(kt, 4, size, w, x + j * BLOCK, row + j);
        if (i + 1 - j == 3)
            tile(kt, 3, size, w, x + j * BLOCK, row + j);
        else if (i + 1 - j == 2)
            tile(kt, 2, size, w, x + j * BLOCK, row + j);
        else if (i + 1 - j == 1)
            tile(kt, 1, size, w, x + j * BLOCK, row + j);
    }
}

/* z becomes the weights exp(z[k])/sum; gives the sum of the logs over the first `count` points, the weights of others are 0 */
static double softmax(int64_t count, int64_t K, double *restrict z) {
    double top[BLOCK], sum[BLOCK], logs = 0;
    memcpy(top, z, sizeof top);
    for (int64_t k = 1; k < K; k++)
        for (int64_t n = 0; n < BLOCK; n++)
            top[n] = top[n] > z[k * BLOCK + n] ? top[n] : z[k * BLOCK + n];
    memset(sum, 0, sizeof sum);
    for (int64_t k = 0; k < K; k++)
        for (int64_t n = 0; n < BLOCK; n += LANES) {
            const vec e = vexp(VEC(z + k * BLOCK + n) - VEC(top + n));
            STORE(z + k * BLOCK + n, e);
            STORE(sum + n, VEC(sum + n) + e);
        }
    for (int64_t n = 0; n < BLOCK; n++) {
        if (n < count)
            logs += top[n] + log(sum[n]);
        sum[n] = n < count ? 1 / sum[n] : 0;
    }
    for (int64_t k = 0; k < K; k++)
        for (int64_t n = 0; n < BLOCK; n++)
            z[k * BLOCK + n] *= sum[n];
    return logs;
}

static void blocks(int64_t n, int64_t d, int64_t K, const double *restrict X, const double *restrict c, double *restrict m,
                   double *restrict work, double *logs) {
    const int64_t dim = d + 1, size = dim * (dim + 1) / 2;
    double *x = work, *z = work + dim * BLOCK;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t count = n - start < BLOCK ? n - start : BLOCK;
        for (int64_t p = 0; p < BLOCK; p++)
            for (int64_t j = 0; j < d; j++)
                x[j * BLOCK + p] = p < count ? X[(start + p) * d + j] : 0;
        for (int64_t p = 0; p < BLOCK; p++)
            x[d * BLOCK + p] = 1;
        int64_t k = 0;
        for (; k + KT <= K; k += KT)
            forms(KT, dim, size, c + k * size, x, z + k * BLOCK);
        for (; k < K; k++)
            forms(1, dim, size, c + k * size, x, z + k * BLOCK);
        *logs += softmax(count, K, z);
        for (k = 0; k + KT <= K; k += KT)
            moments(KT, dim, size, z + k * BLOCK, x, m + k * size);
        for (; k < K; k++)
            moments(1, dim, size, z + k * BLOCK, x, m + k * size);
    }
}

/* to[j] += sum over r of f[r*step]*M[r][j] for j <= i, 32 columns at a time in registers */
static void lower_sums(int64_t d, int64_t i, int64_t count, const double *restrict f, int64_t step, const double *restrict M,
                       double *restrict to) {
    int64_t j = 0;
    for (; j + 4 * LANES <= i + 1; j += 4 * LANES) {
        vec s[4] = {{0}};
        for (int64_t r = 0; r < count; r++)
            for (int k = 0; k < 4; k++)
                s[k] += f[r * step] * VEC(M + r * d + j + k * LANES);
        for (int k = 0; k < 4; k++)
            STORE(to + j + k * LANES, VEC(to + j + k * LANES) + s[k]);
    }
    for (; j + LANES <= i + 1; j += LANES) {
        vec s = {0};
        for (int64_t r = 0; r < count; r++)
            s += f[r * step] * VEC(M + r * d + j);
        STORE(to + j, VEC(to + j) + s);
    }
    for (int64_t r = 0; r < count; r++)
        for (int64_t k = j; k <= i; k++)
            to[k] += f[r * step] * M[r * d + k];
}

/* Q from its logs and its lower columns, and the coefficients of the form -|Q(x - mu)|^2/2 + head in (x, 1) */
static void coefficients(int64_t d, const double *restrict mu, const double *restrict q, const double *restrict l,
                         double head, double *restrict Q, double *restrict A, double *restrict c) {
    memset(Q, 0, d * d * sizeof *Q);
    memset(A, 0, d * d * sizeof *A);
    for (int64_t j = 0, at = 0; j < d; j++) {
        Q[j * d + j] = exp(q[j]);
        for (int64_t i = j + 1; i < d; i++)
            Q[i * d + j] = l[at++];
    }
    for (int64_t i = 0; i < d; i++)
        lower_sums(d, i, d - i, Q + i * d + i, d, Q + i * d, A + i * d);
    double *last = c + d * (d + 1) / 2;
    memset(last, 0, d * sizeof *last);
    for (int64_t i = 0; i < d; i++) {
        double *row = c + i * (i + 1) / 2, sum = 0;
        for (int64_t j = 0; j < i; j++) {
            row[j] = -A[i * d + j];
            sum += A[i * d + j] * mu[j];
            last[j] += A[i * d + j] * mu[i];
        }
        row[i] = -A[i * d + i] / 2;
        last[i] += sum + A[i * d + i] * mu[i];
    }
    for (int64_t i = 0; i < d; i++)
        head -= last[i] * mu[i] / 2;
    last[d] = head;
}

/* S = weighted second moments about mu; slopes -Q S + Q of Q, and of mu */
static void slopes(int64_t d, const double *restrict mu, const double *restrict Q, const double *restrict c,
                   const double *restrict m, double *restrict S, double *restrict dmu, double *restrict dq,
                   double *restrict dl) {
    const double *first = m + d * (d + 1) / 2, weight = first[d];
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++)
            S[i * d + j] = S[j * d + i] =
                m[i * (i + 1) / 2 + j] - first[i] * mu[j] - mu[i] * first[j] + weight * mu[i] * mu[j];
    memset(dmu, 0, d * sizeof *dmu);
    for (int64_t i = 0; i < d; i++) { /* A (first - weight*mu), A from the coefficients */
        const double *row = c + i * (i + 1) / 2, v = first[i] - weight * mu[i];
        for (int64_t j = 0; j < i; j++) {
            dmu[i] -= row[j] * (first[j] - weight * mu[j]);
            dmu[j] -= row[j] * v;
        }
        dmu[i] -= 2 * row[i] * v;
    }
    double sum[d];
    for (int64_t i = 0; i < d; i++) {
        memset(sum, 0, sizeof sum);
        lower_sums(d, i, i + 1, Q + i * d, 1, S, sum);
        for (int64_t j = 0; j <= i; j++)
            sum[j] = Q[i * d + j] - sum[j];
        dq[i] = sum[i] * Q[i * d + i] + weight;
        for (int64_t j = 0; j < i; j++)
            dl[j * (2 * d - j - 1) / 2 + i - j - 1] = sum[j];
    }
}

int64_t memory(int64_t d, int64_t K) {
    const int64_t dim = d + 1, size = dim * (dim + 1) / 2;
    return (dim + K) * BLOCK + 2 * K * size + K * d * d + d * d;
}

/* gamma = 1, m = 0; `work` holds memory(d, K) numbers */
double value_and_grad(int64_t n, int64_t d, int64_t K, const double *restrict X, const double *restrict alpha,
                      const double *restrict mu, const double *restrict q, const double *restrict l, double *restrict work,
                      double *restrict dalpha, double *restrict dmu, double *restrict dq, double *restrict dl) {
    const int64_t size = (d + 1) * (d + 2) / 2, lower = d * (d - 1) / 2;
    double *c = work, *m = c + K * size, *Q = m + K * size, *S = Q + K * d * d, *rest = S + d * d;
    double logs = 0, top = alpha[0], sum = 0, prior = 0, p = d + 1, gammas = d * (d - 1) / 4.0 * log(M_PI);
    for (int64_t k = 0; k < K; k++) {
        double head = alpha[k];
        for (int64_t i = 0; i < d; i++)
            head += q[k * d + i];
        coefficients(d, mu + k * d, q + k * d, l + k * lower, head, Q + k * d * d, S, c + k * size);
        for (int64_t i = 0; i < d * d; i++)
            prior += Q[k * d * d + i] * Q[k * d * d + i] / 2;
        top = alpha[k] > top ? alpha[k] : top;
    }
    memset(m, 0, K * size * sizeof *m);
    blocks(n, d, K, X, c, m, rest, &logs);
    for (int64_t k = 0; k < K; k++) {
        slopes(d, mu + k * d, Q + k * d * d, c + k * size, m + k * size, S, dmu + k * d, dq + k * d, dl + k * lower);
        sum += exp(alpha[k] - top);
    }
    for (int64_t k = 0; k < K; k++)
        dalpha[k] = m[(k + 1) * size - 1] - n * exp(alpha[k] - top) / sum;
    for (int64_t j = 0; j < d; j++)
        gammas += lgamma((p - j) / 2);
    prior -= K * (-p * d * log(2.0) / 2 - gammas);
    return logs - n * (top + log(sum)) - n * d / 2.0 * log(2 * M_PI) + prior;
}
