"""Functions by tables, for vectors of 512 bits: accuracy in every binade, and loops that are written as whole vectors with them."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from derive_coefficients import TABLES, derive, table
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_oracle import REALS, run
from loop_references import REFERENCES, error
from test_functions import points, worst

import gradlang as gl
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_avx512 import in_turn, touched_twice, written_out
from gradlang.backend.llvm_entry import Entry
from gradlang.backend.llvm_ops import Target
from gradlang.loops import coefficients
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Code, For, Kernel, Let, Load, Store, Value
from gradlang.loops.tables import WRITERS
from gradlang.loops.walk import operands
from gradlang.runtime.native import calls as native
from gradlang.runtime.native import engine

WIDTHS = ("f64", "f32")
CASES = list(itertools.product(WRITERS, WIDTHS))
WIDE = Target(vector=512, converts=True)
BOUNDS = {"exp": 1.25, "exp_less": 1.25}  # of the others as without tables
LARGE = 1e30
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e33, -1e33]
has_avx512 = pytest.mark.skipif(
    engine.available() is not None or engine.target().vector < 512, reason="needs llvmlite and AVX-512"
)


# ------------------------------------------------------------------ functions
@pytest.mark.parametrize(("name", "width"), CASES)
def test_accuracy_in_every_binade(name: str, width: str):
    arguments = points(name, width, 1)
    # around the places where the table is left or another entry is taken
    steps = np.arange(-40, 41) / 32 * np.log(2)
    near = np.concatenate([steps * (1 + k * 2.0**-20) for k in range(-3, 4)]).astype(REALS[width])
    x = np.concatenate([arguments[0], near, near / 2])
    with mpmath.mp.workprec(140):
        wanted = [REFERENCES[name].value(mpmath.mpf(float(v))) for v in x]
    most, where = worst(name, width, run(function(name, width, True), width, x), wanted, [x])
    assert most <= BOUNDS.get(name, REFERENCES[name].bound), (most, where)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_accuracy_anywhere(case: tuple[str, str], data: st.DataObject):
    name, width = case
    x = data.draw(st.floats(width=64 if width == "f64" else 32, allow_nan=False, allow_infinity=False))
    got = run(function(name, width, True), width, np.array([x]))
    with mpmath.mp.workprec(140):
        assert error(float(got[0]), REFERENCES[name].value(mpmath.mpf(x)), width) <= BOUNDS.get(name, REFERENCES[name].bound)


@pytest.mark.parametrize(("name", "width"), CASES)
def test_infinities_nans_and_zeros_are_numpys(name: str, width: str):
    x = np.array(SPECIAL, REALS[width])
    with np.errstate(all="ignore"):
        wanted = REFERENCES[name].numpy(x)
    got = run(function(name, width, True), width, x)
    np.testing.assert_array_equal(got, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(wanted[known]))


def test_the_slope_of_tanh_keeps_its_digits_where_tanh_is_one():
    x = np.array([20.0, 100.0, 300.0, 354.0])
    got = run(function("tanh_slope", "f64", True), "f64", x)
    np.testing.assert_allclose(got, 4 * np.exp(-2 * x), rtol=1e-13)
    assert (run(function("tanh", "f64", True), "f64", x) == 1).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_and_coefficients_are_those_that_the_script_derives(width: str):
    for name in TABLES:
        assert list(getattr(coefficients, name)[width]) == table(name, width)
    for name in ("EXP_SHORT", "EXPM1_SHORT"):
        np.testing.assert_allclose(
            getattr(coefficients, name)[width], derive(name, width)[0], rtol=1e-11 if width == "f64" else 1e-6
        )


# ------------------------------------------------------------------ loops
def applied(name: str, n: int | None) -> Kernel:
    """y = name(x), the sum of all, and whether one is not a number or infinite; for `n` entries, or as many as the call says."""
    x, y, told = Buffer("x", "f"), Buffer("y", "f", True), Buffer("told", "f", True)
    code, size = Code(), Value("i", hint="n")
    total, odd = code.cell(code.real(0.0), "total"), code.cell(code.const(False, "b"), "odd")
    with code.loop(code.whole(0), size if n is None else code.whole(n)) as i:
        made = code.call(name, code.load(x, i))
        code.store(y, i, made)
        code.update(total, "add", made)
        code.update(odd, "or", code.op("not", code.op("le", code.op("abs", made), code.real(LARGE))))
    code.store(told, code.whole(0), code.read(total))
    code.store(told, code.whole(1), code.op("btof", code.read(odd)))
    return Kernel("applied", (x, y, told), (size,), code.body)


def text_of(kernel: Kernel, width: str, target: Target, entries: list[Entry] | None = None) -> str:
    return unit_text([] if entries else [kernel], width, target, lambda name: function(name, width), entries or [])


@has_avx512
@pytest.mark.parametrize(("name", "width"), CASES)
@pytest.mark.parametrize("n", [None, 128, 129, 130, 132, 143, 1003])
def test_machine_code_gives_the_bits_of_the_loop_form_wherever_an_entry_stands(name: str, width: str, n: int | None):
    real = REALS[width]
    kernel = applied(name, n)
    entry = Entry("apply", kernel, dict.fromkeys(kernel.buffers, (1,)))
    library = engine.load(text_of(kernel, width, engine.target(), [entry]), native.exports(entry))
    call = native.bind(library, entry)
    rng = np.random.default_rng(3)
    for count in [n] if n is not None else [0, 1, 5, 8, 15, 16, 17, 200]:
        given = rng.permutation(np.concatenate([SPECIAL, rng.normal(0, 3, 900), rng.normal(0, 300, 900)]))[:count].astype(real)
        x, y, told = np.append(given, real(7)), np.full(count + 1, real(-5)), np.zeros(2, real)
        call(x, y, told, count)
        np.testing.assert_array_equal(y[:count], run(function(name, width, True), width, given))
        assert y[count] == -5  # nothing is written behind the end
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(told[0], y[:count].sum(), rtol=1e-12 if width == "f64" else 1e-4)
        assert bool(told[1]) == (not (np.abs(y[:count]) <= real(LARGE)).all())


@has_avx512
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid"])
def test_sums_in_which_only_the_first_lanes_of_the_last_vector_count(name: str):
    """LLVM 20 makes wrong code of a table of which only two lanes are used: it must not see that."""
    f = gl.loads(f"x : [N]\ny = sum({name}(x))").function("y", backend="native")
    for n in range(128, 137):
        x = np.linspace(-3, 2, n)
        assert f(x=x) == pytest.approx(float(REFERENCES[name].numpy(x).sum()), rel=1e-13)


def test_only_vectors_of_512_bits_have_tables():
    kernel = applied("tanh", 1000)
    assert "x86.avx512" in text_of(kernel, "f64", WIDE) and "@math.tanh(double" not in text_of(kernel, "f64", WIDE)
    for target in (Target(vector=256), Target(vector=512, fma=False), Target(vector=128, converts=True)):
        assert "x86.avx512" not in text_of(kernel, "f64", target)
    assert "x86.avx512" not in text_of(applied("log", 1000), "f64", WIDE)
    assert "x86.avx512" not in text_of(applied("tanh", 20), "f64", WIDE)  # too short


def test_the_rest_is_written_only_where_there_may_be_one():
    texts = [text_of(applied("exp", n), "f64", WIDE) for n in (1000, 1001, None)]
    assert ["memcpy" in t for t in texts] == [False, True, True]


def test_a_function_of_what_is_the_same_in_all_steps_is_that_of_a_number():
    """A sum over no entries is a number: of an axis without entries, with a long one around it."""
    x, y = Buffer("x", "f"), Buffer("y", "f", True)
    code = Code()
    with code.loop(code.whole(0), code.whole(1000)) as i:
        code.store(y, i, code.op("mul", code.call("exp", code.load(x, i)), code.call("exp", code.real(0.5))))
    assert "call double @math.exp(double" in text_of(Kernel("applied", (x, y), (), code.body), "f64", WIDE)
    model = gl.loads("input A, C : [N, M]\nw : [M]\nf = sum(cumsum(min(layer_norm(exp(A), w, w), C), axis=0))")
    given = {"A": np.ones((300, 0)), "C": np.ones((300, 0)), "w": np.ones(0)}
    for backend in ("numpy", "native") if engine.available() is None else ("numpy",):
        value, slopes = model.value_and_grad(backend=backend)(given)
        assert value == 0 and slopes["A"].shape == (300, 0)


def test_a_function_that_is_not_the_built_in_one_is_called():
    code = Code()
    x = Value("f", hint="x")
    own = type(function("exp", "f64"))("exp", (x,), code.body, code.op("mul", x, x))
    text = unit_text([applied("exp", 1000)], "f64", WIDE, {"exp": own}.__getitem__)
    assert "x86.avx512" not in text and "fmul double" in text


def test_functions_share_their_work_in_a_loop():
    x, y = Buffer("x", "f"), Buffer("y", "f", True)
    code = Code()
    with code.loop(code.whole(0), code.whole(1000)) as i:
        v = code.load(x, i)
        code.store(y, i, code.op("mul", code.call("tanh", v), code.call("tanh_slope", v)))
    (loop,) = (s for s in code.body if isinstance(s, For))
    made = written_out(loop, "f64", lambda name: function(name, "f64"))
    assert made is not None and sum(isinstance(s, Let) and s.op == "div" for s in made.body) == 1


def test_what_most_wait_for_stands_first():
    x, y = Buffer("x", "f"), Buffer("y", "f", True)
    code, i = Code(), Value("i", hint="i", level=0)
    a, b = code.load(x, i), code.load(y, i)
    short = code.op("neg", a)
    root = code.op("sqrt", b)
    code.store(Buffer("z", "f", True), i, code.op("add", short, code.op("div", root, a)))
    body = in_turn(code.body)
    places = {s.value: k for k, s in enumerate(body) if isinstance(s, Let | Load)}
    assert sorted(map(id, body)) == sorted(map(id, code.body))
    assert all(places.get(v, -1) < k for k, s in enumerate(body) for v in operands(s))
    assert places[b] < places[a] and places[root] < places[short]


def test_where_an_array_is_touched_twice_the_order_stays():
    x, y = Buffer("x", "f"), Buffer("y", "f", True)
    i, v = Value("i"), Value("f")
    assert not touched_twice([Load(v, x, i), Store(y, i, v)])
    assert touched_twice([Load(v, y, i), Store(y, i, v)])
    assert touched_twice([Load(v, x, i), Store(y, i, v), Store(y, i, v)])
