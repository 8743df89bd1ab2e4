"""`gradlang graph`: the computation graph as a picture, or for other tools."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
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
from gradlang.record import changed
from gradlang.runtime.saving import save
from gradlang.view.explorer.page import Scene, explorer
from gradlang.view.exports import as_json, dot, mermaid, tikz
from gradlang.view.flow import tangents
from gradlang.view.geometry import draw
from gradlang.view.picture import Picture, Style, picture
from gradlang.view.stages import stage_picture
from gradlang.view.story import Story, story
from gradlang.view.svg import about, svg
from gradlang.view.trace import Trace, trace

ROOM = 200  # nodes of the results that a page offers beside the first
FORMATS = ("svg", "dot", "json", "tex", "mmd", "png", "html")


def graph(args: argparse.Namespace) -> int:
    kind = ending(args)
    model = open_model(args)
    own = sources(args, model, args.params)
    if kind == "html":
        write(page(args, model), args.output, own)
        return 0
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
    told = story(trace(model, of, given(args, model), wrt, upstream.get(of, 1.0)), args.digits, args.lang)
    made = picture(told, style_of(args), moving(told, args, wrt))
    output(made, told, kind, args.blank, args.output, own)
    if args.blank and args.output and args.output != "-":
        path = Path(args.output)
        output(made, told, kind, False, str(path.with_name(f"{path.stem}-answers{path.suffix}")), own)
    return 0


def style_of(args: argparse.Namespace) -> Style:
    return Style(args.constants, tuple(args.open or ()), args.digits, args.mode != "values")


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
    if kind == "html" and (args.mode == "values" or args.stage):
        left = "`--stage`" if args.stage else "`--mode values`"
        raise InputError(
            [Diagnostic("G526", "a page plays the passes of a program as it is written", help=f"leave {left} out")]
        )
    return kind


def moving(told: Story, args: argparse.Namespace, wrt: tuple[str, ...]) -> dict[int, Any] | None:
    """The derivatives that flow forward, from the first name of `--wrt`, if they are asked for."""
    return tangents(told.trace, single(wrt)) if args.mode == "forward" else None


def single(wrt: tuple[str, ...]) -> str:
    if len(wrt) != 1:
        help = f"for example `--wrt {wrt[0]}`" if wrt else ""
        raise InputError([Diagnostic("G512", "forward mode goes from one input: name it with `--wrt`", help=help)])
    return wrt[0]


def page(args: argparse.Namespace, model: Model) -> str:
    """The explorer of the results that `--of` names, the first of them in front, or of all; beside a single one that is named
    the others are offered, as far as there is room."""
    upstream = upstreams(model, args.upstream, list(model.program.values))
    values, style = given(args, model), style_of(args)
    named = chosen(model, args.of, upstream)
    others = offered(model, named[0], upstream) if len(named) == 1 or not args.of else []
    wrt = args.wrt
    start = single(model._wrt(wrt, named[0])) if args.mode == "forward" else ""

    def flowing(of: str) -> Trace:
        return trace(model, of, values, model._wrt(None if start else wrt, of), upstream.get(of, 1.0))

    def scene(made: Trace, style: Style) -> Scene:
        told = story(made, args.digits, args.lang)
        return Scene(told, picture(told, style))

    first = flowing(named[0])
    if start:
        tangents(first, start)
    scenes = [scene(first, style), *(scene(flowing(of), style) for of in named[1:] if of not in others)]
    left, room = [], ROOM
    for of in others:
        made = flowing(of)
        if len(made.order) > room:
            left.append(of)
            continue
        room -= len(made.order)
        calls = {call.partition(".")[0] for i in made.order for call in made.nodes[i].scope}
        known = tuple(name for name in style.open if name == "all" or name in calls)
        scenes.append(scene(made, changed(style, open=known)))
    return explorer(scenes, args.lang, args.digits, start, left)


def offered(model: Model, of: str, upstream: Iterable[str]) -> list[str]:
    """The results that a page offers beside one."""
    try:
        return [name for name in chosen(model, None, upstream) if name != of]
    except InputError:  # there is none
        return []


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
