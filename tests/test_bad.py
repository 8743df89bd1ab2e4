"""Malformed programs: each file of golden/bad holds one fault (or a family of it), and beside it what is said about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import GOLDEN, Golden

from gradlang import pipeline
from gradlang.diagnostics import Diagnostic, render_all
from gradlang.source import Sources
from gradlang.syntax import grammar

BAD = sorted((GOLDEN / "bad").glob("*.grad"))
NAMES = [path.stem for path in BAD]


def report(text: str, name: str) -> tuple[list[Diagnostic], Sources, str]:
    program, diagnostics = pipeline.read(text, name, pipeline.standard())
    return diagnostics, program.sources, render_all(diagnostics, program.sources)


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


@pytest.mark.parametrize("path", BAD, ids=NAMES)
def test_report(path: Path, golden: Golden) -> None:
    diagnostics, _, shown = report(text_of(path), path.name)
    assert any(d.severity == "error" for d in diagnostics), "this program is meant to be wrong"
    golden(path.with_suffix(".out"), shown)


@pytest.mark.parametrize("path", BAD, ids=NAMES)
def test_every_diagnostic_has_a_code_and_a_place(path: Path) -> None:
    text = text_of(path)
    for d in report(text, path.name)[0]:
        assert re.fullmatch(r"G[1-6]\d\d", d.code)
        assert d.message
        assert d.span is not None
        for start, end in (d.span, *(span for span, _ in d.labels)):
            assert 0 <= start <= end <= len(text)


def test_no_name_of_the_grammar_is_shown() -> None:
    """A user knows the text that was typed, not what the grammar calls it."""
    made = grammar.parser()
    names = {t.name for t in made.terminals} | {str(r.origin.name) for r in made.rules} | {"$END", "_NL", "_INDENT", "_DEDENT"}
    names |= {str(r.alias) for r in made.rules if r.alias}
    # A rule may be called like a word of the language or of English; a name that no sentence contains gives itself away.
    telling = {n for n in names if n.isupper() or n.startswith(("_", "$")) or "_" in n.strip("_")}
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(sorted(map(re.escape, telling), key=len, reverse=True)) + r"|__ANON\w*)(?!\w)")
    for path in BAD:
        for d in report(text_of(path), path.name)[0]:
            for said in (d.message, d.label, d.help, *d.notes, *(text for _, text in d.labels)):
                found = pattern.search(said)
                assert found is None or found[0] in text_of(path), f"{path.name} shows {said!r}"


@pytest.mark.parametrize("path", BAD, ids=NAMES)
def test_line_ends_do_not_matter(path: Path) -> None:
    """The same lines with the line ends of Windows have the same faults at the same lines and columns."""
    plain = text_of(path).replace("\r\n", "\n")
    assert report(plain.replace("\n", "\r\n"), "x.grad")[2] == report(plain, "x.grad")[2]


@pytest.mark.parametrize("path", BAD, ids=NAMES)
def test_a_faulty_program_reports_the_same_twice(path: Path) -> None:
    text = text_of(path)
    assert report(text, "x.grad")[2] == report(text, "x.grad")[2]


def test_there_are_enough_cases() -> None:
    assert len(BAD) >= 60
    assert {path.stem for path in BAD} == {path.stem for path in (GOLDEN / "bad").glob("*.out")}
