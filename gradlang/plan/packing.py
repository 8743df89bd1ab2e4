"""Rows of an input that a block of steps reads again and again are copied so that the steps lie side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from gradlang.ir.tape import Tape
from gradlang.plan.roots import BROAD, LONG, Axis, Root
from gradlang.types import value

AGAIN = 4  # how often a row must be read for a copy to pay


def packed(tape: Tape, roots: Sequence[Root], sizes: Mapping[str, int]) -> list[Root]:
    """Roots that copy inputs. `roots` have been surveyed."""
    users: dict[object, list[Root]] = {}
    for r in roots:
        for key in r.inputs:
            users.setdefault(key, []).append(r)
    found = {instr.attrs[0]: i for i, instr in enumerate(tape.instrs) if instr.op == "input" and instr.attrs[0] in users}
    return [copy(tape, i) for key, i in found.items() if any(pays(tape, i, r, key, sizes) for r in users[key])]


def copy(tape: Tape, i: int) -> Root:
    axes = tuple(Axis(d, k) for k, d in enumerate(tape.instrs[i].type.shape))
    return Root(i, axes, lambda r, counters: r.compute(i, tuple(counters)), gives=(i,))


def pays(tape: Tape, i: int, r: Root, key: object, sizes: Mapping[str, int]) -> bool:
    """Whether one long loop goes over rows of an input, and every row is read for every step of other loops."""
    shape = [value(d, sizes) for d in tape.instrs[i].type.shape]
    extents = [value(a.extent, sizes) for a in r.axes]
    long = [k for k, n in enumerate(extents) if n >= LONG]
    if len(long) != 1 or max((n for k, n in enumerate(extents) if k != long[0]), default=0) > BROAD:
        return False
    for axes in r.inputs.get(key, ()):
        used = [k for k in axes if k is not None]
        again = prod(n for k, n in enumerate(extents) if k not in used)
        if len(used) == len(axes) and axes[0] == long[0] and again >= AGAIN and prod(shape[1:]) > 1:
            return True
    return False
