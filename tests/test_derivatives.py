"""`grad`, `jacobian`, `hessian`, `jvp`, `vjp` and `hvp` in formulas and as requests, against formulas by hand and mpmath."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from loopcheck import agrees

import gradlang as gl
from gradlang.cli.main import main

RNG = np.random.default_rng(5)
X = np.array([0.7, -1.2, 1.9])
W = RNG.uniform(-1, 1, (3, 3))
M = RNG.uniform(-1, 1, (2, 3))
V = "x : [N]\n"
VW = V + "W : [M, N]\n"
AB = "input a, b\n"
Case = tuple[str, Callable[..., Any], dict[str, Any]]
E3 = np.eye(3)


def sech2(v: Any) -> Any:
    return 1 / np.cosh(v) ** 2


def newton(a: float, x: float, steps: int) -> float:
    for _ in range(steps):
        x = x - (x * x - a) / (2 * x)
    return x


def descent(W: Any, x: Any, steps: int) -> Any:
    for _ in range(steps):
        x = x - 0.1 * (W.T @ np.tanh(W @ x) + x**3)
    return x


# log(cosh) has the gradient W' tanh(W x), and a quartic x**3
ENERGY = "sum(log(cosh(W @ {0}))) + sum({0}**4)/4"

MEANT: dict[str, Case] = {
    "by a leaf": ("input a\ny = grad(a**3*sin(a), a)", lambda a: 3 * a**2 * np.sin(a) + a**3 * np.cos(a), {"a": 0.7}),
    "by a vector": (V + "y = grad(sum(x**3), x)", lambda x: 3 * x**2, {"x": X}),
    "by a matrix": (VW + "y = grad(sum(tanh(W @ x)), W)", lambda x, W: sech2(W @ x)[:, None] * x, {"x": X, "W": M}),
    "by a definition": ("input a\nz = a**2\ny = grad(a*z**3, z)", lambda a: 3 * a * a**4, {"a": 0.7}),
    "not through a definition": ("input a\nz = a**2\ny = grad(z**2 + a**2, z)", lambda a: 2 * a**2, {"a": 0.7}),
    "a definition of the same text is another value": (
        "input a\nz = a**2\nw = a**2\ny = grad(z*w, z)",
        lambda a: a**2,
        {"a": 0.7},
    ),
    "through a definition that comes later": (
        "input a\nz = a**2\ny = grad(w, z)\nw = sin(z)*z",
        lambda a: np.sin(a * a) + a * a * np.cos(a * a),
        {"a": 0.7},
    ),
    "by a definition that is a slice": (V + "z = x[1:]\ny = grad(sum(z**2)*x[1], z)", lambda x: 2 * x[1:] * x[1], {"x": X}),
    "argument of a function": ("input a\ndef f(x) = grad(x**4, x)\ny = f(sin(a))", lambda a: 4 * np.sin(a) ** 3, {"a": 0.7}),
    "two arguments that are one value": (
        AB + "def f(x, z) = grad(x**2*z, x)\ny = f(a, a)*b",
        lambda a, b: 2 * a * a * b,
        {"a": 0.7, "b": 1.3},
    ),
    "both arguments of one value": (
        "input a\ndef f(x, z) = grad(x**2*z, x) - grad(x**2*z, z)\ny = f(a, a)",
        lambda a: a**2,
        {"a": 0.7},
    ),
    "number for an argument": ("input a\ndef f(x, k) = grad(x**3*k, x)\ny = f(2, a)", lambda a: 12 * a, {"a": 0.7}),
    "formula over an argument of the caller": (
        "input a\ndef newton(f, x) = x - f/grad(f, x)\ny = newton(a**2 - 2, a)",
        lambda a: a - (a * a - 2) / (2 * a),
        {"a": 1.3},
    ),
    "formula that another argument is computed from": (
        "input a\ndef f(u, x) = grad(u*x, x)\ny = f(a**3, a)",
        lambda a: 4 * a**3,
        {"a": 0.7},
    ),
    "local of a function": (
        "input a\ndef f(x):\n    s = x**2\n    return grad(s**2*x, s)\ny = f(a)",
        lambda a: 2 * a**3,
        {"a": 0.7},
    ),
    "function of a function": (
        "input a\ndef g(x) = grad(x**3, x)\ndef f(x) = grad(g(x)*x, x)\ny = f(a)",
        lambda a: 9 * a**2,
        {"a": 0.7},
    ),
    "function of a vector": (
        V + "def f(v) = grad(sum(v**2*reverse(v)), v)\ndef reverse(v) = v[::-1]\ny = f(x)",
        lambda x: 2 * x * x[::-1] + x[::-1] ** 2,
        {"x": X},
    ),
    "own value of a loop": (V + "y = [grad(sin(v), v) for v in x]", lambda x: np.cos(x), {"x": X}),
    "shared value in a loop": (
        V + "input k\ny = [grad(sin(v*k), k) for v in x]",
        lambda x, k: x * np.cos(k * x),
        {"x": X, "k": 1.3},
    ),
    "own value with a shared one": (V + "y = [grad(v**2*sum(x), v) for v in x]", lambda x: 2 * x * x.sum(), {"x": X}),
    "shared array in a loop": (
        V + "z : [N]\ny = [grad(sin(v)*sum(x**2), x) for v in z]",
        lambda x, z: np.sin(z)[:, None] * 2 * x,
        {"x": X, "z": X + 1},
    ),
    "value of a loop that goes through an array": (
        V + "y = [grad(v*sum(x), x) for v in x]",
        lambda x: np.eye(3) * x.sum() + x[:, None],
        {"x": X},
    ),
    "array that the loop is over": (
        V + "y = [grad(sin(x[i])*x[0], x) for i in range(N)]",
        lambda x: np.diag(np.cos(x) * x[0]) + np.outer(np.sin(x), E3[0]),
        {"x": X},
    ),
    "gradients by a shared matrix": (
        VW + "y = [grad(sum((W @ v)**2), W) for v in [x, 2*x]]",
        lambda x, W: np.stack([2 * np.outer(W @ v, v) for v in (x, 2 * x)]),
        {"x": X, "W": M},
    ),
    "Jacobians by rows": (
        VW + "y = [jacobian(sin(W @ v), v) for v in [x, 2*x]]",
        lambda x, W: np.stack([np.cos(W @ v)[:, None] * W for v in (x, 2 * x)]),
        {"x": X, "W": M},
    ),
    "Jacobians by a shared matrix": (
        VW + "y = [jacobian(sin(W @ v), W) for v in [x, 2*x]]",
        lambda x, W: np.stack([np.einsum("i,ik,j->ikj", np.cos(W @ v), np.eye(2), v) for v in (x, 2 * x)]),
        {"x": X, "W": M},
    ),
    "two loops": (V + "y = [[grad(u**2*v, u) for u in x] for v in x]", lambda x: 2 * np.outer(x, x), {"x": X}),
    "two loops, the outer value": (
        V + "y = [[grad(u**2*v, v) for u in x] for v in x]",
        lambda x: np.tile(x**2, (3, 1)),
        {"x": X},
    ),
    "sum of gradients": (V + "y = sum(grad(v**3, v) for v in x)", lambda x: 3 * (x**2).sum(), {"x": X}),
    "Hessian vectors in a loop": (
        V + "z : [N]\ny = [hvp(sum(x**3)*v, x, x) for v in z]",
        lambda x, z: 6 * np.outer(z, x**2),
        {"x": X, "z": X + 1},
    ),
    "second derivative in a loop": (V + "y = [hessian(v**4, v) for v in x]", lambda x: 12 * x**2, {"x": X}),
    "state of a recurrence": (
        "input a\nq[0] = a\nq[t] = q[t-1] - 0.25*grad((q[t-1] - 1)**4, q[t-1]) for t in range(1, 4)\ny = q[3]",
        lambda a: (lambda s: s(s(s(a))))(lambda q: q - (q - 1) ** 3),
        {"a": 1.4},
    ),
    "Newton in a recurrence": (
        "input a\ndef f(x) = x**2 - a\nx[0] = a\nx[k] = x[k-1] - f(x[k-1])/grad(f(x[k-1]), x[k-1]) for k in range(1, 4)\ny = x[3]",
        lambda a: newton(a, a, 3),
        {"a": 1.7},
    ),
    "vector state of a recurrence": (
        VW + "q[0] = x\nq[t] = q[t-1] - 0.1*grad(" + ENERGY.format("q[t-1]") + ", q[t-1]) for t in range(1, 4)\ny = q[3]",
        lambda x, W: descent(W, x, 3),
        {"x": X, "W": W},
    ),
    "state in a block": (
        AB
        + "p[0] = a\nq[0] = b\nfor t in range(1, 4):\n    p[t] = p[t-1] - 0.1*grad(q[t-1]**4, q[t-1])\n    q[t] = q[t-1] + 0.1*p[t]\ny = q[3]",
        lambda a, b: kicked(a, b),
        {"a": 0.7, "b": 1.3},
    ),
    "through a recurrence": (
        "input a\nh[0] = a\nh[t] = h[t-1]**2*a for t in range(1, 4)\ny = grad(h[3], a)",
        lambda a: 15 * a**14,
        {"a": 0.9},
    ),
    "twice through a recurrence": (
        "input a\nh[0] = a\nh[t] = h[t-1]**2*a for t in range(1, 4)\ny = hessian(h[3], a)",
        lambda a: 15 * 14 * a**13,
        {"a": 0.6},
    ),
    "jacobian of a vector": (VW + "y = jacobian(tanh(W @ x), x)", lambda x, W: sech2(W @ x)[:, None] * W, {"x": X, "W": M}),
    "jacobian by a matrix": (
        VW + "y = jacobian(tanh(W @ x), W)",
        lambda x, W: np.einsum("i,ik,j->ikj", sech2(W @ x), np.eye(2), x),
        {"x": X, "W": M},
    ),
    "jacobian of a matrix": (
        V + "y = jacobian([[u*v for u in x] for v in x], x)",
        lambda x: np.einsum("ik,j->ijk", E3, x) + np.einsum("jk,i->ijk", E3, x),
        {"x": X},
    ),
    "jacobian of a scalar": (V + "y = jacobian(sum(x**2), x)", lambda x: 2 * x, {"x": X}),
    "jacobian by a scalar": (
        "input a\ny = jacobian([a, a**2, sin(a)], a)",
        lambda a: np.array([1 + 0 * a, 2 * a, np.cos(a)]),
        {"a": 0.7},
    ),
    "jacobian of a scalar by a scalar": ("input a\ny = jacobian(sin(a), a)", lambda a: np.cos(a), {"a": 0.7}),
    "hessian": (V + "y = hessian(sum(x**3) + x[0]*x[1]**2, x)", lambda x: np.diag(6 * x) + mixed(x), {"x": X}),
    "hessian by a definition": (V + "z = x**2\ny = hessian(sum(z**3)*x[0], z)", lambda x: np.diag(6 * x**2) * x[0], {"x": X}),
    "hessian by a matrix": (
        VW + "y = hessian(sum((W @ x)**2), W)",
        lambda x, W: 2 * np.einsum("ik,j,l->ijkl", np.eye(2), x, x),
        {"x": X, "W": M},
    ),
    "jvp": (V + "y = jvp(x**3, x, sin(x))", lambda x: 3 * x**2 * np.sin(x), {"x": X}),
    "vjp": (VW + "y = vjp(tanh(W @ x), x, W @ x)", lambda x, W: W.T @ (sech2(W @ x) * (W @ x)), {"x": X, "W": M}),
    "hvp": (V + "y = hvp(sum(x**4), x, x**2)", lambda x: 12 * x**4, {"x": X}),
    "the vector is held fixed": ("input a\ny = grad(jvp(a**3, a, a), a)", lambda a: 9 * a**2, {"a": 0.7}),
    "number as a vector": (V + "y = jvp(x**3, x, 2)", lambda x: 6 * x**2, {"x": X}),
    "names of requests as functions": ("input a\ndef jvp(x) = x**2\ny = jvp(a)", lambda a: a**2, {"a": 0.7}),
    "force": (V + "energy = sum(1/x**2)\ny = -grad(energy, x)*2", lambda x: 4 / x**3, {"x": X}),
    "through a choice": (
        V + "y = grad(sum(v**3 if v > 0 else sqrt(v) for v in [x[0], x[2]]) + sum(x**2 if x > 0 else x), x)",
        lambda x: np.where(x > 0, 2 * x, 1) + 3 * x**2 * np.array([1, 0, 1]),
        {"x": X},
    ),
}


def kicked(p: float, q: float) -> float:
    for _ in range(3):
        p = p - 0.4 * q**3
        q = q + 0.1 * p
    return q


def mixed(x: Any) -> Any:
    out = np.zeros((3, 3))
    out[0, 1] = out[1, 0] = 2 * x[1]
    out[1, 1] = 2 * x[0]
    return out


@pytest.mark.parametrize("name", MEANT)
def test_what_a_derivative_means(name: str) -> None:
    text, reference, given = MEANT[name]
    agrees(text, reference, given)


# ------------------------------------------------------------------ high orders
COMPOSITES: dict[str, tuple[str, Callable[[Any], Any], float]] = {
    "exp sin log": ("exp(sin(x**2))*log(1 + x)", lambda x: mpmath.exp(mpmath.sin(x**2)) * mpmath.log(1 + x), 1.3),
    "logistic": ("1/(1 + exp(-x))", lambda x: 1 / (1 + mpmath.exp(-x)), 0.4),
    "tanh of a root": ("tanh(sqrt(1 + x**2))", lambda x: mpmath.tanh(mpmath.sqrt(1 + x**2)), 0.8),
    "power of itself": ("x**x", lambda x: x**x, 1.7),
    "atan of a quotient": ("atan(x/(1 + x**2))", lambda x: mpmath.atan(x / (1 + x**2)), 0.6),
    "erf": ("erf(x)*cos(x)", lambda x: mpmath.erf(x) * mpmath.cos(x), 0.9),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_eighth_derivative(name: str) -> None:
    text, reference, x = COMPOSITES[name]
    lines = "".join(f"d{k} = grad(d{k - 1}, x)\n" for k in range(1, 9))
    orders = [f"d{k}" for k in range(9)]
    found = gl.loads(f"input x\nd0 = {text}\n{lines}").function(orders)(x=x)
    with mpmath.workdps(60):
        coefficients = mpmath.taylor(reference, mpmath.mpf(x), 8)
        for k in range(9):
            wanted = float(coefficients[k] * mpmath.factorial(k))
            assert abs(found[f"d{k}"] - wanted) <= 1e-12 * max(1, abs(wanted)), (k, found[f"d{k}"], wanted)


def test_nested_calls_to_the_fourth_order() -> None:
    model = gl.loads("input x\ny = grad(grad(grad(grad(exp(sin(x)), x), x), x), x)")
    with mpmath.workdps(50):
        wanted = float(mpmath.diff(lambda v: mpmath.exp(mpmath.sin(v)), mpmath.mpf(0.7), 4))
    assert model(x=0.7) == pytest.approx(wanted, rel=1e-13)


def test_greeks_by_the_model_of_their_price() -> None:
    """Third derivatives of an option by its spot and its volatility (E. G. Haug, "Option Pricing Formulas", chapter 2)."""
    text = (
        "S = 42\nK = 40\nr = 0.1\ns = 0.2\nT = 0.5\nd1 = (log(S/K) + (r + s**2/2)*T)/(s*sqrt(T))\nd2 = d1 - s*sqrt(T)\n"
        "c = S*norm_cdf(d1) - K*exp(-r*T)*norm_cdf(d2)\ngamma = grad(grad(c, S), S)\nspeed = grad(gamma, S)\n"
        "vega = grad(c, s)\nultima = grad(grad(vega, s), s)\noutput gamma, speed, vega, ultima, d1, d2"
    )
    o = gl.loads(text)()
    S, s, T, d1, d2 = 42, 0.2, 0.5, o["d1"], o["d2"]
    pdf = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
    assert o["gamma"] == pytest.approx(pdf / (S * s * np.sqrt(T)), rel=1e-12)
    assert o["speed"] == pytest.approx(-o["gamma"] / S * (d1 / (s * np.sqrt(T)) + 1), rel=1e-12)
    assert o["vega"] == pytest.approx(S * pdf * np.sqrt(T), rel=1e-12)
    ultima = -o["vega"] / s**2 * (d1 * d2 * (1 - d1 * d2) + d1**2 + d2**2)
    assert o["ultima"] == pytest.approx(ultima, rel=1e-11)


@pytest.mark.parametrize("f", ["exp(a*sin(b))", "a**b + log(a + b**2)", "sum(tanh(a*x + b))", "logaddexp(a*b, x[0])*x[1]"])
def test_mixed_partials_are_symmetric(f: str) -> None:
    text = f"input a, b\nx : [N]\nf = {f}\np = grad(grad(f, a), b)\nq = grad(grad(f, b), a)\nu = jacobian(grad(f, a), x)\nv = grad(jvp(f, a, 1), x)"
    o = gl.loads(text).function(["p", "q", "u", "v"])(a=0.7, b=1.3, x=X)
    assert o["p"] == pytest.approx(o["q"], rel=1e-13)
    assert np.allclose(o["u"], o["v"], rtol=1e-13, atol=1e-15)


# ------------------------------------------------------------------ exact zeros, shapes
def test_one_division_serves_both_arguments_of_a_quotient() -> None:
    model = gl.loads(V + "v : [N]\ny = sum(sin(v/x))")
    f, v = model.value_and_grad("y", backend="numpy"), np.array([0.3, -1.0, 2.0])
    slopes = f(x=X, v=v)[1]
    assert f.source.count(" / ") == 2  # the quotient, and the cotangent by the same number
    np.testing.assert_allclose(slopes["v"], np.cos(v / X) / X, rtol=1e-15)
    np.testing.assert_allclose(slopes["x"], -np.cos(v / X) * v / X**2, rtol=1e-15)


def test_a_quotient_that_is_not_chosen_leaves_higher_derivatives_alone() -> None:
    """Where x is 0 nothing depends on v/x, which is infinite, nor on its derivatives."""
    model = gl.loads(V + "v : [N]\ny = sum([v[i]/x[i] if x[i] > 0 else v[i]*x[i] for i in range(N)]**2)")
    x, v = np.array([2.0, 0.0]), np.array([3.0, 5.0])
    found = model.hessian("y", ["x", "v"])(x=x, v=v)
    np.testing.assert_allclose(found["x"]["x"], np.diag([6 * v[0] ** 2 / x[0] ** 4, 2 * v[1] ** 2]), rtol=1e-15)
    np.testing.assert_allclose(found["x"]["v"], np.diag([-4 * v[0] / x[0] ** 3, 0]), rtol=1e-15)
    third = gl.loads(V + "v : [N]\nd = grad(grad(sum(where(x > 0, v/x, v*x)), x)@x, x)")(x=x, v=v)
    np.testing.assert_allclose(third, [2 * v[0] / x[0] ** 2 - v[0] / x[0] ** 2, v[1]], rtol=1e-15)


def test_no_dependence_is_an_exact_zero_of_the_right_shape() -> None:
    text = (
        V + "A : [M, 2]\ninput b\nu = b**2\ng = grad(u, x)\nJ = jacobian([b, u], A)\nH = hessian(u, A)\nj = jvp(A*b, x, x)\n"
        "h = hvp(u, x, x)\nv = vjp(A*b, x, A)\nd = grad(x[0]*b, b) - x[0]"
    )
    given = {"x": X, "A": np.full((4, 2), np.nan), "b": np.inf}
    o = gl.loads(text).function(["g", "J", "H", "j", "h", "v", "d"])(given)
    shapes = {"g": (3,), "J": (2, 4, 2), "H": (4, 2, 4, 2), "j": (4, 2), "h": (3,), "v": (3,), "d": ()}
    for n, shape in shapes.items():
        assert np.shape(o[n]) == shape, n
        assert not np.any(o[n]), n


SHAPED = "x : [N]\nW : [M, N]\ninput a\nz = W @ x*a\nf = sum(sin(z))\n"
DIMS = {"x": (3,), "W": (2, 3), "a": (), "z": (2,)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_shapes_of_requested_matrices(dtype: str) -> None:
    model = gl.loads(SHAPED, dtype=dtype)
    given = {"x": X, "W": M, "a": 0.7}
    for n, shape in DIMS.items():
        for found, wanted in (
            (model.jacobian("z", n)(given), (2, *shape)),
            (model.jacobian("f", n)(given), shape),
            (model.hessian("f", n)(given), shape + shape),
        ):
            assert np.shape(found) == wanted, n
            assert wanted == () or found.dtype == dtype, n
    names = ["x", "a", "W"]
    jacobians, blocks = model.jacobian("z", names)(given), model.hessian("f", names)(given)
    assert list(jacobians) == list(blocks) == names
    for n in names:
        assert np.array_equal(jacobians[n], model.jacobian("z", n)(given)), n
        assert list(blocks[n]) == names
        assert np.allclose(blocks[n][n], model.hessian("f", n)(given), rtol=1e-5), n
        for k in names:
            rank = len(DIMS[n])
            turned = np.moveaxis(blocks[k][n], range(len(DIMS[k])), range(rank, rank + len(DIMS[k])))
            assert np.shape(blocks[n][k]) == DIMS[n] + DIMS[k]
            assert np.allclose(blocks[n][k], turned, rtol=1e-4, atol=1e-6), (n, k)
    assert list(model.jacobian("z")(given)) == ["x", "W", "a"]


def test_matrices_of_requests_are_those_of_formulas() -> None:
    model = gl.loads(SHAPED + "J = jacobian(z, W)\nH = hessian(f, x)\nB = jacobian(grad(f, x), W)")
    o = model.function(["J", "H", "B"])(x=X, W=M, a=0.7)
    given = {"x": X, "W": M, "a": 0.7}
    assert np.allclose(o["J"], model.jacobian("z", "W")(given), rtol=1e-14)
    assert np.allclose(o["H"], model.hessian("f", "x")(given), rtol=1e-13)
    assert np.allclose(o["B"], model.hessian("f", ["x", "W"])(given)["x"]["W"], rtol=1e-13)


@pytest.mark.parametrize("size", [0, 1])
def test_no_entries_and_one(size: int) -> None:
    x = np.arange(1.0, size + 1)
    o = gl.loads(V + "J = jacobian(concat([x, x**2]), x)\nH = hessian(sum(x**3), x)\ng = grad(sum(x), x)").function(
        ["J", "H", "g"]
    )(x=x)
    assert [o[n].shape for n in "JHg"] == [(2 * size, size), (size, size), (size,)]
    assert o["H"].tolist() == [[6.0]] * size


def test_a_derivative_knows_the_values_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "part.grad").write_text("k = 2\ndef slope(f, x) = grad(f, x)\nenergy = k**3\n")
    main_file = tmp_path / "main.grad"
    main_file.write_text(
        'import "part.grad" as p\nx = 3\nu = grad(p.energy*x, p.k)\nv = p.slope(x**2*p.k, x)\nw = hessian(p.energy, p.k)\n'
        "t = grad(p.energy**2, p.energy)\n"
    )
    assert gl.load(main_file)() == {"u": 36.0, "v": 12.0, "w": 12.0, "t": 16.0}


# ------------------------------------------------------------------ requests
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, *words: str) -> str:
    path = tmp_path / "p.grad"
    path.write_text(text)
    assert main(["run", str(path), *words]) == 0
    return capsys.readouterr().out


def test_requested_matrices_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(tmp_path, capsys, "x = [1, 2]\nb = 3\ny = b*x**2\njacobian y wrt x\n")
    assert out == "y = [3.0, 12.0]\n\njacobian of y\n  x  [[6.0, 0.0],\n      [0.0, 12.0]]\n"
    out = said(tmp_path, capsys, "x = [1, 2]\nb = 3\nf = b*sum(x**2)\nhessian f wrt x, b\n")
    assert out == (
        "f = 15.0\n\nhessian of f\n  x, x  [[6.0, 0.0],\n         [0.0, 6.0]]\n  x, b  [2.0, 4.0]\n  b, x  [2.0, 4.0]\n  b, b  0.0\n"
    )


def test_requested_matrices_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "x = [1, 2]\nb = 3\nz = b*x\ny = z**2\nf = sum(y)\njacobian y wrt z\nhessian f wrt x\ngrad f wrt b\n"
    found = json.loads(said(tmp_path, capsys, text, "--json"))
    assert found["jacobians"] == {"y": {"z": [[6.0, 0.0], [0.0, 12.0]]}}
    assert found["hessians"] == {"f": {"x": {"x": [[18.0, 0.0], [0.0, 18.0]]}}}
    assert found["gradients"] == {"f": {"b": 30.0}}
    found = json.loads(said(tmp_path, capsys, text, "--json", "--wrt", "b"))
    assert found["jacobians"] == {"y": {"b": [6.0, 24.0]}}
    assert found["hessians"] == {"f": {"b": {"b": 10.0}}}
