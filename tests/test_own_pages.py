"""`gradlang explain FILE --of swish`: ops and rules of a program have pages like the built-in ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Golden
from test_examples import FOLDER

import gradlang as gl
from gradlang.check.rules import library
from gradlang.cli.main import main
from gradlang.cli.pages import in_language
from gradlang.ops.table import builtin, rules
from gradlang.view.own_entry import names, of_rule, own_page
from gradlang.view.story import story
from gradlang.view.trace import trace
from gradlang.view.words import LANGUAGES, Words

OWN = FOLDER / "13_own_op.grad"
HANGUL = re.compile("[가-힣]")


def told(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["explain", *words.split()]) == 0
    return capsys.readouterr().out


def shown(text: str, name: str, proven: bool = True):
    return own_page(name, gl.loads(text).program, Words(), in_language, proven)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_of_the_example(
    language: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    monkeypatch.chdir(FOLDER)
    out = told(f"{OWN.name} --of swish,relu,hill,energy,log_of_hill --digits 6 --lang {language}", capsys)
    golden(f"explain_pages/own.{language}.out", out)
    if language == "ko":
        assert all(HANGUL.search(line) for line in out.splitlines() if line and not line.startswith("    "))


def test_as_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(FOLDER)
    made = json.loads(told(f"{OWN.name} --of energy --json", capsys))
    assert (made["name"], made["kind"], made["place"]) == ("energy", "array op", "13_own_op.grad, line 20")
    assert made["example"]["value"] == 6.625 and made["example"]["gradient"] == {"v": [2, -0.5, 3]}
    made = json.loads(told(f"{OWN.name} --of swish,log_of_hill --json", capsys))
    assert [row["name"] for row in made] == ["swish", "log_of_hill"]
    assert made[1]["example"]["value"] == 0 and made[1]["example"]["others"] == {"right": -1e-18}


PROGRAMS = {
    "matrix and vector": "op act(a, x) -> y:\n    value = a @ x\n",
    "called with sizes": "op total(x, w) -> y:\n    value = sum(x @ w, axis=1)\nx : [N, 5]\nw : [5, M]\nz = sum(total(x, w))\n",
    "a small domain": "op arc(x) -> y:\n    value = asin(x)*2\n    on x in [-0.9, 0.9]\n",
    "no domain, and not defined everywhere": "op odds(p) -> y:\n    value = log(p/(1 - p))\n    d/dp = 1/(p*(1 - p))\n",
    "whole numbers": "op twice(x, n) -> y:\n    value = x*n\n    d/dx = n\n    d/dn = x\ninput n : int = 3\nx = 2\nz = twice(x, n)\n",
    "an index": "op pick(x, k) -> y:\n    value = take(x, k)\nk : int[2] = [1, 0]\nx : [7] = zeros(7)\nz = sum(pick(x, k))\n",
    "a constant op": "op step(x) -> y:\n    constant\n    value = 1 if x > 0 else 0\n",
    "of other ops": "op a(x) -> y:\n    value = x*x\nop b(x) -> y:\n    value = a(x) + 1\n    d/dx = 2*x\n",
    "a setting without a default that fits": "op power(x, n=3) -> y:\n    value = x**n\n    d/dx = n*x**(n - 1)\n    on x in [0.1, 3]\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_example_is_what_the_program_computes(name: str) -> None:
    text = PROGRAMS[name] if "z = " in PROGRAMS[name] else PROGRAMS[name] + "w = 2\nz = 3*w\n"
    ops = re.findall(r"^op (\w+)", text, re.M)
    entry = shown(text, ops[-1])
    e = entry.example
    assert e is not None and f"{ops[-1]}(" in e.text.splitlines()[-1]
    model = gl.loads("".join(re.findall(r"^op .*\n(?:    .*\n)+", text, re.M)) + e.text)
    assert np.all(np.isfinite(e.value))
    np.testing.assert_allclose(np.asarray(model.function(e.result)(), float), np.asarray(e.value, float), rtol=1e-14)
    if e.gradient:
        found = model.vjp(e.result, wrt=list(e.gradient))(np.ones(()) if e.upstream is None else e.upstream)[1]
        for n, slope in e.gradient.items():
            np.testing.assert_allclose(slope, found[n], rtol=1e-13)
        assert entry.locals or entry.kind == "constant op"


def test_no_example_fits() -> None:
    assert shown("op odd(x) -> y:\n    value = sum(x[9:])*x[8, 8, 8]\nw = 2\nz = 3*w\n", "odd").example is None


def test_what_is_not_proven_is_not_claimed() -> None:
    assert shown(PROGRAMS["a small domain"] + "w = 2\nz = 3*w\n", "arc").tested == ()  # its derivative is that of the formula
    text = "op cube(x) -> y:\n    value = x**3\n    d/dx = 3*x**2\n    on x in [-2, 2]\nrule stable r: exp(log(x)) => x\nw = 2\nz = 3*w\n"
    assert shown(text, "cube").tested == ("x in [-2, 2]",) and shown(text, "r").tested
    assert shown(text, "cube", False).tested == () == shown(text, "r", False).tested


def test_an_op_of_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ops.grad").write_text("# ops\nop double(x) -> y:\n    value = 2*x\n", encoding="utf-8")
    Path("main.grad").write_text('import "ops.grad"\nz = double(3)\n', encoding="utf-8")
    page = told("main.grad --of double", capsys)
    assert page.startswith("double: op defined by a formula, ops.grad, line 2\n")
    assert told("ops.grad --of double", capsys) == page  # a file of ops that computes nothing itself
    assert main(["explain", "ops.grad"]) == 1 and "error[G208]" in capsys.readouterr().err
    assert main(["explain", "ops.grad", "--of", "triple"]) == 1 and "no definition is named" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--of swsh", "did you mean `swish`?"),
        ("--of swish,hil", "did you mean `hill`?"),
        ("--of swish,loss", "error[G510]: `loss` is a definition"),
        ("--of swish x=3", "error[G514]: `swish` has a page, which takes no inputs: `x=3`"),
    ],
)
def test_mistakes(words: str, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(OWN), *words.split()]) == 1
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("words", ["explain swish", "explain swish --of {}", "ops swish"])
def test_the_way_there(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks for an op of a program as for a built-in one is told how to."""
    assert main(words.format(OWN).split()) == 1
    err = capsys.readouterr().err
    assert f"`gradlang explain {OWN if '{}' in words else 'FILE'} --of swish`" in err


# ------------------------------------------------------------------ rules
RULES = [rule for rule in rules() if rule.name not in {*builtin(), *library().functions}]


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_rule_of_the_language_has_a_page(rule, capsys: pytest.CaptureFixture[str]) -> None:
    entry = of_rule(rule, builtin(), Words(), in_language, True)
    assert entry.entry == rule.text and entry.says
    e = entry.example
    assert (e is None) == bool(re.search(r"axis|if c|not c", rule.text))  # no numbers stand for these
    if e is not None and rule.kind == "exact":
        assert e.value == e.others["right"]
    assert told(f"{rule.name} --lang ko", capsys).startswith(f"{rule.name}: {rule.kind} 규칙\n")


def test_the_example_of_a_rule_is_where_it_matters() -> None:
    rule = next(r for r in rules() if r.name == "versine")
    e = of_rule(rule, builtin(), Words(), in_language, True).example
    assert e is not None and e.value == 0 and e.others["right"] > 0


def test_an_op_names_the_formulas_that_become_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "what the compiler writes as this op\n    log(1 + exp(x))\n" in told("softplus", capsys)


# ------------------------------------------------------------------ ops with the name of a built-in one
def test_what_is_said_of_a_built_in_op_is_not_said_of_an_own_one_of_its_name() -> None:
    """Its derivative at a kink is its own, and it may be computed another way."""
    text = "op softplus(x) -> y:\n    value = log1p(exp(x))\n    d/dx = exp(x)/(1 + exp(x))\n    on x in [-5, 5]\nx = 2\nz = softplus(x)\n"
    model = gl.loads(text)
    said = str(model.explain())
    assert "The derivative of softplus is the sigmoid" not in said and "Each argument gets" in said
    (step,) = story(trace(model, "z", {})).steps
    assert step.gives[0].computed == "" and step.gives[0].local == "sigmoid(x)"
    assert names(model.program) == ["softplus"]
