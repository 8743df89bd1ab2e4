"""The examples: each prints what its `.out` file holds, and keeps the promises in its own text."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from ulps import same_text_within_ulps

import gradlang as gl
from gradlang.cli.main import main

FOLDER = Path(__file__).parent.parent / "examples"
PATHS = sorted(FOLDER.glob("*.grad"))
NAMES = [p.stem for p in PATHS]


def arguments(path: Path) -> list[str]:
    """The words of the comment `# args:` in the first line."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return shlex.split(first.removeprefix("# args:")) if first.startswith("# args:") else []


def inputs(words: list[str]) -> list[str]:
    """Those that `gradlang check` takes as well: data and values."""
    out: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in ("--data", "--seed"):
            out += [word, next(rest)]
        elif word.startswith("--"):
            next(rest)
        else:
            out.append(word)
    return out


def shown(command: str, path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    status = main([command, path.name, *words])
    out, err = capsys.readouterr()
    assert status == 0, out + err
    assert err == ""
    return out


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_output(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """`--bless` rewrites the files."""
    monkeypatch.chdir(FOLDER)
    made = shown("run", path, arguments(path), capsys)
    kept = path.with_suffix(".out")
    if request.config.getoption("--bless"):
        kept.write_bytes(made.encode())
    assert kept.is_file(), f"there is no {kept.name}: `pytest --bless` writes it"
    text = kept.read_text(encoding="utf-8")
    assert made == text or same_text_within_ulps(text, made, 4), made


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_check(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(FOLDER)
    made = shown("check", path, inputs(arguments(path)), capsys)
    assert "FAILED" not in made
    promises = len(re.findall(r"^check ", path.read_text(encoding="utf-8"), re.M))
    assert len(re.findall(r"^ok +", made, re.M)) >= promises


def test_names() -> None:
    """Numbered without a gap, each with its output, and no output without a program."""
    assert [n[:3] for n in NAMES] == [f"{k:02}_" for k in range(1, len(NAMES) + 1)]
    assert sorted(p.stem for p in FOLDER.glob("*.out")) == NAMES


def test_the_readme_shows_every_command() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    commands = [shlex.split(c)[2:] for c in re.findall(r"`(gradlang run \d\d_[^`]*)`", text)]
    for path in PATHS:
        assert [path.name, *arguments(path)] in commands


def test_apples_to_the_last_digit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = gl.load(FOLDER / "01_apples.grad")
    assert model() == 220.00000000000003
    assert model.value_and_grad()() == (220.00000000000003, {"apple": 2.2, "n": 110.00000000000001, "tax": 200.0})
    monkeypatch.chdir(FOLDER)
    made = shown("run", FOLDER / "01_apples.grad", [], capsys)
    assert re.findall(r"(?m)^(?:  )?(\w+) +(?:= )?([\d.]+)(?: |$)", made) == [
        ("price", "220.00000000000003"),
        ("apple", "2.2"),
        ("n", "110.00000000000001"),
        ("tax", "200.0"),
    ]


def test_shopping_to_the_last_digit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = gl.load(FOLDER / "02_shopping.grad")
    grads = {"apple": 2.2, "n": 110.00000000000001, "orange": 3.3000000000000003, "m": 165.0, "tax": 650.0}
    assert model() == 715.0000000000001
    assert model.value_and_grad()() == (715.0000000000001, grads)
    monkeypatch.chdir(FOLDER)
    made = shown("run", FOLDER / "02_shopping.grad", [], capsys)
    assert re.findall(r"(?m)^(?:  )?(\w+) +(?:= )?([\d.]+)(?: |$)", made) == [
        ("price", "715.0000000000001"),
        ("apple", "2.2"),
        ("n", "110.00000000000001"),
        ("orange", "3.3000000000000003"),
        ("m", "165.0"),
        ("tax", "650.0"),
    ]


def test_exact_outputs_are_the_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums and products of floats are the same on every machine."""
    monkeypatch.chdir(FOLDER)
    for name in ("01_apples", "02_shopping", "03_chain_rule", "04_nodes"):
        path = FOLDER / f"{name}.grad"
        assert shown("run", path, arguments(path), capsys) == path.with_suffix(".out").read_text(encoding="utf-8")
