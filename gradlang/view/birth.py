"""Where a nan or an infinity was born, and which inputs do not reach an output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradlang.check.program import Program, needed
from gradlang.diagnostics import Diagnostic

if TYPE_CHECKING:
    from gradlang.api import Model


def unreached(program: Program, output: str) -> list[str]:
    """The differentiable leaves that an output does not depend on."""
    inside = set(needed(program.nodes, [program.values[output]]))
    return [name for name in program.differentiable() if program.leaves[name].node not in inside]


def births(model: Model, values: Mapping[str, Any]) -> list[Diagnostic]:
    """Notes on the operations whose operands are finite and whose result is not, in the order of the program."""
    import numpy as np

    from gradlang.ir.build import write
    from gradlang.ir.evaluate import Machine
    from gradlang.ir.tape import Builder
    from gradlang.ops.table import builtin
    from gradlang.transform.expand import expand
    from gradlang.transform.partials import Templates

    program = model.program
    binder = model.function(model.program.outputs).binder
    args, sizes = binder.bind(values)
    inputs = dict(zip(binder.types, args, strict=True))
    table = builtin()
    found: list[Diagnostic] = []
    b = Builder(table)
    made = write(program, [program.values[n] for n in program.outputs], b)
    machine = Machine(table, inputs, sizes, None, float)
    results: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for i, instr in enumerate(b.instrs):
            operands = [results[a] for a in instr.args]
            op = table[instr.op] if instr.op in table else None
            if op is not None and op.value is not None and "numpy" not in op.spelling:
                small = Builder(table)
                refs = [small.leaf("input", (str(k),), b.instrs[a].type, instr.span) for k, a in enumerate(instr.args)]
                at = small.emit(op, refs, instr.attrs, instr.type, instr.span)
                tape = expand(
                    small.tape([("y", at.id)]), table, Templates(table), lambda o: "numpy" in o.spelling or o.value is None
                )
                from gradlang.ir.evaluate import evaluate

                results[i] = evaluate(tape, table, {str(k): v for k, v in enumerate(operands)}, sizes)["y"]
            else:
                results[i] = machine.step(instr, operands)
            if instr.type.dtype != "real" or not instr.args:
                continue
            bad = ~np.isfinite(np.asarray(results[i], float))
            if np.any(bad) and all(np.all(np.isfinite(np.asarray(o, float))) for o in operands):
                found.append(_note(program, instr, results[i], operands, bad))
    del made
    return found[:3]


def _note(program: Program, instr: Any, result: Any, operands: list[Any], bad: Any) -> Diagnostic:
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

    shown = ", ".join(entry(o) for o in operands)
    value = entry(result)
    return Diagnostic(
        "G404", f"`{instr.op}` of {shown} is {value}{where}: the first value that is not finite", instr.span, severity="warning"
    )
