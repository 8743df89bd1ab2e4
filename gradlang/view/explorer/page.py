"""The explorer: one HTML file that shows both passes of a program, plays them, and computes them anew for other inputs. It
fetches nothing, and its policy forbids it to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from gradlang.record import record
from gradlang.view.explorer.code import Functions, is_live
from gradlang.view.explorer.data import PageData, Shared, names_of_shapes
from gradlang.view.explorer.drawing import forwards, roomy, svg_html, widest
from gradlang.view.explorer.order import order
from gradlang.view.flow import flow, sources
from gradlang.view.geometry import draw
from gradlang.view.picture import Picture
from gradlang.view.story import Story
from gradlang.view.words import Words

SCRIPTS = ("numbers.js", "page.js", "sentences.js", "drawing.js", "panels.js", "quiz.js", "start.js")
MOST_FLOWS = 8  # inputs of a program with arrays whose derivatives in forward mode are recorded


@record(eq=False)
class Scene:
    """A graph of a page: the story of a result with derivatives, and its picture."""

    story: Story
    picture: Picture


def explorer(scenes: Sequence[Scene], language: str = "en", digits: int = 6, start: str = "", left: Sequence[str] = ()) -> str:
    """The text of the page for some results of a program, in the words of a language; the first one is shown when it is opened.
    `start` is the input that forward mode goes from, "" for reverse mode; `left` names results for which there is no room."""
    shared = Shared(Words(language), digits)
    functions = Functions(scenes[0].story.trace.locals.table)
    made = [graph(scene, functions, shared, start) for scene in scenes]
    first, words, of = made[0].pop("drawing"), shared.words.page, scenes[0].story.trace.of
    parts = {f"word {key}": escape(text) for key, text in words.items()}
    parts |= {
        "LANGUAGE": language,
        "TITLE": escape(f"{of} – {words['file']}"),
        "OF": escape(of),
        "GRAPH": escape(words["graph"].format(of=of)),
        "STYLE": asset("page.css"),
        "DRAWING": first,
        "DATA": json_in_html(shared.as_json() | {"start": start, "left": list(left), "graphs": made}),
        "FUNCTIONS": functions.text(),
        "SCRIPT": "\n".join(map(asset, SCRIPTS)),
    }
    pieces = asset("page.html").split("@@")
    return "".join(parts[p] if k % 2 else p for k, p in enumerate(pieces))


def graph(scene: Scene, functions: Functions, shared: Shared, start: str) -> dict[str, Any]:
    """What a page knows of a graph, and its drawing with the numbers that are shown at first."""
    story, picture, trace = scene.story, scene.picture, scene.story.trace
    live, inputs = is_live(trace), sources(trace)
    code = functions.code(trace) if live else None
    inputs.sort(key=lambda name: name != start)
    flows = [] if live else [flow(trace, name) for name in inputs[:MOST_FLOWS]]
    made = PageData(story, picture, order(story), code, shared, flows)
    room = roomy(picture, made.carries) if live else widest(picture, [made.belows(f) for f in flows])
    shown = forwards(picture, made.belows(flow(trace, start))) if start in inputs else picture
    title = shared.words.page["graph"].format(of=trace.of)
    return made.as_json() | {"drawing": svg_html(draw(room), shown, title, names_of_shapes(picture))}


def json_in_html(data: object) -> str:
    """JSON in which nothing can end its element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")


def asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
