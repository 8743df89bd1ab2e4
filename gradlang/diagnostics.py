"""Diagnostics are data; one renderer turns them into text.

A `Diagnostic` carries a stable code, one sentence in the user's terms, the place, further places and a hint. The layout
follows Rust and Elm: the code exactly as written, carets below it, and the hint last.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from gradlang.record import record
from gradlang.source import Sources, Span

SHOWN = 20  # further errors are counted, not printed
WIDTH = 100  # longer source lines are cut around the place


@record
class Diagnostic:
    """One finding: `code` (G1xx syntax, G2xx names, G3xx shapes and types, G4xx derivatives, G5xx data and calls,
    G6xx not supported yet), a sentence, the place, `labels` (further places), `notes` and one `help`."""

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    labels: tuple[tuple[Span, str], ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    severity: str = "error"
    fix: tuple[Span, str] | None = None


class GradlangError(Exception):
    """The base of all errors that gradlang raises. `str(error)` is the whole rendered report."""

    def __init__(self, diagnostics: Sequence[Diagnostic], sources: Sources | None = None) -> None:
        self.diagnostics = tuple(diagnostics)
        self.sources = sources or Sources()
        super().__init__(render_all(self.diagnostics, self.sources))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.diagnostics, self.sources)


class SourceError(GradlangError):
    """The text of a program is wrong."""


class InputError(GradlangError, ValueError):
    """The values of a call are wrong: missing, unknown, or of a wrong shape or type."""


class InternalError(GradlangError):
    """A bug of gradlang, not of the user's program."""


def internal(message: str) -> InternalError:
    note = "this is a bug of gradlang: please report it with the program that shows it"
    return InternalError([Diagnostic("G900", message, notes=(note,))])


def char_width(char: str) -> int:
    """Columns that a character takes in a terminal: 0, 1 or 2 (Unicode Standard Annex #11)."""
    if char == "\t":
        return 4
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cc", "Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def text_width(text: str) -> int:
    return len(text) if text.isascii() and text.isprintable() else sum(map(char_width, text))


def _printable(text: str) -> str:
    return "".join(
        "    " if c == "\t" else c if char_width(c) else ("" if unicodedata.category(c) in ("Cc", "Cf") else c) for c in text
    )


def _mark(line: str, start: int, end: int, sign: str, text: str) -> tuple[str, str]:
    """A source line, cut to `WIDTH` around the place, and the line of marks below it."""
    cut = max(0, start - WIDTH // 2) if len(line) > WIDTH else 0
    shown = line[cut : cut + WIDTH]
    before, inside = line[cut:start], line[start : min(end, cut + WIDTH)]
    marks = " " * text_width(_printable(before)) + sign * max(1, text_width(_printable(inside)))
    head, tail = ("..." if cut else ""), ("..." if cut + WIDTH < len(line) else "")
    return head + _printable(shown).rstrip() + tail, " " * len(head) + marks + (f" {text}" if text else "")


def _frame(diagnostic: Diagnostic, sources: Sources) -> list[str]:
    assert diagnostic.span is not None
    main = sources.of(diagnostic.span[0])
    places = [(diagnostic.span, diagnostic.label, "^"), *((s, t, "-") for s, t in diagnostic.labels)]
    by_file: dict[int, list[tuple[int, int, int, str, str]]] = {}
    for span, text, sign in places:
        source = sources.of(span[0])
        line, column = source.place(span[0])
        last_line, last_column = source.place(max(span[0], span[1]))
        end = last_column if last_line == line else len(source.line(line))
        by_file.setdefault(source.base, []).append((line, column, end, sign, text))
    gutter = max(len(str(row[0])) for rows in by_file.values() for row in rows)
    line, column = main.place(diagnostic.span[0])
    out = [f"{' ' * gutter}--> {main.path}:{line}:{column + 1}"]
    for base in sorted(by_file, key=lambda b: b != main.base):
        source = sources.of(base)
        if base != main.base:
            first = by_file[base][0]
            out.append(f"{' ' * gutter}::: {source.path}:{first[0]}:{first[1] + 1}")
        out.append(f"{' ' * gutter} |")
        previous = 0
        for number, start, end, sign, text in sorted(by_file[base]):
            shown, marks = _mark(source.line(number), start, end, sign, text)
            if number != previous:
                if previous and number > previous + 1:
                    out.append("...")
                out.append(f"{number:>{gutter}} | {shown}")
            out.append(f"{' ' * gutter} | {marks}")
            previous = number
    return out


def render(diagnostic: Diagnostic, sources: Sources) -> str:
    """One diagnostic as text: headline, frame, notes and help."""
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
    if diagnostic.span is not None and sources.files:
        lines += _frame(diagnostic, sources)
    lines += [f"  = note: {note}" for note in diagnostic.notes]
    if diagnostic.help:
        lines.append(f"  = help: {diagnostic.help}")
    return "\n".join(lines)


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    return sorted(diagnostics, key=lambda d: (d.span or (0, 0), d.code, d.message))


def render_all(diagnostics: Sequence[Diagnostic], sources: Sources) -> str:
    """All diagnostics, the first `SHOWN` in full, and a line that counts them where there are several."""
    shown = [render(d, sources) for d in diagnostics[:SHOWN]]
    if len(diagnostics) > SHOWN:
        shown.append(f"... and {len(diagnostics) - SHOWN} more")
    if len(diagnostics) > 1:
        counts = [(kind, sum(d.severity == kind for d in diagnostics)) for kind in ("error", "warning", "note")]
        shown.append(", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts if n))
    return "\n\n".join(shown)


def as_json(diagnostic: Diagnostic, sources: Sources) -> dict[str, object]:
    """A diagnostic as a plain dict (the layout of a Language Server `Diagnostic`, columns in UTF-16 units)."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "source": "gradlang",
        "path": sources.of(diagnostic.span[0]).path if diagnostic.span and sources.files else None,
        "range": _range(diagnostic.span, sources),
        "help": diagnostic.help,
        "notes": list(diagnostic.notes),
        "relatedInformation": [{"range": _range(s, sources), "message": t} for s, t in diagnostic.labels],
    }


def _range(span: Span | None, sources: Sources) -> dict[str, dict[str, int]] | None:
    if span is None or not sources.files:
        return None
    source = sources.of(span[0])

    def position(offset: int) -> dict[str, int]:
        line, column = source.place(offset)
        return {"line": line - 1, "character": len(source.line(line)[:column].encode("utf-16-le")) // 2}

    return {"start": position(span[0]), "end": position(span[1])}


def edit_distance(a: str, b: str) -> int:
    """Damerau-Levenshtein distance (optimal string alignment) of two short words."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        current = [i]
        for j, y in enumerate(b, 1):
            cost = min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        before, row = row, current
    return row[-1]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint "did you mean `x`?" with the nearest of the known names, or an empty text."""
    limit = max(1, len(word) // 3)
    scored = sorted(
        (0 if k.lower() == word.lower() else edit_distance(word.lower(), k.lower()), k)
        for k in set(known)
        if k != word and abs(len(k) - len(word)) <= limit
    )
    near = [k for d, k in scored if d <= limit and d == scored[0][0]][:2]
    if not near or (len(word) == 1 and len(near[0]) == 1 and near[0].lower() != word.lower()):
        return ""
    return "did you mean " + " or ".join(f"`{k}`" for k in near) + "?"
