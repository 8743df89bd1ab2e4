"""Reverse mode over large tapes of numbers as columns.

What an argument of an instruction gets of its cotangent is a form, which the ordinary chain rule makes once: for an op, for
what it would look at in the arguments (constants, negations, choices: `transform/chain.py`), and for whether the cotangent
carries exact zeros. One sweep over the instructions says which form goes where; then each form is written everywhere at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlang.ir.columns import WIDTH, Columns, Form, Ids, bare, form_of
from gradlang.ir.tape import Builder
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.source import NOWHERE
from gradlang.transform.chain import Chain
from gradlang.transform.column_rules import Unfit
from gradlang.transform.numbers import KNOWN_FACTORS, Numbers
from gradlang.transform.partials import Templates
from gradlang.transform.vjp import accumulate, contributions
from gradlang.types import BOOL, SCALAR, Type

DEEP = 6  # how far the chain rule looks into an argument, at most, before another way is taken
PLAIN: Any = ()
Path = tuple[int, ...]  # from an instruction to an argument of an argument ...; of the cotangent: COTANGENT
COTANGENT: Path = (-1,)


@record(eq=False)
class Contribution:
    """What argument `position` gets: a form over what is found on `paths` from the instruction; and whether it is masked."""

    number: int
    position: int
    form: Form
    paths: tuple[Path, ...]
    masked: bool

    @property
    def value(self) -> Path | int:
        """The step whose value it is, or a path."""
        at = self.form.value
        return at - len(self.paths) if at >= len(self.paths) else self.paths[at]


class Looks:
    """What the chain rule finds when it looks at an instruction as a factor: its op, if that is known to make a product
    something simpler, over what it finds in that."""

    def __init__(self, c: Columns) -> None:
        rows = c.kinds.rows
        ops = c.kinds.about().ops
        known = np.isin(ops, [c.kinds.ops[op] for op in KNOWN_FACTORS if op in c.kinds.ops])
        found = known[c.kind]
        self.known = found.tobytes()
        self.under = np.append(found, False)[c.args].any(0).tobytes()  # whether one of its arguments is known
        self.c, self.rows = c, rows
        self.made: dict[int, Any] = {}

    def at(self, i: int, depth: int = 0) -> Any:
        if not self.known[i]:
            return PLAIN
        found = self.made.get(i)
        if found is None:
            found = self.made[i] = self.look(i, depth)
        return found

    def look(self, i: int, depth: int) -> Any:
        if depth > DEEP:
            raise Unfit
        op, attrs, _ = self.rows[self.c.kind[i]]
        if op == "const":
            return (op, repr(attrs[0]) if attrs[0] in (0, 1, -1) else "") if attrs[0].__class__ is float else PLAIN
        args = self.c.args[:, i].tolist()
        if op == "neg":
            return op, self.at(args[0], depth + 1)
        if op == "div":
            return (op, self.at(args[0]), PLAIN) if self.is_const(args[0]) else PLAIN
        if not any(self.is_const(a) and self.rows[self.c.kind[a]][1][0] == 0 for a in args[1:]):
            return PLAIN
        return (op, PLAIN, *[self.at(a, depth + 1) for a in args[1:]])

    def is_const(self, i: int) -> bool:
        return bool(self.rows[self.c.kind[i]][0] == "const")


class Contributions:
    """The contributions of the kinds of one program."""

    def __init__(self, c: Columns, table: OpTable, templates: Templates) -> None:
        self.c, self.table, self.templates = c, table, templates
        self.all: list[Contribution] = []

    def looked(self, row: tuple[str, tuple[Any, ...], Type], types: Sequence[Type]) -> tuple[int, ...]:
        """The arguments that the chain rule may look at when it multiplies by a partial of an op."""
        op = self.table[row[0]]
        found: set[int] = set()
        kinds = tuple([t.dtype for t in types])
        for param in op.params:
            if param not in op.partials:
                continue
            steps, count, value = self.templates.get(op, "d/d" + param, op.partials[param], row[1], True, kinds)
            stack = [value]
            while stack:
                i = stack.pop()
                if i < count:
                    found.update((i,) if i < len(op.params) else range(len(op.params)) if row[0] in KNOWN_FACTORS else ())
                elif steps[i].op in KNOWN_FACTORS:
                    stack += steps[i].args
        return tuple(sorted(found))

    def of(
        self, row: tuple[str, tuple[Any, ...], Type], types: Sequence[Type], looks: Sequence[Any], masked: bool
    ) -> list[Any]:
        """What the arguments of an op get, if they look like this and the cotangent is masked or not."""
        b = Builder(self.table)
        chain = Chain(b, self.templates)
        given: dict[int, Path] = {}
        args = tuple([stand(b, look, type, (q,), given) for q, (look, type) in enumerate(zip(looks, types, strict=True))])
        instr = bare(row, args)
        at = b.add(row[0], args, row[1], row[2])
        given[at] = ()
        g = b.leaf("input", ("cotangent",), SCALAR, NOWHERE).id
        given[g] = COTANGENT
        if masked:
            chain.masked.add(g)
        out = []
        for position, a in enumerate(args):
            if types[position] is not SCALAR or looks[position][:1] == ("const",):
                continue
            adjoints: dict[int, int] = {}
            active = bytearray(len(b.instrs))
            active[a] = 1
            op: Op = self.table[row[0]]
            if not Numbers(chain, active, adjoints).add(op, instr, at, g):
                for _, part in contributions(chain, op, instr, at, g, active):
                    accumulate(chain, adjoints, a, part)
            if a in adjoints:
                form = form_of(b, tuple(given), adjoints[a], self.c.kinds)
                made = Contribution(len(self.all), position, form, tuple(given.values()), adjoints[a] in chain.masked)
                self.all.append(made)
                out.append((position, made.number, len(form.steps), made.value, made.masked))
        return out


def stand(b: Builder, look: Any, type: Type, path: Path, given: dict[int, Path]) -> int:
    """What stands for an argument that looks like this; `given` gets where all of it is found."""
    if not look:
        made = b.leaf("input", (path,), type, NOWHERE).id
    elif look[0] == "const":
        value = float(look[1]) if look[1] else 1e-300 * (2 + len(b.instrs))  # one that nothing is known of
        made = b.const(value)
        if look[1]:
            return made
    else:
        types = (BOOL, SCALAR, SCALAR) if look[0] == "where" else (SCALAR,) * WIDTH
        args = [stand(b, inner, t, (*path, k), given) for k, (inner, t) in enumerate(zip(look[1:], types, strict=False))]
        made = b.add(look[0], tuple(args), (), SCALAR)
    given[made] = path
    return made


def active_of(c: Columns, wrt: Sequence[int]) -> bytearray:
    """Which instructions depend on some through real values."""
    active = bytearray(len(c) + 1)  # the last one stands for no argument
    for x in wrt:
        active[x] = 1
    real = (~c.kinds.about().truths[c.kind]).tolist()
    for i, (a, b, d) in enumerate(zip(*c.args.tolist(), strict=True)):
        if (active[a] or active[b] or active[d]) and real[i]:
            active[i] = 1
    return active


class Sweep:
    """One sweep: `sites`, `forms`, `starts` and `cotangents` say which contribution is written for which instruction, from
    which place on; `sums` where two are added up, and which."""

    def __init__(self, c: Columns, table: OpTable, templates: Templates) -> None:
        self.c, self.table = c, table
        self.made = Contributions(c, table, templates)
        self.looks = Looks(c)
        self.sites: list[int] = []
        self.forms: list[int] = []
        self.starts: list[int] = []
        self.cotangents: list[int] = []
        self.sums: list[tuple[int, int, int]] = []
        self.plans: dict[Any, Any] = {}
        self.watched = bytearray([1]) * len(
            c.kinds
        )  # kinds of which it matters what arguments look like, or that are not known

    def plan(self, i: int, kind: int, masked: bool) -> list[Any]:
        """What the arguments of an instruction get."""
        watched = self.plans.get(kind)
        row = self.c.kinds.rows[kind]
        args = [a for a in self.c.args[:, i].tolist() if a >= 0]
        if watched is None:
            truths = self.c.kinds.about().truths
            types = tuple([BOOL if truths[self.c.kind[a]] else SCALAR for a in args])
            op = self.table[row[0]] if args else None
            differentiable = op is not None and op.differentiable
            watched = self.plans[kind] = (types, self.made.looked(row, types) if differentiable else None)
        types, places = watched
        if places is None:
            self.watched[kind], self.plans[kind, masked] = 0, []
            return []
        looks = [PLAIN] * len(args)
        for q in places:
            looks[q] = self.looks.at(args[q])
        key = kind, masked, tuple(looks)
        found = self.plans.get(key)
        if found is None:
            found = self.plans[key] = self.made.of(row, types, looks, masked)
        self.watched[kind] = len(places) > 0
        if not places or not self.looks.under[i]:
            self.plans[kind, masked] = found
        return found

    def run(self, y: int, wrt: Sequence[int]) -> list[int]:
        """The adjoints of all instructions, -1 where there is none; the cotangent of y is the first instruction after all."""
        size = len(self.c)
        active, kinds, args = active_of(self.c, wrt), self.c.kind.tolist(), self.c.args.tolist()
        adjoints, masked = [-1] * size, bytearray(size)
        if not active[y]:
            return adjoints
        adjoints[y] = size
        end = size + 1
        plans, sums, under, watched = self.plans, self.sums, self.looks.under, self.watched
        site, form, start, cotangent = self.sites.append, self.forms.append, self.starts.append, self.cotangents.append
        for i in range(y, -1, -1):
            g = adjoints[i]
            if g < 0:
                continue
            kind, mask = kinds[i], masked[i] > 0
            plan = None if under[i] and watched[kind] else plans.get((kind, mask))
            for position, number, steps, value, made in self.plan(i, kind, mask) if plan is None else plan:
                to = args[position][i]
                if not active[to]:
                    continue
                if steps:
                    site(i)
                    form(number)
                    start(end)
                    cotangent(g)
                got = end + value if value.__class__ is int else g if value is COTANGENT else self.along(value, i)
                end += steps
                before = adjoints[to]
                if before < 0:
                    adjoints[to] = got
                    masked[to] = made
                else:
                    sums.append((end, before, got))
                    adjoints[to] = end
                    end += 1
                    masked[to] = masked[to] and made
        self.size = end
        return adjoints

    def along(self, path: Path, i: int) -> int:
        for k in path:
            i = int(self.c.args[k, i])
        return i

    def written(self) -> tuple[Ids, Ids]:
        """Kinds and arguments of all instructions, with those of the sweep."""
        c, size = self.c, len(self.c)
        kind, args = np.zeros(self.size, np.int64), np.full((WIDTH, self.size), -1)
        kind[:size], args[:, :size] = c.kind, c.args
        kind[size] = c.kinds.of("const", (1.0,), SCALAR)
        sites, forms, starts, cotangents = (
            np.array(x, np.int64) for x in (self.sites, self.forms, self.starts, self.cotangents)
        )
        order = np.argsort(forms, kind="stable")
        ends = np.searchsorted(forms[order], np.arange(len(self.made.all) + 1))
        for made in self.made.all:
            here = order[ends[made.number] : ends[made.number + 1]]
            if not len(here) or not made.form.steps:
                continue
            used = {place for _, places in made.form.steps for place in places}
            values: dict[int, Ids] = {}
            for k, path in enumerate(made.paths):
                if k in used:
                    values[k] = cotangents[here] if path == COTANGENT else follow(c, sites[here], path)
            for j, (step, places) in enumerate(made.form.steps):
                at = starts[here] + j
                kind[at] = step
                for column, place in zip(args, places, strict=False):
                    column[at] = values[place]
                values[len(made.paths) + j] = at
        if self.sums:
            at, a, b = np.array(self.sums, np.int64).T
            kind[at] = c.kinds.of("add", (), SCALAR)
            args[0][at], args[1][at] = a, b
        return kind, args


def follow(c: Columns, ids: Ids, path: Path) -> Ids:
    for k in path:
        ids = c.args[k][ids]
    return ids


def with_gradient(c: Columns, y: int, wrt: Sequence[tuple[str, int]], table: OpTable, templates: Templates) -> Columns:
    """Columns whose outputs are those of `c`, then the derivatives of y by `wrt` under their names."""
    sweep = Sweep(c, table, templates)
    adjoints = sweep.run(y, [x for _, x in wrt])
    if adjoints[y] < 0:
        sweep.size = len(c) + 1
    kind, args = sweep.written()
    outputs = list(c.outputs)
    if any(adjoints[x] < 0 for _, x in wrt):
        kind = np.append(kind, c.kinds.of("const", (0.0,), SCALAR))
        args = np.append(args, np.full((WIDTH, 1), -1), axis=1)
    outputs += [(name, adjoints[x] if adjoints[x] >= 0 else len(kind) - 1) for name, x in wrt]
    return Columns(c.kinds, kind, args, tuple(outputs))
