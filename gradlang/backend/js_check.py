"""`check` of a JavaScript module: one point, against what NumPy computed when the module was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradlang.backend.artifact import Param
from gradlang.backend.c_test import ULPS, Drawn, Golden, sample, wrapped
from gradlang.backend.js_words import property, real, string
from gradlang.types import value as size

COMPARE = """/** Notes where a result is not what it should be: some entries, and the sum where there are more. */
function differs(faults, name, result, places, wanted, scale, total, size) {
    const entries = typeof result === "object" ? result.data : [Number(result)];
    const wrong = (got, right, by) => !(Object.is(got, right) || Math.abs(got - right) <= @ULPS@ * @EPSILON@ * by);
    places.forEach((k, at) => {
        const [got, right] = [entries[k], wanted[at]];
        if (wrong(got, right, scale)) faults.push(`${name}: entry ${k} is ${got}, but should be ${right}`);
    });
    if (total === undefined) return;
    const sum = entries.reduce((a, b) => a + b, 0);
    if (wrong(sum, total, size)) faults.push(`${name}: the sum of its entries is ${sum}, but should be ${total}`);
}"""
DRAW = """/** Numbers from 0.25 to 1.25, or 0 and 1. */
function drawn(seed, count, kind) {
    return Array.from({ length: count }, (_, k) => {
        const terms = [Math.imul(k + 1, 2654435761), Math.imul(seed, 40503), Math.imul(Math.imul(k + 1, k + 7), 97)];
        const number = terms.reduce((a, b) => a + b) >>> 0;
        return kind === "real" ? 0.25 + number / 4294967296 : number >>> 31;
    });
}"""
DOC = """/** What the functions give at one point that is not what NumPy gave when this file was made: a list of sentences,
 * empty if all is well. Entries may differ by @ULPS@ ulps of the largest one. */"""


def check_texts(
    functions: Sequence[tuple[str, Mapping[str, str]]], params: Sequence[Param], golden: Golden, dtype: str
) -> list[str]:
    """`check` and what it calls. `functions` are their names, each with where its results are, by name."""
    inputs = [property(p.name, text) for p in params if (text := given(p, golden)) is not None]
    lines = ["export function check() {", "    const faults = [];", f"    const inputs = {{ {', '.join(inputs)} }};"]
    if not inputs:
        lines[-1] = "    const inputs = {};"
    for k, (function, results) in enumerate(functions):
        lines.append(f"    const result{k} = {function}(inputs);")
        for name, path in results.items():
            if golden.results[name]:
                lines += compared(f"{function}: {name}", f"result{k}{path}", golden.results[name])
    helpers = [COMPARE.replace("@EPSILON@", "Number.EPSILON" if dtype == "float64" else real(2.0**-23))]
    helpers += [DRAW] if any("drawn(" in i for i in inputs) else []
    text = "\n".join([DOC, *lines, "    return faults;", "}"])
    return [t.replace("@ULPS@", str(ULPS)) for t in (text, *helpers)]


def given(p: Param, golden: Golden) -> str | None:
    """What `check` gives for an input; None if the module's default is taken."""
    how = golden.inputs[p.name]
    if not isinstance(how, Drawn):
        return None
    numbers = f"drawn({how.seed}, {how.count}, {string(how.kind)})"
    if not p.type.shape:
        return f"{numbers}[0]"
    shape = ", ".join(str(size(d, golden.sizes)) for d in p.type.shape)
    return f"{{ data: {numbers}, shape: [{shape}] }}"


def compared(name: str, result: str, wanted: Sequence[float]) -> list[str]:
    s = sample(wanted)
    places, values = (wrapped(texts) for texts in (list(map(str, s.places)), list(map(real, s.values))))
    more = "" if s.whole else f", {real(s.total)}, {real(s.size)}"
    return [f"    differs(faults, {string(name)}, {result}, [{places}], [{values}], {real(s.scale)}{more});"]
