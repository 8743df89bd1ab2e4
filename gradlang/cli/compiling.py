"""`gradlang compile` and `gradlang fmt`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gradlang import pipeline
from gradlang.api import Model
from gradlang.cli.running import open_model
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.ir.tape import Tape
from gradlang.ops.table import OpTable
from gradlang.pipeline import Goal
from gradlang.runtime.files import read_text
from gradlang.runtime.saving import check_place, save

LARGE = 1000  # entries of an axis of unknown size, for a plan that is only looked at


def write(text: str, path: str | None, sources: Sequence[str] = ()) -> None:
    """To standard output, or to a file, all or nothing. A link is followed, a device is written to, the files of the program
    itself are never overwritten."""
    if path is None or path == "-":
        sys.stdout.write(text)
        return
    save(path, text.encode(), sources)


def compile_(args: argparse.Namespace) -> int:
    model = open_model(args)
    name = model._one(args.of)
    type = model.program.nodes[model.program.values[name]].type
    wrt = model._wrt(args.wrt, name)
    kind = "grad" if not type.shape and type.dtype == "real" and wrt else "value"
    if args.wrt and kind == "value":
        text = f"a gradient needs a scalar, but `{name}` is {type}"
        raise InputError([Diagnostic("G401", text, help="sum it, or leave `--wrt` out: its value alone is compiled")])
    if args.checkpoint and args.target == "grad":
        help = "leave out one of the two: `--checkpoint` is for `--target numpy`"
        raise InputError([Diagnostic("G511", "a gradient in the language has no form for checkpoints", help=help)])
    goal = Goal(kind, (name,), wrt if kind == "grad" else (), args.dtype, checkpoint=args.checkpoint)
    origin = Path(args.file).name if args.file != "-" else "<stdin>"
    language = model.program.language
    own = [source.path for source in model.program.sources.files]
    hook = dump_to(args.dump, language.table, own) if args.dump else None
    if args.target == "c":
        return compile_c(model, goal, origin, hook, args.output, own)
    if args.target == "js":
        from gradlang.cli.compiling_js import js_text

        text = js_text(model, goal, origin, hook)
    elif args.target == "grad":
        text = pipeline.gradient_file(model.program, goal, language, origin, hook)
    else:
        text = pipeline.compile_goal(model.program, goal, language, origin, hook).source
    if args.dump:
        dump_plan(model, goal, origin, args.dump)
    write(text, args.output, own)
    return 0


def dump_plan(model: Model, goal: Goal, origin: str, folder: str) -> None:
    """The loops that machine code would be made of, next to the stages. Sizes that are not known are taken to be large."""
    from gradlang.backend.plan_text import plan_text
    from gradlang.plan.plan import plan

    language = model.program.language
    job = pipeline.plan(model.program, goal, language, origin, native=True)
    if job.scalar or goal.checkpoint:
        return
    sizes = dict.fromkeys(model.program.sizes, LARGE)
    made = plan(job.tape, language.table, sizes, ())
    write(plan_text(made, "f64" if goal.dtype == "float64" else "f32"), str(Path(folder) / "plan.c"))


def compile_c(model: Model, goal: Goal, origin: str, hook: pipeline.Hook | None, output: str | None, own: Sequence[str]) -> int:
    """The C file, and its header next to it if it is written to a file."""
    from gradlang.cli.compiling_c import c_text

    header = str(Path(output).with_suffix(".h")) if output and output != "-" else None
    if header is not None:
        if header == str(Path(str(output))):
            text = f"the header would take the place of the source in {output}"
            raise InputError([Diagnostic("G520", text, help="end its name in .c")])
        check_place(header, own)
    made = c_text(model, goal, origin, hook)
    write(made.source, output, own)
    if header is not None:
        write(made.header, header, own)
    return 0


def dump_to(folder: str, table: OpTable, own: Sequence[str]) -> pipeline.Hook:
    """A hook that writes every stage to a numbered file, but never over `own`."""
    from gradlang.backend.grad import program_text

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError([Diagnostic("G520", f"cannot write to {folder}: {error.strerror or error}")]) from None
    count = 0

    def hook(name: str, tape: Tape) -> None:
        nonlocal count
        write(program_text(tape, table, {}, [name]), str(Path(folder) / f"{count:02}_{name.replace(' ', '_')}.grad"), own)
        count += 1

    return hook


def fmt(args: argparse.Namespace) -> int:
    from gradlang.diagnostics import SourceError
    from gradlang.source import Sources
    from gradlang.syntax.format import format_text
    from gradlang.syntax.parse import parse

    text = read_text(args.file)
    sources = Sources()
    _, faults = parse(sources.add(args.file, text))
    if faults:
        raise SourceError(faults, sources)
    made = format_text(text)
    if args.check:
        if made != text:
            print(f"{args.file} is not formatted", file=sys.stderr)
        return int(made != text)
    if args.file == "-":
        sys.stdout.write(made)
    elif made != text:
        write(made, args.file)
    return 0
