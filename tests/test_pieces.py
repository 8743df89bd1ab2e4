"""Arrays that NumPy code puts together: the same bits as padding, adding and joining, for all sizes."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlang as gl
from gradlang.ir.evaluate import evaluate
from gradlang.runtime.call import Compiled
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.transform.passes import deep

ROSENBROCK = "x : [N]\nf = sum(100*(x[i+1] - x[i]**2)**2 + (1 - x[i])**2 for i in range(N-1))\n"


def bits(a: Any) -> Any:
    a = np.asarray(a, float)
    return np.where(np.isnan(a), 0, a.view(np.int64)), a.shape


def agrees(f: Compiled, x: Any) -> None:
    """Asserts that a function gives the bits of the reference interpreter over its own tape."""
    table = f.binder.program.language.table
    plain = deep(lambda t: expand(t, table, Templates(table), lambda op: False))(f.job.tape)
    wanted = evaluate(plain, table, {"x": x}, {"N": x.shape[0]})
    made = f.raw(x)
    flat = made if isinstance(made, tuple) else (made,)
    flat = [v for part in flat for v in (part.values() if isinstance(part, dict) else [part])]
    assert len(flat) == len(wanted)
    for got, w in zip(flat, wanted.values(), strict=True):
        (a, shape), (b, other) = bits(got), bits(w)
        assert shape == other
        np.testing.assert_array_equal(a, b)


def entries(n: int) -> list[Any]:
    """All arrays of zeros of both signs and ones for small n, else some."""
    if n < 4:
        return [np.array(p) for p in product([0.0, -0.0, 1.0, -1.0], repeat=n)]
    r = np.random.default_rng(n)
    return [r.normal(size=n), r.choice([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan], n)]


FORMULAS = [
    "sum((x[i+1] - x[i])**2 for i in range(N-1))",
    "sum((x[i+1] - x[i])**2 for i in range(N-1)) + sum(x[i]**2 for i in range(N-1))",
    "sum((x[i+2] - 2*x[i+1] + x[i])**2 for i in range(N-2))",
    "sum(cos(x[i+1])*x[i] for i in range(N-1)) + sum(x**4)",
    "sum(exp(x[i+1] + x[i]) for i in range(N-1)) - 3*sum(x[i] for i in range(N-2))",
    "sum(x[i+1]*x[i]**3 + 7*x[i+1]**2 for i in range(N-1))",
    "sum(-exp(x[i]) for i in range(1, N)) - sum(exp(x[i]) for i in range(N-1)) - sum(x[i]*x[i] for i in range(1, N-1))",
]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 17])
def test_differences(formula: str, n: int) -> None:
    if n < 2 and ("N-2" in formula or "range(1" in formula):
        return
    model = gl.loads(f"x : [N]\nf = {formula}\n")
    for f in (model.value_and_grad("f", backend="numpy"), model.hessian("f", wrt="x", sparse=True, backend="numpy").compiled):
        for x in entries(n):
            agrees(f, x)


def test_no_entries() -> None:
    model = gl.loads(ROSENBROCK)
    value, slopes = model.value_and_grad("f", backend="numpy")(x=np.ones(0))
    bands, n = model.hessian("f", wrt="x", sparse=True, backend="numpy").compiled(x=np.ones(0))
    assert (value, slopes["x"].shape, bands.shape, n) == (0.0, (0,), (3, 0), 0)


SEQUENCES = [
    "y[0] = 1.0\ny[i] = x[i-1] - x[i] for i in range(1, N)\n",
    "y[0] = x[0]*2\ny[i] = x[i+1] - 2*x[i] + x[i-1] for i in range(1, N-1)\ny[N-1] = -0.0\n",
    "y = stack([x, 2*x, pad(x[1:], (1, 0))])\n",
    "y = stack([pad(x[1:], (0, 1)), pad(x[:-1], (1, 0)), x], axis=1)\n",
    "y = concat([pad(x, 2), x[::-1], pad(x[1:], (1, 0))])\n",
    "y = pad(abs(x[1:]), (1, 0)) + pad(x[:-1], (0, 1))\n",
    "y = pad(x[1:], (1, 0)) + pad(x[:-1], (0, 1))\n",
    "y = pad(x[1:], (1, 0)) - pad(x[:-1], (0, 1)) - pad(x[1:], (0, 1))\n",
    "y = pad(x[1:], (1, 0)) - (pad(x[:-1], (0, 1)) + pad(exp(x[1:]), (0, 1)))\n",
    "a = pad(x[1:], (1, 0))\ny = a + pad(exp(x[1:]), (0, 1)) + a*2\n",
    "y = concat([x, N*x, stack([1.0, 2.0]), stack([N, 1.0])])\n",
]


@pytest.mark.parametrize("text", SEQUENCES)
@pytest.mark.parametrize("n", [2, 3, 4, 17])
def test_sequences(text: str, n: int) -> None:
    f = gl.loads(f"x : [N]\n{text}").function("y", backend="numpy")
    for x in entries(n):
        agrees(f, x)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_sums_of_padded_arrays(data: st.DataObject) -> None:
    values = ["x[{a}:N-{b}]", "exp(x[{a}:N-{b}])", "-abs(x[{a}:N-{b}])", "x[{a}:N-{b}]**2 - 0.5", "3*x[{a}:N-{b}]"]
    text, more = "", data.draw(st.integers(2, 4))
    for k in range(more):
        a, b = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
        left = data.draw(st.integers(0, a + b))
        term = f"pad({data.draw(st.sampled_from(values)).format(a=a, b=b)}, ({left}, {a + b - left}))"
        sign = data.draw(st.sampled_from("+-"))
        text = term if not k else f"{text} {sign} {term}" if data.draw(st.booleans()) else f"{term} {sign} ({text})"
    f = gl.loads(f"x : [N]\ny = {text}\n").function("y", backend="numpy")
    n = data.draw(st.integers(4, 6))
    agrees(f, np.array(data.draw(st.lists(st.sampled_from([0.0, -0.0, 0.5, -1.0, np.inf]), min_size=n, max_size=n))))


def test_bands_are_written_into_the_result() -> None:
    source = gl.loads(ROSENBROCK).hessian("f", wrt="x", sparse=True).source
    assert "place(" not in source and "concatenate" not in source
    assert source.endswith(
        """
@np.errstate(all="ignore")
def f_and_hessian(x):
    N = x.shape[0]
    t1 = x[:N - 1]
    t2 = -400.0 * t1
    bands_of_d_f_d_x = np.zeros((3, N), F)
    bands_of_d_f_d_x[0, 1:] = t2
    bands_of_d_f_d_x[1, 1:] = 200.0
    bands_of_d_f_d_x[1, :N - 1] += 2.0 + (t2 * (-2.0 * t1) - 400.0 * (x[1:] - t1 * t1))
    bands_of_d_f_d_x[2, :N - 1] = t2
    return bands_of_d_f_d_x, int(N)
"""
    )


def test_a_sequence_is_written_row_by_row() -> None:
    text = "u : [N]\nv[0] = 1.0\nv[i] = u[i+1] + u[i-1] for i in range(1, N-1)\nv[N-1] = u[0]\n"
    source = gl.loads(text).function("v", backend="numpy").source
    assert (
        "    v_ = np.empty((N,), F)\n    v_[0] = 1.0\n    v_[1:N - 1] = u[2:] + u[:N - 2]\n    v_[N - 1:] = u[:1]\n" in source
    )


def test_what_may_be_a_negative_zero_is_padded() -> None:
    """A zero that is added makes 0.0 of -0.0, which the lines of a sum do not."""
    model = gl.loads("x : [N]\nf = sum((x[i+1] - x[i])**2 for i in range(N-1))\n")
    f = model.value_and_grad("f", backend="numpy")
    assert "place(-t2" in f.source
    assert not np.signbit(f(x=np.ones(3))[1]["x"]).any()


def test_names_of_users_stay() -> None:
    text = "x : [N]\nleft = pad(exp(x[1:]), (0, 1))\nright = pad(exp(x[:-1]), (1, 0))\nboth = left + right\n"
    source = gl.loads(text).function("both", backend="numpy").source
    assert all(f"    {name} = " in source for name in ("left", "right"))
    assert "both" in source


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "formula",
    [
        "2*x - 0.1",
        "-3*x + sin(x)",
        "(x - (-1.5))/3 + 1/x",
        "max(x, 0.1) + min(-2.5, x)",
        "1e300*x + (x if x < inf else nan)",
        "x*x*0.3 + x**2.5",
        "(x*N + 0.5)*(x > 0.25)",
    ],
)
def test_numbers_are_loaded_as_arrays(formula: str, dtype: str) -> None:
    f = gl.loads(f"x : [N]\ny = {formula}\n", dtype=dtype).function("y", backend="numpy")
    x = np.array([0.0, -0.0, 1.5, -2.25, np.inf, np.nan, 1e-40], dtype)
    artifact = f.artifact
    namespace: dict[str, Any] = {}
    exec(f.source, namespace)
    wanted = namespace["y"](x)
    got = f(x=x)
    assert got.dtype == wanted.dtype == dtype
    assert bits(got)[0].tolist() == bits(wanted)[0].tolist()
    assert artifact.running is not None and artifact.numbers
    assert len(artifact.running.splitlines()) == len(f.source.splitlines())
    assert all(name in artifact.running and name not in f.source for name, _ in artifact.numbers)
    assert f.source.isascii()


def test_a_number_beside_a_number_stays_one() -> None:
    f = gl.loads("x : [N]\na = 2\ny = (sum(x)*0.5 + a*3)*x\n").function("y", backend="numpy")
    assert f.artifact.numbers == () and "* 0.5" in f.source


@pytest.mark.parametrize(("kind", "dtype"), [("", "float32"), ("", "float64"), ("int", "int64"), ("bool", "bool")])
def test_a_padded_array_keeps_its_kind(kind: str, dtype: str) -> None:
    model = gl.loads(f"x : {kind}[N]\ny = pad(x, 1)\n", dtype=dtype if dtype == "float32" else "float64")
    made = model.function("y", backend="numpy")(x=np.ones(2, dtype))
    assert made.dtype == dtype and made.tolist() == [0, 1, 1, 0]
