"""What operations weigh. The model of costs needs no more than this, and is asked at every start."""

from __future__ import annotations

CALLS = frozenset(
    "exp expm1 log log1p log2 log10 sin cos tan asin acos atan atan2 sinh cosh tanh tanh_slope asinh acosh atanh hypot "
    "cbrt pow erf erfc softplus log_sigmoid".split()
)  # functions of `gradlang/loops`, which have the name of the op. Sigmoid is a formula: with its derivative it shares one exp
HEAVY = {"div": 4, "sqrt": 5, "mod": 12, "floordiv": 12, **dict.fromkeys(CALLS, 20), "pow": 60, "powi": 4}  # others: 1
