"""Implicit definitions, `solve(f(x) for x from x0)`, against closed forms, fixed points of NumPy and mpmath."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from loopcheck import agrees

import gradlang as gl

V = "a : [N]\n"
A = np.array([0.7, 2.2, 1.9])
B = np.array([1.0, -2.0, 0.5])
K = np.array([[2.0, 1.0, 0.0], [0.5, 3.0, -1.0], [0.3, 0.2, 2.5]])
S = np.array([[2.0, 0.3], [0.4, 1.5]])
Case = tuple[str, Callable[..., Any], dict[str, Any]]


def newton(f: Callable[[Any], Any], slope: Callable[[Any], Any], x: Any) -> Any:
    """The zero of f, by entries."""
    x = np.asarray(x, float)
    for _ in range(60):
        x = x - f(x) / slope(x)
    return x


def cubic(a: Any) -> Any:
    """x**3 + x = a, by Cardano."""
    u = np.cbrt(a / 2 + np.sqrt(a * a / 4 + 1 / 27))
    return u - 1 / (3 * u)


def system(A: Any, b: Any) -> Any:
    x = np.linalg.solve(A, b)
    for _ in range(60):
        x = x - np.linalg.solve(A + np.diag(0.3 * x**2), A @ x + 0.1 * x**3 - b)
    return x


def root_of_matrix(S: Any) -> Any:
    """X @ X = S."""
    w, v = np.linalg.eig(S)
    return np.real(v @ np.diag(np.sqrt(w)) @ np.linalg.inv(v))


def kepler(e: Any, M: Any) -> Any:
    return newton(lambda E: E - e * np.sin(E) - M, lambda E: 1 - e * np.cos(E), M)


def stepped(a: Any) -> Any:
    h = 0.0
    for v in a:
        h = newton(lambda x, h=h, v=v: x + 0.1 * x**3 - h - v, lambda x: 1 + 0.3 * x**2, h)
    return h


def implicit_euler(A: Any, y: Any, steps: int) -> Any:
    for _ in range(steps):
        x = y
        for _ in range(40):
            t = np.tanh(A @ x)
            x = x - np.linalg.solve(np.eye(len(y)) + 0.2 * (1 - t**2)[:, None] * A, x - y + 0.2 * t)
        y = x
    return y


SOLVED: dict[str, Case] = {
    "Kepler": ("input e, M\ny = solve(E - e*sin(E) - M for E from M)", kepler, {"e": 0.3, "M": 1.1}),
    "root": ("input k\ny = solve(x**3 - k for x from 1)", lambda k: np.cbrt(k), {"k": 2.0}),
    "start at the root": ("input k\ny = solve(x**2 - k for x from 2)", lambda k: np.sqrt(k), {"k": 4.0}),
    "start by the parameter": ("input k\ny = solve(x**2 - k for x from k)", lambda k: np.sqrt(k), {"k": 4.3}),
    "linear": ("input k\ny = solve(3*x - k**2 for x from 0)", lambda k: k * k / 3, {"k": 0.7}),
    "parameter that does not reach it": (
        "input k, j\ny = solve(x**3 - k for x from j)",
        lambda k, j: np.cbrt(k) + 0 * j,
        {"k": 2.0, "j": 1.0},
    ),
    "parameter outside": ("input k, j\ny = solve(x**3 - k for x from 1)*j", lambda k, j: np.cbrt(k) * j, {"k": 2.0, "j": 0.4}),
    "parameter that is a definition": (
        "input k\nc = k**2 + 1\ny = solve(x**3 + x - c for x from 1)",
        lambda k: cubic(k * k + 1),
        {"k": 0.8},
    ),
    "entries of a vector": (V + "y = solve(x**3 + x - a for x from zeros(N))", lambda a: cubic(a), {"a": A}),
    "start by a vector": (V + "y = solve(x**3 + x - a for x from a)", lambda a: cubic(a), {"a": A}),
    "start by a list": (
        "input a, b\ny = solve([x[0]**2 - a, x[0]*x[1] - b] for x from [1, 1])",
        lambda a, b: np.array([np.sqrt(a), b / np.sqrt(a)]),
        {"a": 2.3, "b": 0.6},
    ),
    "system": ("A : [N, N]\nb : [N]\ny = solve(A @ x + 0.1*x**3 - b for x from b)", system, {"A": K, "b": B}),
    "unknown matrix": ("S : [2, 2]\ny = solve(X @ X - S for X from S)", root_of_matrix, {"S": S}),
    "for every entry": (V + "y = [solve(x**3 + x - v for x from 0) for v in a]", lambda a: cubic(a), {"a": A}),
    "for every entry with shared values": (
        V + "input k\ny = [solve(x**3 + k*x - v for x from v) for v in a]",
        lambda a, k: np.sqrt(k) ** 3 * cubic(a / np.sqrt(k) ** 3) / k,
        {"a": A, "k": 1.7},
    ),
    "for every pair": (
        V + "b : [M]\ny = [[solve(x**3 + x - u*v for x from 1) for u in a] for v in b]",
        lambda a, b: cubic(np.outer(b, a)),
        {"a": A, "b": np.array([0.5, 1.5])},
    ),
    "vectors for every entry": (
        V + "y = [solve([x[0]**3 + x[0] - v, x[1] - x[0]*v] for x from [1, 1]) for v in a]",
        lambda a: np.stack([cubic(a), cubic(a) * a], axis=1),
        {"a": A},
    ),
    "sum over roots": (
        V + "y = sum(solve(x**3 + x - v for x from 0)**2 for v in a)",
        lambda a: (cubic(a) ** 2).sum(),
        {"a": A},
    ),
    "residual with a sum": (
        V + "y = solve(sum((x - v)**3 for v in a) for x from 1)",
        lambda a: newton(lambda x: ((x - a) ** 3).sum(), lambda x: 3 * ((x - a) ** 2).sum(), a.mean()),
        {"a": A},
    ),
    "in a recurrence": (
        V + "h[0] = 0\nh[t] = solve(x + 0.1*x**3 - h[t-1] - a[t-1] for x from h[t-1]) for t in range(1, N+1)\ny = h[N]",
        stepped,
        {"a": A},
    ),
    "vectors in a recurrence": (
        "A : [N, N]\nu : [N]\nh[0] = u\nh[t] = solve(x - h[t-1] + 0.2*tanh(A @ x) for x from h[t-1]) for t in range(1, 4)\ny = h[3]",
        lambda A, u: implicit_euler(A, u, 3),
        {"A": K, "u": B},
    ),
    "in a block": (
        V
        + "h[0] = 0\nfor t in range(1, N+1):\n    s = a[t-1] + h[t-1]\n    h[t] = solve(x + 0.1*x**3 - s for x from s)\ny = h[N]",
        stepped,
        {"a": A},
    ),
    "in a function": (
        "def root(c) = solve(x**3 + x - c for x from c)\ninput k\ny = root(k)*root(2*k)",
        lambda k: cubic(k) * cubic(2 * k),
        {"k": 0.8},
    ),
    "function as a residual": (
        "def f(x, c) = x**3 + x - c\ndef root(c):\n    s = c**2\n    return solve(f(x, s) for x from 1)\ninput k\ny = root(k)",
        lambda k: cubic(k * k),
        {"k": 0.8},
    ),
    "solve in a solve": (
        "input k\ny = solve(z**3 + z - solve(x**3 + x - k*z for x from 1) for z from 1) + k",
        lambda k: newton_of_two(k) + k,
        {"k": 3.7},
    ),
    "solve of a solve": (
        "input k\nu = solve(x**3 + x - k for x from 1)\ny = solve(x**3 + x - u for x from u)",
        lambda k: cubic(cubic(k)),
        {"k": 1.7},
    ),
    "derivative of the solution": (
        "input k\ny = grad(solve(x**3 - k for x from 1), k)",
        lambda k: np.cbrt(k) / (3 * k),
        {"k": 2.0},
    ),
    "second derivative of the solution": (
        "input k\ny = hessian(solve(x**3 - k for x from 1), k)",
        lambda k: -2 / 9 * np.cbrt(k) / k**2,
        {"k": 2.0},
    ),
    "Jacobian of the solution": (
        V + "y = jacobian(solve(x**3 + x - a for x from a), a)",
        lambda a: np.diag(1 / (3 * cubic(a) ** 2 + 1)),
        {"a": A},
    ),
    "derivative in the residual": (
        "input k\ny = solve(grad(x**4/4 - k*x, x) for x from 1)",
        lambda k: np.cbrt(k),
        {"k": 2.0},
    ),
    "unknown with the name of a value": (
        "input k\nx = k**2\ny = solve(x**3 - k for x from x)*x",
        lambda k: np.cbrt(k) * k * k,
        {"k": 1.3},
    ),
    "with a choice": (
        "input k\ny = solve((x**3 - k if x > 0 else x - 1) for x from 0.5)",
        lambda k: np.cbrt(k),
        {"k": 1.3},
    ),
}


def newton_of_two(k: float) -> Any:
    """z with cubic(k*z) = z**3 + z."""
    slope = lambda x: 1 / (3 * cubic(x) ** 2 + 1)  # noqa: E731
    return newton(lambda z: z**3 + z - cubic(k * z), lambda z: 3 * z * z + 1 - k * slope(k * z), 1.0)


@pytest.mark.parametrize("name", SOLVED)
def test_solutions(name: str) -> None:
    text, reference, given = SOLVED[name]
    agrees(text, reference, given)


def test_derivatives_of_the_eccentric_anomaly() -> None:
    """To the third order, against 40-digit differences of a 40-digit solution."""
    text = "input e, M\nE = solve(x - e*sin(x) - M for x from M)\na = grad(E, e)\nb = grad(a, M)\nc = grad(b, e)"
    found = gl.loads(text).function(["E", "a", "b", "c"])(e=0.3, M=1.1)
    with mpmath.workdps(40):
        E = lambda e, M: mpmath.findroot(lambda x: x - e * mpmath.sin(x) - M, M + e * mpmath.sin(M))  # noqa: E731
        at = (mpmath.mpf(0.3), mpmath.mpf(1.1))
        for name, order in (("E", (0, 0)), ("a", (1, 0)), ("b", (1, 1)), ("c", (2, 1))):
            wanted = float(mpmath.diff(E, at, order)) if any(order) else float(E(*at))
            assert found[name] == pytest.approx(wanted, rel=1e-12), name


def test_what_does_not_reach_a_solution_has_an_exact_zero() -> None:
    model = gl.loads("input k, j\nb : [N]\ny = solve(x**3 - k for x from j + sum(b))")
    value, grads = model.value_and_grad("y")(k=8.0, j=1.0, b=[1.0, 2.0])
    assert value == 2.0
    assert grads["k"] == pytest.approx(1 / 12, rel=1e-14)
    assert grads["j"] == 0.0
    assert grads["b"].tolist() == [0.0, 0.0]


def test_the_root_itself_is_not_moved() -> None:
    assert gl.loads("input k\ny = solve(x**2 - k for x from 3)")(k=9.0) == 3.0
    assert gl.loads("a : [N]\ny = solve(x**2 - a for x from sqrt(a))")(a=[4.0, 9.0]).tolist() == [2.0, 3.0]


def test_no_entries() -> None:
    assert gl.loads(V + "y = solve(x**2 - a for x from a)")(a=np.zeros(0)).shape == (0,)
    assert gl.loads(V + "y = [solve(x**2 - v for x from v) for v in a]")(a=np.zeros(0)).shape == (0,)


def test_single_precision() -> None:
    found = gl.loads(V + "y = solve(x**3 + x - a for x from a)", dtype="float32")(a=A)
    assert found.dtype == np.float32
    assert np.allclose(found, cubic(A), rtol=3e-7)


VECTORS = ("one entry", "one count", "singular system")
FAILING: dict[str, tuple[str, dict[str, Any]]] = {
    "no root": ("input k\ny = solve(x**2 + k for x from 1)", {"k": 1.0}),
    "flat start": ("input k\ny = solve(x**2 - k for x from 0)", {"k": 1.0}),
    "nan": ("input k\ny = solve(x**2 - k for x from 2)", {"k": np.nan}),
    "infinity": ("input k\ny = solve(x**2 - k for x from k)", {"k": np.inf}),
    "one entry": (V + "y = solve(x**2 - a for x from ones(N))", {"a": [1.0, -1.0]}),
    "one count": (V + "y = [solve(x**2 - v for x from 1) for v in a]", {"a": [1.0, -1.0]}),
    "constant steps": ("input k\ny = solve(floor(x) - k for x from 0)", {"k": 2.0}),
    "in a recurrence": (
        V + "h[0] = 1\nh[t] = solve(x**2 + h[t-1] for x from 1) for t in range(1, N+1)\ny = h[N]",
        {"a": [1.0]},
    ),
    "singular system": ("a : [2]\ny = solve([x[0] + x[1], 2*x[0] + 2*x[1]] - a for x from a)", {"a": np.array([1.0, 1.0])}),
}


@pytest.mark.parametrize("name", FAILING)
def test_no_solution(name: str) -> None:
    text, given = FAILING[name]
    model = gl.loads(f"{text}\ntotal = sum(y)" if name in VECTORS else f"{text}\ntotal = y*1")
    with np.errstate(all="ignore"):
        for f in (model.function("y"), model.value_and_grad("total")):
            with pytest.raises(gl.InputError, match="no solution is found for x") as caught:
                f(given)
            assert [d.code for d in caught.value.diagnostics] == ["G518"]


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_nothing_is_solved_in_a_branch_that_is_not_taken(backend: str) -> None:
    roots = gl.loads(V + "y = sum(solve(u**2 - v for u from log(v)) if v > 0 else v**3 for v in a)")
    given = {"a": [math.e**2, -1.0]}
    value, slope = roots.value_and_grad("y", backend=backend)(given)
    assert abs(value - (math.e - 1)) < 1e-15
    assert np.allclose(slope["a"], [0.5 / math.e, 3], rtol=1e-15)
    assert np.allclose(roots.hessian("y", wrt="a", backend=backend)(given), [[-0.25 / math.e**3, 0], [0, -6]], rtol=1e-15)
    pair = "z = solve([2*z[0] + z[1]**3 - b[0], z[0] - b[1]*z[1]] for z from sqrt(a)) if a > 0 else b**2"
    model = gl.loads(f"a : [2]\nb : [2]\n{pair}\ny = sum(z)").value_and_grad("y", backend=backend)
    value, slope = model(a=[-1, -1], b=[3, 2])
    assert (value, slope["a"].tolist(), slope["b"].tolist()) == (13, [0, 0], [6, 4])
    both = model(a=[1, 1], b=[3, 2])[0]  # a system is solved as a whole where any of it counts
    assert model(a=[1, 1 + 1e-9], b=[3, 2])[0] == pytest.approx(both, rel=1e-14)
    with np.errstate(all="ignore"), pytest.raises(gl.InputError, match="no solution"):
        model(a=[1, -1], b=[3, 2])
