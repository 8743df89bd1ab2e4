"""Malformed programs: each file of golden/bad holds one fault (or a family of it), and beside it what is said about it.
A program of several files is a folder with a `main.grad`."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from conftest import GOLDEN, Golden
from ulps import same_text_within_ulps, ulp_distance

from gradlang import pipeline
from gradlang.diagnostics import Diagnostic, render_all
from gradlang.runtime.files import Folder
from gradlang.source import Sources
from gradlang.syntax import grammar
from gradlang.syntax.tables import build

BAD = sorted([*(GOLDEN / "bad").glob("*.grad"), *(GOLDEN / "bad").glob("*/main.grad")])


def case(path: Path) -> Path:
    """The file or the folder that a program is."""
    return path.parent if path.name == "main.grad" else path


NAMES = [case(path).stem for path in BAD]


def report(text: str, path: Path) -> tuple[list[Diagnostic], Sources, str]:
    finder = Folder(None, path.parent) if path.name == "main.grad" else None
    if finder is not None:  # people are shown paths relative to the folder
        finder.root = str(path)
        finder.folders = {finder.root: (Path(), path.parent)}
    program, diagnostics = pipeline.read(text, path.name, pipeline.standard(), finder)
    return diagnostics, program.sources, render_all(diagnostics, program.sources)


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


@pytest.mark.parametrize("path", BAD, ids=NAMES)
def test_report(path: Path, golden: Golden) -> None:
    diagnostics, _, shown = report(text_of(path), path)
    assert any(d.severity == "error" for d in diagnostics), "this program is meant to be wrong"
    golden(case(path).with_suffix(".out"), shown)


def test_every_diagnostic_has_a_code_and_a_place() -> None:
    for path in BAD:
        text = text_of(path)
        diagnostics, sources, _ = report(text, path)
        length = sources.files[-1].base + len(sources.files[-1].text)
        for d in diagnostics:
            assert re.fullmatch(r"G[1-6]\d\d", d.code), path.name
            assert d.message, path.name
            assert d.span is not None, path.name
            for start, end in (d.span, *(span for span, _ in d.labels)):
                assert 0 <= start <= end <= length, path.name


def test_no_name_of_the_grammar_is_shown() -> None:
    """A user knows the text that was typed, not what the grammar calls it."""
    made = build(grammar.grammar_text("grad.lark"))
    names = {t.name for t in made.terminals} | {str(r.origin.name) for r in made.rules} | {"$END", "_NL", "_INDENT", "_DEDENT"}
    names |= {str(r.alias) for r in made.rules if r.alias}
    # A rule may be called like a word of the language or of English; a name that no sentence contains gives itself away.
    telling = {n for n in names if n.isupper() or n.startswith(("_", "$")) or "_" in n.strip("_")}
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(telling)))}|__ANON\w*)(?!\w)")
    for path in BAD:
        for d in report(text_of(path), path)[0]:
            for said in (d.message, d.label, d.help, *d.notes, *(text for _, text in d.labels)):
                found = pattern.search(said)
                assert found is None or found[0] in text_of(path), f"{path.name} shows {said!r}"


def test_line_ends_do_not_matter() -> None:
    """The same lines with the line ends of Windows have the same faults at the same lines and columns."""
    for path in BAD:
        plain = text_of(path).replace("\r\n", "\n")
        assert report(plain.replace("\n", "\r\n"), path)[2] == report(plain, path)[2]


def test_a_report_is_the_same_every_time() -> None:
    for path in BAD:
        text = text_of(path)
        assert report(text, path)[2] == report(text, path)[2]


def test_six_faults_are_six_errors() -> None:
    text = text_of(GOLDEN / "bad" / "six_faults.grad")
    lines = [text[: d.span[0]].count("\n") for d in report(text, Path("x.grad"))[0] if d.span]
    assert len(lines) == len(set(lines)) == 6


def test_there_are_enough_cases() -> None:
    assert len(BAD) >= 60
    assert sum(path.name == "main.grad" for path in BAD) >= 20
    assert set(NAMES) == {path.stem for path in (GOLDEN / "bad").glob("*.out")}


def test_ulps() -> None:
    """The measure that golden results are compared by, at the places where such measures go wrong."""
    assert ulp_distance(1.0, math.nextafter(1.0, 2.0)) == 1
    assert ulp_distance(-5e-324, 5e-324) == 2
    assert ulp_distance(0.0, -0.0) == ulp_distance(math.nan, math.nan) == ulp_distance(math.inf, math.inf) == 0
    assert ulp_distance(1.0, math.nan) == ulp_distance(math.inf, 1e308) == ulp_distance(-math.inf, math.inf) == math.inf
    assert same_text_within_ulps("x  715.0000000000001 (2)", "x  715.0 (2)", 1)
    assert not same_text_within_ulps("x  715.0000000000002 (2)", "x  715.0 (2)", 1)
    assert not same_text_within_ulps("x  1.5 (2)", "x  1.5 (3)", 4)
    assert not same_text_within_ulps("x  1.5", "y  1.5", 4)
    assert not same_text_within_ulps("1.5 2.5", "1.5", 4)
    assert not same_text_within_ulps("-1.5", "1.5", 4)
    assert same_text_within_ulps("[1e-300, -2.5]", "[1.0000000000000002e-300, -2.5]", 2)
