"""Generated source to a Python function. The only room that compiles code, and only code that a backend printed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from gradlang.backend.artifact import Artifact
from gradlang.source import Span


def load(artifact: Artifact, namespace: dict[str, Any] | None = None) -> Callable[..., Any]:
    """The entry function of a generated module, which is run in a `namespace`."""
    namespace = {} if namespace is None else namespace
    namespace["__name__"] = f"gradlang.generated.{artifact.entry}"
    collecting = gc.isenabled()
    gc.disable()  # a large module makes many objects that all live on
    try:
        exec(compile(artifact.running or artifact.source, f"<gradlang {artifact.entry}>", "exec"), namespace)
    finally:
        if collecting:
            gc.enable()
    if artifact.numbers:
        np, kind = namespace["np"], namespace["F"]
        with np.errstate(all="ignore"):
            namespace.update((name, np.array(number, kind)) for name, number in artifact.numbers)
    function = namespace[artifact.entry]
    assert callable(function)
    return function  # type: ignore[no-any-return]


def load_later(artifact: Artifact) -> Callable[..., Any]:
    """`load`, but what is compiled is compiled at the first call: the function that is given gets its code then."""
    namespace: dict[str, Any] = {}

    def become() -> FunctionType:
        loaded = load(artifact, namespace)
        made.__code__, made.__defaults__ = loaded.__code__, loaded.__defaults__
        return made

    made = FunctionType(_first.__code__, namespace, artifact.entry)
    namespace["become"] = become
    return made


def _first(*args: Any, **named: Any) -> Any:
    return become()(*args, **named)  # type: ignore[name-defined] # noqa: F821


def failing(artifact: Artifact, args: Sequence[Any]) -> Span | None:
    """The formula at which a generated module fails for some arguments, if there is one."""
    from traceback import walk_tb

    try:
        load(artifact)(*args)
    except Exception as error:
        own = f"<gradlang {artifact.entry}>"
        lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == own]
        return next((artifact.lines[n] for n in reversed(lines) if n in artifact.lines), None)
    return None
