"""Learning curves as an SVG picture: a panel for each value, the training data as a line, the validation data dashed.

Presentation attributes only, no styles and no scripts, so that every viewer and converter shows the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from gradlang.fit.state import VALID, Row

WIDTH, HEIGHT = 640, 230  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 68, 16, 34, 40
MOST = 600  # points of a line that are drawn
LOG = 50.0  # from this ratio of the largest to the least value on, the axis is logarithmic
FAR = (1e-300, 1e300)  # from the least to the largest value that is drawn where it lies
INK, GRID = "#333333", "#dddddd"
COLORS = {False: "#1f5fa8", True: "#c2570c"}
FONT = 'font-family="Helvetica, Arial, sans-serif" font-size="12"'


class Axis:
    """A scale from values to places on the paper, with ticks at round numbers."""

    def __init__(self, low: float, high: float, start: float, stop: float, log: bool = False, whole: bool = False) -> None:
        self.log, self.start, self.stop = log, start, stop
        if log:
            low, high = math.log10(low), math.log10(high)
        if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
            pad = 0.5 if log or whole else max(abs(low) * 0.05, 0.5)
            low, high = low - pad, high + pad
        self.ticks: list[tuple[float, str]] = []
        if log:
            bottom, top = math.floor(low), math.ceil(high)
            self.low, self.high = float(bottom), float(top)
            self.ticks = [(10.0**k, power(k)) for k in range(bottom, top + 1, max(1, math.ceil((high - low) / 6)))]
            return
        step = round_step((high - low) / 5)
        if whole:
            step = max(1.0, step)
        # the ends of an axis of numbers are ticks; counts begin and end where they do
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if not whole:
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            low, high = first * step, last * step
        self.low, self.high = low, high
        self.ticks = [(k * step, f"{k * step:.10g}") for k in range(first, last + 1)]

    def at(self, value: float) -> float:
        x = math.log10(value) if self.log else value
        return self.start + (x - self.low) / (self.high - self.low) * (self.stop - self.start)


def round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, not below `about`."""
    scale = 10.0 ** math.floor(math.log10(about))
    return next(m * scale for m in (1, 2, 5, 10) if m * scale >= about * (1 - 1e-9))


def power(k: int) -> str:
    return f"{10.0**k:g}" if -4 <= k <= 4 else f"1e{k}"


def chart(history: Sequence[Row], title: str) -> str:
    """The picture of a history: for each value a panel [x: epoch, or step where an epoch is one; y: the mean]."""
    names = [n for n in dict.fromkeys(n for r in history for n in r) if n not in ("epoch", "step")]
    values = [n for n in names if not (n.startswith(VALID) and n.removeprefix(VALID) in names)]
    by = "step" if history and all(r["epoch"] == r["step"] for r in history) else "epoch"
    xs = [r[by] for r in history]
    height = max(len(values), 1) * HEIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" {FONT} fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described(history, values, by))}</desc>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for k, name in enumerate(values):
        lines = {n != name: [drawable(r.get(n, math.nan)) for r in history] for n in (name, VALID + name) if n in names}
        out += panel(name, by, xs, lines, k * HEIGHT)
    return "\n".join([*out, "</svg>"]) + "\n"


def drawable(value: float) -> float:
    """A value whose differences and powers of ten are numbers."""
    return math.copysign(min(max(abs(value), FAR[0]), FAR[1]), value) if value and math.isfinite(value) else value


def described(history: Sequence[Row], values: Sequence[str], by: str) -> str:
    if not history:
        return "no epoch was finished"
    first, last = history[0], history[-1]
    parts = [f"{n} from {first.get(n, math.nan):.4g} to {last.get(n, math.nan):.4g}" for n in values]
    return f"{by} {first[by]:g} to {last[by]:g}: " + ", ".join(parts)


def panel(name: str, by: str, xs: Sequence[float], lines: dict[bool, list[float]], top: int) -> list[str]:
    """One value over the epochs: grid, ticks, lines, legend."""
    finite = [y for ys in lines.values() for y in ys if math.isfinite(y)]
    right, bottom = WIDTH - RIGHT, top + HEIGHT - BOTTOM
    out = [f'<text x="{LEFT}" y="{top + 20}" font-weight="bold">{escape(name)}</text>']
    if not finite or not xs:
        return [*out, f'<text x="{LEFT}" y="{top + 60}">no values</text>']
    log = min(finite) > 0 and max(finite) / min(finite) >= LOG
    x = Axis(min(xs), max(xs), LEFT + 4, right - 4, whole=True)
    y = Axis(min(finite), max(finite), bottom, top + TOP, log)
    for value, text in y.ticks:
        h = f"{y.at(value):.1f}"
        out.append(f'<line x1="{LEFT}" y1="{h}" x2="{right}" y2="{h}" stroke="{GRID}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y.at(value) + 4:.1f}" text-anchor="end">{text}</text>')
    for value, text in x.ticks:
        w = f"{x.at(value):.1f}"
        out.append(f'<line x1="{w}" y1="{bottom}" x2="{w}" y2="{bottom + 4}" stroke="{INK}"/>')
        out.append(f'<text x="{w}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    out.append(f'<path d="M{LEFT} {top + TOP}V{bottom}H{right}" fill="none" stroke="{INK}"/>')
    out.append(f'<text x="{(LEFT + right) / 2:g}" y="{bottom + 34}" text-anchor="middle">{by}</text>')
    at = right
    for held in sorted(lines, reverse=True):
        dash = ' stroke-dasharray="6 3"' if held else ""
        pen = f'fill="none" stroke="{COLORS[held]}" stroke-width="1.8" stroke-linejoin="round"{dash}'
        out += drawn([(x.at(a), y.at(b)) if math.isfinite(b) else None for a, b in zip(xs, lines[held], strict=True)], pen)
        if len(lines) > 1:
            word = "validation" if held else "training"
            at -= 100 if held else 94
            out.append(f'<path d="M{at} {top + 16}h24" {pen}/>')
            out.append(f'<text x="{at + 30}" y="{top + 20}">{word}</text>')
    return out


def drawn(points: Sequence[tuple[float, float] | None], pen: str) -> list[str]:
    """A line through points, broken where there is none; a single point is a dot. Of many points the highest and the lowest of
    neighbours are drawn."""
    groups: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            groups.append([])
        else:
            groups[-1].append(point)
    out = []
    for group in groups:
        thin = thinned(group, max(2, MOST * len(group) // max(len(points), 1)))
        if len(thin) == 1:
            out.append(f'<circle cx="{thin[0][0]:.1f}" cy="{thin[0][1]:.1f}" r="2.5" {pen}/>')
        elif thin:
            out.append(f'<path d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in thin)}" {pen}/>')
    return out


def thinned(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    if len(points) <= most:
        return points
    width = -(-2 * len(points) // most)
    kept = [points[0]]
    for k in range(0, len(points), width):
        part = points[k : k + width]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]
