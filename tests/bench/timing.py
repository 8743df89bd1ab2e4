"""Contestants take turns in one process; medians are reported, and only ratios of one run are claims."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def kind(contestant: str) -> str:
    """gradlang, a hand-written floor, or a peer."""
    if contestant.startswith(("gradlang", "- ")):
        return "gradlang"
    return "floor" if "by hand" in contestant or contestant.startswith(("five products", "an empty call")) else "peer"


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
    huge: bool = False
    clock: Callable[[], float] = time.perf_counter
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
        medians = interleaved(contestants, budget, self.clock)
        first = next(iter(medians.values()))
        for name, m in medians.items():
            self.rows.append(Row(workload, case, name, m, m / first, note=(notes or {}).get(name, "")))

    def race(
        self,
        workload: str,
        case: str,
        makers: Mapping[str, Callable[[], Callable[[], Any]]],
        wanted: Any,
        *,
        tol: float = 1e-9,
        seconds: float = 2.0,
        objective: Callable[[], Any] | None = None,
        what: tuple[str, str] = ("gradient", "objective"),
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the contestants, compares their answers with `wanted`, then takes times as `compare` does.

        A maker that raises ImportError has no package; another error of a peer leaves it out with a note. A call
        whose result must be converted before it can be compared has an attribute `answer` that does so. `objective` is
        gradlang's value alone: with it a row says how much the gradient costs beside it, or whatever `what` names."""
        calls: dict[str, Callable[[], Any]] = {}
        for name, make in makers.items():
            try:
                call = make()
                equal(f"{workload}, {case}, {name}", getattr(call, "answer", call)(), wanted, tol)
            except ImportError:
                continue
            except Exception as error:
                if kind(name) == "gradlang":
                    raise
                first_line = (str(error).splitlines() or [""])[0]
                self.notes.append(f"{workload}, {case}: {name} is left out: {type(error).__name__}: {first_line}")
                continue
            calls[name] = call
        alone = f"gradlang, {what[1]} alone"
        if objective is not None:
            calls[alone] = objective
        self.compare(workload, case, calls, seconds=seconds, notes=notes)
        if objective is not None:
            found = {r.contestant: r.median for r in self.rows if (r.workload, r.case) == (workload, case)}
            ratio = found[next(iter(calls))] / found[alone]
            self.add(workload, case, f"gradlang, {what[0]} / {what[1]}", ratio, 0.0, "times")

    def add(
        self, workload: str, case: str, contestant: str, value: float, ratio: float = 1.0, unit: str = "s", note: str = ""
    ) -> None:
        self.rows.append(Row(workload, case, contestant, value, ratio, unit, note))


def interleaved(
    contestants: Mapping[str, Callable[[], Any]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """name -> median seconds of a call. Every round runs each contestant once, for a slice of about a millisecond."""
    slices = {}
    for name, call in contestants.items():
        call()
        call()
        start = time.perf_counter()
        call()
        one = max(time.perf_counter() - start, 1e-8)
        slices[name] = (call, max(1, math.ceil(5e-4 / one)), one < 5e-3)
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    shuffle = random.Random(1).shuffle
    rounds = 0
    while rounds < 7 or time.perf_counter() < end:
        # a contestant that always followed the same one would find its caches as that one left them; what takes longer
        # than a second is called three times
        order = [name for name in slices if rounds < 3 or samples[name][0] < 1.0]
        shuffle(order)
        for name in order:
            call, count, short = slices[name]
            turns = range(count)
            if short:  # the caches of a short call are its own, not those of the contestant before it
                call()
            start = clock()
            for _ in turns:
                call()
            samples[name].append((clock() - start) / count)
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


def summary(rows: list[Row]) -> str:
    """For each case: gradlang, the best peer and the best floor, and how many times as long as these gradlang takes."""
    lines = ["| workload | case | gradlang | best peer | | gradlang / peer | best floor | | gradlang / floor |"]
    lines.append("| --- | --- | ---: | --- | ---: | ---: | --- | ---: | ---: |")
    for workload, case in dict.fromkeys((r.workload, r.case) for r in rows):
        here = [r for r in rows if (r.workload, r.case) == (workload, case) and r.unit == "s"]
        own = next((r for r in here if kind(r.contestant) == "gradlang"), None)
        if own is None:
            continue
        cells = [workload, case, shown(own.median, "s")]
        for what in ("peer", "floor"):
            best = min((r for r in here if kind(r.contestant) == what), key=lambda r: r.median, default=None)
            cells += [best.contestant, shown(best.median, "s"), f"{own.median / best.median:.2f}"] if best else ["", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown(rows: list[Row]) -> str:
    lines = ["| workload | case | contestant | median | x gradlang | |", "| --- | --- | --- | ---: | ---: | --- |"]
    for r in rows:
        ratio = f"{r.ratio:.3g}" if r.ratio else ""
        lines.append(f"| {r.workload} | {r.case} | {r.contestant} | {shown(r.median, r.unit)} | {ratio} | {r.note} |")
    return "\n".join(lines)
