"""Loops that are cut where a choice in them changes: entry for entry as before, and without the choice."""

from __future__ import annotations

import re

import numpy as np
import pytest
from loop_machine import Machine
from test_plan import walk

import gradlang as gl
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Code, For, If, Kernel, Let, Load, Read, Store, Update, Value
from gradlang.loops.walk import operands
from gradlang.plan.ahead import reading_first
from gradlang.plan.cuts import COMPARED, PIECES, STATEMENTS, STEPS, in_pieces
from gradlang.runtime import native

WHY = native.available()
compiled = pytest.mark.skipif(WHY is not None, reason=str(WHY))
A, B = Buffer("a", "f"), Buffer("b", "f", writable=True)
N = 40


def run(kernel, entries=N):
    a, b = np.random.default_rng(1).normal(size=entries), np.arange(3.0 * entries)
    found = Machine("f64", lambda name: function(name, "f64"))
    found.kernel(kernel, {A: a, B: b}, [])
    return b


def written(body, start=0, stop=N, apart=True):
    code = Code()
    with code.loop(code.whole(start), code.whole(stop), apart=apart) as i:
        body(code, i)
    return Kernel("k", (A, B), (), code.body)


def chosen(code, i, *conditions):
    x = code.load(A, i)
    for k, c in enumerate(conditions):
        x = code.select(c, code.op("add", x, code.real(k + 1.0)), x)
    code.store(B, i, x)


def line(code, i, a, b):
    return code.op("iadd", code.op("imul", i, code.whole(a)), code.whole(b))


def choices(kernel):
    return [s for s in walk(kernel.body) if isinstance(s, Let) and s.op in (*COMPARED, "imin", "imax", "select")]


def loops(kernel):
    return [(s.start.const, s.stop.const) for s in walk(kernel.body) if isinstance(s, For)]


@pytest.mark.parametrize("op", COMPARED)
@pytest.mark.parametrize("factors", [(1, 0), (-1, 0), (2, 0), (3, 1), (-3, 0), (1, 2), (0, 1)], ids=str)
def test_a_comparison_of_lines_is_decided_in_every_piece(op, factors):
    for b in (-70, -25, -24, 0, 1, 24, 25, 39, 40, 75):
        kernel = written(
            lambda code, i, b=b: chosen(code, i, code.op(op, line(code, i, factors[0], b), line(code, i, factors[1], 7)))
        )
        made = in_pieces(kernel)
        np.testing.assert_array_equal(run(made), run(kernel))
        assert made is kernel or not choices(made)


@pytest.mark.parametrize("seed", range(30))
def test_positions_that_are_kept_inside(seed):
    """With `imin`, `imax` and choices of these, cut at several places; steps in order."""
    r = np.random.default_rng(seed)

    def body(code, i):
        at = line(code, i, int(r.choice([-1, 1])), int(r.integers(-9, 45)))
        inside = code.op("and", code.op("ige", at, code.whole(0)), code.op("ilt", at, code.whole(N)))
        place = code.op("imax", code.op("imin", at, code.whole(N - 1)), code.whole(0))
        if r.random() < 0.5:
            place = code.select(code.op("ilt", i, code.whole(int(r.integers(N)))), place, i)
        old = code.load(B, place) if r.random() < 0.5 else code.load(A, place)  # the one that an earlier step wrote
        code.store(B, i, code.select(inside, old, code.real(-1.0)))

    kernel = written(body, apart=False)
    made = in_pieces(kernel)
    np.testing.assert_array_equal(run(made), run(kernel))
    assert made is kernel or not choices(made)  # it may be the same at every step


def test_pieces_of_a_band():
    def body(code, i):
        before = code.op("isub", i, code.whole(1))
        chosen(code, i, code.op("ilt", i, code.whole(N - 1)), code.op("ige", before, code.whole(0)))

    assert loops(in_pieces(written(body))) == [(1, N - 1)]  # the first and the last step are no loops


def test_a_loop_in_a_loop_and_branches():
    def body(code, i):
        with code.loop(code.whole(0), code.whole(3), "j") as j:
            x = code.cell(code.load(A, i))
            with code.when(code.op("ilt", i, code.whole(5))) as branch:
                code.update(x, "add", code.op("itof", j))
            with code.inside(branch.otherwise):
                code.update(x, "", code.real(2.0))
            code.store(B, code.op("iadd", code.op("imul", i, code.whole(3)), j), code.read(x))

    kernel = written(body)
    made = in_pieces(kernel)
    np.testing.assert_array_equal(run(made), run(kernel))
    assert not any(isinstance(s, If) for s in walk(made.body)) and (5, N) in loops(made)


def test_nothing_is_made_twice():
    """Values are in single assignment, and cells of a loop are its own."""

    def body(code, i):
        x = code.cell(code.load(A, i))
        code.update(x, "add", code.select(code.op("ilt", i, code.whole(20)), code.real(1.0), code.real(2.0)))
        code.store(B, i, code.read(x))

    kernel = written(body)
    made = in_pieces(kernel)
    values = [s.value for s in walk(made.body) if isinstance(s, Let | Load | Read)]
    values += [s.counter for s in walk(made.body) if isinstance(s, For)]
    assert len(set(values)) == len(values)
    cells = [s.cell for s in walk(made.body) if isinstance(s, Update)]
    assert len(cells) == 2 and cells[0] is not cells[1]
    known = set(values)
    assert all(v in known or v.const is not None for s in walk(made.body) for v in operands(s))
    np.testing.assert_array_equal(run(made), run(kernel))
    assert loops(kernel) == [(0, N)]  # the given one is as it was


def test_a_sum_over_pieces():
    code = Code()
    total = code.cell(code.real(0.0))
    with code.loop(code.whole(0), code.whole(N)) as i:
        x = code.load(A, i)
        code.update(total, "add", code.select(code.op("ilt", i, code.whole(30)), x, code.real(1.0)))
    code.store(B, code.whole(0), code.read(total))
    kernel = Kernel("k", (A, B), (), code.body)
    np.testing.assert_array_equal(run(in_pieces(kernel)), run(kernel))
    assert loops(in_pieces(kernel)) == [(0, 30), (30, N)]


@pytest.mark.parametrize("why", ["short", "many", "long", "no number"])
def test_loops_that_are_not_worth_it(why):
    def body(code, i):
        places = range(2, 2 + PIECES) if why == "many" else (5,)
        chosen(code, i, *(code.op("ilt", i, code.whole(k)) for k in places))
        x = code.load(A, i)
        for _ in range(STATEMENTS if why == "long" else 0):
            x = code.op("add", x, x)
        code.store(B, i, x)

    kernel = written(body, stop=STEPS - 1 if why == "short" else N)
    if why == "no number":
        (loop,) = kernel.body
        size = Value("i")
        kernel = Kernel("k", (A, B), (size,), [For(loop.counter, loop.start, size, loop.body)])
    assert in_pieces(kernel) is kernel


# ------------------------------------------------------------------ reading first
def neighbours(gap=1, gathered=False, stored=False):
    def body(code, i):
        x = code.load(A, i)
        code.store(B, i, x)
        at = code.op("iadd", i, code.whole(gap))
        if gathered:
            at = code.op("ftoi", x)
        y = code.load(B if stored else A, at)
        code.store(B, code.op("iadd", i, code.whole(N)), y)

    return written(body, stop=N - 3, apart=not stored)


def kinds(kernel):
    (loop,) = (s for s in walk(kernel.body) if isinstance(s, For))
    return "".join(type(s).__name__[0] for s in loop.body if isinstance(s, Load | Store))


@pytest.mark.parametrize(
    ("kernel", "order"),
    [
        (neighbours(), "LLSS"),
        (neighbours(-1), "LLSS"),
        (neighbours(2), "LSLS"),  # no step reads what the one before it has read
        (neighbours(gathered=True), "LSLS"),
        (neighbours(stored=True), "LSLS"),  # a step may read what it wrote
    ],
    ids=["after", "before", "two further", "gathered", "stored"],
)
def test_neighbouring_entries_are_read_first(kernel, order):
    made = reading_first(kernel)
    assert kinds(made) == order and kinds(kernel) == "LSLS"
    if order == "LLSS":
        np.testing.assert_array_equal(run(made), run(kernel))


# ------------------------------------------------------------------ programs
BAND = """x : [N]
f = sum(100*(x[i+1] - x[i]**2)**2 + (1 - x[i])**2 for i in range(N-1))
"""


@compiled
@pytest.mark.parametrize("n", [2, 3, STEPS - 1, STEPS, STEPS + 1, 50, 1000])
def test_a_band_of_a_hessian(n):
    pytest.importorskip("scipy")
    x = np.random.default_rng(n).normal(size=n)
    model = gl.loads(BAND)
    fast, plain = (model.hessian("f", wrt="x", sparse=True, backend=b) for b in ("native", "numpy"))
    np.testing.assert_array_equal(fast(x=x).toarray(), plain(x=x).toarray())
    text = fast.compiled.raw.last.text
    assert n < STEPS or not re.search(r"smin|smax|select i1 %v\d+, double", text)


@compiled
@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_of_two_axes(threads):
    """A mean over neighbours in a plane, with nothing outside of it."""
    text = """u : [N, M]
y = sum((4*u[i,j] - u[i-1,j] - u[i+1,j] - u[i,j-1] - u[i,j+1])**2 for i in range(1, N-1) for j in range(1, M-1))
"""
    u = np.random.default_rng(2).normal(size=(60, 45))
    model = gl.loads(text)
    fast = model.value_and_grad("y", wrt="u", backend="native", threads=threads)(u=u)
    plain = model.value_and_grad("y", wrt="u", backend="numpy")(u=u)
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-13)
    np.testing.assert_allclose(
        fast[1]["u"] if isinstance(fast[1], dict) else fast[1],
        plain[1]["u"] if isinstance(plain[1], dict) else plain[1],
        rtol=1e-13,
        atol=1e-13,
    )


def test_a_number_beside_a_band_is_not_stretched_first():
    """In NumPy code, whose function for this takes longer than all of the rest."""
    made = gl.loads(BAND).hessian("f", wrt="x", sparse=True, backend="numpy")
    assert "[1, 1:] = 200.0" in made.source and "broadcast_to" not in made.source
    (bands, _), x = made.compiled(x=[1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0])
    wanted = np.add(np.append(1200 * x[:-1] ** 2 - 400 * x[1:] + 2, 0), [0, 200, 200])
    np.testing.assert_allclose(bands[made.offsets.index(0)], wanted, rtol=1e-14)
