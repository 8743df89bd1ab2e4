"""What the tests of large scalar programs share: random programs, and the ways to run them."""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.backend.artifact import Job
from gradlang.ir.evaluate import evaluate
from gradlang.ops.table import builtin
from gradlang.runtime import native
from gradlang.runtime.groups import Groups, primitive, sorted_for_numpy
from gradlang.runtime.steps import Steps
from gradlang.runtime.tapes import tapes
from gradlang.runtime.x86 import machine, possible, vectors

TABLE = builtin()
UNARY = (
    "sin({0})",
    "cos({0})",
    "tanh({0})",
    "exp(-abs({0}))",
    "sqrt(abs({0}))",
    "log(1 + {0}**2)",
    "-{0}",
    "atan({0})",
    "erf({0})",
    "floor({0})",
    "round({0}*3)",
    "sigmoid({0})",
    "relu({0})",
    "{0}**3",
    "cbrt({0})",
)
BINARY = (
    "{0} + {1}",
    "{0} - {1}",
    "{0}*{1}",
    "{0}/(1 + {1}**2)",
    "({0} if {0} < {1} else 2*{1})",
    "max({0}, {1})",
    "({1} if {0} > 0.5 or not {1} <= 0.25 and {0} != {1} else {0}*{1})",
    "atan2({0}, {1})",
    "hypot({0}, {1})",
    "(1 + {0}**2)**tanh({1})",
    "{0} % 0.75",
    "0.625 % {0} - {1}",
)


def program(seed: int, lines: int = 60, leaves: int = 4) -> str:
    """Values stay of moderate size: every line of several is squashed."""
    r = random.Random(seed)
    names = [f"x{k}" for k in range(leaves)]
    out = [f"input {n}" for n in names]
    while len(names) < lines:
        text = r.choice(UNARY + BINARY).format(*(r.choice(names[-20:]) for _ in "ab"))
        out.append(f"t{len(names)} = {f'tanh({text})*2' if len(names) % 3 == 0 else text}")
        names.append(f"t{len(names)}")
    return "\n".join([*out, "less = t10 < t11", "y = " + " + ".join(names[-6:])]) + "\n"


def job_of(text: str, y: str = "y") -> Job:
    model = gl.loads(text)
    goal = pipeline.Goal("grad", (y,), tuple(model.program.differentiable()))
    return pipeline.plan(model.program, goal, model.program.language, "a test")


def interpreted(job: Job, args: list[float]) -> list[Any]:
    tape = primitive(job.tape, TABLE)
    inputs = {p.name: np.float64(a) for p, a in zip(job.params, args, strict=True)}
    return list(evaluate(tape, TABLE, inputs, {}, number=np.float64).values())


def over_numpy(job: Job) -> Groups:
    return Groups(sorted_for_numpy(primitive(job.tape, TABLE), job.params, TABLE), TABLE)


needs_x86 = pytest.mark.skipif(not possible(), reason="machine code is written for x86-64 under Linux")


def as_machine_code(job: Job, own: bool = False) -> Any:
    """With the functions of the C library, or with `own` ones where the machine can run these."""
    return machine(job.tape, [p.name for p in job.params], own)


needs_vectors = pytest.mark.skipif(not (possible() and vectors()), reason="our own functions are written for AVX2")
ON_MACHINES = (["machine"] if possible() else []) + (["vectors"] if possible() and vectors() else [])
WAYS = ("steps", "groups", *ON_MACHINES, *(["tape"] if native.available() is None else []))


def way(kind: str, job: Job) -> Any:
    """The job run in one way, which gives the list of its outputs."""
    if kind in ("machine", "vectors"):
        return as_machine_code(job, own=kind == "vectors")
    if kind == "tape":
        return tapes(job, TABLE)
    return over_numpy(job) if kind == "groups" else Steps(job.tape, job.params, TABLE)


def points(count: int, seed: int) -> list[float]:
    r = random.Random(seed)
    return [round(r.uniform(-2, 2), 6) for _ in range(count)]


def apart(got: list[Any], wanted: list[Any]) -> float:
    """The largest difference, relative to the larger of the value and 1; infinite where one is nan and the other is not."""
    assert len(got) == len(wanted)
    worst = 0.0
    for a, b in zip(got, wanted, strict=True):
        a, b = float(a), float(b)
        if (math.isnan(a) and math.isnan(b)) or a == b:
            continue
        worst = max(worst, abs(a - b) / max(1.0, abs(b)) if math.isfinite(a - b) else math.inf)
    return worst


# not 0.5: for that exponent NumPy takes the square root of a single number, of which -inf has none
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.75, math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, 800.0]
KINDS = {
    "arithmetic": "y = a + b*(a - b)/b - -a",
    "functions": "y = exp(a) + log(b) + sqrt(a)*sin(b) + tanh(a)",
    "choices": "y = (a if a < b else b) + max(a, b)*min(a, b)",
    "logic": "y = a if (a <= b or not b > 0.5) and a != 0.25 else b*b",
    "rounding": "y = floor(a) + ceil(b) + round(a)",
    "remainders": "y = a % b",
    "whole quotients": "y = a // b",
    "powers": "y = a**b + abs(a)**1.5",
    "what NumPy lacks": "y = erf(a) + log(b)*erfc(b)",
}


def chain(lines: int) -> str:
    body = "\n".join(f"x{k + 1} = sin(x{k})*1.5 + a" for k in range(lines))
    return f"input a, x0\n{body}\ny = x{lines}\n"


def wide(lines: int) -> str:
    body = "\n".join(f"u{k} = tanh(a*{k}.5 + b)*sin(b - {k})" for k in range(lines))
    sums, names = [], [f"u{k}" for k in range(lines)]
    while len(names) > 1:
        pairs = [names[k : k + 2] for k in range(0, len(names), 2)]
        sums += [f"s{len(sums) + k} = {' + '.join(p)}" for k, p in enumerate(pairs)]
        names = [line.split(" = ")[0] for line in sums[-len(pairs) :]]
    return f"input a, b\n{body}\n" + "\n".join(sums) + f"\ny = {names[0]}\n"


def lines_run(rooms: str, work: Callable[[], Any]) -> int:
    """How many lines of some rooms of gradlang run during a call; `rooms` are their names with `|` between."""
    inside, count = re.compile(f"gradlang.({rooms})\\b"), 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        if not inside.search(frame.f_code.co_filename):
            return None
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    assert count, f"nothing of {rooms} was run"
    return count
