"""Rewriting large tapes of numbers as columns: rules, folding and the values of ops, each written in all its places at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gradlang.ir.columns import (
    Columns,
    Form,
    Ids,
    Part,
    Truths,
    bare,
    form_of,
    inputs_of,
    settled,
    spliced,
)
from gradlang.ir.tape import Builder
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable, Rule
from gradlang.transform.partials import Templates
from gradlang.transform.rewrite import Const, Pattern, Rewriter, Var
from gradlang.transform.simplify import FOLD, fold
from gradlang.types import BOOL, SCALAR, Type

ROUNDS = 8
GROWTH = 4  # as for tapes: rules that make a formula longer each time are stopped at this multiple of its length
EXPANSIONS = 40  # as for tapes: entries that refer to one another in a circle would never end


class Unfit(Exception):
    """A program that goes another way."""


# ------------------------------------------------------------------ matching
class Matched:
    """The places that a pattern fits, and what its names stand for in each of them."""

    def __init__(self, c: Columns, roots: Ids) -> None:
        self.c, self.sites = c, roots
        self.names: dict[str, Ids] = {}
        self.pending: list[tuple[Any, Ids]] = []

    def narrow(self, fits: Truths) -> None:
        if not fits.all():
            self.sites = self.sites[fits]
            self.names = {n: ids[fits] for n, ids in self.names.items()}
            self.pending = [(side, ids[fits]) for side, ids in self.pending]

    def having(self, side: Pattern) -> Truths:
        """For each kind whether it has the op and the settings of a pattern."""
        if any(isinstance(a, Var) and a.name != "_" for a in side.attrs):
            raise Unfit
        return np.array(
            [
                op == side.op and all(isinstance(p, Var) or p == v for p, v in zip(side.attrs, attrs, strict=True))
                for op, attrs, _ in self.c.kinds.rows
            ]
        )

    def run(self, side: Pattern) -> None:
        about = self.c.kinds.about()
        if side.attrs:
            self.narrow(self.having(side)[self.c.kind[self.sites]])
        self.pending = [(arg, self.c.args[k][self.sites]) for k, arg in enumerate(side.args)]
        while self.pending and len(self.sites):
            self.pending.sort(key=lambda p: isinstance(p[0], Var))  # what is quick to tell comes first
            inner, ids = self.pending.pop(0)
            kind = self.c.kind[ids]
            if isinstance(inner, Var):
                known = self.names.setdefault(inner.name, ids)
                self.narrow(known == ids)
            elif isinstance(inner, Const):
                value = about.numbers[kind]
                self.narrow((value == inner.value) & (np.signbit(value) == np.signbit(inner.value)))
            else:
                right = self.having(inner)[kind] if inner.attrs else about.ops[kind] == self.c.kinds.ops.get(inner.op, -1)
                self.pending += [(arg, self.c.args[k][ids]) for k, arg in enumerate(inner.args)]
                self.narrow(right)


def matched(c: Columns, side: Pattern) -> Matched:
    found = Matched(c, c.every(side.op))
    found.run(side)
    return found


# ------------------------------------------------------------------ rules
def rule_parts(c: Columns, rewriter: Rewriter) -> list[Part]:
    """Every instruction that a rule fits, with what the first such rule makes of it."""
    out: list[Part] = []
    taken = np.zeros(len(c), np.bool_)
    rows = c.occurring()
    there = {op for op, _, _ in rows} | {attrs[0] for op, attrs, _ in rows if op == "const"}
    for op in sorted(there & rewriter.rules.keys()):
        for (side, rule), holds in zip(rewriter.by_op[op], rewriter.holding[op], strict=True):
            if not holds <= there:
                continue
            found = matched(c, side)
            found.narrow(~taken[found.sites])
            if len(found.sites):
                parts = list(written(c, rewriter, rule, found))
                for part in parts:
                    taken[part.sites] = True
                out += parts
    return out


def written(c: Columns, rewriter: Rewriter, rule: Rule, found: Matched) -> Iterator[Part]:
    """The right side of a rule wherever it fits, by the types of what its names stand for."""
    names = sorted(found.names)
    for sites, given, types in by_types(c, found.sites, [found.names[n] for n in names]):
        b = Builder(rewriter.table)
        leaves = inputs_of(b, types)
        top = bare(c.kinds.rows[c.kind[sites[0]]], ())
        value = rewriter.elaborated(b, rule, dict(zip(names, leaves, strict=True)), top)
        if value is not None:
            yield Part(sites, form_of(b, leaves, value, c.kinds), given)


def by_types(c: Columns, sites: Ids, given: list[Ids]) -> Iterator[tuple[Ids, list[Ids], list[Type]]]:
    """Instructions, and what belongs to them, grouped by kind and by which values of theirs are truth values."""
    truths = c.kinds.about().truths[c.kind]
    key = c.kind[sites]
    for ids in given:
        key = 2 * key + truths[ids]
    for k in sorted(set(key.tolist())):
        here = key == k
        row = [ids[here] for ids in given]
        yield sites[here], row, [BOOL if truths[ids[0]] else SCALAR for ids in row]


def fold_parts(c: Columns, table: OpTable) -> list[Part]:
    """Every instruction whose value is known because those of its arguments are, or whose choice is."""
    const = c.kinds.about().ops[c.kind] == c.kinds.ops.get("const", -1)
    known = np.append(const, True)[c.args].all(0) & (c.args[0] >= 0)
    choices = c.every("where")
    known[choices] = const[c.args[0][choices]]
    out: dict[Any, tuple[Form, list[int], list[list[int]]]] = {}
    for i in np.flatnonzero(known).tolist():
        row = c.kinds.rows[c.kind[i]]
        if row[0] not in FOLD and row[0] != "where":
            continue
        b = Builder(table)
        args = [a for a in c.args[:, i].tolist() if a >= 0]
        leaves = []
        for k, a in enumerate(args):
            op, attrs, type = c.kinds.rows[c.kind[a]]
            leaves.append(
                b.add("const", (), attrs, type) if op == "const" else b.leaf("input", (("given", k),), type, (0, 0)).id
            )
        value = fold(b, bare(row, tuple(leaves)), tuple(leaves))
        if value is None:
            continue
        if value in leaves:
            form = Form(len(args), (), leaves.index(value))
        else:
            made = b.instrs[value]
            form = Form(len(args), ((c.kinds.of(made.op, made.attrs, made.type), ()),), len(args))
        _, sites, given = out.setdefault((form.steps, form.value, len(args)), (form, [], []))
        sites.append(i)
        given.append(args)
    return [Part(np.array(s), form, list(np.array(g).T)) for form, s, g in out.values()]


# ------------------------------------------------------------------ passes
def simplified(c: Columns, table: OpTable, rewriter: Rewriter) -> Columns:
    """Exact rewrites and folding. They hold bit for bit, so that one that is left out, after many rounds, changes nothing."""
    most = GROWTH * len(c) + 1000
    for _ in range(ROUNDS):
        parts = fold_parts(c, table)
        gone = np.zeros(len(c), np.bool_)
        for part in parts:
            gone[part.sites] = True
        parts += [p for p in (without(p, gone) for p in rule_parts(c, rewriter)) if len(p.sites)]
        if not parts:
            return c
        c, _ = spliced(c, parts)
        if len(c) > most:
            raise Unfit
    return c


def without(part: Part, gone: Truths) -> Part:
    keep = ~gone[part.sites]
    return part if keep.all() else Part(part.sites[keep], part.form, [g[keep] for g in part.given])


def stabilised(c: Columns, rewriter: Rewriter) -> Columns:
    """Stable rewrites, which change bits: those that a tape gets, where each instruction is looked at once when all before it
    are rewritten. So nothing may be rewritten below what an earlier rewrite looked at."""
    looked = np.zeros(len(c), np.bool_)
    before, most = len(c), GROWTH * len(c) + 1000
    for _ in range(ROUNDS):
        parts = rule_parts(c, rewriter)
        if not parts:
            return c if len(c) == before else alone(settled(c), rewriter)
        now = np.zeros(len(c), np.bool_)
        for part in parts:
            now[part.sites] = True
        if (looked & now).any() or len(c) > most:
            break
        first = [p for p in (without(p, waiting(c, p, rewriter, now, looked)) for p in parts) if len(p.sites)]
        c, where = spliced(c, first)
        seen, looked = looked, np.zeros(len(c), np.bool_)
        looked[where] = seen
    raise Unfit


def alone(c: Columns, rewriter: Rewriter) -> Columns:
    """Columns that no rule fits, though equal instructions are one by now."""
    if rule_parts(c, rewriter):
        raise Unfit
    return c


def waiting(c: Columns, part: Part, rewriter: Rewriter, now: Truths, looked: Truths) -> Truths:
    """Which instructions have one of `now` among those that the rules for them look at; the others' are marked as looked at."""
    op = c.kinds.rows[c.kind[part.sites[0]]][0]
    wait = np.zeros(len(part.sites), np.bool_)
    levels, below = [], part.sites[None, :]
    for _ in range(max(map(deep, (side for side, _ in rewriter.by_op[op]))) - 1):
        below = np.where(below >= 0, c.args[:, below], -1).reshape(-1, len(part.sites))
        levels.append(below)
        wait |= ((below >= 0) & now[below]).any(0)
    for ids in levels:
        kept = ids[:, ~wait]
        looked[kept[kept >= 0]] = True
    out = np.zeros(len(c), np.bool_)
    out[part.sites[wait]] = True
    return out


def deep(side: Any) -> int:
    return 1 + max((deep(a) for a in side.args), default=0) if isinstance(side, Pattern) else 0


def expanded(c: Columns, table: OpTable, templates: Templates, spelled: Callable[[Op], bool]) -> Columns:
    """Ops that the backend does not spell become their values."""
    for _ in range(EXPANSIONS):
        wanted = [table[op] for op in sorted(c.ops()) if op in table and table[op].value is not None and not spelled(table[op])]
        if not wanted:
            return c
        if not all(op.pointwise for op in wanted):
            raise Unfit
        c, _ = spliced(c, list(values(c, wanted, templates)))
    raise Unfit


def values(c: Columns, ops: Iterable[Op], templates: Templates) -> Iterator[Part]:
    for op in ops:
        found = c.every(op.name)
        for sites, given, types in by_types(c, found, [c.args[k][found] for k in range(len(op.params))]):
            b = Builder(templates.table)
            leaves = inputs_of(b, types)
            at = bare(c.kinds.rows[c.kind[sites[0]]], tuple(leaves))
            assert op.value is not None
            made = templates.write(b, op, "value", op.value, at.attrs, list(leaves), False, at.type, at.span, at.scope)
            yield Part(sites, form_of(b, leaves, made, c.kinds), given)
