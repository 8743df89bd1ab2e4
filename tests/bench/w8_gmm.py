"""The Hessian of the Gaussian mixture (W6, the small one) times a vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import peers
import w6_gmm as w6
import w6_peers
from timing import Bench

import gradlang as gl

Arrays = dict[str, np.ndarray]
Call = Callable[[], Any]


class MomentsAlong(w6.Moments):
    """The derivative of `Moments` along a direction: two products forward and two back, all as matrix products."""

    def along(self, x: Any, alpha: Any, mu: Any, q: Any, low: Any, v: Arrays) -> tuple[Any, ...]:
        K, n, diagonal = len(alpha), len(x), range(q.shape[1])
        F = self.fill(x)
        Q, (rows, columns) = w6.triangle(q, low)
        E = np.exp(q)
        dQ = np.zeros_like(Q)
        dQ[:, diagonal, diagonal] = E * v["q"]
        dQ[:, rows, columns] = v["low"]
        A = Q.transpose(0, 2, 1) @ Q
        half = Q.transpose(0, 2, 1) @ dQ
        dA = half + half.transpose(0, 2, 1)
        Amu, dAmu = times(A, mu), times(dA, mu) + times(A, v["mu"])
        C = self.coefficients(A, Amu, alpha + q.sum(axis=1) - 0.5 * (Amu * mu).sum(axis=1))
        head = v["alpha"] + v["q"].sum(axis=1) - 0.5 * ((dAmu * mu).sum(axis=1) + (Amu * v["mu"]).sum(axis=1))
        both = np.concatenate([C, self.coefficients(dA, dAmu, head)]) @ F
        P, Z = w6.weights(both[:K], 0)[1], both[K:]
        Z -= np.einsum("kn,kn->n", P, Z)
        Z *= P
        both = both @ F.T
        (S, first, mass), (dS, dfirst, dmass) = self.taken_apart(both[:K]), self.taken_apart(both[K:])
        centred = first - mass[:, None] * mu
        dcentred = dfirst - dmass[:, None] * mu - mass[:, None] * v["mu"]
        S -= outer(first, mu) + outer(mu, centred)
        dS -= outer(dfirst, mu) + outer(first, v["mu"]) + outer(v["mu"], centred) + outer(mu, dcentred)
        G, dG = Q - Q @ S, dQ - dQ @ S - Q @ dS
        share = np.exp(alpha - alpha.max())
        share /= share.sum()
        on_diagonal = (dG[:, diagonal, diagonal] + G[:, diagonal, diagonal] * v["q"]) * E + dmass[:, None]
        dalpha = dmass - n * share * (v["alpha"] - share @ v["alpha"])
        return dalpha, times(dA, centred) + times(A, dcentred), on_diagonal, dG[:, rows, columns]


def times(A: Any, v: Any) -> Any:
    return np.matmul(A, v[:, :, None])[:, :, 0]


def outer(a: Any, b: Any) -> Any:
    return a[:, :, None] * b[:, None]


def directions(d: Arrays) -> Arrays:
    r = np.random.default_rng(5)
    return {k: r.normal(size=d[k].shape) for k in w6.LEAVES}


def jax(d: Arrays, v: Arrays, constant: float, apart: bool) -> Call:
    j = peers.jax()
    n, dim = d["x"].shape
    slope = j.grad(w6_peers.jax_loss(dim, n, constant, apart), argnums=(0, 1, 2, 3))
    at, along = [tuple(j.device_put(m[k]) for k in w6.LEAVES) for m in (d, v)]
    product = j.jit(lambda p, v, x: j.jvp(lambda *p: slope(*p, x), p, v)[1])
    x = j.device_put(d["x"])
    return lambda: j.block_until_ready(product(at, along, x))


def pytensor(d: Arrays, v: Arrays, constant: float) -> Call:
    p = peers.pytensor()
    import pytensor.tensor as pt

    n, dim = d["x"].shape
    leaves, x, loss = w6_peers.pytensor_loss(dim, len(d["alpha"]), n, constant)
    along = [k.type() for k in leaves]
    slope = sum(pt.sum(g * u) for g, u in zip(p.grad(loss, leaves), along, strict=True))
    f = p.function([*leaves, *along, x], p.grad(slope, leaves, disconnected_inputs="ignore"), trust_input=True)
    given = [*(d[k] for k in w6.LEAVES), *(v[k] for k in w6.LEAVES), d["x"]]
    return lambda: f(*given)


def torch(d: Arrays, v: Arrays, constant: float) -> Call:
    t = peers.torch()
    leaves, loss = w6_peers.torch_loss(d, constant, True)
    along = [t.tensor(v[k]) for k in w6.LEAVES]

    def call() -> Any:
        slopes = t.autograd.grad(loss(), leaves, create_graph=True)
        return [g.numpy() for g in t.autograd.grad(slopes, leaves, along)]

    return call


def autograd(d: Arrays, v: Arrays, constant: float) -> Call:
    loss = w6_peers.autograd_loss(d, constant)
    import autograd.numpy as anp
    from autograd import grad
    from autograd.builtins import tuple as boxed

    slope = grad(loss)
    product = grad(lambda p: sum(anp.sum(g * v[k]) for g, k in zip(slope(p), w6.LEAVES, strict=True)))
    return lambda: product(boxed(tuple(d[k] for k in w6.LEAVES)))


def gmm_product(bench: Bench) -> None:
    size = dim, K, n = w6.SIZES[0]
    d = w6.data(*size)
    v = directions(d)
    model = gl.loads(w6.TEXT.format(d=dim, K=K))
    f, gradient = model.hvp("objective", wrt=w6.LEAVES), model.value_and_grad("objective", wrt=w6.LEAVES)
    constant, moments = w6.constant(*size), MomentsAlong(*size)

    def gradlang() -> Any:
        made = f(v, d)[1]
        return tuple(made[k] for k in w6.LEAVES)

    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: gradlang,
        "NumPy by hand, moments": lambda: lambda: moments.along(**d, v=v),
        "jax.jit, products apart": lambda: jax(d, v, constant, True),
        "jax.jit, as written": lambda: jax(d, v, constant, False),
        "pytensor, products apart": lambda: pytensor(d, v, constant),
        "torch, products apart": lambda: torch(d, v, constant),
        "autograd, products apart": lambda: autograd(d, v, constant),
    }
    case = f"Hessian times vector of W6, d {dim}, K {K}, n {n}"
    notes = {"gradlang": f.compiled.backend}
    bench.race(
        "W8",
        case,
        makers,
        moments.along(**d, v=v),
        tol=1e-8,
        seconds=3,
        what=("product", "gradient"),
        objective=lambda: gradient(d),
        notes=notes,
    )
