"""A scalar tape in the order in which machine code runs it, as a few long lists."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradlang.ir.tape import Tape
from gradlang.plan.sorted_tape import arguments

Truths = NDArray[np.bool_]
Numbers = NDArray[np.int64]
WIDTH = 3  # operands that an op may have


@dataclass(frozen=True, slots=True)
class Straight:
    """Step k computes instruction `nodes[k]` of the tape: the op `ops[codes[k]]` of the instructions `operands[.][k]`.

    `chained` says that its first operand is what the step before it computed, `stored` that its result is needed later than
    by the step after it. `slots` has room for a place of every instruction of the tape; `aliases` are instructions that are
    another one's value, in order."""

    ops: tuple[str, ...]
    codes: Numbers
    nodes: Numbers
    operands: tuple[Numbers, ...]
    chained: Truths
    stored: Truths
    slots: Numbers
    leaves: list[int]
    aliases: list[tuple[int, int]]


def straight(tape: Tape, swapped: Mapping[str, str], either: Set[str]) -> Straight:
    """The steps of a tape, in its order. Ops of `swapped` become others with their operands exchanged; those of ops in
    `either` may be."""
    instrs, length = tape.instrs, len(tape)
    names = [instr.op for instr in instrs]
    ops = tuple(dict.fromkeys([swapped.get(n, n) for n in dict.fromkeys(names)]))
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
    steps[marks] = False
    nodes = np.flatnonzero(steps)
    codes, counts = codes[nodes], counts[nodes]
    a, b, c = (root[column[nodes]] for column in columns)
    reads: tuple[Numbers, ...]
    chained: Truths
    turned = codes >= len(ops)
    codes[turned] -= len(ops)
    a, b = np.where(turned, b, a), np.where(turned, a, b)
    before = np.concatenate([[-1], nodes[:-1]])
    free = np.array([op in either for op in ops] or [False])[codes] & (b == before) & (a != before)
    reads = np.where(free, b, a), np.where(free, a, b), c
    chained = reads[0] == before
    needed = [column[counts > k] for k, column in enumerate(reads)] + [root[[i for _, i in tape.outputs]]]
    uses = np.bincount(np.concatenate(needed), minlength=length)
    stored = ~(np.append(chained[1:], False) & (uses[nodes] == 1))
    leaves = np.flatnonzero([not instr.args for instr in instrs]).tolist()
    return Straight(ops, codes, nodes, reads, chained, stored, np.zeros(length, np.int64), leaves, aliases)
