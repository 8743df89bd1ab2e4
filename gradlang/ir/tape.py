"""The compiler's own form of a program: a tuple of instructions in topological order, and its hash-consing builder.

Invariants (`verify.py` checks them): arguments stand before their uses; no two instructions compute the same thing; the
operands of a pointwise op have the shape of its result or are scalar constants and sizes; truth values and whole numbers
become reals through the op `real`. An instruction carries the span, scope and name of what it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gradlang.check.infer import infer
from gradlang.check.program import Node, Ref, Root, Scan, Segments, Tape
from gradlang.check.rules import evaluate
from gradlang.ops.op import BEYOND, BODIES, DERIVATIVES, Op
from gradlang.ops.table import OpTable
from gradlang.source import NOWHERE, Span
from gradlang.types import BOOL, INT, SCALAR, Shape, Type, scalar_of

Instr = Node
UNIFORM = ("broadcast_to", "reshape", "transpose")


def constant_key(value: Any) -> Any:
    """A key that tells 0.0 from -0.0 and 1 from True, and holds nan equal to itself."""
    return repr(value)


def leaf_key(op: str, attrs: tuple[Any, ...], type: Type) -> Any:
    return (op, constant_key(attrs), type) if op in ("const", "array") else (op, attrs, type)


__all__ = [
    "BEYOND",
    "BODIES",
    "DERIVATIVES",
    "Builder",
    "Instr",
    "Root",
    "Scan",
    "Segments",
    "Tape",
    "constant_key",
    "has_bodies",
    "leaf_key",
]


def has_bodies(tape: Tape) -> bool:
    """Whether a tape holds a recurrence or an implicit definition."""
    return not BODIES.isdisjoint([i.op for i in tape.instrs])


class Builder:
    """Makes instructions, each once. It is a sink of the elaborator, so rules and programs are written into it alike."""

    def __init__(self, table: OpTable) -> None:
        self.table = table
        self.instrs: list[Instr] = []
        self.memo: dict[Any, int] = {}
        self.scope: tuple[str, ...] = ()

    # -------------------------------------------------------------- instructions as they are
    def add(
        self,
        op: str,
        args: tuple[int, ...],
        attrs: tuple[Any, ...],
        type: Type,
        span: Span = NOWHERE,
        scope: tuple[str, ...] = (),
        name: str | None = None,
    ) -> int:
        """The instruction, new or known. `args` must fit the invariants."""
        key = (op, args, attrs) if args else leaf_key(op, attrs, type)
        new = len(self.instrs)
        found = self.memo.setdefault(key, new)
        if found == new:
            self.instrs.append(Instr(op, args, attrs, type, span, scope, name))
        elif name is not None and self.instrs[found].name is None:
            self.instrs[found].name = name
        return found

    def take(self, instrs: Sequence[Instr]) -> None:
        """Starts with the instructions of a tape that a builder made."""
        self.instrs = list(instrs)
        memo = self.memo
        for i, at in enumerate(instrs):
            memo[(at.op, at.args, at.attrs) if at.args else leaf_key(at.op, at.attrs, at.type)] = i

    def ref(self, i: int) -> Ref:
        return Ref(i, self.instrs[i].type)

    def const(self, value: float, span: Span = NOWHERE) -> int:
        return self.add("const", (), (float(value),), SCALAR, span)

    def tape(self, outputs: Iterable[tuple[str, int]]) -> Tape:
        return Tape(tuple(self.instrs), tuple(outputs))

    # -------------------------------------------------------------- instructions made to fit
    def leaf(self, op: str, attrs: tuple[Any, ...], type: Type, span: Span) -> Ref:
        return Ref(self.add(op, (), attrs, type, span), type)

    def emit(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...] = ()) -> Ref:
        """An op over any arguments that fit it: kinds are cast, operands broadcast, moves that move nothing dropped."""
        if op.defined:
            return self.written_out(op, args, attrs, type, span, scope)
        ids = [a.id for a in args]
        if op.pointwise:
            return self.pointwise(op, ids, attrs, type, span, scope)
        if "moves" in op.flags:
            if len(ids) == 1 and self.instrs[ids[0]].type.shape == type.shape and self.is_identity(op, attrs, type):
                return Ref(ids[0], type)
            if op.name in ("reshape", "broadcast_to") and self.instrs[ids[0]].op == op.name:
                ids = [self.instrs[ids[0]].args[0]]
                if self.instrs[ids[0]].type.shape == type.shape:
                    return Ref(ids[0], type)
            if op.name == "transpose" and self.instrs[ids[0]].op == "transpose":
                inner = self.instrs[ids[0]]
                ids, attrs = [inner.args[0]], (tuple(inner.attrs[0][k] for k in attrs[0]),)
                if self.is_identity(op, attrs, type):
                    return Ref(ids[0], type)
            if op.name == "slice" and (u := self.uniform(ids[0])) is not None:
                return Ref(self.broadcast(u, type.shape, span, scope), type)
        elif self.reduces_nothing(op.name, ids[0] if ids else 0, attrs, type):
            return Ref(self.truth(ids[0]) if type.dtype == "bool" else self.real(ids[0]), type)
        if op.name in ("any", "all"):
            ids = [self.truth(ids[0])]
        if "moves" not in op.flags and not op.flags & {"predicate", "index"}:
            named = op.params if "variadic" not in op.flags else ()
            ids = [self.real(i) if not named or named[k] in op.adjoints else i for k, i in enumerate(ids)]
        return Ref(self.add(op.name, tuple(ids), attrs, type, span, scope), type)

    def written_out(
        self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]
    ) -> Ref:
        """The formula of an op that is nothing else, in the op's place; each call once."""
        key = ("formula", op.name, tuple(args), attrs)
        if key not in self.memo:
            assert op.value is not None
            made = evaluate(op, op.value, args, attrs, self, None, None, span, scope=scope)
            self.memo[key] = self.broadcast(made.id, type.shape, span, scope)
        return self.ref(self.memo[key])

    def reduces_nothing(self, name: str, i: int, attrs: tuple[Any, ...], type: Type) -> bool:
        if name == "sum_to":
            return self.instrs[i].type.shape == type.shape
        return name in ("sum", "max", "min", "any", "all") and not attrs[0]

    @staticmethod
    def is_identity(op: Op, attrs: tuple[Any, ...], type: Type) -> bool:
        if op.name == "transpose":
            return bool(attrs[0] == tuple(range(len(attrs[0]))))
        if op.name == "slice":
            return all(s == 0 for s in attrs[0]) and all(s == 1 for s in attrs[2])
        if op.name == "unslice":
            return all(s == 0 for s in attrs[1]) and all(s == 1 for s in attrs[2])
        return op.name in ("broadcast_to", "reshape")

    def pointwise(self, op: Op, ids: list[int], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]) -> Ref:
        flags, instrs = op.flags, self.instrs
        if type is SCALAR and self.all_scalar(ids):
            return Ref(self.add(op.name, tuple(ids), attrs, type, span, scope), type)
        if flags:
            ids = self.cast(op, ids, type)
        elif any(instrs[i].type.dtype != "real" for i in ids):
            ids = [self.real(i) for i in ids]
        if type.shape:
            uniform = [self.uniform(i) for i in ids]
            if all(u is not None for u in uniform):
                scalar = self.add(
                    op.name,
                    tuple(u for u in uniform if u is not None),
                    attrs,
                    scalar_of(type.dtype),
                    span,
                    scope,
                )
                return self.ref(self.broadcast(scalar, type.shape, span, scope))
            ids = [self.broadcast(i, type.shape, span, scope) if u is None else u for i, u in zip(ids, uniform, strict=True)]
        return Ref(self.add(op.name, tuple(ids), attrs, type, span, scope), type)

    def all_scalar(self, ids: Iterable[int]) -> bool:
        """Whether values are single reals."""
        instrs = self.instrs
        for i in ids:  # noqa: SIM110 (called for every operation of a program)
            if instrs[i].type is not SCALAR:
                return False
        return True

    def cast(self, op: Op, ids: list[int], type: Type) -> list[int]:
        """Operands in the kind that the op works on."""
        flags = op.flags
        if "choice" in flags:
            return [ids[0], *(ids[1:] if type.dtype != "real" else map(self.real, ids[1:]))]
        if "predicate" in flags and all(self.instrs[i].type.dtype == "int" for i in ids):
            return ids
        if "logical" in flags or "cast" in flags or "marker" in flags or ("integral" in flags and type.dtype == "int"):
            return ids
        return [self.real(i) for i in ids]

    def real(self, i: int) -> int:
        """The value as reals."""
        at = self.instrs[i]
        if at.type.dtype == "real":
            return i
        if at.op == "const" and isinstance(at.attrs[0], (bool, int)):
            return self.const(float(at.attrs[0]), at.span)
        if at.op == "size":
            return self.add("size", (), at.attrs, SCALAR, at.span)
        return self.add("real", (i,), (), Type(at.type.shape), at.span, at.scope)

    def truth(self, i: int) -> int:
        """The value as truth values: a number is true unless it is 0."""
        at = self.instrs[i]
        return i if at.type.dtype == "bool" else self.apply("not_equal", (i, self.const(0.0)), (), at.span, at.scope)

    def uniform(self, i: int) -> int | None:
        """The scalar constant or size that every entry of a value is, if that is plain."""
        at = self.instrs[i]
        while at.op in UNIFORM:
            i = at.args[0]
            at = self.instrs[i]
        return i if at.op in ("const", "size") and not at.type.shape else None

    def broadcast(self, i: int, shape: Shape, span: Span = NOWHERE, scope: tuple[str, ...] = ()) -> int:
        at = self.instrs[i]
        if at.type.shape == shape:
            return i
        if at.op == "broadcast_to":
            i = at.args[0]
        return self.add("broadcast_to", (i,), (shape,), Type(shape, at.type.dtype), span, scope)

    # -------------------------------------------------------------- shorthand for passes
    def apply(
        self, name: str, args: Iterable[int], attrs: tuple[Any, ...] = (), span: Span = NOWHERE, scope: tuple[str, ...] = ()
    ) -> int:
        """An op by name over instructions; types are inferred."""
        refs = [self.ref(i) for i in args]
        op = self.table[name]
        attrs, type = infer(op, [r.type for r in refs], attrs, self.table)
        return self.emit(op, refs, attrs, type, span, scope).id

    def is_const(self, i: int, value: float) -> bool:
        at = self.instrs[i]
        return at.op == "const" and at.type is not BOOL and at.type is not INT and at.attrs[0] == value
