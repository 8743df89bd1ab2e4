"""A step of a recurrence as a straight line: its sums in chains beside each other, and what the next step does not wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from gradlang.backend.llvm_avx512 import cycles_of, unit_of
from gradlang.loops.ir import Buffer, Fetch, Let, Load, Statement, Store, Value
from gradlang.record import field, record

CHAINS = 4  # of a sum
DEAR = ("div", "sqrt")  # what is worth being done beside the next step
Row = tuple[Buffer, int, int]  # entries of a buffer that stay values: the first one, and how many


@record(frozen=False)
class Line:
    """The statements of a step. `rows` are the entries of buffers that stay values: for each the one that a step finds there,
    and the one that it leaves."""

    body: list[Statement] = field(default_factory=list)
    varying: set[Value] = field(default_factory=set)
    strides: dict[Value, int] = field(default_factory=dict)
    sums: set[Value] = field(default_factory=set)
    found: dict[Row, Value] = field(default_factory=dict)
    left: dict[Row, Value] = field(default_factory=dict)
    lanes: dict[Value, tuple[Value, int]] = field(default_factory=dict)  # numbers that are one of a vector
    order: dict[Statement, list[Statement]] = field(default_factory=dict)  # what touches memory, and what must come before
    crowded: bool = False  # there is so much to do that nothing is waited for

    def waits(self) -> bool:
        """Whether the longest chain of a step takes longer than what a unit of products has to do in it."""
        ends: dict[Value, int] = {}
        for s in self.body:
            if isinstance(s, Let | Load):
                ends[s.value] = cycles_of(s) + max((ends.get(a, 0) for a in used(s)), default=0)
        return sum(unit_of(s) == "product" for s in self.body) <= max((ends.get(v, 0) for v in self.left.values()), default=0)


# ------------------------------------------------------------------ sums
def chained(line: Line) -> Line:
    """The line with its sums in a few chains of fused multiply-adds that do not wait for each other."""
    lets = {s.value: s for s in line.body if isinstance(s, Let)}
    uses = Counter(a for s in line.body for a in used(s))
    uses.update(line.left.values())
    inner = {a for v in line.sums for a in lets[v].args if a in line.sums and uses[a] == 1}
    body: list[Statement] = []
    whole: set[Value] = set()  # sums that begin with 0.0: they are no -0.0, and 0.0 more is nothing
    instead: dict[Value, Value] = {}
    for s in line.body:
        if isinstance(s, Let) and s.value in line.sums:
            if s.value not in inner:
                leaves = terms(lets, s.value, inner)
                if any(zero(a) for a in leaves):
                    whole.add(s.value)
                body += in_chains(
                    line, lets, s.value, leaves, [p for p in leaves if p in lets and lets[p].op == "mul" and uses[p] == 1]
                )
            continue
        if isinstance(s, Let) and s.op == "add" and any(map(zero, s.args)):
            other = s.args[1] if zero(s.args[0]) else s.args[0]
            if other in whole:
                instead[s.value] = other
                continue
        body.append(s)
    line.body = body
    rename(line, instead)
    return line


def zero(v: Value) -> bool:
    return v.const == 0.0 and not str(v.const).startswith("-")


def terms(lets: Mapping[Value, Let], root: Value, inner: Collection[Value]) -> list[Value]:
    """What a sum adds up, in order."""
    leaves: list[Value] = []
    stack = [root]
    while stack:
        v = stack.pop()
        if v is root or v in inner:
            stack.extend(reversed(lets[v].args))
        else:
            leaves.append(v)
    return leaves


def in_chains(
    line: Line, lets: Mapping[Value, Let], root: Value, leaves: Sequence[Value], products: Sequence[Value]
) -> list[Statement]:
    body: list[Let] = []

    def put(op: str, *args: Value) -> Value:
        made = Value("f")
        if any(a in line.varying for a in args):
            line.varying.add(made)
        body.append(Let(made, op, args))
        return made

    others = [v for v in leaves if v not in products]
    heads: list[Value | None] = [None] * max(1, min(CHAINS, len(products) // 2))
    if others and zero(others[0]):
        heads[0] = others.pop(0)
    for k, p in enumerate(products):
        old = heads[k % len(heads)]
        heads[k % len(heads)] = put("mul", *lets[p].args) if old is None else put("fma", *lets[p].args, old)
    parts = [*(h for h in heads if h is not None), *others]
    while len(parts) > 1:
        pairs = [put("add", a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + (parts[-1:] if len(parts) % 2 else [])
    last = body[-1]
    return [*body[:-1], Let(root, last.op, last.args)]


def rename(line: Line, instead: Mapping[Value, Value]) -> None:
    """Puts values in the places of others, and leaves out what nobody needs any more."""
    new: dict[Statement, Statement] = {}
    for s in line.body:
        new[s] = s
        if isinstance(s, Let) and any(a in instead for a in s.args):
            new[s] = Let(s.value, s.op, tuple(instead.get(a, a) for a in s.args), s.function)
        elif isinstance(s, Store) and s.value in instead:
            new[s] = Store(s.buffer, s.index, instead[s.value])
    line.left = {k: instead.get(v, v) for k, v in line.left.items()}
    line.lanes = {v: (instead.get(a, a), k) for v, (a, k) in line.lanes.items()}
    wanted = set(line.left.values())
    alive: list[Statement] = []
    for s in reversed(list(new.values())):
        if isinstance(s, Store | Fetch) or (isinstance(s, Let | Load) and s.value in wanted):
            wanted.update(used(s))
            alive.append(s)
    line.body = alive[::-1]
    there = set(alive)
    line.order = {new[s]: [new[x] for x in of if new[x] in there] for s, of in line.order.items() if new[s] in there}


def used(s: Statement) -> tuple[Value, ...]:
    if isinstance(s, Let):
        return s.args
    return (s.index, s.value) if isinstance(s, Store) else (s.index,) if isinstance(s, Load) else ()


# ------------------------------------------------------------------ what the next step does not wait for
@record
class Halves:
    """A step in two: what the next step waits for, and what is done `late`, beside the next step. `carried` are values of the
    first that the second reads, each with its name there."""

    soon: list[Statement]
    late: list[Statement]
    carried: dict[Value, Value]


def halved(line: Line, counter: Value) -> Halves:
    made = {s.value: s for s in line.body if isinstance(s, Let | Load)}
    soon: set[Statement] = set()
    stack: list[Statement] = [made[v] for v in line.left.values() if v in made]
    while True:
        while stack:
            s = stack.pop()
            if s not in soon:
                soon.add(s)
                stack += [made[v] for v in used(s) if v in made]
        for s in line.body:  # no memory is touched by both, if it is written to
            if s not in soon and isinstance(s, Load | Store) and s.buffer.writable:
                other = [x for x in soon if isinstance(x, Load | Store) and x.buffer is s.buffer]
                if any(isinstance(x, Store) for x in (s, *other)) and other:
                    stack.append(s)
        if not stack:
            break
    late = [s for s in line.body if s not in soon]
    if line.crowded or not any(isinstance(s, Let) and s.op in DEAR for s in late):
        return Halves(line.body, [], {})
    inside = {s.value for s in late if isinstance(s, Let | Load)}
    fixed = {counter, *line.found.values(), *(v for v, s in made.items() if s in soon)}
    carried: dict[Value, Value] = {}
    for s in late:
        for v in used(s):
            if v not in inside and v in fixed and v not in carried:
                new = carried[v] = Value(v.type)
                if v in line.varying:
                    line.varying.add(new)
                if v in line.strides:
                    line.strides[new] = line.strides[v]
    moved: dict[Statement, Statement] = {}
    for s in late:
        if isinstance(s, Let):
            moved[s] = Let(s.value, s.op, tuple(carried.get(a, a) for a in s.args), s.function)
        elif isinstance(s, Load):
            moved[s] = type(s)(s.value, s.buffer, carried.get(s.index, s.index))
        elif isinstance(s, Store):
            moved[s] = Store(s.buffer, carried.get(s.index, s.index), carried.get(s.value, s.value))
    for v, (a, k) in list(line.lanes.items()):
        if v in inside:
            line.lanes[v] = carried.get(a, a), k
    line.order = {moved.get(s, s): [moved.get(x, x) for x in of] for s, of in line.order.items()}
    return Halves([s for s in line.body if s in soon], list(moved.values()), carried)
