"""The conventions of the language at the points where a derivative is not plain: kinks, poles, untaken branches, infinities."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import gradlang as gl

INF, NAN = math.inf, math.nan


def head(at: dict[str, Any]) -> str:
    return "".join(f"input {n}{dims(v)}\n" for n, v in at.items())


def dims(value: Any) -> str:
    shape = np.shape(value)
    return f" : [{', '.join(map(str, shape))}]" if shape else ""


def slopes(formula: str, **at: Any) -> tuple[float, dict[str, Any]]:
    """Value and gradient of `y` at a point; the text may have several lines."""
    text = head(at) + (formula if "y =" in formula else f"y = {formula}")
    model = gl.loads(text)
    value, grads = model.value_and_grad("y", wrt=list(at))(at)
    for n in at:  # forward mode says the same
        for k in np.ndindex(np.shape(at[n])):
            vector = np.zeros(np.shape(at[n]))
            vector[k] = 1
            pushed = model.jvp("y", wrt=n)(vector[()], at)[1]
            assert equal(pushed, np.asarray(grads[n])[k]), (n, k, pushed, grads[n])
    return value, grads


def equal(a: Any, b: Any, rel: float = 1e-13) -> bool:
    return bool(np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=rel, atol=1e-300, equal_nan=True))


def elementwise(formula: str, **at: Any) -> dict[str, Any]:
    """The gradient of the sum over arrays of two equal points, which must be twice the same."""
    wide = {n: np.array([v, v]) for n, v in at.items()}
    lines = formula.split("\n") if "y =" in formula else [f"y = {formula}"]
    model = gl.loads(head(wide) + "\n".join(lines) + "\ntotal = sum(y)")
    grads = model.value_and_grad("total", wrt=list(at))(wide)[1]
    for g in grads.values():
        assert equal(g[0], g[1])
    return {n: g[0] for n, g in grads.items()}


# ------------------------------------------------------------------ kinks and poles
KINKS: list[tuple[str, dict[str, Any], float, dict[str, float]]] = [
    ("relu(x)", {"x": 0.0}, 0, {"x": 0}),
    ("relu(x)", {"x": -0.0}, 0, {"x": 0}),
    ("max(x, 0)", {"x": 0.0}, 0, {"x": 0}),
    ("max(0, x)", {"x": 0.0}, 0, {"x": 0}),
    ("maximum(x, 0)", {"x": 0.0}, 0, {"x": 0}),
    ("maximum(0, x)", {"x": 0.0}, 0, {"x": 0}),
    ("max(x, 0.0)", {"x": 0.0}, 0, {"x": 0}),
    ("abs(x)", {"x": 0.0}, 0, {"x": 0}),
    ("abs(x)", {"x": -0.0}, 0, {"x": 0}),
    ("sign(x)", {"x": 0.0}, 0, {"x": 0}),
    ("sign(x)*x", {"x": -3.0}, 3, {"x": -1}),
    ("floor(x)", {"x": 2.0}, 2, {"x": 0}),
    ("floor(x)", {"x": 1.5}, 1, {"x": 0}),
    ("ceil(x)*x", {"x": 1.5}, 3, {"x": 2}),
    ("round(x)", {"x": 2.5}, 2, {"x": 0}),
    ("max(a, b)", {"a": 1.0, "b": 1.0}, 1, {"a": 0.5, "b": 0.5}),
    ("min(a, b)", {"a": 1.0, "b": 1.0}, 1, {"a": 0.5, "b": 0.5}),
    ("max(x, x)", {"x": 1.0}, 1, {"x": 1}),
    ("max(x, 1)", {"x": 1.0}, 1, {"x": 0.5}),
    ("max(a, b)", {"a": INF, "b": INF}, INF, {"a": 0.5, "b": 0.5}),
    ("clip(x, 0, 1)", {"x": 0.0}, 0, {"x": 1}),
    ("clip(x, 0, 1)", {"x": 1.0}, 1, {"x": 1}),
    ("clip(x, 0, 1)", {"x": 1.5}, 1, {"x": 0}),
    ("clip(x, 0, 1)", {"x": -0.5}, 0, {"x": 0}),
    ("clip(x, a, b)", {"x": 3.0, "a": 0.0, "b": 1.0}, 1, {"x": 0, "a": 0, "b": 1}),
    ("clip(x, a, b)", {"x": -3.0, "a": 0.0, "b": 1.0}, 0, {"x": 0, "a": 1, "b": 0}),
    ("clip(x, a, b)", {"x": 1.0, "a": 0.0, "b": 1.0}, 1, {"x": 1, "a": 0, "b": 0}),
    ("leaky_relu(x)", {"x": 0.0}, 0, {"x": 0.01}),
    ("elu(x)", {"x": 0.0}, 0, {"x": 1}),
    ("sqrt(x)", {"x": 0.0}, 0, {"x": INF}),
    ("cbrt(x)", {"x": 0.0}, 0, {"x": INF}),
    ("cbrt(x)", {"x": -8.0}, -2, {"x": 1 / 12}),
    ("sqrt(x**2)", {"x": 0.0}, 0, {"x": 0}),
    ("sqrt(x**2)", {"x": -3.0}, 3, {"x": -1}),
    ("sqrt(x*x)", {"x": 0.0}, 0, {"x": 0}),
    ("sqrt(square(x))", {"x": 0.0}, 0, {"x": 0}),
    ("(x**2)**0.5", {"x": 0.0}, 0, {"x": 0}),
    ("hypot(a, b)", {"a": 0.0, "b": 0.0}, 0, {"a": 0, "b": 0}),
    ("hypot(a, b)", {"a": 3.0, "b": -4.0}, 5, {"a": 0.6, "b": -0.8}),
    ("hypot(a, b)", {"a": 3e200, "b": -4e200}, 5e200, {"a": 0.6, "b": -0.8}),
    ("x**0", {"x": 0.0}, 1, {"x": 0}),
    ("x**1", {"x": 0.0}, 0, {"x": 1}),
    ("x**2", {"x": 0.0}, 0, {"x": 0}),
    ("x**3", {"x": 0.0}, 0, {"x": 0}),
    ("x**2.5", {"x": 0.0}, 0, {"x": 0}),
    ("x**0.5", {"x": 0.0}, 0, {"x": INF}),
    ("x**p", {"x": 0.0, "p": 2.0}, 0, {"x": 0, "p": 0}),
    ("x**p", {"x": 0.0, "p": 1.5}, 0, {"x": 0, "p": 0}),
    ("x**p", {"x": 0.0, "p": 1.0}, 0, {"x": 1, "p": 0}),
    ("x**p", {"x": 0.0, "p": 0.5}, 0, {"x": INF, "p": 0}),
    ("x**3", {"x": -2.0}, -8, {"x": 12}),
    ("x**-2", {"x": -2.0}, 0.25, {"x": 0.25}),
    ("x**17", {"x": -1.0}, -1, {"x": 17}),
    ("0**x", {"x": 2.0}, 0, {"x": 0}),
    ("2**x", {"x": 0.0}, 1, {"x": math.log(2)}),
    ("xlogy(x, y0)", {"x": 0.0, "y0": 2.0}, 0, {"x": math.log(2), "y0": 0}),
    ("logaddexp(a, b)", {"a": -INF, "b": -INF}, -INF, {"a": 0, "b": 0}),
    ("logaddexp(a, b)", {"a": 0.5, "b": -INF}, 0.5, {"a": 1, "b": 0}),
    ("logaddexp(a, b)", {"a": 2.0, "b": 2.0}, 2 + math.log(2), {"a": 0.5, "b": 0.5}),
    ("1/x", {"x": 0.0}, INF, {"x": -INF}),
    ("log(x)", {"x": 0.0}, -INF, {"x": INF}),
    ("x % 3", {"x": 7.5}, 1.5, {"x": 1}),
    ("x // 3", {"x": 7.5}, 2, {"x": 0}),
    ("a % b", {"a": 7.5, "b": 2.0}, 1.5, {"a": 1, "b": -3}),
    ("x*(x > 0)", {"x": 2.0}, 2, {"x": 1}),
]


def kinks() -> list[Any]:
    return [pytest.param(*k, id=f"{k[0]} at {list(k[1].values())}") for k in KINKS]


@pytest.mark.parametrize(("formula", "at", "value", "wanted"), kinks())
def test_kink(formula: str, at: dict[str, Any], value: float, wanted: dict[str, float]) -> None:
    got, grads = slopes(formula, **at)
    assert equal(got, value)
    assert {n: float(g) for n, g in grads.items()} == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(("formula", "at", "value", "wanted"), kinks())
def test_kink_in_arrays(formula: str, at: dict[str, Any], value: float, wanted: dict[str, float]) -> None:
    assert elementwise(formula, **at) == pytest.approx(wanted, rel=1e-13)


def test_power_with_an_undefined_partial_is_not_asked_for() -> None:
    """(-2)**3 has no derivative by the exponent; the one by the base is a number all the same."""
    model = gl.loads("input x, p\ny = x**p")
    value, grads = model.value_and_grad("y", wrt="x")(x=-2.0, p=3.0)
    assert (value, grads["x"]) == (-8, 12)


# ------------------------------------------------------------------ reductions
REDUCED: list[tuple[str, Any, float, Any]] = [
    ("max(x)", [1.0, 3.0, 3.0], 3, [0, 0.5, 0.5]),
    ("max(x)", [2.0] * 4, 2, [0.25] * 4),
    ("min(x)", [1.0, 1.0, 5.0], 1, [0.5, 0.5, 0]),
    ("max(x)", [-INF, -INF], -INF, [0.5, 0.5]),
    ("norm(x)", [0.0, 0.0], 0, [0, 0]),
    ("norm(x)", [3.0, -4.0], 5, [0.6, -0.8]),
    ("norm(x)", [3e-200, 4e-200], 5e-200, [0.6, 0.8]),
    ("norm(x)", [3e200, 4e200], 5e200, [0.6, 0.8]),
    ("norm(x)**2", [0.0, 0.0], 0, [0, 0]),
    ("std(x)", [2.0, 2.0], 0, [0, 0]),
    ("std(x)", [1.0, 3.0], 1, [-0.5, 0.5]),
    ("var(x)", [2.0, 2.0], 0, [0, 0]),
    ("norm(x, 1)", [0.0, 2.0], 2, [0, 1]),
    ("norm(x, inf)", [0.0, 0.0], 0, [0, 0]),
    ("sum(abs(x))", [0.0, -1.0], 1, [0, -1]),
    ("logsumexp(x)", [-INF, -INF], -INF, [0, 0]),
    ("logsumexp(x)", [-INF, 0.5], 0.5, [0, 1]),
    ("logsumexp(x)", [INF, 1.0], INF, [1, 0]),
    ("logsumexp(x)", [1000.0, 1000.0], 1000 + math.log(2), [0.5, 0.5]),
    ("logsumexp(x)", [-1e4, -1e4], -1e4 + math.log(2), [0.5, 0.5]),
    ("log(sum(exp(x)))", [1000.0, 1000.0], 1000 + math.log(2), [0.5, 0.5]),
    ("log(sum(exp(x)))", [-INF, -INF], -INF, [0, 0]),
    ("prod(x)", [0.0, 2.0, 3.0], 0, [6, 0, 0]),
    ("prod(x)", [0.0, 2.0, 0.0], 0, [0, 0, 0]),
    ("prod(x)", [2.0, 3.0, 4.0], 24, [12, 8, 6]),
    ("prod(x)", [1e100, 1e-300, 1e200], 1, [1e-100, 1e300, 1e-200]),
    ("cumprod(x)[2]", [0.0, 2.0, 3.0], 0, [6, 0, 0]),
    ("cumprod(x)[2]", [2.0, 0.0, 3.0], 0, [0, 6, 0]),
    ("softmax(x)[0]", [1e4, 0.0], 1, [0, 0]),
    ("log_softmax(x)[1]", [1e4, 0.0], -1e4, [-1, 1]),
    ("log_softmax(x)[0]", [-1e4, 0.0], -1e4, [1, -1]),
    ("log(softmax(x))[1]", [1e4, 0.0], -1e4, [-1, 1]),
    ("-log_softmax(x)[1]", [800.0, -800.0], 1600, [1, -1]),
    ("softmax(x)[0]", [-INF, 0.0], 0, [0, 0]),
    ("sum(sort(x))", [2.0, 1.0, 2.0], 5, [1, 1, 1]),
    ("mean(x)", [2.0, 4.0], 3, [0.5, 0.5]),
]


@pytest.mark.parametrize(("formula", "x", "value", "wanted"), [pytest.param(*r, id=f"{r[0]} at {r[1]}") for r in REDUCED])
def test_reduction(formula: str, x: Any, value: float, wanted: Any) -> None:
    got, grads = slopes(formula, x=np.array(x))
    assert equal(got, value, 1e-12) or abs(got - value) < 1e-16
    assert equal(grads["x"], wanted, 1e-12), grads["x"]


@pytest.mark.parametrize(
    ("formula", "axis"),
    [
        ("max(x, axis=0)", 0),
        ("norm(x, axis=1)", 1),
        ("prod(x, axis=0)", 0),
        ("logsumexp(x, axis=1)", 1),
        ("std(x, axis=0)", 0),
        ("cumprod(x, axis=1)[:, -1]", 1),
    ],
)
def test_reduction_along_an_axis_is_that_of_each_line(formula: str, axis: int) -> None:
    x = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, -2.0, 3.0]])
    u = np.array([1.0, -2.0, 0.5])
    got = gl.loads(f"input x : [3, 3]\ny = {formula}").vjp("y", wrt="x")(u, x=x)[1]
    line = formula.replace(", axis=1", "").replace(", axis=0", "").replace("[:, -1]", "[-1]")
    one = gl.loads(f"input x : [3]\ny = {line}").vjp("y", wrt="x")
    for k in range(3):
        each = one(u[k], x=x.take(k, axis=1 - axis))[1]
        assert equal(got.take(k, axis=1 - axis), each), (k, got, each)


def second(formula: str, x: Any) -> np.ndarray:
    product = gl.loads(f"input x{dims(x)}\ny = {formula}").hvp("y", wrt="x")
    if not np.shape(x):
        return np.asarray(product(1.0, x=x)[1])
    return np.array([product(row, x=x)[1] for row in np.eye(len(x))])


@pytest.mark.parametrize(
    ("formula", "x", "wanted"),
    [
        ("prod(x)", [2.0, 3.0, 5.0], [[0, 5, 3], [5, 0, 2], [3, 2, 0]]),
        ("prod(x)", [0.0, 3.0, 5.0], [[0, 5, 3], [5, 0, 0], [3, 0, 0]]),
        ("prod(x)", [0.0, 3.0, 0.0], [[0, 0, 3], [0, 0, 0], [3, 0, 0]]),
        ("prod(x)", [0.0, 0.0, 0.0], np.zeros((3, 3))),
        ("prod(x)", [0.0, 0.0, 2.0, 3.0], [[0, 6, 0, 0], [6, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
        ("cumprod(x)[2]", [0.0, 3.0, 5.0], [[0, 5, 3], [5, 0, 0], [3, 0, 0]]),
        ("sum(relu(x)**2)", [0.0, 1.0], [[0, 0], [0, 2]]),
        ("sum(x**2)", [0.0, 0.0], [[2, 0], [0, 2]]),
        ("norm(x)**2", [0.0, 0.0], [[2, 0], [0, 2]]),
        ("norm(x)**2", [1.0, 2.0], [[2, 0], [0, 2]]),
        ("sum(x**3)", [0.0, 1.0], [[0, 0], [0, 6]]),
        ("sum(abs(x))", [0.0, 1.0], [[0, 0], [0, 0]]),
        ("sum(x*x*x)", [0.0, 1.0], [[0, 0], [0, 6]]),
        ("logsumexp(x)", [1000.0, 1000.0], [[0.25, -0.25], [-0.25, 0.25]]),
        ("logsumexp(x)", [-INF, -INF], [[0, 0], [0, 0]]),
        ("logsumexp(x)", [-INF, 1.0], [[0, 0], [0, 0]]),
        ("var(x)", [2.0, 2.0], [[0.5, -0.5], [-0.5, 0.5]]),
        ("max(x)", [1.0, 2.0], np.zeros((2, 2))),
        ("max(x)**2", [1.0, 2.0], [[0, 0], [0, 2]]),
    ],
)
def test_second_derivatives(formula: str, x: Any, wanted: Any) -> None:
    got = second(formula, np.array(x))
    assert equal(got, wanted, 1e-12), got


@pytest.mark.parametrize(
    ("formula", "x", "wanted"),
    [
        ("relu(x)", 0.0, 0),
        ("abs(x)", 0.0, 0),
        ("abs(x)*x", 0.0, 0),
        ("x**2", 0.0, 2),
        ("x**3", 0.0, 0),
        ("x**1", 0.0, 0),
        ("x**0", 0.0, 0),
        ("x**2.5", 0.0, 0),
        ("x*x", 0.0, 2),
        ("sqrt(x**2)", 0.0, 0),
        ("clip(x, 0, 1)**2", 0.0, 2),
        ("clip(x, 0, 1)**2", 2.0, 0),
        ("max(x, 0)**2", -1.0, 0),
        ("log(1/(1 + exp(-x)))", -800.0, 0),
        ("softplus(x)", 800.0, 0),
        ("sigmoid(x)", 0.0, 0),
        ("x**4", 1.0, 12),
        ("x**-1", 2.0, 0.25),
        ("sqrt(x) if x > 0 else 0", 0.0, 0),
        ("sqrt(x) if x > 0 else 0", -1.0, 0),
        ("x if x > 0 else exp(x)", 1000.0, 0),
        ("x**2 if x > 0 else log(x)", 3.0, 2),
        ("x**2 if x < 1e9 else 1/(x - x)", 3.0, 2),
        ("log(x)*x if x > 0 else x**2", 0.0, 2),
        ("log(x)*x if x > 0 else x**2", 2.0, 0.5),
    ],
)
def test_second_derivatives_of_scalars(formula: str, x: float, wanted: float) -> None:
    assert equal(second(formula, x), wanted, 1e-12), second(formula, x)
    wide = gl.loads(f"input x : [2]\nz = {formula}\ny = sum(z)").hvp("y", wrt="x")(np.array([1.0, 0.0]), x=[x, x])[1]
    assert equal(wide, [wanted, 0], 1e-12), wide


# ------------------------------------------------------------------ the branch that is not taken
BRANCHES: list[tuple[str, float, float, float]] = [
    ("y = sqrt(x) if x > 0 else 0", -1, 0, 0),
    ("y = sqrt(x) if x > 0 else 0", 0, 0, 0),
    ("y = sqrt(x) if x > 0 else 0", 4, 2, 0.25),
    ("y = 0 if x <= 0 else sqrt(x)", 0, 0, 0),
    ("y = where(x > 0, sqrt(x), 0)", 0, 0, 0),
    ("y = where(x > 0, sqrt(x), 0)", -1, 0, 0),
    ("y = x if x > 0 else exp(x)", 1000, 1000, 1),
    ("y = exp(x) if x < 0 else x", 1000, 1000, 1),
    ("y = exp(x) if x < 0 else x", -1, math.exp(-1), math.exp(-1)),
    ("s = sqrt(x)\ny = s if x > 0 else 0", 0, 0, 0),
    ("s = sqrt(x)\ny = s if x > 0 else 0", -1, 0, 0),
    ("s = log(x)\ny = s if x > 0 else x", 0, 0, 1),
    ("s = log(x)\ny = s if x > 0 else x", -1, -1, 1),
    ("s = log(x)\nt = 2*s + 1\nu = t*t\ny = u if x > 0 else x", 0, 0, 1),
    ("s = log(x)\nt = 2*s + 1\nu = t*t\ny = u if x > 0 else x", -2, -2, 1),
    ("s = 1/x\ny = s if x > 0 else 3*x", 0, 0, 3),
    ("s = 1/x\nt = sin(s)\ny = t if x != 0 else 3*x", 0, 0, 3),
    ("s = x/x\ny = s if x > 0 else 2*x", 0, 0, 2),
    ("s = sin(x)/x\ny = s if x != 0 else 1", 0, 1, 0),
    ("y = sin(x)/x if x != 0 else 1", 0, 1, 0),
    ("s = exp(x)\ny = x if x > 0 else s", 1000, 1000, 1),
    ("s = exp(x)\nt = s/(1 + s)\ny = t*0 + x if x < 5 else x", 1000, 1000, 1),
    ("s = exp(x)*exp(x)\ny = s*0 if x < 5 else x", 1000, 1000, 1),
    ("s = sqrt(x)\nt = sqrt(s)\ny = t if x > 0 else 0", 0, 0, 0),
    ("s = sqrt(x)\ny = s*s*s if x > 0 else x", 0, 0, 1),
    ("y = (sqrt(x) if x > 1 else x**2) if x > 0 else log(1 - x)", 0, 0, -1),
    ("y = (sqrt(x) if x > 1 else x**2) if x > 0 else log(1 - x)", 0.5, 0.25, 1),
    ("y = (sqrt(x) if x > 1 else x**2) if x > 0 else log(1 - x)", 4, 2, 0.25),
    ("y = sqrt(x) if x > 0 else log(x) if x > -1 else x", -2, -2, 1),
    ("y = log(x) if x > 0 else (sqrt(x) if x > 0 else x)", 0, 0, 1),
    ("a = log(x)\nb = a if x > 0 else 0\ny = b*3 + x", 0, 0, 1),
    ("a = log(x)\nb = a if x > 0 else 0\ny = b*b*3 + x", -1, -1, 1),
    ("a = log(x)\nb = a if x > 0 else 0\ny = exp(b)", 0, 1, 0),
    ("y = 2*(sqrt(x) if x > 0 else 0)", 0, 0, 0),
    ("y = -(sqrt(x) if x > 0 else 0)", 0, 0, 0),
    ("y = (sqrt(x) if x > 0 else 0)**2", 0, 0, 0),
    ("y = sin(sqrt(x) if x > 0 else 0)", 0, 0, 0),
    ("y = (sqrt(x) if x > 0 else 0)*x", 0, 0, 0),
    ("y = (sqrt(x) if x > 0 else 0) + x", 0, 0, 1),
    ("y = (sqrt(x) if x > 0 else 0)/(1 + x)", 0, 0, 0),
    ("y = sqrt(relu(x))", -1, 0, 0),
    ("y = sqrt(relu(x))", 0, 0, 0),
    ("y = sqrt(max(x, 0))", -1, 0, 0),
    ("y = sqrt(max(x, 0))", 0, 0, 0),
    ("y = log(relu(x))*0 + 1 if x > 0 else x", -1, -1, 1),
    ("y = sqrt(clip(x, 0, 1))", -1, 0, 0),
    ("y = sqrt(clip(x, 0, 1))", 4, 1, 0),
    ("y = x**0.5 if x > 0 else 0", 0, 0, 0),
    ("y = x**1.5 if x >= 0 else 0", -1, 0, 0),
    ("y = x**-1 if x > 0 else x", 0, 0, 1),
    ("y = acos(x) if x < 1 else 0", 1, 0, 0),
    ("y = acos(x) if x < 1 else 0", 2, 0, 0),
    ("y = atanh(x) if abs(x) < 1 else x", 1, 1, 1),
    ("y = log1p(x) if x > -1 else 0", -1, 0, 0),
    ("y = cbrt(x) if x != 0 else x", 0, 0, 1),
    ("y = norm([x, x]) if x > 0 else 0", 0, 0, 0),
    ("y = max(sqrt(x), 1) if x > 0 else x", 0, 0, 1),
    ("y = sqrt(x)*(x > 0) if x > 0 else x", -3, -3, 1),
    ("y = abs(log(x)) if x > 0 else x", 0, 0, 1),
    ("c = x > 0\ny = log(x) if c else x", 0, 0, 1),
    ("y = x if not (x > 0) else log(x)", 0, 0, 1),
    ("y = log(x) if x > 0 and x < 10 else x", 0, 0, 1),
    ("y = hypot(log(x), 1) if x > 0 else x", 0, 0, 1),
    ("y = atan2(log(x), 1) if x > 0 else x", 0, 0, 1),
    ("y = atan2(x, x) if x > 0 else x", 0, 0, 1),
    ("y = x % x if x > 0 else x", 0, 0, 1),
    ("y = x*log(x) if x > 0 else 0", 0, 0, 0),
    ("s = log(x)\ny = (s if x > 0 else 0) + (0 if x > 0 else x)", 0, 0, 1),
    ("s = log(x)\nt = s if x > 0 else x\nu = t if x > 0 else 2*t\ny = u", 0, 0, 2),
    ("f = exp(x**2)\ny = 1/f if x < 1e3 else x/1e3", 1e4, 10, 1e-3),
    ("y = exp(-1/x) if x > 0 else 0", 0, 0, 0),
    ("y = exp(-1/x) if x > 0 else 0", -1e-3, 0, 0),
    ("y = logit(x) if x > 0 and x < 1 else 5*x", 1, 5, 5),
]


def branches() -> list[Any]:
    return [pytest.param(*b, id=f"{b[0]!r} at {b[1]}".replace("\\n", "; ")) for b in BRANCHES]


@pytest.mark.parametrize(("formula", "x", "value", "slope"), branches())
def test_untaken_branch(formula: str, x: float, value: float, slope: float) -> None:
    got, grads = slopes(formula, x=float(x))
    assert (got, grads["x"]) == (pytest.approx(value), pytest.approx(slope))


@pytest.mark.parametrize(("formula", "x", "value", "slope"), branches())
def test_untaken_branch_in_arrays(formula: str, x: float, value: float, slope: float) -> None:
    """Elementwise: entries that take the branch do not disturb those that do not; also in forward and second order."""
    if "norm(" in formula:
        formula = formula.replace("norm([x, x])", "norm(stack([x, x]), axis=0)")
    model = gl.loads(f"input x : [3]\n{formula}\ntotal = sum(y*[1, 1, 3])")
    at = [x, 0.4, x]
    other = model.value_and_grad("total")(x=[0.4] * 3)
    got, grads = model.value_and_grad("total")(x=at)
    assert got == pytest.approx(4 * value + other[0] / 5)
    assert grads["x"] == pytest.approx([slope, other[1]["x"][1], 3 * slope])
    assert model.jvp("total", wrt="x")(np.array([1.0, 0, 2]), x=at)[1] == pytest.approx(7 * slope)
    assert np.isfinite(model.hvp("total", wrt="x")(np.array([1.0, 1, 1]), x=at)[1]).all()


@pytest.mark.parametrize(("formula", "x", "value", "slope"), branches())
def test_untaken_branch_in_second_order(formula: str, x: float, value: float, slope: float) -> None:
    curve = gl.loads(f"input x\n{formula}").hvp("y", wrt="x")(1.0, x=float(x))[1]
    assert math.isfinite(curve)
    if x <= -1 and "exp(x)" not in formula:  # the branch that is taken there is a straight line
        assert curve == pytest.approx(0)


def test_untaken_branch_of_array_functions() -> None:
    model = gl.loads(
        "input x : [N]\ns = log(x)\nt = cumsum(s, axis=0)\nm = mean(s)\ny = sum(where(x > 0, s, x)) + (m if x[0] > 0 else x[1])"
    )
    value, grads = model.value_and_grad("y")(x=[-1, 0, 2])
    assert value == pytest.approx(-1 + math.log(2))
    assert grads["x"].tolist() == [1, 2, 0.5]


@pytest.mark.parametrize(
    "through",
    [
        "reshape(s, [1, 3])[0]",
        "s[::-1][::-1]",
        "flip(flip(s))",
        "concat([s[:1], s[1:]])",
        "stack([s, s])[0]",
        "s.T",
        "roll(roll(s, 1), -1)",
        "pad(s, 1)[1:-1]",
        "s[[0, 1, 2]]",
        "take(s, i)",
        "broadcast_to(s, [2, 3])[1]",
        "2*s",
        "-s",
        "s/2",
        "s + 1",
        "-(-s)",
        "s - x",
        "x + s",
        "s*x",
        "s*s",
        "abs(s)",
        "max(s, x)",
    ],
)
def test_exact_zeros_survive_what_moves_and_scales_entries(through: str) -> None:
    """A cotangent of exactly 0 at x[0] = 0, where the slope of sqrt is inf, on its way back through other functions."""
    model = gl.loads(
        f"input x : [3]\ninput i : int[3] = [0, 1, 2]\ns = sqrt(x)\nz = {through}\ny = sum(where(x > 0, z, 0)) + sum(i)"
    )
    grads = model.value_and_grad("y", wrt="x")(x=[0, 1, 4])[1]["x"]
    assert np.isfinite(grads).all()
    assert grads[0] == 0
    push = model.jvp("y", wrt="x")
    assert [push(v, x=[0, 1, 4])[1] for v in np.eye(3)] == pytest.approx(grads.tolist())
    assert np.isfinite(model.hvp("y", wrt="x")(np.ones(3), x=[0, 1, 4])[1]).all()


@pytest.mark.parametrize(
    ("formula", "wanted"),
    [
        ("s[1]", [0, 0.5, 0]),
        ("sum(s[1:])", [0, 0.5, 0.25]),
        ("s[[1, 1]][0]", [0, 0.5, 0]),
        ("pad(s, 1)[3]", [0, 0, 0.25]),
        ("stack([s, x])[0, 1]", [0, 0.5, 0]),
        ("s[i]", [0, 0.5, 0]),
        ("max(s)", [0, 0, 0.25]),
        ("sort(s)[2]", [0, 0, 0.25]),
    ],
)
def test_an_entry_that_is_not_used_has_no_slope(formula: str, wanted: list[float]) -> None:
    """The slope of sqrt at x[0] = 0 is inf, and s[0] does not reach the output: the product is an exact zero."""
    model = gl.loads(f"input x : [3]\ninput i : int = 1\ns = sqrt(x)\ny = {formula}\nz = i")
    assert model.value_and_grad("y", wrt="x")(x=[0, 1, 4])[1]["x"].tolist() == wanted
    assert np.isfinite(model.hvp("y", wrt="x")(np.ones(3), x=[0, 1, 4])[1]).all()


def test_an_index_past_the_end_has_no_effect_where_it_is_not_taken() -> None:
    """Lazy in effect: what the untaken branch would have read does not matter."""
    model = gl.loads("input x : [3]\ninput i : int\ny = x[i] if i < 3 else -1 + 0*x[0]")
    assert model.function("y")(x=[1, 2, 3], i=2) == 3
    assert model.function("y")(x=[1, 2, 3], i=7) == -1
    assert model.value_and_grad("y", wrt="x")(x=[1, 2, 3], i=7)[1]["x"].tolist() == [0, 0, 0]


# ------------------------------------------------------------------ stable forms, before differentiation
STABLE: list[tuple[str, dict[str, float], float, dict[str, float]]] = [
    ("log(exp(a) + exp(b))", {"a": 1000, "b": 999}, 1000.3132616875182, {"a": 0.7310585786300049, "b": 0.2689414213699951}),
    ("log(exp(a) + exp(b))", {"a": -1000, "b": -999}, -998.6867383124818, {"a": 0.2689414213699951, "b": 0.7310585786300049}),
    ("log(1/(1 + exp(-x)))", {"x": -800}, -800, {"x": 1}),
    ("log(1/(1 + exp(-x)))", {"x": 800}, 0, {"x": 0}),
    ("log(sigmoid(x))", {"x": -800}, -800, {"x": 1}),
    ("log(1 + exp(x))", {"x": 800}, 800, {"x": 1}),
    ("log(exp(x) + 1)", {"x": -800}, 0, {"x": 0}),
    ("1/(1 + exp(-x))", {"x": -800}, 0, {"x": 0}),
    ("exp(x)/(1 + exp(x))", {"x": 800}, 1, {"x": 0}),
    ("log(exp(x))", {"x": 800}, 800, {"x": 1}),
    ("softplus(x)", {"x": 800}, 800, {"x": 1}),
    ("1 - sigmoid(x)", {"x": 40}, 4.248354255291589e-18, {"x": -4.248354255291589e-18}),
    ("log(1 - sigmoid(x))", {"x": 800}, -800, {"x": -1}),
    ("sigmoid(x)", {"x": -745}, 5e-324, {"x": 5e-324}),
    ("tanh(x)", {"x": 30}, 1, {"x": 4 * math.exp(-60)}),
    ("exp(x) - 1", {"x": 1e-12}, 1e-12 + 5e-25, {"x": 1}),
    ("log(1 + x)", {"x": 1e-12}, 1e-12 - 5e-25, {"x": 1}),
    ("log(1/(1 + exp(-1*x)))", {"x": -800}, -800, {"x": 1}),
    ("1/(1 + exp(-x*1))", {"x": -800}, 0, {"x": 0}),
    ("log(1 - x)", {"x": 1e-12}, -1e-12 - 5e-25, {"x": -1}),
    ("-log(1/(1 + exp(-x)))", {"x": -800}, 800, {"x": -1}),
]


@pytest.mark.parametrize(("formula", "at", "value", "wanted"), [pytest.param(*s, id=f"{s[0]} at {s[1]}") for s in STABLE])
def test_stable(formula: str, at: dict[str, float], value: float, wanted: dict[str, float]) -> None:
    got, grads = slopes(formula, **{n: float(v) for n, v in at.items()})
    assert got == pytest.approx(value, rel=1e-13, abs=1e-320)
    assert grads == pytest.approx(wanted, rel=1e-11, abs=1e-300)
    assert elementwise(formula, **{n: float(v) for n, v in at.items()}) == pytest.approx(wanted, rel=1e-11, abs=1e-300)


def test_stable_through_definitions() -> None:
    value, grads = slopes("p = exp(a)\nq = exp(b)\nt = p + q\ny = log(t)", a=1000.0, b=999.0)
    assert value == pytest.approx(1000.3132616875182, rel=1e-14)
    assert grads == pytest.approx({"a": 0.7310585786300049, "b": 0.2689414213699951}, rel=1e-13)


@pytest.mark.parametrize("x", [1e-4, 1e-9, -1e-30])
def test_stable_against_cancellation(x: float) -> None:
    """Where the plain formula has no digit left, its stable form has all of them."""
    value = gl.loads("input x\ny = (1 - cos(x))/x**2")(x=x)
    assert value == pytest.approx(0.5 - x * x / 24, rel=1e-14)


def test_the_slope_of_a_versine_is_a_sine() -> None:
    """That of the stable form would be a product of two more functions, of the half angle."""
    f = gl.loads("input x : [N]\ny = sum(1 - cos(x))").value_and_grad("y", backend="numpy")
    x = np.array([1e-9, -0.5, 3.0, 100.0])
    value, grads = f(x=x)
    assert value == np.sum(2 * np.sin(x / 2) ** 2)
    np.testing.assert_array_equal(grads["x"], np.sin(x))
    assert f.source.count("np.sin(") == 2 and "np.cos(" not in f.source
    assert gl.loads("x = 1e-9\ny = versine(x)")() == pytest.approx(5e-19, rel=1e-15)


def test_std_of_a_constant() -> None:
    for c in (0.1, 2.0, -1e10):
        value, grads = gl.loads("input x : [N]\ny = std(x)").value_and_grad("y")(x=[c] * 3)
        assert abs(value) <= 4e-16 * abs(c)
        np.testing.assert_allclose(grads["x"], np.zeros(3), atol=1e-15)


def test_cross_entropy_at_saturation_is_not_flat() -> None:
    """P14: with a small number inside the logarithm the loss would be flat here, with gradient 0."""
    f = gl.loads("input x : [1, 2]\ninput t : int[1]\ny = cross_entropy(x, t)").value_and_grad("y")
    value, grads = f(x=[[800, 0]], t=[1])
    assert value == 800
    assert grads["x"].tolist() == [[1, -1]]
    value, grads = f(x=[[800, 0]], t=[0])
    assert value == 0
    assert grads["x"].tolist() == [[0, 0]]


def test_rows_of_softmax_sum_to_one() -> None:
    """P15: over the last axis, not over the whole batch."""
    out = gl.loads("input x : [N, D]\ny = softmax(x)")(x=np.arange(12.0).reshape(4, 3))
    np.testing.assert_allclose(out.sum(axis=1), np.ones(4), rtol=1e-15)


@pytest.mark.parametrize("scale", [1.0, -3.0, 10.0])
def test_fused_losses_pass_on_what_stands_above_them(scale: float) -> None:
    """P13: the adjoint is linear in the cotangent."""
    text = "input x : [N, D]\ninput t : int[N]\nc = cross_entropy(x, t)\ny = s*c\ninput s"
    x = np.random.default_rng(0).standard_normal((4, 3))
    f = gl.loads(text).value_and_grad("y", wrt="x")
    one, many = (f(x=x, t=[0, 2, 1, 1], s=s)[1]["x"] for s in (1.0, scale))
    np.testing.assert_allclose(many, scale * one, rtol=1e-14)


# ------------------------------------------------------------------ fan-out, absence
FAN_OUT: list[tuple[str, dict[str, float], dict[str, float]]] = [
    ("y = x*x", {"x": 3}, {"x": 6}),
    ("y = x + x", {"x": 3}, {"x": 2}),
    ("y = x - x", {"x": 3}, {"x": 0}),
    ("y = x/x", {"x": 3}, {"x": 0}),
    ("b = a + a\ny = b + b", {"a": 3}, {"a": 4}),
    ("b = a*a\ny = b*b", {"a": 3}, {"a": 108}),
    ("b = a + a\nc = b + b\nd = c + c\ny = d + b", {"a": 1}, {"a": 10}),
    ("y = x**x", {"x": 2}, {"x": 4 * (math.log(2) + 1)}),
    ("y = max(x, x)", {"x": 2}, {"x": 1}),
    ("y = hypot(x, x)", {"x": 2}, {"x": math.sqrt(2)}),
    ("y = atan2(x, x)", {"x": 2}, {"x": 0}),
    ("y = logaddexp(x, x)", {"x": 2}, {"x": 1}),
    ("y = x*x*x*x", {"x": 2}, {"x": 32}),
    ("y = x % x", {"x": 2}, {"x": 0}),
    ("y = clip(x, x, x)", {"x": 2}, {"x": 1}),
    ("y = where(x > 0, x, x)", {"x": 2}, {"x": 1}),
    ("p = x\nq = p\ny = p*q", {"x": 3}, {"x": 6}),
    ("h = x*w\nr = relu(h)\ny = r + h", {"x": 2, "w": -1}, {"x": -1, "w": 2}),
    ("u = relu(x)\ny = u*x + u", {"x": 2}, {"x": 5}),
    ("y = sum([x, x, x*x])", {"x": 3}, {"x": 8}),
    ("y = prod([x, x, x])", {"x": 2}, {"x": 12}),
    ("y = dot([x, w], [x, w])", {"x": 2, "w": 3}, {"x": 4, "w": 6}),
]


@pytest.mark.parametrize(("formula", "at", "wanted"), [pytest.param(*f, id=f[0].replace("\n", "; ")) for f in FAN_OUT])
def test_a_value_that_is_used_twice_gets_both_contributions(
    formula: str, at: dict[str, float], wanted: dict[str, float]
) -> None:
    assert slopes(formula, **{n: float(v) for n, v in at.items()})[1] == pytest.approx(wanted, rel=1e-14, abs=1e-15)


def test_a_long_chain_of_doublings() -> None:
    text = "input x\na0 = x\n" + "".join(f"a{k + 1} = a{k} + a{k}\n" for k in range(60)) + "y = a60"
    assert gl.loads(text).value_and_grad("y")(x=1.5) == (1.5 * 2.0**60, {"x": 2.0**60})


def test_the_residual_branch_is_not_overwritten() -> None:
    """P12: x + relu(x): the cotangent is used by both."""
    f = gl.loads("input x : [3]\ninput w : [3]\nh = relu(x)\ny = sum(w*(x + h))").value_and_grad("y", wrt="x")
    assert f(x=[-1, 1, -1], w=[1, 1, 1])[1]["x"].tolist() == [1, 2, 1]


def test_what_does_not_reach_the_output_has_an_exact_zero_of_its_shape() -> None:
    m = gl.loads(
        "input x, u\ninput a : [N, D]\ninput b : [3]\ninput W : [2, 0]\nparam p : [4] = zeros()\n"
        "y = x**2 + 0*sum(b) + sum(floor(a))\nz = u*sum(p) + sum(W)"
    )
    at = {"x": 3.0, "u": 1.0, "a": np.ones((2, 5)), "b": np.ones(3), "W": np.ones((2, 0))}
    value, grads = m.value_and_grad("y")(at)
    assert value == 19
    assert {n: np.shape(g) for n, g in grads.items()} == {"x": (), "u": (), "a": (2, 5), "b": (3,), "W": (2, 0), "p": (4,)}
    assert grads["x"] == 6
    assert all(np.array_equal(grads[n], np.zeros(np.shape(grads[n]))) for n in ("u", "a", "b", "W", "p"))
    assert type(grads["u"]) is float
    back = m.vjp("y")(INF, at)[1]
    assert np.array_equal(back["a"], np.zeros((2, 5)))
    assert m.hvp("y", wrt="a")(np.ones((2, 5)), at)[1].tolist() == np.zeros((2, 5)).tolist()
    assert m.jvp("y", wrt="a")(np.full((2, 5), INF), at)[1] == 0


@pytest.mark.parametrize("kind", ["int", "bool"])
def test_whole_numbers_and_masks_are_never_differentiated(kind: str) -> None:
    m = gl.loads(f"input x : [N]\ninput k : {kind}[N]\ny = sum(x*k)")
    value, grads = m.value_and_grad("y")(x=[1, 2], k=[1, 0])
    assert value == 1
    assert list(grads) == ["x"]
    assert grads["x"].tolist() == [1, 0]
    for make in (m.value_and_grad, m.jvp, m.vjp, m.hvp):
        with pytest.raises(gl.GradlangError, match="k"):
            make("y", wrt="k")
        with pytest.raises(gl.GradlangError, match="k"):
            make("y", wrt=["x", "k"])


def test_constants_are_never_differentiated() -> None:
    m = gl.loads("const c = 2\ninput x\ny = c*x")
    assert m.value_and_grad("y")(x=3.0) == (6, {"x": 2})
    with pytest.raises(gl.GradlangError, match="c"):
        m.value_and_grad("y", wrt="c")


def test_whole_inputs_are_reals() -> None:
    """P20: an int, a bool or an int array for a real input is a real."""
    m = gl.loads("input x\ninput v : [2]\ny = x/2 + sum(v/2)")
    value, grads = m.value_and_grad("y")(x=3, v=np.array([1, 2]))
    assert (value, grads["x"], grads["v"].tolist(), grads["v"].dtype) == (3.0, 0.5, [0.5, 0.5], np.float64)


# ------------------------------------------------------------------ nobody's arrays are touched
ALIASING = {
    "x": "y = x",
    "T": "y = x.T",
    "slice": "y = x[1:]",
    "all": "y = x[:]",
    "reverse": "y = x[::-1]",
    "reshape": "y = reshape(x, -1)",
    "flatten": "y = flatten(x)",
    "squeeze": "y = squeeze(x[:1])",
    "none": "y = x[None]",
    "broadcast": "y = broadcast_to(x, [2, 3, 3])",
    "row": "y = x[0]",
    "real": "y = x*1",
    "minus zero": "y = x - 0",
    "where": "y = where(x == x, x, 0)",
    "two": "y = x\nz = x",
    "names": "y = x\nz = y\nu = x.T",
    "default": "y = d\nz = d",
    "constant": "y = c\nz = c + 0*x",
    "literal": "y = [1, 2, 3]\nz = y",
    "ones": "y = ones([3, 3])\nz = ones([3, 3])",
    "shared": "t = x*2\ny = t\nz = t.T",
    "eye": "y = eye(3)",
    "sort": "y = sort(x)",
    "sum": "y = sum(x, axis=0)\nz = y",
    "single": "y = sum(x, axis=[])",
    "concat": "y = concat([x])",
    "take": "y = take(x, [0, 1], axis=0)",
    "max": "y = max(x, axis=0)\nz = y",
    "relu": "y = relu(x)\nz = y",
    "parameter": "y = p\nz = p",
    "clip": "y = clip(x, -inf, inf)",
    "expand": "y = expand_dims(x, 0)",
}
LEAVES = "input x : [3, 3]\ninput d : [3] = [1, 2, 3]\nconst c = [4, 5, 6]\nparam p : [3] = ones()\n"


def arrays_in(result: Any) -> list[np.ndarray]:
    if isinstance(result, np.ndarray):
        return [result]
    if isinstance(result, dict):
        return [a for v in result.values() for a in arrays_in(v)]
    return [a for v in result for a in arrays_in(v)] if isinstance(result, tuple) else []


def spoil(result: Any) -> None:
    for a in arrays_in(result):
        assert a.flags.writeable
        a[...] = -77


def check_calls(call: Any, given: dict[str, np.ndarray]) -> None:
    """Calls that are spoilt do not change the inputs, each other or later calls."""
    kept = copy.deepcopy(given)
    first = call(**given)
    assert all(np.array_equal(given[n], kept[n]) for n in given)
    found = arrays_in(first)
    for k, a in enumerate(found):
        assert not any(np.shares_memory(a, v) for v in given.values())
        assert not any(np.shares_memory(a, b) for b in found[:k])
    wanted = copy.deepcopy(first)
    second_result = call(**given)
    spoil(first)
    assert all(np.array_equal(given[n], kept[n]) for n in given)
    for result in (second_result, call(**given)):
        for a, b in zip(arrays_in(result), arrays_in(wanted), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("formula", ALIASING.values(), ids=list(ALIASING))
def test_values_are_arrays_of_their_own(formula: str) -> None:
    model = gl.loads(LEAVES + formula + "\nlast = sum(x) + sum(d) + sum(c) + sum(p)")
    names = [line.split(" =")[0] for line in formula.split("\n")]
    given = {"x": np.arange(9.0).reshape(3, 3) - 4}
    check_calls(model.function([*names, "last"]), given)
    check_calls(model.function(names[0]), given)
    check_calls(lambda **at: model(at), given)


@pytest.mark.parametrize(
    "formula", [f for k, f in ALIASING.items() if k not in ("literal", "ones", "eye", "constant", "default", "parameter")]
)
def test_derivatives_are_arrays_of_their_own(formula: str) -> None:
    model = gl.loads(LEAVES + formula + "\nloss = sum(y) + 0*sum(d)")
    x = np.arange(9.0).reshape(3, 3) - 4
    shape = np.shape(model.function("y")(x=x))
    u, v = np.ones(shape), np.ones((3, 3))
    check_calls(model.value_and_grad("loss"), {"x": x})
    check_calls(lambda x, u: model.vjp("y", wrt="x")(u, x=x), {"x": x, "u": u})
    check_calls(lambda x, v: model.jvp("y", wrt="x")(v, x=x), {"x": x, "v": v})
    check_calls(lambda x, v: model.hvp("loss", wrt="x")(v, x=x), {"x": x, "v": v})


def test_gradients_that_are_equal_are_not_one_array() -> None:
    model = gl.loads("input a : [3]\ninput b : [3]\ny = sum(a + b)\nz = sum(a*b) + sum(a)\n")
    check_calls(model.value_and_grad("y"), {"a": np.ones(3), "b": np.ones(3)})
    check_calls(model.value_and_grad("z"), {"a": np.ones(3), "b": np.ones(3)})
    check_calls(
        lambda a, b, u: gl.loads("input a : [3]\ninput b : [3]\ny = a + b").vjp("y")(u, a=a, b=b),
        {"a": np.ones(3), "b": np.ones(3), "u": np.ones(3)},
    )


@pytest.mark.parametrize(
    "make",
    [
        np.asfortranarray,
        lambda x: x[::1, :],
        lambda x: np.broadcast_to(x[0], (3, 3)),
        lambda x: x.astype(np.float32),
        lambda x: x.tolist(),
        lambda x: x.astype(int),
        lambda x: np.lib.stride_tricks.as_strided(x, (3, 3), (8, 24)),
        lambda x: x.astype(">f8"),
    ],
)
def test_inputs_of_any_layout(make: Any) -> None:
    x = np.arange(9.0).reshape(3, 3)
    given = make(x)
    if isinstance(given, np.ndarray):
        given.setflags(write=False)
    f = gl.loads("input x : [3, 3]\ny = sum((x @ x.T)[0]*x[:, 1])").value_and_grad("y")
    wanted = f(x=np.array(given, float))
    got = f(x=given)
    assert got[0] == wanted[0]
    assert np.array_equal(got[1]["x"], wanted[1]["x"])
    assert got[1]["x"].dtype == np.float64
