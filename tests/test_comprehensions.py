"""Comprehensions against the same loops in Python: value, gradient, forward mode, second order, single precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loopcheck import agrees

import gradlang as gl

RNG = np.random.default_rng(20)
X = np.array([0.7, -1.2, 1.9, 0.4, -0.6, 1.1])
Z = np.array([1.3, 0.2, -0.8, 0.5, 2.1, -1.4])
POS = np.array([0.7, 1.2, 1.9, 0.4, 0.6, 1.1])
A = RNG.uniform(-1.5, 1.5, (3, 4))
B = RNG.uniform(-1.5, 1.5, (5, 4))
C = RNG.uniform(-1.5, 1.5, (4, 4))
T = RNG.uniform(-1.5, 1.5, (2, 3, 4))
V, W = "x : [N]\n", "x : [N]\nz : [N]\n"
M, P = "A : [N, K]\n", "A : [N, K]\nB : [M, K]\n"
Case = tuple[str, Callable[..., Any], dict[str, Any]]


def lse(values: Any) -> float:
    return float(np.log(np.sum(np.exp(np.asarray(values, float)))))


def sig(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def soft(v: Any) -> Any:
    return np.exp(v) / np.sum(np.exp(v))


def conv(image: Any, kernel: Any) -> Any:
    h, w = image.shape[0] - kernel.shape[0] + 1, image.shape[1] - kernel.shape[1] + 1
    return np.array(
        [[np.sum(image[i : i + kernel.shape[0], j : j + kernel.shape[1]] * kernel) for j in range(w)] for i in range(h)]
    )


RANGES: dict[str, Case] = {
    "stop": (V + "y = sum(sin(x[i])*i for i in range(N))", lambda x: sum(np.sin(x[i]) * i for i in range(6)), {"x": X}),
    "start": (V + "y = [x[i]*x[i-1] for i in range(1, N)]", lambda x: [x[i] * x[i - 1] for i in range(1, 6)], {"x": X}),
    "start and stop": (V + "y = [x[i]**2 for i in range(2, N-1)]", lambda x: [x[i] ** 2 for i in range(2, 5)], {"x": X}),
    "step 2": ("x : [2*H]\ny = [x[i]*x[i+1] for i in range(0, 2*H, 2)]", lambda x: x[::2] * x[1::2], {"x": X}),
    "step 3 over numbers": ("x : [6]\ny = [x[i]**2 for i in range(1, 6, 3)]", lambda x: x[1::3] ** 2, {"x": X}),
    "step -1": (V + "y = [x[i]*i for i in range(N-1, -1, -1)]", lambda x: [x[i] * i for i in range(5, -1, -1)], {"x": X}),
    "step -2": ("x : [6]\ny = [x[i]**2 for i in range(5, -1, -2)]", lambda x: x[::-2] ** 2, {"x": X}),
    "step -3 of sizes": ("x : [3*H]\ny = [x[i]**2 for i in range(3*H-1, -1, -3)]", lambda x: x[::-3] ** 2, {"x": X}),
    "negative start": (V + "y = [x[i+3]*i for i in range(-3, N-3)]", lambda x: [x[i + 3] * i for i in range(-3, 3)], {"x": X}),
    "const bound": (
        V + "const n = 3\ny = [x[i] + i for i in range(n)]",
        lambda x: [x[i] + i for i in range(3)],
        {"x": X},
    ),
    "formula of sizes": (
        P + "y = [i*A[0, 0] for i in range(N*M - K)]",
        lambda A, B: [i * A[0, 0] for i in range(11)],
        {"A": A, "B": B},
    ),
    "outer index below": (
        V + "y = sum(1/(1 + (x[j] - x[i])**2) for i in range(N) for j in range(i+1, N))",
        lambda x: sum(1 / (1 + (x[j] - x[i]) ** 2) for i in range(6) for j in range(i + 1, 6)),
        {"x": X},
    ),
    "outer index above": (
        V + "y = [sum(x[j]*x[i-j] for j in range(i+1)) for i in range(N)]",
        lambda x: [sum(x[j] * x[i - j] for j in range(i + 1)) for i in range(6)],
        {"x": X},
    ),
    "outer index on both sides": (
        V + "y = [sum(x[j]**3 for j in range(i, i+2)) for i in range(N-1)]",
        lambda x: [sum(x[j] ** 3 for j in range(i, i + 2)) for i in range(5)],
        {"x": X},
    ),
    "outer index down": (
        V + "y = sum(x[j]*j*x[i] for i in range(N) for j in range(i, -1, -1))",
        lambda x: sum(x[j] * j * x[i] for i in range(6) for j in range(i, -1, -1)),
        {"x": X},
    ),
    "two outer indices": (
        V + "y = sum(x[i]*x[j]*x[k] for i in range(N) for j in range(i) for k in range(j, i))",
        lambda x: sum(x[i] * x[j] * x[k] for i in range(6) for j in range(i) for k in range(j, i)),
        {"x": X},
    ),
    "twice the outer index": (
        "x : [2*H]\ny = [sum(x[j]**2 for j in range(2*i, 2*i+2)) for i in range(H)]",
        lambda x: [x[2 * i] ** 2 + x[2 * i + 1] ** 2 for i in range(3)],
        {"x": X},
    ),
    "triangle with product": (
        V + "y = prod(x[j] - x[i] for i in range(N) for j in range(i+1, N))",
        lambda x: np.prod([x[j] - x[i] for i in range(6) for j in range(i + 1, 6)]),
        {"x": X},
    ),
    "triangle with max": (
        V + "y = max(x[i]*x[j] for i in range(N) for j in range(i))",
        lambda x: max(x[i] * x[j] for i in range(6) for j in range(i)),
        {"x": X},
    ),
    "triangle with mean": (
        V + "y = mean(x[i]*x[j] for i in range(N) for j in range(i))",
        lambda x: np.mean([x[i] * x[j] for i in range(6) for j in range(i)]),
        {"x": X},
    ),
}
ITERATION: dict[str, Case] = {
    "entries": (V + "y = [v**2 + 1 for v in x]", lambda x: [v**2 + 1 for v in x], {"x": X}),
    "rows": (M + "y = [sum(r**2) for r in A]", lambda A: [sum(r**2) for r in A], {"A": A}),
    "rows of rows": (
        "T : [L, N, K]\ny = [[max(r) for r in t] for t in T]",
        lambda T: [[max(r) for r in t] for t in T],
        {"T": T},
    ),
    "columns": (M + "y = [sum(c**2) for c in A.T]", lambda A: [sum(c**2) for c in A.T], {"A": A}),
    "expression": (V + "y = [v*2 for v in x[1:]*x[:-1]]", lambda x: [2 * v for v in x[1:] * x[:-1]], {"x": X}),
    "list": ("input a\ny = [v*a**2 for v in [1, a, 3]]", lambda a: [a**2, a**3, 3 * a**2], {"a": 0.7}),
    "enumerate": (V + "y = sum(i*v**2 for i, v in enumerate(x))", lambda x: sum(i * v**2 for i, v in enumerate(x)), {"x": X}),
    "enumerate from 1": (
        V + "y = [v**k for k, v in enumerate(x, 1)]",
        lambda x: [v**k for k, v in enumerate(x, 1)],
        {"x": POS},
    ),
    "enumerate as an index": (
        W + "y = [v*z[N-1-i] for i, v in enumerate(x)]",
        lambda x, z: [v * z[5 - i] for i, v in enumerate(x)],
        {"x": X, "z": Z},
    ),
    "zip": (
        W + "y = [a*b + 1 for a, b in zip(x, z)]",
        lambda x, z: [a * b + 1 for a, b in zip(x, z, strict=True)],
        {"x": X, "z": Z},
    ),
    "zip of three": (
        W + "y = sum(a*b*c for a, b, c in zip(x, z, x[::-1]))",
        lambda x, z: sum(a * b * c for a, b, c in zip(x, z, x[::-1], strict=True)),
        {"x": X, "z": Z},
    ),
    "zip with a range": (
        W + "y = [v*k for v, k in zip(x, range(1, N+1))]",
        lambda x, z: [v * k for v, k in zip(x, range(1, 7), strict=True)],
        {"x": X, "z": Z},
    ),
    "zip of rows and entries": (
        "A : [N, K]\nx : [N]\ny = [r*v for r, v in zip(A, x)]",
        lambda A, x: [r * v for r, v in zip(A, x, strict=True)],
        {"A": A, "x": X[:3]},
    ),
    "enumerate of zip": (
        W + "y = sum(i*a*b for i, (a, b) in enumerate(zip(x, z)))",
        lambda x, z: sum(i * a * b for i, (a, b) in enumerate(zip(x, z, strict=True))),
        {"x": X, "z": Z},
    ),
    "unpacked rows": ("A : [N, 2]\ny = sum(a**2*b for a, b in A)", lambda A: sum(a**2 * b for a, b in A), {"A": A[:, :2]}),
    "rows of a row": (
        M + "y = sum(v**2*r[0] for r in A for v in r)",
        lambda A: sum(v**2 * r[0] for r in A for v in r),
        {"A": A},
    ),
    "two for clauses": (
        W + "y = [a*b for a in x for b in z]",
        lambda x, z: [a * b for a in x for b in z],
        {"x": X[:3], "z": Z[:3]},
    ),
    "three for clauses": (
        M + "y = [A[i, k]*A[j, k] for i in range(N) for j in range(N) for k in range(K)]",
        lambda A: [A[i, k] * A[j, k] for i in range(3) for j in range(3) for k in range(4)],
        {"A": A},
    ),
    "nested": (
        P + "y = [[sum((A[i, k] - B[j, k])**2 for k in range(K)) for j in range(M)] for i in range(N)]",
        lambda A, B: ((A[:, None] - B[None]) ** 2).sum(-1),
        {"A": A, "B": B},
    ),
    "same name in an inner loop": (
        V + "y = [sum(x[i] for i in range(3))*x[i] for i in range(N)]",
        lambda x: [sum(x[:3]) * x[i] for i in range(6)],
        {"x": X},
    ),
    "a name of the file is shadowed": (W + "y = sum(z*2 for z in x)", lambda x, z: sum(2 * v for v in x), {"x": X, "z": Z}),
    "a constant of the language is shadowed": (V + "y = sum(e**2 for e in x)", lambda x: sum(x**2), {"x": X}),
    "element without the index": (V + "y = [x[0]**2 for i in range(4)]", lambda x: [x[0] ** 2] * 4, {"x": X}),
    "constant element": (V + "y = sum(1 for i in range(N))*x[0]", lambda x: 6 * x[0], {"x": X}),
}
INDEXING: dict[str, Case] = {
    "shifts": (
        V + "y = [x[i-1] - 2*x[i] + x[i+1]**2 for i in range(1, N-1)]",
        lambda x: [x[i - 1] - 2 * x[i] + x[i + 1] ** 2 for i in range(1, 5)],
        {"x": X},
    ),
    "stride": ("x : [2*H]\ny = [x[2*i+1]**2 for i in range(H)]", lambda x: x[1::2] ** 2, {"x": X}),
    "stride by a const": ("x : [6]\nconst s = 3\ny = [x[s*i]**2 for i in range(2)]", lambda x: x[::3] ** 2, {"x": X}),
    "reversed": (V + "y = [x[N-1-i]*x[i] for i in range(N)]", lambda x: x[::-1] * x, {"x": X}),
    "reversed as far as another size goes": (
        "A : [N, K]\ny = [[A[i, K-1-j]**2 for j in range(N)] for i in range(N)]",
        lambda A: [[A[i, 3 - j] ** 2 for j in range(4)] for i in range(4)],
        {"A": C},
    ),
    "reversed stride": ("x : [2*H]\ny = [x[2*H-1-2*i]**2 for i in range(H)]", lambda x: x[::-2] ** 2, {"x": X}),
    "last entry": (V + "y = [x[-1]*v for v in x]", lambda x: x[-1] * x, {"x": X}),
    "diagonal": ("A : [N, N]\ny = [A[i, i]**2 for i in range(N)]", lambda A: np.diag(A) ** 2, {"A": C}),
    "off-diagonal": ("A : [N, N]\ny = [A[i, i+1]**2 for i in range(N-1)]", lambda A: np.diag(A, 1) ** 2, {"A": C}),
    "anti-diagonal": (
        "A : [N, N]\ny = sum(A[i, N-1-i]**2 for i in range(N))",
        lambda A: sum(np.diag(A[:, ::-1]) ** 2),
        {"A": C},
    ),
    "transposed": (M + "y = [[A[j, i]**2 for j in range(N)] for i in range(K)]", lambda A: A.T**2, {"A": A}),
    "sum of two indices": (
        "x : [N]\nw : [K]\ny = [sum(x[i+j]*w[j] for j in range(K)) for i in range(N - K + 1)]",
        lambda x, w: [sum(x[i + j] * w[j] for j in range(2)) for i in range(5)],
        {"x": X, "w": Z[:2]},
    ),
    "difference of two indices": (
        "x : [N]\nw : [K]\ny = [sum(x[i]*w[k-i] for i in range(N) if 0 <= k-i and k-i < K) for k in range(N + K - 1)]",
        lambda x, w: np.convolve(x, w),
        {"x": X, "w": Z[:3]},
    ),
    "hankel": (
        V + "y = [[x[i+j]**2 for j in range(3)] for i in range(N-2)]",
        lambda x: [[x[i + j] ** 2 for j in range(3)] for i in range(4)],
        {"x": X},
    ),
    "window": (V + "y = [max(x[i:i+3]) for i in range(N-2)]", lambda x: [max(x[i : i + 3]) for i in range(4)], {"x": X}),
    "window backwards": (
        V + "y = [norm(x[i-2:i]) for i in range(N, 1, -1)]",
        lambda x: [np.sqrt(sum(x[i - 2 : i] ** 2)) for i in range(6, 1, -1)],
        {"x": X},
    ),
    "window beside an index array": (
        "A : [N, K]\np : int[M]\ny = [A[p, i:i+2]**2 for i in range(K-1)]",
        lambda A, p: [A[p, i : i + 2] ** 2 for i in range(3)],
        {"A": A, "p": [2, 0, 2]},
    ),
    "windows around another axis": (
        "T : [L, N, K]\ny = [T[i:i+1, 0, j:j+2]**2 for i in range(L) for j in range(K-1)]",
        lambda T: [T[i : i + 1, 0, j : j + 2] ** 2 for i in range(2) for j in range(3)],
        {"T": T},
    ),
    "guarded window": (
        V + "y = sum(sum(x[i:i+3])**2 for i in range(N) if i + 3 <= N)",
        lambda x: sum(sum(x[i : i + 3]) ** 2 for i in range(4)),
        {"x": X},
    ),
    "window in a matrix": (
        "A : [N, K]\nw : [2, 2]\ny = [[sum(A[i:i+2, j:j+2]*w) for j in range(K-1)] for i in range(N-1)]",
        lambda A, w: conv(A, w),
        {"A": A, "w": C[:2, :2]},
    ),
    "rows by a slice": (
        M + "y = [sum(A[i, 1:]**2) for i in range(N)]",
        lambda A: [sum(A[i, 1:] ** 2) for i in range(3)],
        {"A": A},
    ),
    "column of an index": (
        M + "y = [sum(A[:, k]**2) for k in range(K)]",
        lambda A: [sum(A[:, k] ** 2) for k in range(4)],
        {"A": A},
    ),
    "new axis": (V + "y = [x[i]*x[:, None] for i in range(2)]", lambda x: [x[i] * x[:, None] for i in range(2)], {"x": X}),
    "gather": (
        "x : [N]\np : int[M]\ny = [x[p[k]]**2*k for k in range(M)]",
        lambda x, p: [x[p[k]] ** 2 * k for k in range(4)],
        {"x": X, "p": [1, 1, 5, -2]},
    ),
    "gather of rows": (
        "A : [N, K]\np : int[M]\ny = [sum(A[q]**2) for q in p]",
        lambda A, p: [sum(A[q] ** 2) for q in p],
        {"A": A, "p": [2, 0, 2]},
    ),
    "gather of pairs": (
        "A : [N, K]\np : int[M, 2]\ny = [A[q[0], q[1]]**2 for q in p]",
        lambda A, p: [A[q[0], q[1]] ** 2 for q in p],
        {"A": A, "p": [[2, 0], [1, 3], [-1, -1]]},
    ),
    "gather of edges": (
        "r : [N, 2]\na : int[E]\nb : int[E]\ny = sum(norm(r[i] - r[j]) for i, j in zip(a, b))",
        lambda r, a, b: sum(np.sqrt(sum((r[i] - r[j]) ** 2)) for i, j in zip(a, b, strict=True)),
        {"r": A[:, :2], "a": [0, 1, 2], "b": [1, 2, 0]},
    ),
    "gather along the loop's own row": (
        "A : [N, K]\np : int[N]\ny = [A[i, p[i]]**2 for i in range(N)]",
        lambda A, p: [A[i, p[i]] ** 2 for i in range(3)],
        {"A": A, "p": [3, 0, 3]},
    ),
    "gather of a gather": (
        "x : [N]\np : int[N]\ny = [x[p[p[i]]]**2 for i in range(N)]",
        lambda x, p: [x[p[p[i]]] ** 2 for i in range(6)],
        {"x": X, "p": [1, 2, 3, 4, 5, 0]},
    ),
    "index array in an element": (
        "A : [N, K]\np : int[M]\ny = [r[p]**2 for r in A]",
        lambda A, p: [r[p] ** 2 for r in A],
        {"A": A, "p": [2, 0, 2]},
    ),
    "index modulo": (V + "y = [x[i]*x[(i+1) % N] for i in range(N)]", lambda x: x * np.roll(x, -1), {"x": X}),
    "index halved": (V + "y = [x[i//2]*(i+1) for i in range(N)]", lambda x: [x[i // 2] * (i + 1) for i in range(6)], {"x": X}),
    "index times index": (
        "x : [6]\ny = [[x[i*j]**2 for i in range(3)] for j in range(3)]",
        lambda x: [[x[i * j] ** 2 for i in range(3)] for j in range(3)],
        {"x": X},
    ),
    "index as a real": (
        V + "y = [x[i]**2/(i + 1) + 2**i - i**0.5 for i in range(N)]",
        lambda x: [x[i] ** 2 / (i + 1) + 2**i - i**0.5 for i in range(6)],
        {"x": X},
    ),
    "index compared": (
        V + "y = [x[i] if i == 2 or i > 4 else -x[i]**2 for i in range(N)]",
        lambda x: [x[i] if i == 2 or i > 4 else -(x[i] ** 2) for i in range(6)],
        {"x": X},
    ),
    "index in a function": (V + "y = [sin(i*x[i]) for i in range(N)]", lambda x: np.sin(np.arange(6) * x), {"x": X}),
    "index alone": (V + "y = [i for i in range(N)]*x", lambda x: np.arange(6) * x, {"x": X}),
    "kronecker delta": (
        V + "y = [[x[i] if i == j else 0 for j in range(N)] for i in range(N)]",
        lambda x: np.diag(x),
        {"x": X},
    ),
    "size of another array": (
        P + "y = [A[0, 0]*M + i for i in range(M)]",
        lambda A, B: [A[0, 0] * 5 + i for i in range(5)],
        {"A": A, "B": B},
    ),
}
VECTORS: dict[str, Case] = {
    "list of vectors": (M + "y = [r*i for i, r in enumerate(A)]", lambda A: [r * i for i, r in enumerate(A)], {"A": A}),
    "sum of vectors": (M + "y = sum(r**2 for r in A)", lambda A: sum(r**2 for r in A), {"A": A}),
    "mean of vectors": (M + "y = mean(sin(r) for r in A)", lambda A: np.mean(np.sin(A), 0), {"A": A}),
    "prod of vectors": (M + "y = prod(r for r in A)", lambda A: np.prod(A, 0), {"A": A}),
    "max of vectors": (M + "y = max(r for r in A)", lambda A: np.max(A, 0), {"A": A}),
    "min of vectors": (M + "y = min(r for r in A)", lambda A: np.min(A, 0), {"A": A}),
    "logsumexp of vectors": (M + "y = logsumexp(r for r in A)", lambda A: np.log(np.exp(A).sum(0)), {"A": A}),
    "norm of vectors": (M + "y = norm(r for r in A)", lambda A: np.sqrt((A**2).sum(0)), {"A": A}),
    "var of vectors": (M + "y = var(r for r in A)", lambda A: A.var(0), {"A": A}),
    "std of vectors": (M + "y = std(r for r in A)", lambda A: A.std(0), {"A": A}),
    "sum of matrices": (P + "y = sum(outer(a, B[0]) for a in A)", lambda A, B: np.outer(A.sum(0), B[0]), {"A": A, "B": B}),
    "matrices": (P + "y = [outer(a, B[0])**2 for a in A]", lambda A, B: [np.outer(a, B[0]) ** 2 for a in A], {"A": A, "B": B}),
    "literals of the element": (V + "y = [[v, v**2, 1] for v in x]", lambda x: [[v, v**2, 1] for v in x], {"x": X}),
    "matrix of literals": (
        V + "y = [[[cos(v), -sin(v)], [sin(v), cos(v)]] for v in x]",
        lambda x: [[[np.cos(v), -np.sin(v)], [np.sin(v), np.cos(v)]] for v in x],
        {"x": X},
    ),
    "vector with two loops": (
        P + "y = [[a*b for b in B] for a in A]",
        lambda A, B: [[a * b for b in B] for a in A],
        {"A": A, "B": B},
    ),
    "flat list of vectors": (
        P + "y = [a*b for a in A for b in B]",
        lambda A, B: [a * b for a in A for b in B],
        {"A": A, "B": B},
    ),
    "vector and scalar": (
        "A : [N, K]\nx : [N]\nw : [K]\ny = [x[i]*w + A[i] for i in range(N)]",
        lambda A, x, w: x[:, None] * w + A,
        {"A": A, "x": X[:3], "w": Z[:4]},
    ),
}
REDUCTIONS: dict[str, Case] = {
    "sum": (V + "y = sum(v**3 for v in x)", lambda x: sum(x**3), {"x": X}),
    "mean": (V + "y = mean(v**3 for v in x)", lambda x: np.mean(x**3), {"x": X}),
    "prod": (V + "y = prod(v + 1 for v in x)", lambda x: np.prod(x + 1), {"x": X}),
    "prod with a zero": (V + "y = prod(v + 1.2 for v in x)", lambda x: np.prod(x + 1.2), {"x": X}),
    "max": (V + "y = max(v**2 for v in x)", lambda x: max(x**2), {"x": X}),
    "min": (V + "y = min(v**2 for v in x)", lambda x: min(x**2), {"x": X}),
    "logsumexp": (V + "y = logsumexp(v*2 for v in x)", lambda x: lse(x * 2), {"x": X}),
    "norm": (V + "y = norm(v - 1 for v in x)", lambda x: np.sqrt(sum((x - 1) ** 2)), {"x": X}),
    "var": (V + "y = var(v**2 for v in x)", lambda x: np.var(x**2), {"x": X}),
    "std": (V + "y = std(v**2 for v in x)", lambda x: np.std(x**2), {"x": X}),
    "any": (V + "y = x[0] if any(v > 1.5 for v in x) else 0", lambda x: x[0] if any(v > 1.5 for v in x) else 0, {"x": X}),
    "all": (V + "y = x[0] if all(v > 1.5 for v in x) else x[1]", lambda x: x[0] if all(v > 1.5 for v in x) else x[1], {"x": X}),
    "argmax": (V + "y = x[argmax(v**2 for v in x)]", lambda x: x[np.argmax(x**2)], {"x": X}),
    "argmin": (V + "y = x[argmin(v**2 for v in x)]**2", lambda x: x[np.argmin(x**2)] ** 2, {"x": X}),
    "argmax in a row": (M + "y = [r[argmax(v**2 for v in r)] for r in A]", lambda A: [r[np.argmax(r**2)] for r in A], {"A": A}),
    "two loops": (M + "y = std(A[i, k] for i in range(N) for k in range(K))", lambda A: np.std(A), {"A": A}),
    "softmax by hand": (
        V + "y = [exp(v)/sum(exp(u) for u in x) for v in x]",
        lambda x: soft(x),
        {"x": X},
    ),
    "reductions in reductions": (
        M + "y = max(sum(v**2 for v in r)/min(abs(v) + 1 for v in r) for r in A)",
        lambda A: max(sum(r**2) / min(abs(r) + 1) for r in A),
        {"A": A},
    ),
    "matrix product": (
        "A : [N, K]\nB : [K, M]\ny = [[sum(A[i, k]*B[k, j] for k in range(K)) for j in range(M)] for i in range(N)]",
        lambda A, B: A @ B,
        {"A": A, "B": B.T},
    ),
    "quadratic form": (
        "x : [N]\nA : [N, N]\ny = sum(x[i]*A[i, j]*x[j] for i in range(N) for j in range(N))",
        lambda x, A: x @ A @ x,
        {"x": X[:4], "A": C},
    ),
    "trilinear": (
        "T : [L, N, K]\na : [L]\nb : [N]\nc : [K]\n"
        "y = sum(T[i, j, k]*a[i]*b[j]*c[k] for i in range(L) for j in range(N) for k in range(K))",
        lambda T, a, b, c: np.einsum("ijk,i,j,k", T, a, b, c),
        {"T": T, "a": X[:2], "b": X[:3], "c": X[:4]},
    ),
}
GUARDS: dict[str, Case] = {
    "on a value": (V + "y = sum(v**2 for v in x if v > 0.5)", lambda x: sum(v**2 for v in x if v > 0.5), {"x": X}),
    "on an index": (
        V + "y = mean(x[i]**2 for i in range(N) if i != 2)",
        lambda x: np.mean([x[i] ** 2 for i in range(6) if i != 2]),
        {"x": X},
    ),
    "two": (V + "y = sum(v**2 for v in x if v > 0 if v < 1.5)", lambda x: sum(v**2 for v in x if 0 < v < 1.5), {"x": X}),
    "between clauses": (
        V + "y = sum(x[i]*x[j]**2 for i in range(N) if x[i] > 0 for j in range(N) if j != i)",
        lambda x: sum(x[i] * x[j] ** 2 for i in range(6) if x[i] > 0 for j in range(6) if j != i),
        {"x": X},
    ),
    "log of what is negative": (
        V + "y = sum(log(v) for v in x if v > 0)",
        lambda x: sum(np.log(v) for v in x if v > 0),
        {"x": X},
    ),
    "sqrt at zero": (
        "x : [4]\ny = sum(sqrt(x[i]*i) for i in range(4) if i > 0)",
        lambda x: sum(np.sqrt(x[i] * i) for i in range(1, 4)),
        {"x": POS[:4]},
    ),
    "division by zero": (
        V + "y = sum(x[i]/(x[i] - x[j]) for i in range(N) for j in range(N) if j != i)",
        lambda x: sum(x[i] / (x[i] - x[j]) for i in range(6) for j in range(6) if j != i),
        {"x": X},
    ),
    "prod": (V + "y = prod(log(v) for v in x if v > 0)", lambda x: np.prod([np.log(v) for v in x if v > 0]), {"x": X}),
    "max": (V + "y = max(log(v) for v in x if v > 0)", lambda x: max(np.log(v) for v in x if v > 0), {"x": X}),
    "min": (V + "y = min(1/v for v in x if v > 0)", lambda x: min(1 / v for v in x if v > 0), {"x": X}),
    "logsumexp": (V + "y = logsumexp(log(v) for v in x if v > 0)", lambda x: np.log(sum(v for v in x if v > 0)), {"x": X}),
    "norm": (V + "y = norm(log(v) for v in x if v > 0)", lambda x: np.sqrt(sum(np.log(v) ** 2 for v in x if v > 0)), {"x": X}),
    "mean": (V + "y = mean(sqrt(v) for v in x if v > 0)", lambda x: np.mean([np.sqrt(v) for v in x if v > 0]), {"x": X}),
    "any and all": (
        V + "y = x[0] if any(v > 1 for v in x if v < 1.5) and all(v > 1 for v in x if v > 1) else 0",
        lambda x: x[0],
        {"x": X},
    ),
    "index past the end": (
        V + "y = sum(x[i]*x[i+1] for i in range(N) if i + 1 < N)",
        lambda x: sum(x[i] * x[i + 1] for i in range(5)),
        {"x": X},
    ),
    "index before the start": (
        V + "y = [x[i] - (x[i-1] if i > 0 else 0) for i in range(N)]",
        lambda x: np.diff(x, prepend=0.0),
        {"x": X},
    ),
    "choice in an element": (
        V + "y = [sqrt(v) if v > 0 else v**2 for v in x]",
        lambda x: np.where(x > 0, np.sqrt(abs(x)), x**2),
        {"x": X},
    ),
    "nothing counts": (V + "y = sum(v for v in x if v > 100) + x[0]", lambda x: x[0], {"x": X}),
    "a mask": (
        "x : [N]\nm : bool[N]\ny = sum(a**2 for a, k in zip(x, m) if k)",
        lambda x, m: sum(a**2 for a, k in zip(x, m, strict=True) if k),
        {"x": X, "m": [True, False, True, True, False, True]},
    ),
    "vectors": (
        M + "y = sum(log(r) for r in A if min(r) > 0)",
        lambda A: sum(np.log(r) for r in A if min(r) > 0),
        {"A": abs(A)},
    ),
    "constant": (V + "const skip = 2\ny = sum(x[i]**2 for i in range(N) if skip == 2)", lambda x: sum(x**2), {"x": X}),
}
FUNCTIONS: dict[str, Case] = {
    "scalar": ("def f(a) = sin(a)*a\n" + V + "y = [f(v) for v in x]", lambda x: np.sin(x) * x, {"x": X}),
    "file values": (
        "input k\ndef f(a):\n    b = a*k\n    return b**2 + x[0]\n" + V + "y = [f(v) for v in x]",
        lambda x, k: (x * k) ** 2 + x[0],
        {"x": X, "k": 0.3},
    ),
    "defaults and keywords": (
        "def f(a, b=2, c=3) = a**b + c\n" + V + "y = [f(v, c=i) for i, v in enumerate(x)]",
        lambda x: x**2 + np.arange(6),
        {"x": X},
    ),
    "function of a function": (
        "def g(a) = a**2\ndef f(a) = g(a) + g(a+1)\n" + V + "y = sum(f(v) for v in x)",
        lambda x: sum(x**2 + (x + 1) ** 2),
        {"x": X},
    ),
    "matmul of a row": (
        "def f(a, W) = tanh(W @ a)\nA : [N, K]\nW : [H, K]\ny = [f(r, W) for r in A]",
        lambda A, W: np.tanh(A @ W.T),
        {"A": A, "W": B},
    ),
    "row at matmul": (
        "def f(a, W) = a @ W @ a\nA : [N, K]\nW : [K, K]\ny = [f(r, W) for r in A]",
        lambda A, W: [r @ W @ r for r in A],
        {"A": A, "W": C},
    ),
    "matmul of matrices": ("T : [L, N, K]\ny = [t @ t.T for t in T]", lambda T: [t @ t.T for t in T], {"T": T}),
    "matrix of the loop": (
        "T : [L, N, K]\nx : [K]\ny = [t @ x for t in T]",
        lambda T, x: [t @ x for t in T],
        {"T": T, "x": X[:4]},
    ),
    "vector at matrix of the loop": (
        "T : [L, N, K]\nx : [N]\ny = [x @ t for t in T]",
        lambda T, x: [x @ t for t in T],
        {"T": T, "x": X[:3]},
    ),
    "dot": (P + "y = [[dot(a, b) for b in B] for a in A]", lambda A, B: A @ B.T, {"A": A, "B": B}),
    "outer": (M + "y = [outer(r, r) for r in A]", lambda A: [np.outer(r, r) for r in A], {"A": A}),
    "softmax": (M + "y = [softmax(r) for r in A]", lambda A: [soft(r) for r in A], {"A": A}),
    "log_softmax": (M + "y = [log_softmax(r*2) for r in A]", lambda A: [np.log(soft(2 * r)) for r in A], {"A": A}),
    "reshape": (
        "T : [L, 3, 4]\ny = [reshape(t, [2, 6]) @ reshape(t, [6, 2]) for t in T]",
        lambda T: [t.reshape(2, 6) @ t.reshape(6, 2) for t in T],
        {"T": T},
    ),
    "flatten": ("T : [L, 3, 4]\ny = [flatten(t)**2 for t in T]", lambda T: [t.ravel() ** 2 for t in T], {"T": T}),
    "transpose": ("T : [L, 3, 4]\ny = [transpose(t)**2 for t in T]", lambda T: [t.T**2 for t in T], {"T": T}),
    "concat": (
        P + "y = [concat([r, B[0], r**2]) for r in A]",
        lambda A, B: [np.concatenate([r, B[0], r**2]) for r in A],
        {"A": A, "B": B},
    ),
    "stack": (M + "y = [stack([r, r**2], axis=1) for r in A]", lambda A: [np.stack([r, r**2], 1) for r in A], {"A": A}),
    "cumsum": (M + "y = [cumsum(r**2) for r in A]", lambda A: np.cumsum(A**2, 1), {"A": A}),
    "cumprod": (M + "y = [cumprod(r + 2) for r in A]", lambda A: np.cumprod(A + 2, 1), {"A": A}),
    "sort": (M + "y = [sort(r)**2 for r in A]", lambda A: np.sort(A, 1) ** 2, {"A": A}),
    "flip": (M + "y = [flip(r)*r for r in A]", lambda A: A[:, ::-1] * A, {"A": A}),
    "roll": (M + "y = [roll(r, 1)*r for r in A]", lambda A: np.roll(A, 1, 1) * A, {"A": A}),
    "pad": (M + "y = [pad(r, [1, 2])**2 for r in A]", lambda A: np.pad(A, [(0, 0), (1, 2)]) ** 2, {"A": A}),
    "repeat": (M + "y = [repeat(r, 2)**2 for r in A]", lambda A: np.repeat(A, 2, 1) ** 2, {"A": A}),
    "tile": (M + "y = [tile(r, 2)**2 for r in A]", lambda A: np.tile(A, (1, 2)) ** 2, {"A": A}),
    "broadcast_to": (
        M + "y = [broadcast_to(r, [2, K])**2 for r in A]",
        lambda A: [np.broadcast_to(r, (2, 4)) ** 2 for r in A],
        {"A": A},
    ),
    "expand_dims and squeeze": (M + "y = [squeeze(expand_dims(r, 0))**2 for r in A]", lambda A: A**2, {"A": A}),
    "einsum": (
        'T : [L, 3, 4]\nC : [4, 4]\ny = [einsum("ij,jk,ik->i", t, C, t) for t in T]',
        lambda T, C: [np.einsum("ij,jk,ik->i", t, C, t) for t in T],
        {"T": T, "C": C},
    ),
    "take": ("A : [N, K]\np : int[M]\ny = [take(r, p)**2 for r in A]", lambda A, p: A[:, p] ** 2, {"A": A, "p": [0, 3, 3]}),
    "take on an axis": (
        "T : [L, 3, 4]\np : int[M]\ny = [take(t, p, axis=1)**2 for t in T]",
        lambda T, p: T[:, :, p] ** 2,
        {"T": T, "p": [0, 3, 3]},
    ),
    "one_hot": (
        "p : int[M]\nx : [4]\ny = [one_hot(q, 4)*x**2 for q in p]",
        lambda p, x: np.eye(4)[p] * x**2,
        {"p": [0, 3, 3], "x": X[:4]},
    ),
    "axis reductions": (
        "T : [L, 3, 4]\ny = [sum(t**2, axis=0)*max(t, axis=0)/norm(t, axis=0) for t in T]",
        lambda T: (T**2).sum(1) * T.max(1) / np.sqrt((T**2).sum(1)),
        {"T": T},
    ),
    "axis reductions with keepdims": (
        "T : [L, 3, 4]\ny = [t - mean(t, axis=-1, keepdims=true)**2 for t in T]",
        lambda T: T - T.mean(-1, keepdims=True) ** 2,
        {"T": T},
    ),
    "var and std and logsumexp": (
        "T : [L, 3, 4]\ny = [var(t, axis=1) + std(t) + logsumexp(t, axis=1) for t in T]",
        lambda T: [t.var(1) + t.std() + np.log(np.exp(t).sum(1)) for t in T],
        {"T": T},
    ),
    "prod on an axis": ("T : [L, 3, 4]\ny = [prod(t, axis=0) for t in T]", lambda T: T.prod(1), {"T": T}),
    "argmax on an axis": (
        "T : [L, 3, 4]\ny = [t[0, argmax(t, axis=1)] for t in T]",
        lambda T: [t[0, t.argmax(1)] for t in T],
        {"T": T},
    ),
    "conv2d": (
        "T : [L, 3, 4]\nw : [1, 1, 2, 2]\ny = [conv2d(t[None, None], w, 0)[0, 0]**2 for t in T]",
        lambda T, w: [conv(t, w[0, 0]) ** 2 for t in T],
        {"T": T, "w": C[None, None, :2, :2]},
    ),
    "conv2d with a filter of the loop": (
        "t : [3, 4]\nw : [L, 2, 2]\ny = [conv2d(t[None, None], v[None, None], [1])[0, 0]**2 for v in w]",
        lambda t, w: [(conv(t, v) + 1) ** 2 for v in w],
        {"t": A, "w": T[:, :2, :2]},
    ),
    "max_pool2d": (
        "T : [L, 2, 4]\ny = [max_pool2d(t[None, None], 2)[0, 0]**2 for t in T]",
        lambda T: [[[np.max(t[:, :2]) ** 2, np.max(t[:, 2:]) ** 2]] for t in T],
        {"T": T[:, :2]},
    ),
    "cross_entropy": (
        "T : [L, 3, 4]\np : int[3]\ny = [cross_entropy(t, p) for t in T]",
        lambda T, p: [np.mean([lse(r) - r[k] for r, k in zip(t, p, strict=True)]) for t in T],
        {"T": T, "p": [0, 3, 1]},
    ),
    "layer_norm": (
        "A : [N, K]\ng : [K]\nb : [K]\ny = [layer_norm(r, g, b) for r in A]",
        lambda A, g, b: [(r - r.mean()) / np.sqrt(r.var() + 1e-5) * g + b for r in A],
        {"A": A, "g": X[:4], "b": Z[:4]},
    ),
    "densities": (
        "x : [N]\nm : [N]\ny = [normal_lpdf(a, b, 1.5) for a, b in zip(x, m)]",
        lambda x, m: -0.5 * ((x - m) / 1.5) ** 2 - math.log(1.5) - 0.5 * math.log(2 * math.pi),
        {"x": X, "m": Z},
    ),
    "segment_sum": (
        "A : [N, K]\np : int[K]\ny = [segment_sum(r**2, p, 2) for r in A]",
        lambda A, p: [np.bincount(p, r**2, 2) for r in A],
        {"A": A, "p": [0, 1, 1, 0]},
    ),
    "interp": (
        "x : [N]\nu : [K]\nv : [K]\ny = [interp(a, u, v) for a in x]",
        lambda x, u, v: np.interp(x, u, v),
        {"x": np.array([0.33, 1.7, 2.2]), "u": np.array([0.0, 1.0, 2.0, 3.0]), "v": Z[:4]},
    ),
    "interp with a table of the loop": (
        "x : [L]\nu : [L, K]\nv : [L, K]\ny = [interp(a, b, c) for a, b, c in zip(x, u, v)]",
        lambda x, u, v: [np.interp(*q) for q in zip(x, u, v, strict=True)],
        {"x": np.array([0.33, 1.7]), "u": np.array([[0.0, 1.0, 2.0, 3.0], [0.5, 1.5, 2.5, 2.7]]), "v": A[:2]},
    ),
    "windows of images": (
        "T : [L, N, K]\ny = [sum(t[i:i+2, j:j+2]**2) for t in T for i in range(N-1) for j in range(K-1)]",
        lambda T: [np.sum(t[i : i + 2, j : j + 2] ** 2) for t in T for i in range(2) for j in range(3)],
        {"T": T},
    ),
    "where and clip": (
        M + "y = [where(r > 0, clip(r, -1, 1)**2, r[0]) for r in A]",
        lambda A: [np.where(r > 0, np.clip(r, -1, 1) ** 2, r[0]) for r in A],
        {"A": A},
    ),
    "two values": (
        "def both(a, b):\n    p = a*b\n    return p, a + b**2\n" + W + "E, J = [both(x[i], z[i]) for i in range(N)]\ny = E*J",
        lambda x, z: x * z * (x + z**2),
        {"x": X, "z": Z},
    ),
    "two values of different shapes": (
        "def both(r) = softmax(r), sum(r**2)\n".replace("= softmax(r), sum(r**2)", ":\n    return softmax(r), sum(r**2)")
        + M
        + "E, J = [both(r) for r in A]\ny = E*J[:, None]",
        lambda A: [soft(r) * sum(r**2) for r in A],
        {"A": A},
    ),
    "a function that takes the index": (
        V + "def f(i) = x[i]**2 + i\ny = [f(i) for i in range(N)]",
        lambda x: x**2 + np.arange(6),
        {"x": X},
    ),
    "a function with a comprehension": (
        "def f(v) = sum(sin(u*v[0]) for u in v)\n" + M + "y = [f(r) for r in A]",
        lambda A: [sum(np.sin(r * r[0])) for r in A],
        {"A": A},
    ),
    "a function with a size of its own": (
        "def f(v, n) = sum(v[i]**i for i in range(n))\n" + M + "y = [f(abs(r) + 1, K) for r in A]",
        lambda A: [sum((abs(r[i]) + 1) ** i for i in range(4)) for r in A],
        {"A": A},
    ),
}
GROUPS = {
    "range": RANGES, "iteration": ITERATION, "index": INDEXING, "vectors": VECTORS, "reduction": REDUCTIONS, "if": GUARDS,
    "function": FUNCTIONS,
}  # fmt: skip
CASES = [(f"{group}: {name}", *case) for group, cases in GROUPS.items() for name, case in cases.items()]


@pytest.mark.parametrize(("text", "reference", "given"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_against_python(text: str, reference: Callable[..., Any], given: dict[str, Any]) -> None:
    agrees(text, reference, given)


# ------------------------------------------------------------------ exclusion, sizes, source
@pytest.mark.parametrize("reduction", ["sum", "mean", "prod", "max", "min", "logsumexp", "norm"])
@pytest.mark.parametrize("element", ["log(v)", "1/v", "sqrt(v)", "v**-1.5", "log(log(v + 1))", "exp(1/v)"])
def test_excluded_terms_contribute_nothing(reduction: str, element: str) -> None:
    """Terms that are inf or nan, or whose slope is: neither value nor gradient of what counts knows of them."""
    kept = np.array([0.7, 1.3])
    x = np.array([-1.0, 0.7, 0.0, 1.3, -np.inf, np.nan])
    text = f"x : [N]\ny = {reduction}({element} for v in x if v > 0)"
    value, grads = gl.loads(text).value_and_grad("y")(x=x)
    wanted, slopes = gl.loads(f"x : [N]\ny = {reduction}({element} for v in x)").value_and_grad("y")(x=kept)
    assert np.isclose(value, wanted, rtol=1e-14)
    assert np.allclose(grads["x"], [0, slopes["x"][0], 0, slopes["x"][1], 0, 0], rtol=1e-13, atol=0)
    pushed = gl.loads(text).jvp("y", wrt="x")(np.ones(6), x=x)[1]
    assert np.isclose(pushed, sum(slopes["x"]), rtol=1e-13)
    product = gl.loads(text).hvp("y", wrt="x")(np.ones(6), x=x)[1]
    assert np.all(np.isfinite(product)) and not np.any(product[[0, 2, 4, 5]])


@pytest.mark.parametrize(
    ("text", "count", "wanted"),
    [
        ("y = sum(v for v in x)", 0, 0.0),
        ("y = prod(v for v in x)", 0, 1.0),
        ("y = [v**2 for v in x]", 0, []),
        ("y = sum(x[i]*x[i+1] for i in range(N-1))", 1, 0.0),
        ("y = [x[i+1] - x[i] for i in range(N-1)]", 1, []),
        ("y = sum(x[i]*x[j] for i in range(N) for j in range(i))", 0, 0.0),
        ("y = sum(x[i]*x[j] for i in range(N) for j in range(i))", 1, 0.0),
        ("y = [sum(x[j] for j in range(i)) for i in range(N)]", 1, [0.0]),
        ("y = [[a*b for a in x] for b in x]", 0, np.zeros((0, 0))),
        ("y = x[0] + 0 if all(v > 0 for v in x[1:]) else 7", 1, 0.5),
    ],
)
def test_empty_ranges(text: str, count: int, wanted: Any) -> None:
    x = np.full(count, 0.5)
    model = gl.loads("x : [N]\n" + text)
    assert np.array_equal(model(x=x), wanted)
    pulled = model.vjp("y", wrt="x")(np.ones(np.shape(wanted)), x=x)[1]
    assert np.shape(pulled) == (count,) and np.all(np.isfinite(pulled))


def test_extremum_of_nothing_is_an_error_of_the_call() -> None:
    with pytest.raises(gl.InputError):
        gl.loads("x : [N]\ny = max(x[i] for i in range(N-1))")(x=[1.0])


@pytest.mark.parametrize("name", ["matrix product", "quadratic form", "trilinear", "nested", "triangle with mean"])
def test_no_python_loop_is_generated(name: str) -> None:
    text = next(c[1] for c in CASES if c[0].endswith(f": {name}"))
    for source in (gl.loads(text).function("y").source, gl.loads(text).vjp("y").source):
        body = source[source.rindex("\ndef ") :]
        assert "for " not in body and "while " not in body


def taken(text: str, **given: Any) -> None:
    with pytest.raises(gl.InputError):
        gl.loads(text)(**given)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("y = sum(x[i+1] for i in range(N) if i < N)", {}),
        ("y = [x[i+1] if i < N else 0 for i in range(N)]", {}),
        ("y = [sum(x[j+1] for j in range(i+1)) for i in range(N)]", {}),
        ("input k : int\ny = x[k] if k > 0 else 0", {"k": 9}),
    ],
)
def test_reads_that_are_taken_are_checked(text: str, given: dict[str, Any]) -> None:
    taken("x : [N]\n" + text, x=POS, **given)


def test_a_look_back_that_may_be_taken_at_the_start_needs_a_first_entry() -> None:
    with pytest.raises(gl.SourceError):
        gl.loads("x : [N]\ny[t] = x[t] + (y[t-1] if x[t] > 0 else 0) for t in range(N)")


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_ranges_that_run_backwards_may_have_no_steps(backend: str, size: int) -> None:
    """Their first index is then -1, which is no entry."""
    if backend == "native":
        pytest.importorskip("llvmlite")
    v = np.arange(1.0, size + 1)
    texts = {
        "y = sum(v[k] for k in range(M-2, -1, -1))": v[:-1].sum(),
        "h[M-1] = v[M-1]\nh[k] = h[k+1] + v[k] for k in range(M-2, -1, -1)\ny = h[0]": v.sum(),
    }
    for text, wanted in texts.items():
        model = gl.loads("v : [M]\n" + text)
        assert model.function(backend=backend)(v=v) == wanted
        value, slopes = model.value_and_grad(backend=backend)(v=v)
        assert value == wanted
        assert slopes["v"].shape == v.shape
    over = gl.loads("v : [M]\nx : [K]\ny = sum(x[k] for k in range(M-1, -1, -1)) + sum(v)").value_and_grad(backend=backend)
    for n in range(3):
        value, slopes = over(v=np.zeros(n), x=np.array([1.0, 2.0, 4.0]))
        assert value == [0.0, 1.0, 3.0][n]
        assert slopes["x"].tolist() == [float(k < n) for k in range(3)]
