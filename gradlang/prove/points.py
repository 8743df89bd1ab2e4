"""Where entries are tested: the corners of their domains, ordinary points, huge and tiny ones."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradlang.ops.op import Domain, Op

DEFAULT = (-10.0, 10.0)
GOLDEN = (0.6180339887498949, 0.7548776662466927, 0.5698402909980532)  # quasi-random steps (R1, R2 sequences)


def place(low: float, high: float, t: float) -> float:
    """The point at fraction t of an interval; evenly over the decades where it spans many."""
    if low > 0 and high / low > 1e3:
        return math.exp(math.log(low) + t * (math.log(high) - math.log(low)))
    if low < 0 < high and max(high, -low) > 1e3:
        side = high if t >= 0.5 else -low
        return math.copysign(side ** (2 * abs(t - 0.5)) if side > 1 else side * 2 * abs(t - 0.5), t - 0.5)
    if high < 0 and low / high > 1e3:
        return -place(-high, -low, 1 - t)
    return low + t * (high - low)


def inside(domain: Domain, names: tuple[str, ...], count: int) -> Iterator[tuple[float, ...]]:
    """`count` points of a box: its ends, its middle, and a quasi-random walk through it."""
    bounds = [domain.bounds.get(n, DEFAULT) for n in names]
    yield tuple(low for low, _ in bounds)
    yield tuple(high for _, high in bounds)
    if len(names) > 1:
        yield (bounds[0][0], *(high for _, high in bounds[1:]))
        yield (bounds[0][1], *(low for low, _ in bounds[1:]))
    for k in range(1, count):
        yield tuple(
            place(low, high, math.fmod(0.5 + k * GOLDEN[i % 3] + i * 0.37, 1.0)) for i, (low, high) in enumerate(bounds)
        )


def settings(op: Op, domain: Domain, defaults: tuple[object, ...]) -> tuple[object, ...]:
    """The settings of an entry in one of its domains: a setting is fixed by an interval of one point."""
    out: list[object] = []
    for name, default in zip(op.attrs, defaults, strict=True):
        if name in domain.bounds:
            low = domain.bounds[name][0]
            out.append(int(low) if low.is_integer() else low)
        else:
            out.append(default)
    return tuple(out)


def domains(op: Op) -> tuple[Domain, ...]:
    return op.domains or (Domain(dict.fromkeys(op.params, DEFAULT)),)
