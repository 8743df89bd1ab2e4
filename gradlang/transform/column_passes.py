"""The passes of a large program of numbers, from its nodes to columns in the ops of the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from gradlang.check.program import Program, needed
from gradlang.ir.columns import Columns, Part, columns_among, form_of, inputs_of, renamed, settled, spliced
from gradlang.ir.tape import Builder
from gradlang.ops.language import Language
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.source import NOWHERE
from gradlang.transform.column_rules import Unfit, by_types, expanded, simplified, stabilised
from gradlang.transform.column_sweep import with_gradient
from gradlang.transform.partials import Templates
from gradlang.transform.rewrite import Rewriter
from gradlang.types import SCALAR

LEAVES = ("input", "const")


def columns(
    program: Program,
    values: Sequence[str],
    slopes: Sequence[tuple[str, str]],
    language: Language,
    spelled: Callable[[Op], bool],
    least: int,
) -> Columns | None:
    """The values of some names, and the derivatives of the first by others (pairs of a leaf's name and an output's):
    what the passes make of the tape of a gradient, bit for bit. None for fewer than `least` nodes, and for programs that are
    not of numbers alone or have what only the ordinary passes know."""
    nodes = program.nodes
    at = {n: program.values[n] for n in (*values, *(x for x, _ in slopes))}
    wanted = needed(nodes, at.values())
    if len(wanted) < least or any(nodes[at[x]].op != "input" for x, _ in slopes):
        return None
    table = language.table
    try:
        c = columns_among(nodes, wanted)
        accepted(c, table)
        place = np.full(len(nodes), -1)
        place[wanted] = np.arange(len(wanted))
        names = list(at)
        c = Columns(c.kinds, c.kind, renamed(c.args, place), tuple((n, int(place[at[n]])) for n in names))
        c = stabilised(settled(fitted(c, table)), Rewriter(language.rules, ("stable", "exact"), table))
        templates = Templates(table)
        ends = dict(c.outputs)
        c = Columns(c.kinds, c.kind, c.args, tuple((n, ends[n]) for n in values))
        if slopes:
            c = with_gradient(c, ends[values[0]], [(n, ends[x]) for x, n in slopes], table, templates)
        exact = Rewriter(language.rules, ("exact",), table)
        c = simplified(c, table, exact)
        return settled(simplified(expanded(c, table, templates, spelled), table, exact))
    except Unfit:
        return None


def accepted(c: Columns, table: OpTable) -> None:
    """Raises Unfit unless all is numbers and truth values, and ops over them that have entries."""
    for op, _, type in c.occurring():
        if not op:  # what was replaced
            continue
        if type is not SCALAR and (type.shape or type.dtype != "bool"):
            raise Unfit
        if op in LEAVES:
            continue
        if op not in table or not (table[op].pointwise or table[op].defined) or "variadic" in table[op].flags:
            raise Unfit
        if len(table[op].params) > len(c.args):
            raise Unfit


def fitted(c: Columns, table: OpTable) -> Columns:
    """In the normal form of the builder: truth values become reals where numbers are wanted, formulas are written out."""
    parts = list(odd(c, table, sorted(c.ops().difference(LEAVES))))
    if not parts:
        return c
    c = spliced(c, parts)[0]
    accepted(c, table)
    return c


def odd(c: Columns, table: OpTable, ops: Iterable[str]) -> Iterator[Part]:
    truths = np.append(c.kinds.about().truths[c.kind], False)
    for op in map(table.__getitem__, ops):
        found = c.every(op.name)
        if not op.defined:
            found = found[truths[found] | truths[c.args[:, found]].any(0)]
        for sites, given, types in by_types(c, found, [c.args[k][found] for k in range(len(op.params))]):
            _, attrs, type = c.kinds.rows[c.kind[sites[0]]]
            b = Builder(table)
            leaves = inputs_of(b, types)
            made = b.emit(op, [b.ref(i) for i in leaves], attrs, type, NOWHERE).id
            form = form_of(b, leaves, made, c.kinds)
            same = len(form.steps) == 1 and form.steps[0] == (c.kind[sites[0]], tuple(range(len(leaves))))
            if not same:
                yield Part(sites, form, given)
