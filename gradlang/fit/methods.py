"""Methods of scipy.optimize, on all data at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from numbers import Real
from typing import Any

import numpy as np

from gradlang.diagnostics import InputError
from gradlang.fit import errors
from gradlang.fit.interrupts import Interrupts
from gradlang.fit.problem import Problem
from gradlang.fit.result import Fit
from gradlang.fit.scipy_form import Scipy
from gradlang.fit.state import VALID, Row
from gradlang.fit.training import Lengths, Validation, Watcher
from gradlang.record import record


@record
class Method:
    """A method of `scipy.optimize.minimize`: its name there, what it wants besides the gradient (`none`: not even that),
    whether it keeps to ranges, and what its limit of steps is called."""

    name: str
    second: str = ""
    ranges: bool = False
    limit: str = "maxiter"


METHODS: dict[str, Method] = {
    "l-bfgs-b": Method("L-BFGS-B", ranges=True),
    "bfgs": Method("BFGS"),
    "cg": Method("CG"),
    "newton-cg": Method("Newton-CG", "hessp"),
    "tnc": Method("TNC", ranges=True, limit="maxfun"),
    "slsqp": Method("SLSQP", ranges=True),
    "trust-constr": Method("trust-constr", "hessp", ranges=True),
    "trust-ncg": Method("trust-ncg", "hessp"),
    "trust-krylov": Method("trust-krylov", "hessp"),
    "trust-exact": Method("trust-exact", "hess"),
    "nelder-mead": Method("Nelder-Mead", "none", ranges=True),
    "powell": Method("Powell", "none", ranges=True),
}
OPTIONS = ("tol",)


class Stop(Exception):
    """Ends a method of scipy from inside a function that it calls."""


class Minimizing:
    """A fit by a method of scipy: its steps become rows of the history."""

    def __init__(self, problem: Problem, valid: Validation | None, watcher: Watcher, stopped: Interrupts) -> None:
        self.form, self.problem, self.valid, self.watcher, self.stopped = Scipy(problem), problem, valid, watcher, stopped
        self.here = self.form.x0.copy()  # after the last step
        self.last: tuple[Any, float] = (None, math.nan)  # the last point, and the value there
        self.good, self.kept = self.here, 0  # after the last step at which the value was finite, and its number
        self.history: list[Row] = []

    def fun(self, x: Any) -> float:
        if self.stopped:
            raise Stop
        value = float(self.form.fun(x))
        self.last = x.copy(), value
        return value

    def fun_and_jac(self, x: Any) -> tuple[float, Any]:
        if self.stopped:
            raise Stop
        value, slope = self.form.fun_and_jac(x)
        self.last = x.copy(), value
        return value, slope

    def step(self, x: Any, state: Any = None) -> bool:
        """Is called by scipy after each step."""
        self.note(x, len(self.history) + 1)
        return False

    def note(self, x: Any, number: int) -> None:
        self.here = np.array(x, float)
        params = self.form.layout.views(self.here.astype(self.problem.model.dtype))
        row: Row = {"epoch": number, "step": number}
        if self.problem.metrics or not np.array_equal(self.last[0], self.here):
            row |= self.problem.named(self.problem.value({**self.problem.fixed, **params}))
        else:
            row[self.problem.objective] = self.problem.sign * self.last[1]
        if self.valid is not None:
            row |= {VALID + n: v for n, v in self.valid(params).items()}
        if math.isfinite(row[self.problem.objective]):
            self.good, self.kept = self.here, number
        self.history.append(row)
        self.watcher.epoch(row)


def minimized(
    problem: Problem,
    name: str,
    options: Mapping[str, float],
    steps: int,
    valid: Validation | None,
    watcher: Watcher,
) -> Fit:
    """A fit by a method of scipy. Raises InputError where scipy is missing or the method does not fit the program, Diverged if
    the result is not finite."""
    method = METHODS[name]
    for setting in options:
        if setting not in OPTIONS:
            raise errors.no_setting(name, setting, OPTIONS, [])
        if not (isinstance(options[setting], Real) and 0 < options[setting] < math.inf):
            raise errors.bad_setting(name, setting, options[setting], 0.0, math.inf, True)
    if problem.bounds is not None and not method.ranges:
        ranged = next(n for n in problem.names if problem.model.program.leaves[n].range)
        raise errors.no_ranges(name, ranged, [n for n, m in METHODS.items() if m.ranges])
    if find_spec("scipy") is None:
        raise errors.no_scipy(f"the optimiser {name}")
    from scipy.optimize import minimize

    watcher.begin(Lengths(None, steps, None), 1, problem.warnings)
    with Interrupts() as stopped, np.errstate(all="ignore"):
        run = Minimizing(problem, valid, watcher, stopped)
        begin(run)
        extra: dict[str, Any] = {"jac": True} if method.second != "none" else {}
        if method.second in ("hess", "hessp"):
            extra[method.second] = getattr(run.form, method.second)
        try:
            found = minimize(
                run.fun_and_jac if extra else run.fun,
                run.form.x0,
                method=method.name,
                bounds=run.form.bounds,
                callback=run.step,
                tol=options.get("tol"),
                options={method.limit: steps},
                **extra,
            )
        except Stop:
            return Fit(problem, None, run.history, "interrupted", run.here)
        except (ValueError, ArithmeticError, RuntimeError, UnboundLocalError) as error:  # scipy's own: it cannot go on
            if isinstance(error, InputError):
                raise
            raise errors.gave_up(name, str(error)) from None
        if not math.isfinite(found.fun):
            diverged(run, np.array(found.x, float), len(run.history) or 1)
    text = " ".join(str(found.message).split())
    if not run.history:  # the first point was as good as any
        run.note(found.x, 0)
    return Fit(problem, None, run.history, "done", found.x, f"{method.name}: {text}")


def begin(run: Minimizing) -> None:
    """Raises Diverged if there is no value to start from, InputError if there is nothing to move."""
    problem, x = run.problem, run.form.x0
    if not x.size:
        raise errors.nothing_there("in the parameters: they have no entries")
    if not math.isfinite(problem.named(problem.value({**problem.fixed, **run.form.unpack(x)}))[problem.objective]):
        diverged(run, x, 1)


def diverged(run: Minimizing, x: Any, step: int) -> None:
    """Raises Diverged for a point at which the value is not finite. The parameters are then those of the last good step."""
    problem = run.problem
    values = {**problem.fixed, **run.form.unpack(x)}
    what = f"`{problem.objective}` is {problem.named(problem.value(values))[problem.objective]}"
    error = errors.diverged(what, step, run.kept or None, problem.model.births(values), problem.model.program)
    error.result = Fit(problem, None, run.history, "diverged", run.good)
    raise error
