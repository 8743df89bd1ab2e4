/* W5: a tape of scalar operations, run forward and backward. Slots 0 to leaves-1 hold the inputs. */
#include "vector.h"

enum { ADD, SUB, MUL, DIV, SIN, EXP, TANH, SQRT };

double value_and_grad(int64_t count, int64_t leaves, const int8_t *restrict op, const int32_t *restrict left,
                      const int32_t *restrict right, double *restrict v, double *restrict g) {
    double *out = v + leaves;
    for (int64_t k = 0; k < count; k++) {
        const double a = v[left[k]];
        switch (op[k]) {
        case ADD: out[k] = a + v[right[k]]; break;
        case SUB: out[k] = a - v[right[k]]; break;
        case MUL: out[k] = a * v[right[k]]; break;
        case DIV: out[k] = a / v[right[k]]; break;
        case SIN: out[k] = sin(a); break;
        case EXP: out[k] = exp(a); break;
        case TANH: out[k] = tanh(a); break;
        case SQRT: out[k] = sqrt(a); break;
        }
    }
    memset(g, 0, (count + leaves) * sizeof *g);
    g[count + leaves - 1] = 1;
    for (int64_t k = count - 1; k >= 0; k--) {
        const int32_t a = left[k], b = right[k];
        const double d = g[leaves + k], y = out[k];
        switch (op[k]) {
        case ADD: g[a] += d; g[b] += d; break;
        case SUB: g[a] += d; g[b] -= d; break;
        case MUL: { const double p = v[a], q = v[b]; g[a] += d * q; g[b] += d * p; break; }
        case DIV: { const double s = d / v[b]; g[a] += s; g[b] -= s * y; break; }
        case SIN: g[a] += d * cos(v[a]); break;
        case EXP: g[a] += d * y; break;
        case TANH: g[a] += d * (1 - y * y); break;
        case SQRT: g[a] += d * 0.5 / y; break;
        }
    }
    return v[count + leaves - 1];
}
