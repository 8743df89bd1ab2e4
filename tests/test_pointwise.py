"""Pointwise ops, every one of the table: plain floats against arrays, values and partials against mpmath, broadcasting,
operators as in Python, single precision."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest

import gradlang as gl
from gradlang.ops.op import Op
from gradlang.ops.table import builtin

mp = mpmath.mp.clone()
mp.dps = 40

OPS = [op for op in map(builtin().__getitem__, builtin()) if op.pointwise and "marker" not in op.flags]
REAL = [op for op in OPS if not op.flags & {"predicate", "logical", "choice", "cast"}]
SMOOTH = [op for op in REAL if op.kind != "constant"]
EPS = 2.0**-52


def by_name(ops: list[Op]) -> Any:
    return pytest.mark.parametrize("op", ops, ids=lambda op: op.name)


def boxes(op: Op) -> list[dict[str, tuple[float, float]]]:
    return [d.bounds for d in op.domains] or [dict.fromkeys(op.params, (-3.0, 3.0))]


def spread_over(low: float, high: float, u: np.ndarray) -> np.ndarray:
    """Points of [low, high]; evenly on a logarithmic scale where the ends are far apart."""
    if low > 0 and high / low > 1e4:
        return np.exp(np.log(low) + u * (np.log(high) - np.log(low)))
    if low < 0 < high and high > 1e4:
        return np.sign(u - 0.5) * np.exp(np.abs(2 * u - 1) * np.log(high))
    return low + u * (high - low)


def points(op: Op, bounds: dict[str, tuple[float, float]], n: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(sum(map(ord, op.name)))
    out = {p: spread_over(*bounds.get(p, (0.1, 3.0)), rng.uniform(0, 1, n)) for p in op.params}
    return {p: np.clip(x, *bounds[p]) if p in bounds else x for p, x in out.items()}


@cache
def model(name: str, params: tuple[str, ...], shape: str, dtype: str = "float64") -> gl.Model:
    return gl.loads(
        f"input {', '.join('v_' + p for p in params)}{shape}\ny = {name}({', '.join('v_' + p for p in params)})\n", dtype=dtype
    )


def named(at: dict[str, Any]) -> dict[str, Any]:
    return {"v_" + p: v for p, v in at.items()}


def floats(at: dict[str, np.ndarray], k: int) -> dict[str, float]:
    return {p: float(v[k]) for p, v in at.items()}


def same(got: Any, wanted: Any, ulps: float) -> None:
    """Equal within some units in the last place, counted at the largest of the values."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    assert got.shape == wanted.shape
    with np.errstate(invalid="ignore"):
        near = np.abs(got - wanted) <= ulps * EPS * np.abs(wanted) + 5e-324
        fine = (got == wanted) | (np.isnan(got) & np.isnan(wanted)) | near
    assert fine.all(), (got[~fine], wanted[~fine])


# ------------------------------------------------------------------ plain floats and arrays
def tolerance(op: Op) -> float:
    """Elementary functions of two libraries differ by a few units; entries that are long formulas of them by some more."""
    return 8 if op.value is None else 64


@by_name(REAL)
def test_arrays_and_floats_agree(op: Op) -> None:
    for bounds in boxes(op):
        at = points(op, bounds)
        alone, many = model(op.name, op.params, ""), model(op.name, op.params, " : [N]")
        got = many.function("y")(named(at))
        assert got.dtype == np.float64
        f = alone.function("y")
        wanted = [f(named(floats(at, k))) for k in range(len(got))]
        assert {type(v) for v in wanted} == {float}
        same(got, wanted, tolerance(op))


@by_name(SMOOTH)
def test_derivatives_of_arrays_and_floats_agree(op: Op) -> None:
    for bounds in boxes(op):
        at = points(op, bounds)
        wrt = ["v_" + p for p in op.params if p in op.partials and (op.name, p) != ("polygamma", "n")]
        one = model(op.name, op.params, "").value_and_grad("y", wrt=wrt)
        many = model(op.name, op.params, " : [N]")
        n = len(at[op.params[0]])
        slopes = [one(named(floats(at, k)))[1] for k in range(n)]
        # in machine code cancelling sums keep other digits: its tests have bounds of their own
        pulled = many.vjp("y", wrt=wrt, backend="numpy")(np.ones(n), named(at))[1]
        for w in wrt:
            same(pulled[w], [s[w] for s in slopes], 4 * tolerance(op))
            same(many.jvp("y", wrt=w, backend="numpy")(np.ones(n), named(at))[1], pulled[w], 4 * tolerance(op))


@by_name([op for op in OPS if op.flags & {"predicate"}])
def test_comparisons(op: Op) -> None:
    ref = {
        "less": np.less,
        "less_equal": np.less_equal,
        "greater": np.greater,
        "greater_equal": np.greater_equal,
        "equal": np.equal,
        "not_equal": np.not_equal,
    }[op.name]
    values = [-math.inf, -1.0, -0.0, 0.0, 2.0, math.inf, math.nan]
    a, b = (np.array(v) for v in zip(*itertools.product(values, values), strict=True))
    got = model(op.name, op.params, " : [N]")(v_a=a, v_b=b)
    assert got.dtype == bool
    assert got.tolist() == ref(a, b).tolist()
    f = model(op.name, op.params, "").function("y")
    assert [bool(f(v_a=x, v_b=y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)] == ref(a, b).tolist()


# ------------------------------------------------------------------ against mpmath
def _relu(x: Any) -> Any:
    return x if x > 0 else mp.mpf(0)


def _elu(x: Any) -> Any:
    return x if x > 0 else mp.expm1(x)


def _leaky(x: Any) -> Any:
    return x if x > 0 else x * mp.mpf(0.01)


def _phi(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _quantile(p: Any) -> Any:
    start = math.sqrt(-2 * math.log(min(float(p), 1 - float(p)))) if p < 0.02 or p > 0.98 else 0.0
    return mp.findroot(lambda x: _phi(x) - p, math.copysign(start, float(p) - 0.5), tol=1e-70)


REFERENCE: dict[str, Callable[..., Any]] = {
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": mp.log1p,
    "log2": lambda x: mp.log(x, 2),
    "log10": mp.log10,
    "sqrt": mp.sqrt,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "square": lambda x: x * x,
    "abs": abs,
    "sin": mp.sin,
    "cos": mp.cos,
    "tan": mp.tan,
    "asin": mp.asin,
    "acos": mp.acos,
    "atan": mp.atan,
    "atan2": mp.atan2,
    "sinh": mp.sinh,
    "cosh": mp.cosh,
    "tanh": mp.tanh,
    "asinh": mp.asinh,
    "acosh": mp.acosh,
    "atanh": mp.atanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
    "relu": _relu,
    "elu": _elu,
    "leaky_relu": _leaky,
    "gelu": lambda x: x * _phi(x),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "norm_cdf": _phi,
    "norm_pdf": mp.npdf,
    "norm_ppf": _quantile,
    "erfinv": mp.erfinv,
    "logit": lambda p: mp.log(p) - mp.log1p(-p),
    "lgamma": mp.loggamma,
    "digamma": mp.digamma,
    "polygamma": lambda n, x: mp.polygamma(int(n), x),
    "betaln": lambda a, b: mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b),
    "minimum": min,
    "maximum": max,
    "clip": lambda x, low, high: min(max(x, low), high),
    "hypot": mp.hypot,
    "logaddexp": lambda a, b: mp.log(mp.exp(a) + mp.exp(b)),
    "xlogy": lambda x, y: x * mp.log(y),
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda x: -x,
    "mod": lambda a, b: a - b * mp.floor(a / b),
    "pow": lambda a, b: a**b,
}

# Where the general box is large, points at which an absolute accuracy can be asked for as well.
NEAR = {
    "sqrt": [0.25, 3.7],
    "tan": [0.5, 4.0],
    "exp": [-3.0, 2.5],
    "sinh": [-0.3, 2.0],
    "cosh": [-0.3, 2.0],
    "lgamma": [0.3, 4.5],
    "digamma": [0.3, 4.5],
    "norm_ppf": [0.02, 0.3, 0.77],
    "erfinv": [-0.8, 0.1, 0.9],
    "logit": [0.1, 0.8],
    "acosh": [1.2, 7.0],
    "log": [0.2, 9.0],
    "log2": [0.2, 9.0],
    "log10": [0.2, 9.0],
    "log1p": [-0.5, 3.0],
    "asin": [-0.7, 0.3],
    "acos": [-0.7, 0.3],
    "atanh": [-0.7, 0.3],
}
PAIRS = {
    "pow": [(0.3, 1.7), (2.0, -0.5), (5.0, 3.0)],
    "mod": [(7.5, 2.0), (-1.5, 4.0)],
    "polygamma": [(1.0, 2.5), (2.0, 0.7)],
    "betaln": [(0.4, 2.0), (3.0, 5.5)],
    "xlogy": [(0.7, 3.0), (2.0, 0.1)],
    "atan2": [(1.0, -2.0), (-0.5, 0.25)],
    "clip": [(0.5, -1.0, 2.0), (-3.0, -1.0, 2.0), (9.0, -1.0, 2.0)],
}
VOCABULARY = """exp expm1 log log1p log2 log10 sqrt cbrt square abs sign floor ceil round sin cos tan asin acos atan atan2 sinh
    cosh tanh asinh acosh atanh sigmoid log_sigmoid relu leaky_relu elu gelu silu softplus erf erfc erfinv norm_cdf norm_pdf
    norm_ppf logit lgamma digamma polygamma betaln minimum maximum clip hypot logaddexp xlogy where""".split()


def test_the_vocabulary_is_there() -> None:
    assert [n for n in VOCABULARY if n not in builtin()] == []
    assert [n for n in VOCABULARY if n not in REFERENCE and n not in ("sign", "floor", "ceil", "round", "where")] == []


def trials(name: str) -> list[tuple[float, ...]]:
    if name in PAIRS:
        return PAIRS[name]
    if len(builtin()[name].params) == 2:
        return [(0.4, 1.3), (-2.0, 0.7), (1.5, -0.6)]
    return [(x,) for x in NEAR.get(name, [-1.7, -0.4, 0.3, 2.2])]


@pytest.mark.parametrize("name", [n for n in REFERENCE if n in builtin()])
@pytest.mark.parametrize("shape", ["", " : [1]"])
def test_value_and_partials_are_those_of_mpmath(name: str, shape: str) -> None:
    params = builtin()[name].params
    m = model(name, params, shape)
    wrt = ["v_" + p for k, p in enumerate(params) if not (name == "polygamma" and k == 0)]
    pull = m.vjp("y", wrt=wrt)
    for at in trials(name):
        one = np.ones(1) if shape else 1.0
        value, slopes = pull(one, {"v_" + p: (np.array([x]) if shape else x) for p, x in zip(params, at, strict=True)})
        exact = [mp.mpf(x) for x in at]
        wanted = REFERENCE[name](*exact)
        assert abs(np.ravel(value)[0] - float(wanted)) <= 1e-14 * max(1, abs(wanted)), (name, at)
        for k, p in enumerate(params):
            if "v_" + p in wrt:

                def along(t: Any, k: int = k, exact: list[Any] = exact) -> Any:
                    return REFERENCE[name](*exact[:k], t, *exact[k + 1 :])

                slope = mp.diff(along, exact[k])
                assert abs(np.ravel(slopes["v_" + p])[0] - float(slope)) <= 2e-14 * max(1, abs(slope)), (name, at, p)


@pytest.mark.parametrize("name", [n for n in REFERENCE if n in builtin() and n not in ("polygamma",)])
def test_second_derivatives_are_those_of_mpmath(name: str) -> None:
    params = builtin()[name].params
    m = model(name, params, "")
    wrt = ["v_" + p for p in params]
    product = m.hvp("y", wrt=wrt)
    for at in trials(name):
        exact = [mp.mpf(x) for x in at]
        for j, q in enumerate(wrt):
            got = product({w: float(w == q) for w in wrt}, dict(zip(wrt, at, strict=True)))[1]
            for i, p in enumerate(wrt):
                order = tuple((1 if i != j else 2) if k in (i, j) else 0 for k in range(len(params)))
                slope = mp.diff(REFERENCE[name], tuple(exact), order)
                assert abs(got[p] - float(slope)) <= 1e-12 * max(1, abs(slope)), (name, at, p, q)


# ------------------------------------------------------------------ rounding to whole numbers, signs
@pytest.mark.parametrize("name", ["floor", "ceil", "round", "sign"])
def test_whole_numbers(name: str) -> None:
    x = np.array([-2.5, -1.5, -1.2, -0.5, -0.0, 0.0, 0.3, 0.5, 1.5, 2.5, 3.0, 1e300, -1e300])
    ref = {"floor": np.floor, "ceil": np.ceil, "round": np.round, "sign": np.sign}[name]
    got = model(name, ("x",), " : [N]")(v_x=x)
    f = model(name, ("x",), "").function("y")
    for have in (got, [f(v_x=v) for v in x.tolist()]):
        assert np.array_equal(have, ref(x))
        assert name == "sign" or np.array_equal(np.signbit(have), np.signbit(ref(x)))
    assert model(name, ("x",), "").value_and_grad("y")(v_x=0.3)[1] == {"v_x": 0.0}


@pytest.mark.parametrize(
    "name", ["floor", "ceil", "round", "sign", "exp", "abs", "sqrt", "tanh", "sigmoid", "relu", "softplus"]
)
@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan])
def test_infinities_and_nan(name: str, x: float) -> None:
    got = float(model(name, ("x",), " : [N]")(v_x=[x])[0])
    alone = model(name, ("x",), "").function("y")(v_x=x)
    assert type(alone) is float
    wanted = {
        "exp": np.exp,
        "sqrt": np.sqrt,
        "tanh": np.tanh,
        "abs": np.abs,
        "sign": np.sign,
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "relu": lambda v: np.maximum(v, 0),
        "softplus": lambda v: np.logaddexp(v, 0),
    }.get(name, lambda v: v)
    with np.errstate(all="ignore"):
        same([got, alone], [wanted(x)] * 2, 0)


@pytest.mark.parametrize(
    ("formula", "x"),
    [
        ("1/x", 0.0),
        ("log(x)", 0.0),
        ("x/x", 0.0),
        ("exp(x)", 1e4),
        ("log(x)", -1.0),
        ("x**-1", 0.0),
        ("sqrt(x)", -1.0),
        ("x**0.5", -1.0),
        ("1e308*x", 100.0),
        ("x % 0.0", 1.0),
        ("x**99", 1e10),
        ("lgamma(x)", 0.0),
        ("atanh(x)", 1.0),
        ("acos(x)", 2.0),
        ("sinh(x)", -1e4),
        ("tan(x)", math.inf),
        ("x - x", math.inf),
        ("sin(x)", math.inf),
    ],
)
def test_floats_do_not_stop_where_arrays_go_on(formula: str, x: float) -> None:
    """What Python raises for, IEEE arithmetic has a value for: both kinds of program give that value."""
    alone = gl.loads(f"input x\ny = {formula}").value_and_grad("y")(x=x)
    many = gl.loads(f"input x : [N]\nz = {formula}\ny = sum(z)").value_and_grad("y")(x=[x])
    same(alone[0], many[0], 2)
    same([alone[1]["x"]], many[1]["x"], 4)


# ------------------------------------------------------------------ broadcasting
SHAPES = [
    ("[N, D]", "[D]"),
    ("[N, D]", "[]"),
    ("[]", "[N, D]"),
    ("[D]", "[N, D]"),
    ("[N, D]", "[1, D]"),
    ("[N, D]", "[N, 1]"),
    ("[N, 1]", "[D]"),
    ("[N, 1]", "[1, D]"),
    ("[1]", "[N, D]"),
    ("[1, 1]", "[D]"),
    ("[N, D]", "[1, 1]"),
    ("[]", "[]"),
    ("[N]", "[]"),
    ("[]", "[1]"),
]
TWO = {
    "a + b": (np.add, lambda a, b: (1 + 0 * a, 1 + 0 * b)),
    "a - b": (np.subtract, lambda a, b: (1 + 0 * a, -1 + 0 * b)),
    "a*b": (np.multiply, lambda a, b: (b, a)),
    "a/b": (np.divide, lambda a, b: (1 / b, -a / b**2)),
    "a**b": (np.power, lambda a, b: (b * a ** (b - 1), a**b * np.log(a))),
    "atan2(a, b)": (np.arctan2, lambda a, b: (b / (a * a + b * b), -a / (a * a + b * b))),
    "max(a, b)": (np.maximum, lambda a, b: (1.0 * (a > b), 1.0 * (b > a))),
    "where(a > b, a*b, b)": (
        lambda a, b: np.where(a > b, a * b, b),
        lambda a, b: (np.where(a > b, b, 0.0), np.where(a > b, a, 1.0)),
    ),
}


def array_of(shape: str, seed: int) -> np.ndarray:
    dims = [int({"N": 4, "D": 3}.get(d, d)) for d in shape.strip("[]").split(", ") if d]
    return np.random.default_rng(seed).uniform(0.2, 2.0, dims)


@pytest.mark.parametrize("formula", TWO)
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_gradients_of_stretched_operands(formula: str, left: str, right: str) -> None:
    ref, partials = TWO[formula]
    m = gl.loads(
        "\n".join(f"input {n}{f' : {s}' if s != '[]' else ''}" for n, s in (("a", left), ("b", right))) + f"\ny = {formula}\n"
        "z = a + b\nw = sum(z)"
    )
    a, b = array_of(left, 1), array_of(right, 2)
    wanted = np.asarray(ref(a, b))
    u = np.random.default_rng(3).standard_normal(wanted.shape)
    value, got = m.vjp("y", wrt=["a", "b"])(u, a=a, b=b)
    same(value, wanted, 8)
    for name, given, p in zip("ab", (a, b), partials(*np.broadcast_arrays(a, b)), strict=True):
        full = u * p
        lead = full.ndim - given.ndim
        summed = full.sum(axis=tuple(range(lead)))
        summed = summed.sum(axis=tuple(k for k, d in enumerate(given.shape) if d == 1), keepdims=True)
        assert np.shape(got[name]) == given.shape
        np.testing.assert_allclose(got[name], summed, rtol=1e-13, atol=1e-15)


def test_three_operands_of_three_shapes() -> None:
    m = gl.loads("input c : [N]\ninput a : [3]\ninput b\ny = sum(where(c[:, None] > 0, a, b)*[1, 2, 3])")
    value, grads = m.value_and_grad("y", wrt=["a", "b"])(c=[1, -1, 2, 0], a=[1, 10, 100], b=7)
    assert value == 2 * 321 + 2 * 42
    assert grads["a"].tolist() == [2, 4, 6]
    assert grads["b"] == 12


# ------------------------------------------------------------------ operators are Python's
SCALARS = {"a": 1.5, "b": -2.25, "c": 3.0, "d": 0.375}
FIXED = [
    "-2**2",
    "-a**2",
    "2**-1",
    "-2**-2",
    "2**3**2",
    "a**2**0.5",
    "-a**2*b",
    "a**-b",
    "(-a)**2",
    "--a",
    "-(-a)",
    "a - b - c",
    "a - (b - c)",
    "a/b/c",
    "a/b*c",
    "a*b/c*d",
    "a - b + c",
    "a // d // c",
    "a*b % c",
    "a % b*c",
    "a // b*c",
    "-a // c",
    "-(a // c)",
    "-a % c",
    "a % -c",
    "-7 // 2",
    "7 // -2",
    "-7 % 3",
    "7 % -3",
    "7.5 // 2",
    "-7.5 % 2",
    "2*3 % 4",
    "1 - 2 - 3",
    "2/4/8",
    "7 // 2*2 + 7 % 2",
    "1_000 + 1e3",
    ".5 + 1.",
    "1 if a < c else 2",
    "1 if a > c else 2 if b > a else 3",
    "(1 if a > c else 2) if b < a else 3",
    "a if a > b else c if c > d else d",
    "a + b if a < b else a - b",
    "a*(b if b > 0 else -b)",
    "-a if a > 0 else a",
    "abs(-a**2)",
    "max(a, b, c) - min(a, b, c, d)",
    "a**2 + b**3 - c**-2",
    "2**0.5*2**0.5",
    "10**3 % 7",
    "0**0",
    "a**0",
    "3 - -a",
    "3*-a",
    "2**-a",
    "a - -b**2",
    "1e-3*1e3",
    "5 // 1",
    "5.0 % 1.5",
    "a//d",
    "a%d",
]
BOOLEAN = [
    "a < b < c",
    "b < a < c",
    "a < c > b",
    "a < c == c",
    "a == a == a",
    "a != b != a",
    "b <= b < a",
    "not a < b",
    "not not a < b",
    "not a < b and b < c",
    "not (a < b and b < c)",
    "a < b or b < c and c < d",
    "(a < b or b < c) and c < d",
    "a < b and b < c or b < c",
    "not a < b or a < c",
    "a + b < c * d",
    "a < b + 3*c",
    "-a < b",
    "a ** 2 > 2 * a",
    "a > b and a > c or a > d and not a == c",
    "1 < 2 < 3",
    "1 < 3 < 2",
    "not 1 < 2",
    "a != a or a == a",
    "a < 2 and a > 1",
]


@pytest.mark.parametrize("formula", dict.fromkeys(FIXED))
def test_arithmetic_has_pythons_precedence(formula: str) -> None:
    wanted = eval(formula, {"__builtins__": {}, "abs": abs, "max": max, "min": min}, SCALARS)
    heads = "".join(f"input {n}\n" for n in SCALARS)
    same(gl.loads(heads + f"y = {formula}\nz = a + b + c + d").function("y")(SCALARS), float(wanted), 2)
    wide = heads.replace("\n", " : [2]\n")
    got = gl.loads(
        wide + f"y = {formula} + 0*a\nz = a + b + c + d"
        if " if " not in formula
        else wide + f"y = ({formula}) + 0*a\nz = a + b + c + d"
    ).function("y")({n: [v, v] for n, v in SCALARS.items()})
    same(got, [float(wanted)] * 2, 2)


@pytest.mark.parametrize("formula", dict.fromkeys(BOOLEAN))
def test_conditions_have_pythons_precedence(formula: str) -> None:
    heads = "".join(f"input {n}\n" for n in SCALARS)
    program = f"y = 1 if {formula} else 0\nq = {formula}\nz = a + b + c + d"
    for values in itertools.islice(itertools.permutations(SCALARS.values()), 0, 24, 5):
        at = dict(zip(SCALARS, values, strict=True))
        wanted = bool(eval(formula, {"__builtins__": {}}, at))
        m = gl.loads(heads + program)
        assert m.function("y")(at) == wanted
        assert bool(m.function("q")(at)) is wanted
        many = gl.loads(heads.replace("\n", " : [2]\n") + program.replace("1 if", "a*0 + 1 if").replace("else 0", "else 0*a"))
        assert many.function("y")({n: [v, v] for n, v in at.items()}).tolist() == [wanted] * 2


def flat(rng: random.Random) -> str:
    """Operands and operators without parentheses; exponents are small whole numbers."""
    words = []
    for k in range(rng.randint(2, 6)):
        if k:
            words.append(rng.choice(["+", "-", "*", "/", "//", "%", "-", "*"]))
        words.append(
            rng.choice(["", "", "", "-", "-"])
            + rng.choice(["a", "b", "c", "d", "2", "0.75", "3.5", "7"])
            + rng.choice(["", "", "", "**2", "**-1", "**3", "**2**2", "**-2"])
        )
    return " ".join(words)


def condition(rng: random.Random) -> str:
    parts = []
    for k in range(rng.randint(1, 4)):
        if k:
            parts.append(rng.choice(["and", "or"]))
        chain = [flat(rng)]
        for _ in range(rng.randint(1, 3)):
            chain += [rng.choice(["<", "<=", ">", ">=", "==", "!="]), flat(rng)]
        parts.append(rng.choice(["", "", "not ", "not not "]) + " ".join(chain))
    return " ".join(parts)


@pytest.mark.parametrize("seed", range(12))
def test_random_operators(seed: int) -> None:
    rng = random.Random(seed)
    texts = [flat(rng) for _ in range(12)] + [
        f"{flat(rng)} if {condition(rng)} else {flat(rng)} if {condition(rng)} else {flat(rng)}" for _ in range(8)
    ]
    values = {n: rng.choice([-1, 1]) * rng.choice([0.5, 1.25, 2.0, 3.0, 1.7]) for n in "abcd"}
    program = "".join(f"input {n}\n" for n in values) + "".join(f"y{k} = {t}\n" for k, t in enumerate(texts))
    out = gl.loads(program).function([f"y{k}" for k in range(len(texts))])(values)
    many = gl.loads(program.replace("\n", " : [2]\n", 4)).function([f"y{k}" for k in range(len(texts))])(
        {n: [v, v] for n, v in values.items()}
    )
    for k, text in enumerate(texts):
        wanted = float(eval(text, {"__builtins__": {}}, values))
        assert out[f"y{k}"] == pytest.approx(wanted, rel=1e-12, abs=1e-12), text
        assert np.ravel(many[f"y{k}"])[-1] == pytest.approx(wanted, rel=1e-12, abs=1e-12), text


SIGNED = [-1e300, -7.5, -3.0, -2.0, -0.1, -1e-20, 1e-20, 0.1, 0.3, 2.0, 3.0, 7.5, 1e300]


def test_remainders_are_pythons() -> None:
    a, b = (np.array(v) for v in zip(*itertools.product([*SIGNED, 0.0, -0.0], SIGNED), strict=True))
    alone, many = (gl.loads(f"input a, b{shape}\nq = a // b\nr = a % b") for shape in ("", " : [N]"))
    arrays = many(a=a, b=b)
    for k, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        one = alone(a=x, b=y)
        for name, wanted in (("q", x // y), ("r", x % y)):
            same([one[name], arrays[name][k]], [wanted, wanted], 0)
            assert math.copysign(1, one[name]) == math.copysign(1, wanted)


def test_a_mask_counts_as_zero_or_one() -> None:
    m = gl.loads("input x : [N]\nm = x > 0\ny = sum(m*x) + sum(m) + (x[0] > 1) + 2*(x[1] < 0) - -(x[2] == 0)\nz = sum(m + m)")
    value, grads = m.value_and_grad("y")(x=[2, -1, 0, 3])
    assert value == 5 + 2 + 1 + 2 + 1
    assert grads["x"].tolist() == [1, 0, 0, 1]
    assert m.function("z")(x=[2, -1, 0, 3]) == 4


# ------------------------------------------------------------------ single precision
@by_name(REAL)
def test_single_precision_stays_single(op: Op) -> None:
    bounds = next((b for b in boxes(op) if all(1e-30 < abs(e) < 1e30 or e == 0 for pair in b.values() for e in pair)), None)
    at = {p: v.astype(np.float32) for p, v in points(op, bounds or dict.fromkeys(op.params, (0.25, 0.75)), 8).items()}
    single, double = (model(op.name, op.params, " : [N]", dtype) for dtype in ("float32", "float64"))
    got, wanted = single(named(at)), double(named(at))
    assert got.dtype == np.float32
    if op.kind == "constant":
        return
    with np.errstate(all="ignore"):
        fine = np.abs(wanted) < 1e30
        assert fine.any()
        np.testing.assert_allclose(got[fine], wanted[fine], rtol=1e-4, atol=1e-5)
    wrt = ["v_" + p for p in op.params if (op.name, p) != ("polygamma", "n")]
    ones = np.ones(8)
    back, front = single.vjp("y", wrt=wrt)(ones, named(at)), single.jvp("y", wrt=wrt)(dict.fromkeys(wrt, ones), named(at))
    assert {back[0].dtype, front[0].dtype, front[1].dtype, *(v.dtype for v in back[1].values())} == {np.dtype(np.float32)}


def test_single_precision_is_single_arithmetic() -> None:
    text = "input x : [N]\ninput z : [N]\ny = (x*z + x/3 - 0.1)*z - x*1e-3\nloss = sum(y*y)"
    x, z = (np.random.default_rng(k).standard_normal(50).astype(np.float32) for k in (1, 2))
    m = gl.loads(text, dtype="float32")
    f = np.float32
    wanted = (x * z + x / f(3) - f(0.1)) * z - x * f(1e-3)
    got = m.function("y")(x=x, z=z)
    assert got.dtype == np.float32
    assert np.array_equal(got, wanted)
    value, grads = m.value_and_grad("loss")(x=x.astype(float), z=z.tolist())
    assert {g.dtype for g in grads.values()} == {np.dtype(np.float32)}
    assert float(value) == float(np.sum(wanted * wanted))
    exact = gl.loads(text).value_and_grad("loss")(x=x, z=z)[1]
    for n in "xz":
        np.testing.assert_allclose(grads[n], exact[n], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "formula",
    [
        "sum(x)/N",
        "mean(x, axis=0)",
        "var(x)",
        "std(x)",
        "softmax(x)",
        "x @ x.T",
        "cumsum(x, axis=0)",
        "prod(x)",
        "x*[1, 2]",
        "x*eye(2)[0]",
        "x + linspace(0, 1, 2)",
        "x*arange(2)",
        "logsumexp(x, axis=1)",
        "norm(x)",
        "where(x > 0, x, 1)",
        "pad(x, 1)",
        "x[[0, 0, 1]]",
        "sort(x)",
        "concat([x, zeros([1, 2])])",
        "x*(x > 0)",
        'einsum("ij,ij->i", x, x)',
        "cross_entropy(x, x)",
        "x**2.5",
        "x*0.1 + pi",
        "max(x, axis=1)",
        "x*N",
        "clip(x, 0, 1)",
    ],
)
def test_single_precision_of_array_functions(formula: str) -> None:
    text = f"input x : [N, 2]\ny = {formula}\nloss = sum(y)\n"
    x = np.array([[0.5, 0.25], [0.75, 1.5], [2, 0.125]])
    m = gl.loads(text, dtype="float32")
    out = np.asarray(m.function("y")(x=x))
    _, grads = m.value_and_grad("loss")(x=x)
    assert grads["x"].dtype == np.float32
    if out.shape:
        assert out.dtype == np.float32
    double = gl.loads(text)
    np.testing.assert_allclose(out, double.function("y")(x=x), rtol=1e-5)
    np.testing.assert_allclose(grads["x"], double.value_and_grad("loss")(x=x)[1]["x"], rtol=1e-4, atol=1e-6)
    product = m.hvp("loss", wrt="x")(np.ones((3, 2)), x=x)[1]
    assert product.dtype == np.float32


@pytest.mark.parametrize("formula", ["x*0.1 + 1/3", "exp(x)/3", "x**2.5", "sigmoid(x) - 0.1"])
def test_single_precision_of_scalars(formula: str) -> None:
    value, grads = gl.loads(f"input x\ny = {formula}", dtype="float32").value_and_grad("y")(x=0.7)
    assert float(value) == float(np.float32(value))
    assert float(grads["x"]) == float(np.float32(grads["x"]))
    exact = gl.loads(f"input x\ny = {formula}").value_and_grad("y")(x=0.7)
    assert float(value) == pytest.approx(exact[0], rel=1e-6)
    assert float(grads["x"]) == pytest.approx(exact[1]["x"], rel=1e-5)
