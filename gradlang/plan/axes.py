"""Which axes of two shapes hold the same entries."""

from __future__ import annotations

from gradlang.types import Dim, Shape, mul


def groups(source: Shape, target: Shape) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of axes of two shapes with the same number of entries."""
    out: list[tuple[list[int], list[int]]] = []
    old: list[int] = []
    new: list[int] = []
    a: Dim = 1
    b: Dim = 1
    i = j = 0
    while i < len(source) or j < len(target):
        grow_new = i >= len(source) or (j < len(target) and smaller(b, a))
        if grow_new:
            new.append(j)
            b = mul(b, target[j])
            j += 1
        else:
            old.append(i)
            a = mul(a, source[i])
            i += 1
        if a == b and old and new:
            out.append((old, new))
            old, new, a, b = [], [], 1, 1
    if old or new:
        if out:
            out[-1][0].extend(old)
            out[-1][1].extend(new)
        else:
            out.append((old, new))
    return out


def smaller(a: Dim, b: Dim) -> bool:
    """Whether more axes are needed for a than for b: numbers by size, sizes by degree."""

    def order(d: Dim) -> tuple[int, int]:
        if isinstance(d, int):
            return 0, d
        names, factor = max(d.terms, key=lambda t: (len(t[0]), t[1]))
        return len(names), factor

    return order(a) < order(b)
