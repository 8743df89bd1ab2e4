"""The type of an op's result, from its entry and the types of its arguments."""

from __future__ import annotations

from typing import Any

from gradlang.diagnostics import InternalError
from gradlang.ops import shapes, shapes_linalg, shapes_windows
from gradlang.ops.op import Op
from gradlang.ops.shapes import Misfit, pointwise
from gradlang.ops.table import OpTable
from gradlang.types import SCALAR, Type, scalar_of

RULES = {**shapes.RULES, **shapes_windows.RULES, **shapes_linalg.RULES}
INTEGRAL = frozenset({"integral"})


def infer(op: Op, types: list[Type], attrs: tuple[Any, ...], table: OpTable) -> tuple[tuple[Any, ...], Type]:
    """The settings in their normal form and the type of the result. Raises Misfit with a sentence for the user."""
    if op.defined:
        key = (op.name, tuple(types), attrs)
        if key not in table.inferred:
            table.inferred[key] = _body(op, types, attrs, table)
        found: tuple[tuple[Any, ...], Type] = table.inferred[key]
        return found
    if op.pointwise:
        if (not op.flags or op.flags == INTEGRAL) and all(t is SCALAR for t in types):
            return attrs, SCALAR
        conditions = types[:1] if "choice" in op.flags else types if "logical" in op.flags else ()
        for t in conditions:
            if t.dtype != "bool":
                raise Misfit(f"a condition is needed here, but this is {t}", "compare it, for example `x > 0`")
        return attrs, pointwise(op, types)
    if "moves" not in op.flags and not op.flags & {"predicate"}:
        types = [
            Type(t.shape) if p in op.adjoints or "variadic" in op.flags else t
            for p, t in zip(op.params if "variadic" not in op.flags else ("",) * len(types), types, strict=True)
        ]
    if op.shape:
        try:
            attrs, made = RULES[op.shape](types, attrs)
        except (TypeError, ValueError, IndexError, AttributeError, KeyError):
            raise Misfit(f"the settings of `{op.name}` do not fit") from None
        kind = "bool" if "predicate" in op.flags else "int" if "index" in op.flags else made.dtype
        if not made.shape:
            return attrs, scalar_of(kind)
        return attrs, made if kind == made.dtype else Type(made.shape, kind)
    return _body(op, types, attrs, table)


def _body(op: Op, types: list[Type], attrs: tuple[Any, ...], table: OpTable) -> tuple[tuple[Any, ...], Type]:
    """The type of an op that is defined by a formula over arrays: that of its formula."""
    from gradlang.check.rules import Scratch, evaluate  # the rules are elaborated expressions themselves

    attrs = tuple(_normal(a, v, types) for a, v in zip(op.attrs, attrs, strict=True))
    scratch = Scratch(table)
    params = [scratch.param(t) for t in types]
    assert op.value is not None
    try:
        return attrs, evaluate(op, op.value, params, attrs, scratch, None, None, (0, 0)).type
    except InternalError as error:  # the formula of the entry does not fit these arguments
        found = error.diagnostics[0]
        raise Misfit(f"`{op.name}` does not fit its arguments: {found.message}", found.help) from None


def _normal(attr: str, value: Any, types: list[Type]) -> Any:
    from gradlang.ops.shapes import axes_of, axis_of

    if attr == "keepdims" and not isinstance(value, bool):
        raise Misfit("`keepdims` is true or false")
    if attr != "axis":
        return value
    return axis_of(value, types[0].rank) if isinstance(value, int) else axes_of(value, types[0].rank)
