"""Random comprehensions and recurrences, built as text that Python can run too: both must say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from loopcheck import close, difference

import gradlang as gl

QUIET = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": [Phase.generate, Phase.shrink],
    "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
}
LENGTH, WIDTH = 5, 3


def prod(terms: Any) -> Any:
    return math.prod(terms)


def logsumexp(terms: Any) -> Any:
    terms = list(terms)
    return np.log(sum(np.exp(v) for v in terms)) if terms else -np.inf


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


PYTHON = {
    "sin": np.sin, "tanh": np.tanh, "exp": np.exp, "prod": prod, "logsumexp": logsumexp, "sigmoid": sigmoid,
    "sqrt": np.sqrt, "mean": lambda terms: np.mean(list(terms)),
}  # fmt: skip
LEAVES = "x : [N]\nz : [N]\nA : [N, K]\np : int[N]\ninput a\n"


@dataclass(frozen=True)
class Text:
    """A program; `y` is its result. The same lines are Python where `head` stands for the leaves."""

    lines: tuple[str, ...]
    first: tuple[str, ...] = ()  # of a recurrence: Python's lines that make the sequence

    def program(self) -> str:
        return LEAVES + "\n".join(self.lines) + "\n"

    def run(self, values: dict[str, Any]) -> Any:
        names: dict[str, Any] = {**PYTHON, "N": LENGTH, "K": WIDTH, **values}
        exec("\n".join(self.first or self.lines), names)
        return np.asarray(names["y"], float)


def entries(draw: Any, scope: dict[str, tuple[int, int]]) -> str:
    """A read of an array at an index that is inside for every count of the loops around; `scope` has their bounds."""
    name = draw(st.sampled_from(["x", "z", "A"]))

    def index(size: int, text: str) -> str:
        options = ["0", f"{text}-1", "-1"]
        for i, (low, high) in scope.items():
            if high < size:
                options += [i] * 3
            options += [f"{i}{s:+d}" for s in (-1, 1) if low + s >= 0 and high + s < size]
            if size - 1 >= high and low >= 0:
                options.append(f"{text}-1-{i}")
            if size == LENGTH and high < size and low >= 0:
                options += [f"p[{i}]", f"({i}+2) % N"]
        return draw(st.sampled_from(options))

    if name == "A":
        return f"A[{index(LENGTH, 'N')}, {index(WIDTH, 'K')}]"
    return f"{name}[{index(LENGTH, 'N')}]"


def ranges(draw: Any, scope: dict[str, tuple[int, int]]) -> tuple[str, tuple[int, int]]:
    options = [
        ("range(N)", (0, 4)),
        ("range(K)", (0, 2)),
        ("range(1, N)", (1, 4)),
        ("range(N-2)", (0, 2)),
        ("range(N-1, -1, -1)", (0, 4)),
    ]
    for i, (low, high) in scope.items():
        options += [(f"range({i}+1)", (0, high)), (f"range({i}, N)", (low, 4))] if low >= 0 and high < LENGTH else []
        options += [(f"range({i})", (0, high))] if low >= 1 else []
    return draw(st.sampled_from(options))


def formula(draw: Any, scope: dict[str, tuple[int, int]], depth: int, states: tuple[str, ...] = ()) -> str:
    kinds = ["entry", "entry", "index", "leaf"]
    if depth:
        kinds += ["call", "binary", "binary", "reduction", "reduction", "choice"]
    kind = draw(st.sampled_from(kinds + ["state"] * 3 * bool(states)))
    if kind == "state":
        return draw(st.sampled_from(states))
    if kind == "entry":
        return entries(draw, scope)
    if kind == "index" and scope:
        return f"{draw(st.sampled_from(sorted(scope)))}*0.25"
    if kind in ("leaf", "index"):
        return draw(st.sampled_from(["a", "0.5", "2", "1.5"]))
    inner = [formula(draw, scope, depth - 1, states) for _ in range(2)]
    if kind == "call":
        return draw(st.sampled_from(["sin({})", "tanh({})", "sigmoid({})", "exp(tanh({}))", "(-{})", "({})**2"])).format(
            inner[0]
        )
    if kind == "binary":
        text = draw(st.sampled_from(["({} + {})", "({} - {})", "{}*{}", "({})/(1 + ({})**2)"]))
        return text.format(*(f"({v})" for v in inner))
    if kind == "choice":
        i = draw(st.sampled_from(sorted(scope))) if scope else "1"
        guard = draw(st.sampled_from([f"{i} > 1", f"{i} == 0", f"not {i} < 2"]))
        return f"({inner[0]} if {guard} else {inner[1]})"
    name = f"i{len(scope)}"
    over, bounds = ranges(draw, scope)
    element = formula(draw, {**scope, name: bounds}, depth - 1, states)
    never_empty = "range(i" not in over or "+1" in over or ", N" in over
    reduction = draw(
        st.sampled_from(["sum", "sum", "prod", "mean", "max", "min", "logsumexp"] if never_empty else ["sum", "prod"])
    )
    element = f"tanh({element})" if reduction == "prod" else element
    guard = draw(st.sampled_from(["", "", "", f" if {name} != 1"])) if reduction in ("sum", "prod") else ""
    return f"{reduction}({element} for {name} in {over}{guard})"


@st.composite
def comprehensions(draw: Any) -> Text:
    over, bounds = ranges(draw, {})
    element = formula(draw, {"i": bounds}, draw(st.integers(1, 3)))
    shape = draw(st.sampled_from(["list", "list", "nested", "flat", "reduction"]))
    if shape == "list":
        return Text((f"y = [{element} for i in {over}]",))
    if shape == "reduction":
        return Text((f"y = sum({element} for i in {over})",))
    other = formula(draw, {"i": bounds, "j": (0, 2)}, draw(st.integers(1, 2)))
    return Text(
        (
            f"y = [[{other} for j in range(K)] for i in {over}]"
            if shape == "nested"
            else f"y = [{other} for i in {over} for j in range(K)]",
        )
    )


@st.composite
def recurrences(draw: Any) -> Text:
    """One or two sequences, one or two steps back, up or down."""
    down = draw(st.booleans())
    back = draw(st.integers(1, 2))
    two = draw(st.booleans())
    names = ["s", "r"][: 1 + two]
    lags = [f"{n}[t{'+' if down else '-'}{k}]" for n in names for k in range(1, back + 1)]
    low, high = (0, LENGTH - 1 - back) if down else (back, LENGTH - 1)
    size = draw(st.sampled_from(["N", str(LENGTH)]))
    over = f"range({size}-{1 + back}, -1, -1)" if down else f"range({back}, {size})"
    spelled = [f"{size}-{1 + k}" if down else str(k) for k in range(back)]
    scope = {"t": (low, high)}
    first, step = [], []
    for n in names:
        first += [f"{n}[{k}] = {formula(draw, {}, 1)}" for k in spelled]
        reads = [*lags, "s[t]"] if n == "r" and draw(st.booleans()) else lags
        step.append(
            f"{n}[t] = tanh({formula(draw, scope, draw(st.integers(1, 2)), tuple(reads))}) + 0.5*{n}[t{'+' if down else '-'}1]"
        )
    shown = [line.replace("N-", f"{LENGTH}-") for line in first]
    python = [f"{n} = dict()" for n in names] + shown + [f"for t in {over}:"] + [f"    {line}" for line in step]
    end = " + ".join(f"{n}[{0 if down else LENGTH - 1}]*{n}[2]" for n in names)
    python.append(f"y = {end}")
    written = draw(st.permutations(step))
    lines = [*first, f"for t in {over}:", *(f"    {line}" for line in written)]
    if draw(st.booleans()):
        lines = [f"{line} for t in {over}" for line in written] + first
    return Text((*lines, f"y = {end}"), tuple(python))


def values(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    away = lambda *shape: np.round(rng.uniform(0.2, 1.4, shape) * rng.choice([-1, 1], shape), 6)  # noqa: E731
    p = rng.integers(0, LENGTH, LENGTH)
    return {"x": away(LENGTH), "z": away(LENGTH), "A": away(LENGTH, WIDTH), "a": float(away(1)[0]), "p": p}


def check(text: Text, seed: int) -> None:
    at = values(seed)
    names = ["x", "z", "A", "a"]
    wanted = text.run(at)
    model = gl.loads(text.program())
    given = {n: v for n, v in at.items() if n in model.inputs}
    value = model.function("y")(given)
    assert close(value, wanted, 1e-11), (text.program(), at, value, wanted)
    rng = np.random.default_rng(seed + 1)
    along = {n: rng.uniform(-1, 1, np.shape(at[n])) for n in names}
    pushed = model.jvp("y", wrt=names)(along, given)[1]
    u = rng.uniform(-1, 1, wanted.shape)
    pulled = model.vjp("y", wrt=names)(u, given)[1]
    there = sum(np.sum(pulled[n] * along[n]) for n in names)
    assert close(there, np.sum(u * pushed), 1e-9), (text.program(), at, "vjp is not jvp", there, np.sum(u * pushed))
    slope = difference(lambda h: text.run({**at, **{n: at[n] + h * along[n] for n in names}}))
    near = difference(lambda h: text.run({**at, **{n: at[n] + h / 10 * along[n] for n in names}})) * 10
    if close(slope, near, 1e-7):  # else a kink of max or min is nearby
        assert close(pushed, slope, 1e-6), (text.program(), at, pushed, slope)
        event("slopes compared")


@given(comprehensions(), st.integers(0, 2**32 - 1))
@settings(max_examples=250, **QUIET)
def test_comprehensions(text: Text, seed: int) -> None:
    check(text, seed)


@given(recurrences(), st.integers(0, 2**32 - 1))
@settings(max_examples=250, **QUIET)
def test_recurrences(text: Text, seed: int) -> None:
    check(text, seed)
