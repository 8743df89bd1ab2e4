"""What notebooks show, and the cells of `%load_ext gradlang`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from test_examples import FOLDER

import gradlang as gl
from gradlang.cli.main import main


class Shell:
    """As much of IPython as an extension asks for."""

    def __init__(self, **names: Any) -> None:
        self.user_ns = names
        self.magics: dict[str, Any] = {}

    def register_magic_function(self, function: Any, kind: str, name: str) -> None:
        assert kind == "line_cell"
        self.magics[name] = function


def shell(**names: Any) -> Shell:
    made = Shell(**names)
    gl.load_ipython_extension(made)
    return made


TEXT = "price = (apple*n + orange*m) * tax\n"
VALUES = {"apple": 100, "n": 2, "orange": 150, "m": 3, "tax": 1.1}


def test_a_cell_is_a_model_and_its_gradient() -> None:
    made = shell(**VALUES)
    value, gradient = made.magics["grad"]("shopping --wrt apple,tax", TEXT)
    assert (value, gradient) == (715.0000000000001, {"apple": 2.2, "tax": 650.0})
    assert isinstance(made.user_ns["shopping"], gl.Model)


def test_a_line() -> None:
    assert shell(x=3).magics["grad"]("y = x*x") == (9.0, {"x": 6.0})


def test_arrays_and_several_results() -> None:
    made = shell(x=[1.0, 2.0])
    assert list(made.magics["grad"]("", "x : [N]\ny = 2*x")) == [2.0, 4.0]
    assert made.magics["grad"]("", "x = 2\na = x*x\nb = 3*x") == {"a": 4.0, "b": 6.0}


def test_pictures_and_stories() -> None:
    made = shell(**VALUES)
    drawn = made.magics["grad"]("--draw", TEXT)
    assert ">715<" in drawn._repr_mimebundle_()["image/svg+xml"]
    told = made.magics["grad"]("--explain --lang ko", TEXT)
    assert "곱셈 노드" in str(told) and "<pre>" in told._repr_mimebundle_()["text/html"]


def test_mistakes_point_into_the_cell(capsys: pytest.CaptureFixture[str]) -> None:
    made = shell(x=1.0)
    assert made.magics["grad"]("", "x : []\ny = sin(x) + cso(x)") is None
    out = capsys.readouterr().out
    assert "<cell>:2:14" in out and "did you mean `cos`?" in out
    assert made.magics["grad"]("--nonsense", TEXT) is None
    assert "usage" in capsys.readouterr().out
    assert isinstance(made.magics["grad"]("m", TEXT), gl.Model)
    assert "values are missing for apple, n, orange, m, tax" in capsys.readouterr().out


def test_models_show_their_picture() -> None:
    bundle = gl.load(FOLDER / "02_shopping.grad")._repr_mimebundle_()
    assert bundle["text/plain"].startswith("<gradlang model: price of apple")
    assert ET.fromstring(bundle["image/svg+xml"]).tag.endswith("svg")
    assert set(gl.loads(TEXT)._repr_mimebundle_()) == {"text/plain"}


def test_methods_are_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = FOLDER / "02_shopping.grad"
    model = gl.load(path)
    assert main(["explain", str(path)]) == 0
    assert str(model.explain()) + "\n" == capsys.readouterr().out
    assert main(["graph", str(path)]) == 0
    assert model.picture().svg == capsys.readouterr().out
    assert main(["diff", str(path)]) == 0
    assert model.diff().text() + "\n" == capsys.readouterr().out
    model.picture(blank=True).save(tmp_path / "sheet.svg")
    assert ">2.2<" not in (tmp_path / "sheet.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda m: m.explain(lang="kr"), "`lang` is en or ko, not 'kr'"),
        (lambda m: m.picture(constants="in"), "`constants` is inside or leaves"),
        (lambda m: m.explain(of="prise"), "did you mean `price`?"),
        (lambda m: m.picture(wrt="aple"), "did you mean `apple`?"),
        (lambda m: m.diff(wrt="aple"), "did you mean `apple`?"),
    ],
)
def test_errors(call: Any, wanted: str) -> None:
    with pytest.raises(gl.InputError, match=r".") as error:
        call(gl.load(FOLDER / "02_shopping.grad"))
    assert wanted in str(error.value)


def test_in_ipython() -> None:
    testing = pytest.importorskip("IPython.testing.globalipapp")
    ip = testing.get_ipython() or testing.start_ipython()
    ip.run_line_magic("load_ext", "gradlang")
    ip.user_ns["x"] = 3.0
    assert ip.run_cell_magic("grad", "square", "y = x*x") == (9.0, {"x": 6.0})


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("it's", "No closing quotation: it's"), ("2x", "a variable cannot be called '2x'"), ("for", "cannot be called 'for'"),
     ("my-model", "cannot be called 'my-model'"), ("--draw --explain", "not allowed with")],
)  # fmt: skip
def test_odd_lines_are_told_how(line: str, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = shell(**VALUES)
    assert made.magics["grad"](line, TEXT) is None
    out = capsys.readouterr().out
    assert wanted in out and "usage: %%grad" in out
    assert set(made.user_ns) == set(VALUES)
