"""A drawing as SVG: presentation attributes only, no styles, scripts or ids, so that it looks the same wherever it is put."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from gradlang.view.geometry import CAPTION, FONT, SMALL, Curve, Drawing, Outline, Slot, Text
from gradlang.view.story import Story

INK, RED, GREY = "#1a1a1a", "#b3261e", "#5f6368"
FACE = "Helvetica, Arial, 'Noto Sans', 'Noto Sans CJK KR', 'Apple SD Gothic Neo', 'Malgun Gothic', sans-serif"
LOOK = {
    "symbol": (FONT, INK, ""),
    "leaf": (FONT, INK, ""),
    "value": (SMALL, INK, ""),
    "slope": (SMALL, RED, ' font-weight="bold"'),
    "branch": (SMALL, RED, ""),
    "caption": (CAPTION, GREY, ' font-style="italic"'),
}
NO_CHARACTER = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # for XML 1.0 (production 2)
FILL = {"op": "#ffffff", "group": "#e8f0fe"}


def svg(drawing: Drawing, description: str = "") -> str:
    """The text of an SVG file."""
    wide, high = number(drawing.width), number(drawing.height)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img" '
        f'font-family="{FACE}">',
        f"<title>{quoted(drawing.title)}</title>",
        f"<desc>{quoted(description)}</desc>" if description else "",
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
        *map(curve, drawing.curves),
        *map(outline, drawing.outlines),
        *map(slot, drawing.slots),
        *map(text, drawing.texts),
        "</svg>",
    ]
    return "\n".join(line for line in out if line) + "\n"


def quoted(text: str) -> str:
    """A user's text in XML, which has no place for some characters."""
    return escape(NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text))


def number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def point(at: tuple[float, float]) -> str:
    return f"{number(at[0])},{number(at[1])}"


def curve(c: Curve) -> str:
    end = c.points[-1]
    tip = (end[0] - 8.0, end[1])
    path = smooth((*c.points[:-1], tip))
    head = f"{point(end)} {point((tip[0], tip[1] - 4))} {point((tip[0], tip[1] + 4))}"
    return f'<path d="{path}" fill="none" stroke="{INK}" stroke-width="1.3"/><polygon points="{head}" fill="{INK}"/>'


def smooth(points: Sequence[tuple[float, float]]) -> str:
    """Level pieces as lines, the others as curves whose ends are level."""
    out = [f"M{point(points[0])}"]
    for a, b in zip(points, points[1:], strict=False):
        if a[1] == b[1]:
            out.append(f"H{number(b[0])}")
        else:
            middle = (a[0] + b[0]) / 2
            out.append(f"C{point((middle, a[1]))} {point((middle, b[1]))} {point(b)}")
    return "".join(out)


def outline(o: Outline) -> str:
    tip = f"<title>{quoted(o.tip)}</title>" if o.tip else ""
    if o.kind in ("leaf", "constant"):
        return f'<g><rect x="{number(o.x - o.width / 2)}" y="{number(o.y - 12)}" width="{number(o.width)}" height="24" ' + (
            f'fill="#ffffff" fill-opacity="0"/>{tip}</g>'
        )
    radius = o.height / 2 if o.kind == "op" else 8.0
    shape = (
        f'<rect x="{number(o.x - o.width / 2)}" y="{number(o.y - o.height / 2)}" width="{number(o.width)}" '
        f'height="{number(o.height)}" rx="{number(radius)}" fill="{FILL[o.kind]}" stroke="{INK}" stroke-width="1.3"/>'
    )
    return f"<g>{shape}{tip}</g>"


def slot(s: Slot) -> str:
    dash = "" if s.role == "value" else ' stroke-dasharray="4 3"'
    colour = INK if s.role == "value" else RED
    return (
        f'<rect x="{number(s.x)}" y="{number(s.y)}" width="{number(s.width)}" height="{number(SMALL + 4)}" rx="3" '
        f'fill="#ffffff" stroke="{colour}" stroke-width="1"{dash}/>'
    )


def text(t: Text) -> str:
    size, colour, more = LOOK[t.role]
    anchor = f' text-anchor="{t.anchor}"' if t.anchor != "start" else ""
    halo = ' stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke"' if t.role != "symbol" else ""
    return (
        f'<text x="{number(t.x)}" y="{number(t.y)}" font-size="{number(size)}" fill="{colour}"{anchor}{more}{halo}>'
        f"{quoted(t.text)}</text>"
    )


def about(told: Story | None) -> str:
    """What a screen reader says instead of showing a picture."""
    if told is None:
        return ""
    steps = "; ".join(f"{s.name} = {s.formula}" for s in told.steps)
    return f"The computation graph of {told.trace.of}: {steps}."
