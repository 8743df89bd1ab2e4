"""What the operators of the language do to numbers: of Python, of NumPy, of mpmath alike."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]
ARITHMETIC: dict[str, Run] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg}
# Where Python raises (a zero divisor), IEEE arithmetic goes on: the caller decides.
DIVISION: dict[str, Run] = {"div": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod}
COMPARISONS: dict[str, Run] = {
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
}
LOGIC: dict[str, Run] = {
    "logical_and": lambda a, b: a and b,
    "logical_or": lambda a, b: a or b,
    "logical_not": lambda a: not a,
}
