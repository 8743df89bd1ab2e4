"""Whether machine code pays: what NumPy would take, what loops would take, and what it costs to make them.

The figures are seconds, measured on one core of a server of 2023 (`tests/bench`); they need to be right within a factor of
two, since most programs are far from the point where it makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradlang.ir.tape import Tape
from gradlang.plan.weights import HEAVY
from gradlang.types import product, value

CALL = 0.7e-6  # of a NumPy function
ENTRY = 0.5e-9  # of one entry in NumPy, which writes it to memory
DEAR_ENTRY = 5e-9  # if it is an exp or the like
LOOPED = 0.15e-9  # of one entry of one operation in a loop
MULTIPLIED = 0.009e-9  # of a multiplication in a product of matrices, by which a kernel is faster than a library
LARGEST = 1 << 17  # entries of the second matrix of such a product, which has to stay in a cache
FLOATS = 0.35e-6  # of a call with Python floats, above one of machine code
FLOAT_STEP = 18e-9  # of one operation in Python floats
START = 0.02  # making any machine code
EACH = 0.5e-3  # machine code of one operation in loops
EACH_STEP = 0.1e-3  # of one in a straight line
CALLED = 1e-3  # of one that is a function, such as exp, beyond that
DEAR = 12  # the weight from which on an operation is a function


def seconds(tape: Tape, sizes: Mapping[str, int], call: float, entry: float, dear: float) -> float:
    """What the operations of a call take, about: each as much as a call and its entries."""
    total = 0.0
    for instr in tape.instrs:
        if instr.op == "scan":
            scan = instr.attrs[0]
            total += value(scan.length, sizes) * seconds(scan.body, sizes, call, entry, dear)
        elif instr.args:
            one = dear if HEAVY.get(instr.op, 1) >= DEAR else entry
            total += call + one * value(product(instr.type.shape), sizes)
    return total


def operations(tape: Tape) -> int:
    return sum(operations(i.attrs[0].body) if i.op == "scan" else bool(i.args) for i in tape.instrs)


def functions(tape: Tape) -> int:
    return sum(functions(i.attrs[0].body) if i.op == "scan" else HEAVY.get(i.op, 1) >= DEAR for i in tape.instrs)


def products(tape: Tape, sizes: Mapping[str, int]) -> float:
    """What kernels win of a library that has one thread, in products of two matrices."""
    total = 0.0
    for instr in tape.instrs:
        if instr.op in ("matmul", "zmatmul") and instr.type.rank == 2 and tape.instrs[instr.args[0]].type.rank == 2:
            first, second = (value(product(tape.instrs[a].type.shape), sizes) for a in instr.args)
            total += MULTIPLIED * first * value(instr.type.shape[1], sizes) if second <= LARGEST else 0.0
    return total


def pays(tape: Tape, sizes: Mapping[str, int], calls: int, cores: int | None = None) -> bool:
    """Whether so many calls win what machine code costs. `cores` are the threads of the library that multiplies matrices."""
    won = seconds(tape, sizes, CALL, ENTRY, DEAR_ENTRY) - seconds(tape, sizes, 0.0, LOOPED, LOOPED)
    won += products(tape, sizes) if cores == 1 else 0.0
    return won * calls > START + EACH * operations(tape) + CALLED * functions(tape)


def floats_pay(tape: Tape, calls: int) -> bool:
    """Whether so many calls of a program of numbers win what its machine code costs."""
    steps = operations(tape)
    return (FLOATS + FLOAT_STEP * steps) * calls > START + EACH_STEP * steps + CALLED * functions(tape)
