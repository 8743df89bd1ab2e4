"""All parameters as one vector, in the order of the program: what optimisers move, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlang.check.program import Program, unreached
from gradlang.diagnostics import Diagnostic
from gradlang.fit import errors

if TYPE_CHECKING:
    from gradlang.runtime.bind import Binder

Array = NDArray[Any]
LARGE = 4096  # entries of a parameter from which on its gradient is not copied


class Layout:
    """Where each parameter lies in the vector: names in the order of the program, entries in C order."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self.places: dict[str, slice] = {}
        start = 0
        for name, shape in self.shapes.items():
            self.places[name] = slice(start, start + math.prod(shape))
            start += math.prod(shape)
        self.size = start

    def runs(self) -> Iterator[slice]:
        """Parts of the vector: each large parameter alone, neighbours that are smaller together."""
        start = 0
        for place in self.places.values():
            if place.stop - place.start >= LARGE:
                if start < place.start:
                    yield slice(start, place.start)
                yield place
                start = place.stop
        if start < self.size or not self.size:
            yield slice(start, self.size)

    def views(self, vector: Array) -> dict[str, Array]:
        """The parameters as views of a vector [size], which share its memory."""
        return {name: vector[self.places[name]].reshape(shape) for name, shape in self.shapes.items()}

    def unpack(self, vector: Array) -> dict[str, Array]:
        """The parameters of a vector [size], as arrays of their own."""
        return {name: np.array(view) for name, view in self.views(vector).items()}

    def pack(self, values: Mapping[str, Any], dtype: str) -> Array:
        """The vector [size] of parameters by name."""
        out = np.empty(self.size, dtype)
        for name, view in self.views(out).items():
            view[...] = values[name]
        return out

    def bounds(self, program: Program) -> tuple[Array, Array] | None:
        """The lower and upper ends of the ranges of all entries, or None if no parameter has a range."""
        ranges = {n: program.leaves[n].range for n in self.shapes}
        if not any(ranges.values()):
            return None
        low, high = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        for name, ends in ranges.items():
            if ends is not None:
                low[self.places[name]], high[self.places[name]] = ends
        return low, high


def objective(program: Program, of: str | None, vectors: bool = False) -> tuple[str, float]:
    """What is made small, and 1, or -1 for what is made large. Raises InputError if nothing says so."""
    asked = next((a for a in program.asked if a.kind in ("minimize", "maximize")), None)
    if of is None:
        if asked is None:
            scalars = [n for n in program.outputs if scalar(program, n)]
            raise errors.no_objective(scalars)
        return asked.name, 1.0 if asked.kind == "minimize" else -1.0
    if not isinstance(of, str) or of not in program.values:
        raise errors.no_value(str(of), [n for n in program.values if n not in program.leaves])
    type = program.nodes[program.values[of]].type
    if (type.shape and not vectors) or type.dtype != "real":
        raise errors.not_scalar(of, type)
    largest = asked is not None and asked.name == of and asked.kind == "maximize"
    return of, -1.0 if largest else 1.0


def scalar(program: Program, name: str) -> bool:
    return not program.nodes[program.values[name]].type.shape


def metrics(program: Program, objective: str) -> tuple[str, ...]:
    """The scalar outputs besides the objective."""
    return tuple(n for n in program.outputs if n != objective and scalar(program, n) and n not in program.leaves)


def fitted(program: Program, wrt: str | Iterable[str] | None, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The leaves that are fitted: those named, or all parameters that no value is given for. In the order of the program."""
    free = {n: leaf for n, leaf in program.leaves.items() if leaf.differentiable}
    if wrt is None:
        found = [n for n, leaf in free.items() if leaf.role == "param" and n not in given]
        if not found and any(leaf.role == "param" for leaf in free.values()):
            raise errors.all_given([n for n, leaf in free.items() if leaf.role == "param"])
        if not found:
            raise errors.no_parameters([n for n, leaf in free.items() if not leaf.required and n not in given])
        return tuple(found)
    if not isinstance(wrt, (str, Iterable)):
        raise errors.not_fitted(repr(wrt), "it is no name", list(free))
    names = [wrt] if isinstance(wrt, str) else list(map(str, wrt))
    for name in names:
        if name not in free:
            leaf = program.leaves.get(name)
            why = (
                "it is a definition"
                if leaf is None and name in program.values
                else "there is no such parameter or input"
                if leaf is None
                else "it is a constant"
                if leaf.role == "const"
                else f"it is of type {leaf.type}"
            )
            raise errors.not_fitted(name, why, list(free))
        if name in given:
            raise errors.given_twice(name)
    if not names:
        raise errors.nothing_named(list(free))
    return tuple(n for n in free if n in names)


def idle(program: Program, names: Iterable[str], objective: str) -> list[Diagnostic]:
    """Warnings of parameters that the objective does not depend on."""
    apart = unreached(program, objective)
    return [errors.no_influence(n, objective) for n in names if n in apart]


def started(binder: Binder, params: Mapping[str, Any]) -> dict[str, Any]:
    """Values to start from. Raises InputError for a name that is none of a parameter, or of an input that may be fitted."""
    known = [n for n, leaf in binder.by_name.items() if leaf.differentiable]
    for name in params:
        if name not in known:
            raise errors.no_parameter(str(name), known)
    return dict(params)
