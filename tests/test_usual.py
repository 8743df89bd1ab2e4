"""Loops that are written for their usual case: what they give is what the loops as they were give, whatever the data is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from loop_machine import Machine
from test_plan import kernels, walk

import gradlang as gl
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Code, For, If, Kernel, Let, Load, Value
from gradlang.plan.affine import positions_of
from gradlang.plan.assumed import Assumed
from gradlang.plan.quotients import WORTH, multiplied
from gradlang.plan.usual import BLOCK, in_usual_case, usual
from gradlang.runtime import native

WHY = native.available()
compiled = pytest.mark.skipif(WHY is not None, reason=str(WHY))
ODD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-170, 1e170, 5e-324, 1e308, -3.0])


def parted(kernel):
    return any(isinstance(s, For) and s.rare for s in walk(kernel.body))


def usual_line(kernel):
    """What all steps do."""
    return next(s.body for s in walk(kernel.body) if isinstance(s, For) and not any(isinstance(x, For) for x in s.body))


def run(kernel, a, size, width="f64"):
    b = np.full(size, 7.0, a.dtype)
    flag = np.zeros(1, np.int64)
    given = [a, b, flag][: len(kernel.buffers)]
    Machine(width, lambda name: function(name, width)).kernel(kernel, dict(zip(kernel.buffers, given, strict=True)), [])
    return b, flag


def zmul(code, g, p):
    zero = code.real(0.0)
    return code.select(code.op("eq", g, zero), zero, code.op("mul", g, p))


def slope_of_norm(code, x):
    """The unit vector of three numbers and products with it, with care for zeros and extreme numbers, as norm2 has it."""
    squares = code.cell(code.real(0.0), "total")
    largest = code.cell(code.real(0.0), "largest")
    for v in x:
        code.update(squares, "add", code.op("mul", v, v))
        code.update(largest, "maximum", code.op("abs", v))
    total, most = code.read(squares), code.read(largest)
    plain = code.op("and", code.op("gt", most, code.real(1e-140)), code.op("lt", most, code.real(1e140)))
    scale = code.select(plain, code.real(1.0), code.select(code.op("gt", most, code.real(0.0)), most, code.real(1.0)))
    parts = code.cell(code.real(0.0), "parts")
    for v in x:
        part = code.op("div", v, scale)
        code.update(parts, "add", code.op("mul", part, part))
    norm = code.op("mul", scale, code.op("sqrt", code.read(parts)))
    zero = code.op("eq", norm, code.real(0.0))
    unit = [code.select(zero, code.real(0.0), code.op("div", v, norm)) for v in x]
    g = [code.select(code.op("gt", total, code.real(0.0)), u, code.real(0.0)) for u in unit]
    made = [zmul(code, a, code.op("div", b, norm)) for a in g for b in x]
    return [*unit, *made, code.op("add", made[0], code.op("mul", x[1], code.real(0.0)))]


def norms(steps, extra=None, stride=16):
    code, a, b = Code(), Buffer("a", "f"), Buffer("b", "f", writable=True)
    with code.loop(code.whole(0), code.whole(steps)) as i:
        x = [code.load(a, code.op("iadd", code.op("imul", i, code.whole(3)), code.whole(k))) for k in range(3)]
        for k, v in enumerate(slope_of_norm(code, x)):
            code.store(b, code.op("iadd", code.op("imul", i, code.whole(stride)), code.whole(k)), v)
        if extra is not None:
            extra(code, i, a, b, x)
    return Kernel("k", (a, b), (), code.body)


def data(steps, seed=0, odd=0.1):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(steps, 3))
    places = rng.random((steps, 3)) < odd
    a[places] = rng.choice(ODD, places.sum())
    a[rng.random(steps) < odd] = 0.0
    return a.ravel()


# ------------------------------------------------------------------ as it was
@pytest.mark.parametrize("odd", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("steps", [64, 100, BLOCK, BLOCK + 77])
def test_usual_and_unusual_steps_give_what_they_gave(steps, odd):
    kernel = norms(steps)
    other = usual(kernel)
    assert parted(other) and not parted(kernel)
    a = data(steps, steps, odd)
    one, two = (run(k, a, 16 * steps)[0] for k in (kernel, other))
    np.testing.assert_allclose(two, one, rtol=0, atol=5e-324)  # a quotient below the normal numbers may be off by one


def test_in_usual_steps_there_is_less_to_do():
    before = sum(isinstance(s, Let) and s.op in ("select", "div") for s in walk(norms(100).body))
    line = usual_line(usual(norms(100)))
    assert before > 20
    assert sum(isinstance(s, Let) and s.op == "select" for s in line) == 0
    assert sum(isinstance(s, Let) and s.op == "div" for s in line) == 1


def test_flags_of_unusual_steps_are_those_of_the_loop_as_it_was():
    """Without care the norm of these rows would be infinite, and its unit vector nan: that is no reason to give up."""

    def body(limit):
        code, a, b = Code(), Buffer("a", "f"), Buffer("b", "f", writable=True)
        flag = Buffer("flag", "i", writable=True)
        trouble = code.cell(code.const(False, "b"))
        with code.loop(code.whole(0), code.whole(100)) as i:
            x = [code.load(a, code.op("iadd", code.op("imul", i, code.whole(3)), code.whole(k))) for k in range(3)]
            made = slope_of_norm(code, x)
            for k, v in enumerate(made):
                code.store(b, code.op("iadd", code.op("imul", i, code.whole(16)), code.whole(k)), v)
            large = code.op("gt", code.op("abs", made[0]), code.real(limit))
            code.update(trouble, "or", code.op("not", code.op("le", code.op("abs", made[0]), code.real(limit))))
            code.update(trouble, "or", large)
        code.store(flag, code.whole(0), code.op("btoi", code.read(trouble)))
        return Kernel("k", (a, b, flag), (), code.body)

    a = data(100, 3, 0.0).reshape(100, 3)
    a[50], a[70] = 1e200, 0.0
    for limit, found in ((1.5, 0), (0.01, 1)):
        kernel = body(limit)
        other = usual(kernel)
        assert parted(other)
        assert [run(k, a.ravel(), 1600)[1].item() for k in (kernel, other)] == [found, found]


def test_a_zero_whose_sign_tells_is_unusual():
    """0 * -2 is -0 where the choice gives 0."""

    def sign(code, i, a, b, x):
        p = zmul(code, x[2], x[1])
        one = code.op("copysign", code.real(1.0), p)
        code.store(b, code.op("iadd", code.op("imul", i, code.whole(16)), code.whole(13)), one)

    kernel = norms(100, sign)
    other = usual(kernel)
    assert parted(other)
    a = data(100, 5, 0.0).reshape(100, 3)
    a[40] = [1.0, -2.0, 0.0]
    one, two = (run(k, a.ravel(), 1600)[0] for k in (kernel, other))
    assert one[40 * 16 + 13] == 1
    np.testing.assert_array_equal(one, two)


def guarded_zero(code, i, a, b, x):
    """0 in usual steps, whatever the last number is."""
    total = code.op("add", code.op("mul", x[0], x[0]), code.op("mul", x[1], x[1]))
    g = code.select(code.op("gt", total, code.real(0.0)), code.real(0.0), x[0])
    code.store(b, code.op("iadd", code.op("imul", i, code.whole(16)), code.whole(14)), zmul(code, g, code.op("sqrt", x[2])))


def test_what_no_usual_step_needs_may_be_infinite():
    kernel = norms(100, guarded_zero)
    (loop,) = kernel.body
    line = Assumed(loop, positions_of(kernel.body))
    roots = {s.value for s in line.lines if isinstance(s, Let) and s.op == "sqrt" and s.args[0] in map(line.at, loads(loop))}
    assert roots and roots.isdisjoint(line.held)
    one, two = (run(k, data(100, 9, 0.2), 1600)[0] for k in (kernel, usual(kernel)))
    np.testing.assert_allclose(two, one, rtol=0, atol=5e-324)


def loads(loop):
    return [s.value for s in loop.body if isinstance(s, Load)]


def test_norms_that_a_table_holds_are_expected_not_to_be_zero():
    code, a, b = Code(), Buffer("a", "f"), Buffer("b", "f", writable=True)
    with code.loop(code.whole(0), code.whole(100)) as i:
        norm, x = (code.load(a, code.op("iadd", i, code.whole(k))) for k in (0, 200))
        zero = code.op("eq", norm, code.real(0.0))
        for k in range(20):
            chosen = code.select(zero, code.real(0.0), code.op("mul", x, code.real(k + 2.0)))
            code.store(b, code.op("iadd", code.op("imul", i, code.whole(20)), code.whole(k)), zmul(code, chosen, norm))
    kernel = Kernel("k", (a, b), (), code.body)
    other = usual(kernel, norms={norm})
    line = usual_line(other)
    assert not any(isinstance(s, Let) and s.op == "select" for s in line)
    given = np.random.default_rng(1).normal(size=300)
    given[[10, 20]] = 0.0, np.inf
    one, two = (run(k, given, 2000)[0] for k in (kernel, other))
    np.testing.assert_array_equal(one, two)


# ------------------------------------------------------------------ which loops
def reads_what_it_writes(code, i, a, b, x):
    at = code.op("iadd", code.op("imul", i, code.whole(16)), code.whole(14))
    code.store(b, at, code.op("add", code.load(b, at), x[0]))


def writes_where_data_says(code, i, a, b, x):
    code.store(b, code.op("imax", code.op("imin", code.op("ftoi", x[0]), code.whole(9)), code.whole(0)), x[1])


@pytest.mark.parametrize("extra", [reads_what_it_writes, writes_where_data_says])
def test_steps_that_cannot_be_done_twice(extra):
    kernel = norms(100, extra)
    assert usual(kernel) is kernel


def test_rows_that_overlap_and_short_loops():
    for kernel in (norms(100, stride=5), norms(63)):
        assert usual(kernel) is kernel


def test_sums_over_steps_are_left_as_they_are():
    code, a, b = Code(), Buffer("a", "f"), Buffer("b", "f", writable=True)
    total = code.cell(code.real(0.0))
    with code.loop(code.whole(0), code.whole(100)) as i:
        x = [code.load(a, code.op("iadd", code.op("imul", i, code.whole(3)), code.whole(k))) for k in range(3)]
        made = slope_of_norm(code, x)
        code.update(total, "add", made[-1])
        code.store(b, i, made[0])
    kernel = Kernel("k", (a, b), (), code.body)
    assert usual(kernel) is kernel


def test_conditions_that_may_well_be_one_or_the_other_are_no_usual_case():
    code, a, b = Code(), Buffer("a", "f"), Buffer("b", "f", writable=True)
    with code.loop(code.whole(0), code.whole(100)) as i:
        x = code.load(a, i)
        for k in range(20):
            chosen = code.select(code.op("gt", x, code.real(0.0)), code.op("mul", x, code.real(k + 2.0)), code.real(0.1 * k))
            chosen = code.select(code.op("eq", code.op("abs", x), code.real(0.0)), code.op("sqrt", chosen), chosen)
            code.store(b, code.op("iadd", code.op("imul", i, code.whole(20)), code.whole(k)), chosen)
    kernel = Kernel("k", (a, b), (), code.body)
    assert usual(kernel) is kernel


# ------------------------------------------------------------------ quotients
@pytest.mark.parametrize("width", ["f64", "f32"])
def test_quotients_by_one_number_are_the_rounded_quotients(width):
    real = np.float64 if width == "f64" else np.float32
    c, xs = Value("f"), [Value("f") for _ in range(WORTH)]
    quotients = [Let(Value("f"), "div", (x, c)) for x in xs]
    lines, divisors, made = multiplied(quotients)
    assert divisors == [c] and made == [s.value for s in quotients]
    assert sum(s.op == "div" for s in lines) == 1
    rng = np.random.default_rng(7)
    few = rng.integers(1, 1 << 12, (400, 2)) * 1.0
    near = np.stack([2 - rng.integers(1, 50, 400) * 2.0**-23, 2 - rng.integers(1, 50, 400) * 2.0**-23], axis=1)
    wide = rng.normal(size=(400, 2)) * 2.0 ** rng.integers(-90, 20, (400, 2))
    ops = Machine(width, lambda name: function(name, width)).ops
    for x, divisor in np.concatenate([few, near, wide]).astype(real):
        values = dict.fromkeys(xs, x) | {c: divisor}
        for s in lines:
            values[s.value] = ops[s.op](*(real(a.const) if a.const is not None else values[a] for a in s.args))
        (found,) = {values[s.value] for s in quotients}
        exact = Fraction(float(x)) / Fraction(float(divisor))
        off = abs(Fraction(float(found)) - exact) / Fraction(float(np.spacing(np.abs(found))))
        assert off <= Fraction(1, 2) + Fraction(1, 1 << 20)
        if exact == Fraction(float(real(x / divisor))):
            assert found == x / divisor


def test_two_quotients_stay_quotients():
    c = Value("f")
    lines = [Let(Value("f"), "div", (Value("f"), c)) for _ in range(WORTH - 1)]
    assert multiplied(lines) == (lines, [], [])


# ------------------------------------------------------------------ programs
ROTATED = """cams : [C, 4]
X    : [P, 3]
obs  : int[N, 2]
def rotate(r, v):
    angle = sqrt(sum(r**2))
    n     = r / angle
    return v*cos(angle) + cross(n, v)*sin(angle) + n*sum(n*v)*(1 - cos(angle)) if sum(r**2) > 0 else v + cross(r, v)
def flat(leaves):
    p = rotate(leaves[:3], leaves[4:])
    return leaves[3]*p[:2]/p[2]
def slopes(leaves):
    y = flat(leaves)
    return jacobian(y, leaves)
J = [slopes(concat([cams[obs[i, 0]], X[obs[i, 1]]])) for i in range(N)]
"""


def observed(dtype, n=700):
    rng = np.random.default_rng(1)
    cams, X = rng.normal(size=(23, 4)).astype(dtype), rng.normal([0, 0, 9], 1, (41, 3)).astype(dtype)
    return {"cams": cams, "X": X, "obs": np.stack([rng.integers(0, 23, n), rng.integers(0, 41, n)], axis=1)}


@compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_programs_give_what_numpy_gives(dtype):
    model = gl.loads(ROTATED, dtype=dtype)
    one, other = (model.function("J", backend=b) for b in ("native", "numpy"))
    d = observed(dtype)
    tiny = 1e-160 if dtype == "float64" else 1e-30
    for row, odd in enumerate((0.0, -0.0, tiny, [0.0, 1.0, 0.0], [0.0, 0.0, np.nan], [np.inf, 0.0, 1.0])):
        d["cams"][3 * row, :3] = odd
    d["X"][5], d["X"][7, 0], d["X"][9, 2] = 0.0, np.nan, 0.0
    tol = 1e-11 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(one(d), other(d), rtol=tol, atol=tol)
    (version,) = one.raw.versions.kept.values()
    width = "f64" if dtype == "float64" else "f32"
    assert any(parted(s.kernel) for s in kernels(in_usual_case(version.plan, width)))
    assert any(isinstance(s, If) for s in walk(kernels(in_usual_case(version.plan, width))[0].kernel.body))


@compiled
def test_unusual_rows_do_not_send_the_call_elsewhere():
    """A camera that is not turned is common: its derivative comes from machine code as well."""
    run = gl.loads(ROTATED).function("J", backend="native")
    d = observed("float64")
    d["cams"][4, :3] = 0.0
    assert (d["obs"][:, 0] == 4).any()

    def elsewhere(*args, **kept):
        raise AssertionError

    run(d)
    run.raw.otherwise = elsewhere
    found = run(d)
    p = d["X"][d["obs"][d["obs"][:, 0] == 4, 1]]
    np.testing.assert_allclose(found[d["obs"][:, 0] == 4][:, :, 3], p[:, :2] / p[:, 2:], rtol=1e-13)
