"""Arithmetic on what is known when a program is read: numbers, sizes, truth values, lists of these."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradlang import types
from gradlang.check import loops
from gradlang.check.loops import Index
from gradlang.check.program import Ref, Value
from gradlang.ops.operators import ARITHMETIC, COMPARISONS, DIVISION, LOGIC
from gradlang.types import Shape, Size

UNKNOWN = object()

_ON_NUMBERS = {**ARITHMETIC, **COMPARISONS, "floordiv": DIVISION["floordiv"], "mod": DIVISION["mod"]}
_ON_SIZES: dict[str, Callable[..., Any]] = {"add": types.add, "sub": types.sub, "mul": types.mul, "neg": types.neg}
LARGEST = 2**53  # whole numbers up to here are floats exactly


def real(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def fold(op: str, args: list[Value]) -> Any:
    """The value of an operator over known operands, or UNKNOWN where a node has to compute it.

    Whole numbers stay exact; anything IEEE arithmetic would turn into an infinity or a nan is left to the run."""
    if any(a.__class__ is Ref for a in args):
        return UNKNOWN
    if all(isinstance(a, bool) for a in args):
        return LOGIC[op](*args) if op in LOGIC else UNKNOWN
    if all(map(is_number, args)):
        return _numbers(op, args)
    if any(isinstance(a, Index) for a in args):
        return _indices(op, args)
    if any(isinstance(a, Size) for a in args) and all(isinstance(a, (int, Size)) and not isinstance(a, bool) for a in args):
        return _sizes(op, args)
    if op == "add" and all(isinstance(a, tuple) for a in args) and any(isinstance(i, Size) for a in args for i in a):
        return args[0] + args[1]
    if any(a is None for a in args) and op in ("equal", "not_equal"):
        return (args[0] is args[1]) == (op == "equal")
    return UNKNOWN


def _numbers(op: str, args: list[Any]) -> Any:
    try:
        if op == "div":
            a, b = args
            if isinstance(a, int) and isinstance(b, int) and a % b == 0:
                return a // b
            out: Any = a / b
        elif op == "pow":
            a, b = args
            if not isinstance(b, int) or (isinstance(a, int) and (b < 0 or abs(a) ** min(b, 1100) > LARGEST)):
                out = math.pow(a, b)
            else:
                out = a**b
        elif op in _ON_NUMBERS:
            out = _ON_NUMBERS[op](*args)
        else:
            return UNKNOWN
    except (ArithmeticError, ValueError):
        return UNKNOWN
    if isinstance(out, float) and not math.isfinite(out) and all(math.isfinite(a) for a in args):
        return UNKNOWN
    if isinstance(out, int) and not isinstance(out, bool) and abs(out) > LARGEST:
        return real(out)
    return out


def _sizes(op: str, args: list[Any]) -> Any:
    if op in _ON_SIZES:
        return _ON_SIZES[op](*args)
    if op in ("div", "floordiv"):
        whole = types.exact_quotient(*args)
        return UNKNOWN if whole is None else whole
    if op in ("equal", "not_equal") and args[0] == args[1]:
        return op == "equal"
    return UNKNOWN


def _indices(op: str, args: list[Any]) -> Any:
    """Sums of indices are indices, and so are their products with whole numbers."""
    if any(isinstance(a, bool) or not isinstance(a, (int, Size, Index)) for a in args):
        return UNKNOWN
    if op in ("add", "sub"):
        return loops.plus(args[0], args[1], 1 if op == "add" else -1)
    if op == "neg":
        return loops.times(args[0], -1)
    if op == "mul" and any(isinstance(a, int) for a in args):
        index, factor = args if isinstance(args[1], int) else reversed(args)
        return loops.times(index, factor)
    return UNKNOWN


def whole(value: Value) -> int | None:
    """A whole exponent that is known now, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and (not value.is_integer() or abs(value) > LARGEST):
        return None
    return int(value) if abs(value) <= LARGEST else None


def is_zero(value: Value) -> bool:
    return is_number(value) and value == 0


def static_shape(value: Value) -> Shape:
    """The shape of a list, nested as it stands; of a node, its type's."""
    shape: list[Any] = []
    while isinstance(value, tuple):
        shape.append(len(value))
        if not value:
            return tuple(shape)
        value = value[0]
    return (*shape, *(value.type.shape if isinstance(value, Ref) else ()))


def of_kind(value: Value, dtype: str) -> bool:
    """Whether a number, or every number of nested lists, is of a kind: whole, or true and false (or 0 and 1)."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(item)
        elif not isinstance(item, (bool, int)) or (dtype == "bool" and item not in (0, 1)) or abs(item) >= 2**63:
            return False
    return True


MOST_AXES = 32  # NumPy takes 64; a reshape or a stack may add some


def deep(items: Value) -> bool:
    """Whether lists are nested in more levels than an array has axes."""
    level = [items]
    for _ in range(MOST_AXES):
        level = [x for i in level if isinstance(i, tuple) for x in i if isinstance(x, tuple)]
        if not level:
            return False
    return True


def ragged(items: Value) -> bool:
    """Whether nested lists of numbers have rows of different lengths."""
    level = [items]
    while level:
        lists = [i for i in level if isinstance(i, tuple)]
        if len({len(i) for i in lists}) > 1 or 0 < len(lists) < len(level):
            return True
        level = [x for i in lists for x in i]
    return False


def nested(items: Value) -> tuple[Shape, str] | None:
    """Shape and kind of nested lists that hold numbers only, else None."""
    shape = static_shape(items)
    kinds = set()
    stack: list[Any] = [items]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(item)
        elif isinstance(item, bool):
            kinds.add("bool")
        elif isinstance(item, (int, float)):
            kinds.add("real")
        else:
            return None
    return shape, types.join_dtype(kinds)
