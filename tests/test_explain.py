"""`gradlang explain`: the story of every example agrees with its compiled gradient, and its sentences are in every language."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Golden
from test_examples import FOLDER, NAMES, PATHS, arguments, inputs

import gradlang as gl
from gradlang.cli import running
from gradlang.cli.arguments import parser
from gradlang.cli.main import main
from gradlang.ops.table import builtin
from gradlang.view.story import renamed, story
from gradlang.view.trace import trace
from gradlang.view.words import LANGUAGES, catalog


def opened(path: Path) -> tuple[gl.Model, dict[str, Any]]:
    args: argparse.Namespace = parser().parse_args(["check", path.name, *inputs(arguments(path))])
    model = running.open_model(args)
    return model, running.given(args, model)


def scalars(model: gl.Model) -> list[str]:
    nodes, values = model.program.nodes, model.program.values
    return [n for n in model.program.outputs if not nodes[values[n]].type.shape and nodes[values[n]].type.dtype == "real"]


def close(mine: Any, compiled: Any) -> bool:
    mine = np.zeros_like(compiled) if mine is None else np.asarray(mine)
    scale = float(np.max(np.abs(compiled), initial=0.0))
    return bool(np.allclose(mine, compiled, rtol=1e-12, atol=1e-13 * scale, equal_nan=True))


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_the_story_is_that_of_the_compiled_gradient(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model):
        value, gradients = model.value_and_grad(of, backend="numpy")(values)
        for rewritten in (False, True):
            told = trace(model, of, values, rewritten=rewritten)
            assert close(told.values[told.top], value)
            for name, gradient in gradients.items():
                node = told.leaves.get(name)
                assert close(None if node is None else told.adjoints.get(node), gradient), (of, name)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_branches_add_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node gets is the sum of what its users give, and a pointwise contribution is upstream times slope."""
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model):
        told = trace(model, of, values)
        for i, branches in told.got.items():
            assert close(sum(b.value for b in branches), told.adjoints[i])
        for s in story(told).steps:
            for g in s.gives:
                if g.slope is not None and np.shape(g.value) == np.shape(s.upstream):
                    with np.errstate(all="ignore"):
                        product = np.where(s.upstream == 0, 0.0, s.upstream * g.slope)
                    assert close(product, g.value)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_text(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    monkeypatch.chdir(FOLDER)
    assert main(["explain", path.name, *inputs(arguments(path)), "--digits", "6"]) == 0
    golden(f"explain/{path.stem}.out", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["02_shopping", "06_sigmoid", "10_two_layer_net"])
def test_korean(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    monkeypatch.chdir(FOLDER)
    path = FOLDER / f"{name}.grad"
    assert main(["explain", path.name, *inputs(arguments(path)), "--digits", "6", "--lang", "ko"]) == 0
    golden(f"explain/{name}.ko.out", capsys.readouterr().out)


def test_the_book(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(FOLDER)
    assert main(["explain", "02_shopping.grad", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [s["value"] for s in made["steps"]] == [200, 450, 650, 715.0000000000001]
    assert [i["gradient"] for i in made["inputs"]] == [2.2, 110.00000000000001, 3.3000000000000003, 165, 650]
    assert {g["to"]: g["contribution"] for g in made["steps"][3]["gives"]} == {"goods": 1.1, "tax": 650}
    assert [s["upstream"] for s in made["steps"]] == [1.1, 1.1, 1.1, 1]


def told(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str) -> str:
    file = tmp_path / "f.grad"
    file.write_text(text, encoding="utf-8")
    assert main(["explain", str(file), *words]) == 0
    return capsys.readouterr().out


def test_a_chain_that_fails_as_it_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = told("x = 0\ny = sqrt(x**2)", capsys, tmp_path)
    assert "inf × (2 * 0) = inf × 0 = nan" in out
    assert "gives nan for ∂y/∂x; the compiled gradient is 0" in out
    assert out.endswith("gradient of y\n  x  0\n")


def test_a_branch_that_is_not_taken_gives_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = told("x = 0\ny = log(x) if x > 0 else 3*x", capsys, tmp_path)
    assert out.endswith("gradient of y\n  x  3\n  x is used 2 times, so its branches add up: 3 from [3] + 0 from [2] = 3\n")


def test_only_what_lies_between(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = told("a = 2\nb = 3\ny = a*b + sin(b)", capsys, tmp_path, "--wrt", "a")
    assert "→ a   1 × b = 1 × 3 = 3" in out
    assert "→ b" not in out and out.endswith("gradient of y\n  a  3\n")


def test_upstream_of_an_array(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = told("x : [3]\ny = 2*x", capsys, tmp_path, "x=[1,2,3]", "--upstream", "y=[1,0,0]")
    assert out.endswith("gradient of y\n  x  [2.0, 0.0, 0.0]\n")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--of", "prise"], "did you mean `price`?"),
        (["--wrt", "aple"], "did you mean `apple`?"),
        (["aple=3"], "did you mean `apple`?"),
        (["--upstream", "prise=3"], "did you mean `price`?"),
    ],
)
def test_typos(words: list[str], wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(FOLDER / "02_shopping.grad"), *words]) == 1
    assert wanted in capsys.readouterr().err


# ------------------------------------------------------------------ catalogues
def test_no_korean_particle_depends_on_what_is_filled_in() -> None:
    """Whether 은 or 는, 이 or 가, 을 or 를 follows depends on how a name is read aloud, which its letters do not say."""
    for part, texts in catalog("ko").items():
        for key, text in texts.items():
            assert not re.search(r"\}`?(은|는|이|가|을|를|과|와|으로|로|이나|나|이다|이지만)(?![가-힣])", text), (part, key)


def test_languages_say_the_same() -> None:
    english = catalog("en")
    for language in LANGUAGES:
        other = catalog(language)
        assert other.keys() == english.keys()
        for part, texts in english.items():
            assert other[part].keys() == texts.keys(), (language, part)
            for key, text in texts.items():
                assert fields(text) == fields(other[part][key]), (language, part, key)


def fields(text: str) -> set[str]:
    return {piece.split("}")[0] for piece in text.split("{")[1:]}


def test_sentences_are_about_ops() -> None:
    assert catalog("en")["ops"].keys() <= set(builtin())


@pytest.mark.parametrize("name", sorted(catalog("textbook")))
def test_textbook_forms(name: str) -> None:
    """A form of a textbook is the derivative that the entry computes, where it keeps its digits."""
    op = builtin()[name]
    points = np.linspace(-1.5, 1.7, 7)
    for k, form in enumerate(catalog("textbook")[name]):
        p = op.params[k]
        for at in points:
            others = dict.fromkeys(op.params, 0.8)
            given = {**others, p: float(at)}
            call = f"{op.params[0]} / {op.params[1]}" if name == "div" else f"{name}({', '.join(op.params)})"
            head = "\n".join(f"input {q}" for q in op.params)
            text = renamed(form, {op.result: f"({call})"})
            model = gl.loads(f"{head}\nr = {call}\nslope = grad(r, {p})\nform = {text}\noutput slope, form")
            made = model(given)
            assert abs(made["slope"] - made["form"]) <= 1e-14 * abs(made["slope"])
