"""The reference interpreter: one instruction after the other, on NumPy arrays of float64 or of any other number type.

It is the oracle of the tests and, over mpmath's numbers, of `gradlang check`. Ops come from the table: a primitive by its
NumPy name (or, for other numbers, by `functions`), everything else by its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradlang import types
from gradlang.check.program import Program
from gradlang.ir import evaluate_linalg, evaluate_windows
from gradlang.ir.build import write
from gradlang.ir.evaluate_scan import newton, recur
from gradlang.ir.evaluate_segments import in_segments
from gradlang.ir.tape import Builder, Instr, Tape
from gradlang.ops.table import OpTable

Functions = Mapping[str, Callable[..., Any]]


def value_of(program: Program, node: int, sizes: Mapping[str, int]) -> Any:
    """The value of a node that depends on no input."""
    b = Builder(program.language.table)
    at = write(program, [node], b)[node]
    return evaluate(b.tape([("value", at)]), b.table, {}, sizes)["value"]


def evaluate(
    tape: Tape,
    table: OpTable,
    inputs: Mapping[str, Any],
    sizes: Mapping[str, int],
    functions: Functions | None = None,
    number: Callable[[float], Any] = float,
    dtype: Any = None,
) -> dict[str, Any]:
    """The outputs of a tape whose ops are all primitive. `number` turns a constant into the number type in use."""
    machine = Machine(table, inputs, sizes, functions, number, dtype)
    with np.errstate(all="ignore"):
        values = machine.run(tape)
    return {name: values[i] for name, i in tape.outputs}


class Machine:
    def __init__(
        self,
        table: OpTable,
        inputs: Mapping[Any, Any],
        sizes: Mapping[str, int],
        functions: Functions | None,
        number: Callable[[float], Any],
        dtype: Any = None,
    ) -> None:
        self.table, self.inputs, self.sizes, self.functions, self.number = table, inputs, sizes, functions, number
        self.dtype: Any = dtype or (np.float64 if functions is None else object)

    def dims(self, shape: Any) -> tuple[int, ...]:
        return tuple(types.value(d, self.sizes) for d in (shape if isinstance(shape, tuple) else (shape,)))

    def run(self, tape: Tape) -> list[Any]:
        values: list[Any] = []
        for instr in tape.instrs:
            values.append(self.step(instr, [values[a] for a in instr.args]))
        return values

    def within(self, inputs: Mapping[Any, Any], sizes: Mapping[str, int] | None = None) -> Machine:
        """A machine for the body of a recurrence, which may have sizes of its own."""
        known = {**self.sizes, **sizes} if sizes else self.sizes
        return Machine(self.table, inputs, known, self.functions, self.number, self.dtype)

    def step(self, instr: Instr, args: list[Any]) -> Any:
        op = instr.op
        if op in LEAF:
            return LEAF[op](self, instr)
        if op in STRUCTURAL:
            return STRUCTURAL[op](self, instr, args)
        if op == "scan":
            return recur(self, instr, args)
        if op == "segments":
            return in_segments(self, instr, args)
        if op == "root":
            return newton(self, instr, args)
        if op == "item":
            return args[0][instr.attrs[0]]
        if op == "where":
            return np.where(*args) if self.functions is None else _where(*args)
        if self.functions is not None and op in self.functions:
            made = self.functions[op](*args, attrs=instr.attrs)
            return np.asarray(made).astype(np.int64)[()] if instr.type.dtype == "int" else made
        spelling = self.table[op].spelling.get("numpy", f"np.{SPELLED.get(op, op)}").removeprefix("np.")
        return getattr(np, spelling)(*args)


def _where(c: Any, a: Any, b: Any) -> Any:
    c, a, b = np.broadcast_arrays(np.asarray(c, object), np.asarray(a, object), np.asarray(b, object))
    out = np.empty(c.shape, object)
    for k in np.ndindex(c.shape):
        out[k] = a[k] if c[k] else b[k]
    return out[()] if not out.shape else out


SPELLED = {"sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "floordiv": "floor_divide"}


def _const(m: Machine, instr: Instr) -> Any:
    value = instr.attrs[0]
    return value if instr.type.dtype != "real" else m.number(value)


def _array(m: Machine, instr: Instr) -> Any:
    made: np.ndarray[Any, Any] = np.array(
        instr.attrs[0], {"real": np.float64, "int": np.int64, "bool": np.bool_}[instr.type.dtype]
    )
    if m.functions is None or instr.type.dtype != "real":
        return made.astype(m.dtype) if instr.type.dtype == "real" else made
    return np.array([m.number(x) for x in made.ravel()] + [None], object)[:-1].reshape(made.shape)


def _size(m: Machine, instr: Instr) -> Any:
    value = types.value(instr.attrs[0], m.sizes)
    return value if instr.type.dtype == "int" else m.number(value)


LEAF: dict[str, Callable[[Machine, Instr], Any]] = {
    "const": _const,
    "array": _array,
    "size": _size,
    "input": lambda m, i: m.inputs[i.attrs[0]],
    "iota": lambda m, i: np.arange(m.dims(i.attrs[0])[0]),
}


def _sum(m: Machine, instr: Instr, args: list[Any]) -> Any:
    axes, keep = instr.attrs
    return np.sum(np.asarray(args[0]), axis=axes, keepdims=bool(keep), dtype=m.dtype)


def _extremum(name: str) -> Callable[[Machine, Instr, list[Any]], Any]:
    def run(m: Machine, instr: Instr, args: list[Any]) -> Any:
        axes, keep = instr.attrs[:2]
        more = {"initial": m.number(instr.attrs[2])} if len(instr.attrs) > 2 and instr.attrs[2] is not None else {}
        return getattr(np, name)(np.asarray(args[0]), axis=axes, keepdims=bool(keep), **more)

    return run


def _sum_to(m: Machine, instr: Instr, args: list[Any]) -> Any:
    shape, x = m.dims(instr.attrs[0]), np.asarray(args[0])
    extra = x.ndim - len(shape)
    thin = tuple(extra + k for k, d in enumerate(shape) if d == 1 and x.shape[extra + k] != 1)
    return np.sum(x, axis=(*range(extra), *thin), keepdims=True, dtype=m.dtype).reshape(shape)


def _where_slice(m: Machine, starts: Any, lengths: Any, steps: Any) -> tuple[slice, ...]:
    out = []
    for s, n, k in zip(m.dims(starts), m.dims(lengths), steps, strict=True):
        stop = s + n * k
        out.append(slice(s, None if stop < 0 else stop, k))
    return tuple(out)


def _unslice(m: Machine, instr: Instr, args: list[Any]) -> Any:
    shape, starts, steps = instr.attrs
    x = np.asarray(args[0])
    out = np.full(m.dims(shape), m.number(0.0), m.dtype)
    out[_where_slice(m, starts, x.shape, steps)] = x
    return out


def whole(index: Any) -> Any:
    """An array of indices: over other numbers than NumPy's, choices between whole numbers are objects."""
    return np.asarray(index).astype(np.int64)


def _scatter_add(m: Machine, instr: Instr, args: list[Any]) -> Any:
    axis, n = instr.attrs
    index = whole(args[1])
    x = np.moveaxis(np.asarray(args[0]), range(axis, axis + index.ndim), range(index.ndim))
    out = np.full((*m.dims(n), *x.shape[index.ndim :]), m.number(0.0), m.dtype)
    np.add.at(out, index, x)
    return np.moveaxis(out, 0, axis)


def _scatter_along(m: Machine, instr: Instr, args: list[Any]) -> Any:
    axis, n = instr.attrs
    x = np.asarray(args[0])
    out = np.full((*x.shape[:axis], *m.dims(n), *x.shape[axis + 1 :]), m.number(0.0), m.dtype)
    where: list[Any] = [np.arange(d).reshape([-1 if i == k else 1 for i in range(x.ndim)]) for k, d in enumerate(x.shape)]
    where[axis] = whole(args[1])
    np.add.at(out, tuple(where), x)
    return out


def _scan(m: Machine, instr: Instr, args: list[Any]) -> Any:
    a, b = np.broadcast_arrays(*args)
    a, b = np.moveaxis(a, instr.attrs[0], 0), np.moveaxis(b, instr.attrs[0], 0)
    out, carry = np.empty_like(b), m.number(0.0)
    for i in range(len(b)):
        carry = a[i] * carry + b[i]
        out[i] = carry
    return np.moveaxis(out, 0, instr.attrs[0])


def _nearest(m: Machine, instr: Instr, args: list[Any]) -> Any:
    index, n = np.asarray(args[0]), m.dims(instr.attrs[0])[0]
    return np.clip(np.where(index < 0, index + n, index), 0, max(n - 1, 0))


def _within(m: Machine, instr: Instr, args: list[Any]) -> Any:
    index, n = np.asarray(args[0]), m.dims(instr.attrs[0])[0]
    if index.size and not (-n <= index.min() and index.max() < n):
        raise IndexError(f"an index is outside -{n} to {n - 1}")
    return np.where(index < 0, index + n, index)


def _zeinsum(m: Machine, spec: str, args: list[Any]) -> Any:
    """The sum of products of which those with an exact zero of the first array are zero."""
    left, _, right = spec.partition("->")
    parts = left.split(",")
    letters = "".join(dict.fromkeys("".join(parts)))
    sizes = {c: d for part, a in zip(parts, args, strict=True) for c, d in zip(part, np.shape(a), strict=True)}

    def spread(part: str, a: Any) -> Any:
        order = sorted(range(len(part)), key=lambda k: letters.index(part[k]))
        thin = np.transpose(a, order).reshape([sizes[c] if c in part else 1 for c in letters])
        return np.broadcast_to(thin, [sizes[c] for c in letters])

    first, *rest = (spread(part, a) for part, a in zip(parts, args, strict=True))
    made = first
    for other in rest:
        made = made * other
    made = np.where(first == 0, m.number(0.0), made)
    kept = [c for c in letters if c in right]
    made = np.sum(made, axis=tuple(k for k, c in enumerate(letters) if c not in right), dtype=m.dtype)
    return np.transpose(made, [kept.index(c) for c in right])


def _zmatmul(m: Machine, instr: Instr, args: list[Any]) -> Any:
    a, b = args if instr.attrs[0] == 0 else (np.swapaxes(args[1], -1, -2), np.swapaxes(args[0], -1, -2))
    made = np.where(a[..., :, :, None] == 0, m.number(0.0), a[..., :, :, None] * b[..., None, :, :])
    made = np.sum(made, axis=-2, dtype=m.dtype)
    return made if instr.attrs[0] == 0 else np.swapaxes(made, -1, -2)


def _earlier(m: Machine, instr: Instr, args: list[Any]) -> Any:
    low, way = m.dims(instr.attrs[0])[0], instr.attrs[1]
    index, at = np.broadcast_arrays(*args)
    if np.any((index - low) * way < 0) or np.any((at - index) * way < 1):
        raise IndexError("an index is not one of those known there")
    return index


STRUCTURAL: dict[str, Callable[[Machine, Instr, list[Any]], Any]] = {
    "mark": lambda m, i, a: a[0],
    "real": lambda m, i, a: np.vectorize(m.number, otypes=[m.dtype])(a[0])[()] if np.size(a[0]) else np.asarray(a[0], m.dtype),
    "broadcast_to": lambda m, i, a: np.broadcast_to(a[0], m.dims(i.attrs[0])),
    "sum_to": _sum_to,
    "sum": _sum,
    "max": _extremum("max"),
    "min": _extremum("min"),
    "any": _extremum("any"),
    "all": _extremum("all"),
    "reshape": lambda m, i, a: np.reshape(a[0], m.dims(i.attrs[0])),
    "transpose": lambda m, i, a: np.transpose(a[0], i.attrs[0]),
    "slice": lambda m, i, a: a[0][_where_slice(m, *i.attrs)],
    "unslice": _unslice,
    "take_axis": lambda m, i, a: np.take(a[0], whole(a[1]), axis=i.attrs[0]),
    "scatter_add": _scatter_add,
    "take_along": lambda m, i, a: np.take_along_axis(a[0], whole(a[1]), axis=i.attrs[0]),
    "scatter_along": _scatter_along,
    "concat": lambda m, i, a: np.concatenate(a, axis=i.attrs[0]),
    "stack": lambda m, i, a: np.stack(a, axis=i.attrs[0]),
    "product": lambda m, i, a: np.multiply.reduce(np.asarray(a[0]), axis=-1),
    "argmax_along": lambda m, i, a: np.argmax(a[0], axis=i.attrs[0]),
    "argmin_along": lambda m, i, a: np.argmin(a[0], axis=i.attrs[0]),
    "argsort": lambda m, i, a: np.argsort(a[0], axis=i.attrs[0], kind="stable"),
    "cumsum_along": lambda m, i, a: np.cumsum(a[0], axis=i.attrs[0], dtype=m.dtype),
    "scan_affine": _scan,
    "matmul": lambda m, i, a: (
        np.matmul(*a) if m.functions is None else np.dot(*a) if max(map(np.ndim, a)) < 3 else np.matmul(*a)
    ),
    "zmatmul": _zmatmul,
    "zeinsum": lambda m, i, a: _zeinsum(m, i.attrs[0], a),
    "within": _within,
    "earlier": _earlier,
    "nearest": _nearest,
    **evaluate_windows.STRUCTURAL,
    "einsum": lambda m, i, a: np.einsum(i.attrs[0], *a),
    "logical_and": lambda m, i, a: np.logical_and(*(np.asarray(x, bool) for x in a)),
    "logical_or": lambda m, i, a: np.logical_or(*(np.asarray(x, bool) for x in a)),
    "logical_not": lambda m, i, a: np.logical_not(np.asarray(a[0], bool)),
    **evaluate_linalg.STRUCTURAL,
}
