"""Calls of large scalar programs that run as machine code: one Python function from the keywords to the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Any

from gradlang.backend.artifact import Param, Returns
from gradlang.runtime.x86 import Machine

MOST = 250  # inputs or outputs; with more of them what is spared does not count
OWN = ("self", "given", "unknown", "found", "start", "inputs", "outputs", "values", "made", "v", "own", "d", "k")
NAMES = ("GIVEN", "NAMES", "DEFAULTS", "free", "bound", "put", "take", "far", "type", "float", "zip", "IndexError", "_")


def keyword_call(machine: Machine, params: Sequence[Param], returns: Returns, outputs: Sequence[str], given: Any) -> Any:
    """A method that takes inputs as keywords and, if all are floats, runs the machine code; anything else goes to the method
    `slow` of its object, with `given` for what is not given by position. None where the names of the inputs are not fit
    for Python, or there are too many."""
    names = [p.name for p in params]
    unfit = [n for n in names if not n.isidentifier() or iskeyword(n) or n.startswith("_")]
    if not names or max(len(names), len(outputs)) > MOST or unfit or {*OWN, *NAMES}.intersection(names):
        return None
    place = {name: k for k, name in enumerate(outputs)}
    kinds = " is ".join(f"type({n})" for n in names)
    listed = ", ".join(names)
    text = f"""\
def __call__(self, given=GIVEN, /, {", ".join(f"{n}=GIVEN" for n in names)}, **unknown):
    if given is not GIVEN or unknown or not ({kinds} is float):
        own = {{k: v for k, v, d in zip(NAMES, ({listed},), DEFAULTS) if v is not d}}
        return self.slow(given, {{**unknown, **own}})
    try:
        made = free.pop()
    except IndexError:
        made = bound()
    start, inputs, outputs = made
    put(inputs, 0, {listed})
    if start():
        free.append(made)
        return self.raw({listed})
    {"".join(f"_{k}, " for k in range(len(outputs)))} = take(outputs)
    free.append(made)
    return {shown(returns, place)}
"""
    defaults = tuple(given if p.default is None else float(p.default) for p in params)
    scope: dict[str, Any] = {"GIVEN": given, "NAMES": tuple(names), "DEFAULTS": defaults}
    scope |= {"free": machine.free, "bound": machine.bound, "put": machine.put, "take": machine.take}
    exec(compile(text, "<gradlang call>", "exec"), scope)
    made: Callable[..., Any] = scope["__call__"]
    made.__defaults__ = (given, *defaults)
    return made


def shown(part: Any, place: dict[str, int]) -> str:
    """A result as an expression of the outputs."""
    if not isinstance(part, Returns):
        return f"_{place[part]}"
    if part.kind == "one":
        return shown(part.parts[0], place)
    if part.kind == "pair":
        return f"({''.join(shown(p, place) + ', ' for p in part.parts)})"
    return "{" + ", ".join(f"{key!r}: {shown(p, place)}" for key, p in part.parts) + "}"
