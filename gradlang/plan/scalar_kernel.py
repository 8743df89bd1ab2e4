"""A scalar tape as one straight-line kernel of the loop form, for compilers that keep values in registers."""

from __future__ import annotations

from collections.abc import Iterable

from gradlang.ir.tape import Instr, Tape
from gradlang.loops.ir import Buffer, Code, Kernel, Value
from gradlang.plan.pointwise import KINDS, PLAIN, SPECIAL, beyond, pointwise
from gradlang.plan.weights import CALLS

KNOWN = frozenset({*PLAIN, *SPECIAL, *CALLS, "input", "const"})


def scalar_kernel(tape: Tape, inputs: Iterable[str], name: str = "run_scalar") -> Kernel:
    """The kernel of a tape whose ops are all in KNOWN: the inputs are its numbers, in order; it writes the outputs side by
    side into its buffer, truth values as 1 and 0, and after them 1 if an argument of a function was beyond the function's
    limit (the outputs are then as good as nothing) and 0 if none was."""
    code = Code()
    given = {n: Value("f", hint=n) for n in inputs}
    results = Buffer("results", "f", True)
    far = code.const(False, "b")
    made: list[Value] = []
    for instr in tape.instrs:
        args = [made[a] for a in instr.args]
        large = beyond(code, instr.op, args, "f64")
        if large is not None:
            far = large if far.const is not None else code.op("or", far, large)
        made.append(value(code, instr, args, given))
    for k, (_, i) in enumerate(tape.outputs):
        code.store(results, code.whole(k), number(code, made[i]))
    code.store(results, code.whole(len(tape.outputs)), number(code, far))
    return Kernel(name, (results,), (), code.body, tuple(given.values()))


def value(code: Code, instr: Instr, args: list[Value], given: dict[str, Value]) -> Value:
    if instr.op == "input":
        return given[instr.attrs[0]]
    if instr.op == "const":
        known = instr.attrs[0]
        return code.const(known, "b") if isinstance(known, bool) else code.real(known)
    return pointwise(code, instr.op, args, KINDS[instr.type.dtype])


def number(code: Code, made: Value) -> Value:
    if made.type != "b":
        return made
    return code.real(float(made.const)) if made.const is not None else code.op("btof", made)
