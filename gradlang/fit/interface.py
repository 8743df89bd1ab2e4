"""The part of a model that fits it: `Model.fit` and `Model.scipy`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlang.fit.result import Fit
    from gradlang.fit.scipy_form import Scipy
    from gradlang.fit.state import State
    from gradlang.fit.training import Watcher

NONE: Mapping[str, Any] = {}


class Fitting:
    """What a model is when it is fitted. NumPy, and scipy where it is needed, are imported by the calls."""

    def fit(
        self: Any,
        data: Mapping[str, Any] = NONE,
        *,
        optimizer: str | None = None,
        batch: int | str | Mapping[str, int] | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        of: str | None = None,
        wrt: str | Iterable[str] | None = None,
        valid: Mapping[str, Any] | None = None,
        hold_out: float | None = None,
        seed: int | None = None,
        params: Mapping[str, Any] = NONE,
        resume: State | str | Path | None = None,
        backend: str | None = None,
        watcher: Watcher | None = None,
        **options: float,
    ) -> Fit:
        """Fits the parameters (or the leaves `wrt`) to data by making the objective of the program (or the scalar `of`) small,
        or large if the program says `maximize`.

        `data` are arrays by the names of inputs. Without `batch` a step takes all of them; with `batch=100` it takes 100
        rows of every input whose first size is that of the rows (`batch={"N": 100}` names the size), in an order that is
        shuffled every epoch; the last batch of an epoch may be short. `valid` are data to validate with, `hold_out` the share
        of the rows that is kept for this.

        `optimizer` is sgd, momentum, nesterov, adagrad, rmsprop, adam (the default) or adamw, with the formulas and settings of
        torch.optim as further arguments (`lr=1e-3`), or a method of scipy.optimize (`l-bfgs-b`, `newton-cg`, ...). The length
        is 20 epochs of batches or 1000 steps on all data, or what `epochs` or `steps` says.

        `params` are values to start from, `resume` a state (or its file) to go on from: the result has the same bits as one
        that was never interrupted. `watcher` is told how it goes on.

        Returns a `Fit` with `params`, `history` and `state`. Ctrl-C finishes the step and returns what there is
        (`stopped == "interrupted"`). Raises InputError if arguments do not fit the program or one another, and its
        subclass Diverged, with the last good `result`, if a value is not finite."""
        from gradlang.fit import run, training

        wishes = run.Wishes(of, wrt, optimizer, batch, epochs, steps, seed, hold_out, backend, options)
        return run.fit(self, data, wishes, valid, params, resume, watcher or training.Watcher())

    def scipy(
        self: Any,
        of: str | None = None,
        wrt: str | Iterable[str] | None = None,
        data: Mapping[str, Any] = NONE,
        *,
        params: Mapping[str, Any] = NONE,
        seed: int | None = None,
        backend: str = "auto",
    ) -> Scipy:
        """The objective of the program (or `of`) as functions of one vector [n] of all parameters (or of the leaves `wrt`), for
        `scipy.optimize`: an object with `fun`, `jac`, `fun_and_jac`, `hess`, `hessp`, `x0`, `bounds`, `unpack` and `pack`.

        `data` are the values of other inputs, `params` values to start from. Raises InputError if they do not fit."""
        from gradlang.fit.scipy_form import scipy_form

        return scipy_form(self, of, wrt, data, params, seed, backend)
