"""The steps of a recurrence, which wait for each other: their short loops as whole vectors.

A row of a state is one vector, however many registers that takes: what is done for a row is then written for all of them in
turn, and the long chains of operations that a function is run at the same time. LLVM's own vectors would come one after the
other, and a processor does not look far enough ahead to find the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.backend.llvm_ops import Unit
from gradlang.backend.llvm_side import Lanes, Side, side_of, spelled
from gradlang.loops.ir import For, Function, Let, Value
from gradlang.loops.walk import statements

if TYPE_CHECKING:
    from gradlang.backend.llvm import Body

LONGEST = 32  # entries of a row that is one vector


def row_of(body: Body, s: For) -> tuple[Side, int] | None:
    """How the entries of a short loop in a step differ, and how many are one vector. None if it is no such loop."""
    if not s.apart or s.start.const is None or s.stop.const is None or any(isinstance(x, For) for x in s.body):
        return None
    steps = int(s.stop.const) - int(s.start.const)
    if steps < body.most or steps > LONGEST or steps % body.most:
        return None
    side = side_of(s, body.unit.is_wide)
    return None if side is None else (side, steps & -steps)


def straight(function: Function) -> bool:
    """Whether a function can be written for vectors."""
    made = set(function.params) | {s.value for s in function.body if isinstance(s, Let)}
    return all(isinstance(s, Let) and s.value.type != "i" and spelled(s, made, {}) for s in statements(function.body))


def wide_text(body: Body, unit: Unit, name: str, function: Function, count: int) -> str:
    """A function for vectors of `count` numbers; `body` is empty."""
    varying: set[Value] = {*function.params, *(s.value for s in function.body if isinstance(s, Let))}
    body.lanes = lanes = Lanes(body, Side(frozenset(varying), {}, frozenset(), {}), count, {})
    body.run(function.body)
    head = ", ".join(f"{lanes.kind(p.type)} {body.names[p]}" for p in function.params)
    kind = lanes.kind(function.result.type)
    lines = [f"define internal {kind} @{unit.wide(name, count)}({head}) alwaysinline nounwind {{", "entry:", *body.lines]
    return "\n".join([*lines, f"  ret {kind} {lanes.wide(function.result)}", "}"])
