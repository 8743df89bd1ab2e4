"""Contestants take turns in one process; medians are reported, and only ratios of one run are claims."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One line of the result: what was measured, its median in seconds (or bytes), and the ratio to the first contestant."""

    workload: str
    case: str
    contestant: str
    median: float
    ratio: float
    unit: str = "s"
    note: str = ""


@dataclass
class Bench:
    """What a workload is given: how long it may take, and where its rows go."""

    quick: bool = False
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(
        self,
        workload: str,
        case: str,
        contestants: Mapping[str, Callable[[], Any]],
        *,
        seconds: float = 2.0,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Median time of a call of each, taken in turn: gradlang first, ratios are to it (below 1: faster than gradlang)."""
        budget = seconds / 4 if self.quick else seconds
        medians = interleaved(contestants, budget)
        first = next(iter(medians.values()))
        for name, m in medians.items():
            self.rows.append(Row(workload, case, name, m, m / first, note=(notes or {}).get(name, "")))

    def add(
        self, workload: str, case: str, contestant: str, value: float, ratio: float = 1.0, unit: str = "s", note: str = ""
    ) -> None:
        self.rows.append(Row(workload, case, contestant, value, ratio, unit, note))


def interleaved(contestants: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """name -> median seconds of a call. Every round runs each contestant once, for a slice of about a millisecond."""
    slices = {}
    for name, call in contestants.items():
        call()
        call()
        start = time.perf_counter()
        call()
        one = max(time.perf_counter() - start, 1e-8)
        slices[name] = (call, max(1, math.ceil(5e-4 / one)))
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    shuffle = random.Random(1).shuffle
    rounds = 0
    while rounds < 7 or time.perf_counter() < end:
        # a contestant that always followed the same one would find its caches as that one left them
        order = list(slices)
        shuffle(order)
        for name in order:
            call, count = slices[name]
            turns = range(count)
            start = time.perf_counter()
            for _ in turns:
                call()
            samples[name].append((time.perf_counter() - start) / count)
        rounds += 1
    return {name: statistics.median(s) for name, s in samples.items()}


def equal(name: str, got: Any, wanted: Any, tol: float = 1e-9) -> None:
    """Raises unless two answers (numbers, arrays, dicts, sequences of them) agree to `tol`, relative to their size."""
    import numpy as np

    if isinstance(wanted, Mapping):
        assert set(got) == set(wanted), f"{name}: {sorted(got)} instead of {sorted(wanted)}"
        for key in wanted:
            equal(f"{name}[{key}]", got[key], wanted[key], tol)
    elif isinstance(wanted, (tuple, list)):
        assert len(got) == len(wanted), f"{name}: {len(got)} entries instead of {len(wanted)}"
        for k, pair in enumerate(zip(got, wanted, strict=True)):
            equal(f"{name}[{k}]", *pair, tol)
    else:
        a, b = np.asarray(got, "float64"), np.asarray(wanted, "float64")
        assert a.shape == b.shape, f"{name}: shape {a.shape} instead of {b.shape}"
        off = float(np.max(np.abs(a - b), initial=0.0)) / max(float(np.max(np.abs(b), initial=0.0)), 1e-300)
        assert off <= tol, f"{name}: answers differ by {off:.3g} of their size"


def shown(value: float, unit: str) -> str:
    """Three digits and a unit."""
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    if unit != "s":
        return f"{value:.3g} {unit}"
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def markdown(rows: list[Row]) -> str:
    lines = ["| workload | case | contestant | median | x gradlang | |", "| --- | --- | --- | ---: | ---: | --- |"]
    for r in rows:
        ratio = f"{r.ratio:.3g}" if r.ratio else ""
        lines.append(f"| {r.workload} | {r.case} | {r.contestant} | {shown(r.median, r.unit)} | {ratio} | {r.note} |")
    return "\n".join(lines)
