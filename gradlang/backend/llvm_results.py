"""Results that are used again once the caller has let them go, as LLVM text.

A function of numbers keeps its last two results. Before it makes new objects it looks at the older one: if nobody else holds
any part of it, and no dict of it was changed since it was made, the new numbers are written into its floats. As a program that
calls in a loop holds at most the result before, most calls then make no object. CPython's `zip` does so with its tuples.

References are counted in the first word of an object. That a dict was not changed is told by its version tag (PEP 509), which
Python has until 3.13; the loader probes both, and leaves the table without its list where they are not as expected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlang.backend.llvm_entry import Returns
    from gradlang.backend.llvm_keywords import KeywordText

FLOAT = 16  # where the number of a float object lies
TAG = 24  # where a dict has its version
HEAD = 2  # words of the table before the results: the list that holds them, and which of them is older
Leaf = tuple[int, int]  # a container (as its identity) and a place in it


@dataclass
class Layout:
    """The words that describe a result: the addresses of its containers, outermost first, behind that of a dict its version,
    and the addresses of its floats."""

    containers: list[tuple[Returns, int]] = field(default_factory=list)
    floats: dict[Leaf, tuple[int, int]] = field(default_factory=dict)  # word, and which number
    words: int = 0


def layout(returns: Returns, truths: frozenset[int]) -> Layout | None:
    """None for results that are not used again: single numbers, and those with other things than floats in them."""
    made = Layout()
    waiting: list[Returns] = [returns]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, (tuple, dict)) or not part:
            return None
        made.containers.append((part, made.words))
        made.words += 2 if isinstance(part, dict) else 1
        inner = list(part.values()) if isinstance(part, dict) else list(part)
        whole = [p for p in inner if not isinstance(p, int)]
        if any(isinstance(p, int) and p in truths for p in inner) or (isinstance(part, dict) and 0 < len(whole) < len(inner)):
            return None
        for k, p in enumerate(inner):
            if isinstance(p, int):
                made.floats[id(part), k] = made.words, p
                made.words += 1
        waiting += reversed(whole)
    return made if made.floats else None


class Again:
    """Writes both ways of a result for one entry: into an old one, and how a new one is kept."""

    def __init__(self, text: KeywordText, layout: Layout, symbol: str) -> None:
        self.text, self.layout, self.symbol = text, layout, symbol
        self.size = HEAD + 2 * layout.words
        text.slots.append(f"  %made = alloca [{layout.words} x ptr]")

    def table(self) -> str:
        return f"@{self.symbol} = dso_local global [{self.size} x i64] zeroinitializer"

    def word(self, base: str, k: int) -> str:
        return self.text.emit(f"getelementptr inbounds i64, ptr {base}, i64 {k}")

    def load(self, kind: str, base: str, k: int) -> str:
        return self.text.emit(f"load {kind}, ptr {self.word(base, k)}")

    def reuse(self) -> None:
        """Returns an old result if one is free. Goes on at `new`, where `%list` and `%old` are known.

        What is inside a container is looked at after the container: as long as that is the one that was made, so is the
        inside."""
        emit, lines = self.text.emit, self.text.lines
        lines += [
            f"  %list = load ptr, ptr @{self.symbol}",
            f"  %turn.at = getelementptr inbounds i64, ptr @{self.symbol}, i64 1",
            "  %turn = load i64, ptr %turn.at",
            "  %other.turn = xor i64 %turn, 1",
            f"  %old.at = mul i64 %turn, {self.layout.words}",
            f"  %results.at = getelementptr inbounds i64, ptr @{self.symbol}, i64 {HEAD}",
            "  %old = getelementptr inbounds i64, ptr %results.at, i64 %old.at",
        ]
        whole = self.load("ptr", "%old", 0)
        self.text.unless(emit(f"icmp eq ptr {whole}, null"), "new")
        for part, k in self.layout.containers:
            holder = self.load("ptr", "%old", k)
            self.text.unless(emit(f"icmp ne i64 {emit(f'load i64, ptr {holder}')}, 1"), "new")
            if isinstance(part, dict):
                at = emit(f"getelementptr inbounds i8, ptr {holder}, i64 {TAG}")
                same = emit(f"icmp ne i64 {emit(f'load i64, ptr {at}')}, {self.load('i64', '%old', k + 1)}")
                self.text.unless(same, "new")
        held, floats = "0", []
        for k, number in self.layout.floats.values():
            floats.append((self.load("ptr", "%old", k), number))
            more = emit(f"xor i64 {emit(f'load i64, ptr {floats[-1][0]}')}, 1")
            held = emit(f"or i64 {held}, {more}")
        self.text.unless(emit(f"icmp ne i64 {held}, 0"), "new")
        for at, number in floats:
            place = emit(f"getelementptr inbounds i8, ptr {at}, i64 {FLOAT}")
            lines.append(f"  store double {self.text.result_number(number)}, ptr {place}")
        lines += [
            "  store i64 %other.turn, ptr %turn.at",
            f"  store i64 2, ptr {whole}",
            f"  ret ptr {whole}",
            "new:",
        ]

    def made(self, part: Returns, name: str) -> None:
        """Notes a container of a new result."""
        self.note({id(p): k for p, k in self.layout.containers}.get(id(part)), name)

    def leaf(self, parts: Returns, k: int, name: str) -> None:
        """Notes a float of a new result."""
        found = self.layout.floats.get((id(parts), k))
        self.note(found and found[0], name)

    def note(self, word: int | None, name: str) -> None:
        if word is not None:
            at = self.text.emit(f"getelementptr inbounds ptr, ptr %made, i64 {word}")
            self.text.lines.append(f"  store ptr {name}, ptr {at}")

    def keep(self, whole: str) -> None:
        """Puts a new result in the place of the older one. Letting that go may run any code, also this function: the words are
        written before."""
        text = self.text
        text.lines += ["  %keeps = icmp ne ptr %list, null", "  br i1 %keeps, label %keep, label %give", "keep:"]
        dicts = {k + 1: k for part, k in self.layout.containers if isinstance(part, dict)}
        for k in range(self.layout.words):
            found = text.emit(f"load ptr, ptr {text.emit(f'getelementptr inbounds ptr, ptr %made, i64 {dicts.get(k, k)}')}")
            if k in dicts:
                found = text.emit(f"load i64, ptr {text.emit(f'getelementptr inbounds i8, ptr {found}, i64 {TAG}')}")
            text.lines.append(f"  store {'i64' if k in dicts else 'ptr'} {found}, ptr {self.word('%old', k)}")
        more = text.emit(f"add i64 {text.emit(f'load i64, ptr {whole}')}, 1")
        text.lines += ["  store i64 %other.turn, ptr %turn.at", f"  store i64 {more}, ptr {whole}"]
        status = text.python("PyList_SetItem", "i32", "ptr %list", "i64 %turn", f"ptr {whole}")
        text.unless(text.emit(f"icmp ne i32 {status}, 0"), "lost")
        text.lines += [
            "  br label %give",
            "lost:",  # it is not in the list: nothing keeps it
            "  store ptr null, ptr %old",
            "  br label %drop",
            "give:",
        ]
