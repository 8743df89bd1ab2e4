"""What `gradlang fit` shows while it runs: a line that changes on a terminal, a table of epochs, a state from time to time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradlang.cli.messages import say
from gradlang.cli.streams import deafen
from gradlang.diagnostics import Diagnostic, InputError, text_width
from gradlang.fit.training import Lengths, Watcher
from gradlang.view.show import number_text

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.fit.state import Row, State

LINES = 20  # epochs that are printed of a long fit


class Terminal(Watcher):
    """Epochs go to standard output, the line that changes to standard error, if that is a terminal."""

    def __init__(self, args: argparse.Namespace, model: Model, files: dict[str, str]) -> None:
        self.args = args
        self.silent = args.quiet or args.json
        self.live = not self.silent and sys.stderr is not None and sys.stderr.isatty()
        self.digits, self.model, self.files = args.digits, model, files
        self.widths: dict[str, int] = {}
        self.shown = False  # whether a line that changes stands there
        self.missed: Row | None = None  # the last row, if it was not printed
        self.count = 0  # of epochs

    def begin(self, lengths: Lengths, batches: int, found: Sequence[Diagnostic]) -> None:
        self.lengths, self.batches = lengths, batches
        total = lengths.epochs or -(-(lengths.steps or 1) // batches)
        self.total, self.every = total, max(1, -(-total // LINES))
        if found:
            say(self.args, found, self.model.program.sources)

    def progress(self, state: State, mean: Row, rate: float) -> None:
        if not self.live:
            return
        where = f"epoch {state.epoch + 1}/{self.total}  " if self.lengths.batch else ""
        step = f"{state.at}/{self.batches}" if self.lengths.batch else f"step {state.step}/{self.total}"
        values = "  ".join(f"{n} {number_text(v, self.digits)}" for n, v in mean.items())
        text = f"{where}{step}  {values}  {rate:.3g} steps/s"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()
        self.shown = True

    def clear(self) -> None:
        """Takes the line that changes away; prints the last epoch, whatever its number."""
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.shown = False
        if self.missed is not None:
            self.line(self.missed)

    def epoch(self, row: Row) -> None:
        self.missed = row
        self.count += 1
        count = int(row["epoch"])
        if not self.silent and (count == 1 or count % self.every == 0 or count == self.total):
            if self.shown:
                sys.stderr.write("\r\x1b[K")
                self.shown = False
            self.line(row)

    def line(self, row: Row) -> None:
        """A row of the table of epochs, or of steps where an epoch is one step."""
        self.missed = None
        if self.silent:
            return
        cells = {"epoch" if self.batches > 1 else "step": str(int(row["epoch" if self.batches > 1 else "step"]))}
        cells |= {n: number_text(v, self.digits) for n, v in row.items() if n not in ("step", "epoch")}
        lines = []
        if not self.widths:
            self.widths = {
                n: max(text_width(n), len(str(self.total)) if n in ("epoch", "step") else self.digits + 5) for n in cells
            }
            lines.append("  ".join(" " * (w - text_width(n)) + n for n, w in self.widths.items()))
        lines.append("  ".join(cells[n].rjust(w) for n, w in self.widths.items()))
        try:
            print("\n".join(lines), flush=True)
        except OSError as error:  # `| head`, or a full disk: the fit goes on for the sake of its files
            if not self.files:
                raise
            deafen()
            if not isinstance(error, BrokenPipeError):
                print(f"warning: standard output: {error.strerror}", file=sys.stderr)

    def keep(self, state: State, last: bool) -> None:
        if "state" not in self.files:
            return
        try:
            state.save(self.files["state"])
        except InputError as error:
            if last:
                raise
            print(f"warning: {error.diagnostics[0].message}", file=sys.stderr)
