"""Pages about error codes: `gradlang explain G201`. Each has a reason, a program that fails and a program that works; one file
for each hundred of codes, or for a part of it."""

from __future__ import annotations

import re
import textwrap
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from gradlang import pipeline
from gradlang.diagnostics import render_all, text_width
from gradlang.record import record
from gradlang.view.words import Words

FILE = "program.grad"  # what the program of a page is called in its commands
WIDE = 96


@record
class Page:
    """What is said about a code. `fails` and `works` are programs; `wrong` and `right` are commands or lines of Python over
    them, "" where reading the program is enough; `files` lie beside it. `also` are codes that are reported together with it,
    `needs` is a package without which it does not occur. `untested` says why no program can show it."""

    code: str
    title: str
    title_ko: str
    why: str
    why_ko: str
    fails: str
    works: str
    wrong: str
    right: str
    files: dict[str, str]
    also: tuple[str, ...]
    needs: str
    untested: str
    untested_ko: str

    def name(self, language: str) -> str:
        """The title, in English where there is no other."""
        return self.title_ko if language == "ko" and self.title_ko else self.title

    def reason(self, language: str) -> str:
        """Why the error is one, in English where there is no other text."""
        return self.why_ko if language == "ko" and self.why_ko else self.why

    def unshown(self, language: str) -> str:
        """Why no program shows it, "" if one does; in English where there is no other text."""
        return self.untested_ko if language == "ko" and self.untested_ko else self.untested

    def said(self) -> str:
        """What the compiler says about the failing program; "" if it says so of a command or of several files only."""
        if not self.fails or self.wrong or self.untested:
            return ""
        program, diagnostics = pipeline.read(self.fails, FILE, pipeline.standard())
        return render_all(diagnostics, program.sources)

    def text(self, words: Words, language: str) -> str:
        parts = [f"{self.code}: {self.name(language)}", wrapped(self.reason(language))]
        if self.untested:
            return "\n\n".join([*parts, words("page_untested", reason=self.unshown(language))])
        for title, program, call in (("page_fails", self.fails, self.wrong), ("page_works", self.works, self.right)):
            first = title == "page_fails"
            shown = [program] if program and (first or program != self.fails) else []
            shown += [f"# {name}\n{text}" for name, text in self.files.items() if first]
            called = f"$ {call}\n" if call.startswith("gradlang ") else call
            shown += [called] if called else []
            parts.append(f"{words(title)}\n" + "\n".join(textwrap.indent(s, "    ") for s in shown).rstrip())
            if first and (said := self.said()):
                parts.append(f"{words('page_says')}\n{textwrap.indent(said, '    ')}")
        return "\n\n".join(parts)

    def as_json(self, language: str) -> dict[str, Any]:
        return {
            "schema": 1,
            "code": self.code,
            "title": self.name(language),
            "why": self.reason(language),
            "fails": {"program": self.fails or None, "call": self.wrong or None, "says": self.said() or None},
            "works": {"program": self.works or None, "call": self.right or None},
            "files": self.files,
            "untested": self.unshown(language) or None,
        }


def wrapped(text: str) -> str:
    """A paragraph in lines of at most `WIDE` columns of a terminal, where Korean letters take two."""
    lines = [""]
    for word in text.split():
        if lines[-1] and text_width(f"{lines[-1]} {word}") > WIDE:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


@cache
def pages() -> dict[str, Page]:
    """Every page by its code, in order."""
    found: dict[str, Page] = {}
    for file in sorted(files(__package__).iterdir(), key=lambda f: f.name):
        if re.fullmatch(r"g\d+\.toml", file.name):
            found |= {code: page(code, row) for code, row in tomllib.loads(file.read_text(encoding="utf-8")).items()}
    return dict(sorted(found.items()))


def page(code: str, row: dict[str, Any]) -> Page:
    fails, wrong = row.get("fails", ""), row.get("wrong", "")
    return Page(
        code,
        row["title"],
        row.get("ko", ""),
        row["why"],
        row.get("why_ko", ""),
        fails,
        row.get("works", fails),
        wrong,
        row.get("right", ""),
        row.get("files", {}),
        tuple(row.get("also", ())),
        row.get("needs", ""),
        row.get("untested", ""),
        row.get("untested_ko", ""),
    )


def nearest(code: str, count: int = 3) -> list[str]:
    """The codes whose numbers are nearest."""
    number = int(code[1:])
    return sorted(sorted(pages(), key=lambda known: abs(int(known[1:]) - number))[:count])
