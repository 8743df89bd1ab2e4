"""Large scalar programs run by one small machine (`plan/tape_machine.py`), which LLVM compiles once for all of them."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from gradlang.backend.artifact import Job
from gradlang.backend.llvm import unit_text
from gradlang.loops.functions import function
from gradlang.ops.table import OpTable
from gradlang.plan.sorted_tape import SortedTape, sort, strangers
from gradlang.plan.tape_machine import CODES, FORMS, LANES, machine
from gradlang.runtime import native


@cache
def loaded() -> tuple[Any, native.Library]:
    """The machine as a function of addresses and numbers, and what keeps it in memory. Raises NativeError without LLVM."""
    kernel = machine()
    text = unit_text([kernel], "f64", native.target(), lambda name: function(name, "f64"))
    library = native.load(text, [kernel.name])
    kinds = [ctypes.c_void_p] * len(kernel.buffers) + [ctypes.c_int64] * len(kernel.sizes)
    return ctypes.CFUNCTYPE(None, *kinds)(library[kernel.name]), library


class Tapes:
    """A sorted tape as a function of floats, which gives its outputs in their order; run by the machine. Every call in progress
    has an array of its own; arrays are kept for later calls.

    A call raises ArithmeticError if an argument is too large for the functions of the machine."""

    name = "tape"

    def __init__(self, tape: SortedTape) -> None:
        self.tape = tape
        self.run, self.library = loaded()
        self.parts = [a.ctypes.data for a in (tape.codes, tape.counts, *tape.operands)]
        self.outputs = np.array(list(tape.results.values()), np.int64)
        self.free: list[tuple[Any, Any]] = []

    def __call__(self, *args: float) -> list[float]:
        try:
            made = self.free.pop()
        except IndexError:
            made = self.tape.workspace(), np.zeros(1, np.bool_)
        values, far = made
        values[: len(args)] = args
        self.run(values.ctypes.data, far.ctypes.data, *self.parts, len(self.tape.codes), self.tape.base)
        found: list[float] = values[self.outputs].tolist()
        beyond = bool(far[0])
        self.free.append(made)
        if beyond:
            raise ArithmeticError
        return found


def tapes(job: Job, table: OpTable) -> Tapes | None:
    """The job on the machine; None where LLVM is not there or does not make it, or the machine lacks an op."""
    if strangers(job.tape, FORMS) or any(i.op in table.own for i in job.tape.instrs) or native.available() is not None:
        return None
    try:
        loaded()
    except native.NativeError:
        return None
    return Tapes(sort(job.tape, [p.name for p in job.params], FORMS, CODES, LANES))
