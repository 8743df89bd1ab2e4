/* W9: h = tanh(W@h + U*x[t]), loss = sum(h**2) after the last step. The weights stay in registers or the first cache, sums
   run in four chains, and the gradient of W is one product after the loop. */
#include "vector.h"

#define N 16

typedef struct {
    vec low, high;
} state;

/* sum over j of column j of A (rows of At) times s[j], plus what is there */
static inline state times(const double *restrict At, const double *restrict s, state plus) {
    state a = plus, b = {{0}, {0}}, c = {{0}, {0}}, d = {{0}, {0}};
#pragma GCC unroll 4
    for (int j = 0; j < N; j += 4) {
        const double *p = At + j * N;
        a.low += VEC(p) * s[j], a.high += VEC(p + 8) * s[j];
        b.low += VEC(p + 16) * s[j + 1], b.high += VEC(p + 24) * s[j + 1];
        c.low += VEC(p + 32) * s[j + 2], c.high += VEC(p + 40) * s[j + 2];
        d.low += VEC(p + 48) * s[j + 3], d.high += VEC(p + 56) * s[j + 3];
    }
    return (state){(a.low + b.low) + (c.low + d.low), (a.high + b.high) + (c.high + d.high)};
}

static void forward(int64_t steps, const double *restrict W, const double *restrict U, const double *restrict x,
                    double *restrict H) {
    double Wt[N * N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            Wt[j * N + i] = W[i * N + j];
    const state u = {VEC(U), VEC(U + 8)};
    for (int64_t t = 0; t < steps; t++) {
        const state z = times(Wt, H + t * N, (state){u.low * x[t], u.high * x[t]});
        STORE(H + (t + 1) * N, vtanh(z.low));
        STORE(H + (t + 1) * N + 8, vtanh(z.high));
    }
}

/* S[t] = d loss / d (W@h + U*x[t]) */
static state backward(int64_t steps, const double *restrict W, const double *restrict H, double *restrict S) {
    const vec zero = {0};
    state g = {2 * VEC(H + steps * N), 2 * VEC(H + steps * N + 8)};
    for (int64_t t = steps - 1; t >= 0; t--) {
        const vec low = VEC(H + (t + 1) * N), high = VEC(H + (t + 1) * N + 8);
        STORE(S + t * N, g.low * (1 - low * low));
        STORE(S + t * N + 8, g.high * (1 - high * high));
        g = times(W, S + t * N, (state){zero, zero});
    }
    return g;
}

/* rows of dW = S.T @ H, eight at a time: sixteen accumulators */
static void product(int64_t steps, const double *restrict S, const double *restrict H, double *restrict dW) {
    vec low[8] = {{0}}, high[8] = {{0}};
    for (int64_t t = 0; t < steps; t++) {
        const vec a = VEC(H + t * N), b = VEC(H + t * N + 8);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            low[i] += a * S[t * N + i], high[i] += b * S[t * N + i];
    }
    for (int i = 0; i < 8; i++) {
        STORE(dW + i * N, low[i]);
        STORE(dW + i * N + 8, high[i]);
    }
}

/* H holds steps + 1 states, S as many slopes */
double value_and_grad(int64_t steps, const double *restrict W, const double *restrict U, const double *restrict x,
                      const double *restrict h0, double *restrict H, double *restrict S, double *restrict dW,
                      double *restrict dU, double *restrict dh0) {
    memcpy(H, h0, N * sizeof *H);
    forward(steps, W, U, x, H);
    const state g = backward(steps, W, H, S);
    STORE(dh0, g.low);
    STORE(dh0 + 8, g.high);
    product(steps, S, H, dW);
    product(steps, S + 8, H, dW + 8 * N);
    vec low = {0}, high = {0};
    for (int64_t t = 0; t < steps; t++)
        low += VEC(S + t * N) * x[t], high += VEC(S + t * N + 8) * x[t];
    STORE(dU, low);
    STORE(dU + 8, high);
    const vec a = VEC(H + steps * N), b = VEC(H + steps * N + 8);
    return total(a * a + b * b);
}
