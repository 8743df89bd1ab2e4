"""What commands say last: where there is more about the codes that they showed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradlang.cli.main import main
from gradlang.cli.messages import MOST
from gradlang.diagnostics import SHOWN

FILES = {
    "good.grad": "a = 2\nb = 3\ny = a*b\n",
    "one.grad": "apple = 2\ny = aple\n",
    "many.grad": "apple = 2\ny = aple + foo(2)\nz = [1, 2] @ [1, 2, 3]\nw = aple\nv = exp(1, 2)\n",
    "zero.grad": "a = 2\nb = 3\ny = a**2\ngrad y wrt a, b\n",
    "nan.grad": "param a = 1\nparam b = 1\nloss = log(a) + a\nminimize loss\n",
    "long.grad": "\n".join(f"y{k} = foo({k})" for k in range(SHOWN)) + "\nz = exp(1, 2)\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")


def told(line: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main(line.split())
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("line", "last"),
    [
        ("run one.grad", "more: gradlang explain G201"),
        ("check one.grad", "more: gradlang explain G201"),
        ("explain one.grad", "more: gradlang explain G201"),
        ("run nothing.grad", "more: gradlang explain G520"),
        ("run good.grad c=3", "more: gradlang explain G502"),
        ("run zero.grad", "more: gradlang explain G403"),  # a warning
        ("fmt nothing.grad", "more: gradlang explain G520"),
        ("ops sigmod", "  = help: did you mean `sigmoid`?"),  # a page about pages would be taken for that of the op
        ("explain sigmod", "  = help: did you mean `sigmoid`?"),
    ],
)
def test_the_last_line(line: str, last: str, capsys: pytest.CaptureFixture[str]) -> None:
    err = told(line, capsys)
    assert err[-1] == last
    assert sum(row.startswith("more: ") for row in err) == last.startswith("more: ")


def test_several_codes_are_named_once_each_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    last = told("run many.grad", capsys)[-1]
    assert last == "more: gradlang explain G201 G202 G310" and last.count(" G") == MOST
    assert main(last.removeprefix("more: gradlang ").split()) == 0
    out = capsys.readouterr().out
    assert [line[:5] for line in out.splitlines() if line[:5] in ("G201:", "G202:", "G310:")] == ["G201:", "G202:", "G310:"]


def test_codes_that_are_only_counted_are_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    err = told("run long.grad", capsys)
    assert err[-1] == "more: gradlang explain G202" and "... and 1 more" in err


def test_a_warning_and_an_error_of_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    """They are said at different times; the last line is one."""
    err = told("fit nan.grad --optimizer sgd --lr 1 --steps 5 --quiet", capsys)
    assert err[0].startswith("warning[G541]") and any(row.startswith("error[G545]") for row in err)
    assert [row for row in err if row.startswith("more: ")] == [err[-1]] == ["more: gradlang explain G541 G545 G404"]


def test_nothing_is_said_where_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert told("run good.grad", capsys) == []


@pytest.mark.parametrize("line", ["run one.grad", "run zero.grad", "run nothing.grad", "fmt nothing.grad"])
def test_machines_read_json_alone(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings, too, are one object a line."""
    rows = [json.loads(row) for row in told(f"{line} --json", capsys)]
    assert rows and all(row["code"] for row in rows)
