"""Distances between floats in units in the last place, and texts that are equal but for such distances.

A library of another version or machine may round the last digit of `exp` or of a sum otherwise; nothing else in a printed
result may differ.
"""

from __future__ import annotations

import math
import re
import struct

# The sign stays with the text: after an operand it is an operator, and a change of sign is never a rounding.
NUMBER = re.compile(r"(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?(?![\w.])")


def _rank(x: float) -> int:
    """The place of a float among all floats; both zeros have place 0."""
    (bits,) = struct.unpack("<q", struct.pack("<d", x))
    return bits if bits >= 0 else -(bits + 2**63)


def ulp_distance(a: float, b: float) -> float:
    """How many floats lie from a to b: 0 for equal ones (and for two nans), inf if only one is nan or infinite."""
    if math.isnan(a) or math.isnan(b):
        return 0.0 if math.isnan(a) and math.isnan(b) else math.inf
    if a == b:
        return 0.0
    if math.isinf(a) or math.isinf(b):
        return math.inf
    return float(abs(_rank(a) - _rank(b)))


def same_text_within_ulps(expected: str, actual: str, ulps: float) -> bool:
    """Whether two texts are equal but for numbers with a point or an exponent, which may be `ulps` apart.

    Whole numbers (counts, indices, line numbers) are text: they must be equal."""
    if NUMBER.split(expected) != NUMBER.split(actual):
        return False
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(actual), strict=True)
    return all(a == b or ulp_distance(float(a), float(b)) <= ulps for a, b in pairs)
