"""`gradlang run` and `gradlang check`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradlang import pipeline
from gradlang.api import Model
from gradlang.check import errors
from gradlang.check.program import Program, unreached
from gradlang.check.requests import OBJECTIVES
from gradlang.cli.messages import say
from gradlang.diagnostics import Diagnostic, InputError, SourceError, did_you_mean, text_width
from gradlang.opening import proven
from gradlang.runtime.bind import outside
from gradlang.runtime.files import Folder, read_text
from gradlang.view.show import json_value, table, value_text

NOTHING = "G208"  # a program that computes nothing


def open_model(args: argparse.Namespace, idle: bool = False) -> Model:
    """The model of the file of a command line; with `idle` it may define ops and functions alone, and nothing to compute."""
    name = "<stdin>" if args.file == "-" else args.file
    text = read_text(args.file)
    finder = Folder(None if args.file == "-" else args.file, None, args.allow_import)
    program, problems = pipeline.read(text, name, pipeline.standard(), finder)
    if any(not idle or d.code != NOTHING for d in problems):
        raise SourceError(problems, program.sources)
    if not program.language.plain and (note := proven(program)) is not None:
        say(args, [Diagnostic("G139", note, severity="warning")], program.sources)
    return Model(
        program,
        getattr(args, "dtype", "float64"),
        getattr(args, "seed", None) or 0,
        getattr(args, "backend", None) or "auto",
        calls=1,
    )


def given(args: argparse.Namespace, model: Model) -> dict[str, Any]:
    """The inputs of a command line: parameters and data of files first, then `name=value`."""
    values = parameters(args, model)
    values |= arrays(args.data, model)
    values.update(assignments(args.values, "an input"))
    return values


def arrays(specs: Sequence[str], model: Model) -> dict[str, Any]:
    """What files of data hold."""
    if not specs:
        return {}
    from gradlang.runtime.data import read_all  # brings archives and tables of text

    return read_all(specs, ranks(model))


def sources(args: argparse.Namespace, model: Model, *more: Sequence[str]) -> list[str]:
    """Files that a command reads, and so never writes: the program, data, and `more` specs of data."""
    from gradlang.runtime.data import path_of

    specs = [*args.data, *(spec for specs in more for spec in specs)]
    return [*(source.path for source in model.program.sources.files), *map(path_of, specs)]


def ranks(model: Model) -> dict[str, int]:
    """How many axes the inputs have."""
    return {leaf.name: leaf.type.rank for leaf in model.program.callable_leaves()}


def parameters(args: argparse.Namespace, model: Model) -> dict[str, Any]:
    """The values of the files of parameters. Raises InputError for a name that is none of the program's."""
    values = arrays(args.params, model)
    known = [leaf.name for leaf in model.program.callable_leaves() if leaf.differentiable]
    for name in values:
        if name not in known:
            help = did_you_mean(name, known) or f"there are {', '.join(known)}"
            raise InputError([Diagnostic("G502", f"there is no parameter named `{name}`", help=help)])
    return values


def assignments(words: Sequence[str], what: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for word in words:
        name, equal, text = word.partition("=")
        if not equal or not name.strip():
            raise InputError(
                [
                    Diagnostic(
                        "G514",
                        f"`{word}` is not {what}",
                        help="write `name=value` without blanks, for example `x=2` or `x=[1,2]`",
                    )
                ]
            )
        if name.strip() in out:
            text = f"`{name.strip()}` is given twice, the second time as `{word}`"
            raise InputError([Diagnostic("G514", text, help="leave one of them out")])
        from gradlang.runtime.values import literal

        out[name.strip()] = literal(text, name.strip())
    return out


def upstreams(model: Model, words: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
    """The derivatives that flow in from above, by names of `known`."""
    found = assignments(words, "an upstream derivative")
    for name in found:
        if name not in known:
            help = did_you_mean(name, known) or f"outputs are {', '.join(model.program.outputs)}"
            raise InputError([Diagnostic("G509", f"no output is named `{name}`", help=help)])
    return found


def run(args: argparse.Namespace) -> int:
    model = open_model(args)
    values = given(args, model)
    upstream = upstreams(model, args.upstream, model.program.outputs)
    outputs = model.function(model.program.outputs, checkpoint=args.checkpoint)(values)
    if len(model.program.outputs) == 1:
        outputs = {model.program.outputs[0]: outputs}
    gradients = {}
    matrices = requested_matrices(model, args.wrt, values)
    for name, wrt in requested(model, args.wrt, upstream):
        if name in upstream:
            gradients[name] = model.vjp(name, wrt, checkpoint=args.checkpoint)(upstream[name], values)[1]
        else:
            gradients[name] = model.value_and_grad(name, wrt, checkpoint=args.checkpoint)(values)[1]
    if args.json:
        print(
            json.dumps(
                {
                    "schema": 1,
                    "outputs": {n: json_value(v) for n, v in outputs.items()},
                    "gradients": {y: {x: json_value(g) for x, g in row.items()} for y, row in gradients.items()},
                    **{f"{kind}s": {y: json_value(rows) for y, rows in found.items()} for kind, found in matrices.items()},
                },
                ensure_ascii=False,
                allow_nan=False,
            )
        )
    else:
        show(model, outputs, gradients, args.digits, upstream)
        show_matrices(matrices, args.digits)
    if found := warnings(model, outputs, gradients, values):
        say(args, found, model.program.sources)
    return 0


MATRICES = ("jacobian", "hessian")


def requested_matrices(model: Model, wrt: list[str] | None, values: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """kind -> output -> matrices by name, for the requests `jacobian` and `hessian`."""
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for asked in model.program.asked:
        if asked.kind in MATRICES:
            names = wrt or list(asked.wrt or model.program.differentiable())
            made = (model.jacobian if asked.kind == "jacobian" else model.hessian)(asked.name, names)(values)
            out.setdefault(asked.kind, {})[asked.name] = made
    return out


def show_matrices(matrices: dict[str, dict[str, dict[str, Any]]], digits: int | None) -> None:
    for kind, found in matrices.items():
        for name, rows in found.items():
            print(f"\n{kind} of {name}")
            if kind == "hessian":
                rows = {f"{x}, {z}": m for x, row in rows.items() for z, m in row.items()}
            print(table([(x, value_text(m, digits), "") for x, m in rows.items()]))


def requested(model: Model, wrt: list[str] | None, upstream: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(output, leaves) for every gradient that is to be shown."""
    program = model.program
    out: dict[str, list[str]] = {}
    if program.asked:
        for asked in program.asked:
            if asked.kind not in ("output", *MATRICES):
                row = out.setdefault(asked.name, [])
                row += [n for n in wrt or asked.wrt or moved(program, asked.kind) if n not in row]
    else:
        for name in program.outputs:
            type = program.nodes[program.values[name]].type
            if not type.shape and type.dtype == "real":
                out[name] = list(wrt or program.differentiable())
    for name in upstream:
        out.setdefault(name, list(wrt or program.differentiable()))
    return [(y, xs) for y, xs in out.items() if xs]


def moved(program: Program, kind: str) -> list[str]:
    """What a gradient is taken by if nothing is named: of an objective by the parameters, if there are some."""
    names = program.differentiable()
    parameters = [n for n in names if program.leaves[n].role == "param"]
    return parameters if kind in OBJECTIVES and parameters else names


def show(
    model: Model, outputs: dict[str, Any], gradients: dict[str, dict[str, Any]], digits: int | None, upstream: dict[str, Any]
) -> None:
    for name, value in outputs.items():
        label = model.program.labels.get(name)
        rows = value_text(value, digits).replace("\n", "\n" + " " * (text_width(name) + 3))
        print(f"{name} = {rows}" + (f"    {label}" if label else ""))
    for name, row in gradients.items():
        above = f", times {value_text(upstream[name], digits)} from above" if name in upstream else ""
        print(f"\ngradient of {name}{above}")
        labels = {n: leaf.label or "" for n, leaf in model.program.leaves.items()}
        print(table([(x, value_text(g, digits), labels.get(x, "")) for x, g in row.items()]))


def warnings(
    model: Model, outputs: dict[str, Any], gradients: dict[str, dict[str, Any]], values: dict[str, Any]
) -> list[Diagnostic]:
    """What a reader of the numbers should know: what its text is warned of, inputs outside their ranges or
    unreached, where a nan or an infinity was born."""
    program = model.program
    found = list(program.warnings)
    if any(leaf.range is not None for leaf in program.leaves.values()):
        found += outside(program, values)
    named = {(a.name, x) for a in program.asked for x in a.wrt or ()}  # the program is warned of these
    found += [
        errors.unreached(x, y, program.leaves[x].span)
        for y, xs in gradients.items()
        for x in unreached(program, y)
        if x in xs and x in program.leaves and (y, x) not in named
    ]
    everything = [*outputs.values(), *(g for row in gradients.values() for g in row.values())]
    if any(not finite(v) for v in everything):
        from gradlang.view.birth import births  # brings NumPy

        found += births(model, values)
    return found


def finite(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return value - value == 0
    import numpy as np

    return bool(np.all(np.isfinite(value)))


def numerically(model: Model, values: dict[str, Any]) -> bool:
    """Whether the gradient check of the book has all that it needs: an objective, parameters, and data."""
    leaves = model.program.callable_leaves()
    return model.objective is not None and bool(model.params) and not any(v.required and v.name not in values for v in leaves)


def check(args: argparse.Namespace) -> int:
    from gradlang.prove.report import check_model

    model = open_model(args)
    values = given(args, model)
    made = check_model(model, values)
    table = model.gradient_check(values) if numerically(model, values) else None
    if args.json:
        more = {} if table is None else {"numerical": table.as_json()}
        print(json.dumps({**made.as_json(), **more}, ensure_ascii=False))
    else:
        print(("" if table is None else table.text() + "\n") + made.text(Path(args.file).name))
    return 0 if made.ok else 1
