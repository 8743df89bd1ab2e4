"""`gradlang compile --target c`: the file, and the point at which it checks itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradlang import pipeline
from gradlang.api import Model
from gradlang.backend.artifact import Job, Param, Returns
from gradlang.backend.c_target import CFile, c_file
from gradlang.backend.c_test import Drawn, Golden, drawn
from gradlang.diagnostics import InputError
from gradlang.pipeline import Goal, Hook
from gradlang.types import Size, value

LONGEST = 4096  # entries of a default that is written into the test
LARGEST = 1_000_000  # entries of an argument that the test is run with


def c_text(model: Model, goal: Goal, origin: str, hook: Hook | None) -> CFile:
    """Raises SourceError for what C does not have yet."""
    program = model.program
    job = pipeline.plan_c(program, goal, program.language, origin, hook)
    golden = point(model, goal, job)
    return c_file(job, program.language.table, program.sources, notes(model, goal, job), golden)


def notes(model: Model, goal: Goal, job: Job) -> dict[str, str]:
    found = {leaf.name: leaf.label for leaf in model.program.callable_leaves() if leaf.label}
    if goal.kind == "grad":
        slopes = job.returns.parts[1]
        found |= {name: f"the derivative of {goal.of[0]} with respect to {x}" for x, name in slopes.parts}
    return found


def point(model: Model, goal: Goal, job: Job) -> Golden | None:
    """The defaults, and drawn numbers where there are none. None if the program has no value there, or only a dear one."""
    sizes = some_sizes(job)
    if any(math.prod(value(d, sizes) for d in p.type.shape) > LARGEST for p in job.params):
        return None
    inputs: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for seed, p in enumerate(job.params):
        shape = tuple(value(d, sizes) for d in p.type.shape)
        if p.default is not None and np.size(p.default) <= LONGEST:
            given = np.broadcast_to(np.asarray(p.default), shape)
            inputs[p.name] = given.ravel().tolist()
        else:
            inputs[p.name] = Drawn(seed, int(np.prod(shape)), p.type.dtype)
            given = np.array(drawn(inputs[p.name])).reshape(shape)
        kind = {"real": np.dtype(job.dtype), "int": np.dtype(np.int64), "bool": np.dtype(np.bool_)}[p.type.dtype]
        arrays[p.name] = given.astype(kind) if p.type.shape else given.astype(kind)[()]
    try:
        found = model.compile(goal, "numpy")(**arrays)
    except InputError:
        return None
    results: dict[str, list[float]] = {}
    flat(job.returns, found, results)
    return Golden(sizes, inputs, results)


def flat(returns: Returns, found: Any, out: dict[str, list[float]]) -> None:
    """The results by the names of the outputs."""
    parts = [p[1] if returns.kind == "dict" else p for p in returns.parts]
    values = [found] if returns.kind == "one" else list(found.values()) if returns.kind == "dict" else found
    for part, v in zip(parts, values, strict=True):
        if isinstance(part, Returns):
            flat(part, v, out)
        else:
            out[part] = np.asarray(v).ravel().tolist()


def some_sizes(job: Job) -> dict[str, int]:
    """Those of the defaults; others are small numbers, each another one."""
    found: dict[str, int] = {}
    for p in job.params:
        for d, length in zip(p.type.shape, default_shape(p), strict=False):
            line = d.linear() if isinstance(d, Size) else None
            if line is not None and (length - line[2]) % line[1] == 0:
                found.setdefault(line[0], (length - line[2]) // line[1])
    names = [p.type.shape for p in job.params] + [i.type.shape for i in job.tape.instrs]
    for shape in names:
        for d in shape:
            for n in sorted(d.names()) if isinstance(d, Size) else ():
                found.setdefault(n, 3 + len(found))
    return found


def default_shape(p: Param) -> tuple[int, ...]:
    return np.shape(p.default) if isinstance(p.default, tuple) else ()
