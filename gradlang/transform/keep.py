"""What the steps of a recurrence compute is kept for its adjoint: as more sequences that the recurrence makes.

A loop of machine code has these values at hand, and keeps them for less than it costs to compute them again. (In generated
NumPy a step costs more than many rows at once, so that there they are computed again.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gradlang.check.program import Ref
from gradlang.ir.rebuild import copy
from gradlang.ir.tape import DERIVATIVES, Builder, Instr, Scan, Tape
from gradlang.ops.table import OpTable
from gradlang.transform.lifting import dependent, replay
from gradlang.types import BUNDLE, Dim, Type

CHEAP = frozenset(
    "input const size iota array neg add sub mul square abs minimum maximum where zmul real less less_equal greater "
    "greater_equal equal not_equal logical_and logical_or logical_not broadcast_to reshape transpose slice".split()
)  # to be computed again


def at_once(tape: Tape) -> bool:
    """Whether no derivative is taken of another one. Only then recurrences keep more than their sequences, which would be
    differentiated like all others."""
    made = [i for i, instr in enumerate(tape.instrs) if instr.op in DERIVATIVES]
    below = dependent(tape.instrs, made)
    return not any(below[a] for i in made for a in tape.instrs[i].args)


def dear(instrs: Sequence[Instr], given: Mapping[int, Ref], wanted: Sequence[int]) -> list[int]:
    """Those of some values of a step that are neither the same for all steps nor made by a few cheap operations."""
    stepwise = dependent(instrs, [i for i, ref in given.items() if ref.axes])
    costs = bytearray(len(instrs))
    for i, instr in enumerate(instrs):
        costs[i] = i not in given and (instr.op not in CHEAP or any(costs[a] for a in instr.args))
    return [i for i in wanted if costs[i] and stepwise[i] and instrs[i].type.dtype == "real"]


def longer(
    b: Builder,
    at: int,
    body: Sequence[Instr],
    outs: Sequence[int],
    more: Sequence[int],
    zeros: Callable[[Builder, Type], int],
) -> tuple[int, list[int]]:
    """The recurrence `at` with more sequences, the values `more` of its body (in `body`, where `outs` are those that it
    makes), and these sequences, whose first row is zeros."""
    instr = b.instrs[at]
    scan: Scan = instr.attrs[0]
    inner, many = Builder(b.table), len(scan.names)
    found = replay(inner, body, {}, [*outs, *more])
    names = (*scan.names, *(f"kept_{k}" for k in range(len(more))))
    types = tuple(body[i].type for i in more)
    first: tuple[Dim, ...] = (1,) * len(more)
    tape = inner.tape(zip(names, (found[i].id for i in (*outs, *more)), strict=True))
    made = Scan(scan.kind, scan.length, names, scan.types + types, scan.extra + first, scan.rows, tape, scan.ports)
    starts = [zeros(b, Type((1, *type.shape))) for type in types]
    args = (*instr.args[:many], *starts, *instr.args[many:])
    new = b.add("scan", args, (made,), BUNDLE, instr.span, instr.scope)
    return new, [
        b.add("item", (new,), (many + k,), made.item_type(many + k), instr.span, instr.scope) for k in range(len(more))
    ]


def merged(tape: Tape, table: OpTable, instead: Mapping[int, int], zeros: Callable[[Builder, Type], int]) -> Tape:
    """The tape with the recurrences that keep more in the places of those that they were made from."""
    b, made = Builder(table), list[int]()
    for i in range(len(tape)):
        new = tape.instrs[instead.get(i, i)]
        # what comes later are the zeros that the longer one starts from
        args = tuple(made[a] if a < i else zeros(b, tape.instrs[a].type) for a in new.args)
        made.append(copy(b, new, args))
    return b.tape((n, made[i]) for n, i in tape.outputs)
