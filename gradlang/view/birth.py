"""Where a nan or an infinity was born."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradlang.backend.numpy import spelled
from gradlang.diagnostics import Diagnostic
from gradlang.ir.build import write
from gradlang.ir.evaluate import Machine, evaluate
from gradlang.ir.tape import Builder, Instr
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates

if TYPE_CHECKING:
    from gradlang.api import Model

MOST = 3  # births that are reported: what follows is usually their consequence


def births(model: Model, values: Mapping[str, Any]) -> list[Diagnostic]:
    """Notes on the operations whose operands are finite and whose result is not, in the order of the program."""
    import numpy as np

    program, table = model.program, model.program.language.table
    binder = model.function(program.outputs).binder
    args, sizes = binder.bind(values)
    b = Builder(table)
    write(program, [program.values[n] for n in program.outputs], b)
    machine = Machine(table, dict(zip(binder.types, args, strict=True)), sizes, None, float)
    results: list[Any] = []
    found: list[Diagnostic] = []
    with np.errstate(all="ignore"):
        for instr in b.instrs:
            operands = [results[a] for a in instr.args]
            results.append(_value(b, instr, operands, machine))
            if instr.type.dtype != "real" or not instr.args:
                continue
            bad = ~np.isfinite(np.asarray(results[-1], float))
            if np.any(bad) and all(np.all(np.isfinite(np.asarray(o, float))) for o in operands):
                found.append(_note(instr, results[-1], operands, bad, b.table[instr.op].pointwise))
    return found[:MOST]


def _value(b: Builder, instr: Instr, operands: list[Any], machine: Machine) -> Any:
    """The value of one instruction, by its formula where NumPy has no function for it."""
    op = b.table[instr.op] if instr.op in b.table else None
    if op is None or spelled(op):
        return machine.step(instr, operands)
    small = Builder(b.table)
    refs = [small.leaf("input", (str(k),), b.instrs[a].type, instr.span) for k, a in enumerate(instr.args)]
    at = small.emit(op, refs, instr.attrs, instr.type, instr.span)
    tape = expand(small.tape([("y", at.id)]), b.table, Templates(b.table), spelled)
    return evaluate(tape, b.table, {str(k): v for k, v in enumerate(operands)}, machine.sizes)["y"]


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
    return Diagnostic(
        "G404", f"`{instr.op}` of {shown} is {value}{where}: the first value that is not finite", instr.span, severity="warning"
    )
