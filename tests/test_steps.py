"""The steps of recurrences as machine code: rows as whole vectors, functions for vectors, rows that stay in registers."""

from __future__ import annotations

import numpy as np
import pytest
from test_plan import RECURRENT, kernels, planned, walk
from test_unrolled import compiled

import gradlang as gl
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_ops import Target
from gradlang.backend.llvm_steps import straight
from gradlang.loops.functions import NAMES, function
from gradlang.loops.ir import Buffer, Code, For, Kernel, Load

RNG = np.random.default_rng(9)
POINTS = np.array([0.0, -0.0, 1e-300, -0.3, 0.7, -1.5, 2.0, 20.0, -40.0, 710.0, np.inf, -np.inf, np.nan, 0.1, 5.0, 1e-8])
ONE = [n for n in NAMES if len(function(n, "f64").params) == 1]


def stepping(name: str, entries: int, steps: int = 2) -> Kernel:
    """y[t, i] = f(x[t, i]) row by row."""
    code = Code()
    x, y = Buffer("x", "f"), Buffer("y", "f", writable=True)
    with code.loop(code.whole(0), code.whole(steps), apart=False) as t:
        row = code.op("imul", t, code.whole(entries))
        with code.loop(code.whole(0), code.whole(entries)) as i:
            at = code.op("iadd", row, i)
            code.store(y, at, code.call(name, code.load(x, at)))
    return Kernel("steps", (x, y), (), code.body)


@compiled
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["tanh", "exp", "expm1", "log", "sin", "sigmoid", "erf", "atan", "log1p", "softplus"])
def test_functions_of_rows_are_those_of_numbers(name, dtype):
    """They may be of another form, with tables; each is within 2 ulp (erf 4) of the number that is meant."""
    text = f"""x : [T, 16]
z : [16]
g[0] = z
h[0] = z
h[t] = {name}(x[t-1] - g[t-1]) for t in range(1, T+1)
g[t] = g[t-1]*0.5 for t in range(1, T+1)
y = {name}(x)
"""
    model = gl.loads(text, dtype=dtype)
    data = {"x": np.concatenate([POINTS, RNG.normal(size=16)]).reshape(2, 16).astype(dtype), "z": np.zeros(16, dtype)}
    with np.errstate(all="ignore"):
        rows, plain = (model.function(k, backend="native")(**data) for k in ("h", "y"))
    finite = np.isfinite(plain)
    np.testing.assert_array_equal(np.where(finite, 0, rows[1:]), np.where(finite, 0, plain))
    np.testing.assert_array_max_ulp(rows[1:][finite], plain[finite], 8 if name == "erf" else 4)
    np.testing.assert_array_equal(np.signbit(rows[1:]), np.signbit(plain))


def test_a_row_is_one_vector_and_a_function_is_written_once_for_it():
    text = unit_text([stepping("tanh", 16)], "f64", Target(vector=512), lambda name: function(name, "f64"))
    assert text.count("define internal <16 x double> @math.tanh.16(<16 x double>") == 1
    assert "call double @math.tanh(" not in text
    assert "<16 x double>" not in unit_text(
        [stepping("tanh", 15)], "f64", Target(vector=512), lambda name: function(name, "f64")
    )
    assert "fmul <16 x double>" in unit_text(
        [stepping("tanh", 16)], "f64", Target(fma=False, vector=256), lambda name: function(name, "f64")
    )


def test_most_functions_can_be_written_for_vectors():
    assert {"tanh", "tanh_slope", "exp", "exp_less", "log", "sigmoid", "sin"} <= {
        n for n in ONE if straight(function(n, "f64"))
    }


@pytest.mark.parametrize("library", [True, False])
def test_the_row_that_the_step_before_has_left_is_not_read_from_its_sequence(library):
    (step,) = planned(RECURRENT, "loss", ["W", "U", "h0"], library, T=40).steps
    long = {b for b, s in zip(step.kernel.buffers, step.sources, strict=False) if s.kind == "temp" and s.shape[0] != 16}
    recurrences = [s for s in step.kernel.body if isinstance(s, For) and not s.apart]
    assert len(recurrences) == 2 and long
    for loop in recurrences:
        matrices = [s for s in walk(loop.body) if isinstance(s, For) and any(isinstance(i, For) for i in s.body)]
        read = {s.buffer for m in matrices for s in walk(m.body) if isinstance(s, Load)}
        assert bool(read & long) != library or loop is recurrences[1]
    assert len(kernels(planned(RECURRENT, "loss", ["W"], T=40))) == 1


@compiled
@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 12, 16, 17, 24, 32])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_states_of_any_length_as_numpy(n, dtype):
    """Two sequences that read each other, one of them two steps back, and a loss that reads every row."""
    text = f"""W : [{n}, {n}]
h0 : [{n}]
x : [T, {n}]
c[0] = h0
c[1] = 2*h0
h[0] = h0
h[1] = h0
h[t] = tanh(W @ h[t-1] + c[t-1]) for t in range(2, T+1)
c[t] = sigmoid(W.T @ c[t-2] + h[t-1])*c[t-1] - x[t-2] for t in range(2, T+1)
f = sum(h**2) + sum(c[T]*h[T])
"""
    r = np.random.default_rng(n)
    data = {"W": r.normal(0, 1 / np.sqrt(n), (n, n)), "h0": r.normal(size=n), "x": r.normal(size=(30, n))}
    data = {k: v.astype(dtype) for k, v in data.items()}
    model = gl.loads(text, dtype=dtype)
    one, other = (model.value_and_grad("f", wrt=["W", "h0", "x"], backend=b) for b in ("native", "numpy"))
    (value, slopes), (right, exact) = one(**data), other(**data)
    tol = 1e-12 if dtype == "float64" else 2e-4
    assert value == pytest.approx(right, rel=tol)
    for k in slopes:
        np.testing.assert_allclose(slopes[k], exact[k], rtol=0, atol=tol * np.abs(exact[k]).max())
    again = one(**data)
    assert again[0] == value and all((again[1][k] == slopes[k]).all() for k in slopes)
