"""Methods of scipy.optimize, on all data at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradlang.fit.problem import Problem
from gradlang.fit.result import Fit
from gradlang.fit.state import Row
from gradlang.fit.training import Watcher

METHODS: dict[str, str] = {}


def minimized(
    problem: Problem,
    name: str,
    options: Mapping[str, float],
    steps: int | None,
    valid: Callable[[Mapping[str, Any]], Row] | None,
    watcher: Watcher,
) -> Fit:
    raise NotImplementedError
