"""Sums of products are matrix products without large temporaries, and branches not taken add nothing through matrix code."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loopcheck import agrees

import gradlang as gl
from gradlang import pipeline
from gradlang.pipeline import Goal

INF, NAN = np.inf, np.nan
RNG = np.random.default_rng(9)
A, B, C = RNG.uniform(-1, 1, (2, 3)), RNG.uniform(-1, 1, (3, 4)), RNG.uniform(-1, 1, (4, 2))
X, W = RNG.uniform(-1, 1, (4, 3)), RNG.uniform(-1, 1, (3, 3))
K = RNG.uniform(-1, 1, 3)
P, Q = RNG.uniform(-1, 1, (2, 2, 3)), RNG.uniform(-1, 1, (2, 3, 2))
AB = "A : [I, K]\nB : [K, J]\n"
Case = tuple[str, Callable[..., Any], dict[str, Any]]

# what follows has no value with more axes than its inputs and results
SUMS: dict[str, Case] = {
    "product": (
        AB + "y = [[sum(A[i, k]*B[k, j] for k in range(K)) for j in range(J)] for i in range(I)]",
        lambda A, B: A @ B,
        {"A": A, "B": B},
    ),
    "transposed product": (
        AB + "y = [[sum(2*A[i, k]*B[k, j] for k in range(K)) for i in range(I)] for j in range(J)]",
        lambda A, B: 2 * (A @ B).T,
        {"A": A, "B": B},
    ),
    "with new axes": (AB + "y = -sum(A[:, :, None]*B[None, :, :], axis=1)/2", lambda A, B: -A @ B / 2, {"A": A, "B": B}),
    "mean": (AB + "y = mean(A[:, :, None]*B[None, :, :], axis=1)", lambda A, B: A @ B / 3, {"A": A, "B": B}),
    "three factors over one axis": (
        AB + "w : [K]\ny = [[sum(A[i, k]*w[k]*B[k, j] for k in range(K)) for j in range(J)] for i in range(I)]",
        lambda A, B, w: A * w @ B,
        {"A": A, "B": B, "w": K},
    ),
    "einsum of three factors": (
        AB + 'C : [J, L]\ny = einsum("ik,kj,jl->il", A, B, C)',
        lambda A, B, C: A @ B @ C,
        {"A": A, "B": B, "C": C},
    ),
    "quadratic form": (
        "x : [N]\nW : [N, N]\ny = sum(x[i]*W[i, j]*x[j] for i in range(N) for j in range(N))",
        lambda x, W: x @ W @ x,
        {"x": K, "W": W},
    ),
    "quadratic forms of rows": (
        "x : [N, D]\nW : [D, D]\ny = [sum(x[n, i]*W[i, j]*x[n, j] for i in range(D) for j in range(D)) for n in range(N)]",
        lambda x, W: np.sum((x @ W) * x, axis=1),
        {"x": X, "W": W},
    ),
    "two layers": (
        "X : [N, D]\nW : [D, H]\nV : [H, K]\n"
        "y = [[sum(tanh(sum(X[n, d]*W[d, h] for d in range(D)))*V[h, k] for h in range(H)) for k in range(K)] for n in range(N)]",
        lambda X, W, V: np.tanh(X @ W) @ V,
        {"X": X, "W": W, "V": B},
    ),
    "sums multiplied out": (
        AB
        + "C : [J, K]\ny = [[sum((A[i, k]*C[j, k] - 2*(B[k, j]*A[i, k]))*(-B[k, j]*3) for k in range(K)) for j in range(J)] for i in range(I)]",
        lambda A, B, C: 6 * A @ B**2 - 3 * A @ (B * C.T),
        {"A": A, "B": B, "C": RNG.uniform(-1, 1, (4, 3))},
    ),
    "an axis that no factor has": (
        "u : [I]\nv : [K]\nw : [J]\ny = [sum(u[i]*v[k] - u[i]*w[j]*3 for k in range(K) for j in range(J)) for i in range(I)]",
        lambda u, v, w: 4 * u * v.sum() - 9 * u * w.sum(),
        {"u": A[:, 0], "v": K, "w": B[0]},
    ),
    "outer products": (
        "u : [I]\nv : [J]\nB : [K, J]\ny = [[sum(u[i]*v[j]*B[k, j]*u[i] for k in range(K)) for i in range(I)] for j in range(J)]",
        lambda u, v, B: np.outer(v * B.sum(0), u**2),
        {"u": K, "v": RNG.uniform(-1, 1, 4), "B": B},
    ),
    "five factors": (
        AB
        + "C : [J, L]\nu : [L]\ny = [sum(A[i, k]*B[k, j]*C[j, l]*u[l]*u[l] for k in range(K) for j in range(J) for l in range(L)) for i in range(I)]",
        lambda A, B, C, u: A @ B @ C @ (u * u),
        {"A": A, "B": B, "C": C, "u": RNG.uniform(-1, 1, 2)},
    ),
    "sum of all entries": (
        AB + "y = sum([[sum(A[i, k]*B[k, j] for k in range(K)) for j in range(J)] for i in range(I)])",
        lambda A, B: (A @ B).sum(),
        {"A": A, "B": B},
    ),
}
BATCHES: dict[str, Case] = {
    "batch": (
        "P : [M, I, K]\nQ : [M, K, J]\ny = [[[sum(P[b, i, k]*Q[b, k, j] for k in range(K)) for j in range(J)] for i in range(I)] for b in range(M)]",
        lambda P, Q: P @ Q,
        {"P": P, "Q": Q},
    ),
    "sum over the batch": (
        "P : [M, I, K]\nQ : [M, K, J]\ny = [[sum(P[b, i, k]*Q[b, k, j] for b in range(M) for k in range(K)) for j in range(J)] for i in range(I)]",
        lambda P, Q: np.einsum("bik,bkj->ij", P, Q),
        {"P": P, "Q": Q},
    ),
}


def deepest(model: gl.Model, goal: Goal) -> int:
    """The most axes that a value has, not counting those of length 1."""
    tape = pipeline.plan(model.program, goal, model.program.language, "").tape
    return max(sum(d != 1 for d in i.type.shape) for i in tape.instrs)


@pytest.mark.parametrize("name", [*SUMS, *BATCHES])
def test_sums_of_products(name: str) -> None:
    text, reference, given = (SUMS | BATCHES)[name]
    model = agrees(text, reference, given)
    assert deepest(model, Goal("value", ("y",))) <= (3 if name in BATCHES else 2)


FAR = 1e8


@pytest.mark.parametrize(
    ("term", "over"),
    [
        ("(x[i] - z[j])*(x[i] - z[j])", ""),
        ("(x[i] - z[j])**2*w[j]", ""),
        ("2*x[i] - 2*z[j]", " for i"),
        ("(x[i] - z[j])*w[j]", " for i"),
        ("(1*x[i] - z[j])*w[j]*x[i]", " for i"),
        ("(x[i]*w[j] - z[j])*(x[i] - z[j]*w[j])", " for i"),
    ],
)
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_differences_keep_their_digits(term: str, over: str, backend: str) -> None:
    """What is far from zero and close together is subtracted before it is multiplied and summed."""
    loops = "sum({} for i in range(N) for j in range(M))" if not over else "[sum({} for j in range(M)) for i in range(N)]"
    x, z = FAR + RNG.integers(0, 9, 5), FAR + RNG.integers(0, 9, 4)
    w = np.ones(4)
    terms = [[eval(term, {"x": x, "z": z, "w": w, "i": i, "j": j}) for j in range(len(z))] for i in range(len(x))]
    wanted = np.sum(terms, axis=1 if over else None)
    model = gl.loads(f"x : [N]\nz : [M]\nw : [M]\ny = {loops.format(term)}\nf = sum((x[:, None] - z)**2)/2")
    np.testing.assert_allclose(model.function("y", backend=backend)(x=x, z=z, w=w), wanted, rtol=1e-12)
    _, slopes = model.value_and_grad("f", wrt=["x"], backend=backend)(x=x, z=z, w=w)
    np.testing.assert_allclose(slopes["x"], np.sum(x[:, None] - z, axis=1), rtol=1e-12)


def test_an_infinite_factor_of_a_sum() -> None:
    x, z, w = np.array([0.0, 1.0]), np.array([1.0, 2.0, 3.0]), np.array([np.inf, 1.0, 1.0])
    made = gl.loads("x : [N]\nz : [M]\nw : [M]\ny = sum((x[:, None] + z)*w, axis=1)").function("y")(x=x, z=z, w=w)
    np.testing.assert_array_equal(made, [np.inf, np.inf])


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in [*SUMS, *BATCHES] for k in ("grad", "hvp")],
)
def test_derivatives_of_sums_of_products(name: str, kind: str) -> None:
    text, _, given = (SUMS | BATCHES)[name]
    loss = gl.loads(text + "\nloss = sum(y**2)")
    assert deepest(loss, Goal(kind, ("loss",), tuple(given))) <= (3 if name in BATCHES else 2)


CHAIN = (
    AB
    + "C : [J, L]\ny = [[sum(A[i, k]*B[k, j]*C[j, l] for k in range(K) for j in range(J)) for l in range(L)] for i in range(I)]"
)


def test_a_chain_of_products_has_the_value_of_the_loops() -> None:
    agrees(CHAIN, lambda A, B, C: A @ B @ C, {"A": A, "B": B, "C": C})


def test_a_chain_of_products_has_no_large_temporaries() -> None:
    assert deepest(gl.loads(CHAIN), Goal("value", ("y",))) <= 2


def test_memory() -> None:
    n = 600
    model = gl.loads(
        AB + "y = [[sum(A[i, k]*B[k, j] for k in range(K)) for j in range(J)] for i in range(I)]\nloss = sum(y**2)"
    )
    a, b = RNG.uniform(-1, 1, (2, n, n))
    product = model.hvp("loss", wrt="A")
    for f in (model.function("y"), model.value_and_grad("loss"), lambda given: product(b, given)):
        tracemalloc.start()
        f({"A": a, "B": b})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6, f"{peak / 1e6:.0f} MB; all products of entries would be 1,728 MB"
    assert np.allclose(model.function("y")(A=a, B=b), a @ b)


# ------------------------------------------------------------------ branches not taken
x = np.array([1.0, 2.0])
z = np.array([1.0, -1.0, 2.0])
R = np.array([[1.0, 2.0], [INF, NAN], [3.0, 4.0]])
S = np.array([[1.0, 2.0], [2.0, 4.0]])
U = np.array([0.0, 4.0])
H = "x : [D]\nA : [M, D]\nz : [M]\n"
G = {"x": x, "A": R, "z": z}
TAKEN = np.array([[1.0], [0.0], [1.0]])
FINITE = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]])
Masked = tuple[str, dict[str, Any], dict[str, Any]]

# text, where, and the gradient by some names; a product of an exact zero with inf or nan would make these nan
MASKED: dict[str, Masked] = {
    "rows of @": (H + "y = sum(where(z > 0, A @ x, 0))", G, {"x": [4, 6], "A": TAKEN * x}),
    "rows of @ in a comprehension": (
        H + "y = sum(A[i] @ x if z[i] > 0 else 0 for i in range(M))",
        G,
        {"x": [4, 6], "A": TAKEN * x},
    ),
    "sum of products": (
        H + "y = sum(sum(A[i, j]*x[j] for j in range(D)) if z[i] > 0 else 0 for i in range(M))",
        G,
        {"x": [4, 6], "A": TAKEN * x},
    ),
    "square of @": (H + "y = sum(where(z > 0, (A @ x)**2, z))", G, {"x": 2 * FINITE.T @ [5, 0, 11], "z": [0, 1, 0]}),
    "einsum": (H + 'y = sum(where(z > 0, einsum("ij,j->i", A, x), 0))', G, {"x": [4, 6], "A": TAKEN * x}),
    "einsum of three": (
        H + 'w : [M]\ny = sum(where(z > 0, einsum("ij,j,i->i", A, x, w), 0))',
        G | {"w": np.array([1, INF, 2])},
        {"x": [7, 10], "w": [5, 0, 11]},
    ),
    "matrix": (
        H + "W : [D, K]\ny = sum(where(z[:, None] > 0, A @ W, 0))",
        G | {"W": np.ones((2, 3))},
        {"W": [[4] * 3, [6] * 3], "A": 3 * TAKEN + np.zeros((3, 2))},
    ),
    "columns": (
        "x : [D]\nA : [M, D]\nW : [K, M]\ny = sum(where(x > 1.5, W @ A, 0))",
        {"x": x, "A": np.array([[INF, 1], [NAN, 2], [2, 3]]), "W": np.ones((2, 3))},
        {"W": [[1, 2, 3]] * 2, "A": [[0, 2]] * 3},
    ),
    "dot": (
        "u, v : [N]\ninput c\ny = dot(u, v) if c > 0 else sum(u*2)",
        {"u": x, "v": np.array([INF, NAN]), "c": -1.0},
        {"u": [2, 2], "v": [0, 0]},
    ),
    "outer": (
        "u, v : [N]\ninput c\ny = sum(outer(u, v)) if c > 0 else sum(u*2)",
        {"u": x, "v": np.array([INF, NAN]), "c": -1.0},
        {"u": [2, 2], "v": [0, 0]},
    ),
    "log then @": (
        "u, w : [N]\ninput c\ny = log(u) @ w if c > 0 else sum(u)",
        {"u": U, "w": x, "c": -1.0},
        {"u": [1, 1], "w": [0, 0]},
    ),
    "gather": (
        "u : [N]\nk : int[M]\nz, w : [M]\ny = sum(where(z > 0, u[k]*w, 0))",
        {"u": x, "k": [0, 1, 0], "z": z, "w": np.array([1, NAN, 3])},
        {"u": [4, 0], "w": [1, 0, 1]},
    ),
    "softmax": (
        "A : [M, D]\nz : [M]\ny = sum(softmax(A)[i, 0] if z[i] > 0 else 0 for i in range(M))",
        {"A": np.array([[0, 0], [INF, NAN], [0, 0]]), "z": z},
        {"A": TAKEN * [0.25, -0.25]},
    ),
    "logsumexp": (
        "A : [M, D]\nz : [M]\ny = sum(where(z > 0, logsumexp(A, axis=1), 0))",
        {"A": np.array([[0, 0], [INF, NAN], [0, 0]]), "z": z},
        {"A": TAKEN * [0.5, 0.5]},
    ),
    "prod": ("u : [N]\ninput c\ny = prod(u/c) if c > 0 else sum(u)*c", {"u": x, "c": 0.0}, {"u": [0, 0], "c": 3}),
    "prod of rows": (H + "y = sum(where(z > 0, prod(A, axis=1), 0))", G, {"A": [[2, 1], [0, 0], [4, 3]]}),
    "norm of rows": (H + "y = sum(where(z > 0, norm(A, axis=1), 0))", G, {"A": FINITE / np.array([[5**0.5], [1], [5]])}),
    "layer norm": (
        H + "y = sum(where(z[:, None] > 0, layer_norm(A, x, x), 0))",
        G | {"A": np.array([[2.0, 2.0], [INF, NAN], [3.0, 3.0]])},
        {"x": [2, 2], "A": TAKEN * [-(100000**0.5), 100000**0.5] / 2},
    ),
    "singular inverse": (
        "S : [2, 2]\ninput c\ny = sum(inv(S)) if c > 0 else S[0, 0]**2",
        {"S": S, "c": -1.0},
        {"S": [[2, 0], [0, 0]]},
    ),
    "logdet of a singular matrix": (
        "S : [2, 2]\ninput c\ny = logdet(S) if c > 0 else S[0, 0]**2",
        {"S": S, "c": -1.0},
        {"S": [[2, 0], [0, 0]]},
    ),
    "root of a choice": (
        "u : [N]\ny = sum(solve(x**3 + v*x - 1 for x from 1)/v if v > 0 else v for v in u)",
        {"u": np.array([0.0, -1.0])},
        {"u": [1, 1]},
    ),
    "recurrence": (
        "u : [N]\ninput c\nh[0] = 1\nh[t] = h[t-1]/u[t-1] for t in range(1, N+1)\ny = h[N] if c > 0 else sum(u)",
        {"u": U, "c": -1.0},
        {"u": [1, 1]},
    ),
    "all of a recurrence": (
        "u : [N]\ninput c\nh[0] = 1\nh[t] = h[t-1]/u[t-1] for t in range(1, N+1)\ny = sum(h) if c > 0 else sum(u)",
        {"u": U, "c": -1.0},
        {"u": [1, 1]},
    ),
    "singular system": (
        "S : [2, 2]\nu : [2]\ninput c\ny = sum(solve(S, u)) if c > 0 else sum(u*2) + S[0, 0]",
        {"S": S, "u": x, "c": -1.0},
        {"u": [2, 2], "S": [[1, 0], [0, 0]]},
    ),
    "singular systems of entries": (
        "u : [N]\nw : [2]\ny = sum(solve([[v, 0], [0, v]], w)[0] if v > 0 else v for v in u)",
        {"u": U, "w": x},
        {"u": [1, -1 / 16], "w": [0.25, 0]},
    ),
    "cholesky": (
        "S : [2, 2]\ninput c\ny = sum(cholesky(S)) if c > 0 else S[0, 0]**2",
        {"S": -S, "c": -1.0},
        {"S": [[-2, 0], [0, 0]]},
    ),
    "cumprod": (H + "y = sum(where(z[:, None] > 0, cumprod(A, axis=1), 0))", G, {"A": [[3, 1], [0, 0], [5, 3]]}),
}


@pytest.mark.parametrize("name", MASKED)
def test_a_branch_that_is_not_taken_adds_nothing(name: str) -> None:
    text, given, wanted = MASKED[name]
    model = gl.loads(text)
    with np.errstate(all="ignore"):
        value, grads = model.value_and_grad("y", wrt=list(wanted))(given)
        assert np.isfinite(value)
        for n, slope in wanted.items():
            assert np.allclose(grads[n], slope, rtol=1e-12, atol=1e-14), (n, grads[n])
            vector = RNG.uniform(-1, 1, np.shape(given[n]))[()]
            assert model.jvp("y", wrt=n)(vector, given)[1] == pytest.approx(
                np.sum(vector * np.asarray(slope)), rel=1e-9, abs=1e-12
            ), n


@pytest.mark.parametrize("name", MASKED)
def test_second_derivatives_are_finite_too(name: str) -> None:
    text, given, wanted = MASKED[name]
    model = gl.loads(text)
    with np.errstate(all="ignore"):
        vectors = {n: RNG.uniform(-1, 1, np.shape(given[n]))[()] for n in wanted}
        for n, product in model.hvp("y", wrt=list(wanted))(vectors, given)[1].items():
            assert np.all(np.isfinite(product)), n
