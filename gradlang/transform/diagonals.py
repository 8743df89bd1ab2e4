"""The diagonals of a banded matrix, as formulas.

A linear map is followed from its argument x on: of every value v, the derivatives d v[i] / d x[i + o] for the offsets o that
it has, each an array of the shape of v. What moves rows renames offsets, and anything else is the op itself, once for each
offset. So nothing is computed that is not an entry of a band, and no product is made with the zeros of a unit vector.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.check import lift
from gradlang.check.program import Ref
from gradlang.ir.tape import Builder, Instr
from gradlang.transform.lifting import between, dependent
from gradlang.transform.structure import Lost, Track, follow


def diagonals(b: Builder, x: int, unit: Ref, y: int) -> dict[int, Ref] | None:
    """d y[i] / d x[i + o] by offset o, for a linear map from the leaf x to y that was written into the builder; `unit` is what
    d x[i] / d x[i] is. None where the rows of x cannot be followed."""
    instrs = list(b.instrs)
    known = dependent(instrs, [x])
    try:
        return _Diagonals(b, instrs, known).run(x, unit, y)
    except Lost:
        return None


class _Diagonals:
    def __init__(self, b: Builder, instrs: Sequence[Instr], known: bytearray) -> None:
        self.b, self.instrs, self.known = b, instrs, known
        self.axes: dict[int, int] = {}  # of a value, along which its rows lie
        self.found: dict[int, dict[int, Ref]] = {}
        self.zeros: dict[int, Ref] = {}  # what a value is where nothing of x arrives

    def run(self, x: int, unit: Ref, y: int) -> dict[int, Ref]:
        self.axes[x], self.found[x] = 0, {0: unit}
        self.zeros[x] = self.nothing(self.instrs[x])
        for i in between(self.instrs, {x: unit}, [y], self.known):
            if self.known[i]:
                self.step(i)
        return self.found[y]

    def nothing(self, instr: Instr) -> Ref:
        b = self.b
        return b.ref(b.broadcast(b.const(0.0), instr.type.shape, instr.span, instr.scope))

    def step(self, i: int) -> None:
        instr = self.instrs[i]
        moved = self.moves(i)
        offsets = sorted({o + by for k, by in moved.items() for o in self.found[instr.args[k]]})
        self.found[i] = {o: self.along(instr, {k: o - by for k, by in moved.items()}) for o in offsets}
        if instr.type.dtype == "real":
            self.zeros[i] = self.nothing(instr)
        else:
            self.zeros[i] = self.made(instr, [self.zeros.get(a, self.b.ref(a)) for a in instr.args])

    def moves(self, i: int) -> dict[int, int]:
        """By how much an instruction moves the offsets of each argument that depends on x."""
        instr = self.instrs[i]
        out: dict[int, int] = {}
        for k, a in enumerate(instr.args):
            if not self.known[a]:
                continue
            tracks: list[Track | None] = [None] * len(instr.args)
            tracks[k] = Track(self.axes[a], frozenset({0}))
            track = follow(instr, tracks, self.instrs, self.b.table)
            (out[k],) = track.offsets
            if self.axes.setdefault(i, track.axis) != track.axis:
                raise Lost
        return out

    def along(self, instr: Instr, at: dict[int, int]) -> Ref:
        """One diagonal of a value, for those of its arguments; an exact zero is no term of a sum."""
        there = {k: r for k, o in at.items() if (r := self.found[instr.args[k]].get(o)) is not None}
        if len(there) == 1 and instr.op in ("add", "sub") and len(at) == 2:
            ((k, only),) = there.items()
            return self.made_of("neg", instr, [only]) if k == 1 and instr.op == "sub" else only
        refs = [there.get(k, self.zeros[a]) if self.known[a] else self.b.ref(a) for k, a in enumerate(instr.args)]
        return self.made(instr, refs)

    def made(self, instr: Instr, refs: list[Ref]) -> Ref:
        return self.made_of(instr.op, instr, refs)

    def made_of(self, name: str, instr: Instr, refs: list[Ref]) -> Ref:
        b = self.b
        attrs = instr.attrs if name == instr.op else ()
        op = b.table[name]
        if any(r.axes for r in refs):
            return lift.emit(b, b.table, op, refs, attrs, instr.type, instr.span, instr.scope)
        return b.emit(op, refs, attrs, instr.type, instr.span, instr.scope)
