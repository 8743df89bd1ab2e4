"""The nodes of a large program, of which those of plain lines are kept as columns of numbers until somebody looks at them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, SupportsIndex

from gradlang.check.program import Node
from gradlang.record import record
from gradlang.source import Span
from gradlang.types import SCALAR

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

Row = tuple[str, tuple[int, ...], tuple[Any, ...], Span, str | None]  # op, arguments, attrs, span, name


@record(eq=False)
class Stretch:
    """Nodes that follow one another from `first` on: pointwise ops over real scalars, and numbers.

    Node first + k is of the form `forms[codes[k]]`: an op, the attrs of a node of it (None for a number, which `numbers` has),
    and how many of the columns `args` it uses."""

    first: int
    forms: tuple[tuple[str, tuple[Any, ...] | None, int], ...]
    codes: Numbers
    args: tuple[Numbers, ...]
    starts: Numbers
    stops: Numbers
    numbers: npt.NDArray[np.float64] | None
    names: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.codes)

    def node(self, i: int) -> Node:
        k = i - self.first
        op, attrs, count = self.forms[self.codes[k]]
        args = tuple([int(column[k]) for column in self.args[:count]])
        attrs = self.attrs(k) if attrs is None else attrs
        return Node(op, args, attrs, SCALAR, (int(self.starts[k]), int(self.stops[k])), (), self.names[k])

    def attrs(self, k: int) -> tuple[Any, ...]:
        assert self.numbers is not None
        return (float(self.numbers[k]),)

    def arguments(self, which: Any = slice(None)) -> list[tuple[int, ...]]:
        """The arguments of each node, or of some of them."""
        counts = [count for _, _, count in self.forms]
        columns = [column[which].tolist() for column in self.args]
        if set(counts) <= {1, 2}:  # as nearly all are
            if len(columns) == 1:
                return [(a,) for a in columns[0]]
            return [(a, b) if b >= 0 else (a,) for a, b in zip(*columns, strict=True)]
        codes = self.codes[which].tolist()
        rows = zip(*columns, strict=True) if columns else repeat(())
        return [row[: counts[code]] for code, row in zip(codes, rows, strict=False)]

    def rows(self, order: Sequence[int]) -> Iterator[Row]:
        """What some of the nodes are."""
        import numpy as np

        which = np.array(order, np.int64) - self.first
        forms, codes, numbers = self.forms, self.codes[which].tolist(), self.numbers
        attrs: list[Any] = [forms[c][1] for c in codes]
        if numbers is not None:
            attrs = [(x,) if a is None else a for a, x in zip(attrs, numbers[which].tolist(), strict=True)]
        spans = zip(self.starts[which].tolist(), self.stops[which].tolist(), strict=True)
        names = [self.names[k] for k in which.tolist()]
        return zip([forms[c][0] for c in codes], self.arguments(which), attrs, spans, names, strict=True)


class Nodes(list[Node]):
    """A list of nodes with stretches in it, whose nodes are made when they are first looked at."""

    __slots__ = ("firsts", "stretches")

    def __init__(self, nodes: Iterable[Node]) -> None:
        super().__init__(nodes)
        self.firsts: list[int] = []
        self.stretches: list[Stretch] = []

    def write(self, stretch: Stretch) -> None:
        """Appends a stretch, which starts where this list ends."""
        self.firsts.append(stretch.first)
        self.stretches.append(stretch)
        self.extend(repeat(None, len(stretch)))  # type: ignore[arg-type]

    def made(self) -> Iterator[Node | None]:
        """The nodes, with None for those of stretches that nobody has looked at."""
        return super().__iter__()

    def node(self, i: int) -> Node:
        """Makes the node of a stretch."""
        node = self.stretches[bisect_right(self.firsts, i) - 1].node(i)
        self[i] = node
        return node

    def looked_at(self, order: Iterable[int]) -> Iterator[Node]:
        """Some of the nodes, without those of stretches that nobody has looked at."""
        return (n for n in map(super().__getitem__, order) if n is not None)

    def seen(self, stretch: Stretch) -> set[int]:
        """The nodes of a stretch that somebody has looked at."""
        first = stretch.first
        some = super().__getitem__(slice(first, first + len(stretch)))
        return {first + k for k, n in enumerate(some) if n is not None}

    def split(self, order: Sequence[int]) -> Iterator[tuple[Sequence[int], Stretch | None]]:
        """Some of the nodes, in order, by the parts in which they are."""
        at = 0
        for _, stop, stretch in self.parts():
            after = bisect_left(order, stop, at)
            yield order[at:after], stretch
            at = after

    def parts(self) -> Iterator[tuple[int, int, Stretch | None]]:
        """What the list consists of, from where to where."""
        at = 0
        for s in self.stretches:
            if s.first > at:
                yield at, s.first, None
            at = s.first + len(s)
            yield s.first, at, s
        if at < len(self):
            yield at, len(self), None

    def mark(self, seen: bytearray) -> None:
        """Marks what marked nodes depend on."""
        for first, stop, stretch in reversed(list(self.parts())):
            args = [self[i].args for i in range(first, stop)] if stretch is None else stretch.arguments()
            for i in range(stop - 1, first - 1, -1):
                if seen[i]:
                    for a in args[i - first]:
                        seen[a] = 1

    def __getitem__(self, i: Any) -> Any:
        found = super().__getitem__(i)
        if found is None:
            return self.node(i if i >= 0 else len(self) + i)
        if isinstance(i, slice) and None in found:
            return [self[k] for k in range(*i.indices(len(self)))]
        return found

    def __iter__(self) -> Iterator[Node]:
        return (self.node(k) if n is None else n for k, n in enumerate(super().__iter__()))

    def __reversed__(self) -> Iterator[Node]:
        return (self[k] for k in range(len(self) - 1, -1, -1))

    def __delitem__(self, i: SupportsIndex | slice) -> None:
        super().__delitem__(i)
        assert not self.stretches or len(self) >= self.firsts[-1] + len(self.stretches[-1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce__(self) -> Any:
        return list, (list(self),)


def whole(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes but for those of stretches."""
    return (n for n in nodes.made() if n is not None) if isinstance(nodes, Nodes) else iter(nodes)


def arguments(nodes: Iterable[Node]) -> Iterator[tuple[int, ...]]:
    """The arguments of each node."""
    if not isinstance(nodes, Nodes):
        yield from (n.args for n in nodes)
        return
    for first, stop, stretch in nodes.parts():
        yield from (nodes[i].args for i in range(first, stop)) if stretch is None else stretch.arguments()
