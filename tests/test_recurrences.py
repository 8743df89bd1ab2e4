"""Indexed definitions and recurrences against the same loops in Python, and what must not grow with their length."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loopcheck import agrees

import gradlang as gl

RNG = np.random.default_rng(11)
X = np.array([0.7, -1.2, 1.9, 0.4, -0.6])
Z = np.array([1.3, 0.2, -0.8, 0.5, 1.1])
A = RNG.uniform(-1, 1, (5, 3))
W, U = RNG.uniform(-0.7, 0.7, (4, 4)), RNG.uniform(-0.7, 0.7, (4, 3))
H = RNG.uniform(-1, 1, 4)
R = RNG.uniform(-1, 1, (5, 2, 2))
V = "x : [N]\n"
Case = tuple[str, Callable[..., Any], dict[str, Any]]


def rows(first: Any, count: int, step: Callable[[list[Any], int], Any]) -> Any:
    """A sequence from its first entries on; `step(known, t)` makes entry t."""
    out = [np.asarray(v, float) for v in first]
    for t in range(len(out), count):
        out.append(np.asarray(step(out, t), float))
    return np.array(out)


def sig(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def lstm(x: Any, w: Any, a: Any) -> Any:
    h = c = 0.1
    for v in x:
        c = sig(w * h + v) * c + sig(a * v) * np.tanh(h + v)
        h = sig(w * v) * np.tanh(c)
    return np.array([h, c])


def grid(first: Any, c: Any, steps: int) -> Any:
    u = np.zeros((steps, len(first)))
    u[0] = first
    for t in range(1, steps):
        for j in range(1, len(first) - 1):
            u[t, j] = u[t - 1, j] + c * (u[t - 1, j - 1] - 2 * u[t - 1, j] + u[t - 1, j + 1]) ** 2
    return u


def edit(a: Any, b: Any, q: Any) -> Any:
    d = np.zeros((len(a) + 1, len(b) + 1))
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if not i or not j:
                d[i, j] = q * (i + 2 * j)
            else:
                d[i, j] = np.logaddexp(d[i - 1, j] * q, d[i, j - 1] + a[i - 1] * b[j - 1]) + 0.1 * d[i - 1, j - 1]
    return d


def tree(p: Any, R: Any) -> Any:
    out = [R[0]]
    for i in range(1, len(p)):
        out.append(out[p[i]] @ R[i])
    return np.array(out)


def history(w: Any) -> Any:
    y = [1.0]
    for t in range(1, len(w) + 1):
        y.append(sum(w[s] * y[t - 1 - s] ** 2 for s in range(t)))
    return np.array(y)


def volterra(x: Any) -> Any:
    y = [x[0]]
    for t in range(1, len(x)):
        y.append(x[t] + sum(np.sin(y[s]) / (t - s) for s in range(t)))
    return np.array(y)


def kalman(z: Any, q: Any, r: Any) -> Any:
    m, p, out = 0.0, 1.0, []
    for v in z:
        p = p + q
        k = p / (p + r)
        m, p = m + k * (v - m), (1 - k) * p
        out.append(m)
    return np.array(out)


def inner(A: Any, k: Any) -> Any:
    s = np.zeros((len(A), len(A[0]) + 1))
    for i in range(len(A)):
        for t in range(1, len(A[0]) + 1):
            s[i, t] = np.tanh(k * s[i, t - 1] + A[i, t - 1])
    return s


def guard_start(x: Any) -> Any:
    y: list[Any] = []
    for t in range(len(x)):
        y.append(x[t] + (np.sin(y[t - 1]) if t > 0 else 0.5) * (y[t - 2] if t > 1 else 1))
    return np.array(y)


DEFINED: dict[str, Case] = {
    "no recurrence": (V + "y[i] = x[i]**2 for i in range(N)", lambda x: x**2, {"x": X}),
    "in a block": (V + "for i in range(N):\n    y[i] = x[i]**2", lambda x: x**2, {"x": X}),
    "with a local name": (
        V + "for i in range(N):\n    s = x[i]*i\n    y[i] = s**2",
        lambda x: (x * np.arange(5)) ** 2,
        {"x": X},
    ),
    "single entries": ("input a, b\ny[0] = a\ny[1] = b**2\ny[2] = a*b", lambda a, b: [a, b * b, a * b], {"a": 0.7, "b": 1.3}),
    "entries of one another": ("input a\ny[2] = y[1]*a\ny[0] = a\ny[1] = y[0]**2", lambda a: [a, a**2, a**3], {"a": 0.7}),
    "two indices": (
        V + "y[i, j] = x[i]*x[j]**2 for i in range(N) for j in range(N)",
        lambda x: x[:, None] * x**2,
        {"x": X},
    ),
    "two indices in the other order": (
        V + "y[j, i] = x[i]*x[j]**2 for i in range(N) for j in range(N)",
        lambda x: x[:, None] ** 2 * x,
        {"x": X},
    ),
    "nested blocks": (
        V + "for i in range(N):\n    a = x[i]**2\n    for j in range(3):\n        y[i, j] = a*j + x[j]",
        lambda x: np.array([[x[i] ** 2 * j + x[j] for j in range(3)] for i in range(5)]),
        {"x": X},
    ),
    "boundary rows": (
        "input a\ny[i, j] = a*i*j for i in range(1, 3) for j in range(1, 4)\ny[0, j] = a**2 for j in range(4)\ny[i, 0] = i for i in range(1, 3)",
        lambda a: [[a**2] * 4, [1, a, 2 * a, 3 * a], [2, 2 * a, 4 * a, 6 * a]],
        {"a": 0.7},
    ),
    "reversed index": (V + "y[N-1-i] = x[i]**2 for i in range(N)", lambda x: x[::-1] ** 2, {"x": X}),
    "shifted index": (V + "y[i+1] = x[i]**2 for i in range(N)\ny[0] = x[0]", lambda x: np.concatenate([x[:1], x**2]), {"x": X}),
    "rows are vectors": (
        "A : [N, K]\ny[i] = softmax(A[i]) for i in range(N)",
        lambda A: [np.exp(r) / np.exp(r).sum() for r in A],
        {"A": A},
    ),
    "enumerated": (V + "y[i] = v**2*i for i, v in enumerate(x)", lambda x: x**2 * np.arange(5), {"x": X}),
    "started at one": (
        V + "s[i] = x[i]**2 for i in range(1, N)\ny = s[1] + s[N-1]*2 + sum(s)",
        lambda x: x[1] ** 2 + 2 * x[4] ** 2 + sum(x[1:] ** 2),
        {"x": X},
    ),
    "tuple targets": (
        "def f(a):\n    return a**2, sin(a)\n" + V + "for i in range(N):\n    p[i], q[i] = f(x[i])\ny = p*q",
        lambda x: x**2 * np.sin(x),
        {"x": X},
    ),
    "tuple targets on a line": (
        "def f(a):\n    return a**2, sin(a)\n" + V + "p[i], q[i] = f(x[i]) for i in range(N)\ny = p*q",
        lambda x: x**2 * np.sin(x),
        {"x": X},
    ),
    "gathered": ("x : [N]\np : int[M]\ny[i] = x[p[i]]**2 for i in range(M)", lambda x, p: x[p] ** 2, {"x": X, "p": [4, 0, 0]}),
    "a typed loop of a const": (
        "const n = 4\ninput a\ny[i] = a**i for i in range(n)",
        lambda a: [a**i for i in range(4)],
        {"a": 0.7},
    ),
    "sum of a triangle": (
        V + "y[i] = sum(x[j]**2*(i - j) for j in range(i)) for i in range(N)",
        lambda x: [sum(x[j] ** 2 * (i - j) for j in range(i)) for i in range(5)],
        {"x": X},
    ),
    "choice in a definition": (
        V + "y[i] = x[i]**2 if i > 1 else -x[i] for i in range(N)",
        lambda x: np.where(np.arange(5) > 1, x**2, -x),
        {"x": X},
    ),
}
SCANS: dict[str, Case] = {
    "first rows in a loop, steps of several names": (
        "input a\nb[j] = a*j for j in range(2)\nfor s in range(3):\n    c[s] = b[s]*2\n    b[s+2] = c[s]*a + b[s+1]\ny = b[4]*c[2]",
        lambda a: (lambda b: (b[3] + 2 * a * b[2]) * 2 * b[2])([0, a, a, a + 2 * a * a]),
        {"a": 0.7},
    ),
    "first rows in a loop, several names backward": (
        "input a\nfor s in range(2, -1, -1):\n    c[s] = b[s+2]*2\n    b[s] = c[s]*a + b[s+1]\nb[j] = a*j for j in range(3, 5)\ny = b[0]",
        lambda a: (lambda b: [b.append(2 * a * b[-2] + b[-1]) for _ in range(3)] and b[-1])([4 * a, 3 * a]),
        {"a": 0.7},
    ),
    "running sum": (V + "y[0] = x[0]\ny[t] = y[t-1] + x[t] for t in range(1, N)", lambda x: np.cumsum(x), {"x": X}),
    "nonlinear": (
        V + "y[0] = 0.5\ny[t] = sin(y[t-1])*x[t] for t in range(1, N)",
        lambda x: rows([0.5], 5, lambda y, t: np.sin(y[t - 1]) * x[t]),
        {"x": X},
    ),
    "rnn": (
        "x : [T, D]\nW : [H, H]\nU : [H, D]\nh0 : [H]\ny[0] = h0\ny[t] = tanh(W @ y[t-1] + U @ x[t-1]) for t in range(1, T+1)",
        lambda x, W, U, h0: rows([h0], 6, lambda y, t: np.tanh(W @ y[t - 1] + U @ x[t - 1])),
        {"x": A, "W": W, "U": U, "h0": H},
    ),
    "rnn of a batch": (
        "x : [T, B, D]\nW : [H, H]\nU : [H, D]\ns[0] = zeros([B, H])\ns[t] = tanh(s[t-1] @ W + x[t-1] @ U.T) for t in range(1, T+1)\ny = s[T]",
        lambda x, W, U: rows([np.zeros((2, 4))], 4, lambda y, t: np.tanh(y[t - 1] @ W + x[t - 1] @ U.T))[-1],
        {"x": RNG.uniform(-1, 1, (3, 2, 3)), "W": W, "U": U},
    ),
    "zeros of a known shape": (
        "A : [N, K]\ny[0] = zeros(K)\ny[t] = sin(y[t-1]) + A[t-1] for t in range(1, N+1)",
        lambda A: rows([np.zeros(3)], 6, lambda y, t: np.sin(y[t - 1]) + A[t - 1]),
        {"A": A},
    ),
    "several steps back": (
        "input a, c\ny[0] = 0.1\ny[1] = a\ny[i] = y[i-1]*y[i-2] + c*y[i-1] for i in range(2, 8)",
        lambda a, c: rows([0.1, a], 8, lambda y, t: y[t - 1] * y[t - 2] + c * y[t - 1]),
        {"a": 0.5, "c": 0.3},
    ),
    "three steps back only": (
        V + "y[0] = 1\ny[1] = x[0]\ny[2] = x[1]\ny[t] = y[t-3]*x[t] + 1 for t in range(3, N)",
        lambda x: rows([1, x[0], x[1]], 5, lambda y, t: y[t - 3] * x[t] + 1),
        {"x": X},
    ),
    "first rows from a loop": (
        V + "y[t] = x[t]**2 for t in range(3)\ny[t] = sin(y[t-2]) + y[t-3] for t in range(3, N+2)",
        lambda x: rows(list(x[:3] ** 2), 7, lambda y, t: np.sin(y[t - 2]) + y[t - 3]),
        {"x": X},
    ),
    "a window of the last entries": (
        V + "y[0] = 0.3\ny[1] = 0.4\ny[t] = sum(y[t-2:t]**2)*x[t] for t in range(2, N)",
        lambda x: rows([0.3, 0.4], 5, lambda y, t: sum(v**2 for v in y[t - 2 : t]) * x[t]),
        {"x": X},
    ),
    "backward": (
        "x : [n]\ninput a\ny[n] = 1.0\ny[k] = sin(a*y[k+1]) + x[k] for k in range(n-1, -1, -1)",
        lambda x, a: rows([1.0], 6, lambda y, t: np.sin(a * y[t - 1]) + x[5 - t])[::-1],
        {"x": X, "a": 0.5},
    ),
    "backward two steps": (
        "x : [n]\ny[n] = 1\ny[n+1] = 2\ny[k] = sin(y[k+1])*y[k+2] + x[k] for k in range(n-1, -1, -1)",
        lambda x: rows([2, 1], 7, lambda y, t: np.sin(y[t - 1]) * y[t - 2] + x[6 - t])[::-1],
        {"x": X},
    ),
    "forward and backward": (
        V + "f[0] = x[0]\nf[t] = f[t-1]*0.5 + x[t] for t in range(1, N)\nb[N-1] = f[N-1]\n"
        "b[t] = sin(b[t+1]) + f[t] for t in range(N-2, -1, -1)\ny = f*b",
        lambda x: (
            (f := rows([x[0]], 5, lambda y, t: y[t - 1] * 0.5 + x[t]))
            * rows([f[4]], 5, lambda y, t: np.sin(y[t - 1]) + f[4 - t])[::-1]
        ),
        {"x": X},
    ),
    "coupled on lines": (
        V
        + "a[0] = 1\nb[0] = 0.5\na[t] = sin(b[t-1]) + x[t] for t in range(1, N)\nb[t] = a[t]*a[t-1] for t in range(1, N)\ny = a + b",
        lambda x: sum((rows([[1, 0.5]], 5, lambda y, t: [(v := np.sin(y[t - 1][1]) + x[t]), v * y[t - 1][0]])).T),
        {"x": X},
    ),
    "coupled against the order": (
        V + "a[0] = 1\nb[0] = 0.5\nfor t in range(1, N):\n    b[t] = a[t]*a[t-1]\n    a[t] = sin(b[t-1]) + x[t]\ny = a + b",
        lambda x: sum((rows([[1, 0.5]], 5, lambda y, t: [(v := np.sin(y[t - 1][1]) + x[t]), v * y[t - 1][0]])).T),
        {"x": X},
    ),
    "lstm": (
        "def cell(c, h, v):\n    n = sigmoid(w*h + v)*c + sigmoid(a*v)*tanh(h + v)\n    return n, sigmoid(w*v)*tanh(n)\n"
        + V
        + "input w, a\nc[0] = 0.1\nh[0] = 0.1\nfor t in range(1, N+1):\n    c[t], h[t] = cell(c[t-1], h[t-1], x[t-1])\ny = [h[N], c[N]]",
        lstm,
        {"x": X, "w": 0.8, "a": -0.4},
    ),
    "filter with local names": (
        "z : [T]\ninput q, r\nm[0] = 0\np[0] = 1\nfor t in range(1, T+1):\n    g = p[t-1] + q\n    k = g/(g + r)\n"
        "    m[t] = m[t-1] + k*(z[t-1] - m[t-1])\n    p[t] = (1 - k)*g\ny = m[1:]",
        kalman,
        {"z": X, "q": 0.3, "r": 0.7},
    ),
    "three sequences": (
        "input a, b\nc[0] = 0.5\ns[0] = a\nfor t in range(1, 6):\n    z = s[t-1]*b\n    s[t] = z + sin(c[t-1])\n    c[t] = s[t]*0.1*a\ny = s[5]*c[4]",
        lambda a, b: (
            (s := rows([[a, 0.5]], 6, lambda y, t: [(v := y[t - 1][0] * b + np.sin(y[t - 1][1])), v * 0.1 * a]))[5][0] * s[4][1]
        ),
        {"a": 0.7, "b": 1.3},
    ),
    "two indices": (
        "u0 : [M]\ninput c\nconst n = 4\ny[0, j] = u0[j] for j in range(M)\ny[t, 0] = 0 for t in range(1, n)\n"
        "y[t, M-1] = 0 for t in range(1, n)\n"
        "y[t, j] = y[t-1, j] + c*(y[t-1, j-1] - 2*y[t-1, j] + y[t-1, j+1])**2 for t in range(1, n) for j in range(1, M-1)",
        lambda u0, c: grid(u0, c, 4),
        {"u0": X * [0, 1, 1, 1, 0] + [0.1, 0, 0, 0, 0.2], "c": 0.1},
    ),
    "two recurrent indices": (
        "a : [N]\nb : [M]\ninput q\ny[i, 0] = i*q for i in range(N+1)\ny[0, j] = 2*q*j for j in range(1, M+1)\n"
        "y[i, j] = logaddexp(y[i-1, j]*q, y[i, j-1] + a[i-1]*b[j-1]) + y[i-1, j-1]*0.1 for i in range(1, N+1) for j in range(1, M+1)",
        edit,
        {"a": X[:3], "b": Z[:4], "q": 0.3},
    ),
    "parents": (
        "p : int[N]\nR : [N, 2, 2]\ny[0] = R[0]\ny[i] = y[p[i]] @ R[i] for i in range(1, N)",
        tree,
        {"p": [0, 0, 0, 1, 3], "R": R},
    ),
    "history": ("w : [N]\ny[0] = 1\ny[t] = sum(w[s]*y[t-1-s]**2 for s in range(t)) for t in range(1, N+1)", history, {"w": X}),
    "history by its own index": (
        V + "y[0] = x[0]\ny[t] = x[t] + sum(sin(y[s])/(t - s) for s in range(t)) for t in range(1, N)",
        volterra,
        {"x": X},
    ),
    "history without a first row": (
        V + "y[t] = x[t] + sum(sin(y[s])/(t - s) for s in range(t)) for t in range(N)",
        volterra,
        {"x": X},
    ),
    "matrix states": (
        "R : [N, 2, 2]\ny[0] = eye(2)\ny[t] = tanh(y[t-1] @ R[t-1]) for t in range(1, N+1)",
        lambda R: rows([np.eye(2)], 6, lambda y, t: np.tanh(y[t - 1] @ R[t - 1])),
        {"R": R},
    ),
    "from index one": (
        V + "s[1] = x[0]\ns[t] = sin(s[t-1])*x[t-1] + 1 for t in range(2, N+1)\ny = s*s[N] + s[1]",
        lambda x: (s := rows([x[0]], 5, lambda y, t: np.sin(y[t - 1]) * x[t] + 1)) * s[-1] + s[0],
        {"x": X},
    ),
    "guarded start": (
        V + "y[t] = x[t] + (sin(y[t-1]) if t > 0 else 0.5)*(y[t-2] if t > 1 else 1) for t in range(N)",
        guard_start,
        {"x": X},
    ),
    "a row after the loop": (
        V + "y[0] = 1\ny[t] = sin(y[t-1]) + x[t] for t in range(1, N)\ny[N] = y[N-1]**2",
        lambda x: np.append(s := rows([1], 5, lambda y, t: np.sin(y[t - 1]) + x[t]), s[-1] ** 2),
        {"x": X},
    ),
    "two loops one after the other": (
        V + "y[0] = 1\ny[t] = sin(y[t-1]) + x[t] for t in range(1, 3)\ny[t] = y[t-1]*y[t-2] + x[t] for t in range(3, 5)",
        lambda x: rows([1], 5, lambda y, t: np.sin(y[t - 1]) + x[t] if t < 3 else y[t - 1] * y[t - 2] + x[t]),
        {"x": X},
    ),
    "one name as two halves": (
        "x : [5]\ny[2] = x[2]\ny[t] = sin(y[t-1]) + x[t] for t in range(3, 5)\ny[t] = cos(y[t+1])*x[t] for t in range(1, -1, -1)",
        lambda x: np.concatenate(
            [
                rows([x[2]], 3, lambda y, t: np.cos(y[t - 1]) * x[2 - t])[:0:-1],
                rows([x[2]], 3, lambda y, t: np.sin(y[t - 1]) + x[2 + t]),
            ]
        ),
        {"x": X},
    ),
    "in a function": (
        "def f(v, k):\n    s[0] = v\n    for t in range(1, 4):\n        s[t] = sin(s[t-1]*k)\n    return s[3]\ninput k, a\ny = f(a, k)*f(k, a)",
        lambda k, a: rows([a], 4, lambda y, t: np.sin(y[t - 1] * k))[3] * rows([k], 4, lambda y, t: np.sin(y[t - 1] * a))[3],
        {"k": 0.9, "a": 1.3},
    ),
    "a function with a size": (
        "def total(v, n):\n    s[0] = 0\n    s[t] = s[t-1]*0.5 + v[t-1] for t in range(1, n+1)\n    return s[n]\n"
        + V
        + "y = total(x**2, N)",
        lambda x: rows([0], 6, lambda y, t: y[t - 1] * 0.5 + x[t - 1] ** 2)[-1],
        {"x": X},
    ),
    "in a comprehension": (
        "def f(v):\n    s[0] = v\n    for t in range(1, 4):\n        s[t] = sin(s[t-1]*k)\n    return s[3]\n"
        + V
        + "input k\ny = [f(v) for v in x]",
        lambda x, k: [rows([v], 4, lambda y, t: np.sin(y[t - 1] * k))[3] for v in x],
        {"x": X, "k": 0.9},
    ),
    "of rows in a comprehension": (
        "def f(v):\n    s[0] = 0\n    s[t] = tanh(s[t-1] + v[t-1]) for t in range(1, K+1)\n    return s\nA : [N, K]\ny = [f(r)[1:] for r in A]",
        lambda A: [rows([0], 4, lambda y, t, r=r: np.tanh(y[t - 1] + r[t - 1]))[1:] for r in A],
        {"A": A},
    ),
    "of vectors in a comprehension": (
        "def f(v):\n    s[0] = v\n    s[t] = tanh(C @ s[t-1]) for t in range(1, 4)\n    return s[3]\nC : [K, K]\nA : [N, K]\ny = [f(r) for r in A]",
        lambda A, C: [rows([r], 4, lambda y, t: np.tanh(C @ y[t - 1]))[3] for r in A],
        {"A": A, "C": W[:3, :3]},
    ),
    "in each row": (
        "A : [N, K]\ninput k\ny[i, 0] = 0 for i in range(N)\ny[i, t] = tanh(k*y[i, t-1] + A[i, t-1]) for i in range(N) for t in range(1, K+1)",
        inner,
        {"A": A, "k": 0.8},
    ),
    "a recurrence in each step": (
        "def g(v):\n    s[0] = v\n    s[j] = sin(s[j-1]) + v for j in range(1, 3)\n    return s[2]\n"
        + V
        + "y[0] = 0.3\ny[t] = g(y[t-1])*x[t] for t in range(1, N)",
        lambda x: rows([0.3], 5, lambda y, t: rows([y[t - 1]], 3, lambda s, j: np.sin(s[j - 1]) + y[t - 1])[2] * x[t]),
        {"x": X},
    ),
    "a comprehension in each step": (
        V + "y[0] = 0.3\ny[t] = sum(sin(y[t-1]*v) for v in x)/t for t in range(1, N)",
        lambda x: rows([0.3], 5, lambda y, t: sum(np.sin(y[t - 1] * x)) / t),
        {"x": X},
    ),
    "comprehension over the state": (
        "A : [N, K]\ny[0] = A[0]\ny[t] = [sin(v)*A[t, j] + t for j, v in enumerate(y[t-1])] for t in range(1, N)",
        lambda A: rows([A[0]], 5, lambda y, t: np.sin(y[t - 1]) * A[t] + t),
        {"A": A},
    ),
    "guards inside a step": (
        V + "y[0] = 1\ny[t] = y[t-1] + sum(log(v) for v in x if v > 0)*x[t] if x[t] > 0 else y[t-1]**2 for t in range(1, N)",
        lambda x: rows(
            [1], 5, lambda y, t: y[t - 1] + sum(np.log(v) for v in x if v > 0) * x[t] if x[t] > 0 else y[t - 1] ** 2
        ),
        {"x": X},
    ),
    "gathered inside a step": (
        "x : [N]\np : int[N]\ny[0] = 1\ny[t] = sin(y[t-1])*x[p[t]] for t in range(1, N)",
        lambda x, p: rows([1], 5, lambda y, t: np.sin(y[t - 1]) * x[p[t]]),
        {"x": X, "p": [0, 4, 4, 2, 1]},
    ),
    "unrelated lines in a recurrence": (
        V + "input a\ny[0] = a\ny[t] = y[t-1]*exp(-a*a) + sum(x) for t in range(1, 4)",
        lambda x, a: rows([a], 4, lambda y, t: y[t - 1] * np.exp(-a * a) + sum(x)),
        {"x": X, "a": 0.7},
    ),
    "state that does not reach": (
        V + "y[0] = 1\ny[t] = floor(y[t-1]) + x[t] for t in range(1, N)",
        lambda x: rows([1], 5, lambda y, t: np.floor(y[t - 1]) + x[t]),
        {"x": X},
    ),
    "over the entries of an array": (
        V + "y[0] = 1\ny[t+1] = sin(y[t]) + v for t, v in enumerate(x)",
        lambda x: rows([1], 6, lambda y, t: np.sin(y[t - 1]) + x[t - 1]),
        {"x": X},
    ),
    "a chain of recurrences": (
        V
        + "a[0] = x[0]\na[t] = sin(a[t-1]) + x[t] for t in range(1, N)\nb[0] = 0\nb[t] = b[t-1]*0.5 + a[t] for t in range(1, N)\ny = b",
        lambda x: (lambda a: rows([0], 5, lambda y, t: y[t - 1] * 0.5 + a[t]))(
            rows([x[0]], 5, lambda y, t: np.sin(y[t - 1]) + x[t])
        ),
        {"x": X},
    ),
    "newton": (
        "input a\ns[0] = a\ns[k] = 0.5*(s[k-1] + a/s[k-1]) for k in range(1, 8)\ny = s[7]",
        lambda a: np.sqrt(a),
        {"a": 2.7},
    ),
}
CASES = [(n, *c) for n, c in [*DEFINED.items(), *SCANS.items()]]


@pytest.mark.parametrize(("text", "reference", "given"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_against_python(text: str, reference: Callable[..., Any], given: dict[str, Any]) -> None:
    agrees(text, reference, given)


# ------------------------------------------------------------------ where indices start, and what is outside
FROM_ONE = "x : [N]\ns[i] = x[i]**2 for i in range(1, N)\n"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("y = s[1]", 4.0),
        ("y = s[N-1]", 16.0),
        ("y = s[-1]", 16.0),
        ("y = s[2:]", [9.0, 16.0]),
        ("y = s[1:3]", [4.0, 9.0]),
        ("y = s[[1, 2]]", [4.0, 9.0]),
        ("y = s[p]", [4.0, 16.0]),
        ("y = [s[q]*s[1] for q in p]", [16.0, 64.0]),
        ("y = [v for v in s]", [4.0, 9.0, 16.0]),
        ("y = [i*v for i, v in enumerate(s)]", [0.0, 9.0, 32.0]),
        ("y = [s[i:i+2] for i in range(1, N-1)]", [[4.0, 9.0], [9.0, 16.0]]),
        ("y = s + 1", [5.0, 10.0, 17.0]),
    ],
)
def test_sequence_from_one(line: str, wanted: Any) -> None:
    given = {"x": np.arange(1.0, 5.0), **({"p": [1, 3]} if "p" in line else {})}
    head = "p : int[M]\n" if "p" in line else ""
    assert np.array_equal(gl.loads(head + FROM_ONE + line)(**given), wanted)


def test_rows_keep_their_first_index() -> None:
    text = "x : [N]\ns[i, j] = x[i]*x[j] for i in range(1, N) for j in range(2, N)\n"
    x = np.arange(1.0, 5.0)
    for line, wanted in {"y = s[1, 2]": 6, "y = s[2][3]": 12, "y = s[:, 3][1]": 8, "y = s[1:3, 3][0]": 8}.items():
        assert gl.loads(text + line)(x=x) == wanted, line


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("p : int[M]\n" + FROM_ONE + "y = s[p]", {"p": [1, 0]}, "index 0 is not one of those known there, 1 to 3"),
        ("p : int[M]\n" + FROM_ONE + "y = s[p]", {"p": [4]}, "index 4 is not one of those known there, 1 to 3"),
        (SCANS["parents"][0], {"p": [0, 0, 2], "R": R[:3]}, "index 2 is not one of those known there, 0 to 1"),
        (SCANS["parents"][0], {"p": [0, 5], "R": R[:2]}, "index 5 is not one of those known there, 0 to 0"),
        (SCANS["parents"][0], {"p": [0, -1], "R": R[:2]}, "index -1 is not one of those known there, 0 to 0"),
        ("x : [N]\ny = [x[i] for i in range(N-2)]", {"x": X[:1]}, "this range has N - 2 steps, for N = 1"),
        ("x : [N]\ny = [x[2*i] for i in range(N)]", {"x": X[:3]}, "this index is outside the array, for N = 3"),
        ("x : [N]\np : int[M]\ny = [x[q] for q in p]", {"x": X, "p": [0, 5]}, "an index is outside"),
    ],
)
def test_what_is_outside_at_a_call(text: str, given: dict[str, Any], said: str) -> None:
    if "x : [N]" in text:
        given = {"x": np.arange(1.0, 5.0), **given}
    with pytest.raises(gl.InputError) as caught:
        gl.loads(text)(**given)
    assert said in str(caught.value)
    assert caught.value.diagnostics[0].code == "G506"


def test_parents_of_steps_that_go_down() -> None:
    text = "p : int[N]\nx : [N]\ny[N-1] = x[N-1]\ny[t] = sin(y[p[t]]) + x[t] for t in range(N-2, -1, -1)"

    def reference(p: Any, x: Any) -> Any:
        y = {4: x[4]}
        for t in range(3, -1, -1):
            y[t] = np.sin(y[p[t]]) + x[t]
        return [y[t] for t in range(5)]

    agrees(text, reference, {"p": [1, 4, 3, 4, 4], "x": X})


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_steps(count: int) -> None:
    """No step at all, and one: values and gradients of their own shapes."""
    text = "x : [T]\ninput k\ny[0] = k\ny[t] = sin(y[t-1]) + x[t-1] for t in range(1, T+1)\nz = y[T]"
    model = gl.loads(text)
    x = X[:count]
    value, grads = model.value_and_grad("z")(x=x, k=0.3)
    wanted = rows([0.3], count + 1, lambda y, t: np.sin(y[t - 1]) + x[t - 1])
    assert np.allclose(model.function("y")(x=x, k=0.3), wanted)
    assert np.isclose(value, wanted[-1])
    assert np.shape(grads["x"]) == (count,)
    assert np.isclose(grads["k"], np.prod(np.cos(wanted[:-1])))


def test_whole_numbers_stay_exact() -> None:
    model = gl.loads("n : int[K]\ny[0] = 1\ny[t] = 2*y[t-1] + n[t] for t in range(1, K)")
    assert model(n=[0, 1, -1, 2]).tolist() == [1, 3, 5, 12]


def test_masks() -> None:
    assert gl.loads("x : [N]\ny[t] = x[t] > 0 for t in range(N)")(x=X).tolist() == [bool(v > 0) for v in X]


# ------------------------------------------------------------------ what must not grow
LONG = {
    "rnn": "const T = {n}\nx : [T, 3]\nW : [4, 4]\nU : [4, 3]\nh[0] = zeros(4)\n"
    "h[t] = tanh(W @ h[t-1] + U @ x[t-1]) for t in range(1, T+1)\ny = sum(h[T]**2)",
    "coupled": "input a\nc[0] = a\ns[0] = 1\nfor t in range(1, {n}):\n    z = sin(c[t-1])\n    c[t] = z + s[t-1]\n    s[t] = c[t]*a\n"
    "y = s[{n}-1]",
    "backward": "input a\nv[{n}] = 1\nv[k] = sin(a*v[k+1]) for k in range({n}-1, -1, -1)\ny = v[0]",
    "two steps back": "input a\nv[0] = 1\nv[1] = a\nv[k] = sin(v[k-1]*v[k-2]) for k in range(2, {n})\ny = v[{n}-1]",
    "comprehension": "x : [{n}]\ny = sum(100*(x[i+1] - x[i]**2)**2 + (1 - x[i])**2 for i in range({n}-1))",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_size_does_not_grow_with_the_length(text: str) -> None:
    """T = 10 and T = 10000: as many nodes, instructions and lines of source, but for the digits of the numbers."""
    short, long = (gl.loads(text.format(n=n)) for n in (10, 10_000))
    assert len(short.program.nodes) == len(long.program.nodes)
    for kind in ("value_and_grad", "function", "hvp", "jvp"):
        a, b = (getattr(m, kind)("y") for m in (short, long))
        # a longer number may push an expression over the width from which it gets a line of its own
        assert abs(a.source.count("\n") - b.source.count("\n")) <= 5, kind
        assert abs(len(a.source) - len(b.source)) < 8 * a.source.count("\n"), kind
        jobs = [getattr(f, "compiled", f).job.tape.instrs for f in (a, b)]
        assert len(jobs[0]) == len(jobs[1]), kind


def test_a_step_that_leaves_the_sequence_is_absent() -> None:
    """What does not depend on other steps is computed before or after the loop, not in it."""
    text = "x : [N, 3]\nW : [4, 3]\nh[0] = zeros(4)\nh[t] = tanh(h[t-1] + exp(W @ x[t-1])) for t in range(1, N+1)\ny = h[N]"
    lines = gl.loads(text).function("y").source.splitlines()
    start = next(k for k, line in enumerate(lines) if line.lstrip().startswith("for step"))
    depth = len(lines[start]) - len(lines[start].lstrip())
    body = list(itertools.takewhile(lambda line: len(line) - len(line.lstrip()) > depth, lines[start + 1 :]))
    assert any("tanh" in line for line in body)
    assert not any("exp" in line for line in body)
