"""text: from the text of a long program to its first gradient, nothing compiled before; then the time of one more call."""

from __future__ import annotations

import statistics
import time
from typing import Any

import programs
from tape import Tape
from timing import Bench, equal

import gradlang as gl


def gradlang(text: str) -> dict[str, float]:
    """Seconds of the whole way, and of its parts."""
    start = time.perf_counter()
    model = gl.loads(text)
    read = time.perf_counter()
    f = model.value_and_grad("y")
    made = time.perf_counter()
    f()
    end = time.perf_counter()
    return {
        "gradlang": end - start,
        "- of which read": read - start,
        "- of which compile": made - read,
        "- of which first call": end - made,
    }


def python_tape(text: str) -> tuple[float, dict[str, float]]:
    """A tape of forty lines that reads the same file through Python's own parser."""
    return Tape().run(text)


def plain_python(text: str) -> float:
    """No gradient at all: Python compiles the file and runs it, a bound on what source code can cost."""
    names = programs.functions()
    exec(compile(text, "text", "exec"), names)
    return names["y"]


def casadi(text: str) -> tuple[float, dict[str, float]] | None:
    try:
        import casadi as c
    except ImportError:
        return None
    names: dict[str, Any] = {k: getattr(c, k) for k in ("sin", "exp", "tanh", "sqrt")}
    inputs = programs.inputs(text)
    leaves = {name: c.SX.sym(name) for name in inputs}
    names |= leaves
    exec(compile(text.split("\n", len(inputs))[-1], "text", "exec"), names)
    y, x = names["y"], c.vertcat(*leaves.values())
    value, gradient = c.Function("f", [x], [y, c.gradient(y, x)])(list(inputs.values()))
    return float(value), dict(zip(leaves, gradient.full()[:, 0].tolist(), strict=True))


def run(bench: Bench) -> None:
    cases = {"chain, 1e3 lines": programs.chain(1_000)}
    if not bench.quick:
        cases |= {"chain, 1e4 lines": programs.chain(10_000)}
    for name, text in cases.items():
        case(bench, name, text)


def case(bench: Bench, case: str, text: str) -> None:
    others: dict[str, Any] = {"tape in Python": python_tape, "value only, Python": plain_python, "casadi SX": casadi}
    wanted = python_tape(text)
    f = gl.loads(text).value_and_grad("y")
    equal(f"gradlang, {case}", f(), wanted)
    if (other := casadi(text)) is None:
        del others["casadi SX"]
    else:
        equal(f"casadi, {case}", other, wanted)
    samples: dict[str, list[float]] = {}
    for _ in range(3 if len(text) > 100_000 else 9):
        for name, seconds in gradlang(text).items():
            samples.setdefault(name, []).append(seconds)
        for name, call in others.items():
            start = time.perf_counter()
            call(text)
            samples.setdefault(name, []).append(time.perf_counter() - start)
    medians = {name: statistics.median(s) for name, s in samples.items()}
    for name, m in medians.items():
        bench.add("text", case, name, m, m / medians["gradlang"])
    tape = Tape()
    tape.run(text)
    calls = {"gradlang": f, "tape in Python, sweep back only": tape.backward}
    bench.compare("text", f"{case}: one more call", calls, seconds=1)
