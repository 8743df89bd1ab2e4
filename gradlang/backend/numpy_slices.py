"""Sizes and slices as texts of Python."""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.types import Dim, add, at_least, mul


def dim_text(dim: Dim, sizes: dict[str, str]) -> str:
    """A size as a Python expression over the identifiers of the named sizes."""
    if isinstance(dim, int):
        return str(dim)
    text = ""
    for names, factor in sorted(dim.terms, key=lambda t: (-len(t[0]), t[0])):
        body = "*".join(sizes[n] for n in names)
        size = abs(factor)
        part = str(size) if not names else body if size == 1 else f"{size}*{body}"
        text += (" - " if factor < 0 else " + ") + part if text else ("-" if factor < 0 else "") + part
    return text


def natural(dim: Dim) -> bool:
    """Whether a dimension is known to be 0 or more for all sizes, of arrays without entries too."""
    return dim >= 0 if isinstance(dim, int) else all(c >= 0 for _, c in dim.terms)


def ranges(
    starts: tuple[Dim, ...],
    lengths: tuple[Dim, ...],
    steps: tuple[int, ...],
    shape: tuple[Dim, ...],
    sizes: dict[str, str],
    single: Sequence[bool] = (),
) -> str:
    """What stands in the brackets of a slice. Axes marked as `single` are indexed and go."""
    parts = []
    for axis, (start, length, step, dim) in enumerate(zip(starts, lengths, steps, shape, strict=True)):
        if single and single[axis]:
            parts.append(dim_text(start, sizes))
            continue
        if start == 0 and length == dim and step == 1:
            parts.append(":")
            continue
        last = add(start, mul(length, step))
        if step < 0:
            whole = isinstance(last, int) and last < 0
            stop = "" if whole else dim_text(last, sizes)
            if not whole and not at_least(last, 0):  # -1 would be the last entry
                stop = f"({stop} if {stop} >= 0 else None)"
            begin = dim_text(start, sizes)
            if not natural(start) and add(start, 1) != dim:  # it is -1 where the slice has no entries: not the last one
                begin = f"({begin} if {begin} >= 0 else {dim_text(mul(add(dim, 1), -1), sizes)})"
            parts.append("::-1" if whole and step == -1 and length == dim else f"{begin}:{stop}:{step}")
            continue
        stop = dim_text(add(last, 1 - step) if step > 1 else last, sizes)
        begin = "" if start == 0 else dim_text(start, sizes)
        parts.append(f"{begin}:{'' if last == dim and step == 1 else stop}" + (f":{step}" if step != 1 else ""))
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    return ", ".join(parts)
