"""How wide texts are in a picture, so that nothing overlaps whatever font a reader has."""

from __future__ import annotations

import unicodedata

# Advance widths in thousandths of the font size, as in the usual sans-serif faces (Helvetica, Arial, Liberation Sans).
NARROW = {**dict.fromkeys("ijl|'", 240), **dict.fromkeys("ft.,:;!()[]/\\ I-", 310), **dict.fromkeys('r{}*"', 380)}
WIDE = {**dict.fromkeys("mwMW@%", 900), **dict.fromkeys("ABCDEGHKNOPQRSUVXY&", 720), **dict.fromkeys("+=<>~", 590)}
USUAL = 560
SPARE = 1.04  # faces differ by a little


def width(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of text at a font size, an upper estimate for usual faces."""
    total = 0
    for c in text:
        if unicodedata.combining(c):
            continue
        if unicodedata.east_asian_width(c) in "WF":
            total += 1000
        else:
            total += NARROW.get(c) or WIDE.get(c) or (USUAL if c.isascii() else 640)
    return total * size * (SPARE + 0.07 * bold) / 1000
