"""The Hessian of the chained Rosenbrock function of 10,000 numbers: three diagonals, found or given by hand."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import floors
import numpy as np
import peers
from timing import Bench

import gradlang as gl

TEXT = """x : [N]
f = sum(100*(x[i+1] - x[i]**2)**2 + (1 - x[i])**2 for i in range(N-1))
"""
Call = Callable[[], Any]


def by_hand(x: Any) -> tuple[Any, Any]:
    """The diagonal, and the one beside it."""
    diagonal = np.empty_like(x)
    inner = diagonal[:-1]
    np.square(x[:-1], out=inner)
    inner *= 1200
    inner -= 400 * x[1:]
    inner += 202
    diagonal[0] -= 200
    diagonal[-1] = 200
    return diagonal, -400 * x[:-1]


def c_floor(x: Any) -> Call:
    made = np.empty(len(x)), np.empty(len(x) - 1)
    call = floors.bound(floors.library("w8_second").tridiagonal, [len(x), x, *made], floors.int64)

    def go() -> Any:
        call()
        return made

    return go


def c_three_bands(x: Any) -> Call:
    """What gradlang gives, into memory that is kept."""
    made = np.empty((3, len(x)))
    call = floors.bound(floors.library("w8_second").three_bands, [len(x), x, made], floors.int64)

    def go() -> Any:
        call()
        return made

    go.answer = lambda: (go()[1], made[2, :-1])  # type: ignore[attr-defined]
    return go


def colours(n: int) -> np.ndarray:
    """Three vectors whose products with the Hessian hold all of its entries."""
    return (np.arange(n) % 3 == np.arange(3)[:, None]).astype("float64")


def from_products(products: Any) -> tuple[Any, Any]:
    """The diagonals, from the products with the three vectors."""
    products = np.asarray(products)
    i = np.arange(products.shape[1])
    return products[i % 3, i], products[(i[:-1] + 1) % 3, i[:-1]]


def jax(x: Any) -> Call:
    j = peers.jax()
    jnp = j.numpy
    slope = j.grad(lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))
    seeds, i = j.device_put(colours(len(x))), np.arange(len(x))

    @j.jit
    def f(x: Any, seeds: Any) -> Any:
        products = j.vmap(lambda v: j.jvp(slope, (x,), (v,))[1])(seeds)
        return products[i % 3, i], products[(i[:-1] + 1) % 3, i[:-1]]

    there = j.device_put(x)
    return lambda: j.block_until_ready(f(there, seeds))


def torch(x: Any) -> Call:
    t = peers.torch()
    there, seeds = t.tensor(x, requires_grad=True), t.tensor(colours(len(x)))

    def call() -> Any:
        y = t.sum(100 * (there[1:] - there[:-1] ** 2) ** 2 + (1 - there[:-1]) ** 2)
        (slope,) = t.autograd.grad(y, there, create_graph=True)
        return from_products([t.autograd.grad(slope, there, v, retain_graph=True)[0].numpy() for v in seeds])

    return call


def autograd(x: Any) -> Call:
    peers.autograd()
    import autograd.numpy as anp
    from autograd import grad, make_vjp

    slope = grad(lambda x: anp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))
    seeds = colours(len(x))

    def call() -> Any:
        back = make_vjp(slope)(x)[0]
        return from_products([back(v) for v in seeds])

    return call


def casadi(x: Any) -> Call:
    """Finds the structure itself, and fills a sparse matrix."""
    c = peers.casadi()
    n = len(x)
    v = c.SX.sym("x", n)
    y = c.sum1(100 * (v[1:] - v[:-1] ** 2) ** 2 + (1 - v[:-1]) ** 2)
    made = c.Function("h", [v], [c.hessian(y, v)[0]])
    rows, columns = (np.array(k) for k in made.sparsity_out(0).get_triplet())
    call, (entries,) = peers.from_casadi(made, [x])

    def answer() -> Any:
        call()
        return entries[rows == columns], entries[rows == columns + 1]

    call.answer = answer
    return call


def gradlang(f: Any, x: Any) -> Call:
    def call() -> Any:
        return f(x=x)

    call.answer = lambda: (f(x=x).diagonal(), f(x=x).diagonal(1))  # type: ignore[attr-defined]
    return call


def gradlang_bands(f: Any, x: Any) -> Call:
    """The bands alone, without a matrix made of them: what most of the others give."""
    where = {offset: k for k, offset in enumerate(f.offsets)}

    def call() -> Any:
        return f.compiled(x=x)

    def answer() -> Any:
        bands, _ = f.compiled(x=x)
        return bands[where[0]], bands[where[1]][:-1]

    call.answer = answer  # type: ignore[attr-defined]
    return call


def tridiagonal(bench: Bench) -> None:
    n = 1_000 if bench.quick else 10_000
    x = np.random.default_rng(3).normal(size=n)
    model = gl.loads(TEXT)
    f, gradient = model.hessian("f", wrt="x", sparse=True), model.value_and_grad("f", wrt="x")
    quick = model.hessian("f", wrt="x", sparse=True, backend="native") if find_spec("llvmlite") else f
    makers: dict[str, Callable[[], Call]] = {
        "gradlang, bands": lambda: gradlang_bands(f, x),
        "gradlang, bands, native": lambda: gradlang_bands(quick, x),
        "gradlang, scipy.sparse matrix": lambda: gradlang(f, x),
        "NumPy by hand": lambda: lambda: by_hand(x),
        "C by hand": lambda: c_floor(x),
        "C by hand, three bands": lambda: c_three_bands(x),
        "jax.jit, colours by hand": lambda: jax(x),
        "casadi SX, buffer": lambda: casadi(x),
        "torch, colours by hand": lambda: torch(x),
        "autograd, colours by hand": lambda: autograd(x),
    }
    try:
        import scipy  # noqa: F401
    except ImportError:
        del makers["gradlang, scipy.sparse matrix"]
    f.compiled(x=x)
    notes = {"gradlang, bands": f.compiled.backend}
    bench.race(
        "W8",
        f"tridiagonal Hessian, n = {n}",
        makers,
        by_hand(x),
        what=("Hessian", "gradient"),
        objective=lambda: gradient(x=x),
        notes=notes,
    )
