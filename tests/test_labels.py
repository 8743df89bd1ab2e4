"""One-hot rows by the places of their ones: the same bits on the grid of the rewrite proof, and the same errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.backend.numpy import spelled
from gradlang.backend.numpy_planned import planned
from gradlang.diagnostics import InputError
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.language import standard
from gradlang.plan.labels import placed
from gradlang.prove.rewrites import SPECIAL, bits
from gradlang.runtime.planned import PlannedProgram
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.types import Type

TABLE = standard().table
FORMS = ("where", "where turned", "zmul")


def one_hot(b: Builder, rows: int, n: int, swapped: bool = False) -> tuple[int, int]:
    """An input P [rows, n] and the one-hot rows of an input k int[rows]."""
    p = b.leaf("input", ("P",), Type((rows, n)), (0, 0)).id
    k = b.leaf("input", ("k",), Type((rows,), "int"), (0, 0)).id
    index = b.apply("reshape", (b.apply("within", (k,), (n,)),), ((rows, 1),))
    sides = (index, b.apply("iota", (), (n,)))
    equal = b.apply("equal", sides[::-1] if swapped else sides)
    return p, b.real(equal)


def product(b: Builder, form: str, h: int, p: int) -> int:
    if form == "zmul":
        return b.apply("zmul", (h, p))
    pair = (p, h) if form == "where turned" else (h, p)
    return b.apply("where", (b.apply("equal", (h, b.const(0.0))), b.const(0.0), b.apply("mul", pair)))


def same(before: Tape, after: Tape, given: dict[str, Any]) -> None:
    left, right = (evaluate(expand(t, TABLE, Templates(TABLE), spelled), TABLE, given, {})["y"] for t in (before, after))
    assert np.shape(left) == np.shape(right)
    for a, c in zip(np.ravel(left), np.ravel(right), strict=True):
        assert bits(a) == bits(c), (given, left, right)


def ops(tape: Tape) -> set[str]:
    return {i.op for i in tape.instrs}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_sums_of_rows_have_the_same_bits(form: str, keep: bool, swapped: bool) -> None:
    """Every special value at the place of the 1 and beside it."""
    b = Builder(TABLE)
    p, h = one_hot(b, 1, 2, swapped)
    before = b.tape([("y", b.apply("sum", (product(b, form, h, p),), ((1,), keep)))])
    after = placed(before, TABLE, {})
    assert "take_along" in ops(after) and "equal" not in ops(after)
    for x in SPECIAL:
        for y in SPECIAL:
            for k in (0, 1, -1, -2):
                same(before, after, {"P": np.array([[x, y]]), "k": np.array([k])})


@pytest.mark.parametrize("form", FORMS)
def test_sums_of_all_entries(form: str) -> None:
    """Only the order of the additions differs: here none of them rounds."""
    b = Builder(TABLE)
    p, h = one_hot(b, 3, 4)
    before = b.tape([("y", b.apply("sum", (product(b, form, h, p),), ((0, 1), False)))])
    after = placed(before, TABLE, {})
    assert "take_along" in ops(after)
    r = np.random.default_rng(5)
    for _ in range(200):
        values = r.choice([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan], (3, 4), p=[0.2, 0.3, 0.2, 0.2, 0.04, 0.03, 0.03])
        same(before, after, {"P": values, "k": r.integers(-4, 4, 3)})


def test_the_sum_of_a_row_is_one() -> None:
    b = Builder(TABLE)
    p, h = one_hot(b, 3, 4)
    total = b.apply("sum", (h,), ((1,), True))
    before = b.tape([("y", b.apply("mul", (p, total)))])
    after = placed(before, TABLE, {})
    assert ops(after) == {"input"}
    same(before, after, {"P": np.array(SPECIAL[:12]).reshape(3, 4), "k": np.array([0, 3, -1])})


def test_what_only_these_entries_need_is_done_there_alone() -> None:
    b = Builder(TABLE)
    p, h = one_hot(b, 3, 4)
    row = b.apply("sum", (b.apply("exp", (p,)),), ((1,), True))
    logs = b.apply("sub", (b.apply("square", (p,)), b.broadcast(row, (3, 4))))
    before = b.tape([("y", b.apply("sum", (product(b, "where", h, logs),), ((1,), False)))])
    after = placed(before, TABLE, {})
    assert [i.type.shape for i in after.instrs if i.op in ("square", "sub")] == [(3, 1), (3, 1)]
    same(before, after, {"P": np.linspace(-2, 2, 12).reshape(3, 4), "k": np.array([0, 3, -1])})
    both = b.tape([("y", before.outputs[0][1]), ("z", logs)])  # all entries are needed, and read again
    assert [i.type.shape for i in placed(both, TABLE, {}).instrs if i.op in ("square", "sub")] == [(3, 4), (3, 4)]


@pytest.mark.parametrize(
    "what", ["a plain product", "another axis", "rows of one entry", "another index", "another array of counts", "other zeros"]
)
def test_what_stays(what: str) -> None:
    """A plain product of 0 and infinity is nan, and an index that nobody looked at may be outside."""
    n = 1 if what == "rows of one entry" else 4
    b = Builder(TABLE)
    p, h = one_hot(b, 3, n)
    if what in ("another index", "another array of counts"):
        index = b.leaf("input", ("k",), Type((3,), "int"), (0, 0)).id
        counts = b.apply("iota", (), (4,))
        if what == "another array of counts":
            index = b.apply("within", (index,), (5,))
        h = b.real(b.apply("equal", (b.apply("reshape", (index,), ((3, 1),)), counts)))
    times = b.apply("mul", (h, p)) if what == "a plain product" else product(b, "where", h, p)
    if what == "other zeros":
        times = b.apply("where", (b.apply("equal", (h, b.const(0.0))), b.const(-0.0), b.apply("mul", (h, p))))
    total = b.apply("sum", (times,), ((0 if what == "another axis" else 1,), False))
    before = b.tape([("y", total)])
    assert "take_along" not in ops(placed(before, TABLE, {}))


# ------------------------------------------------------------------ in the code that runs
NET = "X : [N, 3]\nt : int[N]\nW : [3, 4]\nloss = cross_entropy(X @ W, t)\n"


def programs(often: tuple[int, int] = (1, 0), dtype: str = "float64") -> tuple[Any, PlannedProgram]:
    model = gl.loads(NET, dtype=dtype)
    f = model.value_and_grad("loss", ["W"], backend="numpy")
    return f, PlannedProgram(f.job, model.program.language.table, f.raw.readable, *often)


def given(n: int, dtype: str = "float64") -> tuple[Any, ...]:
    r = np.random.default_rng(n)
    return r.normal(size=(n, 3)).astype(dtype), r.integers(-4, 4, n), r.normal(size=(3, 4)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 5, 8, 64, 9000])
def test_a_loss_and_its_gradient(n: int, dtype: str) -> None:
    f, program = programs(dtype=dtype)
    X, t, W = given(n, dtype)
    loss, slopes = program(X, t, W)
    wanted, readable = f.raw.readable(X, t, W)
    tol = 1e-13 if dtype == "float64" else 1e-5
    assert loss == pytest.approx(wanted, rel=tol)
    np.testing.assert_allclose(slopes["W"], readable["W"], rtol=tol, atol=tol)
    p = np.exp(X @ W - (X @ W).max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(n), t]).mean(), rel=10 * tol)
    p[np.arange(n), t] -= 1
    np.testing.assert_allclose(slopes["W"], X.T @ p / n, rtol=100 * tol, atol=tol)


def test_no_array_of_ones_and_zeros_is_made() -> None:
    f, _ = programs()
    made = planned(f.job, gl.loads(NET).program.language.table, {"N": 8}, 1, 0)
    assert made is not None and "np.equal" not in made.source and "np.where(" not in made.source.split("def loss")[1]


@pytest.mark.parametrize("n", [5, 9000])
@pytest.mark.parametrize("label", [4, -5, 2**62, -(2**62)])
def test_labels_outside(n: int, label: int) -> None:
    f, program = programs()
    X, t, W = given(n)
    t[n // 2] = label
    for run in (program, f.raw.readable):
        with pytest.raises(IndexError, match=f"index {label} for a size of 4"):
            run(X, t, W)
    with pytest.raises(InputError, match="G506"):
        f(X=X, t=t, W=W)


def test_what_is_not_finite() -> None:
    """Infinite and undefined scores of one row make what they make in the readable code."""
    f, program = programs()
    X, t, W = given(16)
    for bad in (np.inf, -np.inf, np.nan, 1e200):
        X[3] = bad
        loss, slopes = program(X, t, W)
        wanted, readable = f.raw.readable(X, t, W)
        np.testing.assert_equal(loss, wanted)
        np.testing.assert_allclose(slopes["W"], readable["W"], rtol=1e-13)


def test_labels_of_other_kinds() -> None:
    X, t, W = given(16)
    f, _ = programs()
    for kind in ("int8", "uint8", "int32", "uint64"):
        labels = np.abs(t) % 4
        assert f(X=X, t=labels.astype(kind), W=W)[0] == f(X=X, t=labels, W=W)[0]
        both = np.stack([labels, labels]).astype(kind)
        assert f(X=X, t=both.T[:, 0], W=W)[0] == f(X=X, t=labels, W=W)[0]  # strides
