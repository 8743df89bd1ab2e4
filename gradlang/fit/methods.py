"""Methods of scipy.optimize, on all data at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from gradlang.fit import errors
from gradlang.fit.interrupts import Interrupts
from gradlang.fit.problem import Problem
from gradlang.fit.result import Fit
from gradlang.fit.scipy_form import Scipy
from gradlang.fit.state import Row
from gradlang.fit.training import Lengths, Validation, Watcher
from gradlang.record import record

STEPS = 1000


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
        self.here = np.array(x, float)
        params = self.form.layout.views(self.here.astype(self.problem.model.dtype))
        row: Row = {"epoch": len(self.history) + 1, "step": len(self.history) + 1}
        if self.problem.metrics or not np.array_equal(self.last[0], self.here):
            row |= self.problem.named(self.problem.value({**self.problem.fixed, **params}))
        else:
            row[self.problem.objective] = self.problem.sign * self.last[1]
        if self.valid is not None:
            row |= {f"valid_{n}": v for n, v in self.valid(params).items()}
        self.history.append(row)
        self.watcher.epoch(row)
        return False


def minimized(
    problem: Problem,
    name: str,
    options: Mapping[str, float],
    steps: int | None,
    valid: Validation | None,
    watcher: Watcher,
) -> Fit:
    """A fit by a method of scipy. Raises InputError where scipy is missing or the method does not fit the program, Diverged if
    the result is not finite."""
    method = METHODS[name]
    for setting in options:
        if setting not in OPTIONS:
            raise errors.no_setting(name, setting, OPTIONS, [])
    if problem.bounds is not None and not method.ranges:
        ranged = next(n for n in problem.names if problem.model.program.leaves[n].range)
        raise errors.no_ranges(name, ranged, [n for n, m in METHODS.items() if m.ranges])
    if find_spec("scipy") is None:
        raise errors.no_scipy(f"the optimiser {name}")
    from scipy.optimize import minimize

    most = steps or STEPS
    watcher.begin(Lengths(None, most, None), 1, problem.warnings)
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
                options={method.limit: most},
                **extra,
            )
        except Stop:
            return Fit(problem, None, run.history, "interrupted", run.here)
    text = " ".join(str(found.message).split())
    return Fit(problem, None, run.history, "done", found.x, f"{method.name}: {text}")


def begin(run: Minimizing) -> None:
    """Raises Diverged if there is no value to start from."""
    problem = run.problem
    value = problem.named(problem.value({**problem.fixed, **run.form.unpack(run.form.x0)}))[problem.objective]
    if not math.isfinite(value):
        notes = problem.model.births({**problem.fixed, **run.form.unpack(run.form.x0)})
        what = f"`{problem.objective}` is {value}"
        error = errors.diverged(what, 1, None, notes, problem.model.program)
        error.result = Fit(problem, None, [], "diverged", run.form.x0)
        raise error
