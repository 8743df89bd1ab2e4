"""Source texts and places in them.

A `Span` is a pair of character offsets (start, end) into the text of one `Source`. Line and column exist only when
something is printed. The sources of one program share one number line: each starts at its own `base`, so that a span
alone says which file it points into.
"""

from __future__ import annotations

from bisect import bisect_right

from gradlang.record import field, record

Span = tuple[int, int]
NOWHERE: Span = (0, 0)


@record(frozen=False)
class Source:
    """One text: the path shown to people, the text itself, and where it stands on the program's number line."""

    path: str
    text: str
    base: int = 0
    _starts: list[int] = field(default_factory=list)

    def line_starts(self) -> list[int]:
        if not self._starts:
            starts, at = [0], self.text.find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = self.text.find("\n", at + 1)
            self._starts = starts
        return self._starts

    def place(self, offset: int) -> tuple[int, int]:
        """Line (from 1) and column (from 0, in characters) of an offset on the program's number line."""
        local = min(max(offset - self.base, 0), len(self.text))
        line = bisect_right(self.line_starts(), local)
        return line, local - self.line_starts()[line - 1]

    def line(self, number: int) -> str:
        """The text of a line (numbered from 1) without its end."""
        starts = self.line_starts()
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r")

    def slice(self, span: Span) -> str:
        return self.text[span[0] - self.base : span[1] - self.base]


@record(frozen=False)
class Sources:
    """The texts of one program, in the order in which they were read."""

    files: list[Source] = field(default_factory=list)

    def add(self, path: str, text: str) -> Source:
        base = self.files[-1].base + len(self.files[-1].text) + 1 if self.files else 0
        source = Source(path, text, base)
        self.files.append(source)
        return source

    def of(self, offset: int) -> Source:
        return self.files[max(0, bisect_right([f.base for f in self.files], offset) - 1)]

    def place(self, span: Span) -> str:
        """`path:line:column` of the start of a span, both from 1."""
        source = self.of(span[0])
        line, column = source.place(span[0])
        return f"{source.path}:{line}:{column + 1}"
