"""Recurrences in machine code keep what their adjoints need of each step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.ir.tape import Instr
from gradlang.ops.language import standard
from gradlang.pipeline import Goal, plan
from gradlang.runtime.native import available
from gradlang.runtime.sizes import aligned

NETWORK = """W : [M, M]
U : [M]
h0 : [M]
x : [T]
h[0] = h0
h[t] = tanh(W @ h[t-1] + U*x[t-1]) for t in range(1, T+1)
loss = sum(h[T]**2) + sum(h[1])
"""
GROWTH = """r : []
x0 : []
n[0] = x0
n[t] = r*n[t-1]*(1 - n[t-1]) for t in range(1, 30)
loss = sum(n)
"""
PAIR = """a : []
b : []
u : [T]
p[0] = a
p[1] = b
p[t] = exp(-p[t-1]**2)*sin(p[t-2]) + u[t]*a for t in range(2, T)
q[0] = b
q[t] = q[t-1]/(1 + p[t]**2) + sqrt(1 + q[t-1]**2) for t in range(1, T)
loss = sum(p*q) + q[T-1]*exp(a)
"""


def values(text: str) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    if text == NETWORK:
        return {"W": rng.normal(size=(5, 5)), "U": rng.normal(size=5), "h0": rng.normal(size=5), "x": rng.normal(size=9)}
    return {"r": 3.1, "x0": 0.3} if text == GROWTH else {"a": 0.3, "b": -0.7, "u": rng.normal(size=11)}


def scans(text: str, kind: str = "grad", native: bool = True, **more: Any) -> list[Instr]:
    model = gl.loads(text)
    goal = Goal(kind, ("loss",), tuple(values(text)), **more)
    return [i for i in plan(model.program, goal, standard(), "a test", native=native).tape.instrs if i.op == "scan"]


def kept(found: list[Instr]) -> list[int]:
    return [sum(n.startswith("kept") for n in i.attrs[0].names) for i in found if i.attrs[0].kind == "pull"]


@pytest.mark.parametrize(("text", "wanted"), [(NETWORK, [1]), (GROWTH, [0]), (PAIR, [4, 2])])
def test_what_is_kept(text: str, wanted: list[int]) -> None:
    found = scans(text)
    assert kept(found) == wanted
    for i in found:
        if i.attrs[0].kind == "push":
            assert not {"exp", "sin", "cos", "sqrt", "tanh", "tanh_slope"} & {k.op for k in i.attrs[0].body.instrs}
    for others in (scans(text, native=False), scans(text, checkpoint=True), scans(text, "hvp")):
        assert not any(kept(others))


@pytest.mark.skipif(available() is not None, reason="llvmlite is not there")
@pytest.mark.parametrize("text", [NETWORK, GROWTH, PAIR])
def test_kept_values_are_those_of_the_steps(text: str) -> None:
    model, given = gl.loads(text), values(text)
    value, slopes = model.value_and_grad("loss", backend="native")(given)
    wanted, others = model.value_and_grad("loss", backend="numpy")(given)
    np.testing.assert_allclose(value, wanted, rtol=1e-13)
    for name, slope in slopes.items():
        np.testing.assert_allclose(slope, others[name], rtol=1e-11, atol=1e-13, err_msg=name)
    vectors = {name: np.ones_like(v) for name, v in given.items()}
    for mine, other in zip(
        model.hvp("loss", backend="native")(given, vectors)[1].values(),
        model.hvp("loss", backend="numpy")(given, vectors)[1].values(),
        strict=True,
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-11)


@pytest.mark.skipif(available() is not None, reason="llvmlite is not there")
@pytest.mark.parametrize("rows", [1, 3, 7, 8, 9, 12, 13, 130])
@pytest.mark.parametrize("columns", [3, 8, 16, 17])
def test_sums_of_rows(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    X, w, v = rng.normal(size=(rows, columns)), rng.normal(size=rows), rng.normal(size=columns)
    model = gl.loads(
        "X : [N, K]\nw : [N]\nv : [K]\na = w @ X\nb = sum(X*X*expand_dims(w, -1), axis=0)\nc = sum(X*v, axis=1)\nd = X @ v"
    )
    found = model.function(["a", "b", "c", "d"], backend="native")(X=X, w=w, v=v)
    for name, wanted in {"a": w @ X, "b": w @ (X * X), "c": X @ v, "d": X @ v}.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-12, atol=1e-12)


def test_borrowed_memory_begins_with_a_line_of_the_cache() -> None:
    made = [aligned(shape, np.dtype(kind)) for shape in ((3,), (5, 7), (1000, 16), ()) for kind in ("f8", "f4", "i8", "?")]
    for array in made:
        assert array.ctypes.data % 64 == 0
        assert array.flags.carray
    assert [a.shape for a in made[::4]] == [(3,), (5, 7), (1000, 16), ()]
    assert [a.dtype for a in made[:4]] == [np.float64, np.float32, np.int64, np.bool_]
