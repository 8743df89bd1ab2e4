"""The Gaussian mixture in other packages, as it is written and with the products Q x and Q mu taken apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import peers

LEAVES = ["alpha", "mu", "q", "low"]
Arrays = dict[str, np.ndarray]
Call = Callable[[], Any]


def places(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the lower entries stand, column by column."""
    columns, rows = np.triu_indices(d, 1)
    return rows, columns


def jax_loss(d: int, n: int, constant: float, apart: bool) -> Callable[..., Any]:
    j = peers.jax()
    jnp, lse = j.numpy, j.scipy.special.logsumexp
    rows, columns = places(d)

    def loss(alpha: Any, mu: Any, q: Any, low: Any, x: Any) -> Any:
        Q = jnp.zeros((len(alpha), d, d)).at[:, rows, columns].set(low) + j.vmap(jnp.diag)(jnp.exp(q))
        if apart:
            y = jnp.einsum("kij,nj->nki", Q, x) - jnp.einsum("kij,kj->ki", Q, mu)
        else:
            y = jnp.einsum("kij,nkj->nki", Q, x[:, None] - mu)
        z = alpha + jnp.sum(q, axis=1) - 0.5 * jnp.sum(y * y, axis=2)
        return jnp.sum(lse(z, axis=1)) - n * lse(alpha) + 0.5 * jnp.sum(Q * Q) + constant

    return loss


def jax(d: Arrays, constant: float, apart: bool) -> Call:
    j = peers.jax()
    n, dim = d["x"].shape
    g = j.jit(j.value_and_grad(jax_loss(dim, n, constant, apart), argnums=(0, 1, 2, 3)))
    there = [j.device_put(d[k]) for k in (*LEAVES, "x")]
    return lambda: j.block_until_ready(g(*there))


def torch_loss(d: Arrays, constant: float, apart: bool) -> tuple[list[Any], Call]:
    t = peers.torch()
    n, dim = d["x"].shape
    rows, columns = (t.tensor(k) for k in places(dim))
    leaves = alpha, mu, q, low = [t.tensor(d[k], requires_grad=True) for k in LEAVES]
    x = t.tensor(d["x"])

    def loss() -> Any:
        Q = t.diag_embed(t.exp(q)).index_put((t.arange(len(alpha))[:, None], rows, columns), low)
        if apart:
            y = t.einsum("kij,nj->nki", Q, x) - t.einsum("kij,kj->ki", Q, mu)
        else:
            y = t.einsum("kij,nkj->nki", Q, x[:, None] - mu)
        z = alpha + q.sum(1) - 0.5 * (y * y).sum(2)
        return t.logsumexp(z, 1).sum() - n * t.logsumexp(alpha, 0) + 0.5 * (Q * Q).sum() + constant

    return leaves, loss


def torch(d: Arrays, constant: float, apart: bool) -> Call:
    t = peers.torch()
    leaves, loss = torch_loss(d, constant, apart)

    def call() -> Any:
        made = loss()
        return made.item(), [g.numpy() for g in t.autograd.grad(made, leaves)]

    return call


def autograd_loss(d: Arrays, constant: float) -> Callable[[Any], Any]:
    peers.autograd()
    import autograd.numpy as anp
    from autograd.scipy.special import logsumexp

    n, dim = d["x"].shape
    rows, columns = places(dim)
    place = np.zeros((len(rows), dim * dim))
    place[range(len(rows)), rows * dim + columns] = 1
    x, eye = d["x"], np.eye(dim)

    def loss(p: Any) -> Any:
        alpha, mu, q, low = p
        Q = anp.reshape(anp.dot(low, place), (-1, dim, dim)) + anp.exp(q)[:, :, None] * eye
        y = anp.transpose(anp.tensordot(Q, x, ((2,), (1,))), (2, 0, 1)) - anp.einsum("kij,kj->ki", Q, mu)
        z = alpha + anp.sum(q, axis=1) - 0.5 * anp.sum(y * y, axis=2)
        return anp.sum(logsumexp(z, axis=1)) - n * logsumexp(alpha) + 0.5 * anp.sum(Q * Q) + constant

    return loss


def autograd(d: Arrays, constant: float) -> Call:
    loss = autograd_loss(d, constant)
    from autograd.builtins import tuple as boxed
    from autograd.differential_operators import value_and_grad

    g = value_and_grad(loss)
    return lambda: g(boxed(tuple(d[k] for k in LEAVES)))


def pytensor_loss(dim: int, K: int, n: int, constant: float) -> tuple[list[Any], Any, Any]:
    """The leaves, x, and the loss of them."""
    peers.pytensor()
    import pytensor.tensor as pt

    rows, columns = places(dim)
    alpha, mu, q, low, x = pt.dvector(), pt.dmatrix(), pt.dmatrix(), pt.dmatrix(), pt.dmatrix()
    Q = pt.zeros((K, dim, dim))[:, rows, columns].set(low)[:, np.arange(dim), np.arange(dim)].set(pt.exp(q))
    y = pt.dot(x, Q.reshape((K * dim, dim)).T).reshape((n, K, dim)) - pt.sum(Q * mu[:, None], axis=2)
    z = alpha + pt.sum(q, axis=1) - 0.5 * pt.sum(y * y, axis=2)
    loss = pt.sum(pt.logsumexp(z, axis=1)) - n * pt.logsumexp(alpha) + 0.5 * pt.sum(Q * Q) + constant
    return [alpha, mu, q, low], x, loss


def pytensor(d: Arrays, constant: float) -> Call:
    p = peers.pytensor()
    n, dim = d["x"].shape
    leaves, x, loss = pytensor_loss(dim, len(d["alpha"]), n, constant)
    f = p.function([*leaves, x], [loss, *p.grad(loss, leaves)], trust_input=True)
    given = [d[k] for k in (*LEAVES, "x")]

    def call() -> Any:
        value, *slopes = f(*given)
        return value, slopes

    return call


def peer_makers(d: Arrays, constant: float) -> dict[str, Callable[[], Call]]:
    return {
        "jax.jit, products apart": lambda: jax(d, constant, True),
        "jax.jit, as written": lambda: jax(d, constant, False),
        "pytensor, products apart": lambda: pytensor(d, constant),
        "torch, products apart": lambda: torch(d, constant, True),
        "torch, as written": lambda: torch(d, constant, False),
        "autograd, products apart": lambda: autograd(d, constant),
    }
