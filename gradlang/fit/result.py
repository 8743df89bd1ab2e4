"""What a fit gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlang.fit.chart import chart
from gradlang.fit.state import Row, State, npz
from gradlang.runtime.saving import save

if TYPE_CHECKING:
    from gradlang.fit.problem import Problem


class Fit:
    """The result of a fit.

    - `params`: the fitted values by name, arrays of the shapes of the parameters (numbers for scalars).
    - `history`: a dict per epoch: `epoch`, `step`, the mean of the objective and of every metric over the rows of the epoch,
      as they were met, and with `valid_` in front those of the validation data at its end. Of methods of scipy a dict per step,
      with the values after it; of one that makes none, a dict of step 0.
    - `state`: the whole state, for `resume=`; `state.save(path)` keeps it. None for methods of scipy.
    - `stopped`: `done`, `interrupted` (Ctrl-C) or `diverged`; `message`: what a method of scipy says.
    - `value`: the objective in the last row of the history."""

    def __init__(
        self, problem: Problem, state: State | None, history: list[Row], stopped: str, vector: Any = None, message: str = ""
    ) -> None:
        self.objective, self.names = problem.objective, problem.names
        self.state, self.history, self.stopped, self.message = state, history, stopped, message
        made = problem.layout.unpack(state.vector if state is not None else vector.astype(problem.model.dtype))
        self.params: dict[str, Any] = {n: a if a.ndim else float(a) for n, a in made.items()}

    @property
    def value(self) -> float:
        return self.history[-1][self.objective] if self.history else float("nan")

    def save(self, path: str | Path) -> None:
        """Writes the parameters to an .npz file, all or nothing; its keys are their names.

        Raises InputError if it cannot be written."""
        save(path, npz(self.params))

    def svg(self) -> str:
        """The learning curve as an SVG picture: a panel for the objective and for every metric."""
        return chart(self.history, f"{self.objective} of {', '.join(self.names)}")

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        where = f"{last.get('epoch', 0):g} epochs, {last.get('step', 0):g} steps"
        return f"<gradlang fit of {', '.join(self.names)}: {self.objective} = {self.value:.6g} after {where}, {self.stopped}>"
