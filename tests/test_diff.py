"""`gradlang diff`: derivatives as formulas of the language, in LaTeX and in MathML, and with their numbers."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from conftest import Golden
from test_examples import FOLDER, PATHS, arguments, inputs
from test_explain import close, opened, scalars

import gradlang as gl
from gradlang.cli.main import main
from gradlang.types import Shape, size
from gradlang.view.derivative import derivatives, goals
from gradlang.view.formula import summed_axes
from gradlang.view.maths import Maths
from gradlang.view.notation import Latex, MathML, parts

SHOWN = ["02_shopping", "03_chain_rule", "06_sigmoid", "07_affine", "10_two_layer_net", "14_linear_regression", "31_kepler"]


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("words", [[], ["--numbers", "--digits", "6"], ["--latex"]], ids=["text", "numbers", "latex"])
def test_output(
    name: str, words: list[str], golden: Golden, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(FOLDER)
    path = FOLDER / f"{name}.grad"
    assert main(["diff", path.name, *inputs(arguments(path)), *words]) == 0
    golden(f"diff/{name}{''.join(words[:1])}.out", capsys.readouterr().out)


def test_the_book(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(FOLDER / "02_shopping.grad"), "--wrt", "apple", "--numbers"]) == 0
    assert capsys.readouterr().out.startswith("∂price/∂apple = tax * n = 1.1 * 2 = 2.2\n")


@pytest.mark.parametrize("path", PATHS, ids=[p.stem for p in PATHS])
def test_values_are_the_gradient(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model)[:3]:
        wrt = model.program.differentiable()
        made = derivatives(model, of, wrt, values)
        exact = model.value_and_grad(of, backend="numpy")(values)[1]
        for e in made.slopes:
            assert close(e.value, exact[e.by]), (of, e.by)


@pytest.mark.parametrize("path", PATHS, ids=[p.stem for p in PATHS])
def test_latex_and_mathml_are_well_formed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    model, _ = opened(path)
    for of in scalars(model)[:3]:
        made = goals(model.program, of, model.program.differentiable())
        tape, outputs = made.tape, made.outputs
        for note in (Latex(), MathML()):
            params = {i.attrs[0]: note.name(i.attrs[0]) for i in tape.instrs if i.op == "input"}
            printer = Maths(
                tape, model.program.language.table, params, note, {d: note.slope(of, x) for d, x in outputs.items()}
            )
            for piece, right in [*printer.steps.values(), *printer.text]:
                for text in (str(piece), str(right)):
                    if isinstance(note, MathML) and text.startswith("<"):
                        ET.fromstring(f"<math>{text}</math>")
                    elif isinstance(note, Latex):
                        assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
                        assert text.count(r"\left") == text.count(r"\right")


def formulas(text: str, wrt: str) -> list[str]:
    model = gl.loads(text)
    return [e.formula for e in derivatives(model, model.program.outputs[-1], [wrt]).slopes]


def test_formulas() -> None:
    assert formulas("x = 2\ny = 3*x**2 + sin(x)", "x") == ["cos(x) + 3 * (2 * x)"]
    assert formulas("A : [3, 3]\nx : [3]\ny = x @ A @ x", "A")[0].count("x") >= 2
    assert formulas("a = 1\nb = 2\ny = a/b", "b") == ["-(y / b)"]


def test_a_formula_can_be_run() -> None:
    """What is printed is the language: it gives the gradient."""
    model = gl.loads("x = 0.7\nk = 2\ny = exp(-k*x)*sin(x)/(1 + x**2)")
    made = derivatives(model, "y", ["x", "k"])
    lines = [f"{e.name} = {e.formula}" for e in made.shared]
    lines += [f"slope_{e.by} = {e.formula}" for e in made.slopes]
    again = gl.loads("\n".join(["x = 0.7", "k = 2", *lines, "output slope_x, slope_k"]))()
    exact = model.value_and_grad("y")()[1]
    np.testing.assert_allclose([again["slope_x"], again["slope_k"]], [exact["x"], exact["k"]], rtol=1e-15)


def test_arrays_in_matrix_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.grad"
    file.write_text("x : [N, 3]\nW : [3, 2]\nb : [2]\ny = x @ W + b\n")
    assert main(["diff", str(file)]) == 0
    assert capsys.readouterr().out == "∂L/∂x = g @ W.T\n∂L/∂W = x.T @ g\n∂L/∂b = sum(g, axis=0)\n\nwhere\n  g = ∂L/∂y\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(FOLDER / "02_shopping.grad"), "--numbers", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert {d["by"]: d["value"] for d in made["derivatives"]}["tax"] == 650
    assert made["derivatives"][0]["formula"] == "tax * n"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("x_1", ("x", "1")), ("x1", ("x", "1")), ("sigma", ("sigma", "")), ("log_tau", ("log", "tau")), ("_a", ("_a", ""))],
)
def test_indices_of_names(name: str, wanted: tuple[str, str]) -> None:
    assert parts(name) == wanted


def test_names_of_a_file_are_no_code() -> None:
    note, web = Latex(), MathML()
    assert note.name("사과") == r"\text{사과}"
    assert "<" not in web.name("a<b").replace("<mi>", "").replace("</mi>", "")


@pytest.mark.parametrize(
    ("given", "left", "wanted"),
    [
        ((4, 3), (), ((), False)),
        ((4, 3), (3,), (0, False)),
        ((2, 4, 3), (3,), ((0, 1), False)),
        ((4, 3), (4, 1), (1, True)),
        ((size("N"), 3), (1, 3), (0, True)),
        ((2, 4, 3), (4, 1), None),  # no single sum
    ],
)
def test_a_sum_says_along_which_axes(given: Shape, left: Shape, wanted: tuple[object, bool] | None) -> None:
    assert summed_axes(given, left) == wanted


def test_common_parts_have_numbers_too() -> None:
    model = gl.loads("x = 3\ny = 2\nz = (x + 1)*(y - 1)*x")
    found = model.diff(given={}).text()
    assert "∂z/∂y = x * t1 = 3 * 4 = 12" in found
    assert "t1 = x + 1 = 3 + 1 = 4" in found


def test_the_numbers_of_a_part_are_its_own_before_it_is_repeated() -> None:
    model = gl.loads("X = [[1, 2], [3, 6]]\nc = mean(X, axis=0)\ny = sum((X - c)**3)")
    assert "  c = mean(X, axis=0) = [2.0, 4.0]" in model.diff(given={}).text().replace(
        "sum(X, axis=[0]) / 2", "mean(X, axis=0)"
    )
