"""`gradlang explain G201` and `gradlang explain mul`: every page about a code shows that code, and every op has a page."""

from __future__ import annotations

import ast
import json
import re
import shlex
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import Golden

import gradlang as gl
from gradlang import pipeline
from gradlang.check.arrays import SPECIAL
from gradlang.check.calls import INTERNAL
from gradlang.check.rules import library
from gradlang.cli.main import main
from gradlang.diagnostics import GradlangError, text_width
from gradlang.ops.table import builtin
from gradlang.view.entry import abouts, calls, page, program
from gradlang.view.pages import FILE, Page, nearest, pages
from gradlang.view.words import LANGUAGES, Words

PACKAGE = Path(gl.__file__).parent
CODE = re.compile(r"G\d{3}")


@cache
def emitted() -> set[str]:
    """The codes that stand in the source of the package as texts of their own."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found.add(node.value)
    return found


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert emitted() == set(pages())
    assert len(pages()) > 100


def test_pages_are_short_and_whole() -> None:
    titles = [p.title for p in pages().values()]
    assert len(set(titles)) == len(titles)
    for p in pages().values():
        assert 10 < len(p.title) <= 72 and not p.title.endswith("."), p.code
        assert 60 < len(p.why) <= 420 and p.why.endswith("."), p.code
        assert p.untested or (p.fails != p.works) or (p.wrong != p.right), p.code
        assert bool(p.wrong) == bool(p.right), p.code


@pytest.mark.parametrize("code", pages())
def test_a_page_is_there_in_every_language(code: str) -> None:
    """A text that is missing is shown in English, so both must be there and differ; Korean sentences end as the others do."""
    p = pages()[code]
    for text in (p.title_ko, p.why_ko, p.untested_ko) if p.untested else (p.title_ko, p.why_ko):
        assert HANGUL.search(text), text
    assert bool(p.untested) == bool(p.untested_ko)
    assert p.why_ko.endswith("."), p.why_ko
    assert not re.search(r"[가-힣]다\.", p.why_ko.replace("니다.", "")), p.why_ko
    assert not HANGUL.search(p.title + p.why + p.untested)


@pytest.mark.parametrize("code", pages())
def test_a_page_in_korean_has_no_line_of_english(code: str) -> None:
    """Only programs and what the compiler says about them, which are indented, are not Korean."""
    p = pages()[code]
    lines = p.text(Words("ko"), "ko").splitlines()
    assert all(HANGUL.search(line) for line in lines if line and not line.startswith("    ")), lines


HANGUL = re.compile("[가-힣]")
UNTESTED = {"G139", "G222", "G521", "G524", "G900"}


def test_few_pages_are_not_shown_by_a_program() -> None:
    assert {p.code for p in pages().values() if p.untested} == UNTESTED


def reported(p: Page, call: str, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[set[str], bool]:
    """The codes of a run, and whether it went well."""
    if not call:
        _, diagnostics = pipeline.read(text, FILE, pipeline.standard())
        return {d.code for d in diagnostics}, not any(d.severity == "error" for d in diagnostics)
    if call.startswith("gradlang "):
        status = main(shlex.split(call)[1:])
        out, err = capsys.readouterr()
        return set(re.findall(r"\[(G\d{3})\]", out + err)), status == 0
    try:
        exec(call, {"model": gl.load(FILE), "gl": gl, "np": np})
    except GradlangError as error:
        return {d.code for d in error.diagnostics}, False
    return set(), True


@pytest.mark.parametrize("code", [c for c, p in pages().items() if not p.untested])
def test_page(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The failing program reports exactly its code, and the other one nothing."""
    p = pages()[code]
    if p.needs and find_spec(p.needs) is None:
        pytest.skip(f"needs {p.needs}")
    monkeypatch.chdir(tmp_path)
    for name, text in p.files.items():
        Path(name).write_text(text, encoding="utf-8")
    Path(FILE).write_text(p.fails, encoding="utf-8")
    found, _ = reported(p, p.wrong, p.fails, capsys)
    assert found == {code, *p.also}
    Path(FILE).write_text(p.works, encoding="utf-8")
    assert reported(p, p.right, p.works, capsys) == (set(), True)


def told(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["explain", *line.split()]) == 0
    return capsys.readouterr().out


def test_a_page_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert told("g201", capsys) == (
        """G201: A name that nothing defines

Every name in a formula is an input, a parameter, a constant or another definition of the
program; their order does not matter. A function is no value: it is called, with its arguments
in parentheses.

a program that fails
    apple = 100
    price = aple * 2

what is said about it
    error[G201]: no value is named `aple`
     --> program.grad:2:9
      |
    2 | price = aple * 2
      |         ^^^^ not defined
      = help: did you mean `apple`?

a program that works
    apple = 100
    price = apple * 2
"""
    )


def test_a_page_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(told("G502 --json", capsys))
    assert (made["schema"], made["code"]) == (1, "G502")
    assert made["fails"]["call"] == "gradlang run program.grad aple=120"
    assert json.loads(told("G201 --json", capsys))["fails"]["says"].startswith("error[G201]: no value is named `aple`")


def test_titles_in_korean(capsys: pytest.CaptureFixture[str]) -> None:
    out = told("G201 --lang ko", capsys)
    assert out.startswith("G201: 정의되지 않은 이름\n\n식에 쓰는 이름은")
    assert "잘못된 예\n    apple = 100" in out
    assert all(text_width(line) <= 96 for line in out.splitlines())
    out = told("G900 --lang ko", capsys)
    assert out.startswith("G900: gradlang의 버그\n\n컴파일러는") and "없습니다. 알려진 버그가 없습니다." in out
    assert json.loads(told("G900 --lang ko --json", capsys))["untested"] == "알려진 버그가 없습니다"


def test_several_pages(capsys: pytest.CaptureFixture[str]) -> None:
    out = told("g201 mul G201 g502", capsys)
    assert out == "\n\n".join(told(word, capsys) for word in ("G201", "mul", "G502"))
    rows = json.loads(told("G201 mul --json", capsys))
    assert [row.get("code", row.get("name")) for row in rows] == ["G201", "mul"]


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told("--list", capsys).splitlines()
    assert [line[:4] for line in lines] == sorted(emitted())
    assert "G201  A name that nothing defines" in lines
    assert [row["code"] for row in json.loads(told("--list --json", capsys))["codes"]] == [line[:4] for line in lines]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("G20", "did you mean `G120` or `G201`?"),
        ("E201", "did you mean `G201`?"),
        ("g299", "the nearest are G301 (Too many or too few arguments), G302"),
        ("sigmod", "did you mean `sigmoid`?"),
        ("zzzzzz", "`gradlang explain --list` the codes"),
        ("shopping", "did you mean `shopping.grad`?"),
        ("G201 x=2", "`G201` is a page, which takes no inputs: `x=2`"),
        ("G201 sigmod", "did you mean `sigmoid`?"),
        ("mul --wrt a", "`mul` is a page, which takes no inputs: `a`"),
        ("nothing.grad", "error[G520]: cannot read nothing.grad"),
    ],
)
def test_typos(
    line: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shopping.grad").write_text("x = 2\ny = 3*x\n", encoding="utf-8")
    assert main(["explain", *line.split()]) == 1
    out, err = capsys.readouterr()
    assert out == "" and wanted in err


def test_a_file_comes_before_an_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mul").write_text("x = 2\ny = 3*x\n", encoding="utf-8")
    assert "gradient of y\n  x  3" in told("mul", capsys)
    Path("G201").write_text("x = 2\ny = 3*x\n", encoding="utf-8")
    assert told("G201", capsys).startswith("G201: ")
    assert "gradient of y\n  x  3" in told("./G201", capsys)


def test_nothing_to_explain(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["explain"])
    assert stop.value.code == 2
    assert "explain needs a file, the code of an error or the name of an op" in capsys.readouterr().err


def test_nearest() -> None:
    assert nearest("G000") == ["G101", "G102", "G103"]
    assert nearest("G999") == ["G549", "G601", "G900"]


# ------------------------------------------------------------------ ops
OPS = [op.name for op in builtin().entries()]


@pytest.mark.parametrize("name", [*OPS, *(n for n in calls() if n not in OPS)])
def test_example_of_an_op(name: str) -> None:
    """The example runs, uses the op, and says what the compiled program gives."""
    made = page(name, Words(), gl.loads)
    e = made.example
    assert e is not None and f"{name}(" in e.text.splitlines()[-1]
    model = gl.loads(e.text)
    assert np.allclose(
        np.asarray(model.function(e.result, backend="numpy")(), float), np.asarray(e.value, float), rtol=1e-14, atol=0
    )
    if name in OPS and builtin()[name].differentiable:
        assert made.locals, name
        assert e.gradient
    if e.gradient:
        upstream = np.ones(()) if e.upstream is None else e.upstream
        slopes = model.vjp(e.result, wrt=list(e.gradient))(upstream)[1]
        for n, slope in e.gradient.items():
            assert np.allclose(slope, slopes[n], rtol=1e-13, atol=1e-13, equal_nan=True), n
        constant = name in OPS and not builtin()[name].differentiable
        assert constant or any(np.any(s != 0) for s in e.gradient.values())
    json.dumps(made.as_json(), allow_nan=False)


@pytest.mark.parametrize("name", [op.name for op in builtin().entries() if op.pointwise and op.domains])
def test_an_example_lies_in_a_domain_of_its_op(name: str) -> None:
    op = builtin()[name]
    leaves = gl.loads(program(op)).program.leaves
    assert any(
        all(low <= leaves[p].default <= high for p, (low, high) in d.bounds.items() if p in op.params) for d in op.domains
    )


def test_every_name_is_told_of_in_every_language() -> None:
    names = {*OPS, *library().functions, *SPECIAL}
    assert set(abouts()) == names
    for name, texts in abouts().items():
        assert len(texts) == len(LANGUAGES), name
        assert all(5 < len(text) < 130 for text in texts) and texts[0].endswith("."), name
        assert re.search(r"니다[.:]", texts[1]) and texts[1].endswith("."), name
        assert not HANGUL.search(texts[0]), name


def test_every_name_that_programs_see_has_an_example() -> None:
    for name in {*OPS, *library().functions, *SPECIAL} - INTERNAL:
        assert name in calls() or name in OPS, name
    said = page("spread", Words(), gl.loads).text(Words())
    assert "programs do not see it" in said and "programs do not see it" not in page("mean", Words(), gl.loads).text(Words())
    with pytest.raises(GradlangError):
        gl.loads("x : [3]\ny = spread(x, x)\n")
    gl.loads("\n".join(calls()["mean"]))


@pytest.mark.parametrize("name", ["mul", "sigmoid", "softmax", "powi", "less", "mean", "reshape"])
def test_page_of_an_op(name: str, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden(f"explain_pages/{name}.out", told(f"{name} --digits 6", capsys))


def test_pages_of_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    for name in [*library().functions, *SPECIAL]:
        made = page(name, Words("ko"), gl.loads)
        assert name in made.entry and made.text(Words("ko"))


def test_the_page_of_an_op_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(told("mul --json", capsys))
    assert made["entry"].startswith("op mul(a, b) -> y:")
    assert [(d["by"], d["formula"]) for d in made["derivatives"]] == [("a", "b"), ("b", "a")]
    assert made["example"] == {
        "program": "a = 2\nb = 3\ny = mul(a, b)\n", "value": 6, "upstream": None, "gradient": {"a": 3, "b": 2}
    }  # fmt: skip


def test_the_page_of_an_op_in_korean(capsys: pytest.CaptureFixture[str]) -> None:
    out = told("mul --lang ko", capsys)
    assert out.startswith("mul: 원소별 연산\n") and "국소적 미분\n    ∂/∂a = b" in out and "곱셈 노드" in out
    assert json.loads(told("mul --lang ko --json", capsys))["kind"] == "pointwise op"


@pytest.mark.parametrize("name", [op.name for op in builtin().entries()] + [*library().functions, *SPECIAL])
def test_the_page_of_an_op_in_korean_has_no_line_of_english(name: str) -> None:
    lines = page(name, Words("ko"), gl.loads).text(Words("ko")).splitlines()
    assert all(HANGUL.search(line) for line in lines if line and not line.startswith("    ")), lines


def test_the_pages_of_the_documents(capsys: pytest.CaptureFixture[str]) -> None:
    text = (PACKAGE.parent / "docs" / "explaining.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\$ gradlang explain (\w+(?: [^\n]*)?)\n(.*?)^```", text, re.M | re.S)
    assert [name for name, _ in shown] == ["G204", "tanh --digits 6"]
    for name, page_text in shown:
        assert told(name, capsys) == page_text


def test_a_page_claims_no_proof_that_there_is_not() -> None:
    """The rows of `gradlang ops --check` that take the entry as it is."""
    for name, tested in (("less", False), ("where", False), ("mul", True), ("matmul", True), ("floor", True)):
        assert bool(page(name, Words(), gl.loads).tested) == tested, name
