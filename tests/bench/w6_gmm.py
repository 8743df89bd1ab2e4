"""W6: the Gaussian mixture of ADBench (Srajer, Kukelova, Fitzgibbon 2018): value and gradient for three sizes (d, K, n)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import floors
import numpy as np
from timing import Bench
from w6_peers import peer_makers

import gradlang as gl

TEXT = """const D = {d}
const K = {K}
const L = D*(D-1)//2
x     : [N, D]
alpha : [K]
mu    : [K, D]
q     : [K, D]
low     : [K, L]

def below(i, j) = j*(2*D - j - 1)//2 + i - j - 1
Q    = [[[exp(q[k, i]) if i == j else low[k, below(i, j)] if i > j else 0 for j in range(D)] for i in range(D)] for k in range(K)]
dist = [[sum((Q[k] @ (x[n] - mu[k]))**2) for k in range(K)] for n in range(N)]

p           = D + 1
log_gamma_D = D*(D - 1)/4*log(pi) + sum(lgamma((p - j)/2) for j in range(D))
prior       = sum(Q**2)/2 - K*(-p*D*log(2)/2 - log_gamma_D)
mixture     = sum(logsumexp(alpha + sum(q, axis=1) - dist/2, axis=1)) - N*logsumexp(alpha) - N*D/2*log(2*pi)
objective   = mixture + prior
"""
LEAVES = ["alpha", "mu", "q", "low"]
SIZES = ((10, 25, 1000), (32, 25, 1000), (64, 50, 1000))
Arrays = dict[str, np.ndarray]
Call = Callable[[], Any]


def data(d: int, K: int, n: int) -> Arrays:
    r = np.random.default_rng(6)
    return {
        "x": r.normal(size=(n, d)),
        "alpha": r.normal(size=K),
        "mu": r.uniform(size=(K, d)),
        "q": r.normal(0, 0.3, (K, d)),
        "low": r.normal(0, 0.3 / math.sqrt(d), (K, d * (d - 1) // 2)),
    }


def constant(d: int, K: int, n: int) -> float:
    """What does not depend on the leaves."""
    p = d + 1
    gammas = d * (d - 1) / 4 * math.log(math.pi) + sum(math.lgamma((p - j) / 2) for j in range(d))
    return K * (p * d * math.log(2) / 2 + gammas) - n * d / 2 * math.log(2 * math.pi)


def triangle(q: Any, low: Any) -> tuple[Any, tuple[Any, Any]]:
    """Q, and where the lower entries stand, column by column."""
    K, d = q.shape
    columns, rows = np.triu_indices(d, 1)
    Q = np.zeros((K, d, d))
    Q[:, range(d), range(d)] = np.exp(q)
    Q[:, rows, columns] = low
    return Q, (rows, columns)


def weights(z: Any, axis: int) -> tuple[float, Any]:
    """The sum of logsumexp along an axis, and the softmax, in place."""
    top = z.max(axis=axis, keepdims=True)
    z -= top
    np.exp(z, out=z)
    total = z.sum(axis=axis, keepdims=True)
    z /= total
    return float(top.sum() + np.log(total).sum()), z


def as_written(x: Any, alpha: Any, mu: Any, q: Any, low: Any) -> tuple[float, tuple[Any, ...]]:
    """NumPy: the products Q(x - mu) of a component are one matrix product, and so is the gradient of Q."""
    (K, d), n = q.shape, len(x)
    Q, (rows, columns) = triangle(q, low)
    Z = x[None] - mu[:, None]
    Y = Z @ Q.transpose(0, 2, 1)
    z = (alpha + q.sum(axis=1))[:, None] - 0.5 * np.einsum("kni,kni->kn", Y, Y)
    logs, P = weights(z, 0)
    a = alpha[None].copy()
    norm, share = weights(a, 1)
    value = logs - n * norm + 0.5 * np.vdot(Q, Q) + constant(d, K, n)
    Y *= P[:, :, None]
    dQ = Q - Y.transpose(0, 2, 1) @ Z
    dmu = np.einsum("ki,kij->kj", Y.sum(axis=1), Q)
    mass = P.sum(axis=1)
    diagonal = dQ[:, range(d), range(d)] * np.exp(q) + mass[:, None]
    return value, (mass - n * share[0], dmu, diagonal, dQ[:, rows, columns])


class Moments:
    """The exponents are linear in the products x[i]*x[j]: one matrix product forward, and one back for all components."""

    def __init__(self, d: int, K: int, n: int) -> None:
        self.d, self.n = d, n
        self.features = np.empty((d * (d + 1) // 2 + d + 1, n))
        self.rows, self.columns = np.tril_indices(d)
        order = np.lexsort((self.rows, self.columns))  # column by column
        self.rows, self.columns = self.rows[order], self.columns[order]
        self.halves = np.where(self.rows == self.columns, -0.5, -1.0)
        self.z = np.empty((K, n))

    def fill(self, x: Any) -> Any:
        """The products x[i]*x[j] column by column, then x, then ones: [.., n]."""
        d, F, pairs = self.d, self.features, len(self.rows)
        xt = F[pairs : pairs + d]
        xt[:] = x.T
        F[-1] = 1
        start = 0
        for j in range(d):
            np.multiply(xt[j:], xt[j], out=F[start : start + d - j])
            start += d - j
        return F

    def coefficients(self, A: Any, Amu: Any, head: Any) -> Any:
        """head - (x - mu)' A (x - mu)/2 in terms of the features, but for mu' A mu/2, which is in the head."""
        C, pairs = np.empty((len(A), len(self.features))), len(self.rows)
        C[:, :pairs] = A[:, self.rows, self.columns]
        C[:, :pairs] *= self.halves
        C[:, pairs:-1] = Amu
        C[:, -1] = head
        return C

    def taken_apart(self, M: Any) -> tuple[Any, Any, Any]:
        """Second moments as matrices, first moments, masses."""
        S, pairs = np.empty((len(M), self.d, self.d)), len(self.rows)
        S[:, self.rows, self.columns] = S[:, self.columns, self.rows] = M[:, :pairs]
        return S, M[:, pairs:-1], M[:, -1]

    def __call__(self, x: Any, alpha: Any, mu: Any, q: Any, low: Any) -> tuple[float, tuple[Any, ...]]:
        (K, d), n = q.shape, len(x)
        F = self.fill(x)
        Q, (rows, columns) = triangle(q, low)
        A = Q.transpose(0, 2, 1) @ Q
        Amu = np.matmul(A, mu[:, :, None])[:, :, 0]
        C = self.coefficients(A, Amu, alpha + q.sum(axis=1) - 0.5 * (Amu * mu).sum(axis=1))
        logs, P = weights(np.dot(C, F, out=self.z), 0)
        norm, share = weights(alpha[None].copy(), 1)
        value = logs - n * norm + 0.5 * np.vdot(Q, Q) + constant(d, K, n)
        S, first, mass = self.taken_apart(P @ F.T)
        centred = first - mass[:, None] * mu
        S -= first[:, :, None] * mu[:, None]
        S -= mu[:, :, None] * centred[:, None]
        dQ = Q - Q @ S
        dmu = np.matmul(A, centred[:, :, None])[:, :, 0]
        diagonal = dQ[:, range(d), range(d)] * np.exp(q) + mass[:, None]
        return value, (mass - n * share[0], dmu, diagonal, dQ[:, rows, columns])


def c_floor(d: Arrays) -> Call:
    library = floors.library("w6_gmm", loose=False)
    (n, dim), K = d["x"].shape, len(d["alpha"])
    size = floors.bound(library.memory, [dim, K], floors.int64)()
    slopes = tuple(np.empty_like(d[k]) for k in LEAVES)
    arguments = [n, dim, K, *(d[k] for k in ("x", *LEAVES)), np.empty(size), *slopes]
    call = floors.bound(library.value_and_grad, arguments)
    return lambda: (call(), slopes)


def gradlang(f: Any, d: Arrays) -> Call:
    def call() -> Any:
        value, slopes = f(d)
        return value, tuple(slopes[k] for k in LEAVES)

    return call


def run(bench: Bench) -> None:
    for size in SIZES:
        case(bench, *size)


def case(bench: Bench, dim: int, K: int, n: int) -> None:
    model = gl.loads(TEXT.format(d=dim, K=K))
    f, value = model.value_and_grad("objective", wrt=LEAVES), model.function("objective")
    d = data(dim, K, n)
    moments = Moments(dim, K, n)
    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: gradlang(f, d),
        "NumPy by hand, moments": lambda: lambda: moments(**d),
        "NumPy by hand, as written": lambda: lambda: as_written(**d),
        "C by hand, moments": lambda: c_floor(d),
        **peer_makers(d, constant(dim, K, n)),
    }
    notes = {"gradlang": f.backend}
    case = f"d {dim}, K {K}, n {n}"
    bench.race("W6", case, makers, as_written(**d), seconds=3 if dim == 10 else 5, objective=lambda: value(d), notes=notes)
