"""Large scalar programs, run step by step.

Python takes about 30 us to compile a line of generated code, and 0.1 us to run one. A program of tens of thousands of
operations is therefore not printed and compiled but run from its tape: one function of two numbers a step. Where Python's
math raises, the program is run again over NumPy scalars, which go on with infinities and nans as IEEE arithmetic does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradlang.backend.artifact import Param, Returns
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
    """A compiled tape: called like the generated function, with the leaves in their order."""

    def __init__(self, tape: Tape, params: Sequence[Param], returns: Returns, table: OpTable) -> None:
        self.tape, self.returns, self.table = tape, returns, table
        self.names = [p.name for p in params]
        position = {n: k for k, n in enumerate(self.names)}
        functions: dict[str, Function] = {}
        slot: list[int] = [0] * len(tape.instrs)
        self.constants: list[float] = []
        rest: list[int] = []
        for i, instr in enumerate(tape.instrs):
            if instr.op == "input":
                slot[i] = position[instr.attrs[0]]
            elif instr.op == "const":
                slot[i] = len(self.names) + len(self.constants)
                self.constants.append(instr.attrs[0])
            else:
                rest.append(i)
        base = len(self.names) + len(self.constants)
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
        self.slots = {name: slot[i] for name, i in tape.outputs}

    def __call__(self, *args: float) -> Any:
        values: list[Any] = [*args, *self.constants]
        put = values.append
        try:
            for run, a, b, c in self.steps:
                put(run(values[a], values[b]) if c < 0 else run(values[a], values[b], values[c]))
        except (ArithmeticError, ValueError):
            return self.ieee(*args)
        return self.result(self.returns, {n: values[s] for n, s in self.slots.items()})

    def ieee(self, *args: float) -> Any:
        """The same in IEEE arithmetic, by the reference interpreter."""
        import numpy as np

        from gradlang.ir.evaluate import evaluate

        inputs = {n: np.float64(a) for n, a in zip(self.names, args, strict=True)}
        found = evaluate(self.tape, self.table, inputs, {}, number=np.float64)
        kinds = {n: bool if self.tape.instrs[i].type.dtype == "bool" else float for n, i in self.tape.outputs}
        return self.result(self.returns, {n: kinds[n](v) for n, v in found.items()})

    def result(self, returns: Returns, values: dict[str, Any]) -> Any:
        def one(part: Any) -> Any:
            return self.result(part, values) if isinstance(part, Returns) else values[part]

        if returns.kind == "one":
            return one(returns.parts[0])
        if returns.kind == "pair":
            return tuple(map(one, returns.parts))
        return {key: one(part) for key, part in returns.parts}
