"""`gradlang graph`: the computation graph as a picture, or for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gradlang import pipeline
from gradlang.api import Model
from gradlang.cli.compiling import write
from gradlang.cli.explaining import chosen
from gradlang.cli.running import given, open_model, sources, upstreams
from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.ir.tape import Tape
from gradlang.pipeline import Goal
from gradlang.runtime.saving import save
from gradlang.view.explorer.page import explorer
from gradlang.view.exports import as_json, dot, mermaid, tikz
from gradlang.view.geometry import draw
from gradlang.view.picture import Picture, Style, picture
from gradlang.view.stages import stage_picture
from gradlang.view.story import Story, story
from gradlang.view.svg import about, svg
from gradlang.view.trace import tangents, trace

FORMATS = ("svg", "dot", "json", "tex", "mmd", "png", "html")


def graph(args: argparse.Namespace) -> int:
    kind = ending(args)
    model = open_model(args)
    own = sources(args, model, args.params)
    found = chosen(model, args.of, [w.partition("=")[0] for w in args.upstream])
    if len(found) > 1:
        help = f"name one: `--of {found[0]}`; the others are {', '.join(found[1:])}"
        raise InputError([Diagnostic("G510", "a picture is of one result, and this program has several", help=help)])
    (of,) = found
    if args.stage:
        made = stage_picture(stage(model, of, args), f"{of}: {args.stage}")
        output(made, None, kind, False, args.output, own)
        return 0
    upstream = upstreams(model, args.upstream, list(model.program.values))
    wrt = model._wrt(args.wrt, of)
    told = story(trace(model, of, given(args, model), wrt, upstream.get(of, 1.0)), args.digits)
    style = Style(args.constants, tuple(args.open or ()), args.digits, args.mode != "values")
    made = picture(told, style, moving(told, args, wrt))
    if kind == "html":
        write(explorer(told, made, args.lang, args.digits), args.output, own)
        return 0
    output(made, told, kind, args.blank, args.output, own)
    if args.blank and args.output and args.output != "-":
        path = Path(args.output)
        output(made, told, kind, False, str(path.with_name(f"{path.stem}-answers{path.suffix}")), own)
    return 0


def ending(args: argparse.Namespace) -> str:
    """The format that the name of the output says."""
    if args.output in (None, "-"):
        kind = "json" if args.json else "svg"
    else:
        kind = Path(args.output).suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        text = f"a picture cannot be written as {kind!r}" if kind else f"{args.output!r} does not say what format it has"
        raise InputError([Diagnostic("G526", text, help=f"end its name in {', '.join('.' + f for f in FORMATS)}")])
    if args.blank and kind not in ("svg", "png", "tex"):
        raise InputError([Diagnostic("G526", "a worksheet is a drawing", help="write it to a .svg, .png or .tex file")])
    if kind == "html" and (args.mode != "reverse" or args.stage):
        left = "`--stage`" if args.stage else "`--mode`"
        raise InputError([Diagnostic("G526", "a page plays the forward and the backward pass", help=f"leave {left} out")])
    return kind


def moving(told: Story, args: argparse.Namespace, wrt: tuple[str, ...]) -> dict[int, Any] | None:
    """The derivatives that flow forward, from the first name of `--wrt`, if they are asked for."""
    if args.mode != "forward":
        return None
    if len(wrt) != 1:
        help = f"for example `--wrt {wrt[0]}`" if wrt else ""
        raise InputError([Diagnostic("G512", "forward mode goes from one input: name it with `--wrt`", help=help)])
    return tangents(told.trace, wrt[0])


def stage(model: Model, of: str, args: argparse.Namespace) -> Tape:
    """What the compiler makes of a definition and its gradient, after one of its passes."""
    type = model.program.nodes[model.program.values[of]].type
    wrt = model._wrt(args.wrt, of)
    kind = "grad" if not type.shape and type.dtype == "real" and wrt else "value"
    found: dict[str, Tape] = {}
    goal = Goal(kind, (of,), wrt if kind == "grad" else ())
    pipeline.plan(model.program, goal, model.program.language, args.file, lambda name, tape: found.update({name: tape}))
    if args.stage not in found:
        help = did_you_mean(args.stage, list(found)) or f"stages are {', '.join(found)}"
        raise InputError([Diagnostic("G509", f"no stage of the compiler is named `{args.stage}`", help=help)])
    return found[args.stage]


def output(made: Picture, told: Story | None, kind: str, blank: bool, path: str | None, own: list[str]) -> None:
    if kind in ("svg", "png"):
        drawn = svg(draw(made, blank), about(told))
        if kind == "png":
            save(str(path), png(drawn), own)
        else:
            write(drawn, path, own)
        return
    write({"json": as_json, "dot": dot, "mmd": mermaid}[kind](made) if kind != "tex" else tikz(draw(made, blank)), path, own)


def png(text: str) -> bytes:
    try:
        import resvg_py
    except ImportError:
        help = "install it (`pip install gradlang[png]`), or write .svg"
        raise InputError([Diagnostic("G511", "PNG pictures need resvg-py, which is not installed", help=help)]) from None
    return bytes(resvg_py.svg_to_bytes(svg_string=text, zoom=2))
