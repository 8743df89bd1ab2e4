"""What the steps of a loop do to memory: whether some of them can run while others do, and what each then needs for itself.

Everything is read off the statements. A buffer that a loop writes is `shared` if no two steps touch the same entry;
`summed` if steps only add to entries (or multiply them, or take the larger), so that parts of the steps may do so in copies
that are combined afterwards; `private` if it holds values of one step only, so that each part may have one of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from math import gcd

from gradlang.loops.ir import Buffer, Cell, Declare, For, Let, Load, Read, Run, Statement, Store, Update, Value
from gradlang.loops.walk import operands, statements
from gradlang.plan.affine import Positions, Sum
from gradlang.record import field, record

# What changes nothing: x + -0.0 is x, also where x is -0.0.
REALS: dict[str, float] = {"add": -0.0, "mul": 1.0, "maximum": float("-inf"), "minimum": float("inf")}
WHOLES: dict[str, int] = {"iadd": 0, "imul": 1, "imax": -(2**63), "imin": 2**63 - 1}
NEUTRAL: dict[str, float | int | bool] = {**REALS, **WHOLES, "or": False, "and": True}


@record
class Apart:
    """How the steps of a loop can be parted: buffers and cells that parts combine, with the op, and buffers that each has for
    itself."""

    summed: dict[Buffer, str]
    private: frozenset[Buffer]
    cells: dict[Cell, str]


@record(eq=False, frozen=False)
class _Access:
    loads: list[Load] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)

    @property
    def indices(self) -> list[Value]:
        return [*(s.index for s in self.loads), *(s.index for s in self.stores)]


def apart(body: Sequence[Statement], loop: For, positions: Positions, temporary: Collection[Buffer]) -> Apart | None:
    """How the steps of a loop of a body can be parted, or None if they cannot. `positions` are those of the body,
    `temporary` buffers that only this body uses."""
    if not loop.apart or loop.start.const != 0 or loop.stop.const is None:
        return None
    inside = list(statements(loop.body))
    if any(isinstance(s, Run) for s in inside):
        return None
    cells = combined_cells(inside)
    if cells is None:
        return None
    accesses: dict[Buffer, _Access] = {}
    for s in inside:
        if isinstance(s, Load):
            accesses.setdefault(s.buffer, _Access()).loads.append(s)
        elif isinstance(s, Store):
            accesses.setdefault(s.buffer, _Access()).stores.append(s)
    elsewhere = others(body, loop)
    summed: dict[Buffer, str] = {}
    private: set[Buffer] = set()
    for buffer, access in accesses.items():
        if not access.stores or own_entries(positions, access, loop):
            continue
        if buffer in temporary and buffer not in elsewhere and same_entries(positions, access, loop):
            private.add(buffer)
            continue
        op = adds_only(access, inside)
        if op is None or buffer.local:
            return None
        summed[buffer] = op
    return Apart(summed, frozenset(private), cells)


def others(body: Sequence[Statement], loop: For) -> set[Buffer]:
    """The buffers that a body touches outside of a loop."""
    found: set[Buffer] = set()
    for top in body:
        if top is loop:
            continue
        for s in statements([top]):
            if isinstance(s, Load | Store):
                found.add(s.buffer)
            elif isinstance(s, Run):
                found.update(b for b, _ in s.buffers)
    return found


def combined_cells(inside: Sequence[Statement]) -> dict[Cell, str] | None:
    """The cells of outside that statements update, with the op; None if one is set, or read while it changes."""
    own = {s.cell for s in inside if isinstance(s, Declare)}
    read = {s.cell for s in inside if isinstance(s, Read)}
    found: dict[Cell, str] = {}
    for s in inside:
        if not isinstance(s, Update) or s.cell in own:
            continue
        if s.op not in NEUTRAL or s.cell in read or found.setdefault(s.cell, s.op) != s.op:
            return None
    return found


def own_entries(positions: Positions, access: _Access, loop: For) -> bool:
    """Whether steps touch different entries: the counter is one digit of the position, as it were. All terms of smaller
    weight together are less than one step of it, and those of greater weight are multiples of more than all its steps."""
    assert loop.stop.const is not None
    forms = [positions.of(i) for i in access.indices]
    (step, *more) = {f.factors.get(loop.counter, 0) for f in forms}
    if more or not step:
        return False
    ranges, base = [], 0
    lower: list[Sum] = []
    for f in forms:
        small = {v: n for v, n in f.factors.items() if abs(n) < abs(step)}
        lower.append(Sum(f.constant, small))
        for v, n in f.factors.items():
            if v is not loop.counter and v not in small:
                base = gcd(base, n)
    for form in lower:
        constant = form.constant % base if base else form.constant
        ranges.append(positions.range(Sum(constant, form.factors)))
    lows, highs = [low for low, _ in ranges], [high for _, high in ranges]
    if None in lows or None in highs:
        return False
    width = max(h for h in highs if h is not None) - min(n for n in lows if n is not None)
    return width < abs(step) and (not base or abs(step) * (int(loop.stop.const) - 1) + width < base)


def same_entries(positions: Positions, access: _Access, loop: For) -> bool:
    """Whether every step touches the same entries: where the steps touch a buffer does not depend on them. Nothing is read
    that was not stored before, so that already the first step stores all that it reads, and every one does as it does."""
    lengths = set()
    for index in access.indices:
        form = positions.of(index)
        if loop.counter in form.factors or not all(v in positions.loops for v in form.factors):
            return False
        loops = [(n, positions.loops[v]) for v, n in form.factors.items()]
        ends = Counter((n, s.start, s.stop) for n, s in loops if not all(steady(positions, v, loop) for v in (s.start, s.stop)))
        lengths.add(frozenset(ends.items()))
    return len(lengths) == 1  # where a loop is shorter in some steps, it is for all that is stored and read


def steady(positions: Positions, end: Value, loop: For) -> bool:
    """Whether the start or stop of a loop inside another one is the same in every step of that one: it is known, or goes by
    the steps of loops in between, whose own ends are known."""
    if end.const is not None:
        return True
    around = [None if v is loop.counter else positions.loops.get(v) for v in positions.of(end).factors]
    return all(s is not None and s.start.const is not None and s.stop.const is not None for s in around)


def adds_only(access: _Access, inside: Sequence[Statement]) -> str | None:
    """The op by which statements change entries of a buffer, if they do nothing else with it."""
    made = {s.value: s for s in inside if isinstance(s, Let)}
    uses: dict[Value, int] = {}
    for s in inside:
        for v in operands(s):
            uses[v] = uses.get(v, 0) + 1
    old = {s.value: s for s in access.loads}
    ops: set[str] = set()
    for store in access.stores:
        let = made.get(store.value)
        if let is None or let.op not in NEUTRAL or len(let.args) != 2 or uses[let.value] != 1:
            return None
        mine = [a for a in let.args if a in old and old[a].index is store.index]
        if len(mine) != 1 or uses[mine[0]] != 1:
            return None
        old.pop(mine[0])
        ops.add(let.op)
    return next(iter(ops)) if len(ops) == 1 and not old else None
