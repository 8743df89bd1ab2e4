"""Rows that the steps of long loops read and write by way of tiles: as without them, entry for entry, and as NumPy."""

from __future__ import annotations

import ctypes
from itertools import product

import numpy as np
import pytest
from loop_machine import Machine
from test_plan import kernels, planned, walk

import gradlang as gl
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_ops import SAFEST, Target
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Code, For, Kernel, Load, Run, Store
from gradlang.plan.columns import BLOCKS, COLUMNS, LARGE, STEPS, in_tiles, to_columns, to_rows
from gradlang.runtime import native
from gradlang.runtime.native import engine

WHY = native.available()
compiled = pytest.mark.skipif(WHY is not None, reason=str(WHY))
DTYPES = {"f64": np.float64, "f32": np.float32}
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 30)
ROOM = BLOCKS[0]


# ------------------------------------------------------------------ turning
def to_rows_ahead(columns, room):
    return to_rows(columns, room, 2 * room)


@compiled
@pytest.mark.parametrize("width", ["f64", "f32"])
@pytest.mark.parametrize("target", [SAFEST, Target(vector=256), Target(vector=512)], ids=["128", "256", "512"])
def test_rows_are_turned_in_registers(width, target):
    made = [make(n, ROOM) for n in WIDTHS for make in (to_rows, to_rows_ahead, to_columns)]
    library = engine.load(unit_text(made, width, target, lambda name: function(name, width)), [k.name for k in made])
    rng = np.random.default_rng(1)
    for columns in WIDTHS:
        there = library[to_columns(columns, ROOM).name]
        for count, make in product((0, 1, 2, 3, 4, 5, 7, 8, 9, ROOM - 1, ROOM), (to_rows, to_rows_ahead)):
            back = library[make(columns, ROOM).name]
            tile = rng.normal(size=(columns, ROOM)).astype(DTYPES[width])
            stride = columns + count % 3
            rows = np.full((ROOM + 1, stride), 7.0, DTYPES[width])
            ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_int64)(back)(
                tile.ctypes.data, rows.ctypes.data, count, stride
            )
            np.testing.assert_array_equal(rows[:count, :columns], tile[:, :count].T)
            assert (rows[count:] == 7).all() and (rows[:, columns:] == 7).all()
            places = rng.integers(0, ROOM, count) * stride
            into = np.full((columns, ROOM), 5.0, DTYPES[width])
            ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(there)(
                rows.ctypes.data, places.ctypes.data, into.ctypes.data, count
            )
            np.testing.assert_array_equal(into[:, :count], rows[places // stride, :columns].T)
            assert (into[:, count:] == 5).all()


def test_rows_are_written_one_after_another():
    """A row lies in as few stores as possible, one behind the other: those that leave a row and come back take longer."""
    lines = unit_text([to_rows(8, ROOM)], "f64", Target(vector=256), lambda name: function(name, "f64")).splitlines()
    stored = [line.split(", ptr ")[1].split(",")[0] for line in lines if "store <4 x double>" in line]
    made = {line.split(" = ")[0].strip(): line for line in lines if " = getelementptr" in line}
    bases = [made[to].split(", ptr ")[1] for to in stored]  # where its row begins, and the column
    assert [b.split(", i64 ")[1] for b in bases] == ["0", "4"] * 4
    assert [b.split(",")[0] for b in bases[::2]] == [b.split(",")[0] for b in bases[1::2]]


@pytest.mark.parametrize(("width", "columns"), [("f64", 7), ("f64", 8), ("f64", 9), ("f64", 30), ("f32", 30)])
def test_rows_are_fetched_that_are_written_later(width, columns):
    """Every line of the cache from the beginning of a row on, while as many rows are written."""
    for target in (SAFEST, Target(vector=256), Target(vector=512)):
        text = unit_text([to_rows(columns, ROOM, 48)], width, target, lambda name: function(name, width))
        bits, places = (64, 8) if width == "f64" else (32, 16)  # places of a line
        rows = min(min(256, target.vector) // bits, 1 << (columns.bit_length() - 1))
        assert text.count("call void @llvm.prefetch.p0(") == rows * -(-columns // places)
        assert "add nsw i64 %rows.i, 48" in text
        assert "prefetch" not in unit_text([to_rows(columns, ROOM)], width, target, lambda name: function(name, width))


@pytest.mark.parametrize("columns", [1, 3, 8])
def test_the_loops_of_these_kernels_say_what_they_do(columns):
    machine, rng = Machine("f64", lambda name: function(name, "f64")), np.random.default_rng(2)
    tile, rows = rng.normal(size=columns * 4), np.zeros(3 * (columns + 1))
    back, there = to_rows(columns, 4), to_columns(columns, 4)
    machine.kernel(back, dict(zip(back.buffers, (tile, rows), strict=True)), [3, columns + 1])
    np.testing.assert_array_equal(rows.reshape(3, -1)[:, :columns], tile.reshape(columns, 4)[:, :3].T)
    into, places = np.zeros(columns * 4), np.array([columns + 1, 0])
    machine.kernel(there, dict(zip(there.buffers, (rows, places, into), strict=True)), [2])
    np.testing.assert_array_equal(into.reshape(columns, 4)[:, :2], rows.reshape(3, -1)[[1, 0], :columns].T)


# ------------------------------------------------------------------ which loops
def tiled(kernel):
    return any(isinstance(s, Run) and s.kernel.turn is not None for s in walk(kernel.body))


def loop_kernel(body, steps=200, stored=True):
    """A loop over all steps whose body `body(code, i, a, b)` writes; a is read, b is written."""
    code, a, b = Code(), Buffer("a", "f"), Buffer("b", "f", writable=stored)
    with code.loop(code.whole(0), code.whole(steps)) as i:
        body(code, i, a, b)
    return Kernel("k", (a, b), (), code.body)


def entry(code, i, stride, k):
    return code.op("iadd", code.op("imul", i, code.whole(stride)), code.whole(k))


def rows_out(columns, stride, twice=False, read=False):
    def body(code, i, a, b):
        x = code.load(a, i)
        for k in columns:
            old = code.load(b, entry(code, i, stride, k)) if read else x
            code.store(b, entry(code, i, stride, k), code.op("add", code.op("mul", x, code.real(float(k))), old))
        if twice:
            code.store(b, entry(code, i, stride, columns[0]), x)

    return body


@pytest.mark.parametrize(
    ("body", "steps", "turned"),
    [
        (rows_out(range(8), 8), 200, True),
        (rows_out(range(8), 8), STEPS - 1, False),
        (rows_out(range(3), 3), 200, False),  # LLVM writes such rows together
        (rows_out([1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16], 20), 200, True),  # parts of rows
        (rows_out(range(0, 16, 2), 16), 200, False),  # what stands between must stay
        (rows_out(range(8), 7), 200, False),  # rows overlap: the later step wins
        (rows_out(range(8), 8, twice=True), 200, False),  # the later store wins
        (rows_out(range(8), 8, read=True), 200, False),
    ],
    ids=["rows", "short", "narrow", "parts", "every second", "overlapping", "twice", "read"],
)
def test_a_loop_that_writes_rows(body, steps, turned):
    kernel = loop_kernel(body, steps)
    other = in_tiles(kernel)
    assert tiled(other) == turned and (turned or other is kernel)
    a = np.random.default_rng(3).normal(size=steps)
    results = []
    for k in (kernel, other):
        b = np.arange(20.0 * steps)
        Machine("f64", lambda name: function(name, "f64")).kernel(k, dict(zip(k.buffers, (a, b), strict=True)), [])
        results.append(b)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("written", "ahead"), [(LARGE + 8, True), (LARGE, False), (None, False)])
def test_large_rows_are_fetched_where_rows_are_gathered(written, ahead):
    code, of, a, b = Code(), Buffer("of", "i"), Buffer("a", "f"), Buffer("b", "f", writable=True)
    with code.loop(code.whole(0), code.whole(200)) as i:
        at = code.op("imul", code.load(of, i), code.whole(8))
        for k in range(8):
            x = code.load(a, code.op("iadd", at, code.whole(k)))
            code.store(b, entry(code, i, 8, k), code.op("mul", x, x))
    lengths = None if written is None else {a: 1 << 30, b: written, of: 1 << 30}
    other = in_tiles(Kernel("k", (of, a, b), (), code.body), "f64", lengths)
    turns = [s.kernel.turn for s in walk(other.body) if isinstance(s, Run)]
    assert [bool(t.ahead) for t in turns] == [False, ahead] and [t.gathers for t in turns] == [True, False]


def test_large_rows_are_not_fetched_where_rows_are_read_in_order():
    def body(code, i, a, b):
        for k in range(8):
            code.store(b, entry(code, i, 8, k), code.load(a, entry(code, i, 8, k)))

    kernel = loop_kernel(body)
    other = in_tiles(kernel, "f64", dict.fromkeys(kernel.buffers, 1 << 30))
    assert [s.kernel.turn.ahead for s in walk(other.body) if isinstance(s, Run)] == [0, 0]


def test_places_that_a_loop_writes_itself_are_not_read_before_it():
    code, a, b, places = Code(), Buffer("a", "f"), Buffer("b", "f", writable=True), Buffer("p", "i", writable=True)
    with code.loop(code.whole(0), code.whole(100)) as i:
        code.store(places, i, code.op("imul", i, code.whole(9)))
        at = code.load(places, i)
        for k in range(9):
            code.store(b, entry(code, i, 9, k), code.load(a, code.op("iadd", at, code.whole(k))))
    kernel = Kernel("k", (a, b, places), (), code.body)
    found = [s.buffer for s in walk(in_tiles(kernel).body) if isinstance(s, Load) and not s.buffer.local]
    assert found.count(a) == 9  # entry by entry
    assert not any(s.buffer is b for s in walk(in_tiles(kernel).body) if isinstance(s, Store))


def test_the_loops_of_a_kernel_share_their_tiles():
    """The stack of a thread is small."""
    code, a, outs = Code(), Buffer("a", "f"), [Buffer(f"b{n}", "f", writable=True) for n in range(40)]
    for n, b in enumerate(outs):
        with code.loop(code.whole(0), code.whole(300)) as i:
            for k in range(8 + n % 3):
                code.store(b, entry(code, i, 11, k), code.load(a, entry(code, i, 20, 2 * k + n % 2)))
    made = in_tiles(Kernel("k", (a, *outs), (), code.body))
    local = {s.buffer: s.buffer.local for s in walk(made.body) if isinstance(s, Load | Store) and s.buffer.local}
    assert tiled(made) and sum(local.values()) < 2 * COLUMNS * BLOCKS[-1]


def test_other_loops_stay_as_they_are():
    code, a, b, c = Code(), Buffer("a", "f"), Buffer("b", "f", writable=True), Buffer("c", "f", writable=True)
    with code.loop(code.whole(0), code.whole(200)) as i:
        rows_out(range(8), 8)(code, i, a, b)
    with code.loop(code.whole(0), code.whole(200), side=True) as i:
        total = code.cell(code.real(0.0))
        with code.loop(code.whole(0), code.whole(8), apart=False) as k:
            code.update(total, "add", code.load(a, code.op("iadd", i, k)))
        code.store(c, i, code.read(total))
    kernel = Kernel("k", (a, b, c), (), code.body)
    made = in_tiles(kernel)
    assert tiled(made)
    assert [(s.side, s.apart) for s in walk(made.body) if isinstance(s, For)][-2:] == [(True, True), (False, False)]


def test_what_was_planned_is_not_changed():
    (step,) = kernels(planned(PROGRAMS["norms"], "f", ["x"], N=300))
    before = [len(s.body) for s in walk(step.kernel.body) if isinstance(s, For)]
    assert tiled(in_tiles(step.kernel))
    assert [len(s.body) for s in walk(step.kernel.body) if isinstance(s, For)] == before
    assert not tiled(step.kernel)


# ------------------------------------------------------------------ programs
PROGRAMS = {
    "norms": "x : [N, 9]\nf = sum([sqrt(sum(x[i]**2)) for i in range(N)])\n",
    "products": "x : [N, 12]\nw : [12]\nt : [N]\nf = sum((x@w - t)**2) + sum(exp(-x[:, 3]**2))\n",
    "rows of a table": "x : [P, 7]\no : int[N, 2]\nf = sum([sum((x[o[i, 0]] - x[o[i, 1]])**2)**2 for i in range(N)])\n",
    "softmax": "x : [N, 10]\nw : [10]\nf = sum(softmax(x, axis=1)@w)\n",
    "parts of rows": "x : [N, 20]\nf = sum([prod(cos(x[i, 2:11])) + sum(x[i, 11::3])**2 for i in range(N)])\n",
    "both": "x : [N, 8]\ny : [N, 17]\nf = sum([tanh(sum(x[i])*sum(y[i, 1:9]*x[i])) for i in range(N)])\n",
    "backwards": "x : [N, 9]\nf = sum([sum(x[N-1-i]*x[i, ::-1]**2) for i in range(N)])\n",
    "many columns": "x : [N, 31]\ny : [N, 31]\nf = sum([sum(x[i]*y[i])/sqrt(sum(x[i]**2)) for i in range(N)])\n",
    "shifted": "x : [N, 6]\nf = sum((sqrt(sum((x[1:] - x[:-1])**2, axis=1)) - 1)**2)\n",
}


def given(name, n, dtype):
    rng = np.random.default_rng(n)
    model = gl.loads(PROGRAMS[name], dtype=dtype)
    sizes = {"N": n, "P": 11}
    found = {}
    for leaf in model.program.leaves.values():
        shape = [sizes[str(d)] if str(d) in sizes else int(str(d)) for d in leaf.type.shape]
        found[leaf.name] = rng.integers(-11, 11, shape) if leaf.type.dtype == "int" else rng.normal(size=shape).astype(dtype)
    return model, found


def same(a, b, dtype):
    tol = 1e-10 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol * np.abs(b).max(initial=0))


@compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_numpy(name, dtype):
    turned = 0
    for n in (127, 128, 131, 300):
        model, values = given(name, n, dtype)
        wrt = [k for k, v in values.items() if v.dtype.kind == "f"]
        one, other = (model.value_and_grad("f", wrt=wrt, backend=b) for b in ("native", "numpy"))
        (value, slopes), (right, exact) = one(values), other(values)
        assert one.backend == "native"
        same(value, right, dtype)
        for k in wrt:
            same(slopes[k], exact[k], dtype)
        turned += any(tiled(s.kernel) for v in one.raw.versions.kept.values() for s in kernels(v.plan))
    assert turned


@compiled
@pytest.mark.parametrize("name", ["norms", "rows of a table", "both"])
def test_as_numpy_in_parts(name):
    model, values = given(name, 50_000, "float64")
    wrt = [k for k, v in values.items() if v.dtype.kind == "f"]
    one, other = (model.value_and_grad("f", wrt=wrt, backend="native", threads=n) for n in (2, 1))
    (value, slopes), (right, exact) = one(values), other(values)
    same(value, right, "float64")
    for k in wrt:
        same(slopes[k], exact[k], "float64")


RESULTS = {
    "all of them": "x : [N]\ny = [[sin(x[i])*k + x[i] for k in range(11)] for i in range(N)]\n",
    "blocks": "x : [N, 3]\ny = [[[x[i, j]*x[i, k] for k in range(3)] for j in range(3)] for i in range(N)]\n",
    "joined": "x : [N, 7]\ny = concat([x*2, exp(-x), x[:, :3]], axis=1)\n",
    "Jacobians": "x : [N, 5]\ndef f(v):\n    r = [sum(v**2), prod(v)]\n    return jacobian(r, v)\ny = [f(x[i]) for i in range(N)]\n",
}


@compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("n", [130, 160, 261])
def test_results_as_numpy(name, n, dtype):
    model = gl.loads(RESULTS[name], dtype=dtype)
    shape = (n,) if "x : [N]" in RESULTS[name] else (n, int(RESULTS[name][8]))
    x = np.random.default_rng(n).normal(size=shape).astype(dtype)
    one, other = (model.function("y", backend=b) for b in ("native", "numpy"))
    same(one(x=x), other(x=x), dtype)
    assert one.backend == "native"


@compiled
def test_a_row_outside_of_a_table_is_found_wherever_it_stands():
    text = "x : [P, 7]\no : int[N]\ny = [x[o[i]]/sqrt(sum(x[o[i]]**2)) for i in range(N)]\n"
    x, right = np.random.default_rng(1).normal(size=(11, 7)), np.arange(-11, 11)
    run = gl.loads(text).function("y", backend="native")
    for place in (0, 31, 32, 63, 128, 129):
        o = np.resize(right, 130)
        np.testing.assert_allclose(run(x=x, o=o), (x / np.sqrt((x**2).sum(axis=1))[:, None])[o], rtol=1e-13)
        for wrong in (11, -12):
            o[place] = wrong
            with pytest.raises(gl.InputError):
                run(x=x, o=o)


@compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [20_000, 20_033])
def test_large_results_of_gathered_rows_as_numpy(n, dtype):
    text = "x : [P, 9]\no : int[N]\ny = [x[o[i]]/sqrt(sum(x[o[i]]**2)) for i in range(N)]\n"
    rng = np.random.default_rng(n)
    x, o = rng.normal(size=(3000, 9)).astype(dtype), rng.integers(0, 3000, n)
    one, other = (gl.loads(text, dtype=dtype).function("y", backend=b) for b in ("native", "numpy"))
    same(one(x=x, o=o), other(x=x, o=o), dtype)
    runs = [
        s for v in one.raw.versions.kept.values() for k in kernels(v.plan) for s in walk(k.kernel.body) if isinstance(s, Run)
    ]
    assert any(s.kernel.turn.ahead for s in runs)
