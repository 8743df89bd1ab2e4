"""Products with a factor that is the same along an axis are made once; choices of two tangents are one choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loopcheck import agrees

import gradlang as gl
from gradlang import pipeline
from gradlang.ir.tape import Tape
from gradlang.pipeline import Goal
from gradlang.runtime import native
from gradlang.types import product, value

RNG = np.random.default_rng(4)
A, X, M, C = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=(5, 2, 3))
Case = tuple[str, Callable[..., Any], dict[str, Any]]

CASES: dict[str, Case] = {
    "columns": (
        "A : [I, J]\nm : [J]\nB = [[m[j] for n in range(7)] for j in range(J)]\ny = A @ B",
        lambda A, m: A @ np.repeat(m[:, None], 7, axis=1),
        {"A": A, "m": M},
    ),
    "rows": (
        "A : [I, J]\nm : [I]\nB = [[-m[i] for i in range(I)] for n in range(7)]\ny = B @ A",
        lambda A, m: np.repeat(-m[None], 7, axis=0) @ A,
        {"A": A, "m": M[:2]},
    ),
    "summed on the right": (
        "A : [I, J]\nm : [L]\nB = [[m[l] for l in range(L)] for j in range(J)]\ny = A @ B",
        lambda A, m: A @ np.repeat(m[None], 3, axis=0),
        {"A": A, "m": M},
    ),
    "summed on the left": (
        "A : [I, J]\nm : [L]\nB = [[m[l] for i in range(I)] for l in range(L)]\ny = B @ A",
        lambda A, m: np.repeat(m[:, None], 2, axis=1) @ A,
        {"A": A, "m": M},
    ),
    "stacked": (
        "C : [K, I, J]\nm : [K, J]\nB = [[[m[k, j] for n in range(7)] for j in range(J)] for k in range(K)]\ny = C @ B",
        lambda C, m: C @ np.repeat(m[:, :, None], 7, axis=2),
        {"C": C, "m": RNG.normal(size=(5, 3))},
    ),
    "one matrix for all": (
        "A : [I, J]\nm : [K, J]\nB = [[[m[k, j] for n in range(7)] for j in range(J)] for k in range(K)]\n"
        "S = [A for k in range(K)]\ny = S @ B",
        lambda A, m: A @ np.repeat(m[:, :, None], 7, axis=2),
        {"A": A, "m": RNG.normal(size=(5, 3))},
    ),
    "the same number everywhere": (
        "A : [I, J]\ninput c\nB = [[c for n in range(7)] for j in range(J)]\ny = A @ B",
        lambda A, c: A @ np.full((3, 7), c),
        {"A": A, "c": 1.5},
    ),
}


def tape_of(model: gl.Model, goal: Goal) -> Tape:
    return pipeline.plan(model.program, goal, model.program.language, "").tape


def work(tape: Tape, sizes: dict[str, int]) -> int:
    """The multiplications of all products of matrices."""
    total = 0
    for i in tape.instrs:
        if i.op in ("matmul", "zmatmul"):
            total += value(product(i.type.shape), sizes) * value(tape.instrs[i.args[0]].type.shape[-1], sizes)
    return total


@pytest.mark.parametrize("name", CASES)
def test_products_with_a_factor_that_is_the_same_along_an_axis(name: str) -> None:
    text, reference, given = CASES[name]
    model = agrees(text, reference, given)
    sizes = {"I": 2, "J": 3, "K": 5, "L": 3}
    parts = 5 if name in ("stacked", "one matrix for all") else 1
    most = 9 if name.startswith("summed") else 6  # of a column and a row, or of a matrix and a vector
    assert 0 < work(tape_of(model, Goal("value", ("y",))), sizes) <= most * parts


@pytest.mark.parametrize("spoil", ["inf", "nan"])
def test_infinite_factors(spoil: str) -> None:
    """They spoil the same entries. A sum is made before the product, so inf - inf may be inf times a number."""
    text, reference, _ = CASES["summed on the left"]
    bad = {"A": A.copy(), "m": M.copy()}
    bad["m"][1] = float(spoil)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.isfinite(gl.loads(text).function("y")(bad)), np.isfinite(reference(**bad)))


MIXTURE = """x : [N, D]
mu : [K, D]
low : [K, D, D]
Q = [[[low[k, i, j] if i > j else exp(low[k, i, i]) if i == j else 0 for j in range(D)] for i in range(D)] for k in range(K)]
dist = [[sum((Q[k] @ (x[n] - mu[k]))**2) for k in range(K)] for n in range(N)]
y = sum(logsumexp(-dist/2, axis=1))
"""


def test_a_hessian_times_a_vector_of_a_mixture() -> None:
    """The work that is left: Q and its tangent times the differences, once each, and two products for the slope of Q and its
    tangent; nothing else has the points among its axes."""
    r = np.random.default_rng(1)
    given = {"x": r.normal(size=(6, 3)), "mu": r.normal(size=(4, 3)), "low": r.normal(size=(4, 3, 3))}
    v = {"mu": r.normal(size=(4, 3)), "low": r.normal(size=(4, 3, 3))}
    model = gl.loads(MIXTURE)
    sizes, points = {"N": 1000, "K": 4, "D": 3}, 1000 * 4 * 9
    assert work(tape_of(model, Goal("hvp", ("y",), ("mu", "low"))), sizes) < 4.1 * points
    made = model.hvp("y", wrt=["mu", "low"], backend="numpy")(v, given)[1]
    if native.available() is None:
        for k, fast in model.hvp("y", wrt=["mu", "low"], backend="native")(v, given)[1].items():
            np.testing.assert_allclose(fast, made[k], rtol=1e-12, atol=1e-12)
    step, slope = 1e-4, model.value_and_grad("y", wrt=["mu", "low"])
    ends = [slope({**given, **{k: given[k] + h * v[k] for k in v}})[1] for h in (step, -step)]
    for k in v:
        np.testing.assert_allclose(made[k], (ends[0][k] - ends[1][k]) / (2 * step), rtol=1e-5, atol=1e-6)


def test_sums_of_products_behind_signs_and_transposes() -> None:
    text = "A : [I, J]\nB : [J, K]\nC : [J, K]\ny = sum(-transpose(A @ B - A @ C), axis=0)"
    b, c = RNG.normal(size=(2, 3, 4))
    model = agrees(text, lambda A, B, C: np.sum(-(A @ B - A @ C).T, axis=0), {"A": A, "B": b, "C": c})
    assert work(tape_of(model, Goal("value", ("y",))), {"I": 2, "J": 3, "K": 1000}) <= 2 * 6


# ------------------------------------------------------------------ choices
CHOICE = """x : [N]
y = sum([x[i]**3 if i % 2 == 0 else sin(x[i]) for i in range(N)])
"""


def test_a_choice_of_two_tangents_is_one_choice() -> None:
    model = gl.loads(CHOICE)
    tape = tape_of(model, Goal("hvp", ("y",)))
    for i in tape.instrs:
        if i.op == "add":
            one, two = (tape.instrs[a] for a in i.args)
            assert not (one.op == two.op == "where" and one.args[0] == two.args[0])
    x = RNG.normal(size=6)
    even = np.arange(6) % 2 == 0
    agrees(CHOICE, lambda x: np.sum(np.where(even, x**3, np.sin(x))), {"x": x})
