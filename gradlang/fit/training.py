"""The loop of a fit: epochs of batches, one step of the optimiser each. Its state can be kept and continued at any step."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlang.diagnostics import Diagnostic
from gradlang.fit import errors
from gradlang.fit.batches import Rows
from gradlang.fit.interrupts import Interrupts
from gradlang.fit.optimizers import Optimizer
from gradlang.fit.problem import Problem, Work
from gradlang.fit.state import VALID, Row, State
from gradlang.record import record

Array = NDArray[Any]
Validation = Callable[[Mapping[str, Any]], Row]
SHOW_EVERY = 0.1  # seconds between two reports inside an epoch
SAVE_EVERY = 10.0  # seconds between two states that are kept on the way


@record
class Lengths:
    """How long a fit lasts: a number of epochs or of steps; and the rows of a batch (None: all data)."""

    epochs: int | None
    steps: int | None
    batch: int | None


class Watcher:
    """Is told how a fit goes on. Here warnings become those of Python, and nothing else happens."""

    def begin(self, lengths: Lengths, batches: int, found: Sequence[Diagnostic]) -> None:
        """At the start: how long it will be, batches in an epoch, and what the program is warned of."""
        for diagnostic in found:
            warnings.warn(diagnostic.message, stacklevel=6)

    def progress(self, state: State, mean: Row, rate: float) -> None:
        """About ten times a second: the state, mean values of the epoch so far, and steps per second."""

    def epoch(self, row: Row) -> None:
        """At the end of each epoch: the row of the history."""

    def keep(self, state: State, last: bool) -> None:
        """From time to time, and at the end: a state that is worth keeping. It must not be changed."""


class Training:
    """A fit by a first-order optimiser, from a state on."""

    def __init__(
        self,
        problem: Problem,
        optimizer: Optimizer,
        state: State,
        lengths: Lengths,
        rows: Rows | None,
        valid: Validation | None,
        watcher: Watcher,
    ) -> None:
        self.problem, self.optimizer, self.state, self.lengths = problem, optimizer, state, lengths
        self.rows, self.valid, self.watcher = rows, valid, watcher
        self.views = problem.layout.views(state.vector)
        self.slope = np.empty_like(state.vector)
        self.works: dict[int, Work] = {}
        self.rest: list[Row] = []
        self.good: State | None = None  # the last one from which a step was made
        self.candidate: State | None = None  # the one from which a step is to be made
        self.last = time.perf_counter()
        self.saved = self.last
        optimizer.slots, optimizer.count = state.slots, state.step

    # -------------------------------------------------------------- one step
    def work(self, count: int) -> Work:
        found = self.works.get(count)
        if found is None:
            found = Work(self.problem, self.problem.gradient, self.views, self.rows, count, self.slope)
            self.works[count] = found
        return found

    def step(self, which: Array | None) -> None:
        count = 1 if which is None else len(which)
        work = self.works.get(count) or self.work(count)
        value = work(which)
        state, parts, problem = self.state, work.parts, self.problem
        loss = value[problem.objective] if type(value) is dict else value
        good = math.isfinite(loss)
        for _, g in parts:
            good = good and finite(g)
        if not good:
            self.fail(loss, work)
        if problem.sign < 0:
            for _, g in parts:
                np.negative(g, out=g)
        if self.candidate is not None:
            self.good, self.candidate = self.candidate, None
        self.optimizer.step(state.vector, parts)
        if problem.bounds is not None:
            np.clip(state.vector, *problem.bounds, out=state.vector)
        sums = state.sums
        if type(value) is dict:
            for name, v in value.items():
                sums[name] = sums.get(name, 0.0) + v * count
        else:
            sums[problem.objective] = sums.get(problem.objective, 0.0) + value * count
        state.rows += count
        state.step += 1
        state.at += 1

    def fail(self, loss: float, work: Work) -> None:
        """Raises Diverged. The state is then the last one at the beginning of an epoch at which the value was finite."""
        whole = np.concatenate([g for _, g in work.parts])
        bad = [n for n, s in self.problem.layout.views(whole).items() if not np.all(np.isfinite(s))]
        what = f"`{self.problem.objective}` is {loss}"
        notes: list[Diagnostic] = []
        if math.isfinite(loss):
            what = f"the gradient by {errors.listed(bad)} is not finite, though `{self.problem.objective}` is {loss:g},"
        else:
            values = {n: np.array(v) for n, v in work.values.items()}
            notes = self.problem.model.births(values)
            wrong = [n for n, v in values.items() if v.dtype.kind == "f" and not np.all(np.isfinite(v))]
            what += f" (the values of {errors.listed(wrong)} are not all finite)" if wrong and not notes else ""
        kept = None if self.good is None else self.good.step
        error = errors.diverged(what, self.state.step + 1, kept, notes, self.problem.model.program)
        if self.good is not None:
            self.state = self.good
            if kept:
                self.watcher.keep(self.state, True)
        raise error

    # -------------------------------------------------------------- epochs
    def run(self) -> str:
        """Goes on until the end, and says why it ended: `done` or `interrupted`. Raises Diverged."""
        self.watcher.begin(self.lengths, self.batches(), self.problem.warnings)
        with Interrupts() as stopped, np.errstate(all="ignore"):
            while not self.finished():
                self.candidate = self.state.copy()
                self.epoch(stopped)
                if stopped:
                    return self.end("interrupted")
                if time.perf_counter() - self.saved > SAVE_EVERY:
                    self.watcher.keep(self.state, False)
                    self.saved = time.perf_counter()
        return self.end("done")

    def end(self, why: str) -> str:
        self.watcher.keep(self.state, True)
        if self.state.at:  # in the middle of an epoch
            self.rest = [{"epoch": self.state.epoch + 1, **self.row()}]
            self.watcher.epoch(self.rest[0])
        return why

    def finished(self) -> bool:
        epochs, steps = self.lengths.epochs, self.lengths.steps
        return (epochs is not None and self.state.epoch >= epochs) or (steps is not None and self.state.step >= steps)

    def batches(self) -> int:
        """Batches in an epoch."""
        if self.rows is None or self.lengths.batch is None:
            return 1
        return -(-self.rows.count // self.lengths.batch)

    def epoch(self, stopped: Interrupts) -> None:
        """One epoch, or what is left of it."""
        state, batch, many = self.state, self.lengths.batch, self.batches()
        order = None if self.rows is None else self.rows.order(self.problem.seed, state.epoch)
        start, began = state.step, time.perf_counter()
        while state.at < many and not stopped and (self.lengths.steps is None or state.step < self.lengths.steps):
            which = order if order is None or batch is None else order[state.at * batch : (state.at + 1) * batch]
            self.step(which)
            now = time.perf_counter()
            if now - self.last > SHOW_EVERY:
                self.last = now
                self.watcher.progress(state, self.mean(), (state.step - start) / max(now - began, 1e-9))
        if state.at == many:
            row: Row = {"epoch": state.epoch + 1, **self.row()}
            state.history[state.epoch :] = [row]
            state.epoch, state.at, state.sums, state.rows = state.epoch + 1, 0, {}, 0
            self.watcher.epoch(row)

    def mean(self) -> Row:
        return {n: s / max(self.state.rows, 1) for n, s in self.state.sums.items()}

    def row(self) -> Row:
        """A row of the history: means over the rows of the epoch so far, and of the validation data."""
        found = {"step": self.state.step, **self.mean()}
        if self.valid is not None:
            found |= {VALID + n: v for n, v in self.valid(self.views).items()}
        return found

    def history(self) -> list[Row]:
        """The rows of all epochs, and of the one that the fit ended in, if it ended in the middle."""
        return [*self.state.done, *self.rest]


def finite(g: Array) -> bool:
    """Whether a vector is finite: its square tells in most cases, but may overflow."""
    return math.isfinite(g @ g) or bool(np.isfinite(g).all())


def validation(problem: Problem, fixed: Mapping[str, Any], rows: Rows, batch: int) -> Validation:
    """Mean values over rows that are not learned from, in pieces of the length of a batch, with the values `fixed`."""
    works: dict[int, Work] = {}
    vector = np.empty_like(problem.start)
    views = problem.layout.views(vector)

    def mean(params: Mapping[str, Any]) -> Row:
        for name, view in views.items():
            view[...] = params[name]
        sums: Row = {}
        for piece in rows.pieces(batch):
            count = piece.stop - piece.start
            if count not in works:
                works[count] = Work(problem, problem.value, {**views, **fixed}, rows, count)
            for name, v in problem.named(works[count](np.arange(piece.start, piece.stop))).items():
                sums[name] = sums.get(name, 0.0) + v * count
        return {n: s / rows.count for n, s in sums.items()}

    return mean
