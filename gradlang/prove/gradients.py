"""The derivatives of a program against differences in higher precision: the book's gradient check, done right.

Each derivative is compared on its own, or, of what is too large for that, along lines through whole arrays. What is allowed
is a relative error, and what rounding may have done (`rounding.py`). At a kink the derivative must lie between the one-sided
ones: there their gap stays when the step is halved, while that of a smooth function is halved too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.prove.higher import AFFORDED, Higher, Line
from gradlang.prove.rounding import BLOWN

if TYPE_CHECKING:
    from gradlang.prove.report import Report

CLOSE = {"mpmath": 1e-11, "extended": 1e-7, "double": 1e-6}
SECOND = {"mpmath": 1e-11, "extended": 1e-5, "double": 1e-3}  # for second derivatives
STEPS = {"mpmath": (1e-30,), "extended": (1e-4, 1e-6, 1e-8), "double": (1e-3, 1e-5, 1e-7)}
CURVE = {"mpmath": (1e-15,), "extended": (1e-3,), "double": (1e-2,)}
ROUNDED = 100  # times the spread that random rounding shows
ENTRIES = {"mpmath": 12, "extended": 5, "double": 5}  # of a large gradient that are compared one by one
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Probe:
    """A line along which a derivative is compared. Its slope over `length` is the derivative that is shown."""

    label: str
    line: Line
    length: float
    alone: bool  # the line moves one entry only


@dataclass(frozen=True, slots=True)
class Claim:
    """What a program says about the derivatives of a value: for each leaf an array of its shape, the same with every
    operation off by a last digit, and for second derivatives the line along which the first ones are taken."""

    name: str
    found: Mapping[str, np.ndarray[Any, Any]]
    shaken: tuple[Mapping[str, np.ndarray[Any, Any]], ...]
    along: Line | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: str  # ok, kink, edge, wrong or unknown
    truth: float
    left: float = math.nan
    right: float = math.nan
    error: float = 0.0


def fractions(shape: tuple[int, ...], shift: float = 0.0) -> Any:
    """Numbers from 0 to 1 that look random."""
    total = int(np.prod(shape, dtype=int))
    return np.modf(np.arange(1, total + 1) * GOLDEN + shift)[0].reshape(shape)


def signs(shape: tuple[int, ...], shift: float) -> Any:
    """Numbers from 0.5 to 1.5 and from -1.5 to -0.5."""
    return (0.5 + fractions(shape, shift)) * np.where(fractions(shape, 0.5 + 7.3 * shift) * 1e3 % 1 < 0.5, -1.0, 1.0)


# ------------------------------------------------------------------ where to look
def probes(higher: Higher, found: Mapping[str, Any], share: float, evaluations: int) -> Iterator[Probe]:
    """Entries and lines: all entries of small arrays; of large ones some, spread over them, and a line through all."""
    afford = max(1, int(share * AFFORDED[higher.method] / (max(higher.work, 1) * evaluations)))
    sizes = {n: g.size for n, g in found.items() if g.size}
    if afford < len(sizes):
        for k in range(min(afford, 2)):
            yield Probe("", {n: whole(higher, n, 0.3 * k + 0.1 * i) for i, n in enumerate(sizes)}, 1.0, False)
        return
    left, most = afford, ENTRIES[higher.method]
    for k, (n, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        part = max(1, left // (len(sizes) - k))
        if size <= min(part, most):
            chosen = list(range(size))
        else:
            chosen = sorted({int(size * ((i * GOLDEN) % 1)) for i in range(min(part - 1, most - 1))})
            yield Probe(n, {n: whole(higher, n, 0.1 * k)}, 1.0, False)
        left -= min(part, len(chosen) + (size > len(chosen)))
        for flat in chosen:
            yield entry(higher, n, flat)


def entry(higher: Higher, name: str, flat: int) -> Probe:
    x = np.asarray(higher.given[name], float)
    line = np.zeros(x.size)
    line[flat] = max(abs(float(x.ravel()[flat])), 0.1)
    if not math.isfinite(line[flat]):
        line[flat] = 1.0
    where = tuple(int(i) for i in np.unravel_index(flat, x.shape)) if x.ndim else ()
    shown = name + (f"[{', '.join(map(str, where))}]" if where else "")
    return Probe(shown, {name: line.reshape(x.shape)}, float(line[flat]), True)


def whole(higher: Higher, name: str, shift: float) -> Any:
    """A line that moves every entry of an input."""
    x = np.asarray(higher.given[name], float)
    return signs(x.shape, shift) * np.where(np.isfinite(x), np.maximum(np.abs(x), 0.1), 1.0)


# ------------------------------------------------------------------ one line
class Slopes:
    """The differences of a value along one line, for one step."""

    def __init__(self, higher: Higher, probe: Probe, along: Line | None) -> None:
        self.higher, self.probe, self.along = higher, probe, along
        self._here: Any = None

    def value(self, far: Any) -> Any:
        """The value far along the line, or its first derivative there along another line."""
        h, line = self.higher, self.probe.line
        if self.along is None:
            return h.at((line, far)) if far is not None else h.here
        k = h.number({"mpmath": 1e-30, "extended": 1e-4, "double": 1e-3}[h.method])
        moves = [(line, far)] if far is not None else []
        return (h.at(*moves, (self.along, k)) - h.at(*moves, (self.along, -k))) / (2 * k)

    def at(self, step: float) -> tuple[float, float, float]:
        """Central, left and right difference."""
        if self._here is None:
            self._here = self.value(None)
        far = self.higher.number(step)
        up, down, here = self.value(far), self.value(-far), self._here
        length = self.higher.number(self.probe.length)
        with np.errstate(all="ignore"):
            return (
                float((up - down) / (2 * far) / length),
                float((here - down) / far / length),
                float((up - here) / far / length),
            )


def judge(got: float, slopes: Slopes, floor: float, rounded: float, noise: float) -> Verdict:
    """Whether a derivative is the slope along a line. `floor` is the least size that errors are relative to, `rounded` the
    error that rounding may have made, `noise` that of one value in higher precision."""
    method = slopes.higher.method
    second = slopes.along is not None
    close = (SECOND if second else CLOSE)[method]
    last = Verdict("unknown", math.nan)
    for step in (CURVE if second else STEPS)[method]:
        central, left, right = slopes.at(step)
        blur = noise / step / slopes.probe.length * ({"mpmath": 1e30, "extended": 1e4, "double": 1e3}[method] if second else 1)
        if math.isfinite(central) and method != "mpmath":
            finer = slopes.at(step / 2)[0]
            central = (4 * finer - central) / 3 if math.isfinite(finer) else central  # Richardson's extrapolation
        size = max(abs(central), floor)
        kind = (
            jump(slopes, step, left, right, blur) if abs(left - right) > 1e-3 * max(abs(left), abs(right)) + 100 * blur else ""
        )
        if kind == "kink" and math.isfinite(got):
            slack = close * max(abs(left), abs(right)) + rounded + blur
            inside = min(left, right) - slack <= got <= max(left, right) + slack
            last = Verdict("kink" if inside else "wrong" if slopes.probe.alone else "unknown", central, left, right)
            continue  # a smaller step may pass no kink
        if not math.isfinite(central) or not math.isfinite(got):
            return edge(got, slopes, step, central, left, right, close, rounded + blur)
        error = abs(got - central)
        if error <= close * size + rounded + blur:
            return Verdict("ok", central, left, right, error / max(size, rounded / ROUNDED / 2**-52, blur, 1e-300))
        last = Verdict("wrong", central, left, right)
    return last


def jump(slopes: Slopes, step: float, left: float, right: float, blur: float) -> str:
    """`kink` if the gap of the one-sided differences stays when the step is halved."""
    if not math.isfinite(left + right):
        return ""
    _, left2, right2 = slopes.at(step / 2)
    return "kink" if abs(left2 - right2) > 0.75 * abs(left - right) - 2 * blur else ""


def edge(
    got: float, slopes: Slopes, step: float, central: float, left: float, right: float, close: float, slack: float
) -> Verdict:
    """At the edge of the domain, or where a slope is infinite: one side decides; an infinite slope grows as steps shrink."""
    _, left2, right2 = slopes.at(step / 2)
    sides = [(a, b) for a, b in ((left, left2), (right, right2)) if math.isfinite(a) and math.isfinite(b)]
    if not sides:
        return Verdict("unknown", central, left, right)
    for a, b in sides:
        if math.isinf(got) and b * got > 0 and abs(b) > 1.001 * abs(a):
            return Verdict("edge", got, left, right)
        if abs(got - b) <= close * abs(b) + 4 * abs(a - b) + slack:
            return Verdict("edge", b, left, right)
    return Verdict("wrong", central if math.isfinite(central) else sides[0][1], left, right)


# ------------------------------------------------------------------ all lines of a claim
def compare(claim: Claim, higher: Higher, report: Report, share: float, where: str = "", quiet: bool = False) -> int:
    """Adds to a report whether the derivatives of a claim hold, and gives how many do. `share` is the part of the time that
    a check may take; `quiet` adds only those that are wrong."""
    if not math.isfinite(float(higher.here)):
        if not quiet:
            report.notes.append(f"{claim.name} is {float(higher.here)}{where}: its derivatives are not compared")
        return 0
    noise = higher.noise()
    largest = {n: float(np.max(np.abs(g[np.isfinite(g)]), initial=0.0)) for n, g in claim.found.items()}
    second = claim.along is not None
    evaluations = (4 if second else 2) * (1 if higher.method == "mpmath" else 2)
    worst, count, lines, bad = 0.0, 0, 0, 0
    for probe in probes(higher, claim.found, share, evaluations):
        got = slope_of(claim.found, probe)
        if not probe.alone and any(np.isinf(claim.found[n]).any() for n in probe.line):
            continue
        off = [abs(slope_of(s, probe) - got) for s in claim.shaken]
        rounded = ROUNDED / BLOWN * max((d for d in off if math.isfinite(d)), default=0.0)
        floor = 1e-3 * max(largest[n] for n in probe.line) if probe.alone else 0.0
        verdict = judge(got, Slopes(higher, probe, claim.along), floor, rounded, noise)
        by = probe.label if probe.alone else f"{probe.label or 'all of them'} (along a line through all entries)"
        shown = f"d {claim.name}/d {by}"
        if verdict.kind == "kink" and not quiet:
            text = f"{shown} is taken at a kink: {got!r}, between {verdict.left!r} and {verdict.right!r}"
            report.notes.append(text + where)
        elif verdict.kind == "unknown" and not quiet:
            report.notes.append(f"{shown}{where} is {got!r}; there are no differences to compare it with")
        elif verdict.kind == "wrong":
            bad += 1
            text = f"{shown} is {got!r}, but differences in higher precision give {verdict.truth!r}"
            report.add(False, text + where)
        if verdict.kind != "unknown":
            count, lines = count + 1, lines + (not probe.alone)
            worst = max(worst, verdict.error)
    how = {"mpmath": "60-digit differences", "extended": "differences in extended precision"}.get(higher.method, "differences")
    what = ("second derivative" if second else "derivative") + "s" * (count != 1)
    if not bad and count and not quiet:
        some = f" ({lines} along lines through whole arrays)" if lines else ""
        agree = "agrees" if count == 1 else "agree"
        text = f"{count} {what} of {claim.name}{some} {agree} with {how}{where}"
        report.add(True, f"{text} (worst relative error {worst:.2g})")
    return count - bad


def slope_of(gradient: Mapping[str, Any], probe: Probe) -> float:
    """What a gradient says about the slope along a line."""
    with np.errstate(all="ignore"):
        if probe.alone:
            (name,) = probe.line
            return float(np.ravel(gradient[name])[int(np.argmax(np.abs(np.ravel(probe.line[name]))))])
        return float(sum(np.sum(np.asarray(gradient[n]) * line) for n, line in probe.line.items()))
