"""`gradlang compile --target js`: the module, and the point at which it checks itself."""

from __future__ import annotations

from gradlang import pipeline
from gradlang.api import Model
from gradlang.backend.js_target import Info, js_module
from gradlang.cli.compiling_c import point
from gradlang.pipeline import Goal, Hook


def js_text(model: Model, goal: Goal, origin: str, hook: Hook | None) -> str:
    """Raises SourceError for what JavaScript does not have yet."""
    program = model.program
    jobs = [pipeline.plan_js(program, goal, program.language, origin, hook)]
    if goal.kind == "grad":
        alone = Goal("value", goal.of, (), goal.dtype, checkpoint=goal.checkpoint)
        jobs.insert(0, pipeline.plan_js(program, alone, program.language, origin))
    info = {name: Info(label) for name, label in program.labels.items()}
    info |= {leaf.name: Info(leaf.label, leaf.range) for leaf in program.callable_leaves()}
    return js_module(jobs, program.language.table, program.sources, info, point(model, goal, jobs[-1]))
