"""Calls of large scalar programs: the short ways give what the long one gives, and hand over whatever they do not do."""

from __future__ import annotations

import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from large import chain, needs_x86

import gradlang as gl
from gradlang.diagnostics import InputError
from gradlang.runtime import native
from gradlang.runtime.large import Large

TEXT = "a = 0.25\ninput b, c\n" + chain(1200).split("\n", 1)[1].replace("x0", "(b*c)")
GIVEN = {"b": 0.5, "c": 0.75}
BACKENDS = ["auto", *(["native"] if native.available() is None else [])]


def made(backend: str, text: str = TEXT) -> Any:
    return gl.loads(text).value_and_grad("y", backend=backend)


def slowly(f: Any, values: dict[str, Any]) -> Any:
    """The call with every check."""
    order = [p.name for p in f.job.params]
    args = {"a": 0.25, **values}
    return f.raw(*(float(args[n]) for n in order))


@needs_x86
@pytest.mark.parametrize("backend", BACKENDS)
def test_short_calls_give_the_bits_of_long_ones(backend: str) -> None:
    f = made(backend)
    assert f.backend == {"auto": "machine", "native": "native"}[backend]
    assert isinstance(f.raw, Large)
    for values in (GIVEN, {**GIVEN, "a": -1.5}, {"c": 2.0, "b": -0.0}, {"b": math.nan, "c": 1.0}):
        y, slopes = f(**values)
        assert repr((y, slopes)) == repr(slowly(f, values))
        assert list(slopes) == ["a", "b", "c"]


@needs_x86
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_float_is_taken_as_before(backend: str) -> None:
    f = made(backend)
    wanted = repr(f(b=2.0, c=1.0))
    for one, two in ((2, 1), (2, True), (np.float64(2), np.float32(1)), (np.array(2.0), 1.0)):
        assert repr(f(b=one, c=two)) == wanted
    assert repr(f({"b": 2.0}, c=1.0)) == wanted
    assert repr(f({"b": 2.0, "c": 1.0})) == wanted
    assert repr(f(b=2.0, c=1.0, a=0.25)) == wanted


@needs_x86
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("values", "code"),
    [({"b": 1.0}, "G501"), ({**GIVEN, "d": 1.0}, "G502"), ({**GIVEN, "x3": 1.0}, "G502"), ({**GIVEN, "b": [1.0]}, "G503")],
)
def test_errors_are_those_of_other_calls(backend: str, values: dict[str, Any], code: str) -> None:
    short = "a = 0.25\ninput b, c\nx3 = b*c\ny = x3 + a\n"
    with pytest.raises(InputError) as small:
        gl.loads(short).value_and_grad("y")(**values)
    with pytest.raises(InputError) as large:
        made(backend)(**values)
    assert small.value.diagnostics[0].code == code
    assert [d.message for d in large.value.diagnostics] == [d.message for d in small.value.diagnostics]


@needs_x86
@pytest.mark.parametrize("backend", BACKENDS)
def test_arguments_beyond_a_limit_are_handed_over(backend: str) -> None:
    """The sine of a large number is that of the C library."""
    text = chain(1200).replace("input a, x0", "input a, x0\nz = sin(a*x0)").replace("y = x1200", "y = z")
    text += (
        "".join(f"t{k} = cos(a*{k}) + exp(-x0)\n" for k in range(1, 1200))
        + "w = y + t1*t2"
        + "".join(f" + t{k}" for k in range(3, 1200))
    )
    f = gl.loads(text).value_and_grad("w", backend=backend)
    assert isinstance(f.raw, Large)
    w, _ = f(a=1e9, x0=7.0)
    t = [math.cos(1e9 * k) + math.exp(-7.0) for k in range(1, 1200)]
    assert w == pytest.approx(math.sin(7e9) + t[0] * t[1] + sum(t[2:]), rel=1e-12)


@needs_x86
@pytest.mark.parametrize("backend", BACKENDS)
def test_pickles_copies_and_sources(backend: str) -> None:
    f = made(backend)
    wanted = repr(f(**GIVEN))
    again = pickle.loads(pickle.dumps(f))
    assert repr(again(**GIVEN)) == wanted
    assert again.backend == f.backend
    assert repr(copy.deepcopy(f)(**GIVEN)) == wanted
    assert "def y_and_gradients(" in f.source


@needs_x86
@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_do_not_meet(backend: str) -> None:
    f = made(backend)
    given = [{"b": 0.1 + k / 16, "c": 0.7} for k in range(24)]
    wanted = [repr(f(**g)) for g in given]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            assert list(pool.map(lambda g: repr(f(**g)), given)) == wanted


@needs_x86
@pytest.mark.parametrize("name", ["lambda_", "self", "free", "_0", "사과", "GIVEN"])
def test_inputs_may_have_any_name(name: str) -> None:
    text = f"input {name}, b\n" + chain(1200).split("\n", 1)[1].replace("x0", "b").replace(" a", f" {name}")
    f = gl.loads(text).value_and_grad("y")
    other = gl.loads(chain(1200)).value_and_grad("y")
    y, slopes = f(**{name: 0.5, "b": 0.25})
    wanted, known = other(a=0.5, x0=0.25)
    assert (y, slopes) == (wanted, {name: known["a"], "b": known["x0"]})


@needs_x86
def test_a_value_alone_and_truth_values() -> None:
    text = chain(2500) + "less = x0 < a\n"
    model = gl.loads(text)
    assert model.function("y")(a=0.5, x0=0.25) == model.value_and_grad("y")(a=0.5, x0=0.25)[0]
    found = model.function(["y", "less"])(a=0.5, x0=0.25)
    assert found == {"y": model.function("y")(a=0.5, x0=0.25), "less": True}
    assert found["less"] is True
