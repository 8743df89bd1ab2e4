"""Large scalar programs, run step by step.

Python takes about 30 us to compile a line of generated code, and 0.1 us to run one. A program of tens of thousands of
operations is therefore not printed and compiled but run from its tape: one function of two numbers a step. Where Python's
math raises, the caller runs the program in another way, which goes on with infinities and nans as IEEE arithmetic does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradlang.backend.artifact import Param
from gradlang.diagnostics import internal
from gradlang.ir.tape import Tape
from gradlang.ops.op import Op
from gradlang.ops.operators import ARITHMETIC, COMPARISONS, DIVISION, LOGIC
from gradlang.ops.table import OpTable

Function = Callable[..., Any]
OPERATORS: dict[str, Function] = {
    **ARITHMETIC,
    **DIVISION,
    **COMPARISONS,
    **LOGIC,
    "real": float,
    "mark": lambda x: x,
    "where": lambda c, a, b: a if c else b,
}
BUILTINS: dict[str, Function] = {"abs": abs, "float": float, "round": round}


def function(op: Op) -> Function:
    """The Python function of a pointwise op over floats."""
    if op.name in OPERATORS:
        return OPERATORS[op.name]
    found = named(op.spelling.get("python", f"math.{op.name}"))
    if "rounding" in op.flags:
        return lambda x: math.copysign(found(x), x)
    return found


def named(spelling: str) -> Function:
    if spelling in BUILTINS:
        return BUILTINS[spelling]
    module, _, name = spelling.partition(".")
    if module != "math" or not hasattr(math, name):
        raise internal(f"the table spells an op `{spelling}`, which Python does not have")
    return getattr(math, name)  # type: ignore[no-any-return]


def two(run: Function, arity: int) -> Function:
    """A function of one number as one of two."""
    return run if arity == 2 else lambda a, _: run(a)


class Steps:
    """A tape as a function of floats, which gives its outputs in their order.

    A call raises ArithmeticError or ValueError where Python's math does."""

    name = "steps"

    def __init__(self, tape: Tape, params: Sequence[Param], table: OpTable) -> None:
        position = {p.name: k for k, p in enumerate(params)}
        functions: dict[str, Function] = {}
        slot: list[int] = [0] * len(tape.instrs)
        self.constants: list[float] = []
        rest: list[int] = []
        for i, instr in enumerate(tape.instrs):
            if instr.op == "input":
                slot[i] = position[instr.attrs[0]]
            elif instr.op == "const":
                slot[i] = len(position) + len(self.constants)
                self.constants.append(instr.attrs[0])
            else:
                rest.append(i)
        base = len(position) + len(self.constants)
        self.steps: list[tuple[Function, int, int, int]] = []
        for k, i in enumerate(rest):
            instr = tape.instrs[i]
            slot[i] = base + k
            args = [slot[a] for a in instr.args]
            run = functions.get(instr.op)
            if run is None:
                run = functions[instr.op] = function(table[instr.op])
                if len(args) < 3:
                    run = functions[instr.op] = two(run, len(args))
            self.steps.append((run, args[0], args[1] if len(args) > 1 else args[0], args[2] if len(args) > 2 else -1))
        self.slots = [slot[i] for _, i in tape.outputs]

    def __call__(self, *args: float) -> list[float]:
        values: list[Any] = [*args, *self.constants]
        put = values.append
        for run, a, b, c in self.steps:
            put(run(values[a], values[b]) if c < 0 else run(values[a], values[b], values[c]))
        return [values[s] for s in self.slots]
