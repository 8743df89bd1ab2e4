"""A scalar tape as a few long lists: instructions of one kind that do not need one another stand together.

An instruction's level is one more than the highest of its arguments. Those of one level and one kind make a group; groups run
one after the other, the instructions of a group in any order or at once. Every value has a slot in one array of float64, and
the results of a group are neighbours in it. Truth values are 1 and 0. Nothing here takes longer than in proportion to the
number of instructions (times its logarithm for sorting).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gradlang.ir.tape import Tape
from gradlang.record import record

Slots = NDArray[np.int32]
ALIASES = frozenset({"mark", "real"})  # a truth value is the number that it stands for


@record
class Form:
    """An op of tapes in the kinds of a machine. An operand is a position among the arguments, or a number (a float)."""

    kind: str
    operands: tuple[int | float, ...]


@record
class SortedTape:
    """Group g runs kind `kinds[codes[g]]` for `counts[g]` (times the number of lanes) instructions; its first result has slot
    `firsts[g]`. The slot of operand k of the instruction whose result has slot `base + i` is `operands[k][i]` (0 where a kind
    has fewer operands). The inputs have the first slots, then stand the numbers of `constants`, then the results."""

    kinds: tuple[str, ...]
    inputs: tuple[str, ...]
    constants: NDArray[np.float64]
    codes: Slots
    counts: Slots
    firsts: Slots
    operands: tuple[Slots, ...]
    results: dict[str, int]

    @property
    def base(self) -> int:
        return len(self.inputs) + len(self.constants)

    @property
    def size(self) -> int:
        """The number of slots."""
        return self.base + len(self.operands[0])

    def workspace(self) -> NDArray[np.float64]:
        """An array for the values, with the constants in their places."""
        values = np.zeros(self.size)
        values[len(self.inputs) : self.base] = self.constants
        return values


def strangers(tape: Tape, forms: Mapping[str, Form]) -> set[str]:
    """The ops of a tape that have no form."""
    return {i.op for i in tape.instrs} - set(forms) - ALIASES - {"input", "const"}


def sort(tape: Tape, inputs: Iterable[str], forms: Mapping[str, Form], kinds: Iterable[str] = (), lanes: int = 1) -> SortedTape:
    """The tape in groups; all its ops have forms. Dead instructions are not left out: a tape has none.

    `kinds` gives the order of the kinds that codes count in. Groups are filled up to multiples of `lanes` with instructions
    that read the first slot; counts are in lanes."""
    names = tuple(inputs)
    kinds = tuple(kinds) or tuple(dict.fromkeys(f.kind for f in forms.values()))
    ops = {op: k for k, op in enumerate(dict.fromkeys(i.op for i in tape.instrs))}
    op = np.array([ops[i.op] for i in tape.instrs], np.int32)
    level = np.array(levels(tape), np.int64)
    _, args = arguments(tape, len(forms) and max(len(f.operands) for f in forms.values()))
    chosen = {op: forms[op] for op in ops if op in forms}
    numbers = Numbers(tape, names, chosen)
    code = np.full(len(ops), -1)
    for name, form in chosen.items():
        code[ops[name]] = kinds.index(form.kind)
    made = np.flatnonzero(code[op] >= 0)
    keys = level[made] * len(kinds) + code[op[made]]
    order = np.argsort(keys, kind="stable")
    made, keys = made[order], keys[order]
    heads = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.diff(heads, append=len(made))
    steps = -(-counts // lanes)
    firsts = (np.cumsum(steps) - steps) * lanes
    rows = np.repeat(firsts - heads, counts) + np.arange(len(made))
    slots = numbers.slots
    slots[made] = numbers.base + rows
    for i, a in numbers.aliases:
        slots[i] = slots[a]
    operands = tuple(np.zeros(int(steps.sum()) * lanes, np.int32) for _ in args)
    for name, form in chosen.items():
        at = np.flatnonzero(op[made] == ops[name])
        for column, x in zip(operands, form.operands, strict=False):
            column[rows[at]] = numbers.slot(x) if isinstance(x, float) else slots[args[x][made[at]]]
    return SortedTape(
        kinds,
        names,
        np.array(numbers.values, np.float64),
        (keys[heads] % len(kinds)).astype(np.int32),
        steps.astype(np.int32),
        (firsts + numbers.base).astype(np.int32),
        operands,
        {name: int(slots[i]) for name, i in tape.outputs},
    )


def levels(tape: Tape) -> list[int]:
    """0 for leaves, one more than the highest of its arguments for any other instruction."""
    out: list[int] = []
    put = out.append
    for instr in tape.instrs:
        args = instr.args
        if len(args) == 2:
            a, b = out[args[0]], out[args[1]]
            put(a + 1 if a > b else b + 1)
        elif len(args) == 1:
            put(out[args[0]] + 1)
        else:
            put(1 + max([out[a] for a in args]) if args else 0)
    return out


def arguments(tape: Tape, width: int) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """How many arguments every instruction has; and column k holds argument k of every one (anything where there is none)."""
    args = [i.args for i in tape.instrs]
    counts = np.fromiter(map(len, args), np.int64, len(args))
    starts = np.cumsum(counts) - counts
    flat = np.zeros(int(counts.sum()) + width, np.int64)
    flat[: len(flat) - width] = np.fromiter(chain.from_iterable(args), np.int64, len(flat) - width)
    return counts, [flat[starts + k] for k in range(width)]


class Numbers:
    """The slots of what is no instruction of the machine: inputs, constants, the numbers of forms, aliases."""

    def __init__(self, tape: Tape, names: tuple[str, ...], forms: Mapping[str, Form]) -> None:
        self.values: list[float] = []
        self.places: dict[str, int] = {}
        self.inputs = len(names)
        self.slots: Slots = np.zeros(len(tape), np.int32)
        self.aliases: list[tuple[int, int]] = []
        position = {n: k for k, n in enumerate(names)}
        for i, instr in enumerate(tape.instrs):
            if instr.op == "input":
                self.slots[i] = position[instr.attrs[0]]
            elif instr.op == "const":
                self.slots[i] = self.slot(float(instr.attrs[0]))
            elif instr.op in ALIASES:
                self.aliases.append((i, instr.args[0]))
        for form in forms.values():
            for x in form.operands:
                if isinstance(x, float):
                    self.slot(x)

    @property
    def base(self) -> int:
        return self.inputs + len(self.values)

    def slot(self, value: float) -> int:
        """The slot of a number; 0.0 and -0.0 are two."""
        made = self.places.setdefault(repr(value), len(self.values))
        if made == len(self.values):
            self.values.append(value)
        return self.inputs + made
