"""What is made of the rows of a recurrence is made beside its steps.

The gradients of weights are sums over all steps of products of rows that a recurrence has made, in a loop over blocks of
steps. Such a loop and the recurrence become one: after the steps of a block comes the block, while its rows are in the first
cache, and what is done row by row is done in the step itself. A sequence of which then only the latest row is read is not
kept. This is a rewriting of loops as they stand, after planning, for machine code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property
from itertools import takewhile

from gradlang.loops.ir import Buffer, Declare, Fetch, For, Kernel, Let, Load, Read, Run, Statement, Store, Update, Value
from gradlang.loops.walk import operands, statements
from gradlang.plan.affine import Positions, Sum, positions_of
from gradlang.plan.columns import Lines, whole
from gradlang.plan.latest import inside, reads, shortened, writes
from gradlang.plan.plan import Loops, Plan
from gradlang.record import changed, record

CACHED = 1 << 16  # entries that stay in the second cache
WIDE = 64  # entries of a row that is asked for
LINE = 8  # entries of a line of a cache


def joined(plan: Plan) -> Plan:
    """A plan whose kernels make what they make of the rows of recurrences beside the steps. Its sizes must be fixed."""
    steps = []
    shared = Counter(s.key for step in plan.steps if isinstance(step, Loops) for s in step.sources if s.kind == "temp")
    for step in plan.steps:
        if isinstance(step, Loops) and not step.parts:
            pairs = zip(step.kernel.buffers, step.sources, strict=False)
            temps = {b for b, s in pairs if s.kind == "temp" and shared[s.key] == 1}  # others are read by other kernels
            step = changed(step, kernel=beside(step.kernel, temps))
        steps.append(step)
    return changed(plan, steps=tuple(steps))


def beside(kernel: Kernel, temps: Collection[Buffer]) -> Kernel:
    body = list(kernel.body)
    read: dict[Statement, set[Buffer]] = {}
    at = 0
    while at < len(body):
        s = body[at]
        if isinstance(s, For) and not s.apart and s.start.const == 0 and s.stop.const is not None:
            before = body
            body = _Join(body, at, temps, read).made() or body
            loop = next(x for k in body[at:] for x in inside(k) if isinstance(x, For) and x.counter is s.counter)
            body = shortened(body, loop, temps, int(s.stop.const))
            if body is not before:
                holds = (k for k, x in enumerate(body) if any(y.counter is s.counter for y in inside(x) if isinstance(y, For)))
                at = max(at, next(holds))
        at += 1
    return kernel if body == kernel.body else changed(kernel, body=body)


# ------------------------------------------------------------------ what statements touch
def makes(s: Statement) -> set[Value]:
    return {x.value for x in inside(s) if isinstance(x, Let | Load | Read)}


@record
class Blocks:
    """A loop over blocks of steps: the first step of a block, the one behind its last, and the loops over its steps."""

    first: Value
    last: Value
    size: int
    length: int


def blocks_of(loop: For) -> Blocks | None:
    lets = {s.value: s for s in takewhile(lambda s: isinstance(s, Let), loop.body) if isinstance(s, Let)}
    for s in lets.values():
        if isinstance(s, Let) and s.op == "imin" and s.args[1].const is not None:
            over = lets.get(s.args[0])
            start = lets.get(over.args[0]) if over is not None and over.op == "iadd" else None
            if over is None or start is None or start.op != "imul" or start.args[0] is not loop.counter:
                continue
            size, again = start.args[1].const, over.args[1].const
            if size is not None and size == again:
                return Blocks(start.value, s.value, int(size), int(s.args[1].const))
    return None


class _Join:
    """One recurrence, and the loop over blocks behind it that reads its rows."""

    def __init__(self, body: list[Statement], at: int, temps: Collection[Buffer], read: dict[Statement, set[Buffer]]) -> None:
        """`read` remembers which buffers the statements of the kernel read."""
        self.body, self.at, self.temps, self.read = body, at, temps, read
        loop = body[at]
        assert isinstance(loop, For)
        self.loop = loop
        self.own = list(statements(loop.body))
        self.before = True  # a block reads what steps have made before the step that goes with it

    @cached_property
    def positions(self) -> Positions:
        return positions_of(self.body)

    def made(self) -> list[Statement] | None:
        """The statements of the kernel with the two loops as one, or None."""
        loop, rows = self.loop, writes(self.own)
        if loop.start.const != 0 or loop.stop.const is None or any(isinstance(s, Run) for s in self.own):
            return None
        for k in range(self.at + 1, len(self.body)):
            s = self.body[k]
            if not isinstance(s, For):
                continue
            if s not in self.read:
                self.read[s] = reads(inside(s))
            if self.read[s] & rows:
                blocks = blocks_of(s) if s.apart else None
                if blocks is not None and blocks.length == int(loop.stop.const):
                    return self.with_blocks(k, s, blocks)
        return None

    def with_blocks(self, k: int, other: For, blocks: Blocks) -> list[Statement] | None:
        theirs = list(statements(other.body))
        if writes(theirs) & (reads(self.own) | writes(self.own)) or any(isinstance(s, Run) for s in theirs):
            return None
        sign = self.direction(other, theirs, blocks)
        order = self.between(k, other)
        if sign == 0 or order is None or (sign < 0 and not self.in_any_order(other, theirs)):
            return None
        early, late = order
        united = self.united(other, blocks, sign)
        return [*self.body[: self.at], *early, united, *late, *self.body[k + 1 :]]

    def direction(self, other: For, theirs: Sequence[Statement], blocks: Blocks) -> int:
        """1 if a block reads rows that the steps with the same numbers have made, -1 if it does so from the other end, else 0.
        Whatever it reads is finished by then."""
        lowest: dict[Buffer, tuple[int, int]] = {}  # how far a step moves, and the first entry that step 0 writes to
        found: set[int] = set()
        for s in self.own:
            if isinstance(s, Store):
                place = self.positions.of(s.index)
                move = place.factors.get(self.loop.counter, 0)
                least = self.positions.range(place.plus(Sum(0, {self.loop.counter: -move})))[0]
                before = lowest.get(s.buffer, (move, least if least is not None else 0))
                if least is None or move < 0 or before[0] != move:
                    return 0
                lowest[s.buffer] = move, min(before[1], least)
        for s in theirs:
            if not isinstance(s, Load) or s.buffer not in lowest:
                continue
            move, least = lowest[s.buffer]
            place = self.positions.of(s.index)
            step = place.factors.get(other.counter, 0) // blocks.size
            terms = [
                v
                for v, n in place.factors.items()
                if n == step and v in self.positions.loops and self.positions.loops[v].start is blocks.first
            ]
            if move == 0 or abs(step) != move or step * blocks.size != place.factors.get(other.counter) or len(terms) != 1:
                return 0
            rest = place.plus(Sum(0, {other.counter: -step * blocks.size, terms[0]: -step}))
            highest = self.positions.range(rest)[1]
            if highest is None or highest >= least + (move * blocks.length if step < 0 else move):
                return 0
            found.add(1 if step > 0 else -1)
            self.before = self.before and highest - (move * (blocks.length - 1) if step < 0 else 0) < least
        return found.pop() if len(found) == 1 else 0

    def between(self, k: int, other: For) -> tuple[list[Statement], list[Statement]] | None:
        """What stands between the two loops, in two parts: what can be done before both, and behind both."""
        first = list(self.own)
        early: list[Statement] = []
        late: list[Statement] = []
        used = {v for s in inside(other) for v in operands(s)}
        touched = reads(inside(other)) | writes(inside(other))
        values: set[Value] = set()
        for s in self.body[self.at + 1 : k]:
            own = inside(s)
            waits = any(v in values for x in own for v in operands(x))
            mine, given = writes(own), reads(own)
            held = (writes(first) & (mine | given)) or (reads(first) & mine)
            after = writes(x for p in late for x in inside(p))
            if waits or held or (after & (mine | given)) or (reads(x for p in late for x in inside(p)) & mine):
                if mine & touched or given & writes(inside(other)) or makes(s) & used:
                    return None
                if any(isinstance(x, Declare | Update) for x in own):
                    return None
                values |= makes(s)
                late.append(s)
            else:
                early.append(s)
        return early, late

    def in_any_order(self, other: For, theirs: Sequence[Statement]) -> bool:
        """Whether the blocks may be gone over in any order: they add to what lies in memory, or fill rows of their own."""
        elsewhere = [x for s in self.body if s is not other for x in inside(s)]
        outside = reads(elsewhere) | writes(elsewhere)
        declared = {s.cell for s in theirs if isinstance(s, Declare)}
        if any(isinstance(s, Update) and s.cell not in declared and s.op not in ("add", "or") for s in theirs):
            return False
        lets = {s.value: s for s in theirs if isinstance(s, Let)}
        uses = [v for s in theirs for v in operands(s)]
        for buffer in writes(theirs):
            if buffer in self.temps and buffer not in outside:
                continue
            loads = {s.value: s for s in theirs if isinstance(s, Load) and s.buffer is buffer}
            if any(uses.count(v) != 1 for v in loads):
                return False
            for s in theirs:
                if isinstance(s, Store) and s.buffer is buffer:
                    sum = lets.get(s.value)
                    old = [loads[a] for a in sum.args if a in loads] if sum is not None and sum.op == "add" else []
                    if len(old) != 1 or self.positions.of(old[0].index) != self.positions.of(s.index):
                        return False
        return True

    def united(self, other: For, blocks: Blocks, sign: int) -> For:
        """The steps of a block, what is done row by row among them, and then the rest of the block."""
        loop, out = self.loop, Lines()
        count = int(other.stop.const or 0)
        block = Value("i", hint="block")
        if sign > 0:
            out.append(Let(other.counter, "iadd", (block, whole(0))))
        else:
            out.append(Let(other.counter, "isub", (whole(count - 1), block)))
        rest = list(other.body)
        heads = list(takewhile(lambda s: isinstance(s, Let), rest))
        out += heads
        start, stop = blocks.first, blocks.last
        if sign < 0:
            length = whole(blocks.length)
            start, stop = out.let("isub", length, blocks.last), out.let("isub", length, blocks.first)
        del rest[: len(heads)]
        steps = list(loop.body)
        rows = rest[0]
        if isinstance(rows, For) and rows.apart and rows.start is blocks.first and rows.stop is blocks.last:
            del rest[0]
            ends = (loop.counter, whole(0)) if sign > 0 else (whole(blocks.length - 1), loop.counter)
            row = [Let(rows.counter, "iadd" if sign > 0 else "isub", ends), *rows.body]
            steps = [*row, *steps] if self.before else [*steps, *row]
        steps = [*self.fetched(rest, other, blocks, sign), *steps]
        out.append(For(loop.counter, start, stop, steps, apart=False))
        return For(block, whole(0), whole(count), [*out, *rest], apart=False)

    def fetched(self, rest: Sequence[Statement], other: For, blocks: Blocks, sign: int) -> Lines:
        """Asks in a step for the row that goes with it of what the block reads, where that does not stay in a cache."""
        out, seen, done = Lines(), set[tuple[Buffer, int]](), writes(self.own) | writes(inside(other))
        row = self.loop.counter if sign > 0 else None
        for s in statements(rest):
            if not isinstance(s, Load) or s.buffer in done or s.buffer.kind != "f":
                continue
            place = self.positions.of(s.index)
            move, odd = divmod(place.factors.get(other.counter, 0), blocks.size)
            if odd or move <= 0 or move > WIDE or move * blocks.length < CACHED or (s.buffer, move) in seen:
                continue
            seen.add((s.buffer, move))
            row = row or out.let("isub", whole(blocks.length - 1), self.loop.counter)
            first = out.let("imul", row, whole(move))
            for k in range(0, move, LINE):
                out.append(Fetch(Value("f"), s.buffer, out.let("iadd", first, whole(k))))
        return out
