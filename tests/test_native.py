"""Kernels as C and as machine code, against their meaning; entries, the cache, and machines that refuse."""

import ctypes
import gc
import os
import shutil
import stat
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from loop_machine import Machine

from gradlang.backend import c as c_backend
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_entry import Entry
from gradlang.backend.llvm_ops import SAFEST, Target
from gradlang.backend.units import needed
from gradlang.loops.ir import RESULTS, Buffer, Code, Function, Kernel, Value
from gradlang.plan import routines
from gradlang.runtime import native
from gradlang.runtime.native import cache, engine, machine

WHY = native.available()
needs_native = pytest.mark.skipif(WHY is not None, reason=str(WHY))
COMPILER = shutil.which("gcc") or shutil.which("cc")
DTYPES = {"f64": np.float64, "f32": np.float32}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e-300, 1e300, 5e-324, np.inf, -np.inf, np.nan, 3.7, 1e15, 0.1]
WHOLE = [
    0,
    1,
    -1,
    2,
    -2,
    7,
    -7,
    8,
    -8,
    1000003,
    -1000003,
    2**31,
    -(2**31),
    2**53 + 1,
    -(2**53) - 3,
    2**62 + 5,
    2**63 - 1,
    -(2**63),
]
ARITY = {
    "fma": 3,
    **dict.fromkeys(
        "neg abs sqrt floor ceil rint ineg iabs not bits unbits itof ftoi btof btoi itob wtof ftow itow wtoi".split(), 1
    ),
}
INPUT = {
    "bits": "f",
    "unbits": "w",
    "itof": "i",
    "ftoi": "f",
    "btof": "b",
    "btoi": "b",
    "itob": "i",
    "wtof": "w",
    "ftow": "f",
    "itow": "i",
    "wtoi": "w",
}
INPUT |= dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), "f") | dict.fromkeys(("wlt", "weq"), "w")
INPUT |= dict.fromkeys(("ilt", "ile", "igt", "ige", "ieq", "ine"), "i") | dict.fromkeys(("and", "or", "not"), "b")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLANG_CACHE", str(tmp_path / "cache"))


def square():
    code = Code()
    x = Value("f", hint="x")
    return Function("square", (x,), code.body, code.op("mul", x, x), "x x")


def clipped():
    """A branch and a cell in a function, and a call of another one."""
    code = Code()
    x = Value("f", hint="x")
    cell = code.cell(code.real(-1.0), "best")
    with code.when(code.op("lt", x, code.real(2.0))) as made:
        code.update(cell, "", code.call("square", x))
        with code.inside(made.otherwise):
            code.update(cell, "", code.real(4.0))
    return Function("clipped", (x,), code.body, code.read(cell), "The square, at most 4")


FUNCTIONS = {"square": square(), "clipped": clipped()}


# ------------------------------------------------------------------ ways to run
def by_engine(made, kernels, width):
    """A function for each kernel, which takes arrays, sizes and numbers."""
    entries = [Entry(f"entry_{k.name}", k, dict.fromkeys(k.buffers, (1,))) for k in kernels]
    text = unit_text([], width, made.target(), FUNCTIONS.__getitem__, entries)
    library = made.load(text, sorted({name for e in entries for name in native.exports(e)}))
    return [native.bind(library, entry) for entry in entries]


def by_plain(kernels, width):
    """As on the oldest machine of 64 bits."""
    old = engine.Engine("x86-64", "")
    assert old.target() == SAFEST
    return by_engine(old, kernels, width)


def by_c(kernels, width, folder):
    text = c_backend.unit_text(kernels, width, FUNCTIONS.__getitem__)
    (folder / "unit.c").write_text(text)
    library = folder / f"unit{len(list(folder.iterdir()))}.so"  # a library is loaded by its name once
    flags = "-std=c11 -O2 -Wall -Wextra -pedantic -Werror -march=native -fPIC -shared -fwrapv -fno-trapping-math".split()
    done = subprocess.run([COMPILER, *flags, "unit.c", "-o", str(library), "-lm"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + text
    loaded = ctypes.CDLL(str(library))
    functions = []
    for kernel in kernels:
        real = ctypes.c_double if width == "f64" else ctypes.c_float
        function = getattr(loaded, kernel.name)
        function.restype = None
        pointers = [np.ctypeslib.ndpointer()] * len(kernel.buffers)
        function.argtypes = pointers + [ctypes.c_int64] * len(kernel.sizes) + [real] * len(kernel.numbers)
        functions.append(function)
    return functions


WAYS = [
    pytest.param("llvm", marks=needs_native),
    pytest.param("plain", marks=[needs_native, pytest.mark.skipif("x86" not in os.uname().machine, reason="another CPU")])
    if hasattr(os, "uname")
    else pytest.param("plain", marks=pytest.mark.skip(reason="another system")),
    pytest.param("c", marks=pytest.mark.skipif(not COMPILER, reason="no C compiler")),
]


def check_all(way, jobs, width="f64", folder=None, rtol=None):
    """Runs kernels and compares all their arrays with what they have to be: exactly, unless `rtol` is given. A job is a
    kernel, its arrays, its sizes and its numbers."""
    kernels = [kernel for kernel, *_ in jobs]
    if way == "c":
        functions = by_c(kernels, width, folder)
    else:
        functions = by_plain(kernels, width) if way == "plain" else by_engine(engine.engine(), kernels, width)
    fma = way != "plain" and (way != "c" or "fma" in flags_of_this_cpu())
    for function, (kernel, arrays, sizes, numbers) in zip(functions, jobs, strict=True):
        wanted, got = [a.copy() for a in arrays], [a.copy() for a in arrays]
        Machine(width, FUNCTIONS.__getitem__, fma).kernel(
            kernel, dict(zip(kernel.buffers, wanted, strict=True)), sizes, numbers
        )
        function(*got, *sizes, *numbers)
        for buffer, g, w in zip(kernel.buffers, got, wanted, strict=True):
            if rtol is None:
                np.testing.assert_array_equal(g, w, err_msg=f"{kernel.name} {buffer.name}")
                if g.dtype.kind == "f" and not kernel.name.endswith("imum"):  # where nothing is said about signs of zero
                    np.testing.assert_array_equal(np.signbit(g[g == 0]), np.signbit(w[w == 0]), err_msg=kernel.name)
            else:
                np.testing.assert_allclose(g, w, rtol=rtol, err_msg=buffer.name)


def check(way, kernel, arrays, sizes=(), numbers=(), width="f64", folder=None, rtol=None):
    check_all(way, [(kernel, arrays, sizes, numbers)], width, folder, rtol)


def flags_of_this_cpu():
    if WHY is None:
        return {f[1:] for f in engine.engine().features.split(",") if f[0] == "+"} | (
            {"fma"} if engine.engine().target().fma else set()
        )
    return {"fma"}


# ------------------------------------------------------------------ operations
def operand_arrays(kind, op, width, count=3):
    """Arrays of numbers to try in all pairs."""
    rng = np.random.default_rng(3)
    if kind == "b":
        base = np.array([False, True])
    elif kind == "i":
        base = np.array(WHOLE, np.int64)
        if op == "itow" and width == "f32":
            base = np.array([n for n in WHOLE if abs(n) < 2**31], np.int64)
    elif kind == "w":
        base = np.array(WHOLE, np.int64)
    else:
        with np.errstate(over="ignore"):
            base = np.concatenate([SPECIAL, rng.normal(size=9) * 10.0 ** rng.integers(-3, 4, 9)]).astype(DTYPES[width])
        if op in ("ftoi", "ftow"):
            base = base[np.isfinite(base) & (np.abs(base) < 2**20)]
    if kind == "w" and op in ("wshl", "wshr", "wsar"):
        grid = [base, np.array([0, 1, 5, 31], np.int64)]
    elif ARITY.get(op, 2) == 3:
        short = np.concatenate([base[:2], base[-12:], base[4:5]])
        grid = [short] * 3
    else:
        grid = [base] * ARITY.get(op, 2)
    return [np.ascontiguousarray(g.ravel()) for g in np.meshgrid(*grid, indexing="ij")]


def op_kernel(op, width):
    """One operation over arrays. Words come in and go out as whole numbers."""
    kind = INPUT.get(op, RESULTS[op])
    result = RESULTS[op]
    buffers = [Buffer(f"x{k}", "i" if kind == "w" else kind) for k in range(ARITY.get(op, 2))]
    out = Buffer("out", "i" if result == "w" else result, True)
    n, code = Value("i", hint="n"), Code()
    with code.loop(code.whole(0), n) as i:
        args = [code.load(b, i) for b in buffers]
        if kind == "w":
            args = [code.op("itow", a) for a in args]
        made = code.let(op, tuple(args), result)
        code.store(out, i, code.op("wtoi", made) if result == "w" else made)
    return Kernel(f"kernel_{op}", (*buffers, out), (n,), code.body)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", ["f64", "f32"])
@pytest.mark.parametrize("group", ["f", "i", "w", "b", "convert"])
def test_every_operation_means_what_it_says(way, width, group, tmp_path):
    jobs = []
    for op, result in RESULTS.items():
        named = "convert" if op in ("bits", "unbits") or ("to" in op and op in INPUT) else result
        if named != group:
            continue
        kernel = op_kernel(op, width)
        arrays = operand_arrays(INPUT.get(op, result), op, width)
        out = {"f": DTYPES[width], "i": np.int64, "w": np.int64, "b": np.bool_}[result]
        jobs.append((kernel, [*arrays, np.zeros(len(arrays[0]), out)], [len(arrays[0])], []))
    assert jobs
    check_all(way, jobs, width, tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_division_by_known_numbers_rounds_down(way, tmp_path):
    jobs = []
    for k, divisor in enumerate((1, 2, 8, 3, -1, -4, 0, 10)):
        x, out, n, code = Buffer("x", "i"), Buffer("out", "i", True), Value("i", hint="n"), Code()
        with code.loop(code.whole(0), n) as i:
            a = code.load(x, i)
            code.store(out, code.op("imul", i, code.whole(2)), code.let("idiv", (a, code.whole(divisor)), "i"))
            code.store(
                out,
                code.op("iadd", code.op("imul", i, code.whole(2)), code.whole(1)),
                code.let("imod", (a, code.whole(divisor)), "i"),
            )
        kernel = Kernel(f"divide{k}", (x, out), (n,), code.body)
        jobs.append((kernel, [np.array(WHOLE, np.int64), np.zeros(2 * len(WHOLE), np.int64)], [len(WHOLE)], []))
    check_all(way, jobs, folder=tmp_path)


def everything():
    """Nested loops, branches, cells of every kind, calls, a local array, and buffers of every kind."""
    x, s, flags = Buffer("x", "f"), Buffer("s", "s"), Buffer("flags", "b")
    out, found, marks, counts = (
        Buffer("out", "f", True),
        Buffer("found", "b", True),
        Buffer("marks", "s", True),
        Buffer("counts", "i", True),
    )
    local = Buffer("row", "f", True, local=8)
    rows, columns, scale, code = Value("i", hint="rows"), Value("i", hint="columns"), Value("f", hint="scale"), Code()
    zero = code.whole(0)
    with code.loop(zero, rows, "i") as i:
        total, product = code.cell(code.real(0.0), "total"), code.cell(code.real(1.0), "product")
        top, low = code.cell(code.real(float("-inf")), "top"), code.cell(code.real(float("inf")), "low")
        some, every, count = (
            code.cell(code.const(False, "b"), "some"),
            code.cell(code.const(True, "b"), "every"),
            code.cell(zero, "count"),
        )
        last = code.cell(code.real(0.0), "last")
        with code.loop(zero, columns, "j") as j:
            at = code.op("iadd", code.op("imul", i, columns), j)
            v, flag, k = code.load(x, at, "v"), code.load(flags, j, "flag"), code.load(s, j, "k")
            w = code.op("mul", code.call("clipped", v), scale)
            code.store(local, code.op("imod", j, code.whole(8)), w)
            code.update(total, "add", code.op("mul", v, w))
            code.update(product, "mul", code.op("add", code.real(1.0), code.op("mul", v, code.real(0.01))))
            code.update(top, "maximum", v)
            code.update(low, "minimum", v)
            code.update(some, "or", code.op("gt", v, code.real(2.0)))
            code.update(every, "and", code.op("gt", v, code.real(-2.0)))
            with code.when(code.op("and", flag, code.op("igt", k, zero))) as made:
                code.update(count, "iadd", k)
                with code.inside(made.otherwise):
                    code.update(last, "", v)
                    code.op("add", v, v)  # of no use
            code.store(marks, at, code.op("isub", k, j))
        with code.loop(zero, i, "j") as j:  # a triangle
            code.update(total, "add", code.op("itof", j))
        first = code.op("imul", i, code.whole(6))
        for k, cell in enumerate((total, product, top, low, last)):
            code.store(out, code.op("iadd", first, code.whole(k)), code.read(cell))
        code.store(out, code.op("iadd", first, code.whole(5)), code.load(local, code.whole(0)))
        code.store(found, i, code.op("or", code.read(some), code.op("not", code.read(every))))
        code.store(counts, i, code.read(count))
    return Kernel("everything", (x, s, flags, out, found, marks, counts), (rows, columns), code.body, (scale,))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", ["f64", "f32"])
@pytest.mark.parametrize("shape", [(3, 8), (5, 37), (0, 4)])
def test_loops_branches_cells_and_calls(way, width, shape, tmp_path):
    rows, columns = shape
    rng, real = np.random.default_rng(5), DTYPES[width]
    arrays = [
        rng.normal(size=rows * columns).astype(real), rng.integers(-5, 6, columns).astype(np.int32), rng.random(columns) < 0.5,
        np.zeros(rows * 6, real), np.zeros(rows, np.bool_), np.zeros(rows * columns, np.int32), np.zeros(rows, np.int64),
    ]  # fmt: skip
    arrays = [a if a.size else np.zeros(1, a.dtype) for a in arrays]
    check(way, everything(), arrays, shape, [1.5], width, tmp_path, rtol=1e-13 if width == "f64" else 2e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_running_maximum_keeps_nan(way, op, tmp_path):
    x, out, n, code = Buffer("x", "f"), Buffer("out", "f", True), Value("i", hint="n"), Code()
    cell = code.cell(code.real(-np.inf if op == "maximum" else np.inf))
    with code.loop(code.whole(0), n) as i:
        code.update(cell, op, code.load(x, i))
    code.store(out, code.whole(0), code.read(cell))
    kernel = Kernel("running", (x, out), (n,), code.body)
    for place in (None, 0, 13, 39):
        values = np.random.default_rng(1).normal(size=40)
        if place is not None:
            values[place] = np.nan
        check(way, kernel, [values, np.zeros(1)], [40], folder=tmp_path)


@needs_native
@pytest.mark.parametrize("width", ["f64", "f32"])
def test_small_buffers_of_a_kernel_are_no_memory_of_the_caller(width):
    """Of all kinds, and as large as some numbers of entries that fill no vector."""
    kinds = {"f": 7, "i": 3, "b": 5}
    x, out, code = Buffer("x", "f"), Buffer("out", "f", True), Code()
    held = {kind: Buffer(f"held_{kind}", kind, True) for kind in kinds}
    with code.loop(code.whole(0), code.whole(3)) as i:
        code.store(held["f"], code.op("iadd", i, code.whole(4)), code.load(x, i))
        code.store(held["i"], i, code.op("imul", i, i))
        code.store(held["b"], code.op("iadd", i, code.whole(2)), code.op("gt", code.load(x, i), code.real(0.0)))
    with code.loop(code.whole(0), code.whole(3)) as i:
        back = code.op("isub", code.whole(2), i)
        number = code.op(
            "mul", code.load(held["f"], code.op("iadd", back, code.whole(4))), code.op("itof", code.load(held["i"], i))
        )
        positive = code.load(held["b"], code.op("iadd", back, code.whole(2)))
        code.store(out, i, code.select(positive, number, code.op("neg", number)))
    buffers = (x, out, *held.values())
    entries = []
    for own in ((), tuple((held[kind], n) for kind, n in kinds.items())):
        kernel = Kernel(f"k{len(own)}", buffers, (), code.body, own=own)
        entries.append(Entry(f"run{len(own)}", kernel, {x: (3,), out: (3,), **{held[k]: (n,) for k, n in kinds.items()}}))
    values = np.array([1.5, -2.0, 3.0], DTYPES[width])
    results = []
    for run in native.build(entries, width, FUNCTIONS.__getitem__):
        made = np.zeros(3, DTYPES[width])
        given = [np.full(n, 1, {"f": DTYPES[width], "i": np.int64, "b": np.bool_}[k]) for k, n in kinds.items()]
        run(values, made, *given)
        results.append((made.tolist(), [bool(np.all(g == 1)) for g in given]))
    assert results == [([0.0, 2.0, 6.0], [False] * 3), ([0.0, 2.0, 6.0], [True] * 3)]


def test_functions_come_after_what_they_call_and_circles_are_found():
    code, x = Code(), Value("f")
    kernel = Kernel("k", (), (), code.body)
    code.call("clipped", code.real(1.0))
    assert [name for name, _ in needed([kernel], FUNCTIONS.__getitem__)] == ["square", "clipped"]
    inner = Code()
    turning = Function("turning", (x,), inner.body, inner.call("turning", x))
    code.call("turning", code.real(1.0))
    with pytest.raises(ValueError, match="call each other: turning"):
        needed([kernel], {**FUNCTIONS, "turning": turning}.__getitem__)


def test_rounding_is_free_only_in_sums():
    """Plain sums and products have no flags, so that no machine contracts them; a product that is only summed may melt."""
    text = unit_text([everything()], "f64", Target(), FUNCTIONS.__getitem__)
    flagged = [line for line in text.splitlines() if "contract" in line]
    assert all("reassoc" in line or "fmul contract" in line for line in flagged)
    assert sum("fmul contract" in line for line in flagged) == 1
    assert sum("fmul double" in line for line in text.splitlines()) == 3


def test_nesting_has_no_limit():
    code, n = Code(), Value("i", hint="n")
    out = Buffer("out", "f", True)
    opened = []
    for _ in range(3000):
        opened.append(code.when(code.op("igt", n, code.whole(len(opened)))))
        opened[-1].__enter__()
    code.store(out, code.whole(0), code.real(1.0))
    for block in reversed(opened):
        block.__exit__(None, None, None)
    kernel = Kernel("deep", (out,), (n,), code.body)
    assert unit_text([kernel], "f64", Target(), FUNCTIONS.__getitem__).count("br i1") == 3000
    assert c_backend.unit_text([kernel], "f64", FUNCTIONS.__getitem__).count("if (") == 3000


# --------------------------------------------------------------------- entries
def copying(name="copying"):
    x, y = Buffer("x", "f"), Buffer("y", "f", True)
    n, factor, code = Value("i", hint="n"), Value("f", hint="factor"), Code()
    with code.loop(code.whole(0), n) as i:
        code.store(y, i, code.op("mul", code.load(x, i), factor))
    return Entry(name, Kernel(f"{name}_kernel", (x, y), (n,), code.body, (factor,)), {x: (n,), y: (n,)}, works=True)


def five(returns):
    """Five numbers to six."""
    a, o, code = Buffer("a", "f"), Buffer("o", "f", True), Code()
    loaded = [code.load(a, code.whole(k)) for k in range(5)]
    product = loaded[0]
    for v in loaded[1:]:
        product = code.op("mul", product, v)
    code.store(o, code.whole(0), product)
    for k, v in enumerate(loaded):
        code.store(o, code.whole(k + 1), code.op("div", product, v))
    return Entry("five", Kernel("five_kernel", (a, o), (), code.body), packed={a: 5}, results={o: 6}, returns=returns)


def bound(entry, width="f64"):
    return native.build([entry], width, FUNCTIONS.__getitem__)[0]


@needs_native
@pytest.mark.parametrize("work", [0, 10**9])
def test_an_entry_takes_arrays_sizes_and_numbers(work):
    function = bound(copying())
    x = np.arange(6.0).reshape(2, 3)
    y = np.zeros((2, 3))
    assert function(x, y, 6, 2.0, work) is None
    np.testing.assert_array_equal(y, 2 * x)
    raw = bytearray(48)
    function(memoryview(x), memoryview(raw).cast("d"), np.int64(6), 3, work)
    np.testing.assert_array_equal(np.frombuffer(raw), 3 * x.ravel())


def summing(many):
    """Sums of the first two entries of many arrays of two kinds, between which single numbers stand, times each of these."""
    code, o = Code(), Buffer("o", "f", True)
    arrays = [Buffer(f"x{k}", "i" if k % 3 == 2 else "f", k == 1) for k in range(many)]
    numbers = {Buffer(f"n{k}", "f"): 1 for k in range(2)}
    total = code.real(0.0)
    for b in arrays:
        for k in range(2):
            value = code.load(b, code.whole(k))
            total = code.op("add", total, code.op("itof", value) if b.kind == "i" else value)
    for n in numbers:
        total = code.op("mul", total, code.load(n, code.whole(0)))
    code.store(o, code.whole(0), total)
    first, second = numbers
    buffers = (arrays[0], first, *arrays[1:], o, second)
    kernel = Kernel("summing_kernel", buffers, (), code.body)
    return Entry("summing", kernel, dict.fromkeys(arrays, (2,)), packed=numbers, results={o: 1}, returns=0)


@needs_native
@pytest.mark.parametrize("many", [2, 3, 60])
def test_many_arrays_are_read_and_let_go(many):
    """Also if one of them will not do: those before it, which are read through the buffer protocol, are let go."""
    function = bound(summing(many))
    raw = [bytearray(np.array([k, 1.0] if k % 3 < 2 else [k, 1]).tobytes()) for k in range(many)]
    views = [memoryview(r).cast("d" if k % 3 < 2 else "q") for k, r in enumerate(raw)]
    plain = [np.frombuffer(r, "f8" if k % 3 < 2 else "i8").copy() for k, r in enumerate(raw)]
    for arrays in (plain, views, [*plain[:-1], views[-1]]):
        assert function(arrays[0], 2.0, *arrays[1:], 0.5) == sum(range(many)) + many
        for k in range(many):
            wrong = list(arrays)
            wrong[k] = np.zeros(1) if k % 3 < 2 else np.zeros(1, np.int64)
            with pytest.raises(ValueError, match=rf"argument x{k} has 1 entries, and at least 2 are needed"):
                function(wrong[0], 2.0, *wrong[1:], 0.5)
            wrong[k] = memoryview(np.zeros(2, np.int32))
            with pytest.raises(TypeError, match=rf"argument x{k} must be an array of (float64|int64)"):
                function(wrong[0], 2.0, *wrong[1:], 0.5)
    del wrong, arrays
    for view in views:
        view.release()
    for r in raw:
        r.append(0)  # raises BufferError while anybody holds it


@needs_native
def test_an_entry_refuses_what_it_cannot_take():
    function = bound(copying())
    x, y = np.arange(6.0), np.zeros(6)
    frozen = np.zeros(6)
    frozen.flags.writeable = False
    good = (x, y, 6, 2.0, 0)
    cases = [
        (good[:-1], TypeError, "5 arguments are needed, not 4"),
        ((x, y, 7, 2.0, 0), ValueError, "argument x has 6 entries, and at least 7 are needed"),
        ((x, y[:5], 6, 2.0, 0), ValueError, "argument y has 5 entries"),
        ((memoryview(x)[:3], y, 6, 2.0, 0), ValueError, "argument x has 3 entries"),
        ((x.astype(np.float32), y, 6, 2.0, 0), TypeError, "argument x must be an array of float64"),
        ((x.astype(int), y, 6, 2.0, 0), TypeError, "must be an array of float64"),
        ((x.astype(">f8"), y, 6, 2.0, 0), TypeError, "must be an array of float64"),
        ((b"x" * 48, y, 6, 2.0, 0), TypeError, "must be an array of float64"),
        ((np.zeros(12)[::2], y, 6, 2.0, 0), ValueError, "not C-contiguous"),
        ((x, frozen, 6, 2.0, 0), (ValueError, BufferError), "read-only"),
        (([0.0] * 6, y, 6, 2.0, 0), TypeError, "bytes-like"),
        ((x, None, 6, 2.0, 0), TypeError, "bytes-like"),
        ((x, y, -1, 2.0, 0), ValueError, "argument n must not be negative"),
        ((x, y, 6.0, 2.0, 0), TypeError, "integer"),
        ((x, y, 2**70, 2.0, 0), OverflowError, "int"),
        ((x, y, 6, "a", 0), TypeError, "real number"),
    ]
    views = [memoryview(x)]
    gc.collect()
    before = [sys.getrefcount(a) for a in (x, y, frozen)]
    for args, error, text in cases:
        with pytest.raises(error, match=text):
            function(*args)
    del args
    gc.collect()
    assert [sys.getrefcount(a) for a in (x, y, frozen)] == before
    del good, cases
    views[0].release()
    function(x, y, 6, -1.0, 0)  # minus one is a number too
    np.testing.assert_array_equal(y, -x)


@needs_native
def test_buffers_are_let_go_even_after_errors():
    """A bytearray cannot grow while somebody holds its buffer."""
    function = bound(copying())
    raw, y = bytearray(48), np.zeros(6)
    whole = memoryview(raw).cast("d")
    for args in ((whole, y, 6, 1.0, 0), (whole, y, 7, 1.0, 0), (whole, None, 6, 1.0, 0)):
        try:
            function(*args)
        except (ValueError, TypeError):
            pass
    del args
    whole.release()
    raw.extend(b"x")


@needs_native
@pytest.mark.parametrize(
    ("returns", "wanted"),
    [
        (0, 120.0),
        ((0, 5), (120.0, 24.0)),
        ((), ()),
        ({}, {}),
        (None, None),
        (
            (0, {"a": 1, "b": (2, 3), "c": {"a": 4, "é": 5}}),
            (120.0, {"a": 120.0, "b": (60.0, 40.0), "c": {"a": 30.0, "é": 24.0}}),
        ),
    ],
)
def test_results_are_built_as_asked(returns, wanted):
    function = bound(five(returns))
    assert function(1.0, 2, np.float64(3), 4.0, 5) == wanted
    with pytest.raises(TypeError, match="real number"):
        function(1.0, 2.0, 3.0, 4.0, "5")
    assert bound(five(returns), "f32")(1.0, 2, 3, 4.0, 5) == wanted


@needs_native
def test_results_of_other_types():
    n, truth, o, p, s, code = (
        Buffer("n", "i"),
        Buffer("t", "b"),
        Buffer("o", "i", True),
        Buffer("p", "b", True),
        Buffer("s", "s", True),
        Code(),
    )
    code.store(o, code.whole(0), code.op("iadd", code.load(n, code.whole(0)), code.whole(1)))
    code.store(p, code.whole(0), code.op("not", code.load(truth, code.whole(0))))
    code.store(s, code.whole(0), code.op("ineg", code.load(n, code.whole(0))))
    kernel = Kernel("other", (n, truth, o, p, s), (), code.body)
    function = bound(Entry("types", kernel, packed={n: 1, truth: 1}, results={o: 1, p: 1, s: 1}, returns=(0, 1, 2)))
    assert function(41, []) == (42, True, -41)
    assert function(2**62, "x") == (2**62 + 1, False, 0)


@needs_native
def test_calls_leak_nothing():
    function, other = bound(five((0, {"a": 1, "b": (2, 3)}))), bound(copying())
    x, y = np.arange(100.0), np.zeros(100)

    def work():
        for _ in range(500):
            function(1.0, 2.0, 3.0, 4.0, 5.0)
            other(x, y, 100, 2.0, 0)
            for bad in ((x, y, 101, 2.0, 0), (x, x.view("i8"), 100, 2.0, 0), (memoryview(x), y[::2], 10, 1.0, 0)):
                try:
                    other(*bad)
                except (ValueError, TypeError):
                    pass

    work()
    tracemalloc.start()
    try:
        gc.collect()
        before, held = tracemalloc.get_traced_memory()[0], sys.getrefcount(x)
        work()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 4000
        assert sys.getrefcount(x) == held
    finally:
        tracemalloc.stop()


@needs_native
def test_a_function_keeps_its_code_and_lets_it_go():
    entry = copying()
    text = unit_text([], "f64", native.target(), FUNCTIONS.__getitem__, [entry])
    library = native.load(text, native.exports(entry))
    function = native.bind(library, entry)
    held = sys.getrefcount(library)
    again = native.bind(library, entry)
    assert sys.getrefcount(library) == held + 1
    del again
    assert sys.getrefcount(library) == held
    del library
    gc.collect()
    y = np.zeros(3)
    function(np.ones(3), y, 3, 2.0, 0)
    assert y.tolist() == [2.0] * 3


@needs_native
@pytest.mark.parametrize("work", [0, 10**9])
def test_threads_may_call_one_entry_at_once(work):
    function = bound(copying())
    wrong = []

    def run(factor):
        x, y = np.arange(5000.0), np.zeros(5000)
        for _ in range(200):
            y[:] = 0
            function(x, y, 5000, factor, work)
            if not np.array_equal(y, factor * x):
                wrong.append(factor)

    threads = [threading.Thread(target=run, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --------------------------------------------------------------------- effort
@needs_native
def test_long_texts_take_less_effort_and_give_the_same():
    x, y, code = Buffer("x", "f"), Buffer("y", "f", True), Code()
    for k in range(400):
        with code.loop(code.whole(0), code.whole(9)) as i:
            code.store(y, i, code.op("add", code.load(x if k == 0 else y, i), code.real(float(k))))
    entry = Entry("long", Kernel("long_kernel", (x, y), (), code.body), {x: (9,), y: (9,)})
    text = unit_text([], "f64", native.target(), FUNCTIONS.__getitem__, [entry])
    assert text.count("\n") > engine.LONG
    assert [engine.effort(text, level) for level in (1, 2)] == [(1, False), (1, False)]
    assert [engine.effort("\n" * engine.ROWS, level) for level in (1, 2)] == [(1, False), (2, False)]
    assert [engine.effort("", level) for level in (1, 2)] == [(1, False), (2, True)]
    out = np.zeros(9)
    bound(entry)(np.arange(9.0), out)
    assert out.tolist() == (np.arange(9.0) + sum(range(400))).tolist()


# ----------------------------------------------------------------------- cache
def counted(monkeypatch):
    calls = []
    original = engine.Engine.compile
    monkeypatch.setattr(engine.Engine, "compile", lambda self, *args: calls.append(1) or original(self, *args))
    return calls


@needs_native
def test_the_cache_spares_compiling_and_survives_damage(monkeypatch):
    calls = counted(monkeypatch)

    def works():
        y = np.zeros(2)
        bound(copying())(np.ones(2), y, 2, 3.0, 0)
        assert y.tolist() == [3.0, 3.0]
        return len(calls)

    assert works() == 1
    assert works() == 1
    (entry,) = cache.folder().iterdir()
    good = entry.read_bytes()
    assert entry.stat().st_mode & 0o777 == 0o600 or sys.platform == "win32"
    for k, damaged in enumerate((b"", good[:10], good[:-1], good[:-1] + bytes([good[-1] ^ 1]), b"x" + good[1:], cache.MAGIC)):
        entry.write_bytes(damaged)
        assert works() == k + 2
        assert entry.read_bytes() == good
    cache.put(entry.name, b"not an object")  # whole, but no code
    assert works() == 8
    assert works() == 8


@needs_native
def test_a_cache_that_cannot_be_used_is_not_used(monkeypatch, tmp_path):
    calls = counted(monkeypatch)
    bound(copying())
    for off in ("", "off"):
        monkeypatch.setenv("GRADLANG_CACHE", off)
        assert cache.folder() is None
        bound(copying())
    assert len(calls) == 3
    monkeypatch.setenv("GRADLANG_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("not a folder")
    bound(copying())
    assert len(calls) == 4


@needs_native
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users here")
def test_a_folder_of_somebody_else_is_not_trusted(monkeypatch):
    calls = counted(monkeypatch)
    bound(copying())
    place = cache.folder()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    place.chmod(0o770)
    bound(copying())
    place.chmod(0o702)
    bound(copying())
    assert len(calls) == 3
    place.chmod(0o700)
    bound(copying())
    assert len(calls) == 3
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    bound(copying())
    assert len(calls) == 4


@needs_native
def test_a_full_disk_is_harmless(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.tempfile, "mkstemp", full)
    bound(copying())
    assert list(cache.folder().iterdir()) == []


def test_old_entries_go_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 1000)
    for k in range(20):
        cache.put(f"entry{k}", bytes(100))
        os.utime(cache.folder() / f"entry{k}", (1000 + k, 1000 + k))
    left = {path.name for path in cache.folder().iterdir()}
    assert "entry19" in left and "entry0" not in left and len(left) <= 7
    assert cache.get("entry19") == bytes(100)
    assert cache.get("entry0") is None


def test_keys_depend_on_every_part():
    assert len({cache.key("a", "b"), cache.key("ab", ""), cache.key("a", "b", ""), cache.key("", "ab")}) == 4


# ------------------------------------------------------------------- machines
@pytest.fixture
def afresh():
    for function in (machine.refusal, engine.engine, engine.available):
        function.cache_clear()
    yield
    for function in (machine.refusal, engine.engine, engine.available):
        function.cache_clear()


def test_reasons_why_not_are_one_line(monkeypatch, afresh):
    refusals = [
        (machine.platform, "python_implementation", lambda: "PyPy", "CPython"),
        (machine, "free_threaded", lambda: True, "free-threaded"),
        (machine.struct, "calcsize", lambda what: 4, "64-bit"),
        (machine, "posix_probe", lambda: False, "run code"),
        (machine, "posix_probe", lambda: 1 / 0, "division by zero"),
    ]
    for place, name, fake, word in refusals:
        if name == "posix_probe" and (sys.platform == "win32" or WHY is not None):
            continue
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fake)
            reason = native.available()
            assert reason is not None and word in reason and "\n" not in reason
            with pytest.raises(native.NativeError, match=word):
                native.load("", [])
        for function in (machine.refusal, engine.engine, engine.available):
            function.cache_clear()


def test_without_llvmlite_the_reason_says_how_to_get_it(monkeypatch, afresh):
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    assert "llvmlite" in native.available()


@needs_native
def test_texts_that_llvm_does_not_take():
    with pytest.raises(native.NativeError, match="does not accept"):
        native.load("define void @f( {", ["f"])
    with pytest.raises(native.NativeError, match="cannot be loaded"):
        native.load("declare void @nowhere_at_all()\ndefine void @f() {\n call void @nowhere_at_all()\n ret void\n}", ["f"])


@needs_native
@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_process_that_may_not_make_code_says_so():
    """PR_SET_MDWE: from here on no memory becomes executable."""
    program = (
        "import ctypes\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): print('old kernel')\n"
        "else:\n"
        "    from gradlang.runtime import native\n"
        "    print(native.available())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "old kernel" in done.stdout or "does not let programs run code" in done.stdout


# ------------------------------------------------------------------ kernels that run kernels
def inverse_kernel():
    """Inverts matrices that lie one after another."""
    a, out = Buffer("a", "f", True), Buffer("out", "f", True)
    swaps, told = Buffer("swaps", "i", True), Buffer("told", "f", True)
    many, n, code = Value("i", hint="many"), Value("i", hint="n"), Code()
    with code.loop(code.whole(0), many) as k:
        at = code.op("imul", k, code.op("imul", n, n))
        factors = [(a, at), (swaps, code.whole(0)), (told, code.whole(0))]
        code.run(routines.factor(), factors, n)
        code.run(routines.factored_solve(), [*factors, (out, at)], n, n)
    return Kernel("inverse", (a, swaps, told, out), (many, n), code.body)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", ["f64", "f32"])
def test_kernels_run_kernels(way, width, tmp_path):
    rng, n = np.random.default_rng(8), 4
    a = rng.normal(size=(3, n, n)).astype(DTYPES[width])
    a[1, 2] = a[1, 0] = 0  # a singular one
    one = np.broadcast_to(np.eye(n, dtype=DTYPES[width]), a.shape)
    arrays = [a.ravel().copy(), np.zeros(n, np.int64), np.zeros(2, DTYPES[width]), one.ravel().copy()]
    check(way, inverse_kernel(), arrays, (3, n), width=width, folder=tmp_path, rtol=1e-12 if width == "f64" else 1e-3)


def test_a_compilation_frees_its_passes(monkeypatch):
    """llvmlite does not free them by itself: a hundred kilobytes for each text."""
    from llvmlite.binding.newpassmanagers import NewPassManager

    freed = []
    original = NewPassManager._dispose
    monkeypatch.setattr(NewPassManager, "_dispose", lambda passes: (freed.append(passes), original(passes)))
    engine.engine().compile("define dso_local i64 @one() {\n  ret i64 1\n}\n", 2)
    assert len(freed) == 1 and freed[0].closed
