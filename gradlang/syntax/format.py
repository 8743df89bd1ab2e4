"""`gradlang fmt`: spacing and indentation, nothing else. Every token and every comment stays, in its order.

Around a binary operator the writer chooses between `a*b` and `a * b`; a column of `=`, of labels or of comments that was
lined up stays lined up. Formatting twice changes nothing more.
"""

from __future__ import annotations

import re

from gradlang.diagnostics import text_width
from gradlang.record import record
from gradlang.syntax.tokens import CONTINUES, lexicon

BINARY = frozenset("+ - * / // % @ ** < <= > >= == != +/- => ->".split())
WORDS = frozenset("and or if else for in not".split())
OPENING, CLOSING = ("(", "["), (")", "]")
TIGHT_AFTER = ("(", "[", ".")
INDENT = 4


@record(frozen=False)
class Piece:
    text: str
    spaced: bool  # blank space stood before it
    kind: str


@record(frozen=False)
class Line:
    indent: int
    pieces: list[Piece]
    comment: str | None
    comment_column: int
    equal_column: int | None  # of the defining `=`
    label_column: int | None
    continuation: bool
    equal_index: int | None = None


def read_lines(text: str) -> list[Line]:
    lex = lexicon()
    lines: list[Line] = []
    depth, carried = 0, False
    for raw in text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(8).split("\n"):
        line = Line(len(raw) - len(raw.lstrip()), [], None, 0, None, None, depth > 0 or carried)
        at = 0
        while at < len(raw):
            m = lex.pattern.match(raw, at)
            if m is None or m.lastindex is None:
                break
            start, stop = m.start(m.lastindex), m.end()
            word = raw[start:stop]
            if m.lastindex == 5:
                line.comment, line.comment_column = word, text_width(raw[:start])
                at = stop
                continue
            if word == "=" and depth == 0 and line.equal_column is None:
                line.equal_column, line.equal_index = text_width(raw[:start]), len(line.pieces)
            if m.lastindex == 6 and depth == 0 and line.pieces and line.label_column is None:
                line.label_column = text_width(raw[:start])
            line.pieces.append(
                Piece(word, start > at, {1: "name", 2: "number", 3: "sign", 6: "label", 7: "unit"}.get(m.lastindex, "stray"))
            )
            depth += (word in OPENING and m.lastindex == 3) - (word in CLOSING and m.lastindex == 3 and depth > 0)
            at = stop
        if line.pieces:
            carried = line.pieces[-1].text in CONTINUES
        lines.append(line)
    return lines


def joined(pieces: list[Piece], depth: int, first: int = 0, stop: int | None = None, before: Piece | None = None) -> str:
    """The text of some pieces of a line. `depth` is the number of brackets open before the line, `before` the last piece of
    the line that it continues."""
    out = ""
    unary = False
    for k, piece in enumerate(pieces[:stop]):
        text = piece.text
        following = pieces[k + 1] if k + 1 < len(pieces) else None
        if text in CLOSING and piece.kind == "sign":
            depth -= 1
        if k >= first:
            out += (" " if out and before is not None and _gap(before, piece, following, unary, depth, pieces) else "") + text
        unary = text in ("-", "+") and (
            before is None
            or (before.kind == "sign" and before.text not in CLOSING)
            or before.text in WORDS
            or before.text in ("return", "check", "grad", "minimize")
        )
        if text in OPENING and piece.kind == "sign":
            depth += 1
        before = piece
    return out


def _gap(before: Piece, piece: Piece, following: Piece | None, unary: bool, depth: int, pieces: list[Piece]) -> bool:
    """Whether one blank stands between two pieces."""
    a, b = before.text, piece.text
    if piece.kind in ("label", "unit"):
        return a not in TIGHT_AFTER
    if a == ",":
        return True
    if b in (",", ")", "]", ".") or a in TIGHT_AFTER:
        return False
    if unary:
        return False
    if b == "=" or a == "=":
        return depth == 0
    if b == ":":
        return depth == 0 and following is not None and pieces[0].text not in ("def", "op", "for", "rule")
    if a == ":":
        return depth == 0
    if b in OPENING and piece.kind == "sign":
        glued = (before.kind == "name" and before.text not in WORDS) or a in CLOSING
        return (
            piece.spaced
            if not glued
            else piece.spaced
            and a in ("return", "check", "wrt", "grad", "tol", "in", "jacobian", "hessian", "minimize", "maximize")
        )
    if a in BINARY and before.kind == "sign":
        return before.spaced or piece.spaced
    if b in BINARY and piece.kind == "sign":
        return piece.spaced or (following is not None and following.spaced)
    return piece.kind in ("name", "number") or before.kind in ("name", "number", "label", "unit")


def format_text(text: str) -> str:
    """The formatted text of a program. Its tokens and comments are those of the text, whatever the text is."""
    lines = read_lines(text)
    levels = [0]
    depth = 0
    last: Piece | None = None
    rows: list[tuple[Line, str, str, str]] = []
    placed: list[int] = []
    for line in lines:
        level = line.indent
        if line.pieces and not line.continuation:
            while levels[-1] > line.indent:
                levels.pop()
            if line.indent > levels[-1]:
                levels.append(line.indent)
        if not line.continuation and line.pieces:
            level = INDENT * (len(levels) - 1)
        elif not line.pieces and line.comment is not None and not line.continuation:
            level = -1  # that of the code around it, which is known later
        equal = line.equal_index
        label = next((k for k, p in enumerate(line.pieces) if p.kind == "label" and line.label_column is not None and k), None)
        cut = equal if equal is not None and not line.continuation and depth == 0 else 0
        head = joined(line.pieces, depth, 0, cut) if cut else ""
        body = joined(line.pieces, depth, cut, label, last if line.continuation else None)
        last = line.pieces[-1] if line.pieces else last
        tail = joined(line.pieces, depth, label) if label is not None else ""
        rows.append((line, " " * level + head, body, tail))
        placed.append(level)
        for p in line.pieces:
            depth += (p.text in OPENING and p.kind == "sign") - (p.text in CLOSING and p.kind == "sign" and depth > 0)
    _place_comments(rows, placed)
    texts = [(head + " " + body if head.strip() else head + body) for _, head, body, _ in rows]
    texts = _aligned(
        texts,
        [(r[0].equal_column if r[1].strip() else None) for r in rows],
        lambda k, width: rows[k][1] + " " * (width - text_width(rows[k][1])) + " " + rows[k][2],
        [text_width(r[1]) for r in rows],
    )
    with_labels = [t + (" " + r[3] if r[3] else "") for t, r in zip(texts, rows, strict=True)]
    with_labels = _aligned(
        with_labels,
        [r[0].label_column if r[3] else None for r in rows],
        lambda k, width: texts[k] + " " * (width - text_width(texts[k])) + " " + rows[k][3],
        [text_width(t) for t in texts],
    )
    plain = [_commented(t, r[0], text_width(t)) for t, r in zip(with_labels, rows, strict=True)]
    done = _aligned(
        plain,
        [r[0].comment_column if r[0].comment is not None and r[0].pieces else None for r in rows],
        lambda k, width: _commented(with_labels[k], rows[k][0], width),
        [text_width(t) for t in with_labels],
    )
    made = re.sub(r"\n{4,}", "\n\n\n", "\n".join(line.rstrip() for line in done)).strip("\n") + "\n"
    return made if _same_tokens(text, made) else text


def _place_comments(rows: list[tuple[Line, str, str, str]], placed: list[int]) -> None:
    """A comment on a line of its own stands as deep as the code below it, or above it, that it was written level with."""
    for k, level in enumerate(placed):
        if level >= 0:
            continue
        line = rows[k][0]
        near = [
            j for j in (*range(k + 1, len(rows)), *range(k - 1, -1, -1)) if rows[j][0].pieces and not rows[j][0].continuation
        ]
        below = next((j for j in near if j > k), None)
        above = next((j for j in near if j < k), None)
        same = [j for j in (below, above) if j is not None and rows[j][0].indent == line.indent]
        deep = (
            placed[same[0]]
            if same
            else max((placed[j] for j in (below, above) if j is not None), default=0)
            if line.indent
            else 0
        )
        rows[k] = (line, " " * deep, rows[k][2], rows[k][3])


def _commented(text: str, line: Line, width: int) -> str:
    if line.comment is None:
        return text
    note = re.sub(r"^#(?=[^\s#!])", "# ", line.comment)
    return text + " " * (width - text_width(text)) + "  " + note if line.pieces else text + note


def _aligned(texts: list[str], columns: list[int | None], make: object, widths: list[int]) -> list[str]:
    """Lines of which neighbours had something in the same column get it in the same column again."""
    out = list(texts)
    start = 0
    while start < len(texts):
        stop = start
        while stop + 1 < len(texts) and columns[start] is not None and columns[stop + 1] == columns[start]:
            stop += 1
        if stop > start:
            widest = max(widths[start : stop + 1])
            for k in range(start, stop + 1):
                out[k] = make(k, widest)  # type: ignore[operator]
        start = stop + 1
    return out


def _same_tokens(a: str, b: str) -> bool:
    def all_of(text: str) -> list[str]:
        return [
            w for line in read_lines(text) for w in [*(p.text for p in line.pieces), (line.comment or "").replace(" ", "")] if w
        ]

    return all_of(a) == all_of(b)
