"""Derives the coefficients of `gradlang/loops/coefficients.py`: run it to print that file.

Each set is the minimax polynomial of a function on an interval (E. Ya. Remez 1934; Muller, Elementary Functions, section 4.3)
in 50 digits, rounded to the format. The forms are such that the polynomial is a small part of the result, so that the rounding
of its coefficients does not show.
"""

from __future__ import annotations

import struct
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import mpmath
from mpmath import mp, mpf

Real = Callable[[mpf], mpf]
WIDTHS = ("f64", "f32")
GRID = 600


@dataclass(frozen=True)
class Wanted:
    """f on [low, high], with f64 and f32 polynomials of so many coefficients. What is least is the greatest |f - p| weight."""

    f: Real
    low: mpf
    high: mpf
    f64: int
    f32: int
    weight: Real = lambda x: mpf(1)


def series(f: Real, taylor: Callable[[int], mpf], below: float = 0.01, terms: int = 30) -> Real:
    """f, by its power series near 0, where the closed form cancels."""

    def value(x: mpf) -> mpf:
        if abs(x) < below:
            return mpmath.fsum(taylor(k) * x**k for k in range(terms))
        return f(x)

    return value


def root_of(f: Real) -> Real:
    """g with g(z) = f(sqrt z)."""
    return lambda z: f(mpmath.sqrt(z))


def near(x: mpf) -> mpf:
    """The weight where x^2 p(x) is added to x."""
    return abs(x) + mpf("0.02")


def factorials(start: int, step: int, sign: int = 1) -> Callable[[int], mpf]:
    return lambda k: mpf(sign) ** k / mpmath.factorial(start + step * k)


@cache
def wanted() -> dict[str, Wanted]:
    one = mpf("1.0001")
    r = mpmath.log(2) / 2 * one
    z = (3 - 2 * mpmath.sqrt(2)) ** 2 * one  # ((sqrt 2 - 1) / (sqrt 2 + 1))^2
    quarter = (mpmath.pi / 4) ** 2 * one
    expm1_rest = series(lambda x: (mpmath.expm1(x) - x) / x**2, factorials(2, 1))
    sinh_, cosh_, sin_, cos_ = mpmath.sinh, mpmath.cosh, mpmath.sin, mpmath.cos
    return {
        # exp(x) = 1 + x + x^2 p(x)
        "EXP": Wanted(expm1_rest, -r, r, 10, 5, near),
        # the same for the sixteenth parts of the way from a power of two to the next: as a part of 1, and as a part of x
        "EXP_SHORT": Wanted(expm1_rest, -r / 16, r / 16, 5, 2, lambda x: x**2 + mpf("1e-6")),
        "EXPM1_SHORT": Wanted(expm1_rest, -r / 16, r / 16, 6, 3, lambda x: abs(x) + mpf("0.001")),
        # 2^x = 1 + x p(x)
        "EXP2": Wanted(
            series(lambda x: (2**x - 1) / x, lambda k: mpmath.log(2) ** (k + 1) / mpmath.factorial(k + 1)),
            *(mpf(-0.5), mpf(0.5), 11, 6, near),
        ),
        # sinh x = x + x^3 p(x^2), cosh x = 1 + x^2 p(x^2)
        "SINH": Wanted(series(root_of(lambda x: (sinh_(x) - x) / x**3), factorials(3, 2)), mpf(0), r**2, 5, 3),
        "COSH": Wanted(series(root_of(lambda x: (cosh_(x) - 1) / x**2), factorials(2, 2)), mpf(0), r**2, 5, 3),
        # log(1 + f) = f - f^2/2 + s (f^2/2 + z p(z)), s = f / (2 + f), z = s^2
        "LOG": Wanted(
            series(root_of(lambda s: (2 * mpmath.atanh(s) - 2 * s) / s**3), lambda k: mpf(2) / (2 * k + 3)), mpf(0), z, 7, 4
        ),
        # artanh s = s + s^3 p(s^2)
        "ARTANH": Wanted(
            series(root_of(lambda s: (mpmath.atanh(s) - s) / s**3), lambda k: mpf(1) / (2 * k + 3)), mpf(0), mpf("0.0405"), 8, 4
        ),
        # artanh s = s + s^3/3 + s^5 p(s^2)
        "ARTANH_TAIL": Wanted(
            series(root_of(lambda s: (mpmath.atanh(s) - s - s**3 / 3) / s**5), lambda k: mpf(1) / (2 * k + 5)), mpf(0), z, 8, 4
        ),
        # sin x = x + x^3 p(x^2), cos x = 1 - x^2/2 + x^4 p(x^2)
        "SIN": Wanted(
            series(root_of(lambda x: (sin_(x) - x) / x**3), lambda k: -factorials(3, 2, -1)(k)), mpf(0), quarter, 6, 3
        ),
        "COS": Wanted(series(root_of(lambda x: (cos_(x) - 1 + x**2 / 2) / x**4), factorials(4, 2, -1)), mpf(0), quarter, 6, 3),
        # arctan x = x + x^3 p(x^2), arcsin x = x + x^3 p(x^2)
        "ATAN": Wanted(
            series(root_of(lambda x: (mpmath.atan(x) - x) / x**3), lambda k: mpf(-1) ** (k + 1) / (2 * k + 3)),
            *(mpf(0), (mpmath.sqrt(2) - 1) ** 2 * one, 11, 5),
        ),
        "ASIN": Wanted(root_of(lambda x: (mpmath.asin(x) - x) / x**3), mpf("1e-6"), mpf(0.25) * one, 13, 6),
        # erf x = x + x p(x^2) for |x| < 1
        "ERF": Wanted(root_of(lambda x: mpmath.erf(x) / x - 1), mpf("1e-12"), one, 14, 7),
        # exp(x^2) erfc(x) = w (1 / sqrt pi + v p(1 - v)), w = 1 / (x + k), v = 2 k w, k = ERFC_CENTRE, for x >= 0
        "ERFCX": Wanted(scaled_erfc, mpf(-1), mpf(1), 24, 11, lambda t: 1 - t + mpf("0.001")),
        # x^(-1/3) from sqrt(1/8) to sqrt 8, as a start
        "ROOT": Wanted(
            lambda x: x ** (-mpf(1) / 3), 1 / mpmath.sqrt(8), mpmath.sqrt(8) * one, 6, 4, lambda x: x ** (mpf(1) / 3)
        ),
    }


ERFC_CENTRE = 4


def scaled_erfc(t: mpf) -> mpf:
    """((x + k) exp(x^2) erfc(x) - 1 / sqrt pi) / (1 - t) at t = 1 - 2 k / (x + k)."""
    k = mpf(ERFC_CENTRE)
    if t == 1:
        return 1 / (2 * mpmath.sqrt(mpmath.pi))
    x = 2 * k / (1 - t) - k
    if x < 100:
        with mp.workdps(60):
            return ((x + k) * mpmath.exp(x * x) * mpmath.erfc(x) - 1 / mpmath.sqrt(mpmath.pi)) / (1 - t)
    # the asymptotic series; its first term cancels
    rest = mpmath.fsum(mpf(-1) ** n * mpmath.fac2(2 * n - 1) / (2 * x * x) ** n for n in range(1, 14))
    return (k / x + rest * (x + k) / x) / mpmath.sqrt(mpmath.pi) / (1 - t)


# Constants as sums of numbers of few digits, so that the product of a part and a small whole number is exact.
SPLIT: dict[str, tuple[Callable[[], mpf], tuple[int, ...], tuple[int, ...]]] = {
    "LN2": (lambda: mpmath.log(2), (42, 53), (16, 24)),
    "PER_LN2": (lambda: 1 / mpmath.log(2), (26, 53), (12, 24)),
    "TWO_PER_LN2": (lambda: 2 / mpmath.log(2), (26, 53), (12, 24)),
    "THIRD": (lambda: mpf(1) / 3, (26, 53), (12, 24)),
    "PER_LN10": (lambda: 1 / mpmath.log(10), (26, 53), (12, 24)),
    "LOG10_OF_2": (lambda: mpmath.log10(2), (42, 53), (16, 24)),
    "HALF_PI_SHORT": (lambda: mpmath.pi / 2, (26, 53), (12, 24)),
    "QUARTER_PI": (lambda: mpmath.pi / 4, (51, 53), (22, 24)),
    "HALF_PI": (lambda: mpmath.pi / 2, (33, 33, 33, 53), (11, 11, 11, 11, 24)),
}


def split(name: str, width: str) -> list[float]:
    made, sizes = [], SPLIT[name][1 if width == "f64" else 2]
    with mp.workdps(80):
        rest = SPLIT[name][0]()
        for digits in sizes:
            unit = mpf(2) ** (mpmath.frexp(rest)[1] - digits)
            part = mpmath.nint(rest / unit) * unit
            made.append(float(part))
            rest -= part
    return made


def value_at(coefficients: list[mpf], x: mpf) -> mpf:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def remez(w: Wanted, count: int, grid: list[mpf], values: list[mpf]) -> list[mpf]:
    """The polynomial of `count` coefficients for values on a grid. What is least is the greatest error times the weight."""
    weights = [w.weight(x) for x in grid]
    n = count + 1
    # The start: extrema of a Chebyshev polynomial, kept off the points where the weight is 0.
    places = sorted({round((1 - mpmath.cos(mpmath.pi * (k + 0.5) / n)) / 2 * (len(grid) - 1)) for k in range(n)})
    solution = None
    for _ in range(12):
        rows = [[grid[p] ** k for k in range(count)] + [(-1) ** i / weights[p]] for i, p in enumerate(places)]
        solution = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([values[p] for p in places]))
        c = list(solution)[:count]
        errors = [(v - value_at(c, x)) * g for x, v, g in zip(grid, values, weights, strict=True)]
        # One extremum for every run of one sign.
        found: list[int] = []
        for p, e in enumerate(errors):
            if e == 0:
                continue
            if found and (errors[found[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[found[-1]]):
                    found[-1] = p
            else:
                found.append(p)
        while len(found) > n:
            found.pop(0 if abs(errors[found[0]]) < abs(errors[found[-1]]) else -1)
        if len(found) < n or found == places:
            break
        places = found
    return c


def rounded(x: mpf, width: str) -> float:
    """The nearest number of the format."""
    if width == "f64":
        return float(x)
    # float() rounds to 53 digits first: a second rounding differs only if it meets a tie, which no coefficient does
    return float(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def derive(name: str, width: str) -> tuple[list[float], mpf]:
    """The coefficients, and the greatest weighted error of the polynomial with rounded coefficients."""
    with mp.workdps(50):
        w = wanted()[name]
        count = w.f64 if width == "f64" else w.f32
        size = GRID
        grid = [(w.low + w.high) / 2 - (w.high - w.low) / 2 * mpmath.cos(mpmath.pi * k / (size - 1)) for k in range(size)]
        values = [w.f(x) for x in grid]
        made = [rounded(c, width) for c in remez(w, count, grid, values)]
        error = max(abs(v - value_at([mpf(a) for a in made], x)) * w.weight(x) for x, v in zip(grid, values, strict=True))
    return made, error


# 2 / pi as whole numbers of so many bits, times powers of two that fall by as many: (bits, how many)
DIGITS = {"f64": (26, 46), "f32": (12, 18)}


def two_per_pi(width: str) -> list[float]:
    bits, count = DIGITS[width]
    with mp.workdps(500):
        whole = int(mpmath.floor(2 / mpmath.pi * mpf(2) ** (bits * count)))
    return [float(whole >> (bits * (count - 1 - k)) & ((1 << bits) - 1)) for k in range(count)]


# Sixteenths of a power of two, up and down. What rounding has lost is the logarithm of a quotient.
def sixteenths(sign: int, width: str) -> list[float]:
    return [rounded(mpf(2) ** (mpf(sign * j) / 16), width) for j in range(16)]


def lost(sign: int, width: str) -> list[float]:
    return [
        rounded(mpf(sign * j) / 16 * mpmath.log(2) - mpmath.log(mpf(kept)), width)
        for j, kept in enumerate(sixteenths(sign, width))
    ]


TABLES = {
    "SIXTEENTHS_UP": ("2^(j/16)", partial(sixteenths, 1)),
    "SIXTEENTHS_UP_LOST": ("the logarithm of what rounding took from them", partial(lost, 1)),
    "SIXTEENTHS_DOWN": ("2^(-j/16)", partial(sixteenths, -1)),
    "SIXTEENTHS_DOWN_LOST": ("the logarithm of what rounding took from them", partial(lost, -1)),
}


def table(name: str, width: str) -> list[float]:
    with mp.workdps(50):
        return TABLES[name][1](width)


def entry(name: str, made: dict[str, list[float]], notes: dict[str, str]) -> str:
    lines = [f"{name} = {{"]
    for width, numbers in made.items():
        text = textwrap.fill(", ".join(map(repr, numbers)), 116, initial_indent=" " * 8, subsequent_indent=" " * 8)
        lines += [f'    "{width}": (  # {notes[width]}', text, "    ),"]
    return "\n".join([*lines, "}"])


def main() -> None:
    chosen = sys.argv[1:]
    print('"""Constants of the functions, as tests/derive_coefficients.py derives and prints them."""\n\n# fmt: off')
    for name, (_, *sizes) in SPLIT.items():
        made = {width: split(name, width) for width in WIDTHS}
        notes = {width: "parts of " + ", ".join(map(str, size)) + " bits" for width, size in zip(WIDTHS, sizes, strict=True)}
        if not chosen or name in chosen:
            print(entry(name, made, notes))
    notes = {width: f"digits of {bits} bits" for width, (bits, _) in DIGITS.items()}
    print(entry("TWO_PER_PI", {width: two_per_pi(width) for width in WIDTHS}, notes))
    for name, (meaning, _) in TABLES.items():
        if not chosen or name in chosen:
            print(entry(name, {width: table(name, width) for width in WIDTHS}, dict.fromkeys(WIDTHS, meaning)))
    with mp.workdps(50):
        names = list(wanted())
    for name in names:
        if not chosen or name in chosen:
            both = {width: derive(name, width) for width in WIDTHS}
            notes = {w: f"error {mpmath.nstr(mpmath.log(error, 2), 4)} bits" for w, (_, error) in both.items()}
            print(entry(name, {w: c for w, (c, _) in both.items()}, notes))


if __name__ == "__main__":
    main()
