"""`gradlang fit`: progress on the terminal, files, and what is printed at the end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlang.cli.running import assignments, open_model, parameters, ranks, sources
from gradlang.runtime.data import read_all
from gradlang.runtime.saving import check_place, save
from gradlang.view.show import json_value, table, value_text

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.cli.progress import Terminal
    from gradlang.fit.result import Fit

STOPPED = 130  # the exit status after Ctrl-C, as shells have it


def fit(args: argparse.Namespace) -> int:
    """Exit status: 0 done, 1 wrong inputs or a value that is not finite, 130 after Ctrl-C."""
    from gradlang.api import CALLS
    from gradlang.cli.arguments import SETTINGS
    from gradlang.cli.progress import Terminal
    from gradlang.fit.errors import Diverged

    model = open_model(args)
    model.calls = CALLS  # a fit makes many, and its bits must not depend on how many
    files = places(args, model)
    values = read_all(args.data, ranks(model))
    values.update(assignments(args.values, "an input"))
    terminal = Terminal(args, model, files)
    try:
        made = model.fit(
            values,
            of=args.of,
            wrt=args.wrt,
            optimizer=args.optimizer,
            batch=args.batch,
            epochs=args.epochs,
            steps=args.steps,
            valid=read_all(args.valid, ranks(model)) if args.valid else None,
            hold_out=args.hold_out,
            seed=args.seed,
            params=parameters(args, model),
            resume=args.resume,
            backend=args.backend,
            watcher=terminal,
            **{name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None},
        )
    except Diverged as error:
        terminal.clear()
        if error.result.state.step if error.result.state is not None else error.result.history:
            finish(args, model, error.result, files, terminal)
        raise
    terminal.clear()
    finish(args, model, made, files, terminal)
    return STOPPED if made.stopped == "interrupted" else 0


def places(args: argparse.Namespace, model: Model) -> dict[str, str]:
    """Where results go. Raises InputError before any work if that is not possible."""
    from gradlang.fit import errors
    from gradlang.fit.history import check_log
    from gradlang.fit.methods import METHODS

    out = {}
    if args.output is not None:
        if not args.output.endswith(".npz"):
            raise errors.not_npz(args.output)
        out["params"] = args.output
        out["state"] = args.output.removesuffix(".npz") + ".state.npz"
    if args.state is not None:
        if str(args.optimizer).lower() in METHODS:
            raise errors.whole_data_only(args.optimizer, "state that could be kept")
        out["state"] = args.state
    if args.log is not None:
        check_log(args.log)
        out["log"] = args.log
    if args.curve is not None:
        if not args.curve.endswith(".svg"):
            raise errors.not_svg(args.curve)
        out["curve"] = args.curve
    met: dict[Path, str] = {}
    for kind, path in out.items():
        # parameters and states may take the place of those that they came from
        read = sources(args, model, () if kind == "params" else args.params, args.valid)
        check_place(path, read if kind == "state" or args.resume is None else [*read, args.resume])
        place = Path(path).resolve()
        if place in met and (place.is_file() or not place.exists()):
            raise errors.one_file(path, WHAT[met[place]], WHAT[kind])
        met[place] = kind
    return out


def finish(args: argparse.Namespace, model: Model, made: Fit, files: dict[str, str], terminal: Terminal) -> None:
    """Writes the files of a fit and says what there is."""
    from gradlang.fit.history import log_text

    if "params" in files:
        made.save(files["params"])
    if "log" in files:
        save(files["log"], log_text(made.history, Path(files["log"]).suffix).encode())
    if "curve" in files:
        save(files["curve"], made.svg().encode())
    written = {k: v for k, v in files.items() if k != "state" or made.state is not None}
    if args.json:
        print(json.dumps(as_json(made, written), ensure_ascii=False, allow_nan=False))
        return
    if "params" not in files:
        labels = {n: leaf.label or "" for n, leaf in model.program.leaves.items()}
        rows = table([(n, value_text(v, None), labels[n]) for n, v in made.params.items()])
        print(("" if args.quiet else "\n") + rows)
    if not terminal.count and made.state is not None and made.stopped == "done":
        print(f"nothing is left to do: the state is that after {made.state.epoch} epochs, {made.state.step} steps")
    if made.stopped == "interrupted":
        print(interrupted(made, files))
    elif made.message and not args.quiet:
        print(made.message)
    if written and not args.quiet:
        print(", ".join(f"{WHAT[k]}: {v}" for k, v in written.items()))


def interrupted(made: Fit, files: dict[str, str]) -> str:
    if made.state is None:
        return f"interrupted after {len(made.history)} steps"
    go_on = f": go on with `--resume {files['state']}`" if "state" in files else ""
    return f"interrupted in epoch {made.state.epoch + 1}, after {made.state.step} steps{go_on}"


WHAT = {"params": "parameters", "state": "state", "log": "curve", "curve": "picture"}


def as_json(made: Fit, files: dict[str, str]) -> dict[str, Any]:
    last = made.history[-1] if made.history else {}
    out = {
        "schema": 1,
        "objective": made.objective,
        "stopped": made.stopped,
        "message": made.message,
        "epochs": last.get("epoch", 0),
        "steps": last.get("step", 0),
        "last": {n: json_value(v) for n, v in last.items()},
        "history": [{n: json_value(v) for n, v in row.items()} for row in made.history],
        "files": files,
    }
    return out if "params" in files else {**out, "params": {n: json_value(v) for n, v in made.params.items()}}
