"""The proof of the array entries: small examples, their derivatives against multi-precision differences.

Sums are rounded, so errors are relative to the size of the result, not to the last place of an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.backend import numpy as array_backend
from gradlang.backend.artifact import Job, Param, Returns
from gradlang.backend.module import generate
from gradlang.check.calls import default_of
from gradlang.check.infer import infer
from gradlang.ir.evaluate import evaluate
from gradlang.ir.rebuild import dce
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.op import Op
from gradlang.pipeline import Language, optimized
from gradlang.prove import matrices
from gradlang.prove.reference import Truth
from gradlang.runtime.load import load
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.types import SCALAR, Type

if TYPE_CHECKING:
    from gradlang.prove.accuracy import Row

CLOSE = 2e-13  # relative to the largest entry
DIGITS = 40


@dataclass(frozen=True, slots=True)
class Example:
    """Types of the arguments, settings by name, and data for arguments that are not random reals."""

    types: tuple[Type, ...]
    attrs: dict[str, Any]
    data: dict[int, Any]


def _ex(*shapes: tuple[int, ...], data: dict[int, Any] | None = None, **attrs: Any) -> Example:
    data = data or {}
    kinds = ["int" if k in data and np.asarray(data[k]).dtype.kind == "i" else "real" for k in range(len(shapes))]
    return Example(tuple(Type(s, k) for s, k in zip(shapes, kinds, strict=True)), attrs, data)


# Entries whose arguments are not just arrays of one shape with the default settings.
EXAMPLES: dict[str, list[Example]] = {
    "broadcast_to": [_ex((2, 1), shape=(3, 2, 4)), _ex((), shape=(2,))],
    "sum_to": [_ex((3, 2, 4), shape=(2, 1)), _ex((3, 2), shape=(2,)), _ex((2,), shape=())],
    "reshape": [_ex((2, 3), shape=(3, 2)), _ex((2, 3), shape=(6,))],
    "transpose": [_ex((2, 3)), _ex((2, 3, 4), axes=(1, 2, 0))],
    "slice": [_ex((5, 4), start=(1, 3), length=(2, 4), step=(2, -1))],
    "unslice": [_ex((2, 4), shape=(5, 4), start=(1, 3), step=(2, -1))],
    "take_axis": [_ex((4, 2), (3,), data={1: [1, 1, 3]}), _ex((2, 4), (2, 2), data={1: [[0, 3], [3, 3]]}, axis=1)],
    "scatter_add": [_ex((3, 2), (3,), data={1: [1, 1, 3]}, n=4)],
    "take_along": [_ex((3, 2), (2, 2), data={1: [[0, 2], [2, 2]]})],
    "scatter_along": [_ex((2, 2), (2, 2), data={1: [[0, 2], [2, 2]]}, n=3)],
    "patches": [_ex((2, 1, 3, 4), window=(2, 2), stride=(1, 2)), _ex((1, 2, 3, 2), window=2, stride=1)],
    "unpatches": [
        _ex((1, 2, 2, 2, 2, 2), shape=(1, 2, 4, 3), stride=(2, 1)),
        _ex((1, 1, 2, 2, 1, 2), shape=(1, 1, 2, 3), stride=1),
    ],
    "searchsorted": [_ex((3,), (4,), data={0: [0.0, 1.0, 1.5], 1: [-1.0, 1.0, 1.25, 2.0]}, right=r) for r in (False, True)],
    "normalize": [_ex((2, 3)), _ex((2, 3, 2), axis=(0, 2), eps=0.5)],
    "concat": [_ex((2, 3), (1, 3)), _ex((2, 1), (2, 2), axis=1)],
    "stack": [_ex((2, 3), (2, 3)), _ex((2,), (2,), axis=1)],
    "iota": [_ex(n=4)],
    "nearest": [_ex((3,), data={0: [0, 7, -2]}, n=3)],
    "earlier": [
        _ex((3,), (3,), data={0: [0, 1, 0], 1: [1, 2, 3]}, low=0, way=1),
        _ex((2,), (2,), data={0: [3, 2], 1: [2, 0]}, low=3, way=-1),
    ],
    "within": [_ex((3,), data={0: [0, 1, -2]}, n=3)],
    "sum": [_ex((2, 3)), _ex((2, 3), axis=0), _ex((2, 3, 2), axis=(0, 2), keepdims=True)],
    "max": [_ex((2, 3)), _ex((2, 3), axis=1), _ex((3,), data={0: [1.5, 0.25, 1.0]}, keepdims=True)],
    "min": [_ex((2, 3)), _ex((2, 3), axis=1)],
    "product": [_ex((2, 4)), _ex((3,), data={0: [0.0, 2.0, -3.0]}), _ex((4,), data={0: [0.0, 2.0, 0.0, 5.0]})],
    "cumsum_along": [_ex((3, 2)), _ex((2, 3), axis=1)],
    "scan_affine": [_ex((4,), (4,)), _ex((2, 3), (2, 3), axis=1)],
    "logsumexp": [_ex((2, 3)), _ex((2, 3), axis=1), _ex((3,), data={0: [700.0, 800.0, 900.0]}, keepdims=True)],
    "norm2": [_ex((2, 3)), _ex((2, 3), axis=0), _ex((2,), data={0: [3e200, 4e200]})],
    "matmul": [
        _ex((2, 3), (3, 2)),
        _ex((3,), (3,)),
        _ex((2, 3), (3,)),
        _ex((2,), (2, 3)),
        _ex((2, 2, 3), (3, 2)),
        _ex((2, 3), (2, 3, 2)),
        _ex((2, 2, 3), (3,)),
        _ex((2,), (2, 2, 3)),
    ],
    "zmatmul": [_ex((2, 3), (3, 2)), _ex((2, 2, 3), (3, 2), zeros=1)],
    "zeinsum": [_ex((2, 3), (3, 2), spec="ij,jk->ik"), _ex((2, 3), (3,), (2,), spec="ij,j,i->")],
    "einsum": [
        _ex((2, 3), (3, 2), spec="ij,jk->ik"),
        _ex((2, 3), spec="ij->j"),
        _ex((3, 3), spec="ii->i"),
        _ex((3, 3), spec="ii->"),
        _ex((2, 3), (3,), (2,), spec="ij,j,i->"),
        _ex((2, 3), (4,), spec="ij,k->i"),
    ],
    "softmax": [_ex((2, 3)), _ex((2, 3), axis=0)],
    "log_softmax": [_ex((2, 3)), _ex((3, 2), axis=0)],
    "softmax_cross_entropy": [_ex((2, 3), (2, 3), data={1: [[0.25, 0.5, 0.5], [0.125, 1.0, 0.75]]})],
    **{
        name: [_ex(*shapes, data=None if first is None else {0: first}, **attrs) for shapes, first, attrs in rows]
        for name, rows in matrices.EXAMPLES.items()
    },
}


def random(shape: tuple[int, ...], k: int) -> np.ndarray[Any, Any]:
    """Fixed numbers that look random, in (-2, 2), all different."""
    count = int(np.prod(shape, dtype=int))
    numbers: np.ndarray[Any, Any] = np.modf(np.arange(1, count + 1) * 0.6180339887498949 + 0.31 * k)[0] * 4 - 2
    return numbers.reshape(shape)


def examples(op: Op) -> list[Example]:
    return EXAMPLES.get(op.name) or [_ex(*((2, 3) for _ in op.params))]


class Check:
    """One example of one entry: L = sum(w*op(args)) and its derivatives."""

    def __init__(self, op: Op, example: Example, language: Language, truth: Truth) -> None:
        self.op, self.language, self.truth = op, language, truth
        table = language.table
        self.attrs = tuple(example.attrs.get(a, default_of(d)) for a, d in zip(op.attrs, op.defaults, strict=True))
        self.b = Builder(table)
        self.names = [f"x{k}" for k in range(len(example.types))]
        args = [self.b.leaf("input", (n,), t, op.span) for n, t in zip(self.names, example.types, strict=True)]
        self.attrs, type = infer(op, list(example.types), self.attrs, table)
        self.y = self.b.emit(op, args, self.attrs, type, op.span).id
        self.type = self.b.instrs[self.y].type
        self.data = {
            n: np.asarray(example.data.get(k, random(t.shape, k)), np.int64 if t.dtype == "int" else np.float64)  # type: ignore[arg-type]
            for k, (n, t) in enumerate(zip(self.names, example.types, strict=True))
        }
        self.real = [(n, a) for n, a in zip(self.names, args, strict=True) if a.type.dtype == "real"]
        self.data["w"] = random(self.type.shape, 7) + 2.5  # type: ignore[arg-type]

    def loss(self) -> int:
        w = self.b.leaf("input", ("w",), Type(self.type.shape), self.op.span)
        product = self.b.apply("mul", (w.id, self.b.real(self.y)))
        return self.b.apply("sum", (product,), (None, False)) if self.type.shape else product

    def goal(self) -> tuple[Tape, list[str]]:
        loss = self.loss()
        outputs = [("y", self.y), ("loss", loss)]
        vectors: list[int] = []
        for n, a in self.real:
            vectors += [a.id, self.b.leaf("input", ("v" + n,), a.type, self.op.span).id]
            self.data["v" + n] = random(a.type.shape, 3) + 0.1  # type: ignore[arg-type]
        slopes = [(n, a, self.b.add("grad", (loss, a.id), (), a.type)) for n, a in self.real]
        outputs += [("d" + n, slope) for n, _, slope in slopes]
        outputs.append(("tangent", self.b.add("jvp", (loss, *vectors), (), SCALAR)))
        outputs += [("h" + n, self.b.add("jvp", (slope, *vectors), (), a.type)) for n, a, slope in slopes]
        return self.b.tape(outputs), [n for n, _ in outputs]

    def compiled(self) -> dict[str, Any]:
        tape, names = self.goal()
        tape, _ = optimized(tape, self.language, array_backend.spelled)
        params = tuple(
            Param(n, "", Type(tuple(map(int, v.shape)), "int" if v.dtype.kind == "i" else "real")) for n, v in self.data.items()
        )
        made = load(
            generate(Job(tape, params, Returns("dict", tuple((n, n) for n in names)), "f", "the table"), self.language.table)
        )
        out = made(*(v if v.shape or v.dtype.kind == "i" else v[()] for v in self.data.values()))
        assert isinstance(out, dict)
        return out

    def true_loss(self, inputs: dict[str, Any]) -> Any:
        tape = expand(self._tape, self.language.table, Templates(self.language.table), lambda o: o.pointwise or o.value is None)
        return evaluate(tape, self.language.table, inputs, {}, self.functions, lambda v: self.truth.ctx.mpf(float(v)))["loss"]

    def exact(self, moved: dict[str, Any], t: Any) -> Any:
        """The loss at data + t*moved, in multi-precision."""
        mpf = self.truth.ctx.mpf
        inputs: dict[str, Any] = {}
        for n, v in self.data.items():
            if v.dtype.kind == "i":
                inputs[n] = v
                continue
            flat = [mpf(float(x)) for x in v.ravel()]
            if n in moved:
                flat = [x + t * mpf(float(d)) for x, d in zip(flat, moved[n].ravel(), strict=True)]
            inputs[n] = np.array([*flat, None], object)[:-1].reshape(v.shape) if v.shape else flat[0]
        value = self.true_loss(inputs)
        return value.item() if hasattr(value, "item") and not hasattr(value, "_mpf_") else value

    def run(self, row: Row) -> None:
        ctx = self.truth.ctx
        ctx.dps = 3 * DIGITS
        self.functions = self.truth.functions()
        loss = self.loss()
        self._tape = dce(self.b.tape([("loss", loss)]))
        got = self.compiled()
        largest = max(float(np.max(np.abs(v))) for v in self.data.values())
        step = ctx.mpf(10) ** -DIGITS * ctx.mpf(max(largest, 1.0))

        def slope(moved: dict[str, Any]) -> float:
            return float((self.exact(moved, step) - self.exact(moved, -step)) / (2 * step))

        self.compare(row, "value", got["loss"], float(self.exact({}, 0)), abs(float(got["loss"])))
        if not self.op.differentiable:
            row.points += 1
            return
        directions = {n: self.data["v" + n] for n, _ in self.real}
        for n, _ in self.real:
            g = np.asarray(got["d" + n])
            for k in np.ndindex(g.shape):
                unit = np.zeros(g.shape)
                unit[k] = 1.0
                self.compare(row, "d" + n, float(g[k]), slope({n: unit}), float(np.max(np.abs(g))))
        along = slope(directions)
        self.compare(row, "forward mode", got["tangent"], along, max(abs(along), 1.0))
        curve = float((self.exact(directions, step) - 2 * self.exact(directions, 0) + self.exact(directions, -step)) / step**2)
        found = sum(float(np.sum(np.asarray(got["h" + n]) * directions[n])) for n, _ in self.real)
        self.compare(row, "second order", found, curve, max(abs(curve), 1.0))
        row.points += 1

    def compare(self, row: Row, what: str, got: float, true: float, scale: float) -> None:
        error = abs(got - true) / max(scale, 1e-300)
        if not error <= CLOSE and got != true:
            row.failures.append(f"{what} with {self.attrs}: {got!r}, true {true!r}")
        if what == "value":
            row.value = max(row.value, error / 2**-52)
        elif what.startswith("d"):
            row.partials[self.op.params[0] if "variadic" in self.op.flags else self.op.params[int(what[2:])]] = max(
                row.partials.get(self.op.params[0] if "variadic" in self.op.flags else self.op.params[int(what[2:])], 0.0),
                error / 2**-52,
            )


def prove_array_op(op: Op, language: Language, truth: Truth) -> Row:
    from gradlang.prove.accuracy import Row, _exemption

    row = Row(op.name, op.kind, exempt=_exemption(op))
    for example in examples(op):
        Check(op, example, language, truth).run(row)
    return row
