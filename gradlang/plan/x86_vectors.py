"""Functions of the loop form as machine code of x86-64 for four numbers at once, with AVX2 and FMA.

The straight lines of `gradlang/loops` are short: a value has a register from the step that computes it to the last that reads
it, constants stand behind the code and are read from there. Encodings are those of Intel's manual (Software Developer's Manual,
volume 2, "VEX prefix").

A routine is called with the first two numbers in xmm0 and the others in xmm1, and gives its results in ymm0 and ymm1. Register
rbx points at the array of values; where an argument is beyond the limit of the function, the routine sets bits at a place in
it. What is written here lies in a file (`plan/x86_routines.py`), which programs are made with.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence

from gradlang.loops.functions import line
from gradlang.loops.ir import Let, Value
from gradlang.plan.x86_routines import Piece
from gradlang.record import field, record

REGISTERS = 16
SIGN, REST, ALL = 1 << 63, (1 << 63) - 1, (1 << 64) - 1
SWAPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
PREDICATES = {"lt": 0x11, "le": 0x12, "gt": 0x1E, "ge": 0x1D, "eq": 0x00, "ne": 0x04}
# (map, opcode) of a dst = a op b, of which b may stand in memory; operands of the first ones may change places.
EITHER = {"add": (1, 0x58), "mul": (1, 0x59), "and": (1, 0x54), "or": (1, 0x56), "wadd": (1, 0xD4), "wand": (1, 0xDB)}
EITHER |= {"wor": (1, 0xEB), "wxor": (1, 0xEF), "weq": (2, 0x29)}
ORDERED = {"sub": (1, 0x5C), "div": (1, 0x5E), "wsub": (1, 0xFB)}
WITH_MASK = {"neg": (0x57, SIGN), "abs": (0x54, REST), "not": (0x57, ALL)}
ROUNDED = {"floor": 9, "ceil": 10, "rint": 8}
SHIFTS = {"wshl": 6, "wshr": 2}
FMA_132, FMA_213, FMA_231 = 0x98, 0xA8, 0xB8


class TooLong(Exception):
    """A function needs more registers, or other operations, than there are."""


@record(frozen=False)
class Blob:
    """The code of a routine that is being written: a `Piece` whose constants are numbered by their values."""

    code: bytearray = field(default_factory=bytearray)
    constants: dict[int, int] = field(default_factory=dict)
    reads: list[tuple[int, int, int]] = field(default_factory=list)
    far: list[int] = field(default_factory=list)

    def emit(self, opcode: int, reg: int, other: int, rm: int | Value, map: int = 1, w: int = 0, tail: bytes = b"") -> None:
        """A VEX instruction on whole registers. `rm` is a register or a constant."""
        memory = isinstance(rm, Value)
        low = 0 if isinstance(rm, Value) else rm
        self.code += bytes([0xC4, (~reg >> 3 & 1) << 7 | 0x40 | (~low >> 3 & 1) << 5 | map, w << 7 | (~other & 15) << 3 | 5])
        self.code += bytes([opcode, (reg & 7) << 3 | 5 if memory else 0xC0 | (reg & 7) << 3 | low & 7])
        if isinstance(rm, Value):
            here = len(self.code)
            self.code += bytes(4)
            number = self.constants.setdefault(bits(rm), len(self.constants))
            self.reads.append((here, here + 4 + len(tail), number))
        self.code += tail

    def mark_far(self, instruction: str) -> None:
        """An instruction on the place for the bits of arguments beyond the limit."""
        self.code += bytes.fromhex(instruction)
        self.far.append(len(self.code))
        self.code += bytes(4)

    def piece(self) -> Piece:
        return Piece(bytes(self.code), tuple(self.constants), tuple(self.reads), tuple(self.far))


def bits(value: Value) -> int:
    """The eight bytes of a constant."""
    assert value.const is not None
    packed = struct.pack("<d", value.const) if value.type == "f" else struct.pack("<q", int(value.const))
    return int(struct.unpack("<Q", packed)[0])


def mask(number: int) -> Value:
    return Value("w", number - (1 << 64) if number >> 63 else number)


def needed(body: Sequence[Let], results: Sequence[Value]) -> list[Let]:
    """The steps that the results depend on."""
    wanted = set(results)
    out: list[Let] = []
    for let in reversed(body):
        if let.value in wanted:
            wanted.update(let.args)
            out.append(let)
    return out[::-1]


class Routine:
    """Writes one function: the registers of its values, and when they are free again."""

    def __init__(self, blob: Blob, body: Sequence[Let], results: Sequence[Value]) -> None:
        self.blob, self.body, self.results = blob, needed(body, results), results
        self.same: dict[Value, Value] = {}  # a word and the number of the same bits are one
        self.last: dict[Value, int] = {}
        for k, let in enumerate(self.body):
            if let.op in ("bits", "unbits"):
                self.same[let.value] = self.root(let.args[0])
            for a in let.args:
                self.last[self.root(a)] = k
        for r in results:
            self.last[self.root(r)] = len(self.body)
        self.at: dict[Value, int] = {}
        self.free = list(range(REGISTERS - 1, -1, -1))
        self.step = 0

    def root(self, value: Value) -> Value:
        return self.same.get(value, value)

    def take(self) -> int:
        if not self.free:
            raise TooLong
        return self.free.pop()

    def reg(self, value: Value) -> int:
        return self.at[self.root(value)]

    def rm(self, value: Value) -> int | Value:
        """A register or, for a constant, a place in memory."""
        return value if value.const is not None else self.reg(value)

    def dies(self, value: Value) -> bool:
        return value.const is None and self.last[self.root(value)] == self.step

    def run(self, param: Value) -> None:
        self.free.remove(0)
        self.at[param] = 0
        for step, let in enumerate(self.body):
            self.step = step
            if let.op in ("bits", "unbits"):
                if let.args[0].const is not None:
                    raise TooLong
                continue
            gone = dict.fromkeys(self.root(a) for a in let.args if self.dies(a))  # in their order, and so is the code
            made = self.write(let, gone)
            for value in gone:
                if self.at[value] != made:
                    self.free.append(self.at[value])
                del self.at[value]
            self.at[let.value] = made
            if let.value not in self.last:
                self.free.append(made)

    def copied(self, value: Value, gone: Collection[Value]) -> int:
        """A register with a value that may be written over."""
        if value.const is None and self.root(value) in gone:
            return self.reg(value)
        to = self.take()
        self.blob.emit(0x28, to, 0, self.rm(value))
        return to

    def write(self, let: Let, gone: Collection[Value]) -> int:
        """Writes a step; the register of its result."""
        op, args, emit = let.op, let.args, self.blob.emit
        if op == "fma":
            return self.fma(args, gone)
        if op == "select":
            condition, then, otherwise = args
            first = self.copied(otherwise, gone) if otherwise.const is not None else self.reg(otherwise)
            to = first if otherwise.const is not None else self.over(otherwise, then, gone)
            emit(0x4B, to, first, self.rm(then), map=3, tail=bytes([self.reg(condition) << 4]))
            return to
        if op in EITHER or op in ORDERED or op in PREDICATES:
            a, b = args
            if a.const is not None and (op in EITHER or op in PREDICATES):
                a, b, op = b, a, SWAPPED.get(op, op)
            first = self.copied(a, gone) if a.const is not None else self.reg(a)
            to = first if a.const is not None else self.over(a, b, gone)
            if op in PREDICATES:
                emit(0xC2, to, first, self.rm(b), tail=bytes([PREDICATES[op]]))
            else:
                map, opcode = (EITHER | ORDERED)[op]
                emit(opcode, to, first, self.rm(b), map=map)
            return to
        return self.unary(op, args, gone)

    def unary(self, op: str, args: Sequence[Value], gone: Collection[Value]) -> int:
        emit, x = self.blob.emit, args[0]
        if op == "copysign" and x.const is None and args[1].const is None:
            size, sign = self.take(), self.take()
            emit(0x54, size, self.reg(x), mask(REST))
            emit(0x54, sign, self.reg(args[1]), mask(SIGN))
            emit(0x56, size, size, sign)
            self.free.append(sign)
            return size
        if x.const is not None or not (op in WITH_MASK or op in SHIFTS or op in ROUNDED or op == "sqrt"):
            raise TooLong
        to, at = self.over(x, x, gone), self.reg(x)
        if op in WITH_MASK:
            opcode, constant = WITH_MASK[op]
            emit(opcode, to, at, mask(constant))
        elif op in SHIFTS:
            assert args[1].const is not None
            emit(0x73, SHIFTS[op], to, at, tail=bytes([int(args[1].const)]))
        elif op == "sqrt":
            emit(0x51, to, 0, at)
        else:
            emit(0x09, to, 0, at, map=3, tail=bytes([ROUNDED[op]]))
        return to

    def over(self, a: Value, b: Value, gone: Collection[Value]) -> int:
        """Where the result of a step goes: into the register of an operand that nobody needs any more, if there is one."""
        for value in (a, b):
            if value.const is None and self.root(value) in gone:
                return self.reg(value)
        return self.take()

    def fma(self, args: Sequence[Value], gone: Collection[Value]) -> int:
        """x y + z. One operand may stand in memory, and the result takes the place of one."""
        x, y, z = args
        if x.const is not None or (y.const is None and self.root(y) in gone and self.root(x) not in gone):
            x, y = y, x
        if x.const is not None:
            raise TooLong  # a number times a number
        if z.const is not None and y.const is not None:
            to = self.copied(z, gone)
            self.blob.emit(FMA_231, to, self.reg(x), y, map=2, w=1)
        elif z.const is None and self.root(z) in gone and self.root(x) not in gone:
            to = self.reg(z)
            self.blob.emit(FMA_231, to, self.reg(x), self.rm(y), map=2, w=1)
        elif y.const is not None:
            to = self.copied(x, gone)
            self.blob.emit(FMA_132, to, self.reg(z), y, map=2, w=1)
        else:
            to = self.copied(x, gone)
            self.blob.emit(FMA_213, to, self.reg(y), self.rm(z), map=2, w=1)
        return to

    def finish(self) -> None:
        """Brings the results into the first registers, and returns."""
        places = [self.reg(r) for r in self.results]
        if len(places) == 2 and places[1] == 0:  # the second one stands where the first has to
            spare = next(r for r in range(2, REGISTERS) if r not in places)
            self.blob.emit(0x28, spare, 0, 0)
            places[1] = spare
        for k, at in enumerate(places):
            if at != k:
                self.blob.emit(0x28, k, 0, at)
        self.blob.code += b"\xc3"


# tanh has the same bits beside its slope and without it.
PARTS = {"tanh": "tanh_and_exp"}


def piece(name: str) -> Piece:
    """The routine of a function of `loops/functions.py`. Raises TooLong if there is none."""
    made = line(PARTS.get(name, name))
    results = made.results[:1] if name in PARTS else made.results
    body = [s for s in made.body if isinstance(s, Let)]
    if len(body) < len(made.body):
        raise TooLong
    blob = Blob()
    blob.emit(0x18, 0, 0, 1, map=3, tail=b"\x01")  # vinsertf128 ymm0, ymm0, xmm1, 1
    if made.limit is not None:
        blob.emit(0x54, 1, 0, mask(REST))
        blob.emit(0xC2, 1, 1, Value("f", made.limit), tail=bytes([PREDICATES["gt"]]))
        blob.mark_far("C5 F5 56 8B")  # vorpd ymm1, ymm1, [rbx + far]
        blob.mark_far("C5 FD 11 8B")  # vmovupd [rbx + far], ymm1
    routine = Routine(blob, body, results)
    routine.run(made.param)
    routine.finish()
    return blob.piece()
