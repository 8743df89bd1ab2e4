"""What operations weigh. The model of costs needs no more than this, and is asked at every start."""

from __future__ import annotations

CALLS = frozenset(
    "exp expm1 log log1p log2 log10 sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh hypot cbrt pow "
    "erf erfc".split()
)  # functions of `gradlang/loops`, which have the name of the op. Sigmoid and its like are formulas: with their derivative
# they share one exp
HEAVY = {"div": 4, "sqrt": 5, "mod": 12, "floordiv": 12, **dict.fromkeys(CALLS, 20), "pow": 60, "powi": 4}  # others: 1
