"""W2: a two-layer network, 784-50-10, with softmax cross entropy: the loss and the gradients of its four parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import peers
from timing import Bench

import gradlang as gl

TEXT = """X : [N, 784]
t : [N, 10]
param W1 : [784, 50] = normal(0, 0.01)
param b1 : [50] = zeros()
param W2 : [50, 10] = normal(0, 0.01)
param b2 : [10] = zeros()
z = ACTIVATION(affine(X, W1, b1))
loss = cross_entropy(affine(z, W2, b2), t)
"""
LEAVES = ("W1", "b1", "W2", "b2")
Arrays = dict[str, np.ndarray]
Call = Callable[[], Any]


def data(batch: int, dtype: str) -> Arrays:
    r = np.random.default_rng(7)
    t = np.eye(10)[r.integers(0, 10, batch)]
    made = {
        "X": r.random((batch, 784)),
        "t": t,
        "W1": r.normal(0, 0.01, (784, 50)),
        "b1": r.normal(0, 0.1, 50),
        "W2": r.normal(0, 0.1, (50, 10)),
        "b2": r.normal(0, 0.1, 10),
    }
    return {k: np.ascontiguousarray(v, dtype) for k, v in made.items()}


def by_hand(X: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any, activation: str) -> tuple[float, Arrays]:
    """Backpropagation in plain NumPy: no gradient of X, every temporary reused, the softmax shared by loss and gradient."""
    n = len(X)
    z = X @ W1
    z += b1
    if activation == "relu":
        np.maximum(z, 0, out=z)
    else:
        np.negative(z, out=z)
        np.exp(z, out=z)
        z += 1
        np.reciprocal(z, out=z)
    s = z @ W2
    s += b2
    s -= s.max(axis=1, keepdims=True)
    p = np.exp(s)
    total = p.sum(axis=1, keepdims=True)
    loss = (np.log(total).sum() - np.vdot(s, t)) / n
    p /= total
    p -= t
    p /= n
    dW2 = z.T @ p
    db2 = p.sum(axis=0)
    dz = p @ W2.T
    if activation == "relu":
        dz *= z > 0
    else:
        dz *= z
        np.subtract(1, z, out=z)
        dz *= z
    return float(loss), {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": dW2, "b2": db2}


def products(d: Arrays, turned: bool) -> Call:
    """The five matrix products alone. A BLAS may prefer one of the two ways to turn a product, (A @ B) or (B.T @ A.T).T:
    the gradient of W1 has many rows and few columns, and gains most."""
    X, W1, W2 = d["X"], d["W1"], d["W2"]
    z = X @ W1
    s = z @ W2

    def call() -> None:
        X @ W1
        z @ W2
        z.T @ s
        s @ W2.T
        (z.T @ X).T if turned else X.T @ z

    return call


def jax(d: Arrays, activation: str) -> Call:
    j = peers.jax()
    jnp = j.numpy
    act = {"relu": j.nn.relu, "sigmoid": j.nn.sigmoid}[activation]

    def loss(p: Any, X: Any, t: Any) -> Any:
        s = act(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        return -jnp.mean(jnp.sum(t * j.nn.log_softmax(s), axis=1))

    g = j.jit(j.value_and_grad(loss))
    X, t = j.device_put(d["X"]), j.device_put(d["t"])
    p = {k: j.device_put(d[k]) for k in LEAVES}
    return lambda: j.block_until_ready(g(p, X, t))


def torch(d: Arrays, activation: str) -> Call:
    t = peers.torch()
    act = {"relu": t.relu, "sigmoid": t.sigmoid}[activation]
    v = {k: t.tensor(a, requires_grad=k in LEAVES) for k, a in d.items()}
    params = [v[k] for k in LEAVES]

    def call() -> Any:
        s = act(v["X"] @ v["W1"] + v["b1"]) @ v["W2"] + v["b2"]
        loss = t.nn.functional.cross_entropy(s, v["t"])
        slopes = t.autograd.grad(loss, params)
        return loss.item(), {k: g.numpy() for k, g in zip(LEAVES, slopes, strict=True)}

    return call


def pytensor(d: Arrays, activation: str) -> Call:
    p = peers.pytensor()
    import pytensor.tensor as pt

    v = {k: pt.tensor(k, dtype=str(a.dtype), shape=(None,) * a.ndim) for k, a in d.items()}
    act = {"relu": lambda z: pt.switch(z > 0, z, np.float32(0)), "sigmoid": pt.sigmoid}[activation]
    s = pt.dot(act(pt.dot(v["X"], v["W1"]) + v["b1"]), v["W2"]) + v["b2"]
    loss = -pt.sum(v["t"] * pt.special.log_softmax(s, axis=1)) / pt.cast(s.shape[0], s.dtype)
    f = p.function(list(v.values()), [loss, *p.grad(loss, [v[k] for k in LEAVES])], trust_input=True)
    values = list(d.values())

    def call() -> Any:
        loss, *slopes = f(*values)
        return loss, dict(zip(LEAVES, slopes, strict=True))

    return call


def autograd(d: Arrays, activation: str) -> Call:
    peers.autograd()
    import autograd.numpy as anp
    from autograd.builtins import dict as boxed
    from autograd.differential_operators import value_and_grad

    one = d["X"].dtype.type(1)
    act = {"relu": lambda z: anp.maximum(z, 0 * one), "sigmoid": lambda z: one / (one + anp.exp(-z))}[activation]

    def loss(p: Any) -> Any:
        s = anp.dot(act(anp.dot(d["X"], p["W1"]) + p["b1"]), p["W2"]) + p["b2"]
        s = s - anp.max(s, axis=1, keepdims=True)
        return (anp.sum(anp.log(anp.sum(anp.exp(s), axis=1))) - anp.sum(s * d["t"])) / len(d["t"])

    g = value_and_grad(loss)
    return lambda: g(boxed({k: d[k] for k in LEAVES}))


def run(bench: Bench) -> None:
    for activation in ("relu", "sigmoid"):
        for dtype in ("float64", "float32"):
            model = gl.loads(TEXT.replace("ACTIVATION", activation), dtype=dtype)
            f, value = model.value_and_grad("loss", wrt=list(LEAVES)), model.function("loss")
            for batch in (100,) if bench.quick else (100, 1000):
                case(bench, f, value, data(batch, dtype), activation, batch)


def case(bench: Bench, f: Any, value: Any, d: Arrays, activation: str, batch: int) -> None:
    positions = [d[p.name] for p in f.artifact.params]
    dtype = str(d["X"].dtype)
    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: lambda: f(d),
        "gradlang f.raw": lambda: lambda: f.raw(*positions),
        "NumPy by hand": lambda: lambda: by_hand(**d, activation=activation),
        "five products alone": lambda: products(d, False),
        "five products, the last one turned": lambda: products(d, True),
        "jax.jit": lambda: jax(d, activation),
        "pytensor": lambda: pytensor(d, activation),
        "torch": lambda: torch(d, activation),
        "autograd": lambda: autograd(d, activation),
    }
    wanted = by_hand(**{k: v.astype("float64") for k, v in d.items()}, activation=activation)
    makers = {k: checked(m, wanted) if k.startswith("five") else m for k, m in makers.items()}
    bench.race(
        "W2",
        f"{activation}, batch {batch}, {dtype}",
        makers,
        wanted,
        tol=1e-9 if dtype == "float64" else 2e-5,
        seconds=2.0 if batch == 100 else 3.0,
        objective=lambda: value(d),
        notes={"gradlang": f.backend},
    )


def checked(make: Callable[[], Call], wanted: Any) -> Callable[[], Call]:
    """The products alone are no answer."""

    def made() -> Call:
        call = make()
        call.answer = lambda: wanted  # type: ignore[attr-defined]
        return call

    return made
