"""The values that a check is made at: those given, made-up ones for what is missing, and points inside the ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.check.program import Leaf
from gradlang.ir.evaluate import value_of
from gradlang.runtime.bind import Binder
from gradlang.types import Size, value

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.prove.report import Report

GOLDEN = 0.6180339887498949
SHOWN = 3  # inputs of which a report says where they stand


def complete(model: Model, given: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The values given, and for required inputs that are not given fixed numbers that look random."""
    program = model.program
    values = dict(given)
    missing = [leaf for leaf in program.callable_leaves() if leaf.required and leaf.name not in values]
    if not missing:
        return values
    sizes = known_sizes(model, values)
    for name in program.sizes:
        sizes.setdefault(name, 3 + len([s for s in sizes if s in program.sizes]) % 3)
    least = min(
        [d if isinstance(d, int) else value(d, sizes) for leaf in program.leaves.values() for d in leaf.type.shape] or [2]
    )
    for k, leaf in enumerate(missing):
        shape = tuple(max(value(d, sizes), 0) for d in leaf.type.shape)
        steps = np.modf(np.arange(1, int(np.prod(shape)) + 1) * GOLDEN + 0.137 * k)[0].reshape(shape)
        low, high = ends(leaf)
        if leaf.type.dtype == "bool":
            values[leaf.name] = steps > 0.5
        elif leaf.type.dtype == "int":
            many = max(min(least, 10), 1) if leaf.range is None else min(math.floor(high) - math.ceil(low) + 1, 10)
            values[leaf.name] = (math.ceil(low) if leaf.range else 0) + np.floor(steps * many).astype(int)
        else:
            values[leaf.name] = low + (high - low) * steps
    shown = ", ".join(leaf.name for leaf in missing)
    report.notes.append(
        f"no value is given for {shown}: made-up numbers are used"
        + (f" with {', '.join(f'{n} = {sizes[n]}' for n in program.sizes)}" if program.sizes else "")
    )
    return values


def ends(leaf: Leaf) -> tuple[float, float]:
    """Between which numbers values of an input are made up: its range, as far as that is finite."""
    low, high = leaf.range or (-math.inf, math.inf)
    if math.isinf(low) and math.isinf(high):
        return 0.2, 1.8
    if math.isinf(low):
        return high - 1.8, high - 0.2
    return (low + 0.2, low + 1.8) if math.isinf(high) else (low, high)


def known_sizes(model: Model, values: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the values given and the defaults fix."""
    program = model.program
    sizes: dict[str, int] = {}
    for leaf in program.callable_leaves():
        data = values.get(leaf.name, leaf.default if isinstance(leaf.default, tuple) else None)
        if data is None and leaf.default_node is not None:
            try:
                data = value_of(program, leaf.default_node, sizes)
            except KeyError:  # it has a size that another array fixes
                continue
        if data is None:
            continue
        for dim, got in zip(leaf.type.shape, np.shape(data), strict=False):
            found = dim.linear() if isinstance(dim, Size) else None
            if found is not None and found[1:] == (1, 0):
                sizes.setdefault(found[0], got)
    return sizes


def bound(model: Model, values: Mapping[str, Any], extra: tuple[Any, ...] = ()) -> tuple[dict[str, Any], dict[str, int]]:
    """The arguments of a call by name, and the sizes. Raises InputError if the values do not fit."""
    binder = Binder(model.program, tuple(model.program.callable_leaves()), extra, "float64", model.seed)
    args, sizes = binder.bind(values)
    return dict(zip(binder.types, args, strict=True)), sizes


def inside(model: Model, values: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The middle and the ends of the ranges, as far as they are finite: (where that is, the values)."""
    leaves = [leaf for leaf in model.program.callable_leaves() if leaf.range is not None and leaf.type.dtype == "real"]
    if not leaves:
        return []
    now, _ = bound(model, values)
    out = []
    for what, share in (("middle", 0.5), ("lower end", 0.0), ("upper end", 1.0)):
        moved = {}
        for leaf in leaves:
            at = between(leaf.range or (math.nan, math.nan), share)
            if math.isfinite(at):
                moved[leaf.name] = np.full(np.shape(now[leaf.name]), at)
        if moved:
            where = f" at the {what} of the range of {', '.join(moved)}"
            if len(moved) <= SHOWN:
                where = " at " + ", ".join(f"{n} = {float(v.flat[0]):g}" for n, v in moved.items())
            out.append((where, {**values, **{n: v if v.ndim else float(v) for n, v in moved.items()}}))
    return out


def between(range: tuple[float, float], share: float) -> float:
    """A point of a range; not finite where the range has no such point."""
    low, high = range
    return low if share == 0 else high if share == 1 else low + share * (high - low)
