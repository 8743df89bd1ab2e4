"""The step of a recurrence as a straight line of whole vectors, and the functions whose result is waited for."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from loop_oracle import REALS, run
from loop_references import REFERENCES
from test_functions import points, worst
from test_plan import RECURRENT, planned
from test_tables import has_avx512

import gradlang as gl
from gradlang.backend.llvm import Body, unit_text
from gradlang.backend.llvm_avx512 import cycles_of
from gradlang.backend.llvm_flat import line_of
from gradlang.backend.llvm_line import Line, halved, used
from gradlang.backend.llvm_ops import Target, Unit
from gradlang.backend.llvm_steps import straight
from gradlang.loops.functions import function
from gradlang.loops.ir import For, Let, Load, Store
from gradlang.loops.waited import WRITERS
from gradlang.loops.walk import operands

WIDE = Target(vector=512, converts=True, registers=32)
WIDTHS = ("f64", "f32")
CASES = list(itertools.product(WRITERS, WIDTHS))
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e33, -1e33, 19.0, -25.0]


# ------------------------------------------------------------------ functions
@pytest.mark.parametrize(("name", "width"), CASES)
def test_what_is_waited_for_is_as_exact_as_the_rest(name: str, width: str):
    (x,) = points(name, width, 1)
    steps = np.arange(-40, 41) / 32 * np.log(2)
    near = np.concatenate([steps * (1 + k * 2.0**-20) for k in range(-3, 4)])
    more = np.random.default_rng(5).uniform(0, [[0.01], [0.3], [1.2], [20.0]], (4, 500)).ravel()
    x = np.concatenate([x, *(a.astype(REALS[width]) for a in (near, near / 2, more))])
    with mpmath.mp.workprec(140):
        wanted = [REFERENCES[name].value(mpmath.mpf(float(v))) for v in x]
    most, where = worst(name, width, run(function(name, width, True, True), width, x), wanted, [x])
    assert most <= REFERENCES[name].bound, (most, where)


@pytest.mark.parametrize(("name", "width"), CASES)
def test_infinities_nans_and_zeros_are_those_of_the_other_form(name: str, width: str):
    x = np.array(SPECIAL, REALS[width])
    waited, other = (run(function(name, width, True, soon), width, x) for soon in (True, False))
    known = np.isnan(x) | np.isinf(x) | (x == 0) | (abs(x) > 1e30)
    np.testing.assert_array_equal(waited[known], other[known])
    np.testing.assert_array_equal(np.signbit(waited), np.signbit(other))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_tanh_is_above_one_and_its_slope_keeps_its_digits(width: str):
    x = np.concatenate([np.linspace(4, 25, 100_001), 27.5 * np.log(2) + np.linspace(-1e-6, 1e-6, 2001)])
    assert run(function("tanh", width, True, True), width, x.astype(REALS[width])).max() == 1
    x = np.array([20.0, 40.0] if width == "f32" else [20.0, 100.0, 300.0, 354.0])
    got = run(function("tanh_slope", width, True, True), width, x.astype(REALS[width]))
    np.testing.assert_allclose(got, 4 * np.exp(-2 * x), rtol=1e-13 if width == "f64" else 1e-5)


def test_what_is_waited_for_takes_less_time():
    """Counted as the list schedule does."""
    lengths = []
    for waited in (True, False):
        f = function("tanh", "f64", True, waited)
        ready = dict.fromkeys(f.params, 0)
        for s in f.body:
            assert isinstance(s, Let)
            ready[s.value] = cycles_of(s) + max(ready.get(a, 0) for a in s.args)
        lengths.append(ready[f.result])
    assert lengths[0] <= 0.8 * lengths[1], lengths


# ------------------------------------------------------------------ lines
def lines(text: str, loss: str, wrt: list[str], width: str = "f64", **sizes: int) -> list[Line | None]:
    """Those of the recurrences of a program, in order."""
    found = []
    for step in planned(text, loss, wrt, True, **sizes).steps:
        unit = Unit(width, WIDE)  # type: ignore[arg-type]
        unit.tabled = True
        unit.form = lambda name, waited: function(name, width, True, waited)
        unit.is_wide = lambda name: straight(function(name, width, True))
        body = Body(unit, {})
        body.most = 8 if width == "f64" else 16
        found += [line_of(body, s) for s in step.kernel.body if isinstance(s, For) and not s.apart]
    return found


def made(line: Line) -> list[Let]:
    return [s for s in line.body if isinstance(s, Let)]


def test_a_step_of_a_recurrence_is_a_line():
    forward, backward = lines(RECURRENT, "loss", ["W", "U", "h0"], T=40)
    assert forward is not None and backward is not None
    for line in (forward, backward):
        assert sum(s.op == "fma" for s in made(line)) >= 24  # 16 numbers times two vectors, in four chains each
        assert not any(isinstance(s, For) for s in line.body)
        known = {v for s in line.body if isinstance(s, Let | Load) for v in (s.value,)} | set(line.found.values())
        assert set(line.left.values()) <= known
    assert sum(s.op == "div" for s in made(forward)) == 4  # a tanh and its slope, of two vectors
    assert all(s.op != "call" for s in made(forward))


def test_numbers_of_states_are_taken_from_vectors_and_not_from_memory():
    for line in lines(RECURRENT, "loss", ["W", "U", "h0"], T=40):
        assert line is not None and len(line.lanes) == 16
        singles = [s for s in line.body if isinstance(s, Load) and s.value not in line.varying]
        assert len(singles) <= 1  # x[t]


def test_what_only_the_gradient_needs_is_done_beside_the_next_step():
    forward, backward = lines(RECURRENT, "loss", ["W", "U", "h0"], T=40)
    assert forward is not None and backward is not None
    counter = next(iter(forward.body[0].args)) if isinstance(forward.body[0], Let) else forward.body[0].index  # type: ignore[union-attr]
    halves = halved(forward, counter)
    assert sum(isinstance(s, Let) and s.op == "div" for s in halves.late) == 2
    assert sum(isinstance(s, Let) and s.op == "div" for s in halves.soon) == 2
    inside = {s.value for s in halves.late if isinstance(s, Let | Load)}
    first = {s.value for s in halves.soon if isinstance(s, Let | Load)}
    assert not any(v in first for s in halves.late for v in used(s))  # only what is carried
    assert not any(v in inside for s in halves.soon for v in operands(s))
    assert not halved(backward, counter).late


def test_where_there_is_much_to_do_nothing_is_waited_for():
    text = """W : [16, 16]
V : [16, 16]
R : [16, 16]
Q : [16, 16]
h0 : [16]
x : [T]
h[0] = h0
h[t] = tanh(W @ h[t-1])*sigmoid(V @ h[t-1]) + tanh(R @ h[t-1] + x[t-1])*sigmoid(Q @ h[t-1]) for t in range(1, T+1)
f = sum(h[T]**2)
"""
    model_line = lines(text, "f", ["W"], T=40)[0]
    assert model_line is not None and model_line.crowded
    assert not lines(RECURRENT, "loss", ["W"], T=40)[0].crowded  # type: ignore[union-attr]


def test_only_vectors_of_512_bits_have_lines():
    (step,) = planned(RECURRENT, "loss", ["W", "U", "h0"], True, T=40).steps

    def text(target: Target) -> str:
        return unit_text([step.kernel], "f64", target, lambda name: function(name, "f64"))

    assert "permvar" in text(WIDE)
    assert "permvar" not in text(Target(vector=256)) and "permvar" not in text(Target(vector=512, fma=False))


def test_statements_that_touch_the_same_memory_keep_their_order():
    text = """W : [8, 8]
h0 : [8]
x : [T]
h[0] = h0
h[1] = h0
h[t] = tanh(W @ h[t-1])*h[t-2]*x[t-2] for t in range(2, T+1)
f = sum(h**2)
"""
    for line in lines(text, "f", ["W", "h0"], T=40):
        if line is None:
            continue
        number = {s: k for k, s in enumerate(line.body)}
        for s in line.body:
            if isinstance(s, Load | Store):
                assert all(number[other] < number[s] for other in line.order[s])


# ------------------------------------------------------------------ results
STEPS = {
    "rnn": "h[t] = tanh(W @ h[t-1] + x[t-1]) for t in range(2, T)\nc[t] = c[t-1] for t in range(2, T)",
    "gated": "h[t] = tanh(W @ h[t-1] + c[t-1]) for t in range(2, T)\n"
    "c[t] = sigmoid(W.T @ c[t-2] + h[t-1])*c[t-1] - x[t-2] for t in range(2, T)",
    "gru": "c[t] = sigmoid(W @ h[t-1] - x[t-1]) for t in range(2, T)\n"
    "h[t] = (1 - c[t])*h[t-1] + c[t]*tanh(W.T @ (c[t]*h[t-1]) + x[t-2]) for t in range(2, T)",
    "roots": "h[t] = sqrt(1 + (W @ h[t-1])**2)/(2 + x[t-1]**2) for t in range(2, T)\n"
    "c[t] = where(h[t-1] > 0.5, c[t-1], -c[t-1]*h[t-2]) for t in range(2, T)",
    "summed": "h[t] = tanh(W @ h[t-1])*(1 + sum(h[t-1]*c[t-1])) for t in range(2, T)\n"
    "c[t] = c[t-1]/(1 + sum(c[t-1]**2)) + x[t-2] for t in range(2, T)",
    "chosen": "h[t] = softmax(W @ h[t-1])*tanh(c[t-1]) for t in range(2, T)\n"
    "c[t] = sigmoid(W @ h[t-1] + x[t-1])*c[t-1] + tanh(W.T @ h[t-1]) for t in range(2, T)",
}


@has_avx512
@pytest.mark.parametrize("n", [1, 3, 8, 12, 16, 32])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", STEPS)
def test_states_of_any_length_and_any_number_of_steps_as_numpy(kind: str, dtype: str, n: int):
    for steps in (1, 2, 3, 17):
        text = f"""W : [{n}, {n}]
h0 : [{n}]
x : [T, {n}]
c[0] = h0
c[1] = 2*h0
h[0] = h0
h[1] = h0
{STEPS[kind]}
f = sum(h**2) + sum(c[T-1]*h[T-1])
"""
        r = np.random.default_rng(n)
        data = {"W": r.normal(0, 1 / np.sqrt(n), (n, n)), "h0": r.normal(size=n), "x": r.normal(size=(steps + 2, n))}
        data = {k: v.astype(dtype) for k, v in data.items()}
        model = gl.loads(text, dtype=dtype)
        one, other = (model.value_and_grad("f", wrt=["W", "h0", "x"], backend=b) for b in ("native", "numpy"))
        (value, slopes), (right, exact) = one(**data), other(**data)
        tol = 1e-12 if dtype == "float64" else 2e-4
        assert value == pytest.approx(right, rel=tol)
        for k in slopes:
            np.testing.assert_allclose(slopes[k], exact[k], rtol=0, atol=tol * max(np.abs(exact[k]).max(), 1e-30))
        again = one(**data)
        assert again[0] == value and all((again[1][k] == slopes[k]).all() for k in slopes)


@has_avx512
@pytest.mark.parametrize("kind", STEPS)
def test_second_derivatives_of_states_as_numpy(kind: str):
    n = 16
    text = f"W : [{n}, {n}]\nx : [T, {n}]\nb : [{n}]\nc[0] = b\nc[1] = 2*b\nh[0] = b\nh[1] = b\n{STEPS[kind]}\nf = sum(h[T-1]**2)\n"
    r = np.random.default_rng(7)
    data = {"W": r.normal(0, 1 / np.sqrt(n), (n, n)), "b": r.normal(size=n), "x": r.normal(size=(9, n))}
    model, vector = gl.loads(text), np.full((n, n), 0.5)
    native, numpy = (model.hvp("f", wrt="W", backend=b)(vector, **data)[1] for b in ("native", "numpy"))
    np.testing.assert_allclose(native, numpy, rtol=0, atol=1e-12 * np.abs(numpy).max())


@has_avx512
def test_nan_and_infinities_of_a_state_are_those_of_numpy():
    text = """W : [8, 8]
h0 : [8]
x : [T, 8]
h[0] = h0
h[t] = tanh(W @ h[t-1] + x[t-1]) for t in range(1, T+1)
f = sum(h[T])
"""
    model = gl.loads(text)
    r = np.random.default_rng(3)
    for bad in (np.nan, np.inf, -np.inf):
        data = {"W": r.normal(size=(8, 8)), "h0": r.normal(size=8), "x": r.normal(size=(6, 8))}
        data["x"][3, 2] = bad
        with np.errstate(all="ignore"):
            native, numpy = (model.function("h", backend=b)(**data) for b in ("native", "numpy"))
        np.testing.assert_allclose(native, numpy, rtol=1e-13)


@has_avx512
def test_a_recurrence_of_no_steps_reads_nothing():
    model = gl.loads(
        "W : [8, 8]\nh0 : [8]\nx : [T]\nh[0] = h0\nh[t] = tanh(W @ h[t-1]*x[t-1]) for t in range(1, T+1)\nf = sum(h[T])"
    )
    f = model.function("f", backend="native")
    assert f(W=np.eye(8), h0=np.arange(8.0), x=np.ones(0)) == 28.0
