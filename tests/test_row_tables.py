"""Functions of the rows of a table, computed once for each row: as in every step, bit for bit, and only where that is safe."""

from __future__ import annotations

import numpy as np
import pytest
from loop_machine import Machine
from test_plan import kernels, planned, walk

import gradlang as gl
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Code, For, Kernel, Let, Load, Run, Store
from gradlang.plan.tables import ENTRIES, TIMES, in_tables, tabled
from gradlang.runtime import native

WHY = native.available()
compiled = pytest.mark.skipif(WHY is not None, reason=str(WHY))
ROWS = 12


def gathered(steps=100, rows=ROWS, body=None, own=True, stride=3):
    """A loop that gathers rows of three numbers, clamped as the reader does it, and takes the sine of their norm."""
    code, a, p, x, b = Code(), Buffer("a", "f"), Buffer("p", "i"), Buffer("x", "f"), Buffer("b", "f", writable=True)
    with code.loop(code.whole(0), code.whole(steps)) as i:
        at = code.load(p, i)
        if own:
            at = code.op("imax", code.op("imin", at, code.whole(rows - 1)), code.whole(0))
        r = [code.load(a, code.op("iadd", code.op("imul", at, code.whole(stride)), code.whole(k))) for k in range(3)]
        total = code.cell(code.real(0.0), "total")
        for v in r:
            code.update(total, "add", code.op("mul", v, v))
        norm = code.op("sqrt", code.read(total))
        small = code.op("lt", norm, code.real(1e-3))
        y = code.select(small, code.real(1.0), code.op("div", code.call("sin", norm), norm))
        y = code.op("add", code.op("mul", y, code.load(x, i)), r[0])
        if body is not None:
            y = body(code, i, at, r, norm, y, b)
        code.store(b, i, y)
    return Kernel("k", (a, p, x, b), (), code.body)


def lengths(kernel, rows=ROWS, stride=3):
    return dict(zip(kernel.buffers, (rows * stride, 10**6, 10**6, 10**6), strict=True))


def run(kernel, steps=100, rows=ROWS):
    rng = np.random.default_rng(steps)
    a = rng.normal(size=(rows, 3))
    a[1] = 0.0
    b = np.full(steps, 7.0)
    arrays = [a.ravel(), rng.integers(-2, rows + 2, steps), rng.normal(size=steps), b]
    Machine("f64", lambda name: function(name, "f64")).kernel(kernel, dict(zip(kernel.buffers, arrays, strict=True)), [])
    return b


def calls(loop):
    return sum(isinstance(s, Let) and s.op in ("call", "sqrt", "div") for s in walk(loop.body))


def test_a_table_is_made_and_the_loop_reads_it():
    kernel = gathered()
    other = tabled(kernel, lengths(kernel))
    first, second = [s for s in other.body if isinstance(s, For)]
    assert (first.stop.const, second.stop.const) == (ROWS, 100)
    assert (calls(first), calls(second)) == (3, 0)
    columns = {s.index for s in walk(first.body) if isinstance(s, Store)}
    assert len(columns) == sum(isinstance(s, Load) and bool(s.buffer.local) for s in second.body) == 1
    np.testing.assert_array_equal(run(other), run(kernel))


def test_a_table_of_a_table():
    """The second of two tables that one loop gathers is found after the first."""
    code, (a, c), p = Code(), (Buffer("a", "f"), Buffer("c", "f")), Buffer("p", "i")
    b = Buffer("b", "f", writable=True)
    with code.loop(code.whole(0), code.whole(200)) as i:
        found = []
        for k, of in enumerate((a, c)):
            at = code.load(p, code.op("iadd", code.op("imul", i, code.whole(2)), code.whole(k)))
            at = code.op("imax", code.op("imin", at, code.whole(ROWS - 1)), code.whole(0))
            found.append(code.call("exp", code.load(of, at)))
        code.store(b, i, code.op("mul", *found))
    kernel = Kernel("k", (a, c, p, b), (), code.body)
    other = tabled(kernel, {a: ROWS, c: ROWS})
    assert [calls(s) for s in other.body if isinstance(s, For)] == [1, 1, 0]
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=ROWS), rng.normal(size=ROWS), rng.integers(0, ROWS, 400)]
    results = []
    for k in (kernel, other):
        made = np.zeros(200)
        Machine("f64", lambda name: function(name, "f64")).kernel(k, dict(zip(k.buffers, [*arrays, made], strict=True)), [])
        results.append(made)
    np.testing.assert_array_equal(*results)


def not_of_the_row(code, i, at, r, norm, y, b):
    return code.op("add", y, code.call("exp", code.op("itof", i)))


def test_what_depends_on_the_step_stays_in_the_loop():
    kernel = gathered(body=not_of_the_row)
    other = tabled(kernel, lengths(kernel))
    assert [calls(s) for s in other.body if isinstance(s, For)] == [3, 1]
    np.testing.assert_array_equal(run(other), run(kernel))


def cheaply(code, i, at, r, norm, y, b):
    cell = code.cell(code.real(0.0))
    code.update(cell, "maximum", norm)
    return code.op("add", y, code.op("mul", code.op("abs", norm), code.read(cell)))


def test_what_is_cheaply_made_of_columns_is_no_column():
    kernel = gathered(body=cheaply)
    other = tabled(kernel, lengths(kernel))
    loop = [s for s in other.body if isinstance(s, For)][-1]
    assert sum(isinstance(s, Load) and bool(s.buffer.local) for s in loop.body) == 2
    np.testing.assert_array_equal(run(other), run(kernel))


@pytest.mark.parametrize(
    ("kernel", "rows"),
    [
        (gathered(steps=TIMES * ROWS - 1), ROWS),
        (gathered(), ROWS - 1),  # there is nothing to read in the last row
        (gathered(own=False), ROWS),  # nothing is known of the places
        (gathered(steps=10**5, rows=ENTRIES + 1), ENTRIES + 1),
    ],
    ids=["few steps", "rows outside", "any place", "a large table"],
)
def test_loops_without_a_table(kernel, rows):
    assert tabled(kernel, lengths(kernel, rows)) is kernel


def test_tables_that_the_loop_writes():
    code, a, p = Code(), Buffer("a", "f", writable=True), Buffer("p", "i")
    with code.loop(code.whole(0), code.whole(100)) as i:
        at = code.op("imax", code.op("imin", code.load(p, i), code.whole(ROWS - 1)), code.whole(0))
        code.store(a, code.op("iadd", i, code.whole(ROWS)), code.call("exp", code.load(a, at)))
    kernel = Kernel("k", (a, p), (), code.body)
    assert tabled(kernel, {a: ROWS + 100}) is kernel


def test_what_is_cheap_is_computed_in_every_step():
    code, a, p, b = Code(), Buffer("a", "f"), Buffer("p", "i"), Buffer("b", "f", writable=True)
    with code.loop(code.whole(0), code.whole(100)) as i:
        at = code.op("imax", code.op("imin", code.load(p, i), code.whole(ROWS - 1)), code.whole(0))
        x = code.load(a, at)
        code.store(b, i, code.op("add", code.op("mul", x, x), code.real(1.0)))
    kernel = Kernel("k", (a, p, b), (), code.body)
    assert tabled(kernel, {a: ROWS}) is kernel


# ------------------------------------------------------------------ programs
TEXT = """turns : [C, 2]
X     : [N, 2]
of    : int[N]
def turned(t, x) = [x[0]*cos(t[0]) - x[1]*sin(t[0]), x[0]*sin(t[0]) + x[1]*cos(t[0])]*exp(t[1])
y = [turned(turns[of[i]], X[i]) for i in range(N)]
f = sum(y**2*[1, 2])
"""


@compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_programs_give_what_numpy_gives(dtype):
    rng = np.random.default_rng(1)
    d = {"turns": rng.normal(size=(7, 2)).astype(dtype), "X": rng.normal(size=(300, 2)).astype(dtype)}
    d["of"] = rng.integers(-7, 7, 300)
    model = gl.loads(TEXT, dtype=dtype)
    tol = 1e-12 if dtype == "float64" else 1e-5
    one, other = (model.function("y", backend=b) for b in ("native", "numpy"))
    np.testing.assert_allclose(one(d), other(d), rtol=tol, atol=tol)
    (version,) = one.raw.versions.kept.values()
    assert len({s.buffer for k in kernels(version.plan) for s in walk(k.kernel.body) if isinstance(s, Load)}) > 2
    assert any(
        s.buffer.name.startswith("table") for k in kernels(version.plan) for s in walk(k.kernel.body) if isinstance(s, Store)
    )
    turns = [s for k in kernels(version.plan) for s in walk(k.kernel.body) if isinstance(s, Run)]
    assert any(s.kernel.turn.gathers and s.buffers[0][0].local for s in turns)  # rows of the table are gathered together
    one, other = (model.value_and_grad("f", wrt=["turns", "X"], backend=b) for b in ("native", "numpy"))
    (value, slopes), (right, exact) = one(d), other(d)
    np.testing.assert_allclose(value, right, rtol=100 * tol)
    for k in ("turns", "X"):
        np.testing.assert_allclose(slopes[k], exact[k], rtol=100 * tol, atol=100 * tol)


@compiled
def test_a_row_that_nobody_reads_may_be_anything():
    """Sines are fast up to a limit, beyond which NumPy has to run: rows that no step reads do not matter."""
    rng = np.random.default_rng(1)
    d = {"turns": rng.normal(size=(7, 2)), "X": rng.normal(size=(300, 2)), "of": rng.integers(0, 6, 300)}
    run = gl.loads(TEXT).function("y", backend="native")
    right = run(d)
    d["turns"][6] = 1e300, np.nan

    def elsewhere(*args, **kept):
        raise AssertionError

    otherwise, run.raw.otherwise = run.raw.otherwise, elsewhere
    np.testing.assert_array_equal(run(d), right)
    d["of"][77] = 7
    with pytest.raises(AssertionError):
        run(d)
    run.raw.otherwise = otherwise
    with pytest.raises(gl.InputError):
        run(d)
    d["of"][77] = 6
    assert np.isnan(run(d)[77]).all()


def test_a_plan_whose_kernels_have_no_tables_is_itself():
    plan = planned("x : [N]\nf = sum(exp(x))\n", "f", ["x"], N=300)
    assert in_tables(plan, {"N": 300}) is plan
