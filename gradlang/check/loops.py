"""The loops of comprehensions and recurrences, and what is known of an index before it is a number.

A loop counts from 0; `for i in range(a, b, s)` makes i the `Index` a + s*counter. Indices stay formulas of counters as long
as they are sums of them, so that `x[i + 1]` can become a slice; anything else becomes an array of whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradlang.record import record
from gradlang.source import NOWHERE, Span
from gradlang.types import Dim, add, at_least, exact_quotient, mul, sub


@record(eq=False)
class Loop:
    """A counter from 0 to length - 1. `depth` orders the loops of a nest, outer ones first; the counter of a `scan` is
    that of a recurrence, whose steps are computed one after the other."""

    name: str
    length: Dim
    depth: int
    span: Span = NOWHERE
    scan: bool = False


@record
class Index:
    """base + sum of factor*counter; outer loops first, no factor is 0."""

    base: Dim
    terms: tuple[tuple[Loop, int], ...]

    @property
    def loops(self) -> tuple[Loop, ...]:
        return tuple(loop for loop, _ in self.terms)

    def factor(self, loop: Loop) -> int:
        return next((f for at, f in self.terms if at is loop), 0)

    def without(self, loop: Loop) -> Dim | Index:
        return simple(self.base, [(at, f) for at, f in self.terms if at is not loop])


def simple(base: Dim, terms: Iterable[tuple[Loop, int]]) -> Dim | Index:
    """An Index, or the size that it is if it depends on no counter."""
    kept = tuple(sorted(((at, f) for at, f in terms if f), key=lambda t: t[0].depth))
    return Index(base, kept) if kept else base


def plus(a: Dim | Index, b: Dim | Index, sign: int = 1) -> Dim | Index:
    """a + sign*b."""
    terms = dict(a.terms) if isinstance(a, Index) else {}
    for loop, f in b.terms if isinstance(b, Index) else ():
        terms[loop] = terms.get(loop, 0) + sign * f
    low, high = (x.base if isinstance(x, Index) else x for x in (a, b))
    return simple(add(low, mul(sign, high)), terms.items())


def times(a: Index, factor: int) -> Dim | Index:
    return simple(mul(a.base, factor), [(at, f * factor) for at, f in a.terms])


def smallest(a: Dim | Index) -> Dim:
    """The least value over all counters, for loops that run at least once."""
    if not isinstance(a, Index):
        return a
    low = a.base
    for loop, f in a.terms:
        if f < 0:
            low = add(low, mul(f, sub(loop.length, 1)))
    return low


def largest(a: Dim | Index) -> Dim:
    if not isinstance(a, Index):
        return a
    high = a.base
    for loop, f in a.terms:
        if f > 0:
            high = add(high, mul(f, sub(loop.length, 1)))
    return high


def inside(a: Dim | Index, dim: Dim) -> bool:
    """Whether an index is plainly in 0 to dim - 1 for every counter and all sizes."""
    return at_least(smallest(a), 0) and at_least(sub(sub(dim, 1), largest(a)), 0)


def steps(start: Dim, stop: Dim, step: int) -> Dim | None:
    """How many numbers `range(start, stop, step)` has, if that is one formula for all sizes."""
    if isinstance(start, int) and isinstance(stop, int):
        return len(range(start, stop, step))
    way = sub(stop, start) if step > 0 else sub(start, stop)
    width = abs(step)
    return next((q for r in range(width) if (q := exact_quotient(add(way, r), width)) is not None), None)


def dims(axes: Iterable[Loop]) -> tuple[Dim, ...]:
    return tuple(loop.length for loop in axes)


def together(*groups: Iterable[Loop]) -> tuple[Loop, ...]:
    """All loops of some groups, each once, outer ones first."""
    return tuple(sorted(dict.fromkeys(loop for group in groups for loop in group), key=lambda loop: loop.depth))
