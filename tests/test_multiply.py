"""Products of matrices that kernels make themselves: every entry once, to the last bits, and nothing beside them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from loop_machine import Machine
from test_plan import NETWORK, kernels, walk
from test_plan import planned as planned_with

import gradlang as gl
from gradlang import pipeline
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_ops import Target
from gradlang.backend.llvm_product import ROWS, height, panels, vectors
from gradlang.loops.functions import function
from gradlang.loops.ir import For, Let
from gradlang.pipeline import Goal
from gradlang.plan.cost import LARGEST, pays
from gradlang.plan.multiply import block_of, multiplied, multiply
from gradlang.plan.plan import Library, plan
from gradlang.runtime import native
from gradlang.runtime.native import engine, machine, program

WHY = native.available()
compiled = pytest.mark.skipif(WHY is not None, reason=str(WHY))
DTYPES: dict[str, Any] = {"f64": np.float64, "f32": np.float32}
TARGETS = {
    "128": Target(fma=False, vector=128),
    "128, 32 registers": Target(vector=128, registers=32),
    "256": Target(vector=256),
    "512": Target(vector=512, registers=32),
}
SHAPES = [
    (1, 1, 1), (1, 5, 3), (2, 1, 7), (3, 4, 2), (5, 2, 9), (7, 70, 11), (8, 8, 8), (9, 3, 17), (12, 30, 10), (13, 1, 24),
    (16, 9, 31), (17, 12, 33), (23, 6, 50), (25, 66, 5), (31, 7, 64), (49, 2, 53), (50, 13, 70), (64, 5, 61), (70, 3, 29),
]  # fmt: skip


# ------------------------------------------------------------------ tiles
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_vectors_reach_over_all_columns_and_no_others(lanes):
    for columns in range(1, 200):
        found = vectors(columns, lanes)
        assert {at + k for at, wide in found for k in range(wide)} == set(range(columns))
        assert all(wide <= lanes and wide & (wide - 1) == 0 for _, wide in found)
        for most in (3, 4):
            parts = panels(columns, lanes, most)
            assert tuple(v for p in parts for v in p) == found
            assert max(map(len, parts)) <= most and max(map(len, parts)) - min(map(len, parts)) <= 1


def test_tiles_have_rows_for_the_registers():
    for registers, most in ROWS.items():
        for wide, rows in most.items():
            assert rows * wide + wide + 1 <= registers
            for n in range(1, 100):
                assert 1 <= height(n, rows) <= min(n, rows)
    assert height(16, 12) == 8 and height(784, 6) == 6 and height(50, 12) == 10


# ------------------------------------------------------------------ products
def block(rows: int) -> int:
    """A few blocks, the last of which may have fewer rows than a tile."""
    return min(rows, 24)


def run(library: engine.Library, a: Any, b: Any, width: str) -> Any:
    """The product, by machine code, of matrices whose rows or columns may lie apart; what lies around them stays."""
    rows, columns, size = a.shape[0], b.shape[1], np.dtype(DTYPES[width]).itemsize
    room = np.full(rows * columns + 64, 7.0, DTYPES[width])
    given = [k // size for k in (*a.strides, b.strides[0])]
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 4)(
        library[multiply(rows, columns, block(rows)).name]
    )
    call(a.ctypes.data, b.ctypes.data, room[32:].ctypes.data, a.shape[1], *given)
    assert (room[:32] == 7).all() and (room[rows * columns + 32 :] == 7).all()
    return room[32 : rows * columns + 32].reshape(rows, columns)


def library(width: Any, target: Target) -> engine.Library:
    made = [multiply(rows, columns, block(rows)) for rows, _, columns in SHAPES]
    return engine.load(unit_text(made, width, target, lambda name: function(name, width)), [k.name for k in made])


def matrices(rng: Any, shape: tuple[int, int, int], width: str, draw: Any = None) -> Any:
    """Pairs of matrices, the first one also turned over, the second one also with rows that lie apart."""
    rows, summed, columns = shape
    draw = draw or (lambda *shape: rng.normal(size=shape) * np.exp2(rng.integers(-9, 9, shape)))
    a, b = draw(rows, summed).astype(DTYPES[width]), draw(summed, columns).astype(DTYPES[width])
    wide = np.full((summed, columns + 3), np.nan, DTYPES[width])
    wide[:, 1 : columns + 1] = b
    return [(a, b), (np.asfortranarray(a), wide[:, 1 : columns + 1])]


@compiled
@pytest.mark.parametrize("width", ["f64", "f32"])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_product_is_as_near_as_its_sums_allow(width, target):
    """At most n roundings of the sum of n products and n of the products: Higham, Accuracy and Stability of Numerical
    Algorithms (2002), 3.5."""
    code, rng, unit = library(width, target), np.random.default_rng(1), np.finfo(DTYPES[width]).eps / 2
    for shape in SHAPES:
        for a, b in matrices(rng, shape, width):
            exact, sizes = (f(a).astype(np.longdouble) @ f(b).astype(np.longdouble) for f in (np.asarray, np.abs))
            made = run(code, a, b, width)
            assert (np.abs(made - exact) <= 1.01 * (shape[1] + 1) * unit * sizes).all(), shape
            np.testing.assert_array_equal(run(code, a, b, width), made)


@compiled
@pytest.mark.parametrize("width", ["f64", "f32"])
def test_odd_numbers_go_through_a_product(width):
    code, rng, real = library(width, engine.target()), np.random.default_rng(2), DTYPES[width]
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0, 3.0, *[1.0] * 32], real)
    least = np.finfo(real).smallest_subnormal
    for shape in SHAPES:
        for a, b in matrices(rng, shape, width, lambda *of: rng.choice(odd, of)):
            with np.errstate(all="ignore"):
                wanted = np.stack([(a[:, :, None] * b[None])[:, k] for k in range(shape[1])]).sum(axis=0)
            np.testing.assert_array_equal(run(code, a, b, width), wanted)
        for a, b in matrices(rng, shape, width, lambda *of: rng.integers(-9, 10, of)):  # smaller than normal numbers
            np.testing.assert_array_equal(run(code, a * least, b, width), (a @ b) * least)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (5, 7, 3)])
def test_the_loops_of_these_kernels_say_what_they_do(shape):
    rng, kernel = np.random.default_rng(3), multiply(shape[0], shape[2], shape[0])
    for a, b in matrices(rng, shape, "f64", lambda *of: rng.integers(-9, 10, of)):
        memory = [np.array(x.ravel("K")) if x.base is None else np.array(x.base).ravel()[1:] for x in (a, b)]
        c = np.full(shape[0] * shape[2], np.nan)
        sizes = [shape[1], *(k // 8 for k in (*a.strides, b.strides[0]))]
        Machine("f64", lambda name: function(name, "f64")).kernel(
            kernel, dict(zip(kernel.buffers, (*memory, c), strict=True)), sizes
        )
        np.testing.assert_array_equal(c.reshape(shape[0], shape[2]), a @ b)


# ------------------------------------------------------------------ which ones
def own(text: str, cores: int | None, **sizes: int) -> Any:
    """The plan of the gradient of a loss by weights."""
    model = gl.loads(text)
    leaves = tuple(n for n in ("W1", "W2", "W") if f"\n{n} :" in text)
    job = pipeline.plan(model.program, Goal("grad", ("loss",), leaves), model.program.language, "a test", native=True)
    return plan(job.tape, model.program.language.table, sizes, sizes, cores=cores)


def libraries(made: Any) -> int:
    return sum(len(s.instrs) for s in made.steps if isinstance(s, Library))


def test_a_network_is_one_kernel_where_the_library_has_one_thread():
    made = own(NETWORK, 1, N=100)
    assert len(made.steps) == len(kernels(made)) == 1
    assert libraries(own(NETWORK, None, N=100)) == libraries(planned_with(NETWORK, "loss", ["W1", "W2"], N=100)) == 5
    some = own(NETWORK, 16, N=100)  # the two products that the library makes on all of them
    assert libraries(some) == 2


def test_what_products_win_counts_where_the_library_has_one_thread():
    model = gl.loads("X : [N, 784]\nW : [784, 50]\nV : [50, 10]\nloss = sum(tanh(X@W)@V)")
    tape = pipeline.plan(model.program, Goal("value", ("loss",), ()), model.program.language, "a test").tape
    assert [pays(tape, {"N": n}, 1000, cores) for n in (20, 60) for cores in (None, 1, 2)] == [
        False,
        False,
        False,
        False,
        True,
        False,
    ]


def test_large_matrices_are_the_librarys():
    text = "X : [N, K]\nW : [K, M]\nloss = sum((X@W)**2)"
    assert not libraries(own(text, 1, N=100, K=400, M=LARGEST // 400))
    assert libraries(own(text, 1, N=100, K=400, M=2 * LARGEST // 400))


def test_what_does_not_lie_in_memory_is_the_librarys():
    model = gl.loads(
        "X : [N, 30]\nW : [60, 60]\nv : [N, 2, 15]\nloss = sum((X @ W[0:60:2, 0:60:2])**2) + sum((reshape(v, [N, 30]) @ W[0:30])**2)"
    )
    job = pipeline.plan(model.program, Goal("value", ("loss",), ()), model.program.language, "a test", native=True)
    assert not multiplied(job.tape, model.program.language.table, {"N": 40}, 1)


def test_rows_of_products_stay_rows_of_loops():
    """Around a product the entries of a row lie side by side, so that the short loop goes along them, however long the rows'."""
    for n in (100, 1000):
        (kernel,) = kernels(own("X : [N, 784]\nW1 : [784, 50]\nW2 : [50, 50]\nloss = sum(sin(sigmoid(X@W1)@W2))", 1, N=n))
        inner = [
            s
            for s in walk(kernel.kernel.body)
            if isinstance(s, For) and s.stop.const == 50 and not any(isinstance(x, For) for x in s.body)
        ]
        assert sum(isinstance(x, Let) and x.op == "call" for s in inner for x in s.body) >= 2


def test_blocks_of_rows_are_of_whole_tiles():
    assert [block_of(*of) for of in ((50, 1000), (100, 784), (1000, 784), (784, 1000), (5, 10**6))] == [50, 100, 96, 72, 5]


@pytest.mark.parametrize(("told", "threads"), [({"OMP_NUM_THREADS": "1"}, 1), ({"OPENBLAS_NUM_THREADS": " 1 "}, 1), ({}, 4)])
def test_the_threads_of_the_library_are_asked_of_the_environment(monkeypatch, told, threads):
    for name in machine.LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda of: set(range(4)), raising=False)
    for name, n in told.items():
        monkeypatch.setenv(name, n)
    monkeypatch.setenv("MKL_NUM_THREADS", "many")
    asked = machine.library_threads.__wrapped__
    monkeypatch.setattr(machine.sys, "platform", "linux")
    assert asked() == threads
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert asked() is None


# ------------------------------------------------------------------ programs
PROGRAMS = {
    "a net": (NETWORK.replace("int[N]", "[N, 10]"), {"X": (40, 784), "t": (40, 10), "W1": (784, 50), "W2": (50, 10)}),
    "a net, long rows": (NETWORK.replace("int[N]", "[N, 10]"), {"X": (300, 784), "t": (300, 10), "W1": (784, 50), "W2": (50, 10)}),
    "layers": ("X : [N, K]\nA : [K, M]\nB : [M, M]\nc : [M]\nloss = sum(sin(tanh(relu(X@A + c)@B + c)@B))", {"X": (260, 32), "A": (32, 24), "B": (24, 24), "c": (24,)}),
    "both turned": ("A : [N, K]\nB : [M, N]\nloss = sum(sin(A.T @ B.T))", {"A": (33, 41), "B": (29, 33)}),
    "with itself": ("A : [N, K]\nloss = sum(sin(A.T @ A)) + sum(cos(A @ A.T))", {"A": (45, 31)}),
    "one after another": ("A : [N, N]\nB : [N, M]\nP = A @ (A @ sin(A @ B))\nloss = sum(P*P)", {"A": (37, 37), "B": (37, 26)}),
    "parts": ("A : [N, K]\nB : [K, M]\nloss = sum(sin(A[1:40] @ B[:, 2:40])) + sum(sin(A[::-1, 3:33].T @ A[:, 2:]))", {"A": (50, 40), "B": (40, 50)}),
    "of sequences": ("W : [16, 16]\nx : [T, 16]\nh[0] = x[0]\nh[t] = tanh(W @ h[t-1]/9 + x[t-1]) for t in range(1, T+1)\nloss = sum(h[T]**2)", {"W": (16, 16), "x": (200, 16)}),
    "results": ("A : [N, K]\nB : [K, M]\nC = A @ B\nD = C.T @ A\nloss = sum(sin(C)) + sum(D*D)", {"A": (50, 30), "B": (30, 40)}),
    "of a solution": ("A : [N, N]\nB : [N, M]\nC = solve(A @ A.T + 9*eye(N), B)\nloss = sum((C.T @ A)**2)", {"A": (60, 60), "B": (60, 30)}),
    "in a condition": ("A : [N, K]\nB : [K, M]\nC = where(A > 0, A, 0) @ B\nloss = sum(sin(where(C > 0, C, 0) @ B.T))", {"A": (50, 30), "B": (30, 40)}),
}  # fmt: skip


@compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", PROGRAMS)
def test_programs_with_products_agree_with_numpy(case, dtype, monkeypatch):
    monkeypatch.setattr(program, "library_threads", lambda: 1)
    text, shapes = PROGRAMS[case]
    rng = np.random.default_rng(4)
    given = {n: rng.normal(size=s).astype(dtype) for n, s in shapes.items()}
    model, wrt = gl.loads(text, dtype=dtype), [n for n in shapes if n != "t"]
    f, plain = (model.value_and_grad("loss", wrt, backend=b) for b in ("native", "numpy"))
    (value, slopes), (wanted, others) = f(given), plain(given)
    assert "np.matmul" not in f.raw.last.driver.source
    rtol = 1e-11 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(value, wanted, rtol=rtol)
    for n, slope in others.items():
        np.testing.assert_allclose(slopes[n], slope, rtol=rtol, atol=rtol * np.abs(slope).max())
    again, both = f(given)
    assert again == value and all((both[n] == slopes[n]).all() for n in slopes)
    if "D" in text:
        names = ["C", "D"]
        for made, like in zip(*(model.function(names, backend=b)(given).values() for b in ("native", "numpy")), strict=True):
            np.testing.assert_allclose(made, like, rtol=rtol, atol=rtol * 50)
