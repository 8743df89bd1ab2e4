"""W4: sum(tanh(a*x + b)*sigmoid(x)*exp(-x*x)) and the gradients of x, a and b: what fusion and vector functions are worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import floors
import numpy as np
import peers
from timing import Bench

import gradlang as gl

TEXT = """x : [N]
a : []
b : []
y = sum(tanh(a*x + b)*sigmoid(x)*exp(-x*x))
"""
A, B = 1.3, -0.2
TILE = 16384
Call = Callable[[], Any]


def data(n: int) -> np.ndarray:
    return np.random.default_rng(4).normal(0.0, 1.5, n)


class Tiled:
    """NumPy as good as it gets: tiles that stay in the cache, every operation into memory that is there."""

    def __init__(self, n: int) -> None:
        self.dx = np.empty(n)
        self.buffers = [np.empty(min(n, TILE)) for _ in range(3)]

    def __call__(self, x: np.ndarray, a: float, b: float) -> tuple[float, tuple[np.ndarray, float, float]]:
        loss = da = db = 0.0
        for start in range(0, len(x), TILE):
            v, dx = x[start : start + TILE], self.dx[start : start + TILE]
            t, s, e = (buffer[: len(v)] for buffer in self.buffers)
            np.multiply(v, a, out=t)
            t += b
            np.tanh(t, out=t)
            np.negative(v, out=s)
            np.exp(s, out=s)
            s += 1.0
            np.reciprocal(s, out=s)
            np.square(v, out=e)
            np.negative(e, out=e)
            np.exp(e, out=e)
            e *= s
            loss += t.dot(e)
            np.add(v, v, out=dx)
            dx += s
            np.subtract(1.0, dx, out=dx)
            np.multiply(t, e, out=s)
            dx *= s  # y*(1 - s - 2*x)
            t *= s
            e -= t  # (1 - t**2)*s*exp(-x**2)
            da += e.dot(v)
            db += e.sum()
            e *= a
            dx += e
        return loss, (self.dx, da, db)


def numpy_plain(x: np.ndarray, a: float, b: float) -> tuple[float, tuple[Any, ...]]:
    t, s, e = np.tanh(a * x + b), 1 / (1 + np.exp(-x)), np.exp(-x * x)
    y = t * s * e
    u = (1 - t * t) * s * e
    return float(y.sum()), (a * u + y * (1 - s - 2 * x), float(u @ x), float(u.sum()))


def c_floor(x: np.ndarray) -> Call:
    dx, dab = np.empty(len(x)), np.empty(2)
    call = floors.bound(floors.library("w4_elementwise", loose=False).value_and_grad, [len(x), x, A, B, dx, dab])
    return lambda: (call(), (dx, dab[0], dab[1]))


def jax(x: np.ndarray) -> Call:
    j = peers.jax()
    jnp = j.numpy

    def f(x: Any, a: Any, b: Any) -> Any:
        return jnp.sum(jnp.tanh(a * x + b) * j.nn.sigmoid(x) * jnp.exp(-x * x))

    g = j.jit(j.value_and_grad(f, argnums=(0, 1, 2)))
    there = j.device_put(x)
    return lambda: j.block_until_ready(g(there, A, B))


def torch(x: np.ndarray) -> Call:
    t = peers.torch()
    v, a, b = leaves = [t.tensor(k, requires_grad=True) for k in (x, A, B)]

    def call() -> Any:
        y = t.sum(t.tanh(a * v + b) * t.sigmoid(v) * t.exp(-v * v))
        return y.item(), [g.numpy() for g in t.autograd.grad(y, leaves)]

    return call


def autograd(x: np.ndarray) -> Call:
    peers.autograd()
    import autograd.numpy as anp
    from autograd.builtins import tuple as boxed
    from autograd.differential_operators import value_and_grad

    g = value_and_grad(lambda p: anp.sum(anp.tanh(p[1] * p[0] + p[2]) / (1 + anp.exp(-p[0])) * anp.exp(-p[0] * p[0])))
    return lambda: g(boxed((x, A, B)))


def drjit(x: np.ndarray) -> Call:
    d = peers.drjit()
    from drjit.llvm.ad import Float64

    there = Float64(x)

    def call() -> Any:
        v, a, b = Float64(there), Float64(A), Float64(B)
        d.enable_grad(v, a, b)
        y = d.sum(d.tanh(a * v + b) / (1 + d.exp(-v)) * d.exp(-v * v))
        d.backward(y)
        dv, da, db = d.grad(v), d.grad(a), d.grad(b)
        d.eval(y, dv, da, db)
        d.sync_thread()
        return y[0], (dv, da[0], db[0])

    return call


def pytensor(x: np.ndarray) -> Call:
    p = peers.pytensor()
    import pytensor.tensor as pt

    v, a, b = pt.dvector(), pt.dscalar(), pt.dscalar()
    y = pt.sum(pt.tanh(a * v + b) * pt.sigmoid(v) * pt.exp(-v * v))
    f = p.function([v, a, b], [y, *p.grad(y, [v, a, b])], trust_input=True)
    a0, b0 = np.array(A), np.array(B)

    def call() -> Any:
        y, *slopes = f(x, a0, b0)
        return y, slopes

    return call


def casadi(x: np.ndarray) -> Call:
    c = peers.casadi()
    v, a, b = c.MX.sym("x", len(x)), c.MX.sym("a"), c.MX.sym("b")
    y = c.sum1(c.tanh(a * v + b) / (1 + c.exp(-v)) * c.exp(-v * v))
    call, (value, dx, da, db) = peers.from_casadi(
        c.Function("f", [v, a, b], [y, *(c.gradient(y, k) for k in (v, a, b))]), [x, A, B]
    )

    def go() -> Any:
        call()
        return value[0], (dx, da[0], db[0])

    return go


def ddx(x: np.ndarray) -> Call:
    d = peers.ddx()

    def model() -> Any:
        v, a, b = d.var("x"), d.var("a"), d.var("b")
        return d.tanh(a * v + b) / (1.0 + d.exp(-v)) * d.exp(-v * v)

    f = d.equation(model).compile(points=len(x))
    call = f.buffer(np.stack([x, np.full_like(x, A), np.full_like(x, B)]))

    def go() -> Any:
        call()
        slopes = call.jacobian
        return call.value.sum(), (slopes[0], slopes[1].sum(), slopes[2].sum())

    return go


def sympy(x: np.ndarray) -> Call:
    s = peers.sympy()
    v, a, b = s.symbols("x a b")
    y = s.tanh(a * v + b) / (1 + s.exp(-v)) * s.exp(-v * v)
    f = s.lambdify((v, a, b), [y, *(y.diff(k) for k in (v, a, b))], "numpy", cse=True)

    def call() -> Any:
        y, dx, da, db = f(x, A, B)
        return y.sum(), (dx, da.sum(), db.sum())

    return call


def gradlang(f: Any, x: np.ndarray) -> Call:
    given = {"x": x, "a": A, "b": B}

    def call() -> Any:
        y, slopes = f(given)
        return y, (slopes["x"], slopes["a"], slopes["b"])

    return call


def run(bench: Bench) -> None:
    model = gl.loads(TEXT)
    f, value = model.value_and_grad("y", wrt=["x", "a", "b"]), model.function("y")
    for n in (10_000,) if bench.quick else (1_000, 10_000, 100_000, 1_000_000):
        case(bench, f, value, data(n))


def case(bench: Bench, f: Any, value: Any, x: np.ndarray) -> None:
    n, tiled = len(x), Tiled(len(x))
    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: gradlang(f, x),
        "NumPy by hand, tiles": lambda: lambda: tiled(x, A, B),
        "NumPy by hand, as written": lambda: lambda: numpy_plain(x, A, B),
        "C by hand, one loop": lambda: c_floor(x),
        "jax.jit": lambda: jax(x),
        "drjit": lambda: drjit(x),
        "pytensor": lambda: pytensor(x),
    }
    if n in (10_000, 1_000_000):
        makers |= {
            "torch": lambda: torch(x),
            "autograd": lambda: autograd(x),
            "casadi MX, buffer": lambda: casadi(x),
            "ddx, compiled": lambda: ddx(x),
            "sympy lambdify": lambda: sympy(x),
        }
    given = {"x": x, "a": A, "b": B}
    notes = {"gradlang": f.backend}
    bench.race("W4", f"n = {n}", makers, numpy_plain(x, A, B), seconds=3, objective=lambda: value(given), notes=notes)
