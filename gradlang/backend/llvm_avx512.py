"""What vectors of 512 bits have and LLVM does not find by itself: tables of sixteen numbers in registers, and products with
powers of two.

Long innermost loops that call functions with a second form in `loops/tables.py` are written with these forms, step beside step.
The functions stand in the loop itself, so that the operations of all of them can be sorted: what most others wait for comes
first. A processor looks only some hundred operations ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from gradlang.backend.llvm_ops import Unit
from gradlang.loops import coefficients
from gradlang.loops.functions import function
from gradlang.loops.ir import COMPARISONS, TABLED, Buffer, For, Function, Let, Load, Statement, Store, Update, Value
from gradlang.loops.tables import WRITERS
from gradlang.loops.walk import operands
from gradlang.record import record

if TYPE_CHECKING:
    from gradlang.backend.llvm import Body
    from gradlang.backend.llvm_side import Side

# How many cycles pass until others can have the result, about; of what is not here 1.
CYCLES = {"add": 3, "sub": 3, "mul": 3, "fma": 4, "div": 13, "sqrt": 20, "pick": 5, "scale": 4, "load": 7}
SUMS = ("add", "sub", *sorted(COMPARISONS), "floor", "ceil", "rint")
CYCLES |= dict.fromkeys(SUMS, 3)
UNITS = {"product": 1, "sum": 1, "other": 2}  # how many of a kind begin in a cycle


# ------------------------------------------------------------------ instructions
@record
class Words:
    """The types of a whole vector, and the instructions."""

    real: str
    word: str
    mask: str
    suffix: str


FORMS = {
    "f64": Words("<8 x double>", "<8 x i64>", "i8", "pd"),
    "f32": Words("<16 x float>", "<16 x i32>", "i16", "ps"),
}


LANES = {"f64": 8, "f32": 16}


def instruction(body: Body, s: Let, args: Sequence[str], count: int) -> str:
    """A "pick" or "scale" of vectors of `count` lanes, which are several whole ones. (LLVM 20 makes wrong code of a "pick" of
    which only the first lanes are used.)"""
    lanes = LANES[body.unit.width]
    if count == lanes:
        return whole(body, s, args)
    kinds = [f"<{count} x {body.unit.types[a.type]}>" for a in s.args]
    parts = [
        whole(body, s, [body.emit(shuffle(kind, a, range(k, k + lanes))) for kind, a in zip(kinds, args, strict=True)])
        for k in range(0, count, lanes)
    ]
    while len(parts) > 1:
        kind = f"<{count // len(parts)} x {body.unit.real}>"
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [body.emit(shuffle(kind, a, range(2 * count // len(parts)), b)) for a, b in pairs]
    return parts[0]


def shuffle(kind: str, a: str, lanes: Iterable[int], b: str = "poison") -> str:
    mask = [f"i32 {k}" for k in lanes]
    return f"shufflevector {kind} {a}, {kind} {b}, <{len(mask)} x i32> <{', '.join(mask)}>"


def whole(body: Body, s: Let, args: Sequence[str]) -> str:
    unit = body.unit
    form = FORMS[unit.width]
    if s.op == "scale":
        name = f"llvm.x86.avx512.mask.scalef.{form.suffix}.512"
        kinds = [form.real, form.real, form.real, form.mask, "i32"]
        given = [*args, "zeroinitializer", "-1", "4"]  # all lanes; rounding as everywhere
    elif unit.width == "f64":
        name, kinds = "llvm.x86.avx512.vpermi2var.pd.512", [form.real, form.word, form.real]
        given = [table(unit, s.function, 0, 8), args[0], table(unit, s.function, 8, 16)]
    else:
        name, kinds = "llvm.x86.avx512.permvar.sf.512", [form.real, form.word]
        given = [table(unit, s.function, 0, 16), args[0]]
    unit.declared[f"declare {form.real} @{name}({', '.join(kinds)})"] = None
    return body.emit(f"call {form.real} @{name}({', '.join(f'{k} {g}' for k, g in zip(kinds, given, strict=True))})")


def table(unit: Unit, name: str, start: int, stop: int) -> str:
    numbers = [unit.literal(Value("f", x)) for x in getattr(coefficients, name)[unit.width][start:stop]]
    return f"<{', '.join(f'{unit.real} {x}' for x in numbers)}>"


# ------------------------------------------------------------------ loops
def form(unit: Unit, name: str, functions: Callable[[str], Function], waited: bool = False) -> Function:
    """A function for vectors: with tables, where vectors are whole ones and it has such a form. `waited` tells that its result
    is waited for."""
    own = unit.tabled and name in WRITERS and functions(name) is function(name, unit.width)
    return function(name, unit.width, tabled=True, waited=waited) if own else functions(name)


def written_out(loop: For, width: str, functions: Callable[[str], Function]) -> For | None:
    """An innermost loop with its functions in it, its operations sorted, to be taken side by side; None if there are no tables
    in it, or something that is no straight line."""
    calls = {s.function for s in loop.body if isinstance(s, Let) and s.op == "call"}
    tabled = {name for name in calls & set(WRITERS) if functions(name) is function(name, width)}
    if not tabled or not all(isinstance(s, Let | Load | Store | Update) for s in loop.body):
        return None
    made = Inlined(lambda name: function(name, width, tabled=True) if name in tabled else functions(name))
    made.add(loop.body, {})
    body = made.body if touched_twice(made.body) else in_turn(made.body)
    return For(loop.counter, loop.start, loop.stop, body, apart=loop.apart, side=True)


def in_lanes(loop: For, side: Side) -> bool:
    """Whether tables are read by vectors alone: a function of what is the same in all steps has a number."""
    return all(s.value in side.varying for s in loop.body if isinstance(s, Let) and s.op in TABLED)


class Inlined:
    """A straight line without calls, in which equal work is done once."""

    def __init__(self, functions: Callable[[str], Function]) -> None:
        self.functions = functions
        self.body: list[Statement] = []
        self.known: dict[object, Value] = {}

    def add(self, body: Sequence[Statement], names: dict[Value, Value]) -> None:
        """Statements of the loop itself."""
        for s in body:
            if isinstance(s, Let):
                names[s.value] = self.let(s, names, s.value)
            elif isinstance(s, Load):
                self.body.append(Load(s.value, s.buffer, self.at(s.index, names)))
            elif isinstance(s, Store):
                self.body.append(Store(s.buffer, self.at(s.index, names), self.at(s.value, names)))
            elif isinstance(s, Update):
                self.body.append(Update(s.cell, s.op, self.at(s.value, names)))

    def at(self, value: Value, names: dict[Value, Value]) -> Value:
        if value.const is not None:
            return self.known.setdefault((value.type, repr(value.const)), value)
        return names.get(value, value)

    def let(self, s: Let, names: dict[Value, Value], into: Value | None = None) -> Value:
        args = tuple(self.at(a, names) for a in s.args)
        if s.op == "call":
            return self.called(self.functions(s.function), args)
        key = (s.op, s.function, *args)
        if key not in self.known:
            self.known[key] = into or Value(s.value.type)
            self.body.append(Let(self.known[key], s.op, args, s.function))
        return self.known[key]

    def called(self, function: Function, args: tuple[Value, ...]) -> Value:
        names = dict(zip(function.params, args, strict=True))
        for s in function.body:
            assert isinstance(s, Let)
            names[s.value] = self.let(s, names)
        return self.at(function.result, names)


def touched_twice(body: Sequence[Statement]) -> bool:
    """Whether an array is written to and touched once more, so that the order of the statements counts."""
    stored = [s.buffer for s in body if isinstance(s, Store)]
    loaded: set[Buffer] = {s.buffer for s in body if isinstance(s, Load)}
    return len(set(stored)) < len(stored) or bool(loaded & set(stored))


def in_turn(body: Sequence[Statement], needs: Sequence[set[int]] = ()) -> list[Statement]:
    """The order in which a simple machine would begin statements: those that the others wait for longest first, as soon as
    their operands are there and a unit for them is free (list scheduling, R. L. Graham, Bell System Tech. J. 45 (1966))."""
    made = {s.value: k for k, s in enumerate(body) if isinstance(s, Let | Load)}
    needs = needs or [{made[a] for a in operands(s) if a in made} for s in body]
    users: list[list[int]] = [[] for _ in body]
    cycles = [0] * len(body)  # from the start of a statement to the end of the last one that needs it
    for k in range(len(body) - 1, -1, -1):
        s = body[k]
        cycles[k] += cycles_of(s)
        for n in needs[k]:
            users[n].append(k)
            cycles[n] = max(cycles[n], cycles[k])
    ends = [c - max((cycles[u] for u in users[k]), default=0) for k, c in enumerate(cycles)]  # own cycles
    left = [len(n) for n in needs]
    ready = [0] * len(body)
    soon = [(0, k) for k, n in enumerate(left) if not n]  # a heap of when statements can begin
    able: dict[str, list[tuple[int, int]]] = {unit: [] for unit in UNITS}
    order: list[Statement] = []
    now = 0
    while len(order) < len(body):
        while soon and soon[0][0] <= now:
            _, k = heappop(soon)
            heappush(able[unit_of(body[k])], (-cycles[k], k))
        for unit, many in UNITS.items():
            for _ in range(min(many, len(able[unit]))):
                _, k = heappop(able[unit])
                order.append(body[k])
                for u in users[k]:
                    ready[u] = max(ready[u], now + ends[k])
                    left[u] -= 1
                    if not left[u]:
                        heappush(soon, (ready[u], u))
        now += 1
    return order


def cycles_of(s: Statement) -> int:
    return CYCLES.get(s.op, 1) if isinstance(s, Let) else CYCLES["load"] if isinstance(s, Load) else 1


def unit_of(s: Statement) -> str:
    if not isinstance(s, Let):
        return "other"
    return "product" if s.op in ("mul", "fma", "div", "sqrt") else "sum" if s.op in SUMS else "other"
