"""A scalar tape in the order in which machine code runs it, as a few long lists."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
from numpy.typing import NDArray

from gradlang.ir.tape import Tape
from gradlang.plan.sorted_tape import arguments
from gradlang.record import record

Truths = NDArray[np.bool_]
Numbers = NDArray[np.int64]
WIDTH = 3  # operands that an op may have


@record
class Straight:
    """Step k computes instruction `nodes[k]` of the tape: the op `ops[codes[k]]` of the instructions `operands[.][k]`.

    `chained` says that its first operand is what the step before it computed, `stored` that its result is needed later than
    by the step after it; `kept` are the instructions whose results need a place. A step of an op of TWINS has two results and
    keeps both: its operands are its argument and the two instructions that it computes. `slots` has room for a place of every
    instruction of the tape; `aliases` are instructions that are another one's value, in order."""

    ops: tuple[str, ...]
    codes: Numbers
    nodes: Numbers
    operands: tuple[Numbers, ...]
    chained: Truths
    stored: Truths
    kept: Numbers
    slots: Numbers
    leaves: list[int]
    aliases: list[tuple[int, int]]


TWINS = {"sincos": ("sin", "cos")}


def straight(tape: Tape, swapped: Mapping[str, str], either: Set[str]) -> Straight:
    """The steps of a tape, in its order. Ops of `swapped` become others with their operands exchanged; those of ops in
    `either` may be."""
    instrs, length = tape.instrs, len(tape)
    names = [instr.op for instr in instrs]
    ops = tuple(dict.fromkeys([*(swapped.get(n, n) for n in dict.fromkeys(names)), *TWINS]))
    code = {op: k for k, op in enumerate(ops)}
    turned_code = {op: code[other] + len(ops) for op, other in swapped.items() if other in code}
    codes = np.array(list(map({**code, **turned_code}.__getitem__, names)), np.int64)
    counts, columns = arguments(tape, WIDTH)
    marks = np.flatnonzero(codes == code.get("mark", -1)).tolist()
    aliases = [(i, instrs[i].args[0]) for i in marks]
    root: Numbers = np.arange(length)
    for i, value in aliases:
        root[i] = root[value]
    steps = counts > 0
    leaves = np.flatnonzero(~steps).tolist()
    steps[marks] = False
    twins = paired(codes, code, [root[columns[0]], *columns[1:]], steps)
    nodes = np.flatnonzero(steps)
    codes, counts = codes[nodes], counts[nodes]
    a, b, c = (root[column[nodes]] for column in columns)
    reads: tuple[Numbers, ...]
    chained: Truths
    turned = codes >= len(ops)
    codes[turned] -= len(ops)
    a, b = np.where(turned, b, a), np.where(turned, a, b)
    double = np.isin(codes, [code[t] for t in TWINS])
    before = np.where(np.append(False, double[:-1]), -1, np.append(-1, nodes[:-1]))
    free = np.array([op in either for op in ops] or [False])[codes] & (b == before) & (a != before)
    reads = np.where(free, b, a), np.where(free, a, b), c
    chained = reads[0] == before
    needed = [column[counts > k] for k, column in enumerate(reads)] + [root[[i for _, i in tape.outputs]]]
    uses = np.bincount(np.concatenate(needed), minlength=length)
    stored = ~(np.append(chained[1:], False) & (uses[nodes] == 1)) & ~double
    kept = np.concatenate([nodes[stored], twins])
    return Straight(ops, codes, nodes, reads, chained, stored, kept, np.zeros(length, np.int64), leaves, aliases)


def paired(codes: Numbers, code: Mapping[str, int], columns: list[Numbers], steps: Truths) -> Numbers:
    """Makes one step, where the first of them stands, of two ops of TWINS with the same argument. What such steps compute."""
    found: list[Numbers] = [np.zeros(0, np.int64)]
    for twin, pair in TWINS.items():
        one, other = (np.flatnonzero(codes == code.get(op, -1)) for op in pair)
        _, i, j = np.intersect1d(columns[0][one], columns[0][other], return_indices=True)
        one, other = one[i], other[j]
        first = np.minimum(one, other)
        codes[first] = code[twin]
        columns[1][first], columns[2][first] = one, other
        steps[np.maximum(one, other)] = False
        found += [one, other]
    return np.concatenate(found)
