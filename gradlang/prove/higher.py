"""A value of a program in higher precision, along lines through a point: what its derivatives are compared with.

Numbers have 80 digits (mpmath), or extended precision (NumPy's longdouble) where a program is too large for that, or are
those of the compiled function where it is larger still.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradlang import pipeline
from gradlang.backend.numpy import spelled
from gradlang.check.program import Program
from gradlang.ir.build import write
from gradlang.ir.evaluate import Functions, evaluate
from gradlang.ir.rebuild import dce
from gradlang.ir.tape import BODIES, Builder, Tape
from gradlang.ops.operators import ARITHMETIC, COMPARISONS
from gradlang.prove.rounding import BLOWN, MOVES, Shaken
from gradlang.runtime.bind import Binder
from gradlang.runtime.call import Compiled, compiled
from gradlang.transform.differentiate import differentiate
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.transform.passes import deep
from gradlang.transform.simplify import unmark
from gradlang.types import value

DIGITS = 80
# Operations on numbers up to which a value is computed in a precision, those that all values of a check may take together
# (about 2 s), and what an instruction costs beside them.
SMALL = {"mpmath": 60_000, "extended": 2_000_000}
AFFORDED = {"mpmath": 250_000, "extended": 60_000_000, "double": 200_000_000}
OVERHEAD = {"mpmath": 1, "extended": 300, "double": 200}
FUNCTION = 5  # a function such as exp, in operations on numbers
STEPS = 8  # of Newton's method, roughly
PLAIN = frozenset(
    {*ARITHMETIC, *COMPARISONS, *MOVES, "div", "where", "real", "sum", "sum_to", "max", "min", "matmul", "einsum"}
)
CUBIC = frozenset({"solve", "triangular_solve", "inv", "det", "cofactor", "slogdet_packed", "cholesky", "eigh_packed"})

Line = Mapping[str, np.ndarray[Any, Any]]  # how far each input moves; inputs that stay are left out


class Higher:
    """The scalar `sum(weights * y)` of one value y of a program; `weights` are of its shape."""

    def __init__(self, program: Program, node: int, inputs: Mapping[str, Any], sizes: Mapping[str, int], weights: Any) -> None:
        b = Builder(program.language.table)
        made = write(program, [node], b)
        templates = Templates(b.table)
        tape = dce(b.tape([("y", made[node])]))
        tape = deep(lambda t: differentiate(t, b.table, templates))(tape)
        tape = deep(lambda t: unmark(t, b.table))(tape)
        self.given, self.sizes, self.table, self.weights = dict(inputs), sizes, b.table, np.asarray(weights, float)
        exact = deep(lambda t: expand(t, b.table, templates, lambda o: o.pointwise or o.value is None))(tape)
        rough = deep(lambda t: expand(t, b.table, templates, spelled))(tape)
        self.method, self.work = "mpmath", work(exact, sizes, OVERHEAD["mpmath"])
        if self.work > SMALL["mpmath"] or not have_mpmath():
            self.method, self.work = "extended", work(rough, sizes, OVERHEAD["extended"])
        if self.method == "extended" and self.work > SMALL["extended"]:
            self.method, self.work = "double", work(rough, sizes, OVERHEAD["double"])
        self.tape: Tape = exact if self.method == "mpmath" else rough
        self.functions: Functions | None = None
        self.compiled: Compiled | None = None
        self.dtype: Any = np.longdouble if self.method == "extended" else np.float64
        self.number: Any = self.dtype
        if self.method == "mpmath":
            from gradlang.prove.reference import Truth

            truth = Truth(b.table)
            truth.ctx.dps = DIGITS
            self.functions, self.number = truth.functions(), lambda v: truth.ctx.mpf(float(v))
        elif self.method == "double":
            job = pipeline.plan_nodes(program, [node], program.language)
            self.compiled = compiled(job, Binder(program, tuple(program.callable_leaves())))
            self.name = str(node)
        self.inputs = {n: self.array(v) for n, v in self.given.items()}
        self._here: Any = None

    @property
    def here(self) -> Any:
        """The value at the point itself."""
        if self._here is None:
            self._here = self.at({})
        return self._here

    def at(self, *moves: tuple[Line, Any] | dict[str, Any]) -> Any:
        """The value after some moves: pairs of a line and how far to go along it."""
        out = self.run(self.moved([m for m in moves if isinstance(m, tuple)]))
        return self.total(out)

    def moved(self, moves: list[tuple[Line, Any]]) -> dict[str, Any]:
        inputs = dict(self.inputs)
        for line, far in moves:
            for name, by in line.items():
                inputs[name] = inputs[name] + self.array(by) * far
        return inputs

    def run(self, inputs: dict[str, Any]) -> Any:
        if self.compiled is not None:
            return self.compiled(inputs)[self.name]
        dtype = None if self.functions is not None else self.dtype
        return evaluate(self.tape, self.table, inputs, self.sizes, self.functions, self.number, dtype)["y"]

    def total(self, out: Any) -> Any:
        """The weighted sum of the entries of a value, as one number."""
        array = np.asarray(out)
        if array.ndim == 0:
            return array.item() if array.dtype == object and self.weights == 1.0 else array[()] * self.number(self.weights)
        with np.errstate(all="ignore"):
            return np.sum(array * self.array(self.weights))

    def array(self, v: Any) -> Any:
        """Floats in the numbers that are used; whole numbers and truth values stay."""
        v = np.asarray(v)
        if v.dtype.kind != "f":
            return v
        if self.functions is None:
            return v.astype(self.dtype)
        flat = [self.number(x) for x in v.ravel()]
        return np.array([*flat, None], object)[:-1].reshape(v.shape) if v.ndim else flat[0]

    def noise(self) -> float:
        """How far rounding may move the value."""
        if self.functions is not None:
            return 10.0 ** (10 - DIGITS) * max(1.0, abs(float(self.here)))
        eps = float(np.finfo(self.dtype).eps)
        spread = 0.0
        for seed in (1, 2) if self.method == "extended" else ():
            machine = Shaken(self.table, self.inputs, self.sizes, eps, seed, self.dtype)
            with np.errstate(all="ignore"):
                out = machine.run(self.tape)[dict(self.tape.outputs)["y"]]
            moved = abs(float(self.total(out) - self.here)) / BLOWN
            spread = max(spread, moved if np.isfinite(moved) else 0.0)
        return 10 * spread + 100 * eps * abs(float(self.here))


def have_mpmath() -> bool:
    from importlib.util import find_spec

    return find_spec("mpmath") is not None


def work(tape: Tape, sizes: Mapping[str, int], overhead: int) -> int:
    """About how many operations on numbers a tape takes."""
    total = 0
    for instr in tape.instrs:
        if instr.op in BODIES:
            (held,) = instr.attrs
            rounds = value(held.length, sizes) if instr.op == "scan" else STEPS
            total += rounds * work(held.body, sizes, overhead)
            continue
        entries = count(instr.type.shape, sizes)
        before = [tape.instrs[a].type.shape for a in instr.args]
        if instr.op == "matmul":
            entries *= value(before[0][-1], sizes)
        elif instr.op == "einsum":
            letters = {
                c: d
                for s, shape in zip(instr.attrs[0].split("->")[0].split(","), before, strict=True)
                for c, d in zip(s.strip(), shape, strict=False)
            }
            entries = count(tuple(letters.values()), sizes)
        elif instr.op in CUBIC:
            entries = count(before[0], sizes) * value(before[0][-1], sizes)
        elif before:
            entries = max(entries, *(count(s, sizes) for s in before))
        total += entries * (1 if instr.op in PLAIN else FUNCTION) + overhead
    return total


def count(shape: tuple[Any, ...], sizes: Mapping[str, int]) -> int:
    out = 1
    for d in shape:
        out *= value(d, sizes)
    return out
