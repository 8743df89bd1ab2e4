"""Explanations, pictures and formulas of odd programs and by odd arguments."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.cli.main import main
from gradlang.record import changed
from gradlang.view.derivative import derivatives, latex

NUMBER, ARRAY = "x = 1\ny = x*x", "x : [2] = [1, 2]\ny = x*x"
Looks = Callable[[gl.Model], Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {"number": NUMBER, "array": ARRAY, "whole": "k : int[N]\ny = sum(k)"}.items():
        (tmp_path / f"{name}.grad").write_text(text + "\n", encoding="utf-8")
    return tmp_path


WRONG: dict[str, tuple[str, Looks, str]] = {
    "text that flows in": (NUMBER, lambda m: m.explain(upstream="a"), "error[G504]: the upstream derivative of `y` must be"),
    "nothing that flows in": (NUMBER, lambda m: m.picture(upstream=None), "error[G504]: the upstream derivative of `y`"),
    "too much that flows in": (
        NUMBER, lambda m: m.explain(upstream=[1, 2]), "error[G503]: the upstream derivative of `y` must be a scalar",
    ),
    "another shape that flows in": (
        ARRAY, lambda m: m.explain(upstream=[1, 2, 3]), "error[G503]: the upstream derivative of `y` must be [2]",
    ),
    "a shape that could be stretched": (ARRAY, lambda m: m.picture(upstream=[1]), "error[G503]"),
    "inputs in a list": (NUMBER, lambda m: m.explain([1]), "error[G507]"),
    "inputs that are none": (NUMBER, lambda m: m.diff(given=3), "error[G507]"),
    "inputs of a check in a list": (NUMBER, lambda m: m.check([1]), "error[G507]"),
    "inputs of a product in a list": (NUMBER, lambda m: m.vjp("y")(1.0, [1]), "error[G507]"),
    "inputs of a layer in a list": (NUMBER, lambda m: m.layer("y").forward([1]), "error[G507]"),
    "no digits": (NUMBER, lambda m: m.explain(digits=0), "error[G508]: `digits` is a whole number from 1 on, not 0"),
    "digits that are text": (NUMBER, lambda m: m.picture(digits="a"), "error[G508]: `digits` is a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    text, look, message = WRONG[name]
    with pytest.raises(gl.InputError) as caught:
        look(gl.loads(text))
    assert str(caught.value).startswith(message)


def test_a_number_flows_into_every_entry_of_an_array() -> None:
    model = gl.loads(ARRAY)
    assert str(model.explain(upstream=3)) == str(model.explain(upstream=[3, 3.0]))


COMMANDS = {
    "explain number.grad --upstream y=[1,2]": "error[G503]: the upstream derivative of `y` must be a scalar",
    "graph array.grad --upstream y=[1,2,3]": "error[G503]: the upstream derivative of `y` must be [2]",
    "graph number.grad --blank --json": '"code": "G526"',
    "diff number.grad --latex --json": '"code": "G511"',
    "diff number.grad --latex --numbers": "error[G511]",
    "diff number.grad =2": "error[G514]: `=2` is not an input",
    "diff number.grad --data nothing.npz": "error[G520]",
    "diff number.grad --numbers x=[1]": "error[G503]",
    "diff whole.grad": "error[G510]: there is no derivative",
    "diff whole.grad --latex": "error[G510]: there is no derivative",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_commands(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 1
    out, err = capsys.readouterr()
    assert COMMANDS[command] in err and not out


def test_names_are_asked_for_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "number.grad", "--of", "y, y", "--wrt", "x,x"]) == 0
    assert capsys.readouterr().out == "∂y/∂x = x + x\n"
    assert main(["graph", "number.grad", "--of", "y,y"]) == 0


def test_json_has_no_names_of_types(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "number.grad", "--json", "x=nan"]) == 0
    said = capsys.readouterr().out
    assert "np." not in said and json.loads(said)["value"] == "nan"


def test_what_flows_in_is_not_called_like_an_input(folder: Path) -> None:
    model = gl.loads("x : [2] = [1, 2]\ng : [2] = [3, 4]\nL = 2\ny = x*g*L")
    found = derivatives(model, "y", ["x", "g", "L"], {})
    lines = found.text().split("\n")
    assert lines[-2] == "  g_ = ∂L_/∂y = [1.0, 1.0]"
    # the formulas, run as they are printed, are the derivatives
    space: dict[str, Any] = {"x": np.array([1.0, 2]), "g": np.array([3.0, 4]), "L": 2.0, "g_": np.ones(2), "sum": np.sum}
    for part in [*reversed(found.shared), *found.slopes]:
        if part.name not in space:
            space[part.name] = eval(part.formula, dict(space))
    wanted = model.vjp("y", wrt=["x", "g", "L"])(np.ones(2), {})[1]
    for name, value in wanted.items():
        assert np.array_equal(space[f"∂L_/∂{name}"], value)
    assert latex(model.program, "y", ["x"]).count(r"\partial \mathit{L\_}") == 2


def test_letters_of_other_scripts_in_latex() -> None:
    model = gl.loads("α = 2\nβ_max = 3\n가 = 4\nΩ = 5\nf = α*β_max*가*Ω")
    made = latex(model.program, "f", ["α"])
    assert r"\frac{\partial f}{\partial \alpha}" in made and r"\beta_{\mathit{max}}" in made and r"\Omega" in made
    assert r"\text{가}" in made and "α" not in made


@pytest.mark.parametrize("shape", [[], [3], [2, 1], [4, 2, 3], [4, 1, 3], [1, 3], [4, 1, 1]])
def test_sums_over_axes_are_written_out(shape: list[int]) -> None:
    """The formula, run as it is printed, is the derivative, whatever shape was broadcast."""
    text = f"x : [4, 2, 3]\nb{f' : {shape}' if shape else ' = 1'}\ny = x*b"
    x, b, g = np.arange(24.0).reshape(4, 2, 3), np.ones(shape), np.cos(np.arange(24.0)).reshape(4, 2, 3)
    found = derivatives(gl.loads(text), "y", ["b"]).slopes[0].formula
    made = gl.loads(f"x : [4, 2, 3]\ng : [4, 2, 3]\nd = {found}").function("d")({"x": x, "g": g})
    wanted = gl.loads(text).vjp("y", wrt=["b"])(g, {"x": x, "b": b})[1]["b"]
    assert np.shape(made) == tuple(shape) and np.allclose(made, wanted, rtol=1e-15)


def test_characters_that_xml_has_no_place_for() -> None:
    label = "a\x1b[31m\x00\x07\ufffe\ud800\tb <&> \U0001f34e"
    model = gl.loads('input x = 1 "label"\ny = x*2')
    leaf = model.program.leaves["x"]
    model.program.leaves["x"] = changed(leaf, label=label)  # a text may not have such a label
    drawn = model.picture()
    titles = [t.text for t in ET.fromstring(drawn.svg.encode()).iter("{http://www.w3.org/2000/svg}title")]
    assert any(t is not None and "a\ufffd[31m\ufffd\ufffd\ufffd\ufffd\tb <&> \U0001f34e" in t for t in titles)
