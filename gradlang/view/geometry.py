"""A picture in coordinates: boxes with room for their labels, edges as curves, every text with its place."""

from __future__ import annotations

from gradlang.record import record
from gradlang.view.layout import Box, place
from gradlang.view.metrics import width
from gradlang.view.picture import Line, Picture, Shape

FONT = 15.0  # of symbols and leaves
SMALL = 13.0  # of values
CAPTION = 11.0
RADIUS = 19.0
BEND = 44.0
MARGIN = 18.0
BLANK = 54.0  # width of a box to fill in
Levels = tuple[tuple[float, float, float], ...]


@record
class Text:
    """A text at the middle, start or end of a place; `role` says what it is: symbol, leaf, value, slope, branch, caption;
    `owner` the number of its shape, of a branch that of its line."""

    x: float
    y: float
    text: str
    role: str
    owner: int
    anchor: str = "middle"


@record
class Outline:
    """The outline of a shape: a circle or rounded box around its middle."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tip: str
    shape: int


@record
class Curve:
    """An edge: points through which it goes, with level ends; `line` is its number, -1 for the end of the graph."""

    points: tuple[tuple[float, float], ...]
    line: int


@record
class Slot:
    """A box to fill in, where a picture is a worksheet."""

    x: float
    y: float
    width: float
    role: str
    answer: str


@record(eq=False)
class Drawing:
    title: str
    width: float
    height: float
    outlines: tuple[Outline, ...]
    curves: tuple[Curve, ...]
    texts: tuple[Text, ...]
    slots: tuple[Slot, ...]


def draw(picture: Picture, blank: bool = False) -> Drawing:
    """Places everything; with `blank` derivatives, but for the one that flows in, are left to fill in, and where none are shown
    the values of operations."""
    return _Draft(picture, blank).draw()


class _Draft:
    def __init__(self, picture: Picture, blank: bool) -> None:
        self.picture, self.blank = picture, blank
        self.texts: list[Text] = []
        self.slots: list[Slot] = []

    def draw(self) -> Drawing:
        shapes, lines = self.picture.shapes, self.picture.lines
        glyphs = [glyph(s) for s in shapes]
        stubs = [self.stub(k, s) for k, s in enumerate(shapes)]
        boxes = [
            Box(g + stub, self.tall(s), s.kind in ("leaf", "constant"))
            for s, g, stub in zip(shapes, glyphs, stubs, strict=True)
        ]
        labels = [(self.wide(e.below, "branch", k) + 12, 30.0) if e.below else (0.0, 0.0) for k, e in enumerate(lines)]
        placed = place(boxes, [(e.source, e.target) for e in lines], labels, BEND)
        x = [v + MARGIN for v in placed.x]
        y = [v + MARGIN for v in placed.y]
        outlines = []
        for k, s in enumerate(shapes):
            outlines.append(self.outline(k, s, x[k], y[k], glyphs[k]))
            self.labels(k, s, x[k] + glyphs[k], y[k], stubs[k])
        curves = self.curves(x, y, glyphs, stubs, [r.levels for r in placed.routes])
        wide = placed.width + 2 * MARGIN
        return Drawing(
            self.picture.title, wide, placed.height + 2 * MARGIN, tuple(outlines), tuple(curves), tuple(self.texts),
            tuple(self.slots),
        )  # fmt: skip

    # -------------------------------------------------------------- sizes
    def wide(self, text: str, role: str, owner: int) -> float:
        return (BLANK if self.asked(role, owner) else width(text, SMALL, role == "slope")) if text else 0.0

    def asked(self, role: str, owner: int) -> bool:
        """Whether a number is to be filled in; `owner` is a shape, or a line for the role "branch"."""
        if not self.blank:
            return False
        if role == "branch":
            return True
        if self.picture.slopes:
            return role == "slope" and owner != self.picture.start
        return self.picture.shapes[owner].kind not in ("leaf", "constant")

    def stub(self, k: int, s: Shape) -> float:
        """The length of the level piece of line that carries a value above and a derivative below."""
        return max(self.wide(s.above, "value", k), self.wide(s.below, "slope", k), 26.0) + 14.0

    def tall(self, s: Shape) -> float:
        room = 50.0 if self.blank else 40.0
        if s.kind in ("leaf", "constant"):
            return room
        return max(room, 2 * RADIUS + (2 * (CAPTION + 5) if s.title and s.title != s.text else 4))

    # -------------------------------------------------------------- pieces
    def outline(self, k: int, s: Shape, x: float, y: float, wide: float) -> Outline:
        if s.kind in ("leaf", "constant"):
            self.texts.append(Text(x + wide - 6, y + FONT * 0.35, s.text, "leaf", k, "end"))
            return Outline(x + wide / 2, y, wide, 24.0, s.kind, s.tip, k)
        self.texts.append(Text(x + wide / 2, y + FONT * 0.35, s.text, "symbol", k))
        if s.title and s.title != s.text:
            self.texts.append(Text(x + wide / 2, y + RADIUS + CAPTION + 2, caption(s.title, wide), "caption", k))
        return Outline(x + wide / 2, y, wide, 2 * RADIUS, s.kind, s.tip, k)

    def labels(self, k: int, s: Shape, x: float, y: float, stub: float) -> None:
        middle = x + stub / 2
        for text, role, at in ((s.above, "value", y - 6), (s.below, "slope", y + SMALL + 4)):
            if text:
                self.put(text, role, k, middle, at)

    def put(self, text: str, role: str, owner: int, x: float, y: float) -> None:
        if self.asked(role, owner):
            self.slots.append(Slot(x - BLANK / 2, y - SMALL - (2 if role == "value" else 0), BLANK, role, text))
        else:
            self.texts.append(Text(x, y, text, role, owner))

    def curves(
        self,
        x: list[float],
        y: list[float],
        glyphs: list[float],
        stubs: list[float],
        routes: list[Levels],
    ) -> list[Curve]:
        lines = self.picture.lines
        arriving: dict[int, list[int]] = {}
        for k, e in enumerate(lines):
            arriving.setdefault(e.target, []).append(k)
        ports: dict[int, float] = {}
        for found in arriving.values():
            found.sort(key=lambda k: self.height_before(k, lines, y, routes))
            for n, k in enumerate(found):
                ports[k] = 0.0 if len(found) == 1 else (n / (len(found) - 1) - 0.5) * 2 * RADIUS * 0.6
        out = []
        used = {e.source for e in lines}
        for k, e in enumerate(lines):
            start = (x[e.source] + glyphs[e.source], y[e.source])
            points = [start, (start[0] + stubs[e.source], start[1])]
            for n, (left, right, height) in enumerate(routes[k]):
                points += [(left + MARGIN, height + MARGIN), (right + MARGIN, height + MARGIN)]
                if e.below and n == len(routes[k]) - 1:
                    self.put(e.below, "branch", k, (left + right) / 2 + MARGIN, height + MARGIN + SMALL + 3)
            port = ports[k]
            inset = RADIUS - (RADIUS**2 - port**2) ** 0.5 if self.round(e.target, glyphs) else 0.0
            points.append((x[e.target] + inset, y[e.target] + port))
            out.append(Curve(tuple(points), k))
        for n, s in enumerate(self.picture.shapes):
            if n not in used and (s.above or s.below):
                out.append(Curve(((x[n] + glyphs[n], y[n]), (x[n] + glyphs[n] + stubs[n], y[n])), -1))
        return out

    def round(self, k: int, glyphs: list[float]) -> bool:
        return self.picture.shapes[k].kind == "op" and glyphs[k] <= 2 * RADIUS

    @staticmethod
    def height_before(k: int, lines: tuple[Line, ...], y: list[float], routes: list[Levels]) -> float:
        return routes[k][-1][2] + MARGIN if routes[k] else y[lines[k].source]


def caption(text: str, wide: float) -> str:
    """As much of a name as has room below a shape: its tip says it in full."""
    room = wide + 2 * (BEND - 8)
    if width(text, CAPTION) <= room:
        return text
    while width(text + "…", CAPTION) > room:
        text = text[:-1]
    return text + "…"


def glyph(s: Shape) -> float:
    """The width of the shape itself."""
    wide = width(s.text, FONT)
    if s.kind in ("leaf", "constant"):
        return wide + 10
    return max(2 * RADIUS, wide + (18 if s.kind == "op" else 26))
