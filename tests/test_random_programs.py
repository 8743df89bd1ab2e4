"""Random programs: values and derivatives against an evaluator of their own, in mpmath with 40 digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import mpmath
import numpy as np
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

import gradlang as gl
from gradlang.plan import tiles

mp = mpmath.mp.clone()
mp.dps = 40
SIZES = {"M": 2, "N": 3}
Shape = tuple[str, ...]
S, V, U, A = (), ("N",), ("M",), ("M", "N")


@dataclass(frozen=True)
class Node:
    """A formula: its text over its arguments (`{0}`, `{1}`), and what it computes."""

    text: str
    run: Callable[..., Any]
    args: tuple[Any, ...] = ()  # nodes, or names


class TooNear(Exception):
    """The point lies near a kink, a pole or the end of the numbers: nothing is compared there."""


# ------------------------------------------------------------------ the meaning of formulas, on arrays of mpf
def each(f: Callable[..., Any]) -> Callable[..., Any]:
    ufunc = np.frompyfunc(f, f.__code__.co_argcount, 1)
    return lambda *args: ufunc(*args)


def apart(a: Any, b: Any) -> None:
    if abs(a - b) < 1e-6:
        raise TooNear


def _div(a: Any, b: Any) -> Any:
    if abs(b) < 0.05:
        raise TooNear
    return a / b


def _abs(a: Any) -> Any:
    apart(a, 0)
    return abs(a)


def _exp(a: Any) -> Any:
    if a > 6:
        raise TooNear
    return mp.exp(a)


def _max(a: Any, b: Any) -> Any:
    apart(a, b)
    return max(a, b)


def _min(a: Any, b: Any) -> Any:
    apart(a, b)
    return min(a, b)


def _less(a: Any, b: Any) -> Any:
    apart(a, b)
    return a < b


def _choose(c: Any, a: Any, b: Any) -> Any:
    return a if c else b


def _clip(a: Any) -> Any:
    apart(a, -1)
    apart(a, 2)
    return min(max(a, mp.mpf(-1)), mp.mpf(2))


def _log(a: Any) -> Any:
    return mp.log(1 + abs(_abs(a)))


def _tanh(a: Any) -> Any:
    return mp.tanh(a)


def _sin(a: Any) -> Any:
    return mp.sin(a)


def _root(a: Any) -> Any:
    return mp.sqrt(_abs(a) + 1)


def _sigmoid(a: Any) -> Any:
    return 1 / (1 + mp.exp(-a))


def _relu(a: Any) -> Any:
    return _max(a, mp.mpf(0))


def _softplus(a: Any) -> Any:
    return mp.log(1 + _exp(a))


def _sqrt(a: Any) -> Any:
    return mp.sqrt(a)


EXP, LOG, DIV, ABS, MAX, MIN, LESS, CHOOSE = map(each, (_exp, _log, _div, _abs, _max, _min, _less, _choose))
UNARY: dict[str, Callable[..., Any]] = {
    "-{0}": lambda a: -a,
    "({0})**2": lambda a: a * a,
    "({0})**3": lambda a: a * a * a,
    "tanh({0})": each(_tanh),
    "sin({0})": each(_sin),
    "exp({0})": EXP,
    "sqrt(abs({0}) + 1)": each(_root),
    "sigmoid({0})": each(_sigmoid),
    "relu({0})": each(_relu),
    "abs({0})": ABS,
    "softplus({0})": each(_softplus),
    "log(1 + exp({0}))": each(_softplus),
    "log(1 + abs({0}))": LOG,
    "clip({0}, -1, 2)": each(_clip),
    "1/(1 + exp(-({0})))": each(_sigmoid),
    "({0})*2 - 1": lambda a: a * 2 - 1,
    "max({0}, 0)": each(_relu),
    "sqrt(({0})**2)": ABS,
    "exp({0}) - 1": lambda a: EXP(a) - 1,
}
BINARY: dict[str, Callable[..., Any]] = {
    "{0} + {1}": lambda a, b: a + b,
    "{0} - {1}": lambda a, b: a - b,
    "{0}*{1}": lambda a, b: a * b,
    "{0}/{1}": DIV,
    "max({0}, {1})": MAX,
    "min({0}, {1})": MIN,
    "{0} - -{1}": lambda a, b: a + b,
    "hypot({0}, 1 + ({1})**2)": lambda a, b: each(_sqrt)(a * a + (1 + b * b) ** 2),
    "atan2({0}, 1 + abs({1}))": lambda a, b: np.frompyfunc(mp.atan2, 2, 1)(a, 1 + ABS(b)),
    "log(exp({0}) + exp({1}))": lambda a, b: np.frompyfunc(mp.log, 1, 1)(EXP(a) + EXP(b)),
    "(1 + ({0})**2)**tanh({1})": lambda a, b: (1 + a * a) ** each(_tanh)(b),
}
CHOICE: dict[str, Callable[..., Any]] = {
    "({2} if {0} < {1} else {3})": lambda a, b, c, d: CHOOSE(LESS(a, b), c, d),
    "where({0} > {1}, {2}, {3})": lambda a, b, c, d: CHOOSE(LESS(b, a), c, d),
    "({2} if {0} < 0.5 or not {1} < 0.25 else {3})": lambda a, b, c, d: CHOOSE(
        np.logical_or(LESS(a, mp.mpf(0.5)), ~np.asarray(LESS(b, mp.mpf(0.25)), bool)), c, d
    ),
}


def _total(a: Any, axis: Any = None) -> Any:
    return np.sum(a, axis=axis)


def _largest(a: Any, axis: int | None = None) -> Any:
    lines = [np.ravel(a)] if axis is None else np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis])
    for line in lines:
        top = sorted(line)
        apart(top[-1], top[-2])
    return np.max(a, axis=axis)


def _lse(a: Any, axis: Any = None) -> Any:
    return np.frompyfunc(mp.log, 1, 1)(np.sum(EXP(a), axis=axis))


def _soft(a: Any) -> Any:
    e = EXP(a)
    return e / np.sum(e, axis=-1, keepdims=True)


def _norm(a: Any, axis: Any = None) -> Any:
    out = np.sum(a * a, axis=axis)
    if np.min(out) < 1e-4:
        raise TooNear
    return each(_sqrt)(out)


def _spread(a: Any, axis: Any = None) -> Any:
    d = a - np.mean(a, axis=axis, keepdims=True)
    return _norm(d, axis) / mp.sqrt(d.size / (1 if axis is None else a.shape[1 - axis]))


# result shape -> (argument shapes, text, meaning); the sizes of those in LITERAL are numbers, which are no sizes by name
LITERAL = ("stack(", "[[2, 0, 0]]", "({0})[-2:]")
ARRAY: dict[Shape, list[tuple[tuple[Shape, ...], str, Callable[..., Any]]]] = {
    S: [
        ((V,), "sum({0})", _total),
        ((A,), "sum({0})", _total),
        ((A,), "mean({0})", lambda a: np.sum(a) / 6),
        ((V,), "max({0})", _largest),
        ((U,), "prod({0})", np.prod),
        ((V,), "prod({0})", np.prod),
        ((V,), "norm({0})", _norm),
        ((A,), "logsumexp({0})", _lse),
        ((V, V), "dot({0}, {1})", np.dot),
        ((U, A, V), "{0} @ {1} @ {2}", lambda a, b, c: a @ b @ c),
        ((V,), "({0})[1]", lambda a: a[1]),
        ((A,), "({0})[-1, 0]", lambda a: a[-1, 0]),
        ((V,), "std({0})", _spread),
        ((A, A), 'einsum("ij,ij->", {0}, {1})', lambda a, b: np.sum(a * b)),
        ((A,), "min({0})", lambda a: -_largest(-a)),
        ((V,), "sum(({0})[1:]*({0})[:-1])", lambda a: np.sum(a[1:] * a[:-1])),
    ],
    V: [
        ((A,), "sum({0}, axis=0)", lambda a: np.sum(a, 0)),
        ((A,), "max({0}, axis=0)", lambda a: _largest(a, 0)),
        ((V,), "({0})[::-1]", lambda a: a[::-1]),
        ((V,), "cumsum({0}, axis=0)", np.cumsum),
        ((V,), "softmax({0})", _soft),
        ((A,), "({0})[0]", lambda a: a[0]),
        ((U, A), "{0} @ {1}", lambda a, b: a @ b),
        ((V,), "roll({0}, 1)", lambda a: np.roll(a, 1)),
        ((V,), "concat([({0})[:1], ({0})[1:]*2])", lambda a: np.concatenate([a[:1], a[1:] * 2])),
        ((V,), "({0})[[2, 0, 0]]", lambda a: a[[2, 0, 0]]),
        ((V,), "cumprod({0}, axis=0)", np.cumprod),
        ((A,), "std({0}, axis=0)", lambda a: _spread(a, 0)),
        ((S, S, S), "stack([{0}, {1}, {2}])", lambda a, b, c: np.array([a, b, c], object)),
        ((A,), "mean({0}, axis=0)", lambda a: np.sum(a, 0) / 2),
    ],
    U: [
        ((A, V), "{0} @ {1}", lambda a, b: a @ b),
        ((A,), "sum({0}, axis=1)", lambda a: np.sum(a, 1)),
        ((A,), "logsumexp({0}, axis=-1)", lambda a: _lse(a, -1)),
        ((A,), "norm({0}, axis=1)", lambda a: _norm(a, 1)),
        ((A,), "({0})[:, 1]", lambda a: a[:, 1]),
        ((U,), "flip({0})", lambda a: a[::-1]),
        ((A,), "prod({0}, axis=1)", lambda a: np.prod(a, axis=1)),
        ((V,), "({0})[-2:]", lambda a: a[-2:]),
    ],
    A: [
        ((U, V), "outer({0}, {1})", np.outer),
        ((U, V), "({0})[:, None] + {1}", lambda a, b: a[:, None] + b),
        ((A,), "softmax({0})", _soft),
        ((A,), "({0})[::-1]", lambda a: a[::-1]),
        ((A, A, A), "{0} @ (({1}).T @ ({2}))", lambda a, b, c: a @ (b.T @ c)),
        ((V,), "stack([{0}, 2*{0}])", lambda a: np.stack([a, 2 * a])),
        ((A,), "({0}) - mean({0}, axis=1, keepdims=true)", lambda a: a - np.sum(a, axis=1, keepdims=True) / 3),
        ((A,), "cumsum({0}, axis=1)", lambda a: np.cumsum(a, 1)),
        ((V,), "broadcast_to({0}, [M, N])", lambda a: np.broadcast_to(a, (2, 3))),
        ((A,), "roll({0}, -1, axis=1)", lambda a: np.roll(a, -1, 1)),
    ],
}
NARROWER = {S: [S], V: [V, S], U: [U, S], A: [A, V, S]}


# ------------------------------------------------------------------ programs
@dataclass
class Program:
    inputs: dict[str, Shape]
    lines: list[tuple[str, Node]]
    shapes: dict[str, Shape]
    symbolic: bool

    def text(self) -> str:
        def dims(shape: Shape) -> str:
            return f" : [{', '.join(shape)}]" if shape else ""

        head = [f"input {n}{dims(s)}" for n, s in self.inputs.items()]
        out = "\n".join(head + [f"{n} = {show(node)}" for n, node in self.lines]) + "\n"
        for letter, size in () if self.symbolic else SIZES.items():
            out = out.replace(f"[{letter}", f"[{size}").replace(f", {letter}]", f", {size}]")
        return out

    def run(self, values: dict[str, Any]) -> Any:
        """The value of the last line. Raises TooNear where a comparison would say nothing."""
        known = dict(values)
        for name, node in self.lines:
            value = known[name] = evaluate(node, known)
            if max(map(abs, np.ravel(np.asarray(value, object)))) > 300:
                raise TooNear
        return known[self.lines[-1][0]]


def show(node: Any) -> str:
    """Every argument stands in parentheses unless it is a name: the text says what the tree is."""
    if isinstance(node, str):
        return node
    return node.text.format(*(a if isinstance(a, str) else f"({show(a)})" for a in node.args))


def evaluate(node: Any, known: dict[str, Any]) -> Any:
    if isinstance(node, str):
        return known[node]
    return node.run(*(evaluate(a, known) for a in node.args))


@st.composite
def programs(draw: Any, arrays: bool) -> Program:
    inputs: dict[str, Shape] = {"a": S, "b": S, "c": S}
    if arrays:
        inputs = {"a": S, "x": V, "z": V, "u": U, "w": A}
    shapes: dict[str, Shape] = dict(inputs)
    symbolic = arrays and draw(st.booleans())

    def number() -> Node:
        k = draw(st.sampled_from([0.5, 2.0, -1.5, 3.0, 0.1, 1.0]))
        return Node(f"{k!r}" if k > 0 else f"({k!r})", lambda: mp.mpf(k))

    def formula(shape: Shape, depth: int) -> Any:
        named = [n for n, s in shapes.items() if s == shape]
        kinds = ["name", "unary", "binary", "binary", "choice"] + ["array"] * (4 * arrays) + ["number"] * (not shape)
        kind = draw(st.sampled_from(kinds)) if depth else "name"
        if kind == "name":
            return draw(st.sampled_from(named))
        if kind == "number":
            return number()
        if kind == "unary":
            text = draw(st.sampled_from(list(UNARY)))
            return Node(text, UNARY[text], (formula(shape, depth - 1),))
        if kind == "binary":
            text = draw(st.sampled_from(list(BINARY)))
            pair = [shape, draw(st.sampled_from(NARROWER[shape]))]
            return Node(text, BINARY[text], tuple(formula(s, depth - 1) for s in draw(st.permutations(pair))))
        if kind == "choice":
            text = draw(st.sampled_from(list(CHOICE)))
            four = [draw(st.sampled_from(NARROWER[shape])) for _ in range(3)]
            return Node(text, CHOICE[text], (*(formula(s, depth - 1) for s in four), formula(shape, depth - 1)))
        args, text, run = draw(st.sampled_from([f for f in ARRAY[shape] if not (symbolic and any(t in f[1] for t in LITERAL))]))
        return Node(text, run, tuple(formula(s, depth - 1) for s in args))

    lines: list[tuple[str, Node]] = []
    for k in range(draw(st.integers(1, 5))):
        shape = draw(st.sampled_from([S, V, U, A])) if arrays else S
        made = formula(shape, draw(st.integers(1, 3)))
        lines.append((f"t{k}", made if isinstance(made, Node) else Node("{0}*1.5", lambda v: v * mp.mpf(1.5), (made,))))
        shapes[f"t{k}"] = shape
    ends = [n for n, _ in lines[-3:]]
    total = [f"sum({n}*{n})" if shapes[n] else n for n in ends]
    lines.append(("y", Node(" + ".join(total), lambda *v: sum((np.sum(e * e) if np.ndim(e) else e) for e in v), tuple(ends))))
    return Program(inputs, lines, shapes, symbolic)


def point(program: Program, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        n: np.round(rng.uniform(0.1, 1.6, [SIZES[d] for d in s]) * rng.choice([-1, 1], [SIZES[d] for d in s]), 6)
        for n, s in program.inputs.items()
    }


def exact(values: dict[str, Any]) -> dict[str, Any]:
    return {n: np.vectorize(lambda v: mp.mpf(float(v)), otypes=[object])(v)[()] for n, v in values.items()}


def near(got: Any, wanted: Any, scale: float) -> bool:
    return bool(np.all(np.abs(np.asarray(got, float) - np.asarray(wanted, float)) <= 1e-10 * scale))


def check(program: Program, seed: int) -> None:
    at = point(program, seed)
    high = exact(at)
    h = mp.mpf(10) ** -14
    rng = np.random.default_rng(seed + 1)
    along = {n: rng.uniform(-1, 1, v.shape) for n, v in at.items()}
    far = exact(along)
    try:
        value = program.run(high)
        slopes: dict[str, Any] = {}
        for n, v in at.items():
            slopes[n] = np.zeros(v.shape)
            for k in np.ndindex(v.shape):
                bump = np.zeros(v.shape, object)
                bump[k] = h
                up, down = (program.run({**high, n: np.asarray(high[n] + s * bump, object)[()]}) for s in (1, -1))
                slopes[n][k] = float((up - down) / (2 * h))
        up, down = (program.run({n: v + s * h * far[n] for n, v in high.items()}) for s in (1, -1))
        curve = float((up - 2 * value + down) / h**2)
    except (TooNear, ZeroDivisionError, OverflowError):
        assume(False)
        return
    size = float(max(1, *(np.max(np.abs(v)) for v in slopes.values()), abs(value), abs(curve)))
    assume(size < 1e4)
    model = gl.loads(program.text())
    got, grads = model.value_and_grad("y", wrt=list(at))(at)
    assert near(got, value, size), (program.text(), at, got, float(value))
    for n in at:
        assert np.shape(grads[n]) == at[n].shape
        assert near(grads[n], slopes[n], 10 * size), (program.text(), at, n, grads[n], slopes[n])
    with patch.multiple(tiles, LEAST=1, INNER=0):  # memory is planned for all arrays
        again, others = model.value_and_grad("y", wrt=list(at), backend="numpy")(at)
    assert near(again, value, size) and all(near(others[n], slopes[n], 10 * size) for n in at), (program.text(), at, others)
    pushed = model.jvp("y", wrt=list(at))(along, at)[1]
    assert near(pushed, sum(np.sum(slopes[n] * along[n]) for n in at), 100 * size), (program.text(), at, pushed)
    product = model.hvp("y", wrt=list(at))(along, at)[1]
    assert near(sum(np.sum(product[n] * along[n]) for n in at), curve, 1000 * size), (program.text(), at, product, curve)
    event("compared")


QUIET = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": [Phase.generate, Phase.shrink],
    "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
}


@given(programs(arrays=False), st.integers(0, 2**32 - 1))
@settings(max_examples=120, **QUIET)
def test_scalar_programs(program: Program, seed: int) -> None:
    check(program, seed)


@given(programs(arrays=True), st.integers(0, 2**32 - 1))
@settings(max_examples=300, **QUIET)
def test_array_programs(program: Program, seed: int) -> None:
    check(program, seed)
