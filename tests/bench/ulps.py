"""Prints the greatest and the mean error of every function of the loop form, in units in the last place.

    python tests/bench/ulps.py [--points 1000000] [name ...]

The reference is the machine's extended precision (binary64 for "f32"), for functions that NumPy has not there a formula in it, and
mpmath over fewer points for the error functions. Each range of `loop_references` is drawn from uniformly, and one more range is
that of all binades.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from loop_oracle import REALS, run
from loop_references import REFERENCES

from gradlang.loops.functions import LIMITS, NAMES, function
from gradlang.loops.tables import WRITERS as TABLED

Array = np.ndarray[Any, Any]
WIDE = {"f64": np.longdouble, "f32": np.float64}
BY_MPMATH = 20000  # points at most


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


FORMULAS: dict[str, Callable[..., Array]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "sin_any": np.sin,
    "cos_any": np.cos,
    "tan_any": np.tan,
    "exp_less": lambda x: np.exp(-np.abs(x)),
    "tanh_slope": lambda x: 1 / np.cosh(x) ** 2,
}
NUMPY = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "pow": "power", "round": "rint"}
NUMPY |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}


def true_values(name: str, width: str, arguments: list[Array]) -> Array:
    wide = [x.astype(WIDE[width]) for x in arguments]
    f = FORMULAS.get(name) or getattr(np, NUMPY.get(name, name), None)
    if f is not None:
        return np.asarray(f(*wide))
    with mpmath.mp.workprec(140):
        values = [REFERENCES[name].value(*map(mpmath.mpf, map(float, at))) for at in zip(*arguments, strict=True)]
        high = np.array([float(v) for v in values])
        low = np.array([float(v - mpmath.mpf(h)) if np.isfinite(h) else 0.0 for v, h in zip(values, high, strict=True)])
    return high.astype(WIDE[width]) + low


def errors(got: Array, wanted: Array, width: str) -> Array:
    """In units in the last place of the true values, where both are finite."""
    digits, least = (53, -1074) if width == "f64" else (24, -149)
    use = np.isfinite(got) & np.isfinite(wanted)
    got, wanted = got[use].astype(WIDE[width]), wanted[use]
    unit = np.ldexp(np.ones_like(wanted), np.maximum(np.frexp(wanted)[1] - digits, least))
    return np.abs(got - wanted) / unit


def draws(name: str, width: str, points: int) -> list[tuple[str, list[Array]]]:
    rng = np.random.default_rng(0)
    real = REALS[width]
    count = len(function(name, width).params)
    limit = LIMITS.get(name, {}).get(width, np.inf)
    made = []
    for low, high in REFERENCES[name].ranges:
        low, high = max(low, -limit), min(high, limit)
        made.append((f"{low:g}..{high:g}", [rng.uniform(low, high, points).astype(real) for _ in range(count)]))
    words = np.int64 if width == "f64" else np.int32
    end = np.iinfo(words)
    every = [rng.integers(end.min, end.max, points, dtype=words).view(real) for _ in range(count)]
    keep = np.all([np.isfinite(x) & (np.abs(x) <= limit) for x in every], axis=0)
    return [*made, ("all binades", [x[keep] for x in every])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if np.finfo(np.longdouble).nmant < 63:
        sys.exit("This machine has no extended precision to compare with.")
    print(f"{'function':12} {'width':5} {'range':16} {'with fma':>16} {'without':>16} {'by tables':>16}   (greatest, mean ulp)")
    for name in options.names or [n for n in NAMES if n in REFERENCES]:
        for width in REALS:
            for label, arguments in draws(name, width, options.points):
                if name.startswith("erf"):
                    arguments = [x[:BY_MPMATH] for x in arguments]
                with np.errstate(all="ignore"):
                    wanted = true_values(name, width, arguments)
                    forms = [(False, True), (False, False), *([(True, True)] if name in TABLED else [])]
                    row = [
                        errors(run(function(name, width, tabled), width, *arguments, fma=fma), wanted, width)
                        for tabled, fma in forms
                    ]
                texts = [f"{e.max():8.2f} {e.mean():7.3f}" if e.size else f"{'-':>16}" for e in row]
                print(f"{name:12} {width:5} {label:16}", *(f"{text:>16}" for text in texts), flush=True)


if __name__ == "__main__":
    main()
