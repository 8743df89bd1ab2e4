"""Random programs over the whole language: functions, loops, recurrences, roots, derivatives in formulas, matrices, densities.

What they compute is not known beforehand. The parts of the compiler are held to each other: reverse to forward mode, both to
differences in high precision, every pass to the reference interpreter, a formatted text to the text.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import gradlang as gl
from gradlang import pipeline
from gradlang.backend.numpy import spelled
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Tape
from gradlang.pipeline import Goal
from gradlang.syntax.format import format_text
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.transform.passes import deep

QUIET = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": [Phase.generate, Phase.shrink],
    "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
}
N = 3
S, V, M = "scalar", "vector", "matrix"
LEAVES = {"a": S, "b": S, "x": V, "z": V, "W": M}
SMOOTH = [
    "sin({})",
    "tanh({})",
    "sigmoid({})",
    "exp(-({})**2)",
    "softplus({})",
    "({})/(1 + ({})**2)",
    "sqrt(1 + ({})**2)",
    "erf({})",
]
PAIRS = [
    "({}) + ({})",
    "({})*({})",
    "({}) - 0.5*({})",
    "hypot({}, 1 + abs({}))",
    "atan2({}, 2 + cos({}))",
    "({}) if ({}) > 0.3 else 0.1",
]
FUNCTIONS = """\
def mix(u, v, k=0.5) = u*sigmoid(k*v) + tanh(v)
def slope(u, v):
    w = u*v + sin(u)
    return grad(w**2*u, u) + grad(w**2, w)
def both(u, v):
    s = mix(u, v)
    return s*u, sin(s) - v
def step(u) = u - 0.1*grad(cos(u)*u, u)
"""


class Maker:
    """Writes one program. Every line ends in a bounded function, so that values and derivatives stay of size one."""

    def __init__(self, pick: random.Random, symbolic: bool) -> None:
        self.pick, self.known, self.lines, self.size = pick, dict(LEAVES), list[str](), "N" if symbolic else str(N)
        self.n = 0

    def name(self, kind: str) -> str:
        return self.pick.choice([n for n, k in self.known.items() if k == kind])

    def fresh(self, stem: str = "t") -> str:
        self.n += 1
        return f"{stem}{self.n}"

    def element(self, i: str, depth: int) -> str:
        """A scalar that may depend on a loop variable."""
        kind = self.pick.choice(["entry", "entry", "scalar", "index"] + ["smooth", "pair", "sum", "call"] * (depth > 0))
        size = self.size
        if kind == "entry":
            array = self.name(self.pick.choice([V, M]))
            at = self.pick.choice([i, i, f"{size}-1-{i}", f"({i}+1) % {size}", f"p[{i}]"])
            return f"{array}[{at}]" if self.known[array] == V else f"{array}[{at}, {self.pick.choice([i, '0', '-1'])}]"
        if kind == "scalar":
            return self.name(S)
        if kind == "index":
            return f"0.3*{i}"
        if kind == "smooth":
            inner = self.element(i, depth - 1)
            return self.pick.choice(SMOOTH).format(inner, inner)
        if kind == "pair":
            return self.pick.choice(PAIRS).format(self.element(i, depth - 1), self.element(i, depth - 1))
        if kind == "call":
            return f"{self.pick.choice(['mix', 'slope'])}({self.element(i, depth - 1)}, {self.element(i, depth - 1)})"
        j = f"{i}{i}"
        what, over = (
            self.pick.choice(["sum", "sum", "logsumexp", "mean"]),
            self.pick.choice([f"range({size})", f"range({i}+1)"]),
        )
        guard = self.pick.choice(["", "", f" if {j} != {i}"]) if what == "sum" else ""
        return f"{what}({self.element(j, depth - 1)}*{self.element(i, 0)} for {j} in {over}{guard})"

    def scalar(self, depth: int) -> str:
        kind = self.pick.choice(
            ["name", "loop"] + ["smooth", "pair", "call", "loop", "array", "matrix", "density", "root"] * depth
        )
        if kind == "name":
            return self.name(S)
        if kind == "loop":
            what = self.pick.choice(["sum", "mean", "logsumexp", "max"])
            return f"{what}({self.element('i', depth)} for i in range({self.size}))"
        if kind == "smooth":
            inner = self.scalar(depth - 1)
            return self.pick.choice(SMOOTH).format(inner, inner)
        if kind == "pair":
            return self.pick.choice(PAIRS).format(self.scalar(depth - 1), self.scalar(depth - 1))
        if kind == "call":
            return f"{self.pick.choice(['mix', 'slope'])}({self.scalar(depth - 1)}, {self.scalar(depth - 1)})"
        if kind == "array":
            text = self.pick.choice(["norm({})", "sum({})", "logsumexp({})", "({})[1]", "prod({})", "std({})", "max({})"])
            return text.format(self.vector(depth - 1))
        if kind == "matrix":
            text = self.pick.choice(
                [
                    "logdet({0})",
                    "{1} @ solve({0}, {2})",
                    "sum(cholesky({0}))",
                    "sum(eigh({0})[0]**2)",
                    "trace(inv({0}))",
                    "det({0})/20",
                ]
            )
            return text.format(self.definite(), self.name(V), self.name(V))
        if kind == "density":
            text = self.pick.choice(
                [
                    "normal_lpdf({1}, {0}, 1 + ({0})**2)",
                    "student_t_lpdf({1}, 4, {0}, 1.5)",
                    "multi_normal_cholesky_lpdf({1}, {2}, cholesky({3}))",
                    "bernoulli_logit_lpmf(q, {1})",
                    "gamma_lpdf(1 + abs({1}), 2 + ({0})**2, 1.5)",
                ]
            )
            return "0.1*" + text.format(self.name(S), self.name(V), self.name(V), self.definite())
        u = self.fresh("u")
        return f"solve({u} - 0.3*sin({u}*{self.name(S)}) - ({self.scalar(depth - 1)}) for {u} from 0.1)"

    def definite(self) -> str:
        w = self.name(M)
        return f"({w} @ {w}.T + 2*eye({self.size}))"

    def vector(self, depth: int) -> str:
        kind = self.pick.choice(["name"] + ["list", "list", "smooth", "product", "system", "root", "rows"] * depth)
        if kind == "name":
            return self.name(V)
        if kind == "list":
            return f"[{self.element('i', depth)} for i in range({self.size})]"
        if kind == "smooth":
            inner = self.vector(depth - 1)
            return self.pick.choice(SMOOTH).format(inner, inner)
        if kind == "product":
            return f"{self.name(M)} @ {self.vector(depth - 1)}"
        if kind == "system":
            return f"solve({self.definite()}, {self.vector(depth - 1)})"
        if kind == "rows":
            return self.pick.choice(["sum({}, axis=0)", "softmax({})[0]", "({})[:, 1]", "logsumexp({}, axis=1)"]).format(
                self.name(M)
            )
        u = self.fresh("u")
        return f"solve({u} - 0.1*tanh({self.name(M)} @ {u}) - {self.vector(depth - 1)} for {u} from {self.name(V)})"

    def matrix(self, depth: int) -> str:
        kind = self.pick.choice(["list", "outer", "smooth", "product", "list"])
        if kind == "list":
            return f"[[{self.element('i', 1)}*{self.element('j', 1)} for j in range({self.size})] for i in range({self.size})]"
        if kind == "outer":
            return f"{self.vector(depth - 1)}[:, None]*{self.name(V)}"
        if kind == "smooth":
            inner = self.name(M)
            return self.pick.choice(SMOOTH).format(inner, inner)
        return f"{self.name(M)} @ {self.name(M)}.T"

    def recurrence(self) -> None:
        s, size = self.fresh("s"), self.size
        if self.pick.random() < 0.5:
            first, over, back, end = "0", f"range(1, {size})", "t-1", f"{size}-1"
        else:
            first, over, back, end = f"{size}-1", f"range({size}-2, -1, -1)", "t+1", "0"
        reads = self.pick.choice([f"{s}[{back}]", f"step({s}[{back}])", f"{s}[{back}]**2"])
        self.lines += [
            f"{s}[{first}] = {self.name(S)}",
            f"{s}[t] = tanh(0.7*{reads} + {self.element('t', 1)}) for t in {over}",
        ]
        self.known[s] = V
        if self.pick.random() < 0.4:
            r, q = self.fresh("r"), self.fresh("r")
            self.lines += [
                f"{r}[0] = {self.name(V)}",
                f"{q}[0] = {self.name(S)}",
                f"for t in range(1, {size}+1):",
                f"    k = {self.element('(t-1)', 0)}",
                f"    {q}[t] = sin({q}[t-1] + k) + 0.2*{r}[t-1][0]",
                f"    {r}[t] = tanh({self.name(M)} @ {r}[t-1])*k + {q}[t]",
            ]
            v = self.fresh()
            self.lines.append(f"{v} = {r}[{size}] + {q}[:-1]*{s}[{end}]")
            self.known[v] = V

    def derivative(self) -> None:
        """A derivative by a leaf, or by a definition, of something that depends on it."""
        t, v, by = self.fresh(), self.fresh("v"), self.name(self.pick.choice([S, V, V]))
        kind = self.known[by]
        mixed = self.pick.choice(["tanh({}*{})", "sin({}) + {}**2", "exp(-{}**2)*{}"])
        if kind == S:
            self.lines.append(f"{v} = {mixed.format(by, self.scalar(1))}")
        else:
            self.lines.append(f"{v} = {mixed.format(by, f'({self.vector(1)})')}")
        y = v if kind == S else self.pick.choice([f"sum({v}**2)", f"{v}[0]*{self.name(S)}", f"logsumexp({v})"])
        made = {
            "grad": (f"grad({y}, {by})", kind),
            "hessian": (f"hessian({y}, {by})", {S: S, V: M}[kind]),
            "hvp": (f"hvp({y}, {by}, {self.name(kind)})", kind),
            "jvp": (f"jvp({v}, {by}, {self.name(kind)})", kind),
            "vjp": (f"vjp({v}, {by}, {self.name(kind)})", kind),
            "jacobian": (f"jacobian({v}, {by})", {S: S, V: M}[kind]),
        }[self.pick.choice(["grad", "grad", "hessian", "hvp", "jvp", "vjp", "jacobian"])]
        self.lines.append(f"{t} = tanh({made[0]})")
        self.known |= {t: made[1], v: kind}

    def line(self) -> None:
        kind = self.pick.choice([S, S, V, V, M, "recurrence", "recurrence", "derivative", "both"])
        if kind == "recurrence":
            self.recurrence()
        elif kind == "derivative":
            self.derivative()
        elif kind == "both":
            t, u = self.fresh(), self.fresh()
            i = self.pick.choice(["range", "scalar"])
            args = "x[i], z[i]" if i == "range" else f"{self.name(S)}, {self.scalar(1)}"
            self.lines.append(
                f"{t}, {u} = " + (f"[both({args}) for i in range({self.size})]" if i == "range" else f"both({args})")
            )
            self.known |= {t: V, u: V} if i == "range" else {t: S, u: S}
        else:
            t = self.fresh()
            made = {S: self.scalar, V: self.vector, M: self.matrix}[kind](2)
            self.lines.append(f"{t} = {self.pick.choice(['tanh', 'sin', 'atan'])}({made})")
            self.known[t] = kind

    def program(self, lines: int) -> str:
        for _ in range(lines):
            self.line()
        ends = [n for n in self.known if n not in LEAVES][-4:]
        total = " + ".join(n if self.known[n] == S else f"sum({n}*{n})" for n in ends)
        n = self.size
        head = [f"x, z : [{n}]", f"W : [{n}, {n}]", "input a, b", f"p : int[{n}]", f"q : int[{n}]"]
        head[0] = "input " + head[0]
        return "\n".join(head) + "\n" + FUNCTIONS + "\n".join([*self.lines, f"y = {total}"]) + "\n"


def text_of(pick: random.Random, most: int = 6) -> str:
    return Maker(pick, pick.random() < 0.5).program(pick.randint(1, most))


programs = st.randoms(use_true_random=False).map(text_of)
small = st.randoms(use_true_random=False).map(lambda pick: text_of(pick, 2))


def point(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    away = lambda *shape: np.round(rng.uniform(0.2, 1.2, shape) * rng.choice([-1, 1], shape), 5)  # noqa: E731
    return {
        "x": away(N), "z": away(N), "W": away(N, N), "a": float(away(1)[0]), "b": float(away(1)[0]),
        "p": rng.integers(0, N, N), "q": rng.integers(0, 2, N),
    }  # fmt: skip


def close(got: Any, wanted: Any, tol: float, scale: float = 0.0) -> bool:
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    size = max(1.0, scale, float(np.max(np.abs(wanted), initial=0)))
    return got.shape == wanted.shape and bool(np.all(np.abs(got - wanted) <= tol * size))


@given(programs, st.integers(0, 2**32 - 1))
@settings(max_examples=60, **QUIET)
def test_reverse_is_forward(text: str, seed: int) -> None:
    """The dot test, of first and of second order."""
    at, names = point(seed), list(LEAVES)
    model = gl.loads(text)
    rng = np.random.default_rng(seed + 1)
    along, across = ({n: rng.uniform(-1, 1, np.shape(at[n])) for n in names} for _ in range(2))
    value, grads = model.value_and_grad("y", wrt=names)(at)
    assert np.isfinite(value), (text, at, value)
    assert close(model.function("y")(at), value, 1e-13)
    size = max(float(np.max(np.abs(g))) for g in grads.values())
    pushed = model.jvp("y", wrt=names)(along, at)[1]
    assert close(sum(np.sum(grads[n] * along[n]) for n in names), pushed, 1e-10, size), (text, at)
    products = [model.hvp("y", wrt=names)(v, at)[1] for v in (along, across)]
    here, there = (sum(np.sum(p[n] * v[n]) for n in names) for p, v in zip(products, (across, along), strict=True))
    size = max(float(np.max(np.abs(p[n]))) for p in products for n in names)
    assert close(here, there, 1e-9, size), (text, at, here, there)


@given(small, st.integers(0, 2**32 - 1))
@settings(max_examples=30, **QUIET)
def test_derivatives_are_those_of_the_interpreter_in_high_precision(text: str, seed: int) -> None:
    model = gl.loads(text)
    from gradlang.prove.report import check_model

    report = check_model(model, point(seed))
    assert report.ok, (text, point(seed), report.text())


def numbers(tape: Tape, model: gl.Model, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a tape by the reference interpreter."""
    table = model.program.language.table
    plain = deep(lambda t: expand(t, table, Templates(table), lambda op: False))(tape)
    return evaluate(plain, table, inputs, {"N": N})


@given(programs, st.integers(0, 2**32 - 1))
@settings(max_examples=40, **QUIET)
def test_passes_preserve_values(text: str, seed: int) -> None:
    model, at = gl.loads(text), point(seed)
    language = model.program.language
    for goal in (Goal("value", ("y",)), Goal("grad", ("y",), ("a", "x", "W"))):
        tape, _, _ = pipeline.goal_tape(model.program, goal, language.table)
        made: list[tuple[str, Tape]] = []
        pipeline.optimized(tape, language, spelled, lambda p, t: made.append((p, t)))  # noqa: B023
        start = next(k for k, (p, _) in enumerate(made) if p == "differentiate")
        before = numbers(made[start][1], model, at)
        scale = max(float(np.max(np.abs(v))) for v in before.values())
        last = None
        for p, t in made[start + 1 :]:
            if t is last:
                continue
            after, last = numbers(t, model, at), t
            for n, v in before.items():
                assert close(after[n], v, 1e-11, scale), (p, goal.kind, n, v, after[n], text, at)


def squeezed(text: str) -> str:
    """The text with other blank space."""
    return re.sub(r" ([-+*/=]|==) (?=\S)", r"\1", text).replace(", ", ",")


@given(programs)
@settings(max_examples=30, **QUIET)
def test_a_formatted_text_is_the_same_program(text: str) -> None:
    made = format_text(squeezed(text))
    assert format_text(made) == made
    first, again = (gl.loads(t).value_and_grad("y", wrt=list(LEAVES)).source for t in (text, made))
    assert first == again, (text, made)


SCRIPT = """
import random, sys
sys.path.insert(0, "tests")
import gradlang as gl
from test_random_language import LEAVES, text_of
for seed in range(12):
    text = text_of(random.Random(seed))
    model = gl.loads(text)
    print(text, model.value_and_grad("y", wrt=list(LEAVES)).source, model.jvp("y", wrt="x").source)
"""


def test_the_same_source_under_any_hash_seed() -> None:
    root = Path(__file__).parent.parent

    def output(seed: str) -> bytes:
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    first = output("0")
    assert len(first) > 10_000
    assert output("1") == first
