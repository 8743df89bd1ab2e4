"""Cuts a text into statements, each a run of tokens.

One regular expression, made from the terminals of the grammar, finds the tokens; this module adds the layout: a line end
outside brackets that does not follow a binary operator, `,` or `=` ends a statement (`_NL`), and deeper indentation is a
block. Characters that were pasted from a book (`×`, `−`, `（`) are reported and read as what they stand for, so that one
of them costs one error.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from gradlang.diagnostics import Diagnostic
from gradlang.record import field, record
from gradlang.source import Span
from gradlang.syntax import messages
from gradlang.syntax.grammar import tables

if TYPE_CHECKING:
    from gradlang.syntax.ast import Lines
    from gradlang.syntax.batch import Scanner
    from gradlang.syntax.lines import Found, Shapes

CONTINUES = ("+", "-", "*", "/", "//", "%", "@", "**", ",", "=", "and", "or", "<", "<=", ">", ">=", "==", "!=", "+/-")
STARTERS = (
    "input",
    "param",
    "const",
    "def",
    "op",
    "rule",
    "import",
    "from",
    "grad",
    "jacobian",
    "hessian",
    "output",
    "check",
    "minimize",
    "maximize",
    "return",
)
CONFUSABLE = {
    "×": "*",
    "·": "*",
    "⋅": "*",
    "∗": "*",
    "÷": "/",
    "∕": "/",
    "⁄": "/",
    "−": "-",
    "–": "-",
    "—": "-",
    "＋": "+",
    "－": "-",
    "＊": "*",
    "／": "/",
    "，": ",",
    "、": ",",
    "（": "(",
    "）": ")",
    "［": "[",
    "］": "]",
    "【": "[",
    "】": "]",
    "＝": "=",
    "：": ":",
    "＜": "<",
    "＞": ">",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "^": "**",
    "＾": "**",
    "．": ".",
    "％": "%",
    "＠": "@",
}
LAYOUT = frozenset({"_NL", "_INDENT", "_DEDENT"})
NEVER_A_SPACE = frozenset("\u200b\u200c\u200d\ufeff")
# characters that move what follows them on a terminal, or show it in another order
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LONG = 2000  # characters of a line whose shape is not worth keeping
LARGE = 500  # lines of a text that is read in batches, with NumPy, which a program of so many lines needs in any case
SHORT = 200  # characters of a line on average; a text with longer ones is not worth splitting ahead
NOT_FLUSH = frozenset((*" \t\f\r\n#", ""))  # what follows a line end where no statement starts in the first column
Key = tuple[tuple[str, ...], tuple[str, ...]]  # the gaps between the words of a line, and the kinds of the words


@record(frozen=False)
class Run:
    """The tokens of one statement: parallel lists of kinds, texts and offsets."""

    kinds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def put(self, kind: str, text: str, start: int, end: int) -> None:
        self.kinds.append(kind)
        self.texts.append(text)
        self.starts.append(start)
        self.ends.append(end)

    @property
    def span(self) -> Span:
        return (self.starts[0], self.ends[-1]) if self.starts else (0, 0)


@record
class Lexicon:
    pattern: re.Pattern[str]
    words: re.Pattern[str]
    literals: dict[str, str]
    continues: frozenset[str]
    opening: frozenset[str]
    closing: frozenset[str]
    starters: frozenset[str]


@cache
def lexicon() -> Lexicon:
    literals, words = tables().literals, tables().terminals
    operators = sorted((t for t in literals if not t[0].isalpha()), key=lambda t: (-len(t), t))
    pattern = re.compile(
        r"[ \t\f]*(?:"
        rf"({words['NAME']})|({words['NUMBER']})|({'|'.join(map(re.escape, operators))})|(\r?\n)"
        rf"|({words['COMMENT']})|({words['STRING']})|({words['UNIT']})|([^ \t\f\n])|$)"
    )
    kinds = {literals[t] for t in CONTINUES}
    return Lexicon(
        pattern,
        re.compile(rf"({words['NAME']}|{words['NUMBER']})"),
        literals,
        frozenset(kinds),
        frozenset({literals["("], literals["["]}),
        frozenset({literals[")"], literals["]"]}),
        frozenset(literals[t] for t in STARTERS),
    )


@record(frozen=False)
class Cut:
    """What a text falls into: the runs of its statements, the comments (for the formatter) and the faults."""

    runs: list[Run]
    faults: list[Diagnostic]
    comments: list[Span]
    lines: dict[int, list[Found | Lines]] = field(default_factory=dict)  # by the number of a run: known lines before it


class Cutter:
    """Walks over the matches of the lexicon once. `recover` ends a statement wherever the next line plainly starts one.
    Lines of known `shapes` are taken whole."""

    def __init__(self, text: str, start: int, end: int, recover: bool, shapes: Shapes | None = None) -> None:
        self.text, self.start, self.end, self.recover, self.shapes = text, start, end, recover, shapes
        self.lex = lexicon()
        self.cut = Cut([], [], [])
        self.run = Run()
        self.indents = [0]
        self.open: list[tuple[str, int]] = []
        self.block = False  # the last line ended in `:`, so a block must follow
        self.ahead: Scanner | None = None
        lines = text.count("\n", start, self.end) if shapes is not None else 0
        if shapes is not None and lines >= LARGE and self.end - start <= SHORT * lines:
            from gradlang.syntax.batch import Scanner  # which needs NumPy

            self.ahead = Scanner(text, self.end, shapes)

    def go(self) -> Cut:
        lex, text, end = self.lex, self.text, self.end
        literals, opening, closing = lex.literals, lex.opening, lex.closing
        match = lex.pattern.match
        at = self.start
        run = self.run
        self.first_line(at)
        at = self.whole_lines(at)
        while at < end:
            m = match(text, at, end)
            assert m is not None
            group, at = m.lastindex, m.end()
            if group == 1:
                word = m[1]
                if not word.isascii():
                    good = next((k for k in range(len(word), 0, -1) if word[:k].isidentifier()), 0)
                    if good < len(word):  # a superscript, say: a word character that no name may hold
                        word, at = word[:good], m.start(1) + good
                        if not good:
                            at = self.stray(text[at], at)
                            continue
                    word = unicodedata.normalize("NFKC", word)
                run.put(literals.get(word, "NAME"), word, m.start(1), at)
            elif group == 3:
                kind = literals[m[3]]
                if kind in opening:
                    self.open.append((m[3], m.start(3)))
                elif kind in closing and self.open:
                    self.open.pop()
                run.put(kind, m[3], m.start(3), at)
            elif group == 2:
                run.put("NUMBER", m[2], m.start(2), at)
            elif group == 4:
                self.line_end(m.start(4), at)
                run = self.run
                if not run.kinds:
                    at = self.whole_lines(at)
            elif group == 5:
                self.cut.comments.append((m.start(5), at))
            elif group == 6 or group == 7:
                if (odd := CONTROLS.search(m[group])) and run.kinds[:1] not in (
                    ["IMPORT"],
                    ["FROM"],
                ):  # no file has such a name
                    place = m.start(group) + odd.start()
                    self.cut.faults.append(messages.control(odd[0], (place, place + 1), group == 6))
                run.put("STRING" if group == 6 else "UNIT", m[group][1:-1], m.start(group), at)
            elif group == 8:
                at = self.stray(m[8], m.start(8))
        self.finish()
        return self.cut

    def whole_lines(self, at: int) -> int:
        """Takes lines of known shapes, from `at` on; where the first other line starts."""
        shapes, text, end = self.shapes, self.text, self.end
        if shapes is None:
            return at
        find, split, literal = text.find, self.lex.words.split, self.lex.literals.get
        lines: list[Found | Lines] = []
        while True:
            if self.ahead is not None:
                found, at = self.ahead.take(at)
                lines += found
            stop = find("\n", at, end)
            if stop < 0 or stop - at > LONG or text[stop + 1 : stop + 2] in NOT_FLUSH:
                break
            line = text[at:stop]
            parts = split(line)
            words = parts[1::2]
            key = (tuple(parts[::2]), tuple([literal(w) or ("NUMBER" if w < "A" else "NAME") for w in words]))
            shape = shapes.find(key, line, words) if line.isascii() and not parts[0] else None
            if shape is None:
                break
            lines.append((shape, words, at))
            at = stop + 1
        if lines:
            self.cut.lines.setdefault(len(self.cut.runs), []).extend(lines)
        return at

    def first_line(self, at: int) -> None:
        m = re.compile(r"[ \t]*(?=[^\s#])").match(self.text, at, self.end)
        if m and m.end() > at and self.start == 0:
            self.cut.faults.append(messages.unexpected_indent((at, m.end())))

    def stray(self, char: str, at: int) -> int:
        """A character that no token starts with: report it, and read it as what it was meant to be."""
        meant = CONFUSABLE.get(char)
        kind = self.lex.literals.get(meant or "")
        if char.isspace():
            self.cut.faults.append(messages.odd_space(char, (at, at + 1)))
        elif char in NEVER_A_SPACE:
            self.cut.faults.append(messages.invisible(char, (at, at + 1)))
        elif meant is None or kind is None:
            self.cut.faults.append(messages.stray(char, (at, at + 1), self.text))
            if char in "\"'":  # an unclosed text swallows its line
                stop = self.text.find("\n", at)
                return self.end if stop < 0 else min(stop, self.end)
            self.run.put("ERROR", char, at, at + 1)
        else:
            self.cut.faults.append(messages.confusable(char, meant, (at, at + 1)))
            if kind in self.lex.opening:
                self.open.append((meant, at))
            elif kind in self.lex.closing and self.open:
                self.open.pop()
            self.run.put(kind, meant, at, at + 1)
        return at + 1

    def line_end(self, at: int, after: int) -> None:
        """A line end: blank space, the end of a line of a block, or the end of the statement."""
        run = self.run
        if not run.kinds or run.kinds[-1] in LAYOUT:
            if not run.kinds:
                self.first_of_next(after)
            return
        inside = bool(self.open) or run.kinds[-1] in self.lex.continues
        if inside and not (self.recover and self.starts_statement(after)):
            return
        self.open.clear()
        blank = re.compile(r"(?:[ \t\f\r]*(?:#[^\n]*)?\n)*([ \t]*)(?=[^\s#])").match(self.text, after, self.end)
        indent = self.width(blank[1], blank.start(1)) if blank else 0
        block = run.kinds[-1] == "COLON"
        run.put("_NL", "", at, at)
        if block:
            if indent > self.indents[-1]:
                self.indents.append(indent)
                run.put("_INDENT", "", at, at)
            else:
                self.close(0 if indent == 0 else indent, at)
                return
        elif indent > self.indents[-1]:
            assert blank is not None
            self.cut.faults.append(messages.unexpected_indent((blank.start(1), blank.end(1))))
            indent = self.indents[-1]
        self.close(indent, at)

    def first_of_next(self, after: int) -> None:
        m = re.compile(r"[ \t]+(?=[^\s#])").match(self.text, after, self.end)
        if m and len(self.indents) == 1:
            self.cut.faults.append(messages.unexpected_indent((m.start(), m.end())))

    def width(self, blank: str, at: int) -> int:
        if " " in blank and "\t" in blank:
            self.cut.faults.append(messages.mixed_indent((at, at + len(blank))))
        return len(blank.expandtabs(8))

    def close(self, indent: int, at: int) -> None:
        while indent < self.indents[-1]:
            self.indents.pop()
            self.run.put("_DEDENT", "", at, at)
        if len(self.indents) > 1 and indent != self.indents[-1]:
            self.cut.faults.append(messages.uneven_dedent((at + 1, at + 1 + indent)))
        if len(self.indents) == 1:
            self.cut.runs.append(self.run)
            self.run = Run()

    def starts_statement(self, at: int) -> bool:
        """Whether the line at `at` starts in the first column with `name =`, `name :` or a keyword of a statement."""
        m = re.compile(r"(\w+)[ \t]*(\[[^\]\n]*\][ \t]*)?(,[ \t]*\w+[ \t]*)*(=(?!=)|:)?").match(self.text, at, self.end)
        return bool(m and (m[4] or self.lex.literals.get(m[1]) in self.lex.starters))

    def finish(self) -> None:
        if self.run.kinds:
            self.open.clear()
            self.run.put("_NL", "", self.end, self.end)
            self.close(0, self.end)


def cut(text: str, start: int = 0, end: int | None = None, recover: bool = False, shapes: Shapes | None = None) -> Cut:
    return Cutter(text, start, len(text) if end is None else end, recover, shapes).go()
