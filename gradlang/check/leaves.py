"""Inputs, parameters and constants: their types, defaults and ranges, and the sizes that their shapes name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlang.check import errors, errors_promises, statics
from gradlang.check.errors import Problem
from gradlang.check.indexing import integers
from gradlang.check.names import in_order, names_in
from gradlang.check.program import POISON, Initializer, Leaf, Poison, Ref, Value
from gradlang.diagnostics import Diagnostic
from gradlang.ops.shapes import Misfit, shape_of
from gradlang.syntax import ast
from gradlang.types import BOOL, SCALAR, Dim, Mismatch, Shape, Size, Type, broadcast, size

if TYPE_CHECKING:
    from gradlang.check.check import Checker

INITIALIZERS = {"normal": 2, "uniform": 2, "zeros": 0, "ones": 0, "he": 0, "xavier": 0}
NO_SIZES = frozenset({"pi", "inf", "nan", "None", "none"})
DTYPES = {"real": "real", "int": "int", "bool": "bool"}


class LeafMaker:
    def __init__(self, checker: Checker) -> None:
        self.c = checker

    # -------------------------------------------------------------- constants first: they may fix sizes
    def constants(self) -> None:
        lines = self.c.consts
        uses = {
            n: [m.id for m in names_in([line.value]) if m.id in lines] if line.value is not None else []
            for n, line in lines.items()
        }
        order, cycles = in_order(lines, uses.__getitem__)
        for path in cycles[:1]:
            spans = [self.c.where[n] for n in path]
            self.c.report(errors.cycle(path, spans))
        self._late: list[str] = []
        for name in order:
            line = lines[name]
            if line.value is None:
                self.c.report(
                    errors.bad_constant(f"the constant `{name}` has no value", line.span, f"write `const {name} = ...`")
                )
                self.c.found[name] = POISON
            elif all(m.id in self.c.found or m.id in statics_names() for m in names_in([line.value])) and line.type is None:
                self.constant(name, line)
            else:
                self._late.append(name)

    def constant(self, name: str, line: ast.Leaf) -> None:
        try:
            self.evaluate_constant(name, line)
        except Problem as problem:
            self.c.report(problem.diagnostic)
            self.c.found[name] = POISON

    def evaluate_constant(self, name: str, line: ast.Leaf) -> None:
        assert line.value is not None
        self.tail(line.tail, name)
        value = self.c.elaborator.eval(line.value, self.c.env)
        wanted = self.type(line.type) if line.type is not None else None
        try:
            if isinstance(value, tuple) and wanted is not None and wanted.dtype == "int":
                value = integers(self.c.elaborator, value, line.value.span)
            if value is not None and not isinstance(value, (bool, int, float, Size, str)):
                value = self.c.elaborator.ref(value, line.value.span)
        except (Problem, Misfit) as problem:
            self.c.elaborator.fail(problem, line.value.span)
            value = POISON
        if isinstance(value, Ref) and self.depends_on_input(value):
            self.c.report(
                errors.bad_constant(
                    f"the constant `{name}` depends on an input", line.value.span, f"write `{name} = ...` without `const`"
                )
            )
            value = POISON
        full = self.c.unit.full(name)
        if isinstance(value, Ref):
            self.c.program.values[full] = value.id
            self.c.program.nodes[value.id].name = full
        if wanted is not None and not isinstance(value, Poison):
            got = value.type if isinstance(value, Ref) else SCALAR
            if got.shape != wanted.shape:
                self.c.report(errors.declared(name, str(wanted), str(got), self.c.where[name], line.span))
        type_ = value.type if isinstance(value, Ref) else SCALAR
        node = value.id if isinstance(value, Ref) else -1
        default = None if isinstance(value, Ref) else value
        if not isinstance(value, Poison):
            self.c.program.leaves[full] = Leaf(
                full,
                "const",
                type_,
                node,
                self.c.where[name],
                default,
                node if isinstance(value, Ref) else None,
                label=line.tail.label,
            )
        self.c.found[name] = value

    def depends_on_input(self, value: Ref) -> bool:
        nodes, stack, seen = self.c.program.nodes, [value.id], set()
        while stack:
            i = stack.pop()
            if i not in seen:
                seen.add(i)
                if nodes[i].op == "input":
                    return True
                stack.extend(nodes[i].args)
        return False

    # -------------------------------------------------------------- sizes
    def sizes(self) -> None:
        """Names in shapes that are no constants are sizes."""
        types = [s.type for s in self.c.leaf_lines.values() if s.type is not None]
        types += [line.type for line in self.c.consts.values() if line.type is not None]
        for t in types:
            for name in names_in(t.dims):
                found = self.c.found.get(name.id)
                if name.id in NO_SIZES:
                    self.c.report(errors.bad_constant(f"`{name.id}` is no size", name.span))
                    self.c.found[name.id] = POISON
                    continue
                if name.id in self.c.consts or (found is not None and not isinstance(found, Poison)):
                    continue
                if name.id in self.c.leaf_lines:
                    self.c.report(errors.not_a_size(name.id, name.span, self.c.where[name.id]))
                    self.c.found[name.id] = POISON
                elif name.id in self.c.where:
                    self.c.report(errors.size_and_value(name.id, self.c.where[name.id], name.span))
                    self.c.found[name.id] = POISON
                elif found is None:
                    self.c.program.sizes[name.id] = name.span
                    self.c.found[name.id] = size(name.id)
        for late in self._late:
            self.constant(late, self.c.consts[late])

    def type(self, node: ast.TypeExpr | None) -> Type | None:
        """The type that an annotation means, or None if it has an error (which is reported)."""
        if node is None:
            return SCALAR
        if node.dtype not in DTYPES:
            self.c.report(
                Diagnostic(
                    "G316",
                    f"`{node.dtype}` is no type",
                    node.span,
                    help="a type is `[N, 3]`, `int`, `int[N]`, `bool` or `bool[N]`",
                )
            )
            return None
        dims: list[Dim] = []
        for d in node.dims:
            value = self.c.elaborator.eval(d, self.c.env)
            if isinstance(value, Poison):
                return None
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, (int, Size)) or (isinstance(value, int) and value < 0):
                if any(n.id in self.c.leaf_lines for n in names_in([d])):
                    return None  # reported where the sizes were collected
                hint = "what is given or computed is no size: write `const`" if isinstance(value, Ref) else ""
                self.c.report(errors.bad_constant("a size is a whole number, a name or a formula of these", d.span, hint))
                return None
            dims.append(value)
        try:
            return Type(shape_of(tuple(dims)), node.dtype)
        except Misfit as misfit:
            self.c.report(errors.misfit(misfit.message, node.span, misfit.help))
            return None

    # -------------------------------------------------------------- inputs and parameters
    def make(self) -> None:
        for name, line in self.c.leaf_lines.items():
            try:
                self.leaf(name, line)
            except Problem as problem:
                self.c.report(problem.diagnostic)
                self.c.found.setdefault(name, POISON)

    def leaf(self, name: str, line: ast.Leaf | ast.Define) -> None:
        role = (line.role or "input") if isinstance(line, ast.Leaf) else "input"
        span = self.c.where[name]
        declared = self.type(line.type)
        self.tail(line.tail, name)
        self.c.found[name] = POISON
        default, default_node, value_type = None, None, None
        if line.value is not None:
            default, default_node, value_type = self.default(line.value, role)
            if default is POISON:
                return
        if declared is None:
            return
        type_ = declared
        if line.type is None and value_type is not None:
            type_ = value_type
        elif value_type is not None and not self.fits(value_type.shape, declared.shape):
            raise Problem(
                errors.declared(
                    name,
                    str(declared),
                    str(value_type),
                    line.value.span if line.value else span,
                    line.type.span if line.type else span,
                )
            )
        if type_.dtype != "real" and default is not None and not statics.of_kind(default, type_.dtype):
            where = line.type.span if line.type else span
            got = "initialised at random" if isinstance(default, Initializer) else "a real number"
            raise Problem(errors.declared(name, str(type_), got, line.value.span if line.value else span, where))
        full = self.c.unit.full(name)
        ref = self.c.sink.leaf("input", (full,), type_, span)
        self.c.program.nodes[ref.id].name = full
        bounds = self.bounds(line.range) if isinstance(line, ast.Leaf) and line.range else None
        if isinstance(line, ast.Leaf) and line.range and bounds is not None:
            self.within(name, type_, default, bounds, line)
        self.c.program.leaves[full] = Leaf(full, role, type_, ref.id, span, default, default_node, bounds, line.tail.label)
        self.c.program.values[full] = ref.id
        self.c.found[name] = ref

    def fits(self, got: Shape, wanted: Shape) -> bool:
        """Whether a default has a declared shape; a named size takes its length from the default."""
        if len(got) == len(wanted) and any(isinstance(d, Size) for d in wanted):
            return all(isinstance(w, Size) or w == g for g, w in zip(got, wanted, strict=True))
        try:
            return broadcast(got, wanted) == wanted and (not got or got == wanted)
        except Mismatch:
            return False

    def default(self, expr: ast.Expr, role: str) -> tuple[Any, int | None, Type | None]:
        """(value known now, node of a constant expression, type) of a default."""
        if (
            role == "param"
            and isinstance(expr, ast.Call)
            and isinstance(expr.func, ast.Name)
            and expr.func.id in INITIALIZERS
            and len(expr.args) <= INITIALIZERS[expr.func.id]
        ):
            return self.initializer(expr), None, None
        before = len(self.c.elaborator.problems)
        value = self.c.elaborator.eval(expr, self.c.env)
        if isinstance(value, tuple) and len(statics.static_shape(value)) > statics.MOST_AXES:
            raise Problem(errors.bad_constant(f"an array has at most {statics.MOST_AXES} axes", expr.span))
        if isinstance(value, tuple) and statics.nested(value) and statics.ragged(value):
            raise Problem(errors.ragged(expr.span))
        self.c.problems += self.c.elaborator.problems[before:]
        del self.c.elaborator.problems[before:]
        if isinstance(value, tuple) and (known := statics.nested(value)):
            return value, None, Type(*known)
        if statics.is_number(value) or isinstance(value, bool):
            return value, None, BOOL if isinstance(value, bool) else SCALAR
        ref = self.c.elaborator.ref(value, expr.span) if not isinstance(value, Poison) else value
        if not isinstance(ref, Ref):
            return POISON, None, None
        if self.depends_on_input(ref):
            raise Problem(
                errors.bad_constant(
                    "a default cannot depend on another input", expr.span, "a default is made of numbers and constants"
                )
            )
        return None, ref.id, ref.type

    def initializer(self, expr: ast.Call) -> Initializer:
        assert isinstance(expr.func, ast.Name)
        kind = expr.func.id
        if len(expr.args) != INITIALIZERS[kind] or expr.keywords:
            raise Problem(
                errors.arity(kind, len(expr.args), f"{INITIALIZERS[kind]} numbers", expr.span, "for example `normal(0, 0.01)`")
            )
        args = []
        for a in expr.args:
            value: Value = self.c.elaborator.eval(a, self.c.env)
            if not statics.is_number(value):
                raise Problem(errors.bad_constant("a number is needed here", a.span))
            args.append(float(value))
        return Initializer(kind, tuple(args))

    def bounds(self, range_: tuple[ast.Expr, ast.Expr]) -> tuple[float, float]:
        low, high = (self.c.elaborator.eval(b, self.c.env) for b in range_)
        if not statics.is_number(low) or not statics.is_number(high) or not low <= high:
            raise Problem(
                errors.bad_constant("a range is two numbers, the smaller one first", range_[0].span, "for example `in [0, 1]`")
            )
        return float(low), float(high)

    def within(self, name: str, type: Type, default: Any, bounds: tuple[float, float], line: ast.Leaf) -> None:
        """Whether a default lies in its range. One that has to be computed is looked at when it is."""
        assert line.range is not None
        where = (line.range[0].span[0], line.range[1].span[1])
        if type.dtype == "bool":
            raise Problem(errors_promises.range_of_kind(name, str(type), where))
        stack: list[Any] = [default] if isinstance(default, (int, float, tuple)) else []
        while stack:
            item = stack.pop()
            if isinstance(item, tuple):
                stack.extend(reversed(item))
            elif not bounds[0] <= item <= bounds[1]:
                span = line.value.span if line.value is not None else line.span
                raise Problem(errors_promises.outside_range(name, float(item), *bounds, span, where))

    def tail(self, tail: ast.Tail, name: str) -> None:
        if tail.unit is not None or tail.deviation is not None:
            what = "units are" if tail.unit is not None else "uncertainties (`+/-`) are"
            self.c.report(errors.later(what, self.c.where[name]))


def statics_names() -> frozenset[str]:
    from gradlang.check.names import LITERAL_NAMES

    return LITERAL_NAMES
