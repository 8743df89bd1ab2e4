"""W9: 1000 steps of h = tanh(W@h + U*x[t]), n = 16, loss = sum(h**2): gradients of W, U and h0, and how they grow with T."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import floors
import numpy as np
import peers
from timing import Bench

import gradlang as gl

TEXT = """W : [16, 16]
U : [16]
h0 : [16]
x : [T]
h[0] = h0
h[t] = tanh(W @ h[t-1] + U*x[t-1]) for t in range(1, T+1)
loss = sum(h[T]**2)
"""
LEAVES = ("W", "U", "h0")
Arrays = dict[str, np.ndarray]
Call = Callable[[], Any]


def data(steps: int) -> Arrays:
    r = np.random.default_rng(9)
    W = np.linalg.qr(r.normal(size=(16, 16)))[0] * 1.15  # the state neither dies nor saturates
    return {"W": np.ascontiguousarray(W), "U": r.normal(0, 0.5, 16), "h0": r.normal(size=16), "x": r.normal(size=steps)}


class Planned:
    """NumPy with the loop prepared: views of every row, U*x at once before it, the gradient of W as one product after it."""

    def __init__(self, steps: int) -> None:
        self.H, self.S = np.empty((steps + 1, 16)), np.empty((steps, 16))
        self.Z, self.g = np.empty((steps, 16)), np.empty(16)
        self.forward = list(zip(self.H, self.H[1:], self.Z, strict=False))
        self.backward = list(zip(self.S[::-1], self.Z[::-1], strict=True))

    def __call__(self, W: Any, U: Any, h0: Any, x: Any) -> tuple[float, tuple[Any, ...]]:
        H, S, g, dot, tanh = self.H, self.S, self.g, np.dot, np.tanh
        np.multiply.outer(x, U, out=self.Z)
        H[0] = h0
        for h, after, z in self.forward:
            dot(W, h, after)
            after += z
            tanh(after, after)
        np.square(H[1:], out=self.Z)
        np.subtract(1.0, self.Z, out=self.Z)
        np.multiply(H[-1], 2.0, out=g)
        Wt = np.ascontiguousarray(W.T)
        multiply = np.multiply
        for s, slope in self.backward:
            multiply(g, slope, s)
            dot(Wt, s, g)
        return float(H[-1] @ H[-1]), (S.T @ H[:-1], x @ S, g)


def c_floor(d: Arrays) -> Call:
    steps = len(d["x"])
    H, S = np.empty((steps + 1, 16)), np.empty((steps, 16))
    slopes = np.empty((16, 16)), np.empty(16), np.empty(16)
    function = floors.library("w9_recurrence", loose=False).value_and_grad
    call = floors.bound(function, [steps, d["W"], d["U"], d["x"], d["h0"], H, S, *slopes])
    return lambda: (call(), slopes)


def jax(d: Arrays) -> Call:
    j = peers.jax()
    jnp = j.numpy

    def loss(W: Any, U: Any, h0: Any, x: Any) -> Any:
        return jnp.sum(j.lax.scan(lambda h, v: (jnp.tanh(W @ h + U * v), None), h0, x)[0] ** 2)

    g = j.jit(j.value_and_grad(loss, argnums=(0, 1, 2)))
    there = [j.device_put(d[k]) for k in (*LEAVES, "x")]
    return lambda: j.block_until_ready(g(*there))


def torch(d: Arrays) -> Call:
    t = peers.torch()
    leaves = W, U, h0 = [t.tensor(d[k], requires_grad=True) for k in LEAVES]
    x = t.tensor(d["x"])

    def call() -> Any:
        h = h0
        for z in t.unbind(t.outer(x, U)):
            h = t.tanh(t.addmv(z, W, h))
        loss = t.sum(h * h)
        return loss.item(), [g.numpy() for g in t.autograd.grad(loss, leaves)]

    return call


def autograd(d: Arrays) -> Call:
    peers.autograd()
    import autograd.numpy as anp
    from autograd.builtins import tuple as boxed
    from autograd.differential_operators import value_and_grad

    def loss(p: Any) -> Any:
        W, U, h = p
        for v in d["x"]:
            h = anp.tanh(anp.dot(W, h) + U * v)
        return anp.sum(h * h)

    g = value_and_grad(loss)
    return lambda: g(boxed(tuple(d[k] for k in LEAVES)))


def pytensor(d: Arrays) -> Call:
    p = peers.pytensor()
    import pytensor.tensor as pt

    W, U, h0, x = pt.dmatrix(), pt.dvector(), pt.dvector(), pt.dvector()
    made = p.scan(lambda v, h, W, U: pt.tanh(pt.dot(W, h) + U * v), [x], [h0], [W, U], return_updates=False)
    loss = pt.sum(made[-1] ** 2)
    f = p.function([W, U, h0, x], [loss, *p.grad(loss, [W, U, h0])], trust_input=True)

    def call() -> Any:
        value, *slopes = f(d["W"], d["U"], d["h0"], d["x"])
        return value, slopes

    return call


def casadi(d: Arrays) -> Call:
    c = peers.casadi()
    steps = len(d["x"])
    h, W, U, x = c.SX.sym("h", 16), c.SX.sym("W", 16, 16), c.SX.sym("U", 16), c.SX.sym("x")
    step = c.Function("step", [h, x, W, U], [c.tanh(c.mtimes(W, h) + U * x)])
    h0, w, u, xs = c.MX.sym("h0", 16), c.MX.sym("W", 16, 16), c.MX.sym("U", 16), c.MX.sym("x", 1, steps)
    loss = c.sumsqr(step.fold(steps)(h0, xs, c.repmat(w, 1, steps), c.repmat(u, 1, steps)))
    made = c.Function("f", [w, u, h0, xs], [loss, *(c.gradient(loss, k) for k in (w, u, h0))])
    call, (value, dW, dU, dh) = peers.from_casadi(made, [d["W"], d["U"], d["h0"], d["x"][None]])

    def go() -> Any:
        call()
        return value[0], (dW.reshape(16, 16, order="F"), dU, dh)

    return go


def gradlang(f: Any, d: Arrays) -> Call:
    def call() -> Any:
        value, slopes = f(d)
        return value, tuple(slopes[k] for k in LEAVES)

    return call


def run(bench: Bench) -> None:
    model = gl.loads(TEXT)
    f, value = model.value_and_grad("loss", wrt=list(LEAVES)), model.function("loss")
    for steps in (1000,) if bench.quick else (100, 1000, 10_000, 100_000):
        case(bench, f, value, data(steps))


def case(bench: Bench, f: Any, value: Any, d: Arrays) -> None:
    steps = len(d["x"])
    planned = Planned(steps)
    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: gradlang(f, d),
        "NumPy by hand, planned": lambda: lambda: planned(**d),
        "C by hand": lambda: c_floor(d),
        "jax.jit, scan": lambda: jax(d),
    }
    if steps == 1000:
        makers |= {
            "pytensor scan": lambda: pytensor(d),
            "casadi fold, buffer": lambda: casadi(d),
            "torch": lambda: torch(d),
            "autograd": lambda: autograd(d),
        }
    notes = {"gradlang": f.backend}
    bench.race("W9", f"T = {steps}", makers, planned(**d), tol=1e-8, seconds=3, objective=lambda: value(d), notes=notes)
