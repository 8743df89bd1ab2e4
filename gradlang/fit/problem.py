"""What is fitted: an objective as a function of one vector, for the data of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlang.fit import errors
from gradlang.fit.batches import Gather, Rows
from gradlang.fit.parameters import LARGE, Layout, fitted, idle, metrics, objective, started
from gradlang.fit.state import VALID
from gradlang.pipeline import Goal
from gradlang.runtime.bind import Binder, by_name, outside
from gradlang.types import Size, Type

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.runtime.call import Compiled

Array = NDArray[Any]
COLUMNS = ("epoch", "step")  # what a row of the history holds besides values of the program


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
        vectors: bool = False,
    ) -> None:
        """With `vectors` the objective may be an array: residuals."""
        program = model.program
        self.model, self.seed, self.backend = model, seed, backend
        self.given, self.params = dict(by_name(given, "data")), dict(by_name(params, "parameters"))
        self.objective, self.sign = objective(program, of, vectors)
        self.names = fitted(program, wrt, given)
        self.metrics = metrics(program, self.objective)
        columns = (self.objective, *self.metrics)
        for name in columns:
            if name in COLUMNS or (name.startswith(VALID) and name.removeprefix(VALID) in columns):
                raise errors.name_of_column(name, self.objective)
        self.binder = Binder(program, tuple(program.callable_leaves()), (), model.dtype, seed)
        self.known(given)
        self.given = {n: self.binder.numeric(n, v) for n, v in self.given.items()}
        both = started(self.binder, params) | self.given
        ranged = {n: self.binder.numeric(n, v) for n, v in both.items() if program.leaves[n].range is not None}
        self.warnings = [*idle(program, self.names, self.objective), *outside(program, ranged)]
        if any(leaf.required and leaf.name not in both for leaf in self.binder.leaves):
            self.binder.bind(both)  # says which are missing

    def known(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self.binder.types:
                raise self.binder.unknown(str(name))

    def open(self, first: Mapping[str, Any]) -> None:
        """Finds the values that stay, and where the fit starts, with the data of one step."""
        bound, _ = self.binder.bind({**self.params, **first})
        start = dict(zip(self.binder.types, bound, strict=True))
        self.layout = Layout({n: start[n].shape for n in self.names})
        self.start = self.layout.pack(start, self.model.dtype)
        self.bounds = self.layout.bounds(self.model.program)
        # a default such as `ones(N)` is as long as the data of a call
        grows = {leaf.name for leaf in self.binder.leaves if leaf.default_node is not None and sized(leaf.type)}
        self.fixed = {n: a for n, a in start.items() if n not in self.names and (n in first or n not in grows)}
        if self.bounds is not None:
            np.clip(self.start, *self.bounds, out=self.start)

    @property
    def gradient(self) -> Compiled:
        goal = Goal("grad", (self.objective,), self.names, self.model.dtype, also=self.metrics, often=True)
        return self.model.compile(goal, self.backend)

    @property
    def value(self) -> Compiled:
        goal = Goal("value", (self.objective, *self.metrics), (), self.model.dtype, often=True)
        return self.model.compile(goal, self.backend)

    def named(self, found: Any) -> dict[str, float]:
        """The objective and the metrics by name."""
        if not isinstance(found, dict):
            return {self.objective: float(found)}
        return {n: float(v) for n, v in found.items()}


def sized(type: Type) -> bool:
    return any(isinstance(d, Size) for d in type.shape)


class Work:
    """Calls of one compiled function for batches of one length. Arguments are arrays that stay where they are: a batch is
    copied into them, and parameters are views of one vector.

    With `slope`, a vector [size], the function gives a gradient too: afterwards `parts` are vectors that make it up, each with
    the place where it begins. Most lie in `slope`; a large array that the function made is taken as it is."""

    def __init__(
        self,
        problem: Problem,
        compiled: Compiled,
        views: Mapping[str, Array],
        rows: Rows | None,
        count: int,
        slope: Array | None = None,
    ) -> None:
        types = compiled.binder.types
        kinds = {"real": problem.model.dtype, "int": "int64", "bool": "bool"}
        self.compiled, self.values = compiled, {**problem.fixed, **views}
        self.gather: Callable[[Array], None] | None = None
        if rows is not None:
            memory = Gather(rows, count, {n: kinds[types[n].dtype] for n in rows.arrays})
            self.values |= memory.arrays
            self.gather = memory.fill
        if any(n not in self.values for n in types):
            made, _ = problem.binder.bind(self.values)
            self.values = {**dict(zip(problem.binder.types, made, strict=True)), **self.values}
        self.args: list[Any] = [self.values[n] for n in types]
        self.numbers = [(k, self.values[n]) for k, n in enumerate(types) if not types[n].shape and types[n].dtype == "real"]
        self.plain = compiled.job.scalar
        self.checked = False
        self.slope: Array | None = slope
        self.out: list[Array] | None = None
        if slope is not None:
            self.slopes = list(problem.layout.views(slope).values())
            self.starts = [problem.layout.places[n].start for n in problem.names]
            self.runs = list(problem.layout.runs())
            self.kept = [(r.start, slope[r]) for r in self.runs]
            self.parts: list[tuple[int, Array]] = self.kept
            if not self.plain:
                self.out = self.slopes

    def __call__(self, which: Array | None) -> Any:
        """The value at the rows `which`."""
        if self.gather is not None and which is not None:
            self.gather(which)
        if not self.checked:
            self.compiled.binder.bind(self.values)
            self.checked = True
        args = self.args
        for k, number in self.numbers:
            args[k] = float(number) if self.plain else number[()]
        if self.slope is not None:
            self.parts = self.kept  # the memory of the last gradient is free for this one
        found = self.compiled.raw(*args) if self.plain else self.compiled.run(args, self.out)
        if self.slope is None:
            return found
        value, gradient = found
        if not all(map(is_, self.slopes, gradient.values())):
            self.collect(gradient.values())
        return value

    def collect(self, gradient: Iterable[Any]) -> None:
        """Puts a gradient into the vector for it; what is large stays where it is."""
        large: dict[int, Array] = {}
        for k, (array, made) in enumerate(zip(self.slopes, gradient, strict=True)):
            if made is array:
                continue
            if array.size >= LARGE and made.flags.c_contiguous:
                large[self.starts[k]] = made.reshape(-1)
            else:
                array[...] = made
        if large:
            self.parts = [(r.start, large[r.start] if r.start in large else self.slope[r]) for r in self.runs]  # type: ignore[index]
