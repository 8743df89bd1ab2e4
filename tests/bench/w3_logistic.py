"""W3: logistic regression, mean(softplus(-y*(X@w + b))), X[100000, 100]: 80 MB that are best read only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import floors
import numpy as np
import peers
from timing import Bench

import gradlang as gl

TEXT = """X : [N, D]
y : [N]
w : [D]
b : []
loss = mean(softplus(-y*(X@w + b)))
"""
BLOCK = 256
Arrays = dict[str, Any]
Call = Callable[[], Any]


def data(n: int, d: int = 100) -> Arrays:
    r = np.random.default_rng(3)
    X = r.normal(size=(n, d))
    y = np.where(X @ r.normal(size=d) + r.normal(size=n) > 0, 1.0, -1.0)
    return {"X": X, "y": y, "w": r.normal(0, 0.1, d), "b": 0.1}


def plain(X: Any, y: Any, w: Any, b: Any) -> tuple[float, tuple[Any, float]]:
    """NumPy as one writes it."""
    u = -y * (X @ w + b)
    e = np.exp(-np.abs(u))
    c = -y * np.where(u > 0, 1.0, e) / (1 + e) / len(y)
    return float(np.mean(np.maximum(u, 0) + np.log1p(e))), (c @ X, float(c.sum()))


class Blocks:
    """Both products of a block of rows while it is in the cache: X is read once."""

    def __init__(self, n: int, d: int) -> None:
        self.z, self.e, self.c = np.empty(n), np.empty(BLOCK), np.empty(BLOCK)
        self.g, self.part = np.empty(d), np.empty(d)

    def __call__(self, X: Any, y: Any, w: Any, b: Any) -> tuple[float, tuple[Any, float]]:
        n, g, part = len(y), self.g, self.part
        loss = db = 0.0
        g[:] = 0
        for start in range(0, n, BLOCK):
            rows, ys = X[start : start + BLOCK], y[start : start + BLOCK]
            u, e, c = self.z[: len(ys)], self.e[: len(ys)], self.c[: len(ys)]
            np.dot(rows, w, out=u)
            u += b
            u *= ys
            np.exp(u, out=e)
            e += 1
            np.divide(ys, e, out=c)  # y*sigmoid(-u)
            np.dot(c, rows, out=part)
            g += part
            db += c.sum()
            np.log1p(np.exp(-np.abs(u)), out=e)
            e -= np.minimum(u, 0)
            loss += e.sum()
        g *= -1 / n
        return loss / n, (g, -db / n)


def c_floor(d: Arrays) -> Call:
    g, db = np.empty(d["X"].shape[1]), np.empty(1)
    arguments = [*d["X"].shape, d["X"], d["y"], d["w"], d["b"], g, db]
    call = floors.bound(floors.library("w3_logistic").value_and_grad, arguments)
    return lambda: (call(), (g, db[0]))


def jax_loss() -> Callable[..., Any]:
    j = peers.jax()
    return lambda w, b, X, y: j.numpy.mean(j.nn.softplus(-y * (X @ w + b)))


def jax(d: Arrays) -> Call:
    j = peers.jax()
    g = j.jit(j.value_and_grad(jax_loss(), argnums=(0, 1)))
    X, y = j.device_put(d["X"]), j.device_put(d["y"])
    return lambda: j.block_until_ready(g(d["w"], d["b"], X, y))


def torch(d: Arrays) -> Call:
    t = peers.torch()
    X, y = t.tensor(d["X"]), t.tensor(d["y"])
    w, b = t.tensor(d["w"], requires_grad=True), t.tensor(d["b"], requires_grad=True)

    def call() -> Any:
        loss = t.nn.functional.softplus(-y * (X @ w + b)).mean()
        return loss.item(), [g.numpy() for g in t.autograd.grad(loss, (w, b))]

    return call


def autograd_loss(d: Arrays) -> Callable[[Any], Any]:
    peers.autograd()
    import autograd.numpy as anp

    def loss(p: Any) -> Any:
        return anp.mean(anp.logaddexp(0.0, -d["y"] * (anp.dot(d["X"], p[0]) + p[1])))

    return loss


def autograd(d: Arrays) -> Call:
    loss = autograd_loss(d)
    from autograd.builtins import tuple as boxed
    from autograd.differential_operators import value_and_grad

    g = value_and_grad(loss)
    return lambda: g(boxed((d["w"], d["b"])))


def pytensor(d: Arrays) -> Call:
    p = peers.pytensor()
    import pytensor.tensor as pt

    X, y, w, b = pt.dmatrix(), pt.dvector(), pt.dvector(), pt.dscalar()
    loss = pt.mean(pt.softplus(-y * (pt.dot(X, w) + b)))
    f = p.function([X, y, w, b], [loss, *p.grad(loss, [w, b])], trust_input=True)
    b0 = np.array(d["b"])

    def call() -> Any:
        value, *slopes = f(d["X"], d["y"], d["w"], b0)
        return value, slopes

    return call


def casadi(d: Arrays) -> Call:
    """X as an argument: as a constant it would be part of the graph."""
    c = peers.casadi()
    n, k = d["X"].shape
    X, y, w, b = c.MX.sym("X", n, k), c.MX.sym("y", n), c.MX.sym("w", k), c.MX.sym("b")
    u = -y * (c.mtimes(X, w) + b)
    loss = c.sum1(c.fmax(u, 0) + c.log1p(c.exp(-c.fabs(u)))) / n
    made = c.Function("f", [X, y, w, b], [loss, c.gradient(loss, w), c.gradient(loss, b)])
    call, (value, dw, db) = peers.from_casadi(made, list(d.values()))

    def go() -> Any:
        call()
        return value[0], (dw, db[0])

    return go


def gradlang(f: Any, d: Arrays) -> Call:
    def call() -> Any:
        value, slopes = f(d)
        return value, (slopes["w"], slopes["b"])

    return call


def run(bench: Bench) -> None:
    model = gl.loads(TEXT)
    f, value = model.value_and_grad("loss", wrt=["w", "b"]), model.function("loss")
    d = data(10_000 if bench.quick else 100_000)
    blocks = Blocks(*d["X"].shape)
    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: gradlang(f, d),
        "NumPy by hand, blocks": lambda: lambda: blocks(**d),
        "NumPy by hand, as written": lambda: lambda: plain(**d),
        "C by hand, one pass": lambda: c_floor(d),
        "jax.jit": lambda: jax(d),
        "torch": lambda: torch(d),
        "autograd": lambda: autograd(d),
        "pytensor": lambda: pytensor(d),
        "casadi MX, buffer": lambda: casadi(d),
    }
    notes = {"gradlang": f.backend}
    case = "X [{}, {}]".format(*d["X"].shape)
    bench.race("W3", case, makers, plain(**d), seconds=6, objective=lambda: value(d), notes=notes)
