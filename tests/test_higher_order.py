"""Derivatives of high order: nested `grad` against mpmath, and mixed partials in any order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import mpmath
import numpy as np
import pytest
from large import lines_run

import gradlang as gl
from gradlang import pipeline

mp = mpmath.mp.clone()
mp.dps = 60
AT = 0.7
OF_ONE: dict[str, Callable[[Any], Any]] = {
    "exp(sin(x))": lambda x: mp.exp(mp.sin(x)),
    "sin(x)*exp(-x)": lambda x: mp.sin(x) * mp.exp(-x),
    "tanh(x**2 + 0.5)": lambda x: mp.tanh(x**2 + mp.mpf(0.5)),
    "log(1 + x**2)": lambda x: mp.log(1 + x * x),
    "sqrt(1 + x)*cos(x)": lambda x: mp.sqrt(1 + x) * mp.cos(x),
    "1/(1 + exp(-x))": lambda x: 1 / (1 + mp.exp(-x)),
    "softplus(sin(x))": lambda x: mp.log(1 + mp.exp(mp.sin(x))),
    "erf(x)*x": lambda x: mp.erf(x) * x,
    "atan(x)": mp.atan,
    "x**x": lambda x: x**x,
    "gelu(x)": lambda x: x * mp.ncdf(x),
    "x**3.5/(2 + cos(x))": lambda x: x ** mp.mpf(3.5) / (2 + mp.cos(x)),
    "sinh(x)/cosh(2*x)": lambda x: mp.sinh(x) / mp.cosh(2 * x),
    "asinh(x)*log(x)": lambda x: mp.asinh(x) * mp.log(x),
    "x**9 + x**3": lambda x: x**9 + x**3,
    "hypot(x, 1)": lambda x: mp.sqrt(x * x + 1),
    "logsumexp([x, x**2, 1])": lambda x: mp.log(mp.exp(x) + mp.exp(x * x) + mp.e),
    "sum(sin(k*x)/(k + 1) for k in range(4))": lambda x: sum(mp.sin(k * x) / (k + 1) for k in range(4)),
    "solve(u - 0.3*sin(u) - x for u from x)": lambda x: mp.findroot(lambda u: u - mp.mpf(0.3) * mp.sin(u) - x, x),
    "x if x < 0 else log1p(x)*expm1(x)": lambda x: mp.log(1 + x) * (mp.exp(x) - 1),
}


@pytest.mark.parametrize("formula", OF_ONE)
def test_the_eighth_derivative(formula: str) -> None:
    lines = [f"x = {AT}", f"d0 = {formula}", *(f"d{k} = grad(d{k - 1}, x)" for k in range(1, 9))]
    made = gl.loads("\n".join(lines)).function([f"d{k}" for k in range(9)])()
    for k in (1, 4, 8):
        wanted = mp.diff(OF_ONE[formula], mp.mpf(AT), k)
        assert abs(made[f"d{k}"] - wanted) <= 1e-12 * abs(wanted), (k, made[f"d{k}"], wanted)


def test_the_fourth_derivative_of_a_recurrence() -> None:
    """y[t] = sin(y[t-1]) + x*t/4, through four nested gradients."""
    lines = ["x = 0.7", "y[0] = x", "y[t] = sin(y[t-1]) + x*t/4 for t in range(1, 6)", "d0 = y[5]"]
    lines += [f"d{k} = grad(d{k - 1}, x)" for k in range(1, 5)]

    def last(x: Any) -> Any:
        y = x
        for t in range(1, 6):
            y = mp.sin(y) + x * t / 4
        return y

    wanted = mp.diff(last, mp.mpf(AT), 4)
    assert abs(gl.loads("\n".join(lines)).function("d4")() - wanted) <= 1e-12 * abs(wanted)


OF_THREE = {
    "pointwise": "f = exp(sin(x*y))*z + x**3*y/(1 + z**2) + log(x + y*z)",
    "arrays": "v = [x, y*z, z]\nf = logsumexp(v*x) + norm(v)*prod(v) + sum(softmax(v)*v)",
    "matrix": "A = [[3 + x, y], [y, 4 + z]]\nf = logdet(A) + [x, y] @ solve(A, [z, 1]) + sum(cholesky(A))",
    "recurrence": "s[0] = x\ns[t] = tanh(s[t-1]*y) + z*t*0.1 for t in range(1, 5)\nf = s[4]*s[2]",
    "root": "u = solve(w - 0.3*sin(w*x) - y for w from y)\nf = u**2*z + u*x",
    "density": "f = normal_lpdf([x, y], z, 1 + x**2) + gamma_lpdf(y, 2 + x, z)",
    "function": "def g(a, b) = grad(a**3*b**2, a)\nf = g(x*y, z) + g(z, x)",
}


@pytest.mark.parametrize("text", OF_THREE.values(), ids=list(OF_THREE))
def test_mixed_partials_in_any_order(text: str) -> None:
    """Schwarz: the order of differentiation changes the rounding only."""
    head = "x = 0.7\ny = 1.3\nz = 0.9\n"
    orders = {"".join(p): f"grad(grad(grad(f, {p[0]}), {p[1]}), {p[2]})" for p in permutations("xyz")}
    orders |= {p: f"grad(grad(grad(f, {p[0]}), {p[1]}), {p[2]})" for p in ("xxy", "xyx", "yxx")}
    made = gl.loads(head + text + "".join(f"\nd_{n} = {d}" for n, d in orders.items()))
    found = made.function([f"d_{n}" for n in orders])()
    for group in ("xyz", "xxy"):
        values = [found[f"d_{n}"] for n in orders if sorted(n) == sorted(group)]
        assert np.ptp(values) <= 1e-12 * (1 + max(map(abs, values))), (group, values)
    whole = gl.loads(head + text).hessian("f", wrt=["x", "y", "z"])()
    for a in "xyz":
        for b in "xyz":
            assert abs(whole[a][b] - whole[b][a]) <= 1e-13 * (1 + abs(whole[a][b])), (a, b, whole)


@pytest.mark.parametrize("operator", ["hessian(f, a)", "jacobian(grad(f, a), a)", "hvp(f, a, 1)"])
def test_a_second_derivative_of_a_recurrence_is_differentiated_again(operator: str) -> None:
    """Its sweeps hold values that stand for any cotangent; a further sweep must not take them for its own."""
    head = "a = 0.7\ns[0] = a\ns[t] = sin(s[t-1])*a + t for t in range(1, 4)\nf = a*s[3]\n"
    made = gl.loads(f"{head}y = {operator}\nz = grad(grad(f, a), a)")
    assert made.value_and_grad("y")()[0] == pytest.approx(made.value_and_grad("z")()[0], rel=1e-14)
    assert made.value_and_grad("y")()[1]["a"] == pytest.approx(made.value_and_grad("z")()[1]["a"], rel=1e-13)


FILTER = """
y : [T]
x : [3]
s = exp(2*x)
const F = [[1, 1], [0, 1]]
const H = [1, 0]
m[0] = zeros(2)
P[0] = 10*eye(2)
ll[0] = 0
for t in range(1, T+1):
    mp = F @ m[t-1]
    Pp = F @ P[t-1] @ F.T + [[s[0], 0], [0, s[1]]]
    S  = H @ Pp @ H + s[2]
    K  = Pp @ H/S
    v  = y[t-1] - H @ mp
    m[t] = mp + K*v
    P[t] = Pp - K[:, None]*K[None, :]*S
    ll[t] = ll[t-1] + log(S) + v**2/S
f = ll[T]
"""


def test_the_hessian_of_a_kalman_filter() -> None:
    model = gl.loads(FILTER)
    given = {"x": [-0.3, -1, 0.1], "y": np.random.default_rng(1).normal(size=6)}
    columns = model.hvp("f", wrt="x")
    wanted = [columns(v, given)[1] for v in np.eye(3)]
    for backend in ("numpy", "native"):
        found = model.hessian("f", wrt="x", backend=backend)(given)
        np.testing.assert_allclose(found, wanted, rtol=1e-11)
        np.testing.assert_array_equal(found.shape, (3, 3))
    step, slope = 1e-5, model.value_and_grad("f", wrt="x")
    moved = [[slope({**given, "x": np.add(given["x"], side * step * v)})[1]["x"] for side in (1, -1)] for v in np.eye(3)]
    np.testing.assert_allclose(found, [(a - b) / (2 * step) for a, b in moved], rtol=1e-6)


@pytest.mark.parametrize("body", ["tril(transpose({0}))", "tril({0} + transpose(A))", "transpose(tril({0})*2)"])
def test_the_work_of_a_hessian_product_grows_in_proportion(body: str) -> None:
    """Whether zeros of a tangent come from a choice is asked at every step, of all steps before it."""
    counts = []
    for n in (40, 160):
        steps = "".join(f"C{k + 1} = {body.format(f'C{k}')}\n" for k in range(n))
        program = gl.loads(f"A : [N, N]\nC0 = tril(A)\n{steps}y = sum(exp(C{n}))\n").program
        goal = pipeline.Goal("hvp", ("y",), ("A",))
        counts.append(lines_run("transform", lambda p=program, g=goal: pipeline.plan(p, g, p.language, "a test")))
    assert counts[1] < 4.5 * counts[0]


def test_a_hessian_product_by_many_names_is_one_sweep() -> None:
    counts = []
    for n in (40, 160):
        names = [f"a{k}" for k in range(n)]
        program = gl.loads(
            "".join(f"{a} : [N]\n" for a in names) + f"y = {' + '.join(f'sum(exp({a}))**2' for a in names)}\n"
        ).program
        goal = pipeline.Goal("hvp", ("y",), tuple(names))
        counts.append(
            lines_run("transform/(jvp|vjp|chain)", lambda p=program, g=goal: pipeline.plan(p, g, p.language, "a test"))
        )
    assert counts[1] < 4.5 * counts[0]


def test_tangents_of_values_that_need_tangents() -> None:
    """The second product needs the first: both are with the same vector, but the sweep of the first cannot know of it."""
    text = "input x, v\nf = sin(x)*x\ng = jvp(f, x, v)\nh = jvp(g*f, x, v)\nk = jvp(f, x, v) + h\n"
    x, v = mp.mpf(0.7), mp.mpf(0.3)

    def f(x: Any) -> Any:
        return mp.sin(x) * x

    def g(x: Any) -> Any:
        return mp.diff(f, x) * v

    wanted = g(x) + mp.diff(lambda t: g(t) * f(t), x) * v
    assert gl.loads(text).function("k")(x=0.7, v=0.3) == pytest.approx(float(wanted), rel=1e-13)


def test_a_hessian_by_many_names_looks_at_what_is_new() -> None:
    """For each of its blocks: not at everything that was made for the blocks before."""
    counts = []
    for n in (6, 12):
        names = [f"a{k}" for k in range(n)]
        head = "input x : [N]\n" + "".join(f"{a} = 0.5\n" for a in names)
        program = gl.loads(head + f"y = sum(exp({' + '.join(f'{a}*x**{k % 5}' for k, a in enumerate(names))}))\n").program
        goal = pipeline.Goal("hessian", ("y",), tuple(names))
        counts.append(lines_run("transform/lifting", lambda p=program, g=goal: pipeline.plan(p, g, p.language, "a test")))
    assert counts[1] < 6 * counts[0]
