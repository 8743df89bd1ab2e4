"""Generated source to a Python function. The only room that compiles code, and only code that a backend printed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from gradlang.backend.artifact import Artifact


def load(artifact: Artifact) -> Callable[..., Any]:
    """The entry function of a generated module."""
    namespace: dict[str, Any] = {"__name__": f"gradlang.generated.{artifact.entry}"}
    collecting = gc.isenabled()
    gc.disable()  # a large module makes many objects that all live on
    try:
        exec(compile(artifact.source, f"<gradlang {artifact.entry}>", "exec"), namespace)
    finally:
        if collecting:
            gc.enable()
    function = namespace[artifact.entry]
    assert callable(function)
    return function  # type: ignore[no-any-return]
