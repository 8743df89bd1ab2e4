"""The chain rule's product of a tangent or cotangent with a partial, and sums of such products.

Exact zeros are absent, not stored: a partial that is plainly 0 contributes nothing, and the branch that a choice does not
take contributes an exact zero. A cotangent that holds such zeros is `masked`: from there on a product with a partial is a
`zmul`, in which an exact zero wins over an infinite or undefined partial.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlang.check import errors_ops
from gradlang.check.infer import infer
from gradlang.check.rules import evaluate
from gradlang.diagnostics import InternalError, SourceError
from gradlang.ir.tape import Builder, Instr
from gradlang.ops.op import Op
from gradlang.source import Span
from gradlang.transform.masked import MaskedSink
from gradlang.transform.partials import Templates
from gradlang.types import SCALAR, Dim, Type, add, mul, stretches, sub

# adjoints with exact zeros where nothing was read
CHOICES = ("where", "zmul", "zmatmul", "zeinsum")
HOLES = ("unslice", "scatter_add", "scatter_along", "tril", "triu", "diag_matrix")


def covered(dim: Dim, window: Dim, stride: Dim, places: Dim) -> bool:
    """Whether windows leave no entry of an axis out."""
    closed = stride == 1 or (isinstance(window, int) and isinstance(stride, int) and window >= stride)
    return closed and add(mul(sub(places, 1), stride), window) == dim


def keeps_zeros(instr: Instr, k: int) -> bool:
    """Whether what argument `k` gets, or adds to a tangent, has the exact zeros of the other factor of a product."""
    return instr.op == "zmatmul" and k != instr.attrs[0]


class Chain:
    def __init__(self, builder: Builder, templates: Templates, keeps: bool = False) -> None:
        """With `keeps` recurrences keep what their adjoints need: `longer` is what takes their place."""
        self.b, self.templates, self.keeps = builder, templates, keeps
        self.longer: dict[int, int] = {}
        self.masked: set[int] = set()
        self.from_choices: dict[int, bool] = {}
        self.emptied: dict[tuple[int, int], bool] = {}

    def partial(self, op: Op, instr: Instr, at: int, param: str) -> int:
        expr = op.partials[param]
        return self.templates.write(
            self.b, op, "d/d" + param, expr, instr.attrs, [*instr.args, at], True, instr.type, instr.span, instr.scope
        )

    def adjoint(self, op: Op, instr: Instr, at: int, param: str, cotangent: int) -> int:
        """The contribution of an op with adjoint rules to one of its arguments."""
        b = self.b
        args = [b.ref(a) for a in instr.args]
        sink = MaskedSink(b, {cotangent}) if cotangent in self.masked else b
        try:
            made = evaluate(
                op, op.adjoints[param], args, instr.attrs, sink, b.ref(at), b.ref(cotangent), instr.span, scope=instr.scope
            ).id
        except InternalError as error:
            if op.name in b.table.own:
                raise SourceError(
                    [errors_ops.adjoint_unfit(op.name, param, error.diagnostics[0].message, instr.span)]
                ) from None
            raise
        out, wanted = b.instrs[made], b.instrs[instr.args[op.params.index(param)]].type.shape
        if out.type.shape != wanted:  # a rule of a program, over arguments of which one was stretched to the other's shape
            if stretches(out.type.shape, wanted):
                made = b.broadcast(made, wanted, instr.span, instr.scope)
            elif stretches(wanted, out.type.shape):
                made = b.apply("sum_to", (made,), (wanted,), instr.span, instr.scope)
            else:
                text = f"it is {out.type}, and the argument {Type(wanted)}"
                raise SourceError([errors_ops.adjoint_unfit(op.name, param, text, instr.span)])
        if self.leaves_holes(out) or (out.op == "where" and (b.is_const(out.args[1], 0) or b.is_const(out.args[2], 0))):
            self.masked.add(made)
        if (isinstance(sink, MaskedSink) and made in sink.masked) or keeps_zeros(instr, op.params.index(param)):
            self.masked.add(made)
        return made

    def linear(self, op: Op, instr: Instr, k: int, t: int) -> int:
        """A linear op over a tangent in place of argument `k`."""
        b, args = self.b, [*instr.args[:k], t, *instr.args[k + 1 :]]
        if not self.chosen(t) or self.empty_too(instr.args[k], t):
            made = b.apply(op.name, args, instr.attrs, instr.span, instr.scope)
            if "moves" in op.flags:
                self.mask(t, made)
        else:
            sink, refs = MaskedSink(b, {t}), [b.ref(a) for a in args]
            attrs, type = infer(op, [r.type for r in refs], instr.attrs, b.table)
            made = sink.emit(op, refs, attrs, type, instr.span, instr.scope).id
            if made in sink.masked:
                self.masked.add(made)
        if self.leaves_holes(b.instrs[made]) or keeps_zeros(instr, k):
            self.masked.add(made)
        return made

    def leaves_holes(self, instr: Instr) -> bool:
        """Whether entries of a result are exact zeros because nothing was put there."""
        if instr.op != "unpatches":
            return instr.op in HOLES
        shape, strides = instr.attrs
        x = self.b.instrs[instr.args[0]].type.shape
        return not all(covered(*axis) for axis in zip(shape[2:], x[2:4], strides, x[4:], strict=True))

    def contribution(self, op: Op, instr: Instr, at: int, param: str, g: int) -> int | None:
        """What one argument of a pointwise op adds to a tangent, or gets of a cotangent."""
        if op.name == "zmul" and param == "p":  # where the first factor is an exact zero, nothing depends on the second
            made = self.make("zmul", (self.partial(op, instr, at, param), g), g, instr.span, instr.scope)
            self.masked.add(made)
            return made
        return self.scale(g, self.partial(op, instr, at, param), instr.span, instr.scope)

    def scale(self, g: int, p: int, span: Span, scope: tuple[str, ...]) -> int | None:
        """g * p, or None where it is an exact zero."""
        b = self.b
        at = b.instrs[p]
        if at.op == "const":
            if at.attrs[0] == 0:
                return None
            if at.attrs[0] == 1:
                return g
            if at.attrs[0] == -1:
                return self.mask(g, self.make("neg", (g,), g, span, scope))
        elif at.op == "neg":
            inner = self.scale(g, at.args[0], span, scope)
            return None if inner is None else self.mask(inner, self.make("neg", (inner,), g, span, scope))
        elif at.op == "where":
            return self.choose(g, at, p, span, scope)
        elif at.op == "div" and b.instrs[at.args[0]].op == "const" and g not in self.masked:
            top = self.scale(g, at.args[0], span, scope)
            return None if top is None else self.make("div", (top, at.args[1]), g, span, scope)
        return self.product(g, p, span, scope)

    def product(self, g: int, p: int, span: Span, scope: tuple[str, ...]) -> int:
        if g in self.masked and self.b.instrs[p].op != "const":
            made = self.make("zmul", (g, p), g, span, scope)
        else:
            made = self.make("mul", (g, p), g, span, scope)
        return self.mask(g, made)

    def choose(self, g: int, at: Instr, p: int, span: Span, scope: tuple[str, ...]) -> int | None:
        """A partial that is 0 on one side of a choice selects the cotangent instead of multiplying it."""
        c, then, other = at.args
        if not (self.b.is_const(then, 0) or self.b.is_const(other, 0)):
            return self.product(g, p, span, scope)
        sides = [self.scale(g, side, span, scope) for side in (then, other)]
        if sides[0] is None and sides[1] is None:
            return None
        zero = self.b.const(0.0)
        made = self.make("where", (c, *(zero if s is None else s for s in sides)), g, span, scope)
        self.masked.add(made)
        return made

    def mask(self, source: int, made: int) -> int:
        return self.mark(made, source in self.masked)

    def mark(self, made: int, exact: bool) -> int:
        if exact:
            self.masked.add(made)
        return made

    def chosen(self, i: int) -> bool:
        """Whether the exact zeros of a value come from a choice, and not only from entries that nothing was put into, as those
        above a triangle. (The latter meet infinities rarely, and where they do not, `zmul` only costs time.)"""
        if i not in self.masked:
            return False
        known, stack = self.from_choices, [i]
        while stack:
            at = self.b.instrs[stack[-1]]
            choice = at.op in CHOICES
            unknown = [] if choice else [a for a in at.args if a in self.masked and a not in known]
            if unknown:
                stack += unknown
            else:
                known[stack.pop()] = choice or any(known.get(a, False) for a in at.args)
        return known[i]

    def empty_too(self, value: int, tangent: int) -> bool:
        """Whether a value is 0 wherever the choices of its tangent are: a matrix with entries that no branch fills. An infinity
        that meets these has spoilt the value already."""
        stack = [pair := (value, tangent)]
        seen: dict[tuple[int, int], bool] = {}
        while stack:
            at = stack.pop()
            if at in seen:
                continue
            seen[at] = True
            below = () if self.emptied.get(at) else self.halves(*at)
            if below is None or self.emptied.get(at) is False:
                self.emptied[pair] = False
                return False
            stack += below
        self.emptied.update(seen)
        return True

    def halves(self, value: int, tangent: int) -> Sequence[tuple[int, int]] | None:
        """Of which values and their tangents `empty_too` must hold for it to hold of these; None if it does not."""
        b = self.b
        if b.is_const(tangent, 0):
            return () if b.is_const(value, 0) else None
        if tangent not in self.masked:
            return ()
        v, d = b.instrs[value], b.instrs[tangent]
        same = (v.op, v.attrs, v.args[1:]) == (d.op, d.attrs, d.args[1:])
        if same and v.op in b.table and "moves" in b.table[v.op].flags:
            return ((v.args[0], d.args[0]),)
        if v.op == d.op == "where" and v.args[0] == d.args[0]:
            return tuple(zip(v.args[1:], d.args[1:], strict=True))
        return None

    def make(self, op: str, args: tuple[int, ...], like: int, span: Span, scope: tuple[str, ...]) -> int:
        """A pointwise op over arguments of which some have the full shape."""
        b = self.b
        if b.instrs[like].type is SCALAR and b.all_scalar(args):
            return b.add(op, args, (), SCALAR, span, scope)
        shape: Any = ()
        for a in args:
            shape = b.instrs[a].type.shape or shape
        type = b.instrs[like].type
        if type.shape != shape:
            return b.apply(op, args, (), span, scope)
        return b.pointwise(b.table[op], list(args), (), type, span, scope).id

    def plus(self, a: int | None, c: int | None, span: Span) -> int | None:
        """The sum of two contributions, of which either may be absent."""
        if a is None or c is None:
            return c if a is None else a
        b = self.b
        chosen = self.both_sides(a, c)
        if chosen is not None:
            made = b.apply("where", chosen, (), span)
        else:
            made = b.add("add", (a, c), (), SCALAR, span) if b.all_scalar((a, c)) else b.apply("add", (a, c), (), span)
        if a in self.masked and c in self.masked:
            self.masked.add(made)
        return made

    def both_sides(self, *parts: int) -> tuple[int, int, int] | None:
        """The arguments of one choice, if one value is 0 on one side of it and the other value on the other side."""
        b = self.b
        one, two = (b.instrs[i] for i in parts)
        if not (one.op == two.op == "where" and one.args[0] == two.args[0] and one.type.shape == two.type.shape):
            return None
        for first, second in ((one, two), (two, one)):
            if b.is_const(first.args[2], 0) and b.is_const(second.args[1], 0):
                return first.args[0], first.args[1], second.args[2]
        return None
