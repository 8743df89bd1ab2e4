"""What is fitted: an objective as a function of one vector, for the data of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlang.fit.batches import Gather, Rows
from gradlang.fit.parameters import Layout, fitted, idle, metrics, objective, starts
from gradlang.pipeline import Goal
from gradlang.runtime.bind import Binder

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.runtime.call import Compiled

Array = NDArray[Any]


class Problem:
    """An objective, the leaves that are fitted, the values that stay, and where the fit starts.

    Raises InputError if the program has no such objective or parameters, or values do not fit it."""

    def __init__(
        self,
        model: Model,
        given: Mapping[str, Any],
        of: str | None,
        wrt: Any,
        params: Mapping[str, Any],
        seed: int,
        backend: str,
    ) -> None:
        program = model.program
        self.model, self.given, self.params, self.seed, self.backend = model, dict(given), dict(params), seed, backend
        self.objective, self.sign = objective(program, of)
        self.names = fitted(program, wrt, given)
        self.metrics = metrics(program, self.objective)
        self.warnings = idle(program, self.names, self.objective)
        self.binder = Binder(program, tuple(program.callable_leaves()), (), model.dtype, seed)
        self.known(given)

    def known(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self.binder.types:
                raise self.binder.unknown(str(name))

    def open(self, first: Mapping[str, Any]) -> None:
        """Finds the values that stay, and where the fit starts, with the data of one step."""
        start = starts(self.binder, self.binder.types, first, self.params)
        self.layout = Layout({n: start[n].shape for n in self.names})
        self.start = self.layout.pack(start, self.model.dtype)
        self.bounds = self.layout.bounds(self.model.program)
        self.fixed = {n: a for n, a in start.items() if n not in self.names}
        if self.bounds is not None:
            np.clip(self.start, *self.bounds, out=self.start)

    @property
    def gradient(self) -> Compiled:
        goal = Goal("grad", (self.objective,), self.names, self.model.dtype, also=self.metrics)
        return self.model.compile(goal, self.backend)

    @property
    def value(self) -> Compiled:
        return self.model.compile(Goal("value", (self.objective, *self.metrics), (), self.model.dtype), self.backend)

    def named(self, found: Any) -> dict[str, float]:
        """The objective and the metrics by name."""
        if not isinstance(found, dict):
            return {self.objective: float(found)}
        return {n: float(v) for n, v in found.items()}


class Work:
    """Calls of one compiled function for batches of one length. Arguments are arrays that stay where they are: a batch is
    copied into them, and parameters are views of one vector. With `slopes` the function gives a gradient, which goes there."""

    def __init__(
        self,
        problem: Problem,
        compiled: Compiled,
        views: Mapping[str, Array],
        rows: Rows | None,
        count: int,
        slopes: Any = None,
    ) -> None:
        binder = compiled.binder
        kinds = {"real": problem.model.dtype, "int": "int64", "bool": "bool"}
        self.compiled, self.values = compiled, {**problem.fixed, **views}
        self.gather: Callable[[Array], None] | None = None
        if rows is not None:
            memory = Gather(rows, count, {n: kinds[binder.types[n].dtype] for n in rows.arrays})
            self.values |= memory.arrays
            self.gather = memory.fill
        self.args: list[Any] = [self.values[n] for n in binder.types]
        self.numbers = [
            (k, self.values[n])
            for k, n in enumerate(binder.types)
            if not binder.types[n].shape and binder.types[n].dtype == "real"
        ]
        self.slopes: list[Array] | None = None if slopes is None else [slopes[n] for n in problem.names]
        self.plain = compiled.job.scalar
        native = not self.plain and compiled.native is not None
        self.more: dict[str, Any] = {"out": self.slopes} if native and slopes is not None else {}
        self.checked = False

    def __call__(self, which: Array | None) -> Any:
        """The value at the rows `which`; the gradient is then in the arrays for it."""
        if self.gather is not None and which is not None:
            self.gather(which)
        if not self.checked:
            self.compiled.binder.bind(self.values)
            self.checked = True
        args = self.args
        for k, number in self.numbers:
            args[k] = float(number) if self.plain else number[()]
        if self.plain:
            found = self.compiled.raw(*args)
        else:
            found = self.compiled.run(args, self.more)
        if self.slopes is None:
            return found
        value, gradient = found
        for array, made in zip(self.slopes, gradient.values(), strict=True):
            if made is not array:
                array[...] = made
        return value
