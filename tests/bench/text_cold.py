"""text: from the text of a long program to its first gradient, nothing compiled before; then the time of one more call."""

from __future__ import annotations

import time
from typing import Any

import programs
from tape import Tape
from timing import Bench, equal

import gradlang as gl


def gradlang(text: str) -> tuple[float, dict[str, float]]:
    return gl.loads(text).value_and_grad("y")()


def stages(text: str) -> dict[str, float]:
    """Seconds of reading, of compiling and of the first call."""
    start = time.perf_counter()
    model = gl.loads(text)
    read = time.perf_counter()
    f = model.value_and_grad("y")
    made = time.perf_counter()
    f()
    return {"read": read - start, "compile": made - read, "first call": time.perf_counter() - made}


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
    cases = {"chain, 1e3 lines": programs.chain(1_000), "W5, 1e3 lines": programs.dag(1_000)}
    if not bench.quick:
        cases |= {"chain, 1e4 lines": programs.chain(10_000), "W5, 1e4 lines": programs.dag(10_000)}
    for case, text in cases.items():
        contestants: dict[str, Any] = {"gradlang": gradlang, "tape in Python": python_tape, "value only, Python": plain_python,
                                       "casadi SX": casadi}
        wanted = python_tape(text)
        equal(f"gradlang, {case}", gradlang(text), wanted)
        if (other := casadi(text)) is not None:
            equal(f"casadi, {case}", other, wanted)
        else:
            del contestants["casadi SX"]
        rounds = 3 if len(text) > 100_000 else 9
        samples: dict[str, list[float]] = {name: [] for name in contestants}
        parts: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, call in contestants.items():
                start = time.perf_counter()
                call(text)
                samples[name].append(time.perf_counter() - start)
            for name, seconds in stages(text).items():
                parts.setdefault(name, []).append(seconds)
        medians = {name: sorted(s)[len(s) // 2] for name, s in samples.items()}
        for name, m in medians.items():
            bench.add("text", case, name, m, m / medians["gradlang"])
        for name, s in parts.items():
            m = sorted(s)[len(s) // 2]
            bench.add("text", case, f"- of which {name}", m, m / medians["gradlang"])
        f = gl.loads(text).value_and_grad("y")
        tape = Tape()
        tape.run(text)
        calls = {"gradlang": f, "tape in Python, sweep back only": tape.backward}
        bench.compare("text", f"{case}: one more call", calls, seconds=1)
