"""A program in the form of scipy.optimize: functions of one vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlang.fit import errors
from gradlang.fit.parameters import scalar
from gradlang.fit.problem import Problem, Work

if TYPE_CHECKING:
    from gradlang.api import Model

Array = NDArray[Any]


class Scipy:
    """The objective as functions of a vector x [n], which holds all parameters in the order of the program, each in C order.

    - `x0`: where a fit starts, [n]; `bounds`: a list of n pairs (low, high), None for an end that is open, or None if no
      parameter has a range.
    - `fun(x)`: the value; `jac(x)`: its gradient, [n]; `fun_and_jac(x)`: both, for `minimize(fun_and_jac, x0, jac=True)`.
    - `hess(x)`: the Hessian, [n, n]; `hessp(x, p)`: the Hessian times p, [n].
    - `unpack(x)`: the parameters by name; `pack(values)`: the vector of parameters by name.

    What a program maximizes has its sign turned, since scipy minimizes. For a vector of m residuals, `fun` gives them, [m], and
    `jac` their Jacobian, [m, n], as `least_squares(fun, x0, jac)` and `root(fun_and_jac, x0, jac=True)` want them."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.model = problem, problem.model
        self.of, self.wrt, self.sign = problem.objective, problem.names, problem.sign
        self.layout, self.x0 = problem.layout, problem.start.astype(float)
        self.scalar = scalar(problem.model.program, self.of)
        self.vector, self.slope = np.empty_like(problem.start), np.empty_like(problem.start)
        self.views = self.layout.views(self.vector)
        self.works: dict[str, Work] = {}

    @property
    def bounds(self) -> list[tuple[float | None, float | None]] | None:
        if self.problem.bounds is None:
            return None
        return [(end(a), end(b)) for a, b in zip(*self.problem.bounds, strict=True)]

    def unpack(self, x: Array) -> dict[str, Any]:
        """The parameters of a vector [n], as arrays of their own shapes and numbers for scalars."""
        made = self.layout.unpack(self.checked(x).copy())
        return {n: a if a.ndim else float(a) for n, a in made.items()}

    def pack(self, values: Mapping[str, Any]) -> Array:
        """The vector [n] of parameters by name. Raises InputError for names that are missing or too many, or wrong shapes."""
        for name in values:
            if name not in self.wrt:
                raise errors.no_parameter(str(name), self.wrt)
        missing = [n for n in self.wrt if n not in values]
        if missing:
            raise errors.missing(missing)
        for name, shape in self.layout.shapes.items():
            if np.shape(values[name]) != shape:
                raise self.problem.binder.misfit(name, np.shape(values[name]))
        return self.layout.pack(values, "float64")

    def checked(self, x: Any) -> Array:
        array = np.asarray(x, float)
        if array.shape != (self.layout.size,):
            raise errors.wrong_vector(array.shape, self.layout.size)
        return array

    # -------------------------------------------------------------- values
    def fun(self, x: Array) -> Any:
        """The value at x [n]: a number, or residuals [m]."""
        self.vector[...] = self.checked(x)
        if not self.scalar:
            return np.ravel(self.model.function(self.of, self.problem.backend)(self.values())).astype(float)
        if "value" not in self.works:
            self.works["value"] = Work(self.problem, self.model.function(self.of, self.problem.backend), self.views, None, 1)
        return self.sign * float(self.works["value"](None))

    def jac(self, x: Array) -> Array:
        """The gradient at x [n]: [n]; of residuals the Jacobian, [m, n]."""
        if self.scalar:
            return self.fun_and_jac(x)[1]
        self.vector[...] = self.checked(x)
        found = self.model.jacobian(self.of, list(self.wrt), self.problem.backend)(self.values())
        size = self.layout.size
        columns = [np.asarray(found[n], float).reshape(-1, self.views[n].size) for n in self.wrt]
        return np.concatenate(columns, axis=1) if size else np.zeros((0, 0))

    def fun_and_jac(self, x: Array) -> tuple[Any, Array]:
        """The value and the gradient at x [n], computed together."""
        if not self.scalar:
            return self.fun(x), self.jac(x)
        self.vector[...] = self.checked(x)
        if "both" not in self.works:
            compiled = self.model.value_and_grad(self.of, list(self.wrt), self.problem.backend)
            self.works["both"] = Work(self.problem, compiled, self.views, None, 1, self.slope)
        work = self.works["both"]
        value = work(None)
        return self.sign * float(value), self.sign * np.concatenate([g for _, g in work.parts]).astype(float)

    def values(self) -> dict[str, Any]:
        return {**self.problem.fixed, **{n: v.copy() for n, v in self.views.items()}}

    # -------------------------------------------------------------- second derivatives
    def hess(self, x: Array) -> Array:
        """The Hessian at x [n], [n, n]."""
        self.second()
        self.vector[...] = self.checked(x)
        found = self.model.hessian(self.of, list(self.wrt), self.problem.backend)(self.values())
        out = np.empty((self.layout.size, self.layout.size))
        for a, rows in self.layout.places.items():
            for b, columns in self.layout.places.items():
                block = out[rows, columns]
                block[...] = np.reshape(found[a][b], block.shape)
        return self.sign * out

    def hessp(self, x: Array, p: Array) -> Array:
        """The Hessian at x [n] times p [n], [n]."""
        self.second()
        self.vector[...] = self.checked(x)
        along = self.layout.unpack(self.checked(p))
        found = self.model.hvp(self.of, list(self.wrt), self.problem.backend)(along, self.values())[1]
        return self.sign * self.layout.pack(found, "float64")

    def second(self) -> None:
        if not self.scalar:
            raise errors.not_scalar(self.of, self.model.program.nodes[self.model.program.values[self.of]].type)

    def __repr__(self) -> str:
        return f"<gradlang {self.of} of {', '.join(self.wrt)} for scipy.optimize, {self.layout.size} numbers>"


def end(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def scipy_form(
    model: Model,
    of: str | None,
    wrt: str | Iterable[str] | None,
    data: Mapping[str, Any],
    params: Mapping[str, Any],
    seed: int | None,
    backend: str,
) -> Scipy:
    """A program with data in the form of scipy. Raises InputError if they do not fit together."""
    problem = Problem(model, data, of, wrt, params, model.seed if seed is None else seed, backend, vectors=True)
    problem.open(problem.given)
    return Scipy(problem)
