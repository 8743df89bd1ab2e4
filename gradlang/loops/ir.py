"""The loop form: nested loops over numbers, from which C and LLVM text are printed.

A `Kernel` takes pointers to arrays and whole numbers, a `Function` takes numbers and gives one; both hold a list of
statements. Values are in single assignment; what changes lives in a `Cell`. Real values have the type "f" of the kernel
that they stand in, "f64" or "f32"; "w" is the whole number of the same width, for work on bits; "i" counts and indexes
(64 bits), "b" is a truth value. A text is made for one width, so that a function is written once for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gradlang.record import field, record

COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}  # of reals; with nan all but "ne" are false
RESULTS = {
    **dict.fromkeys(
        # "fma" rounds once where the machine can; "rint" rounds halves to even; "maximum" and "minimum" keep a nan
        ("add", "sub", "mul", "div", "neg", "abs", "sqrt", "fma", "floor", "ceil", "rint", "copysign", "maximum", "minimum"),
        "f",
    ),
    # "idiv" and "imod" round down, and give 0 for division by 0
    **dict.fromkeys(("iadd", "isub", "imul", "idiv", "imod", "ineg", "iabs", "imax", "imin"), "i"),
    **dict.fromkeys(("wadd", "wsub", "wand", "wor", "wxor", "wshl", "wshr", "wsar"), "w"),
    **dict.fromkeys((*COMPARISONS, "ilt", "ile", "igt", "ige", "ieq", "ine", "wlt", "weq", "and", "or", "not"), "b"),
    "bits": "w",  # f -> w, the same bits
    "unbits": "f",  # w -> f, the same bits
    "itof": "f",
    "ftoi": "i",  # towards zero; the caller knows that it fits
    "btof": "f",
    "btoi": "i",
    "itob": "b",  # not zero
    "wtof": "f",
    "ftow": "w",  # towards zero; of numbers smaller than 2^51, or 2^22 in "f32"
    "itow": "w",
    "wtoi": "i",
}
# Of the functions in `tables.py` alone, and of printers for machines that have them as instructions: the entry of a table of
# 16 reals that the last four bits of a word say, the table being named by `function`; and x 2**floor(n) of x and n.
TABLED = ("pick", "scale")


@record(eq=False, frozen=False)
class Value:
    """A number of type "f", "w", "i" or "b". `const` is its value if it is known, `level` the depth of its block."""

    type: str
    const: float | int | bool | None = None
    hint: str = ""  # a name for readers
    level: int = 0


@record(eq=False, frozen=False)
class Cell:
    """A number that changes: a running sum, a flag."""

    type: str
    hint: str = ""


@record(eq=False, frozen=False)
class Buffer:
    """An array that a kernel is given by pointer, in C order; buffers do not overlap. `kind` is "f", "i", "s" (whole numbers
    of 32 bits, which are read as "i") or "b" (one byte each). A local buffer is an array of `local` entries on the stack."""

    name: str
    kind: str
    writable: bool = False
    local: int = 0


# ------------------------------------------------------------------ statements
@record(eq=False, frozen=False)
class Let:
    value: Value
    op: str
    args: tuple[Value, ...]
    function: str = ""  # of a "call"; the table of a "pick"


@record(eq=False, frozen=False)
class Load:
    value: Value
    buffer: Buffer
    index: Value


class Fetch(Load):
    """An entry that is read soon: a printer may ask for it ahead. Nobody has its value."""


@record(eq=False, frozen=False)
class Store:
    buffer: Buffer
    index: Value
    value: Value


@record(eq=False, frozen=False)
class Declare:
    cell: Cell
    start: Value


@record(eq=False, frozen=False)
class Read:
    value: Value
    cell: Cell


@record(eq=False, frozen=False)
class Update:
    """cell = cell <op> value, where the order of the steps of a loop does not matter ("add", "mul", "maximum", "minimum", "or",
    "and", "iadd"); or cell = value (op "")."""

    cell: Cell
    op: str
    value: Value


@record(eq=False, frozen=False)
class For:
    """counter from start up to (not with) stop. `apart` says that no step reads what another one wrote. With `side` steps are
    best taken side by side, as vectors, whatever loops there are in them: their values then stay in registers. If it is
    `rare` that a step does anything, none of them are taken for vectors."""

    counter: Value
    start: Value
    stop: Value
    body: list[Statement] = field(default_factory=list)
    apart: bool = True
    side: bool = False
    rare: bool = False


@record(eq=False, frozen=False)
class If:
    condition: Value
    then: list[Statement] = field(default_factory=list)
    otherwise: list[Statement] = field(default_factory=list)


@record(eq=False, frozen=False)
class Run:
    """Runs another kernel, which takes no numbers. Each of its buffers begins at an entry of one of this kernel."""

    kernel: Kernel
    buffers: tuple[tuple[Buffer, Value], ...]
    sizes: tuple[Value, ...]


Statement = Let | Load | Store | Declare | Read | Update | For | If | Run


@record(eq=False, frozen=False)
class Function:
    """A function of numbers that is written into its callers."""

    name: str
    params: tuple[Value, ...]
    body: list[Statement]
    result: Value
    doc: str = ""


@record
class Turn:
    """That a kernel turns rows into the columns of a tile, or these into rows: it has so many columns, each with room for so
    many rows. A printer that has vectors may write the body with them."""

    columns: int
    room: int
    gathers: bool  # rows to columns
    ahead: int = 0  # how many rows later those lie that are fetched while rows are written


@record
class Multiply:
    """That a kernel multiplies two matrices: the product has so many rows and columns, and `block` rows are best taken
    together. A printer that has vectors may write the body with them."""

    rows: int
    columns: int
    block: int


@record(eq=False, frozen=False)
class Kernel:
    """A function over arrays. `sizes` are whole numbers and `numbers` reals that it takes besides the buffers. `own` are small
    buffers in which nothing lies before a call or after it, each with its number of entries."""

    name: str
    buffers: tuple[Buffer, ...]
    sizes: tuple[Value, ...]
    body: list[Statement]
    numbers: tuple[Value, ...] = ()
    turn: Turn | Multiply | None = None
    own: tuple[tuple[Buffer, int], ...] = ()


class Code:
    """Writes statements. Equal work in reach is written once, and before the loops that it does not depend on."""

    def __init__(self, careful: bool = False) -> None:
        """With `careful` nothing is read before a loop that may have no steps, since then there may be nothing to read."""
        self.careful = careful
        self.body: list[Statement] = []
        self.blocks = [self.body]
        self.known: list[dict[object, Value]] = [{}]
        self.constants: dict[tuple[str, str], Value] = {}
        self.lets: dict[Value, Let] = {}  # what makes a value
        self.guard = 0  # the innermost block that runs under a condition: nothing is read before it

    # -------------------------------------------------------------- values
    def const(self, value: float | int | bool, type: str = "f") -> Value:
        key = (type, repr(value))
        if key not in self.constants:
            self.constants[key] = Value(type, value)
        return self.constants[key]

    def none(self) -> Value:
        """The zero of what is not there. It has an object of its own, so that it can be told from a zero that was computed."""
        if ("f", "none") not in self.constants:
            self.constants["f", "none"] = Value("f", 0.0)
        return self.constants["f", "none"]

    def real(self, value: float) -> Value:
        return self.const(float(value), "f")

    def whole(self, value: int) -> Value:
        return self.const(int(value), "i")

    def op(self, op: str, *args: Value, hint: str = "") -> Value:
        """The result of an operation."""
        if op in ("and", "or", "not") and any(a.const is not None for a in args):
            return self.decided(op, args)
        if op == "mul" and 1.0 in (args[0].const, args[1].const):
            return args[1] if args[0].const == 1.0 else args[0]
        if RESULTS.get(op) == "i" or op in ("ilt", "ile", "igt", "ige", "ieq", "ine"):
            folded = self.fold(op, args)
            if folded is not None:
                return folded
        return self.let(op, args, RESULTS[op], hint)

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        if condition.const is not None:
            return then if condition.const else otherwise
        return then if then is otherwise else self.let("select", (condition, then, otherwise), then.type)

    def call(self, function: str, *args: Value) -> Value:
        """A function of `gradlang/loops/functions`, by name."""
        return self.let("call", args, "f", function=function)

    def let(self, op: str, args: tuple[Value, ...], type: str, hint: str = "", function: str = "") -> Value:
        key = (op, function, *map(id, args))
        found = self.recall(key)
        if found is None:
            level = max((a.level for a in args), default=0)
            found = Value(type, hint=hint, level=level)
            made = self.lets[found] = Let(found, op, args, function)
            self.put(made, level)
            self.known[level][key] = found
        return found

    def recall(self, key: object) -> Value | None:
        """What is remembered under a key in the blocks that are open."""
        for level in self.known:
            if key in level:
                return level[key]
        return None

    def remember(self, key: object, value: Value) -> None:
        """Keeps a value under a key as long as the block stays open that it depends on."""
        self.known[value.level][key] = value

    @property
    def depth(self) -> int:
        return len(self.blocks) - 1

    def put(self, statement: Statement, level: int) -> None:
        """A statement at the end of an open block: before the block that is open inside it."""
        block = self.blocks[level]
        if level < self.depth:
            block.insert(len(block) - 1, statement)
        else:
            block.append(statement)

    def decided(self, op: str, args: tuple[Value, ...]) -> Value:
        """Logic of which a part is known."""
        if op == "not":
            return self.const(not args[0].const, "b")
        sure, other = args if args[0].const is not None else args[::-1]
        return other if bool(sure.const) == (op == "and") else sure

    def fold(self, op: str, args: tuple[Value, ...]) -> Value | None:
        """Arithmetic of indices that is known or does nothing."""
        numbers = [a.const for a in args]
        if all(n is not None for n in numbers):
            made = FOLDS[op](*(int(n) for n in numbers if n is not None))
            return self.const(made, "b") if isinstance(made, bool) else self.whole(made)
        if op == "iadd":
            return args[1] if numbers[0] == 0 else args[0] if numbers[1] == 0 else None
        if op == "isub" and numbers[1] == 0:
            return args[0]
        if op == "imul":
            if 0 in numbers:
                return self.whole(0)
            return args[1] if numbers[0] == 1 else args[0] if numbers[1] == 1 else None
        if op == "idiv" and numbers[1] == 1:
            return args[0]
        if op == "imod" and numbers[1] == 1:
            return self.whole(0)
        return None

    # -------------------------------------------------------------- memory
    def load(self, buffer: Buffer, index: Value, hint: str = "") -> Value:
        level = self.depth if buffer.writable else max(index.level, self.guard)
        key = ("load", id(buffer), id(index))
        found = None if buffer.writable else self.recall(key)
        if found is None:
            found = Value("i" if buffer.kind == "s" else buffer.kind, hint=hint, level=level)
            self.put(Load(found, buffer, index), level)
            self.known[level][key] = found
        return found

    def store(self, buffer: Buffer, index: Value, value: Value) -> None:
        self.blocks[-1].append(Store(buffer, index, value))

    def cell(self, start: Value, hint: str = "") -> Cell:
        cell = Cell(start.type, hint)
        self.blocks[-1].append(Declare(cell, start))
        return cell

    def read(self, cell: Cell) -> Value:
        value = Value(cell.type, hint=cell.hint, level=self.depth)
        self.blocks[-1].append(Read(value, cell))
        return value

    def update(self, cell: Cell, op: str, value: Value) -> None:
        self.blocks[-1].append(Update(cell, op, value))

    def run(self, kernel: Kernel, buffers: Sequence[tuple[Buffer, Value]], *sizes: Value) -> None:
        self.blocks[-1].append(Run(kernel, tuple(buffers), sizes))

    # -------------------------------------------------------------- blocks
    @contextmanager
    def inside(self, block: list[Statement]) -> Iterator[None]:
        self.blocks.append(block)
        self.known.append({})
        try:
            yield
        finally:
            self.blocks.pop()
            self.known.pop()

    @contextmanager
    def loop(self, start: Value, stop: Value, hint: str = "i", apart: bool = True, side: bool = False) -> Iterator[Value]:
        made = For(Value("i", hint=hint, level=self.depth + 1), start, stop, apart=apart, side=side)
        self.blocks[-1].append(made)
        before = self.guard
        if self.careful and (start.const is None or stop.const is None or start.const >= stop.const):
            self.guard = self.depth + 1
        with self.inside(made.body):
            yield made.counter
        self.guard = before

    @contextmanager
    def when(self, condition: Value) -> Iterator[If]:
        """The statements that run if a condition holds. `with code.inside(made.otherwise)` writes the others."""
        made = If(condition)
        self.blocks[-1].append(made)
        before, self.guard = self.guard, self.depth + 1
        with self.inside(made.then):
            yield made
        self.guard = before


FOLDS: dict[str, Callable[..., int | bool]] = {
    "iadd": lambda a, b: a + b,
    "isub": lambda a, b: a - b,
    "imul": lambda a, b: a * b,
    "idiv": lambda a, b: a // b,
    "imod": lambda a, b: a % b,
    "ineg": lambda a: -a,
    "iabs": abs,
    "imax": max,
    "imin": min,
    "btoi": int,
    "ftoi": math.trunc,
    "wtoi": int,
    "ilt": lambda a, b: a < b,
    "ile": lambda a, b: a <= b,
    "igt": lambda a, b: a > b,
    "ige": lambda a, b: a >= b,
    "ieq": lambda a, b: a == b,
    "ine": lambda a, b: a != b,
}
