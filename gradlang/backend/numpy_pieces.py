"""Arrays that are put together: values are written into their parts of one array, instead of being padded, added and joined.

A sum of padded arrays adds zeros where only one of them is. Zeros of both signs are told apart, so `x + 0` is left out only
where x cannot be -0.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.backend.names import ARRAY_KINDS
from gradlang.backend.numpy_slices import ranges
from gradlang.backend.text import ATOM, Text
from gradlang.ir.signs import never_negative_zero
from gradlang.ir.tape import Instr
from gradlang.record import changed, record
from gradlang.types import Dim, add

if TYPE_CHECKING:
    from gradlang.backend.numpy import NumpyPrinter


@record
class Part:
    """A value and the part of an array that it goes to: a slice, without the axes that are `single`. It is written there (""),
    added or subtracted."""

    sign: str
    value: int
    starts: tuple[Dim, ...]
    lengths: tuple[Dim, ...]
    steps: tuple[int, ...]
    single: tuple[bool, ...] = ()


@record
class Pieces:
    """What an array is made of, in order. `holes`: some entries may be in no part, and are zeros."""

    parts: tuple[Part, ...]
    holes: bool


class Finder:
    """The arrays of a tape that are put together, and what is written only there: `made` and `inside`."""

    def __init__(self, p: NumpyPrinter) -> None:
        self.p, self.instrs = p, p.tape.instrs
        self.made: dict[int, Pieces] = {}
        self.inside: set[int] = set()
        for i in range(len(self.instrs) - 1, -1, -1):
            op = self.instrs[i].op
            if i in self.inside or not p.uses[i]:
                continue
            found = self.joined(i) if op in ("concat", "stack") else self.summed(i) if op in ("add", "sub") else None
            if found is not None:
                self.made[i], inside = found
                self.inside |= inside

    def mine(self, i: int) -> bool:
        """Whether nothing but one other instruction needs a value."""
        return self.p.uses[i] == 1 and self.instrs[i].name is None and i not in self.p.results

    def number(self, i: int) -> int | None:
        """The number that fills an array, if it is one written as such."""
        at = self.instrs[i]
        return at.args[0] if at.op in ("broadcast_to", "reshape") and not self.instrs[at.args[0]].type.shape else None

    # -------------------------------------------------------------- sums of padded arrays
    def summed(self, i: int) -> tuple[Pieces, set[int]] | None:
        found = self.terms(i)
        if found is None or len(found[0]) < 2:
            return None
        terms, inside = found
        return Pieces(tuple(self.term(sign, u) for sign, u in terms), True), inside - {i}

    def term(self, sign: str, i: int) -> Part:
        instr = self.instrs[i]
        (a,), (_, starts, steps) = instr.args, instr.attrs
        number = self.number(a)
        return Part(sign, a if number is None else number, starts, self.instrs[a].type.shape, steps)

    def terms(self, i: int) -> tuple[list[tuple[str, int]], set[int]] | None:
        """Padded arrays and how each goes into their sum, if it may be made in place; and all instructions of the sum."""
        out: list[tuple[str, int]] = []
        inside = {i}
        while self.instrs[i].op in ("add", "sub"):
            op, (first, last) = self.instrs[i].op, self.instrs[i].args
            if op == "add" and self.instrs[last].op != "unslice":
                first, last = last, first
            if self.instrs[last].op != "unslice" or not self.mine(first) or not self.mine(last):
                return None
            out.append(("+" if op == "add" else "-", last))
            inside |= {first, last}
            i = first
        if self.instrs[i].op != "unslice" or self.instrs[i].type.dtype != "real":
            return None
        out.append(("", i))
        out.reverse()
        if any(sign == "+" for sign, _ in out):
            if out[1][0] == "+" and self.better(out[1][1], out[0][1]):
                out[:2] = ("", out[1][1]), ("+", out[0][1])
            if not never_negative_zero(self.p.tape, self.instrs[out[0][1]].args[0]):
                return None
        return out, inside

    def better(self, i: int, other: int) -> bool:
        """Whether a padded array comes before another one: if -0.0 is in neither, a number, which is quickly written."""
        a, b = self.instrs[i].args[0], self.instrs[other].args[0]
        if not never_negative_zero(self.p.tape, a):
            return False
        return not never_negative_zero(self.p.tape, b) or (self.number(b) is None and self.number(a) is not None)

    # -------------------------------------------------------------- joined arrays
    def joined(self, i: int) -> tuple[Pieces, set[int]] | None:
        """A joined array, if some of what is joined is padded or a number: others NumPy joins as fast."""
        instr = self.instrs[i]
        (axis,) = instr.attrs
        parts: list[Part] = []
        inside: set[int] = set()
        place: Dim = 0
        padded = numbers = False
        for a in instr.args:
            within, thin = a, instr.op == "stack"
            if not thin and self.row(a, axis):
                inside.add(a)
                within, thin = self.instrs[a].args[0], True
            found = self.terms(within) if self.mine(within) else None
            number = self.number(within)
            if found is not None:
                made = [self.term(sign, u) for sign, u in found[0]]
                inside |= found[1]
                padded = True
            else:
                shape = self.instrs[within].type.shape
                made = [Part("", within if number is None else number, (0,) * len(shape), shape, (1,) * len(shape))]
                inside |= {within} if number is not None and self.mine(within) else set()
                numbers = numbers or number is not None or not shape
            if not thin and any(part.steps[axis] < 0 for part in made):
                return None
            parts += [moved(part, axis, place, thin) for part in made]
            place = add(place, 1 if instr.op == "stack" else self.instrs[a].type.shape[axis])
        return (Pieces(tuple(parts), padded), inside) if padded or numbers else None

    def row(self, i: int, axis: int) -> bool:
        """Whether a value is another one with an axis of length 1 put in."""
        instr = self.instrs[i]
        if instr.op != "reshape" or not self.mine(i) or instr.type.shape[axis] != 1:
            return False
        return self.instrs[instr.args[0]].type.shape == instr.type.shape[:axis] + instr.type.shape[axis + 1 :]


def moved(part: Part, axis: int, place: Dim, thin: bool) -> Part:
    """A part of what is joined as one of the whole; `thin` is what becomes a row along the axis."""
    starts, lengths, steps = part.starts, part.lengths, part.steps
    if not thin:
        return changed(part, starts=(*starts[:axis], add(starts[axis], place), *starts[axis + 1 :]))
    return Part(
        part.sign,
        part.value,
        (*starts[:axis], place, *starts[axis:]),
        (*lengths[:axis], 1, *lengths[axis:]),
        (*steps[:axis], 1, *steps[axis:]),
        tuple(k == axis for k in range(len(starts) + 1)),
    )


def write(p: NumpyPrinter, i: int, instr: Instr) -> Text:
    """Writes the lines that put an array together, and gives its name."""
    pieces, name = p.pieces[i], p.name_of(i)
    maker = "zeros" if pieces.holes else "empty"
    p.lines.append((f"{name} = np.{maker}({p.shape(instr.type.shape)}, {ARRAY_KINDS[instr.type.dtype]})", instr.span))
    for part in pieces.parts:
        where = ranges(part.starts, part.lengths, part.steps, instr.type.shape, p.sizes, part.single)
        span = p.tape.instrs[part.value].span
        p.lines.append((f"{name}[{where}] {part.sign}= {p.at(part.value)}", span))
    p.depth[i] = 0
    return name, ATOM
