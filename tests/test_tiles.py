"""Loops whose steps are taken side by side, and products of small matrices in tiles that they make: as in NumPy, to the last
rows and columns."""

from __future__ import annotations

import numpy as np
import pytest
from test_native import WAYS, check
from test_plan import kernels, planned, walk
from test_unrolled import LEAVES, TRIANGLES, compiled, loops

import gradlang as gl
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_ops import Target
from gradlang.backend.llvm_side import side_of, widths
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Code, For, Kernel, Value
from gradlang.plan.plan import Library

RNG = np.random.default_rng(4)
EXACT = {"lower": "i > j", "upper": "i < j", "full": "i != j"}


def buffer(name: str, writable: bool = False) -> Buffer:
    return Buffer(name, "f", writable)


# ------------------------------------------------------------------ loops
def product(outer: bool = True) -> Kernel:
    """y[i, n] = sum over j of a[i, j]*x[j, n], two rows at a time; z has the rows of y as columns, without what is negative.
    With `outer` it adds up all there is, and tells whether anything is above 100."""
    code, (m, n) = Code(), (Value("i", hint="m"), Value("i", hint="n"))
    a, x, y, z, told = buffer("a"), buffer("x"), buffer("y", True), buffer("z", True), buffer("told", True)
    total, large = code.cell(code.real(0.0), "total"), code.cell(code.const(False, "b"), "large")
    with code.loop(code.whole(0), n, side=True) as k:
        cells = [code.cell(code.real(0.0), "sum") for _ in range(2)]
        with code.loop(code.whole(0), m) as j:
            for row, cell in enumerate(cells):
                factor = code.load(a, code.op("iadd", code.op("imul", code.whole(row), m), j))
                code.update(cell, "add", code.op("mul", factor, code.load(x, code.op("iadd", code.op("imul", j, n), k))))
        for row, cell in enumerate(cells):
            made = code.read(cell)
            code.store(y, code.op("iadd", code.op("imul", code.whole(row), n), k), made)
            kept = code.select(code.op("lt", made, code.real(0.0)), code.real(0.0), code.op("sqrt", code.op("abs", made)))
            code.store(z, code.op("iadd", code.op("imul", k, code.whole(2)), code.whole(row)), kept)
            if outer:
                code.update(total, "add", made)
                code.update(large, "or", code.op("not", code.op("le", made, code.real(100.0))))
    code.store(told, code.whole(0), code.read(total))
    code.store(told, code.whole(1), code.op("btof", code.read(large)))
    return Kernel("product", (a, x, y, z, told), (m, n), code.body)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", ["f64", "f32"])
@pytest.mark.parametrize("n", [0, 1, 3, 8, 13, 31, 64])
def test_steps_side_by_side_are_as_steps_one_by_one(way, width, n, tmp_path):
    real = np.float64 if width == "f64" else np.float32
    given = [RNG.normal(size=2 * 5), RNG.normal(size=max(5 * n, 1)), *np.zeros((2, max(2 * n, 1))), np.zeros(2)]
    if n > 8:
        given[1][-1] = np.inf
    check(
        way,
        product(),
        [g.astype(real) for g in given],
        (5, n),
        width=width,
        folder=tmp_path,
        rtol=1e-10 if real is np.float64 else 1e-3,
    )


def test_sums_of_inner_loops_are_vectors():
    text = unit_text([product()], "f64", Target(vector=512), lambda name: function(name, "f64"))
    assert "fadd reassoc contract <8 x double>" in text and "fadd reassoc contract <2 x double>" in text
    assert "llvm.vector.reduce.fadd.v8f64" in text and "llvm.vector.reduce.or.v8i1" in text
    assert "<8 x double>" not in unit_text([product()], "f64", Target(vector=256), lambda name: function(name, "f64"))


def test_lengths_that_are_known_take_the_vectors_that_fit():
    code = Code()
    assert widths(For(Value("i"), code.whole(0), code.whole(30)), 8) == [8, 4, 2]
    assert widths(For(Value("i"), code.whole(2), code.whole(18)), 8) == [8]
    assert widths(For(Value("i"), code.whole(0), Value("i")), 4) == [4, 2, 1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["call", "place", "set"])
def test_what_is_no_vector_is_done_step_by_step(way, what, tmp_path):
    """A function, a place that is computed from a number, a cell outside that is set."""
    code, n = Code(), Value("i", hint="n")
    x, y = buffer("x"), buffer("y", True)
    last = code.cell(code.real(0.0), "last")
    with code.loop(code.whole(0), n, side=True) as k:
        at = code.op("imod", k, code.whole(3)) if what == "place" else k
        made = code.load(x, at)
        made = code.call("square", made) if what == "call" else made
        if what == "set":
            code.update(last, "", made)
        code.store(y, k, made)
    code.store(y, code.whole(0), code.op("add", code.read(last), code.load(y, code.whole(0))))
    (loop,) = (s for s in code.body if isinstance(s, For))
    assert side_of(loop) is None
    check(way, Kernel("steps", (x, y), (n,), code.body), [RNG.normal(size=11), np.zeros(11)], (11,), folder=tmp_path)


# ------------------------------------------------------------------ products
def text(d: int, kind: str = "lower", diagonal: str = "exp(q[k, i])") -> str:
    made = TRIANGLES.replace("const D = 8", f"const D = {d}").replace("i > j", EXACT[kind]).replace("exp(q[k, i])", diagonal)
    assert f"D = {d}" in made and EXACT[kind] in made
    return made


def given(d: int, n: int, dtype: str = "float64") -> dict[str, np.ndarray]:
    r = np.random.default_rng(d * n)
    found = {
        "x": r.normal(size=(n, d)),
        "mu": r.normal(size=(20, d)),
        "q": r.normal(0, 0.3, size=(20, d)),
        "low": r.normal(0, 0.3 / np.sqrt(d), size=(20, d, d)),
    }
    return {k: v.astype(dtype) for k, v in found.items()}


def sides(step: object) -> list[For]:
    return [s for s in loops(step) if s.side]


def test_products_for_all_points_are_tiles_in_a_loop_over_blocks():
    plan = planned(text(32), "f", LEAVES, N=1000)
    assert not any(isinstance(s, Library) for s in plan.steps)
    (step,) = kernels(plan)
    assert len(sides(step)) == 2  # forward and back
    for side in sides(step):
        (inner,) = (s for s in side.body if isinstance(s, For))
        assert not any(isinstance(s, For) for s in inner.body)
    shapes = [s.shape for s in step.sources if s.kind == "temp"]
    assert not any("N" in str(s) for s in shapes)
    assert sum(s == (20, 32, 128) for s in shapes) == 1  # the products; x - mu is computed again


def test_a_tile_of_a_triangle_ends_where_its_last_row_does():
    (step,) = kernels(planned(text(32), "f", LEAVES, N=1000))
    tiles = [s for s in loops(step) if s.counter.hint == "tile"]
    assert [s.stop.const for s in tiles] == [4, 4]
    forward, back = sides(step)
    assert next(s for s in forward.body if isinstance(s, For)).stop.const is None  # columns by the tile
    assert back.stop.const is None
    (whole,) = kernels(planned(text(32, "full"), "f", LEAVES, N=1000))
    assert sides(whole)[1].stop.const == 32


def test_more_components_than_a_block_is_good_for_are_left_to_a_library():
    plan = planned(text(32).replace("const K = 20", "const K = 80"), "f", LEAVES, N=1000)
    assert any(isinstance(s, Library) for s in plan.steps)


def test_the_text_does_not_grow_with_the_matrices():
    def statements(d: int) -> int:
        (step,) = kernels(planned(text(d), "f", LEAVES, N=1000))
        return sum(1 for _ in walk(step.kernel.body))

    assert statements(64) < 1.1 * statements(32)


@compiled
@pytest.mark.parametrize(
    ("d", "n", "kind", "diagonal"),
    [
        (32, 300, "lower", "exp(q[k, i])"),
        (30, 301, "lower", "exp(q[k, i])"),
        (27, 1003, "lower", "exp(q[k, i])"),
        (33, 259, "upper", "exp(q[k, i])"),
        (40, 130, "full", "exp(q[k, i])"),
        (29, 401, "lower", "0"),
        (64, 515, "lower", "exp(q[k, i])"),
    ],
)
def test_tiles_as_numpy(d, n, kind, diagonal):
    one, other = both(text(d, kind, diagonal))
    (value, slopes), (right, exact) = one(**given(d, n)), other(**given(d, n))
    assert any(sides(s) for s in kernels(version_of(one).plan))
    np.testing.assert_allclose(value, right, rtol=1e-14)
    for k in LEAVES:
        np.testing.assert_allclose(slopes[k], exact[k], rtol=0, atol=2e-14 * np.abs(exact[k]).max(initial=1e-300))


def both(program: str, dtype: str = "float64", **kwargs: object) -> list:
    model = gl.loads(program, dtype=dtype)
    return [model.value_and_grad("f", wrt=LEAVES, backend=b, **kwargs) for b in ("native", "numpy")]


def version_of(f: object) -> object:
    (version,) = f.raw.versions.kept.values()
    return version


@compiled
@pytest.mark.parametrize("at", [(7, 3), (300, 29), (7, 0)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("diagonal", ["exp(q[k, i])", "0"])
def test_what_a_known_zero_would_meet_is_as_in_numpy(at, bad, diagonal):
    """With zeros on the diagonal the last column is multiplied for no row at all."""
    data = given(30, 301)
    data["x"][at] = bad
    one, other = both(text(30, "lower", diagonal))
    with np.errstate(all="ignore"):
        (value, slopes), (right, exact) = one(**data), other(**data)
    np.testing.assert_array_equal(value, right)
    for k in LEAVES:
        np.testing.assert_array_equal(np.isnan(slopes[k]), np.isnan(exact[k]))


@compiled
def test_tiles_in_single_precision_and_in_parts():
    one, other = both(text(31), dtype="float32")
    (value, slopes), (right, exact) = one(**given(31, 333, "float32")), other(**given(31, 333, "float32"))
    assert value == pytest.approx(right, rel=1e-5)
    for k in LEAVES:
        np.testing.assert_allclose(slopes[k], exact[k], rtol=0, atol=2e-5 * np.abs(exact[k]).max())
    data = given(31, 1003)
    two, _ = both(text(31), threads=2)
    (value, slopes), (right, exact) = two(**data), both(text(31))[1](**data)
    assert any(step.parts and sides(step) for step in kernels(version_of(two).plan))
    assert value == pytest.approx(right, rel=1e-14)
    for k in LEAVES:
        np.testing.assert_allclose(slopes[k], exact[k], rtol=0, atol=2e-14 * np.abs(exact[k]).max())


@compiled
def test_every_call_has_the_same_bits():
    one, _ = both(text(30))
    data = given(30, 301)
    first, second = one(**data), one(**data)
    assert first[0] == second[0]
    for k in LEAVES:
        np.testing.assert_array_equal(first[1][k], second[1][k])


# ------------------------------------------------------------------ sums over the steps of a recurrence
RECURRENT = """const D = 16
W : [D, D]
V : [D, D]
b : [D]
x : [T, D]
h[0] = b
h[t] = tanh(W @ h[t-1] + V @ x[t-1] + b) for t in range(1, T+1)
f = sum(h[T]**2) + sum(h)
"""


@compiled
@pytest.mark.parametrize(("d", "steps"), [(16, 90), (16, 200), (24, 131), (64, 300), (20, 150)])
def test_gradients_of_the_weights_of_a_recurrence_as_numpy(d, steps, monkeypatch):
    monkeypatch.setattr("gradlang.plan.plan.multiplied", lambda *given: set())  # no other way to make them in a kernel
    r = np.random.default_rng(d + steps)
    weights = {k: r.normal(0, 1 / np.sqrt(d), size=(d, d)) for k in "WV"}
    data = {**weights, "b": r.normal(0, 0.1, d), "x": r.normal(size=(steps, d))}
    model = gl.loads(RECURRENT.replace("D = 16", f"D = {d}"))
    one, other = (model.value_and_grad("f", wrt=["W", "V", "b"], backend=b) for b in ("native", "numpy"))
    (value, slopes), (right, exact) = one(**data), other(**data)
    found = version_of(one).plan
    products = [found.tape.instrs[i].type.shape for s in found.steps if isinstance(s, Library) for i in s.instrs]
    assert products.count((d, d)) == (0 if d % 8 == 0 else 2)
    assert sum(len(sides(s)) for s in kernels(found)) == (2 if d % 8 == 0 else 0)
    assert value == pytest.approx(right, rel=1e-13)
    for k in "WVb":
        np.testing.assert_allclose(slopes[k], exact[k], rtol=0, atol=1e-12 * np.abs(exact[k]).max())
    data["x"][steps // 2] = np.nan  # as in NumPy what is not finite reaches the gradients
    with np.errstate(all="ignore"):
        assert np.isnan(one(**data)[1]["W"]).all() == np.isnan(other(**data)[1]["W"]).all()
