"""Fits of odd data, by odd arguments: a diagnostic for whatever is wrong, and no result that is none."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.cli.main import main
from gradlang.fit.errors import Diverged
from gradlang.fit.state import State, npz, read_state

RANGED = "input x : [N] in [0, 1]\nparam w in [0, 2] = 1\nloss = mean((w*x - 2)**2)\nminimize loss"
COUNTS = "x : [N]\nk : int[N]\nparam w = 1\nloss = mean((w*x - k)**2)\nminimize loss"
X = {"x": [0.5, 1.0, 0.25, 0.75]}
Fits = Callable[[gl.Model], Any]


def said(fit: Fits, text: str = RANGED) -> str:
    with pytest.raises(gl.InputError) as caught:
        fit(gl.loads(text))
    return str(caught.value)


WRONG: dict[str, tuple[Fits, str]] = {
    "text for a range": (lambda m: m.fit({"x": ["a"]}), "error[G504]: `x` must be numbers, but text is given"),
    "rows that differ": (lambda m: m.fit({"x": [[1], [1, 2]]}), "error[G504]: the value of `x` is no array of numbers"),
    "rows that differ, in batches": (lambda m: m.fit({"x": [[1], [1, 2]]}, batch=1), "error[G504]"),
    "a dict": (lambda m: m.fit({"x": {"a": 1}}), "error[G504]: `x` must be numbers, but dict is given"),
    "nothing": (lambda m: m.fit({"x": None}), "error[G504]: `x` must be numbers, but NoneType is given"),
    "a first value that is text": (lambda m: m.fit(X, params={"w": "a"}), "error[G504]: `w` must be numbers, but text"),
    "a first value of nothing": (lambda m: m.fit(X, params={"v": 1}), "error[G541]: no parameter is named `v`"),
    "data in a list": (lambda m: m.fit([1, 2]), "error[G507]: data are given by name"),
    "no data": (lambda m: m.fit(None), "error[G507]: data are given by name"),
    "first values in a list": (lambda m: m.fit(X, params=[1]), "error[G507]: parameters are given by name"),
    "validation data in a list": (lambda m: m.fit(X, valid=[1]), "error[G507]: validation data are given by name"),
    "data for scipy in a list": (lambda m: m.scipy(data=[1]), "error[G507]: data are given by name"),
    "a number as a state": (lambda m: m.fit(X, resume=3), "error[G546]: 3 is no state of a fit"),
    "a number as the objective": (lambda m: m.fit(X, of=3), "error[G540]: no definition is named `3`"),
    "a list as the objective": (lambda m: m.fit(X, of=["loss"]), "error[G540]: no definition is named `['loss']`"),
    "a number as a parameter": (lambda m: m.fit(X, wrt=3), "error[G541]: `3` cannot be fitted: it is no name"),
    "numbers as parameters": (lambda m: m.fit(X, wrt=[3]), "error[G541]: `3` cannot be fitted: there is no such"),
    "no parameters": (lambda m: m.fit(X, wrt=[]), "error[G541]: nothing is named that is to be fitted"),
    "parameters that all stay": (lambda m: m.fit(X | {"w": 1}), "error[G541]: nothing is left to fit"),
    "a number as a size": (lambda m: m.fit(X, batch={3: 1}), "error[G542]: batches cannot be cut along `3`"),
    "a fraction of epochs": (lambda m: m.fit(X, epochs=1.5), "error[G549]"),
    "a fraction of steps for scipy": (lambda m: m.fit(X, steps=1.5, optimizer="l-bfgs-b"), "error[G549]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    fit, message = WRONG[name]
    assert said(fit).startswith(message)


def test_numbers_of_numpy_are_numbers() -> None:
    model = gl.loads(RANGED)
    wanted = model.fit(X, batch=2, epochs=2, seed=3, hold_out=0.5, lr=0.25).params
    n, x = np.int64, np.float32
    assert model.fit(X, batch=n(2), epochs=n(2), seed=n(3), hold_out=x(0.5), lr=x(0.25)).params == wanted
    assert gl.loads(RANGED, seed=n(3)).seed == 3
    assert "a seed is a whole number" in said(lambda m: m.fit(X, seed=np.array([1, 2])))


@pytest.mark.parametrize("how", [{"steps": 2}, {"batch": 2, "epochs": 1}, {"optimizer": "bfgs", "steps": 2}])
def test_kinds_of_whole_numbers(how: dict[str, Any]) -> None:
    model = gl.loads(COUNTS)
    wanted = model.fit(X | {"k": np.array([1, 2, 3, 4])}, **how).params
    for kind in (np.float16, np.uint8, object, np.float64):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert model.fit(X | {"k": np.array([1, 2, 3, 4], kind)}, **how).params == wanted
    assert "`k` must be whole numbers" in said(lambda m: m.fit(X | {"k": [10**30] * 4}, **how), COUNTS)
    assert "too large for a float" in said(lambda m: m.fit(X | {"k": [10**400] * 4}, **how), COUNTS)


def test_whole_numbers_beyond_machine_integers_are_reals() -> None:
    model = gl.loads("x : [2]\ny = sum(x)")
    assert model.function()(x=[10**30, 1]) == 1e30


def test_what_is_given_stays_whatever_a_fit_starts_from() -> None:
    model = gl.loads("x : [N]\nparam a = 1\nparam b = 0\nloss = mean((a*x + b - 1)**2)\nminimize loss")
    start = {"a": 5.0, "b": 7.0}
    assert (
        model.fit(X | {"b": 2.0}, params=start, steps=2).params == model.fit(X | {"b": 2.0}, params={"a": 5.0}, steps=2).params
    )


# ------------------------------------------------------------------ columns of a learning curve
@pytest.mark.parametrize("name", ["epoch", "step"])
@pytest.mark.parametrize("how", [{}, {"optimizer": "l-bfgs-b"}])
def test_values_are_not_called_like_columns(name: str, how: dict[str, Any]) -> None:
    text = f"error[G540]: a learning curve has a column `{name}` already"
    assert text in said(lambda m: m.fit(steps=2, **how), f"param w = 1\n{name} = w**2\nminimize {name}")
    metric = f"param w = 1\nloss = w**2\n{name} = w/7\nminimize loss\noutput loss, {name}"
    assert text in said(lambda m: m.fit(steps=2, **how), metric)
    hidden = f"param w = 1\n{name} = w/7\nloss = {name}**2\nminimize loss\noutput loss"
    assert set(gl.loads(hidden).fit(steps=2, **how).history[0]) == {"epoch", "step", "loss"}


def test_values_are_not_called_like_those_of_validation_data() -> None:
    text = "param w = 1\nloss = w**2\nvalid_loss = w/7\nminimize loss\noutput loss, valid_loss"
    assert "a learning curve has a column `valid_loss` already" in said(lambda m: m.fit(steps=2), text)
    other = text.replace("valid_loss", "valid_rows")
    assert set(gl.loads(other).fit(steps=2).history[0]) == {"epoch", "step", "loss", "valid_rows"}


# ------------------------------------------------------------------ methods of scipy
FLAT = "param w = 1\ny = 3\nminimize y"
LOG = "param w = 1\ny = log(w)\nminimize y"
METHODS = ["l-bfgs-b", "bfgs", "cg", "newton-cg", "tnc", "slsqp", "trust-constr", "trust-ncg", "nelder-mead", "powell"]


@pytest.mark.filterwarnings("ignore:`w` does not reach")
@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_makes_no_step_has_a_value(method: str) -> None:
    made = gl.loads(FLAT).fit(optimizer=method)
    assert made.value == 3.0 and made.params == {"w": 1.0}
    assert [r["step"] for r in made.history] in ([0], list(range(1, len(made.history) + 1)))
    assert made.svg().startswith("<svg")


@pytest.mark.parametrize("method", METHODS)
def test_a_value_that_is_not_finite_is_no_result(method: str) -> None:
    """The logarithm has no minimum: there is a finite value at the end, or an error with the last one."""
    model = gl.loads(LOG)
    try:
        made = model.fit(optimizer=method, steps=30)
    except Diverged as error:
        assert "error[G545]" in str(error)
        made = error.result
        assert made.stopped == "diverged"
    except gl.InputError as error:
        assert "gave up" in str(error)
        return
    assert made.stopped == "diverged" or math.isfinite(made.value)
    assert math.isfinite(model.function()(made.params))


def test_a_method_without_a_bracket_gives_up() -> None:
    text = "param w = 1\ny = w*1\nminimize y"
    assert "error[G547]: the optimiser powell gave up" in said(lambda m: m.fit(optimizer="powell", steps=3), text)


@pytest.mark.parametrize("method", METHODS)
def test_parameters_without_entries(method: str) -> None:
    text = "x : [N]\nparam w : [N] = zeros()\ny = sum((w - x)**2)\nminimize y"
    assert "error[G543]: there are no rows" in said(lambda m: m.fit({"x": np.zeros(0)}, optimizer=method), text)
    assert gl.loads(text).fit({"x": np.zeros(0)}, steps=2).value == 0


def test_the_last_finite_parameters_of_a_method_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.grad").write_text(LOG, encoding="utf-8")
    assert main(["fit", "log.grad", "--optimizer", "trust-constr", "--steps", "30", "-o", "p.npz", "--quiet"]) == 1
    w = float(np.load("p.npz")["w"])
    assert 0 < w <= 1


# ------------------------------------------------------------------ hints
def test_data_that_are_not_finite_need_no_smaller_steps() -> None:
    assert "learning rate" not in said(lambda m: m.fit({"x": [math.nan]}), RANGED.replace(" in [0, 1]", ""))


# ------------------------------------------------------------------ states
def state() -> State:
    made = gl.loads(RANGED).fit(X, batch=2, epochs=2).state
    assert made is not None
    return made


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no options": lambda m: m["run"].update(options=None),
    "options in a list": lambda m: m["run"].update(options=[1]),
    "options of text": lambda m: m["run"].update(options={"lr": "x"}),
    "an optimiser that is a list": lambda m: m["run"].update(optimizer=[1]),
    "a seed that is text": lambda m: m["run"].update(seed="1"),
    "a batch that is text": lambda m: m["run"].update(batch="2"),
    "a share that is text": lambda m: m["run"].update(hold_out="a"),
    "names in a list": lambda m: m["run"].update(names=[1]),
    "rows without columns": lambda m: m.update(history=[{}, {}]),
    "a run that is a list": lambda m: m.update(run=[1]),
    "sums in a list": lambda m: m.update(sums=[1]),
    "an optimiser of others": lambda m: m["run"].update(optimizer="lbfgs"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_states_that_were_changed(tmp_path: Path, name: str) -> None:
    made = state()
    with np.load(_file(tmp_path, made.data())) as found:
        arrays = dict(found)
    meta = json.loads(arrays["fit"].tobytes())
    CHANGES[name](meta)
    arrays["fit"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with pytest.raises(gl.InputError, match=r"G54[46]"):
        gl.loads(RANGED).fit(X, resume=read_state(_file(tmp_path, npz(arrays))), epochs=3)


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "s.npz"
    path.write_bytes(data)
    return path
