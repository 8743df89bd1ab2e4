"""The drawing inside a page: SVG whose pieces carry the numbers of their shapes and lines, so that a script finds them. Colours
and fonts are those of the page's styles."""

from __future__ import annotations

from collections.abc import Container, Sequence
from html import escape

from gradlang.record import changed
from gradlang.view.geometry import SMALL, Drawing, Outline, Text
from gradlang.view.picture import Line, Picture, Shape
from gradlang.view.svg import number, point, smooth

ROOM = 8  # characters that a number which changes has in the drawing


def roomy(picture: Picture, reached: Container[int]) -> Picture:
    """The picture with room for other numbers than those of this run, also below the nodes `reached` in forward mode."""

    def room(text: str) -> str:
        return "0" * max(len(text), ROOM) if text else ""

    shapes = [relabelled(s, room(s.above), room(s.below or ("0" if s.node in reached else ""))) for s in picture.shapes]
    lines = tuple(Line(e.source, e.target, room(e.below), e.branches) for e in picture.lines)
    return changed(picture, shapes=tuple(shapes), lines=lines)


def widest(picture: Picture, texts: Sequence[Sequence[str]]) -> Picture:
    """The picture with room below its shapes for each of some texts."""
    found = zip([s.below for s in picture.shapes], *texts, strict=True)
    shapes = [relabelled(s, s.above, max(below, key=len)) for s, below in zip(picture.shapes, found, strict=True)]
    return changed(picture, shapes=tuple(shapes))


def forwards(picture: Picture, texts: Sequence[str]) -> Picture:
    """The picture with the derivatives of forward mode."""
    shapes = [relabelled(s, s.above, text) for s, text in zip(picture.shapes, texts, strict=True)]
    lines = tuple(Line(e.source, e.target, "", e.branches) for e in picture.lines)
    return changed(picture, shapes=tuple(shapes), lines=lines)


def relabelled(s: Shape, above: str, below: str) -> Shape:
    return Shape(s.kind, s.text, s.title, s.tip, above, below, s.members, s.node)


def svg_html(drawing: Drawing, picture: Picture, title: str, names: list[str]) -> str:
    """`picture` has the numbers that are shown at first; `names` are what the shapes are called."""
    wide, high = number(drawing.width), number(drawing.height)
    inside: dict[int, list[str]] = {}
    labels = []
    for t in drawing.texts:
        if t.role in ("symbol", "leaf", "caption"):
            inside.setdefault(t.owner, []).append(text(t, t.text))
        else:
            labels.append(label(t, picture))
    edges = []
    for c in drawing.curves:
        end = c.points[-1]
        tip = (end[0] - 8.0, end[1])
        head = f"{point(end)} {point((tip[0], tip[1] - 4))} {point((tip[0], tip[1] + 4))}"
        path = f'<path d="{smooth((*c.points[:-1], tip))}"/><polygon points="{head}"/>'
        edges.append(f'<g class="edge" data-line="{c.line}">{path}</g>')
    nodes = [node(o, " ".join(inside.get(o.shape, [])), names[o.shape]) for o in drawing.outlines]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="group" '
        f'aria-label="{escape(title)}">',
        '<g aria-hidden="true">', *edges, "</g>", *nodes, '<g aria-hidden="true">', *labels, "</g>", "</svg>",
    ])  # fmt: skip


def label(t: Text, picture: Picture) -> str:
    shown = picture.lines[t.owner].below if t.role == "branch" else ""
    if t.role != "branch":
        shape = picture.shapes[t.owner]
        shown = shape.above if t.role == "value" else shape.below
    return text(t, shown, f' data-{t.role}="{t.owner}"')


def text(t: Text, shown: str, more: str = "") -> str:
    anchor = f' text-anchor="{t.anchor}"' if t.anchor != "start" else ""
    size = f' font-size="{number(SMALL)}"' if t.role in ("value", "slope", "branch") else ""
    return f'<text class="{t.role}" x="{number(t.x)}" y="{number(t.y)}"{anchor}{size}{more}>{escape(shown)}</text>'


def node(o: Outline, inner: str, name: str) -> str:
    high = 24.0 if o.kind in ("leaf", "constant") else o.height
    radius = {"op": o.height / 2, "group": 8.0}.get(o.kind, 4.0)
    box = (
        f'<rect x="{number(o.x - o.width / 2)}" y="{number(o.y - high / 2)}" width="{number(o.width)}" '
        f'height="{number(high)}" rx="{number(radius)}"/>'
    )
    tip = f"<title>{escape(o.tip)}</title>" if o.tip else ""
    return (
        f'<g class="node {o.kind}" data-shape="{o.shape}" tabindex="0" role="button" aria-pressed="false" '
        f'aria-label="{escape(name)}">{tip} {box}{inner}</g>'
    )
