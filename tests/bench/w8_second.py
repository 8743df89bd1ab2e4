"""W8: second derivatives: Hessian times vector of W3 and W6, a dense Hessian by 50 numbers, a tridiagonal one by 10,000."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import floors
import numpy as np
import peers
import w3_logistic as w3
from timing import Bench
from w8_gmm import gmm_product
from w8_tridiagonal import tridiagonal

import gradlang as gl

DENSE = """A : [M, N]
x : [N]
f = logsumexp(A @ x) + sum(x**4)
"""
Arrays = dict[str, Any]
Call = Callable[[], Any]


def run(bench: Bench) -> None:
    logistic_product(bench)
    gmm_product(bench)
    dense(bench)
    tridiagonal(bench)


# ---------------------------------------------------------------- W3
def logistic_product(bench: Bench) -> None:
    d = w3.data(10_000 if bench.quick else 100_000)
    r = np.random.default_rng(1)
    v, vb = r.normal(size=d["X"].shape[1]), 0.3
    model = gl.loads(w3.TEXT)
    f, gradient = model.hvp("loss", wrt=["w", "b"]), model.value_and_grad("loss", wrt=["w", "b"])
    direction = {"w": v, "b": vb}

    def gradlang() -> Any:
        made = f(direction, d)[1]
        return made["w"], made["b"]

    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: gradlang,
        "NumPy by hand": lambda: lambda: by_hand(**d, v=v, vb=vb),
        "C by hand, one pass": lambda: c_logistic(d, v, vb),
        "jax.jit, forward over reverse": lambda: jax_logistic(d, v, vb),
        "torch, reverse twice": lambda: torch_logistic(d, v, vb),
        "autograd": lambda: autograd_logistic(d, v, vb),
        "pytensor": lambda: pytensor_logistic(d, v, vb),
    }
    case = "Hessian times vector of W3, X [{}, {}]".format(*d["X"].shape)
    notes = {"gradlang": f.compiled.backend}
    bench.race(
        "W8",
        case,
        makers,
        by_hand(**d, v=v, vb=vb),
        seconds=5,
        what=("product", "gradient"),
        objective=lambda: gradient(d),
        notes=notes,
    )


def by_hand(X: Any, y: Any, w: Any, b: Any, v: Any, vb: Any) -> tuple[Any, float]:
    z = X @ w
    z += b
    np.abs(z, out=z)
    np.negative(z, out=z)
    e = np.exp(z, out=z)
    t = X @ v
    t += vb
    t *= e
    e += 1
    e *= e
    t /= e
    t *= y * y
    t /= len(y)
    return t @ X, float(t.sum())


def c_logistic(d: Arrays, v: Any, vb: float) -> Call:
    h, hb = np.empty_like(v), np.empty(1)
    arguments = [*d["X"].shape, d["X"], d["y"], d["w"], d["b"], v, vb, h, hb]
    call = floors.bound(floors.library("w3_logistic").hvp, arguments, floors.int64)

    def go() -> Any:
        call()
        return h, hb[0]

    return go


def jax_logistic(d: Arrays, v: Any, vb: float) -> Call:
    j = peers.jax()
    X, y = j.device_put(d["X"]), j.device_put(d["y"])
    slope = j.grad(w3.jax_loss(), argnums=(0, 1))

    @j.jit
    def product(w: Any, b: Any, X: Any, y: Any, v: Any, vb: Any) -> Any:
        return j.jvp(lambda w, b: slope(w, b, X, y), (w, b), (v, vb))[1]

    return lambda: j.block_until_ready(product(d["w"], d["b"], X, y, v, vb))


def torch_logistic(d: Arrays, v: Any, vb: float) -> Call:
    t = peers.torch()
    X, y = t.tensor(d["X"]), t.tensor(d["y"])
    leaves = w, b = [t.tensor(d[k], requires_grad=True) for k in ("w", "b")]
    direction = [t.tensor(v), t.tensor(vb)]

    def call() -> Any:
        loss = t.nn.functional.softplus(-y * (X @ w + b)).mean()
        slopes = t.autograd.grad(loss, leaves, create_graph=True)
        return [g.numpy() for g in t.autograd.grad(slopes, leaves, direction)]

    return call


def autograd_logistic(d: Arrays, v: Any, vb: float) -> Call:
    loss = w3.autograd_loss(d)
    import autograd.numpy as anp
    from autograd import grad
    from autograd.builtins import tuple as boxed

    slope = grad(loss)

    def along(p: Any) -> Any:
        dw, db = slope(p)
        return anp.dot(dw, v) + db * vb

    product = grad(along)
    return lambda: product(boxed((d["w"], d["b"])))


def pytensor_logistic(d: Arrays, v: Any, vb: float) -> Call:
    p = peers.pytensor()
    import pytensor.tensor as pt

    X, y, w, b, pv, pb = pt.dmatrix(), pt.dvector(), pt.dvector(), pt.dscalar(), pt.dvector(), pt.dscalar()
    loss = pt.mean(pt.softplus(-y * (pt.dot(X, w) + b)))
    dw, db = p.grad(loss, [w, b])
    f = p.function([X, y, w, b, pv, pb], p.grad(pt.dot(dw, pv) + db * pb, [w, b]), trust_input=True)
    given = [d["X"], d["y"], d["w"], np.array(d["b"]), v, np.array(vb)]
    return lambda: f(*given)


# ---------------------------------------------------------------- a dense Hessian
def dense(bench: Bench) -> None:
    r = np.random.default_rng(2)
    A, x = r.normal(0, 0.3, (100, 50)), r.normal(size=50)
    model = gl.loads(DENSE)
    f, gradient, given = model.hessian("f", wrt="x"), model.value_and_grad("f", wrt="x"), {"A": A, "x": x}
    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: lambda: f(given),
        "NumPy by hand": lambda: lambda: dense_by_hand(A, x),
        "C by hand": lambda: c_dense(A, x),
        "jax.jit": lambda: jax_dense(A, x),
        "torch.func": lambda: torch_dense(A, x),
        "autograd": lambda: autograd_dense(A, x),
        "casadi SX, buffer": lambda: casadi_dense(A, x),
        "ddx, dense_hessian": lambda: ddx_dense(A, x),
    }
    notes = {"gradlang": f.backend}
    bench.race(
        "W8",
        "dense Hessian, n = 50",
        makers,
        dense_by_hand(A, x),
        what=("Hessian", "gradient"),
        objective=lambda: gradient(given),
        notes=notes,
    )


def dense_by_hand(A: Any, x: Any) -> Any:
    z = A @ x
    z -= z.max()
    p = np.exp(z)
    p /= p.sum()
    B = A * p[:, None]
    mean = p @ A
    H = A.T @ B
    H -= np.multiply.outer(mean, mean)
    H.ravel()[:: len(x) + 1] += 12 * x * x
    return H


def c_dense(A: Any, x: Any) -> Call:
    H = np.empty((len(x), len(x)))
    call = floors.bound(floors.library("w8_second").dense, [*A.shape, A, x, H], floors.int64)

    def go() -> Any:
        call()
        return H

    return go


def jax_dense(A: Any, x: Any) -> Call:
    j = peers.jax()
    f = j.jit(j.hessian(lambda x, A: j.scipy.special.logsumexp(A @ x) + j.numpy.sum(x**4)))
    there = j.device_put(x), j.device_put(A)
    return lambda: j.block_until_ready(f(*there))


def torch_dense(A: Any, x: Any) -> Call:
    t = peers.torch()
    a, there = t.tensor(A), t.tensor(x)
    f = t.func.hessian(lambda x: t.logsumexp(a @ x, 0) + t.sum(x**4))
    return lambda: f(there).numpy()


def autograd_dense(A: Any, x: Any) -> Call:
    peers.autograd()
    import autograd.numpy as anp
    from autograd import hessian
    from autograd.scipy.special import logsumexp

    f = hessian(lambda x: logsumexp(anp.dot(A, x)) + anp.sum(x**4))
    return lambda: f(x)


def casadi_dense(A: Any, x: Any) -> Call:
    c = peers.casadi()
    v = c.SX.sym("x", len(x))
    y = c.log(c.sum1(c.exp(c.mtimes(c.DM(A), v)))) + c.sum1(v**4)
    call, (H,) = peers.from_casadi(c.Function("h", [v], [c.hessian(y, v)[0]]), [x])

    def go() -> Any:
        call()
        return H.reshape(len(x), len(x))

    return go


def ddx_dense(A: Any, x: Any) -> Call:
    d = peers.ddx()

    def model() -> Any:
        v = d.vec("x", len(x))
        return d.log(d.sum(d.exp(d.mat_constant(*A.shape, A.ravel(order="F")) @ v))) + d.sum(v * v * v * v)

    f = d.equation(model)
    return lambda: f.dense_hessian(x)[2]
