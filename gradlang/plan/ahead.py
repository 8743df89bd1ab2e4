"""Neighbouring entries are read before a step stores anything.

What a step reads at i + 1 the next one reads at i, which LLVM sees, and keeps the number from one step to the next. It still
takes such steps side by side, but only if nothing that uses the old number stands before the reading of the new one, and a
store cannot be moved behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.loops.ir import Buffer, For, If, Kernel, Let, Load, Read, Statement, Store, Value
from gradlang.loops.walk import statements
from gradlang.plan.affine import Positions, positions_of
from gradlang.plan.columns import straight
from gradlang.plan.plan import Loops, Plan
from gradlang.record import changed


def ahead(plan: Plan) -> Plan:
    """A plan whose kernels read first where neighbouring entries are read."""
    steps = (changed(s, kernel=reading_first(s.kernel)) if isinstance(s, Loops) else s for s in plan.steps)
    return changed(plan, steps=tuple(steps))


def reading_first(kernel: Kernel) -> Kernel:
    """A kernel that does the same, and reads first where neighbouring entries are read."""
    positions = positions_of(kernel.body)
    orders = {
        s: order
        for s in statements(kernel.body)
        if isinstance(s, For) and straight(s) and (order := ordered(s, positions)) is not None
    }
    if not orders:
        return kernel
    body = list(kernel.body)
    blocks = [body]
    for block in blocks:  # grows while it is walked
        for k, s in enumerate(block):
            if isinstance(s, For):
                made = For(s.counter, s.start, s.stop, orders.get(s) or list(s.body), s.apart, s.side)
                block[k] = made
                blocks.append(made.body)
            elif isinstance(s, If):
                branch = If(s.condition, list(s.then), list(s.otherwise))
                block[k] = branch
                blocks += [branch.then, branch.otherwise]
    return changed(kernel, body=body)


def ordered(loop: For, positions: Positions) -> list[Statement] | None:
    """The statements of a loop with the readings first, or None where that is of no use."""
    stored = {s.buffer for s in loop.body if isinstance(s, Store)}
    loads = [s for s in loop.body if isinstance(s, Load) and s.buffer not in stored]
    first = next((k for k, s in enumerate(loop.body) if isinstance(s, Store)), None)
    if first is None or not neighbours(loop, loads, positions) or all(s in loop.body[:first] for s in loads):
        return None
    made = {s.value: s for s in loop.body if isinstance(s, Let | Load | Read)}
    front: dict[Statement, None] = {}
    for load in loads:
        steps = slice_of(load.index, made)
        if steps is not None:
            front.update(dict.fromkeys((*steps, load)))
    return [*(s for s in loop.body if s in front), *(s for s in loop.body if s not in front)]


def neighbours(loop: For, loads: Sequence[Load], positions: Positions) -> bool:
    """Whether a step reads what the step before it has read at another place."""
    term = next((v for v in positions.of(loop.counter).factors if positions.loops.get(v) is loop), loop.counter)
    seen: set[tuple[Buffer, frozenset[tuple[Value, int]], int]] = set()
    for s in loads:
        at = positions.of(s.index)
        seen.add((s.buffer, frozenset(at.factors.items()), at.constant))
    return any(
        (buffer, factors, at + stride) in seen for buffer, factors, at in seen if (stride := dict(factors).get(term, 0)) != 0
    )


def slice_of(index: Value, made: dict[Value, Let | Load | Read]) -> list[Let] | None:
    """The statements of a loop that make a position out of whole numbers; None if there are others among them."""
    found: dict[Let, None] = {}
    waiting = [index]
    for v in waiting:  # grows while it is walked
        s = made.get(v)
        if s is not None and s not in found:
            if not isinstance(s, Let) or s.value.type != "i" or s.op in ("ftoi", "wtoi", "btoi", "select"):
                return None
            found[s] = None
            waiting += s.args
    return list(found)
