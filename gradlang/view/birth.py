"""Where a nan or an infinity was born."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradlang.backend.numpy import spelled
from gradlang.check.program import Program
from gradlang.diagnostics import Diagnostic
from gradlang.ir.build import write
from gradlang.ir.evaluate import Machine, evaluate
from gradlang.ir.tape import BODIES, DERIVATIVES, Builder, Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.transform.differentiate import differentiate
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.transform.passes import deep
from gradlang.transform.simplify import unmark

if TYPE_CHECKING:
    from gradlang.api import Model

SHOWN = {"item": "recurrence", "root": "solve"}
MOST = 3  # births that are reported: what follows is usually their consequence


def births(model: Model, values: Mapping[str, Any]) -> list[Diagnostic]:
    """Notes on the operations whose operands are finite and whose result is not, in the order of the program."""
    import numpy as np

    program, table = model.program, model.program.language.table
    binder = model.function(program.outputs).binder
    args, sizes = binder.bind(values)
    tape = settled(program)
    machine = Machine(table, dict(zip(binder.types, args, strict=True)), sizes, None, float)
    results: list[Any] = []
    found: list[Diagnostic] = []
    with np.errstate(all="ignore"):
        for instr in tape.instrs:
            operands = [results[a] for a in instr.args]
            try:
                results.append(_value(tape, table, instr, operands, machine))
            except (ArithmeticError, IndexError):  # the call itself says that there is no solution, or no such entry
                break
            if instr.type.dtype != "real" or not instr.args or instr.op == "scan":
                continue
            if instr.op == "item":  # of a recurrence: its operands
                operands = [results[a] for a in tape.instrs[instr.args[0]].args]
            bad = ~np.isfinite(np.asarray(results[-1], float))
            if np.any(bad) and all(np.all(np.isfinite(np.asarray(o, float))) for o in operands):
                found.append(_note(instr, results[-1], operands, bad, instr.op in table and table[instr.op].pointwise))
    return found[:MOST]


def settled(program: Program) -> Tape:
    """The outputs of a program with the derivatives in its formulas written out."""
    b = Builder(program.language.table)
    made = write(program, [program.values[n] for n in program.outputs], b)
    tape = b.tape((n, made[program.values[n]]) for n in program.outputs)
    templates = Templates(b.table)
    tape = deep(lambda t: differentiate(t, b.table, templates))(tape) if derived(tape) else tape
    return deep(lambda t: unmark(t, b.table))(tape)


def derived(tape: Tape) -> bool:
    return any(i.op in DERIVATIVES or i.op in BODIES for i in tape.instrs)


def _value(tape: Tape, table: OpTable, instr: Instr, operands: list[Any], machine: Machine) -> Any:
    """The value of one instruction, by its formula where NumPy has no function for it."""
    templates = Templates(table)
    if instr.op in BODIES:
        instr = deep(lambda t: expand(t, table, templates, spelled))(Tape((instr,), ())).instrs[0]
    op = table[instr.op] if instr.op in table else None
    if op is None or spelled(op):
        return machine.step(instr, operands)
    small = Builder(table)
    refs = [small.leaf("input", (str(k),), tape.instrs[a].type, instr.span) for k, a in enumerate(instr.args)]
    at = small.emit(op, refs, instr.attrs, instr.type, instr.span)
    inner = expand(small.tape([("y", at.id)]), table, templates, spelled)
    return evaluate(inner, table, {str(k): v for k, v in enumerate(operands)}, machine.sizes)["y"]


def _note(instr: Instr, result: Any, operands: list[Any], bad: Any, pointwise: bool) -> Diagnostic:
    import numpy as np

    at = tuple(int(k[0]) for k in np.nonzero(np.atleast_1d(bad)))
    where = f" at index [{', '.join(map(str, at))}]" if np.ndim(bad) else ""

    def entry(x: Any) -> str:
        x = np.asarray(x, float)
        return (
            repr(float(np.broadcast_to(x, np.shape(bad))[at]))
            if np.ndim(bad) and np.ndim(x) <= np.ndim(bad) and np.broadcast_shapes(x.shape, np.shape(bad)) == np.shape(bad)
            else repr(float(x))
            if x.ndim == 0
            else "an array"
        )

    shown = ", ".join(
        entry(o) if pointwise or not np.ndim(o) else f"an array [{', '.join(map(str, np.shape(o)))}]" for o in operands
    )
    value = entry(result)
    name = SHOWN.get(instr.op, instr.op)
    text = f"`{name}` of {shown} is {value}{where}: the first value that is not finite"
    return Diagnostic("G404", text, instr.span, severity="warning")
