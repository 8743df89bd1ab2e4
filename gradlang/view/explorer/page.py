"""The explorer: one HTML file that shows both passes of a program, plays them, and computes them anew for other inputs. It
fetches nothing, and its policy forbids it to."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files

from gradlang.view.explorer.code import code, is_live
from gradlang.view.explorer.data import PageData, names_of_shapes
from gradlang.view.explorer.drawing import roomy, svg_html
from gradlang.view.explorer.order import order
from gradlang.view.geometry import draw
from gradlang.view.picture import Picture
from gradlang.view.story import Story
from gradlang.view.words import Words

SCRIPTS = ("numbers.js", "page.js", "panels.js", "quiz.js", "start.js")


def explorer(story: Story, picture: Picture, language: str = "en", digits: int = 6) -> str:
    """The text of the page for a story with derivatives, in the words of a language."""
    words, trace = Words(language), story.trace
    functions = code(trace) if is_live(trace) else None
    made = PageData(story, picture, order(story), functions, words, digits)
    title = words.page["graph"].format(of=trace.of)
    room = roomy(picture) if functions is not None else picture
    parts = {f"word {key}": escape(text) for key, text in words.page.items()}
    parts |= {
        "LANGUAGE": language,
        "TITLE": escape(f"{trace.of} – {words.page['file']}"),
        "OF": escape(trace.of),
        "GRAPH": escape(title),
        "STYLE": asset("page.css"),
        "DRAWING": svg_html(draw(room), picture, title, names_of_shapes(picture)),
        "DATA": json_in_html(made.as_json()),
        "FUNCTIONS": functions.text if functions is not None else "const FORWARD = [], BACK = [];",
        "SCRIPT": "\n".join(map(asset, SCRIPTS)),
    }
    pieces = asset("page.html").split("@@")
    return "".join(parts[p] if k % 2 else p for k, p in enumerate(pieces))


def json_in_html(data: object) -> str:
    """JSON in which nothing can end its element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")


def asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
