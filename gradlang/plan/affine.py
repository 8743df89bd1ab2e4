"""Positions in memory as sums of counters, and bounds of whole numbers: what can be known of an index before it is computed."""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.loops.ir import FOLDS, For, Let, Statement, Value
from gradlang.loops.walk import statements
from gradlang.record import field, record

Bounds = tuple[int | None, int | None]  # the least and the greatest value, where they are known


@record
class Sum:
    """constant + sum of factor * term, the terms being counters and what is computed in another way."""

    constant: int
    factors: dict[Value, int]

    def plus(self, other: Sum, times: int = 1) -> Sum:
        factors = dict(self.factors)
        for v, n in other.factors.items():
            factors[v] = factors.get(v, 0) + times * n
        return Sum(self.constant + times * other.constant, {v: n for v, n in factors.items() if n})

    def times(self, number: int) -> Sum:
        return Sum(0, {}).plus(self, number)


@record
class Positions:
    """Sums of the values of some statements, in which the counter of a loop that does not start at 0 is its start and a term
    of its own that counts from 0."""

    sums: dict[Value, Sum] = field(default_factory=dict)
    bounds: dict[Value, Bounds] = field(default_factory=dict)  # of terms
    loops: dict[Value, For] = field(default_factory=dict)  # of terms that count
    least: dict[Value, list[Sum]] = field(default_factory=dict)  # terms that are the least of some sums

    def of(self, v: Value) -> Sum:
        if v.const is not None and v.type == "i":
            return Sum(int(v.const), {})
        return self.sums.get(v) or Sum(0, {v: 1})

    def let(self, s: Let) -> Sum:
        parts = [self.of(a) for a in s.args]
        if s.op in ("iadd", "isub"):
            return parts[0].plus(parts[1], 1 if s.op == "iadd" else -1)
        if s.op == "ineg":
            return parts[0].times(-1)
        if s.op == "imul" and any(not p.factors for p in parts):
            known, other = (parts[0], parts[1]) if not parts[0].factors else (parts[1], parts[0])
            return other.times(known.constant)
        self.bounds[s.value] = self.bounded(s, parts)
        if s.op == "imin":
            self.least[s.value] = parts
        return Sum(0, {s.value: 1})

    def bounded(self, s: Let, parts: list[Sum]) -> Bounds:
        if s.op in ("imin", "imax"):
            lows, highs = zip(*(self.range(p) for p in parts), strict=True)
            pick = FOLDS[s.op]
            known_low, known_high = [n for n in lows if n is not None], [n for n in highs if n is not None]
            low = pick(*known_low) if len(known_low) == 2 else known_low[0] if known_low and s.op == "imax" else None
            high = pick(*known_high) if len(known_high) == 2 else known_high[0] if known_high and s.op == "imin" else None
            return low, high
        if s.op == "imod" and not parts[1].factors and parts[1].constant > 0:
            return 0, parts[1].constant - 1
        return (0, 1) if s.op == "btoi" else (None, None)

    def range(self, form: Sum) -> Bounds:
        """The bounds of a sum."""
        low: int | None = form.constant
        high: int | None = form.constant
        for v, n in form.factors.items():
            ends = self.bounds.get(v, (None, None))
            first, last = ends if n > 0 else ends[::-1]
            low = None if low is None or first is None else low + n * first
            high = None if high is None or last is None else high + n * last
        return low, high

    def counter(self, s: For) -> None:
        """A counter, with the bound that its start and stop give."""
        start = self.of(s.start)
        most = self.steps(s, start)
        if not start.factors and not start.constant:
            self.bounds[s.counter], self.loops[s.counter] = (0, most), s
            return
        term = Value("i", hint=s.counter.hint)
        self.bounds[term], self.loops[term] = (0, most), s
        self.sums[s.counter] = start.plus(Sum(0, {term: 1}))

    def steps(self, s: For, start: Sum) -> int | None:
        """The last step of a loop, counted from 0, if something is known of it. Its end may be the least of several."""
        ends, waiting = list[int](), [self.of(s.stop)]
        for stop in waiting:  # grows while it is walked
            high = self.range(stop.plus(start, -1))[1]
            if high is not None:
                ends.append(high - 1)
            if not stop.constant and list(stop.factors.values()) == [1]:
                waiting += self.least.get(next(iter(stop.factors)), ())
        return max(0, min(ends)) if ends else None


def positions_of(body: Sequence[Statement]) -> Positions:
    """The positions that the statements of a kernel compute."""
    found = Positions()
    for s in statements(body):
        if isinstance(s, Let) and s.value.type == "i":
            found.sums[s.value] = found.let(s)
        elif isinstance(s, For):
            found.counter(s)
    return found
