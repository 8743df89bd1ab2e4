"""Large scalar programs over NumPy: one call a group of a sorted tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlang.backend import numpy as array_backend
from gradlang.backend.artifact import Param
from gradlang.ir.evaluate import SPELLED
from gradlang.ir.tape import Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.plan.sorted_tape import ALIASES, Form, SortedTape, sort, strangers
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates

Array = NDArray[np.float64]
Run = Callable[..., Any]
CALL = 0.8e-6  # seconds that a group takes, however small
STEP = 0.1e-6  # seconds that a step takes which is run on floats


def choose(condition: Array, then: Array, otherwise: Array, out: Array) -> None:
    np.copyto(out, otherwise)
    np.copyto(out, then, where=condition.astype(bool))


def function(op: Op) -> Run:
    """The ufunc of a pointwise op."""
    if op.name == "where":
        return choose
    spelling = op.spelling.get("numpy", f"np.{SPELLED.get(op.name, op.name)}").removeprefix("np.")
    return getattr(np, spelling)  # type: ignore[no-any-return]


def primitive(tape: Tape, table: OpTable) -> Tape:
    """The tape in ops that NumPy has."""
    return expand(tape, table, Templates(table), array_backend.spelled)


def sorted_for_numpy(tape: Tape, params: Sequence[Param], table: OpTable) -> SortedTape:
    """The tape in groups; the kinds are the ops."""
    names = {i.op for i in tape.instrs if i.args} - ALIASES
    forms = {n: Form(n, tuple(range(len(table[n].params)))) for n in sorted(names)}
    assert not strangers(tape, forms)
    return sort(tape, [p.name for p in params], forms)


def pays(tape: SortedTape) -> bool:
    """Whether groups are large enough to be run faster than single steps."""
    return len(tape.codes) * CALL < len(tape.operands[0]) * STEP


class Groups:
    """A sorted tape as a function of floats, which gives its outputs in their order. Every call in progress has an array of
    its own; arrays are kept for later calls."""

    name = "groups"

    def __init__(self, tape: SortedTape, table: OpTable) -> None:
        self.tape = tape
        self.runs = [(function(table[k]), len(table[k].params)) for k in tape.kinds]
        self.outputs = np.array(list(tape.results.values()), np.int64)
        self.free: list[tuple[Array, list[tuple[Any, ...]]]] = []

    def __call__(self, *args: float) -> list[float]:
        try:
            made = self.free.pop()
        except IndexError:
            made = self.bound()
        values, calls = made
        values[: len(args)] = args
        take = values.take
        with np.errstate(all="ignore"):
            for run, out, a, left, b, right, c, third in calls:
                take(a, None, left, "clip")
                if b is None:
                    run(left, out=out)
                    continue
                take(b, None, right, "clip")
                if c is None:
                    run(left, right, out=out)
                else:
                    take(c, None, third, "clip")
                    run(left, right, third, out=out)
        found: list[float] = values[self.outputs].tolist()
        self.free.append(made)
        return found

    def bound(self) -> tuple[Array, list[tuple[Any, ...]]]:
        """An array for the values, and for each group its function and the parts of arrays that it works on."""
        values = self.tape.workspace()
        gathered = np.empty((3, int(self.tape.counts.max(initial=0))))
        # positions in the kind that `take` needs: others it would convert in each call
        operands = [column.astype(np.intp) for column in self.tape.operands]
        base, calls = self.tape.base, []
        for code, first, count in zip(
            *(x.tolist() for x in (self.tape.codes, self.tape.firsts, self.tape.counts)), strict=True
        ):
            run, arity = self.runs[code]
            parts: list[Any] = [None] * 6
            for k in range(arity):
                parts[2 * k] = operands[k][first - base : first - base + count]
                parts[2 * k + 1] = gathered[k, :count]
            calls.append((run, values[first : first + count], *parts))
        return values, calls
