"""A `main` that checks a C file at one point, against what NumPy computed when the file was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradlang.backend.c_interface import Argument, Interface
from gradlang.backend.c_ops import literal
from gradlang.backend.llvm_ops import Width

ULPS = 4096  # of the largest entry: sums are taken in another order, functions differ in their last bits
SHOWN = 40  # entries of a result that are compared one by one


@dataclass(frozen=True, slots=True)
class Drawn:
    """An input of numbers that are drawn: entry k is low + range(u), u being a fraction that `draw` gives."""

    seed: int
    count: int
    kind: str  # real, int or bool


@dataclass(frozen=True, slots=True)
class Golden:
    """A point: sizes, inputs (flat numbers, or drawn ones) and what the results are there, flat."""

    sizes: Mapping[str, int]
    inputs: Mapping[str, Sequence[float] | Drawn]
    results: Mapping[str, Sequence[float]]


def draw(seed: int, k: int) -> int:
    """A whole number below 2**32; the same in C."""
    return ((k + 1) * 2654435761 + seed * 40503 + ((k + 1) * (k + 7) * 97)) % 2**32


def drawn(d: Drawn) -> list[float]:
    """The numbers of an input: reals from 0.25 to 1.25, whole numbers 0 and 1."""
    if d.kind == "real":
        return [0.25 + draw(d.seed, k) / 2**32 for k in range(d.count)]
    return [draw(d.seed, k) >> 31 for k in range(d.count)]


DRAW = """static uint32_t gl_draw(uint32_t seed, uint32_t k) {
    return (k + 1) * 2654435761u + seed * 40503u + (k + 1) * (k + 7) * 97u;
}
"""
HELPERS = """#include <float.h>
#include <stdio.h>

static int gl_wrong(const char *name, long long at, double got, double wanted, double scale) {
    if (got == wanted || (got != got && wanted != wanted)) return 0;
    if (fabs(got - wanted) <= @ULPS@ * @EPSILON@ * scale) return 0;
    if (at < 0) printf("%s: the sum of its entries is %.17g, but should be %.17g\\n", name, got, wanted);
    else printf("%s: entry %lld is %.17g, but should be %.17g\\n", name, at, got, wanted);
    return 1;
}"""


def main_text(face: Interface, golden: Golden, width: Width) -> str:
    """The text behind `#ifdef GRADLANG_TEST_MAIN`."""
    body: list[str] = []
    checks: list[str] = []
    passed: list[str] = []
    for k, a in enumerate(face.arguments):
        if a is face.value:
            continue
        if a.type is None:
            passed.append(str(golden.sizes[a.name]))
        elif a.result:
            body.append(f"    static {face.c_type(a.type, bool(a.type.shape))} a{k}[{max(len(golden.results[a.name]), 1)}];")
            passed.append(f"a{k}")
            checks += compared(a, f"a{k}", golden.results[a.name])
        else:
            passed.append(f"a{k}" if a.type.shape else f"a{k}[0]")
            body += given(face, a, f"a{k}", golden.inputs[a.name], width)
    call = f"{face.entry}({', '.join(passed)})"
    if face.value is not None:
        checks = compared(face.value, "value", golden.results[face.value.name])
        call = f"    const {face.c_type(face.value.type)} value[1] = {{{call}}};"
    elif face.plain:
        call = f"    {call};"
    else:
        call = f'    const int code = {call};\n    if (code) {{\n        printf("code %d\\n", code);\n        return 1;\n    }}'
    draws = DRAW if any(isinstance(v, Drawn) and v.count for v in golden.inputs.values()) else ""
    epsilon = "DBL_EPSILON" if width == "f64" else "FLT_EPSILON"
    helpers = HELPERS.replace("@ULPS@", str(ULPS)).replace("@EPSILON@", epsilon)
    lines = ["int main(void) {", "    int wrong = 0;", *body, call, *checks, "    return wrong != 0;", "}"]
    intro = f"/* Checks one point: every entry within {ULPS} ulps of the largest one. */"
    return "\n".join(["#ifdef GRADLANG_TEST_MAIN", intro, helpers, "", *([draws] if draws else []), *lines, "#endif"])


def given(face: Interface, a: Argument, name: str, value: Sequence[float] | Drawn, width: Width) -> list[str]:
    assert a.type is not None
    kind, letter = face.c_type(a.type, bool(a.type.shape)), {"real": "f", "int": "i", "bool": "b"}[a.type.dtype]
    if isinstance(value, Drawn):
        size = max(value.count, 1)
        if not value.count:
            return [f"    static {kind} {name}[1];"]
        drawn = f"gl_draw({value.seed}u, (uint32_t)k)"
        number = f"({kind})(0.25 + {drawn} / 4294967296.0)" if value.kind == "real" else f"({kind})({drawn} >> 31)"
        return [
            f"    static {kind} {name}[{size}];",
            f"    for (long long k = 0; k < {value.count}; k++) {name}[k] = {number};",
        ]
    return [f"    static const {kind} {name}[{max(len(value), 1)}] = {{{numbers(letter, value, width)}}};"]


def numbers(letter: str, value: Sequence[float], width: Width) -> str:
    return wrapped([literal(letter, x, width) for x in value] or ["0"])


def wrapped(texts: Sequence[str]) -> str:
    lines, line = [], ""
    for text in texts:
        if len(line) + len(text) > 100:
            lines.append(line)
            line = ""
        line += text + ", "
    return ("\n        ".join([*lines, line])).rstrip(", ")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a result is compared with: some of its entries or all, and for those of some the sum of all."""

    places: Sequence[int]
    values: Sequence[float]
    scale: float  # the largest size of an entry
    count: int
    total: float
    size: float  # the sum of the sizes

    @property
    def whole(self) -> bool:
        return len(self.places) == self.count


def sample(wanted: Sequence[float]) -> Sample:
    count = len(wanted)
    chosen = range(count) if count <= SHOWN else sorted({k * (count - 1) // (SHOWN - 1) for k in range(SHOWN)})
    finite = [abs(x) for x in map(float, wanted) if abs(x) < float("inf")]
    values = [float(wanted[k]) for k in chosen]
    return Sample(chosen, values, max(finite, default=0.0), count, float(sum(map(float, wanted))), float(sum(finite)))


def compared(a: Argument, name: str, wanted: Sequence[float]) -> list[str]:
    """Comparisons of a result: of all entries or of some, and then of their sum."""
    if not wanted:
        return []
    s = sample(wanted)
    scale = literal("f", s.scale, "f64")
    places = wrapped([str(k) for k in s.places])
    values = wrapped([literal("f", x, "f64") for x in s.values])
    text = a.name.encode("ascii", "replace").decode().replace("?", "_")
    lines = [
        "    {",
        f"        static const long long places[] = {{{places}}};",
        f"        static const double wanted[] = {{{values}}};",
        f"        for (int k = 0; k < {len(s.places)}; k++)",
        f'            wrong += gl_wrong("{text}", places[k], (double){name}[places[k]], wanted[k], {scale});',
    ]
    if not s.whole:
        lines += [
            "        double total = 0.0;",
            f"        for (long long k = 0; k < {s.count}; k++) total += (double){name}[k];",
            f'        wrong += gl_wrong("{text}", -1, total, {literal("f", s.total, "f64")}, {literal("f", s.size, "f64")});',
        ]
    return [*lines, "    }"]
