"""Entries of values: what an instruction is at some indices, as code of the loop form.

Moves of entries (slices, transposes, broadcasts, reshapes, gathers) are not carried out: they say which entry of their
argument is meant. What is computed pointwise is computed where it is used, once in each block of loops.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from gradlang.diagnostics import internal
from gradlang.ir.signs import never_positive
from gradlang.ir.tape import Instr, Tape
from gradlang.loops.ir import Buffer, Cell, Code, Value
from gradlang.plan import picks
from gradlang.plan.axes import groups
from gradlang.plan.picks import nothing
from gradlang.plan.pointwise import KINDS, PLAIN, SPECIAL, beyond, pointwise, real
from gradlang.record import field, record
from gradlang.types import Dim, Shape

Index = tuple[Value, ...]
Steps = Generator[tuple[int, Index], Value, Value]


@record
class Place:
    """Where a value lies: a buffer, those of its axes that it has there, and the position of its first entry."""

    buffer: Buffer
    axes: tuple[int, ...]
    shape: Shape  # of the whole value
    start: Value | None = None


@record(frozen=False)
class Frame:
    """What all readers of a kernel share: the code, and what the sizes are."""

    code: Code
    sizes: dict[str, Value]
    trouble: Cell | None = None  # set where an index or an argument is outside: the kernel's results are then worth nothing
    width: str = "f64"
    turns: bool = False  # whether rows are turned into columns before and behind long loops
    faulted: bool = False
    zeros: Cell = field(default_factory=lambda: Cell("f", "zeros"))  # what `doubt` adds up
    doubted: bool = False

    def dim(self, dim: Dim) -> Value:
        code = self.code
        if isinstance(dim, int):
            return code.whole(dim)
        total = code.whole(0)
        for names, factor in dim.terms:
            part = code.whole(factor)
            for n in names:
                part = code.op("imul", part, self.sizes[n])
            total = code.op("iadd", total, part)
        return total

    def linear(self, index: Sequence[Value], shape: Sequence[Dim]) -> Value:
        """The position of an entry in C order."""
        code = self.code
        at = code.whole(0)
        for k, d in zip(index, shape, strict=True):
            at = code.op("iadd", code.op("imul", at, self.dim(d)), k)
        return at

    def split(self, at: Value, shape: Sequence[Dim]) -> list[Value]:
        """The indices of a position in C order."""
        code, out = self.code, list[Value]()
        for k, d in enumerate(reversed(shape)):
            if d == 1:
                out.append(code.whole(0))
            elif k == len(shape) - 1:
                out.append(at)
            else:
                out.append(code.op("imod", at, self.dim(d)))
                at = code.op("idiv", at, self.dim(d))
        return out[::-1]

    def doubt(self, x: Value) -> Value:
        """Adds up x*0, for many x: the sum is not 0 if one of them is infinite or undefined."""
        self.faulted = self.doubted = True
        product = self.code.op("mul", x, self.code.real(0.0))
        self.code.update(self.zeros, "add", product)
        return product

    def fault(self, bad: Value) -> None:
        assert self.trouble is not None
        self.faulted = True
        self.code.update(self.trouble, "or", bad)


class Reader:
    """Reads entries of the values of one tape. `places` are values that lie in memory, `inputs` the leaves."""

    def __init__(
        self,
        tape: Tape,
        frame: Frame,
        places: dict[int, Place],
        inputs: Callable[[Any, Index], Value],
        seen: Callable[[int, Index], Value | None] | None = None,
    ) -> None:
        """`seen` is asked first; it may answer for a value that lies elsewhere."""
        self.tape, self.frame, self.places, self.inputs, self.seen = tape, frame, places, inputs, seen
        self.code = frame.code
        self.count: dict[int, int] = {}  # how often an instruction was written
        self.plain_numbers: list[bool] = []

    def key(self, i: int, index: Index) -> tuple[Any, ...]:
        return ("at", id(self), i, *map(id, index))

    def at(self, i: int, index: Index) -> Value:
        """An entry of a value, wherever it comes from."""
        index = self.plain(i, index)
        return self.known(i, index) or self.compute(i, index)

    def plain(self, i: int, index: Index) -> Index:
        """The index with 0 on axes of one entry."""
        shape = self.tape.instrs[i].type.shape
        return tuple([self.code.whole(0) if d == 1 else k for k, d in zip(index, shape, strict=True)]) if 1 in shape else index

    def known(self, i: int, index: Index) -> Value | None:
        """An entry that is there already."""
        found = self.code.recall(self.key(i, index))
        if found is None and self.seen is not None:
            found = self.seen(i, index)
        if found is None and i in self.places:
            found = self.number(i, index)
        if found is None and i in self.places:
            place, name = self.places[i], self.tape.instrs[i].name
            found = self.code.load(place.buffer, self.position(place, index), name or "")
            if not place.buffer.writable:
                self.code.remember(self.key(i, index), found)
        return found

    def number(self, i: int, index: Index) -> Value | None:
        """An entry that is a known number at a known place: of a unit matrix, or above the diagonal of a triangle."""
        instrs = self.tape.instrs
        while any(k.const is not None and d != 1 for k, d in zip(index, instrs[i].type.shape, strict=True)):
            instr = instrs[i]
            if self.numbers()[i] and all(k.const is not None for k in index):
                return self.compute(i, index)
            if instr.op == "where" and self.numbers()[instr.args[0]]:
                condition, *sides = instr.args
                known = self.at(condition, index if instrs[condition].type.shape else ()).const
                if known is None:
                    return None
                i = sides[0 if known else 1]
                index = index if instrs[i].type.shape else ()
            elif instr.op in STILL:
                i, index = next(MOVES[instr.op](self, instr, index))
                index = self.plain(i, index)
            else:
                return None
        instr = instrs[i]
        return self.code.const(instr.attrs[0], KINDS[instr.type.dtype]) if instr.op == "const" else None

    def finite(self, x: Value) -> None:
        """Gives up where a number is infinite or undefined, so that its product with zero would not be zero."""
        key = ("finite", id(x))
        if x.const is None and self.code.recall(key) is None:
            self.code.known[self.code.depth][key] = self.frame.doubt(x)

    def numbers(self) -> list[bool]:
        """Which values depend on nothing that is given."""
        if len(self.plain_numbers) < len(self.tape.instrs):
            for instr in self.tape.instrs:
                known = instr.op in COUNTED and all(self.plain_numbers[a] for a in instr.args)
                self.plain_numbers.append(known)
        return self.plain_numbers

    def compute(self, i: int, index: Index) -> Value:
        """An entry from the entries of the arguments. Formulas may be long, so nothing recurses."""
        stack = [(i, index, self.entry(i, index))]
        answer: Value | None = None
        while stack:
            i, index, steps = stack[-1]
            try:
                want = next(steps) if answer is None else steps.send(answer)
            except StopIteration as end:
                answer = end.value
                assert answer is not None
                self.code.remember(self.key(i, index), answer)
                stack.pop()
                continue
            i, index = want[0], self.plain(*want)
            answer = self.known(i, index)
            if answer is None:
                stack.append((i, index, self.entry(i, index)))
        assert answer is not None
        return answer

    def entry(self, i: int, index: Index) -> Steps:
        instr = self.tape.instrs[i]
        if instr.op == "item":
            raise internal("a sequence is read before its recurrence has run")
        if instr.op in LEAVES:
            return LEAVES[instr.op](self, instr, index)
        move = MOVES.get(instr.op)
        if move is not None:
            return (yield from move(self, instr, index))
        self.count[i] = self.count.get(i, 0) + 1
        args = []
        for a in instr.args:
            args.append((yield a, index if self.tape.instrs[a].type.shape else ()))
        far = beyond(self.code, instr.op, args, self.frame.width)
        if far is not None:
            self.frame.fault(far)
        if instr.op == "exp" and never_positive(self.tape, instr.args[0]):
            return self.code.call("exp_less", real(self.code, args[0]))
        return pointwise(self.code, instr.op, args, KINDS[instr.type.dtype])

    def position(self, place: Place, index: Index) -> Value:
        at = self.frame.linear([index[k] for k in place.axes], [place.shape[k] for k in place.axes])
        return at if place.start is None else self.code.op("iadd", place.start, at)

    def shape(self, i: int) -> Shape:
        return self.tape.instrs[i].type.shape


# ------------------------------------------------------------------ leaves
def _const(r: Reader, instr: Instr, index: Index) -> Value:
    return r.code.const(instr.attrs[0], KINDS[instr.type.dtype])


def _size(r: Reader, instr: Instr, index: Index) -> Value:
    made = r.frame.dim(instr.attrs[0])
    if instr.type.dtype == "int":
        return made
    return r.code.real(float(made.const)) if made.const is not None else r.code.op("itof", made)


LEAVES: dict[str, Callable[[Reader, Instr, Index], Value]] = {
    "const": _const,
    "size": _size,
    "input": lambda r, i, index: r.inputs(i.attrs[0], index),
    "iota": lambda r, i, index: index[0],
}


# ------------------------------------------------------------------ moves
def _broadcast(r: Reader, instr: Instr, index: Index) -> Steps:
    (a,) = instr.args
    shape = r.shape(a)
    zero, last = r.code.whole(0), index[len(index) - len(shape) :]
    return (yield a, tuple(zero if d == 1 else k for d, k in zip(shape, last, strict=True)))


def _reshape(r: Reader, instr: Instr, index: Index) -> Steps:
    """Axes of size 1 come and go; other axes are found group by group of equal total size, by division only where needed."""
    (a,) = instr.args
    source, target = r.shape(a), instr.type.shape
    thin = [(k, d) for k, d in zip(index, target, strict=True) if d != 1]
    want = [d for d in source if d != 1]
    if [d for _, d in thin] == want:
        rest = iter(k for k, _ in thin)
        return (yield a, tuple(r.code.whole(0) if d == 1 else next(rest) for d in source))
    out: list[Value] = []
    for old, new in groups(source, target):
        at = r.frame.linear([index[k] for k in new], [target[k] for k in new])
        out.extend([at] if len(old) == 1 else r.frame.split(at, [source[k] for k in old]))
    return (yield a, tuple(out))


def _transpose(r: Reader, instr: Instr, index: Index) -> Steps:
    (axes,) = instr.attrs
    out = list(index)
    for to, source in enumerate(axes):
        out[source] = index[to]
    return (yield instr.args[0], tuple(out))


def _slice(r: Reader, instr: Instr, index: Index) -> Steps:
    starts, _, steps = instr.attrs
    code = r.code
    made = (
        code.op("iadd", r.frame.dim(s), code.op("imul", code.whole(n), k)) for s, n, k in zip(starts, steps, index, strict=True)
    )
    return (yield instr.args[0], tuple(made))


def _unslice(r: Reader, instr: Instr, index: Index) -> Steps:
    """The entry of the argument that stands here, or zero. The index is kept inside, so that it may be read in any case."""
    _, starts, steps = instr.attrs
    code, zero = r.code, r.code.whole(0)
    (a,) = instr.args
    inside: Value | None = None
    out = []
    for k, start, step, n, whole in zip(index, starts, steps, r.shape(a), instr.type.shape, strict=True):
        if start == 0 and step == 1 and n == whole:
            out.append(k)
            continue
        at = code.op("isub", k, r.frame.dim(start))
        fits: list[Value] = []
        if step != 1:
            if step < 0:
                at = code.op("isub", zero, at)
            size = code.whole(abs(step))
            if abs(step) > 1:
                fits.append(code.op("ieq", code.op("imod", at, size), zero))
            at = code.op("idiv", at, size)
        fits += [code.op("ige", at, zero), code.op("ilt", at, r.frame.dim(n))]
        for f in fits:
            inside = f if inside is None else code.op("and", inside, f)
        last = code.op("isub", r.frame.dim(n), code.whole(1))
        out.append(code.op("imax", code.op("imin", at, last), zero))
    if inside is not None and code.careful and not all(isinstance(n, int) and n > 0 for n in r.shape(a)):
        found = code.cell(nothing(code, Value(KINDS[instr.type.dtype])), "found")
        with code.when(inside):
            code.update(found, "", (yield a, tuple(out)))
        return code.read(found)
    value = yield a, tuple(out)
    if inside is None:
        return value
    return code.select(inside, value, code.none() if value.type == "f" else nothing(code, value))


def checked(r: Reader, at: Value, size: Dim) -> Value:
    """An index that counts from the end where it is negative. One that is outside is reported, and moved inside."""
    code, zero, n = r.code, r.code.whole(0), r.frame.dim(size)
    if at.const is None or not at.const >= 0:
        at = code.select(code.op("ilt", at, zero), code.op("iadd", at, n), at)
    r.frame.fault(code.op("or", code.op("ilt", at, zero), code.op("ige", at, n)))
    return code.op("imax", code.op("imin", at, code.op("isub", n, code.whole(1))), zero)


def _take_axis(r: Reader, instr: Instr, index: Index) -> Steps:
    (axis,) = instr.attrs
    a, places = instr.args
    rank = len(r.shape(places))
    at = yield places, index[axis : axis + rank]
    at = checked(r, at, r.shape(a)[axis])
    return (yield a, (*index[:axis], at, *index[axis + rank :]))


def _take_along(r: Reader, instr: Instr, index: Index) -> Steps:
    (axis,) = instr.attrs
    a, places = instr.args
    at = checked(r, (yield places, index), r.shape(a)[axis])
    return (yield a, (*index[:axis], at, *index[axis + 1 :]))


def _within(r: Reader, instr: Instr, index: Index) -> Steps:
    at = yield instr.args[0], index
    return checked(r, at, instr.attrs[0])


def _nearest(r: Reader, instr: Instr, index: Index) -> Steps:
    code, zero, n = r.code, r.code.whole(0), r.frame.dim(instr.attrs[0])
    at = yield instr.args[0], index
    at = code.select(code.op("ilt", at, zero), code.op("iadd", at, n), at)
    return code.op("imax", code.op("imin", at, code.op("isub", n, code.whole(1))), zero)


def _earlier(r: Reader, instr: Instr, index: Index) -> Steps:
    code, (low, way) = r.code, instr.attrs
    zero, found = r.code.whole(0), []
    for a in instr.args:
        shape = r.shape(a)
        last = index[len(index) - len(shape) :]
        found.append((yield a, tuple(zero if d == 1 else k for d, k in zip(shape, last, strict=True))))
    at, step = found
    before = code.op("imul", code.op("isub", at, r.frame.dim(low)), code.whole(way))
    after = code.op("imul", code.op("isub", step, at), code.whole(way))
    bad = code.op("or", code.op("ilt", before, zero), code.op("ilt", after, code.whole(1)))
    r.frame.fault(bad)
    return code.select(bad, r.frame.dim(low), at)


MOVES: dict[str, Callable[[Reader, Instr, Index], Steps]] = {
    "broadcast_to": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "unslice": _unslice,
    "take_axis": _take_axis,
    "take_along": _take_along,
    "within": _within,
    "nearest": _nearest,
    "earlier": _earlier,
    **picks.MOVES,
}
STILL = ("broadcast_to", "transpose")  # moves that say at once which entry is meant
VIEWS = frozenset({"broadcast_to", "reshape", "transpose", "slice"})
COUNTED = frozenset({"const", "iota", *MOVES, *PLAIN, *SPECIAL})
