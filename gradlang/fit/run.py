"""A fit from arguments to result: what `model.fit` and `gradlang fit` do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gradlang.fit import errors
from gradlang.fit.batches import Batch, Rows, chosen, rows_of
from gradlang.fit.methods import METHODS, minimized
from gradlang.fit.optimizers import RULES, Optimizer, settings
from gradlang.fit.problem import Problem
from gradlang.fit.result import Fit
from gradlang.fit.state import Row, State, fingerprint, read_state
from gradlang.fit.training import Lengths, Training, Watcher, validation
from gradlang.record import record
from gradlang.runtime.bind import by_name, whole

if TYPE_CHECKING:
    from gradlang.api import Model

Array = NDArray[Any]
EPOCHS = 20  # if neither is said: epochs of batches,
STEPS = 1000  # and steps on all data


@record
class Wishes:
    """What a fit is asked for, as the caller said it; None stands for the default, or for what a state says."""

    of: str | None = None
    wrt: str | Iterable[str] | None = None
    optimizer: str | None = None
    batch: Batch = None
    epochs: int | None = None
    steps: int | None = None
    seed: int | None = None
    hold_out: float | None = None
    backend: str | None = None
    options: Mapping[str, float] = {}


def fit(
    model: Model,
    data: Mapping[str, Any],
    wishes: Wishes,
    valid: Mapping[str, Any] | None,
    params: Mapping[str, Any],
    resume: State | str | Path | None,
    watcher: Watcher,
) -> Fit:
    """Fits a model. Raises InputError for wishes that do not fit together or the program, Diverged for a value that is not
    finite."""
    old = read_state(resume) if isinstance(resume, (str, Path)) else resume
    if not (old is None or isinstance(old, State)):
        raise errors.no_state(repr(old), "it is none, and no name of a file")
    setup = Setup(model, data, wishes, valid, params, old)
    if setup.optimizer in METHODS:
        steps = length("steps", wishes.steps) or STEPS
        return minimized(setup.problem, setup.optimizer, wishes.options, steps, setup.validation(), watcher)
    return setup.train(watcher)


def length(what: str, count: Any) -> int | None:
    """A number of epochs or steps. Raises InputError if it is none."""
    if count is not None and whole(count, 1) is None:
        raise errors.bad_length(what, count)
    return None if count is None else int(count)


class Setup:
    """What the wishes mean for a program and its data."""

    def __init__(
        self,
        model: Model,
        data: Mapping[str, Any],
        wishes: Wishes,
        valid: Mapping[str, Any] | None,
        params: Mapping[str, Any],
        old: State | None,
    ) -> None:
        self.model, self.wishes, self.valid, self.old = model, wishes, valid, old
        said = old.run if old is not None else {}
        seed = said.get("seed", model.seed) if wishes.seed is None else wishes.seed
        number = whole(seed, 0)
        if number is None:
            raise errors.bad_seed(seed)
        self.seed = number
        self.optimizer = said.get("optimizer", "adam") if wishes.optimizer is None else str(wishes.optimizer).lower()
        if self.optimizer not in (*RULES, *METHODS):
            raise errors.no_optimizer(self.optimizer, [*RULES, *METHODS])
        if self.optimizer in METHODS:
            self.alone()
        share = said.get("hold_out", 0.0) if wishes.hold_out is None else wishes.hold_out
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= float(share) < 1:
            raise errors.bad_share(share)
        self.hold_out = float(share)
        if self.hold_out and valid is not None:
            raise errors.both_kinds()
        self.backend = said.get("backend", "auto") if wishes.backend is None else wishes.backend
        self.size: str | None = said.get("size")
        self.batch: int | None = said.get("batch")
        if wishes.batch is not None:
            self.size, self.batch = chosen(wishes.batch)
        self.problem = Problem(model, data, wishes.of, wishes.wrt, params, self.seed, self.backend)
        self.cut(data)

    def cut(self, data: Mapping[str, Any]) -> None:
        """The rows to learn from, if steps take batches of them, and those to validate with; the first batch."""
        problem, batch = self.problem, self.batch
        program, binder, names = self.model.program, problem.binder, problem.names
        rows = rows_of(program, binder, data, names, self.size, bool(batch or self.hold_out))
        self.held: Rows | None = None
        if rows is not None and self.hold_out:
            rows, self.held = rows.split(self.hold_out, self.seed)
        if self.valid is not None:
            problem.known(by_name(self.valid, "validation data"))
            if rows is not None:
                self.held = rows_of(program, binder, {**data, **self.valid}, names, rows.size, True)
        if rows is not None and batch is None:
            problem.given |= rows.arrays
        self.rows = rows if batch is not None else None
        first = {n: a[:batch] for n, a in self.rows.arrays.items()} if self.rows is not None else {}
        problem.open({**problem.given, **first})

    def validation(self) -> Callable[[Mapping[str, Array]], Row] | None:
        """A function of the parameters that gives the mean values over the validation data."""
        problem, valid = self.problem, self.valid or {}
        if self.held is not None:
            fixed = {n: v for n, v in valid.items() if n not in self.held.arrays}
            return validation(problem, fixed, self.held, self.batch or self.held.count)
        if self.valid is None:
            return None
        return lambda views: problem.named(problem.value({**problem.fixed, **valid, **views}))

    # -------------------------------------------------------------- optimisers of this package
    def lengths(self) -> Lengths:
        epochs, steps = length("epochs", self.wishes.epochs), length("steps", self.wishes.steps)
        if epochs is not None and steps is not None:
            raise errors.two_lengths()
        if epochs is None and steps is None:
            epochs, steps = (None, STEPS) if self.batch is None else (EPOCHS, None)
        return Lengths(epochs, steps, self.batch)

    def run(self) -> dict[str, Any]:
        """What tells this run from others."""
        problem, rows = self.problem, self.rows
        source = problem.gradient.source.partition("\n")[2]
        return {
            "optimizer": self.optimizer,
            "seed": self.seed,
            "size": None if rows is None else rows.size,
            "batch": self.batch,
            "hold_out": self.hold_out,
            "dtype": self.model.dtype,
            "backend": self.backend,
            "names": {n: list(s) for n, s in problem.layout.shapes.items()},
            "program": hashlib.sha256(source.encode()).hexdigest()[:16],
            "data": fingerprint({**problem.given, **(rows.arrays if rows is not None else {})}),
        }

    def state(self, optimizer: Optimizer) -> State:
        """Where the run stands: at its start, or where the old one ended. Raises InputError if that is one of other runs."""
        run, old = self.run(), self.old
        if old is None:
            return State({**run, "options": optimizer.options}, self.problem.start, optimizer.slots)
        for what, value in run.items():
            if old.run.get(what) != value:
                raise errors.other_run(what, old.run.get(what), value)
        if old.vector.shape != (self.problem.layout.size,) or len(old.slots) != len(optimizer.slots):
            raise errors.other_run("names", "others", "these")
        if old.at >= max(1, -(-self.rows.count // (self.batch or 1)) if self.rows is not None else 1):
            raise errors.other_run("data", "others", "these")
        optimizer.options = settings(self.optimizer, {**old.run["options"], **self.wishes.options})
        state = old.copy()
        state.run, state.history = {**run, "options": optimizer.options}, list(old.done)
        return state

    def made(self) -> Optimizer:
        return Optimizer(self.optimizer, self.wishes.options, self.problem.layout.size, self.model.dtype)

    def train(self, watcher: Watcher) -> Fit:
        problem, lengths, optimizer = self.problem, self.lengths(), self.made()
        training = Training(problem, optimizer, self.state(optimizer), lengths, self.rows, self.validation(), watcher)
        try:
            ended = training.run()
        except errors.Diverged as error:
            error.result = Fit(problem, training.state, training.history(), "diverged")
            raise
        return Fit(problem, training.state, training.history(), ended)

    def alone(self) -> None:
        """Raises InputError for wishes that methods on all data cannot fulfil."""
        for what, said in (("batches", self.wishes.batch), ("epochs", self.wishes.epochs), ("state to go on from", self.old)):
            if said is not None:
                raise errors.whole_data_only(self.optimizer, what)
