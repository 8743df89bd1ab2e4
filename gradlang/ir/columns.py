"""Large tapes of numbers as columns: what is done with every instruction is done with whole arrays.

An instruction is a kind (op, settings, type) and up to three arguments; spans, scopes and names are left behind. Arguments
stand before their uses, as on a tape. Passes write `Form`s, little tapes that were made once by the ordinary builder, in many
places at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlang.check.program import Node
from gradlang.ir.tape import Builder, Instr, Tape, leaf_key
from gradlang.record import record
from gradlang.source import NOWHERE
from gradlang.types import SCALAR, Type

Ids = NDArray[np.int64]
Truths = NDArray[np.bool_]
Row = tuple[str, tuple[Any, ...], Type]
WIDTH = 3  # arguments that an instruction may have
GONE = 0  # the kind of what was replaced
ROUNDS = 4  # of merging by sorting; what is left is merged one by one


@record(eq=False)
class About:
    """What is known of each kind: the number of its op, whether its value is a truth value, the number that it is (or nan)."""

    ops: Ids
    truths: Truths
    numbers: NDArray[np.float64]


class Kinds:
    """The kinds of the instructions of one program, numbered."""

    def __init__(self) -> None:
        self.rows: list[Row] = [("", (), SCALAR)]
        self.numbers: dict[Any, int] = {}
        self.ops: dict[str, int] = {"": 0}
        self.known: About | None = None

    def of(self, op: str, attrs: tuple[Any, ...], type: Type) -> int:
        type = SCALAR if type == SCALAR else type
        key = leaf_key(op, attrs, type)
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = len(self.rows)
            self.rows.append((op, attrs, type))
            self.ops.setdefault(op, len(self.ops))
        return found

    def __len__(self) -> int:
        return len(self.rows)

    def about(self) -> About:
        if self.known is None or len(self.known.ops) < len(self.rows):
            self.known = About(
                np.array([self.ops[op] for op, _, _ in self.rows]),
                np.array([type is not SCALAR and type.dtype == "bool" for _, _, type in self.rows]),
                np.array([a[0] if op == "const" and a[0].__class__ is float else np.nan for op, a, _ in self.rows]),
            )
        return self.known


@record(eq=False)
class Columns:
    """Instruction i is of kind `kind[i]` and has the arguments `args[:, i]`, -1 where there is none."""

    kinds: Kinds
    kind: Ids
    args: Ids
    outputs: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.kind)

    def ops(self) -> set[str]:
        return {row[0] for row in self.occurring()} - {""}

    def occurring(self) -> list[Row]:
        """The kinds that occur."""
        return [self.kinds.rows[k] for k in np.flatnonzero(np.bincount(self.kind)).tolist()]

    def every(self, op: str) -> Ids:
        """The instructions of an op."""
        return np.flatnonzero(self.kinds.about().ops[self.kind] == self.kinds.ops.get(op, -1))


@record(eq=False)
class Form:
    """A little tape: the values that it is given, then `steps` (a kind, and places of arguments), of which one is `value`."""

    given: int
    steps: tuple[tuple[int, tuple[int, ...]], ...]
    value: int


@record(eq=False)
class Part:
    """A form that takes the place of some instructions; row k of `given` holds what it is given for each of them."""

    sites: Ids
    form: Form
    given: Sequence[Ids]


def form_of(b: Builder, given: Sequence[int], value: int, kinds: Kinds) -> Form:
    """What a builder made of some of its instructions, as a form over these."""
    places = {g: k for k, g in enumerate(given)}
    wanted, stack = {value}, [value]
    while stack:
        i = stack.pop()
        for a in () if i in places else b.instrs[i].args:
            if a not in wanted:
                wanted.add(a)
                stack.append(a)
    steps: list[tuple[int, tuple[int, ...]]] = []
    for i in sorted(wanted - places.keys()):
        instr = b.instrs[i]
        places[i] = len(given) + len(steps)
        steps.append((kinds.of(instr.op, instr.attrs, instr.type), tuple([places[a] for a in instr.args])))
    return Form(len(given), tuple(steps), places[value])


def inputs_of(b: Builder, types: Iterable[Type]) -> list[int]:
    """Inputs for what a form will be given."""
    return [b.leaf("input", (("given", k),), t, NOWHERE).id for k, t in enumerate(types)]


def bare(row: Row, args: tuple[int, ...]) -> Instr:
    op, attrs, type = row
    return Instr(op, args, attrs, type, NOWHERE)


# ------------------------------------------------------------------ from nodes and tapes
def columns_of(nodes: Sequence[Node], outputs: Iterable[tuple[str, int]], kinds: Kinds | None = None) -> Columns:
    """Nodes, whose arguments are places among them, as columns."""
    kinds = Kinds() if kinds is None else kinds
    simple: dict[str, int] = {}
    found: list[int] = []
    for n in nodes:
        if n.type is SCALAR and not n.attrs:
            k = simple.get(n.op)
            if k is None:
                k = simple[n.op] = kinds.of(n.op, (), SCALAR)
            found.append(k)
        else:
            found.append(kinds.of(n.op, n.attrs, n.type))
    args = [n.args for n in nodes]
    counts = np.fromiter(map(len, args), np.int64, len(args))
    starts = np.cumsum(counts) - counts
    flat = np.zeros(int(counts.sum()) + WIDTH, np.int64)
    flat[: len(flat) - WIDTH] = np.fromiter(chain.from_iterable(args), np.int64, len(flat) - WIDTH)
    columns = np.array([np.where(counts > k, flat[starts + k], -1) for k in range(WIDTH)])
    return Columns(kinds, np.array(found, np.int64), columns.reshape(WIDTH, -1), tuple(outputs))


def of_tape(tape: Tape) -> Columns:
    return columns_of(tape.instrs, tape.outputs)


# ------------------------------------------------------------------ renumbering
def renamed(args: Ids, where: Ids) -> Ids:
    """Arguments after instruction i has become `where[i]`."""
    return np.append(where, -1)[args]


def followed(where: Ids) -> Ids:
    """What stands for each instruction in the end, if it is known what takes its place."""
    while True:
        after = where[where]
        if np.array_equal(after, where):
            return where
        where = after


def live(c: Columns) -> Columns:
    """Only what the outputs need."""
    seen = bytearray(len(c))
    for _, i in c.outputs:
        seen[i] = 1
    a, b, d = (column.tolist() for column in c.args)
    for i in range(len(seen) - 1, -1, -1):
        if seen[i] and a[i] >= 0:
            seen[a[i]] = 1
            if b[i] >= 0:
                seen[b[i]] = 1
                if d[i] >= 0:
                    seen[d[i]] = 1
    keep = np.frombuffer(seen, np.bool_)
    if keep.all():
        return c
    where = np.cumsum(keep) - 1
    return Columns(c.kinds, c.kind[keep], renamed(c.args[:, keep], where), tuple((n, int(where[i])) for n, i in c.outputs))


def merged(c: Columns) -> Columns:
    """Equal instructions become one, the first; the others stay, and nothing needs them."""
    if len(c.kinds) * (len(c) + 1) ** 2 >= 2**63:
        return one_by_one(c)
    args = c.args
    wide = args[2] >= 0
    parts = [p for p in (np.flatnonzero(~wide & (c.kind != GONE)), np.flatnonzero(wide)) if len(p)]
    for _ in range(ROUNDS):
        where = np.arange(len(c))
        for ids in parts:
            firsts(c.kind[ids], args[:, ids], len(c) + 1, ids, where)
        after = renamed(c.args, where)
        if np.array_equal(after, args):
            return replaced(c, after, where)
        args = after
    return one_by_one(replaced(c, args, where))


def firsts(kind: Ids, args: Ids, base: int, ids: Ids, where: Ids) -> None:
    """Puts the first of some equal instructions in the place of each of them; all have three arguments, or none has."""
    key = (kind * base + args[0] + 1) * base + args[1] + 1
    third = args[2, 0] >= 0
    order = np.lexsort((args[2], key)) if third else np.argsort(key)
    key = key[order]
    same = key[1:] == key[:-1]
    if third:
        last = args[2][order]
        same &= last[1:] == last[:-1]
    if same.any():
        heads = np.flatnonzero(np.append(True, ~same))
        found = ids[order]
        where[found] = np.repeat(np.minimum.reduceat(found, heads), np.diff(np.append(heads, len(found))))


def replaced(c: Columns, args: Ids, where: Ids) -> Columns:
    return Columns(c.kinds, c.kind, args, tuple((n, int(where[i])) for n, i in c.outputs))


def one_by_one(c: Columns) -> Columns:
    """`merged`, however long the chains of what is equal only because its arguments are."""
    memo: dict[tuple[int, ...], int] = {}
    where: list[int] = []
    rows: list[tuple[int, ...]] = []
    for i, (k, *given) in enumerate(zip(c.kind.tolist(), *c.args.tolist(), strict=True)):
        row = (k, *[where[a] if a >= 0 else -1 for a in given])
        rows.append(row)
        where.append(i if k == GONE else memo.setdefault(row, i))
    table = np.array(rows, np.int64).reshape(-1, 1 + WIDTH)
    return replaced(c, np.ascontiguousarray(table[:, 1:].T), np.array(where, np.int64))


# ------------------------------------------------------------------ writing forms
def spliced(c: Columns, parts: Sequence[Part]) -> tuple[Columns, Ids]:
    """Forms in the places of instructions, which no two parts share; and where the instructions now stand."""
    counts = np.zeros(len(c), np.int64)
    for part in parts:
        counts[part.sites] = len(part.form.steps)
    where = np.arange(len(c)) + np.cumsum(counts)
    size = len(c) + int(counts.sum())
    kind, args = np.empty(size, np.int64), np.full((WIDTH, size), -1)
    kind[where] = c.kind
    args[:, where] = renamed(c.args, where)
    stands = np.arange(size)
    for part in parts:
        at = where[part.sites]
        kind[at] = GONE
        args[:, at] = -1
        values = [where[g] for g in part.given]
        for j, (k, places) in enumerate(part.form.steps):
            here = at - len(part.form.steps) + j
            kind[here] = k
            for column, place in zip(args, places, strict=False):
                column[here] = values[place]
            values.append(here)
        stands[at] = values[part.form.value]
    stands = followed(stands)
    outputs = tuple((n, int(stands[where[i]])) for n, i in c.outputs)
    return Columns(c.kinds, kind, renamed(args, stands), outputs), where


def settled(c: Columns) -> Columns:
    """Each value once, and only what the outputs need."""
    return live(merged(c))
