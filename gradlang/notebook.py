"""The IPython extension: `%load_ext gradlang`, then cells of formulas.

    %%grad shopping --wrt apple,tax
    price = (apple*n + orange*m) * tax

makes the model `shopping` of the cell, with the notebook's variables as values of inputs that have none, and shows its value
and gradient. `%grad` takes one line.
"""

from __future__ import annotations

import argparse
import keyword
import shlex
from typing import Any

from gradlang.api import Model
from gradlang.diagnostics import GradlangError
from gradlang.opening import loads

USAGE = "%%grad [NAME] [--of price] [--wrt a,b] [--draw | --explain] [--lang ko]"


def load_ipython_extension(shell: Any) -> None:
    """Called by `%load_ext gradlang`."""

    def grad(line: str, cell: str | None = None) -> Any:
        text = line if cell is None else cell
        return run(shell, "" if cell is None else line, text)

    shell.register_magic_function(grad, "line_cell", "grad")


def words(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="%%grad", usage=USAGE, add_help=False, exit_on_error=False)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--of")
    parser.add_argument("--wrt")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--draw", action="store_true")
    shown.add_argument("--explain", action="store_true")
    parser.add_argument("--lang", choices=["en", "ko"], default="en")
    try:
        found, rest = parser.parse_known_args(shlex.split(line))
    except ValueError as error:  # a quotation without an end
        raise argparse.ArgumentError(None, f"{error}: {line}") from None
    if rest:
        raise argparse.ArgumentError(None, f"unrecognized arguments: {' '.join(rest)}")
    if found.name is not None and (not found.name.isidentifier() or keyword.iskeyword(found.name)):
        raise argparse.ArgumentError(None, f"a variable cannot be called {found.name!r}")
    return found


def run(shell: Any, line: str, text: str) -> Any:
    """The model of a cell, bound to its name, and what is to be shown of it. Errors point into the cell."""
    try:
        args = words(line)
    except argparse.ArgumentError as error:
        print(f"{error}\nusage: {USAGE}")
        return None
    try:
        model = loads(text + "\n", "<cell>")
        if args.name:
            shell.user_ns[args.name] = model
        asked = [leaf.name for leaf in model.program.callable_leaves() if leaf.required]
        values = {n: v for n in asked if not isinstance(v := shell.user_ns.get(n), Model) and v is not None}
        missing = [n for n in asked if n not in values]
        if missing:
            print(f"values are missing for {', '.join(missing)}: give them to the model, or as variables before the cell")
            return model
        wrt = [w.strip() for w in args.wrt.split(",")] if args.wrt else None
        if args.draw:
            return model.picture(values, args.of, wrt)
        if args.explain:
            return model.explain(values, args.of, wrt, lang=args.lang)
        return value_and_gradient(model, args.of, wrt, values)
    except GradlangError as error:
        print(error)
        return None


def value_and_gradient(model: Model, of: str | None, wrt: list[str] | None, values: dict[str, Any]) -> Any:
    """(value, gradients) of a scalar, and the values of outputs otherwise."""
    name = of or (model.program.outputs[0] if len(model.program.outputs) == 1 else None)
    type = model.program.nodes[model.program.values[name]].type if name in model.program.values else None
    if name is None or (type is not None and (type.shape or type.dtype != "real")):
        return model.function(of)(values)
    return model.value_and_grad(name, wrt)(values)
