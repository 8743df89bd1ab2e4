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

from gradlang.check.nodes import Nodes, Stretch
from gradlang.check.program import Node
from gradlang.ir.tape import Builder, Instr, Tape, leaf_key
from gradlang.record import record
from gradlang.source import NOWHERE
from gradlang.types import SCALAR, Type

# (`numpy.typing`, which calls these NDArray, takes a millisecond to import.)
Ids = np.ndarray[Any, np.dtype[np.int64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]
Reals = np.ndarray[Any, np.dtype[np.float64]]
Row = tuple[str, tuple[Any, ...], Type]
WIDTH = 3  # arguments that an instruction may have
GONE = 0  # the kind of what was replaced
ROUNDS = 40  # of merging by sorting; what is left is merged one by one


@record(eq=False)
class About:
    """What is known of each kind: the number of its op, whether its value is a truth value, the number that it is (or nan)."""

    ops: Ids
    truths: Truths
    numbers: Reals


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


class Columns:
    """Instruction i is of kind `kind[i]` and has the arguments `args[:, i]`, -1 where there is none. `outputs` are pairs of a
    name and an instruction."""

    __slots__ = ("args", "codes", "kind", "kinds", "outputs")

    def __init__(self, kinds: Kinds, kind: Ids, args: Ids, outputs: tuple[tuple[str, int], ...]) -> None:
        self.kinds, self.kind, self.args, self.outputs = kinds, kind, args, outputs
        self.codes: Ids | None = None  # the numbers of ops

    def __len__(self) -> int:
        return len(self.kind)

    def ops(self) -> set[str]:
        return {row[0] for row in self.occurring()} - {""}

    def occurring(self) -> list[Row]:
        """The kinds that occur."""
        return [self.kinds.rows[k] for k in np.flatnonzero(np.bincount(self.kind)).tolist()]

    def every(self, op: str) -> Ids:
        """The instructions of an op."""
        if self.codes is None:
            self.codes = self.kinds.about().ops[self.kind]
        return np.flatnonzero(self.codes == self.kinds.ops.get(op, -1))


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


def columns_among(nodes: Sequence[Node], order: Sequence[int]) -> Columns:
    """Some nodes of a program as columns, without making those that nobody has looked at; arguments are still places among all
    nodes."""
    if not isinstance(nodes, Nodes):
        return columns_of([nodes[i] for i in order], ())
    kinds, parts = Kinds(), []
    for some, stretch in nodes.split(order):
        if stretch is None:
            parts.append(columns_of([nodes[i] for i in some], (), kinds))
            continue
        made, seen = of_stretch(stretch, some, kinds), nodes.seen(stretch)
        if looked := [k for k, i in enumerate(some) if i in seen] if seen else []:
            now = columns_of([nodes[some[k]] for k in looked], (), kinds)
            made.kind[looked], made.args[:, looked] = now.kind, now.args
        parts.append(made)
    return Columns(kinds, np.concatenate([p.kind for p in parts]), np.concatenate([p.args for p in parts], axis=1), ())


def of_stretch(stretch: Stretch, order: Sequence[int], kinds: Kinds) -> Columns:
    which = np.array(order, np.int64) - stretch.first
    codes = stretch.codes[which]
    kind = np.array([-1 if attrs is None else kinds.of(op, attrs, SCALAR) for op, attrs, _ in stretch.forms])[codes]
    if stretch.numbers is not None:
        numbers = np.flatnonzero(kind < 0)
        kind[numbers] = [kinds.of("const", (x,), SCALAR) for x in stretch.numbers[which[numbers]].tolist()]
    counts = np.array([count for _, _, count in stretch.forms])[codes]
    args = np.full((WIDTH, len(which)), -1)
    for k, column in enumerate(stretch.args[:WIDTH]):
        args[k] = np.where(counts > k, column[which], -1)
    return Columns(kinds, kind, args, ())


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
    seen = bytearray(len(c) + 1)  # the last one stands for no argument
    for _, i in c.outputs:
        seen[i] = 1
    a, b, d = c.args[:, ::-1].tolist()
    places = range(len(c) - 1, -1, -1)
    if (c.args[2] >= 0).any():
        for i, x, y, z in zip(places, a, b, d, strict=True):
            if seen[i]:
                seen[x] = seen[y] = seen[z] = 1
    else:
        for i, x, y in zip(places, a, b, strict=True):
            if seen[i]:
                seen[x] = seen[y] = 1
    keep = np.frombuffer(seen, np.bool_)[:-1]
    if keep.all():
        return c
    where = np.cumsum(keep) - 1
    return Columns(c.kinds, c.kind[keep], renamed(c.args[:, keep], where), tuple((n, int(where[i])) for n, i in c.outputs))


def merged(c: Columns) -> Columns:
    """Equal instructions become one, the first; the others stay, and nothing needs them.

    After the first round only those are looked at whose arguments became others. They are looked for among the keys of all:
    what still has a key with an argument that is gone is never found."""
    base = len(c) + 1
    if len(c.kinds) * base**2 >= 2**63:
        return one_by_one(c)
    args, where = c.args, np.arange(len(c))
    wide = args[2] >= 0
    asked = c.kind != GONE
    keys = ids = np.zeros(0, np.int64)  # of all with fewer than three arguments: the keys in order, and who has them
    for _ in range(ROUNDS):
        now = np.arange(len(c))
        some = np.flatnonzero(asked & ~wide)
        found, first = firsts((c.kind[some] * base + args[0, some] + 1) * base + args[1, some] + 1, some, now)
        if len(keys):
            at = np.searchsorted(keys, found)
            known = np.append(keys, -1)[at] == found
            other = where[ids[at[known]]]
            now[first[known]] = now[other] = np.minimum(first[known], other)
            keys, ids = (np.insert(x, at[~known], y[~known]) for x, y in ((keys, found), (ids, first)))
        else:
            keys, ids = found, first
        if (asked & wide).any():
            some = np.flatnonzero(wide)
            by_three(c.kind[some] * base + args[0, some] + 1, args[1, some] * base + args[2, some], some, now)
        where = followed(now)[where]
        after = renamed(c.args, where)
        asked = (after != args).any(0)
        args = after
        if not asked.any():
            return replaced(c, args, where)
    return one_by_one(replaced(c, args, where))


def firsts(key: Ids, ids: Ids, now: Ids) -> tuple[Ids, Ids]:
    """The different keys in order, and the first of those that have each, which takes the place of the others in `now`."""
    order = np.argsort(key)
    key, ids = key[order], ids[order]
    heads = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
    first = np.minimum.reduceat(ids, heads) if len(heads) else ids
    if len(heads) < len(ids):
        now[ids] = np.repeat(first, np.diff(np.append(heads, len(ids))))
    return key[heads], first


def by_three(key: Ids, rest: Ids, ids: Ids, now: Ids) -> None:
    """`firsts` of those with three arguments, which one number does not hold."""
    order = np.lexsort((rest, key))
    both = np.append(False, (key[order][1:] == key[order][:-1]) & (rest[order][1:] == rest[order][:-1]))
    number = np.empty(len(ids), np.int64)
    number[order] = np.cumsum(~both)
    firsts(number, ids, now)


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
