"""A machine that runs sorted tapes, in the loop form: compiled once, for all programs.

It goes over the groups of a tape, chooses by the kind of each and works on LANES of its instructions at a time: operands are
read before results are written, so that the lanes of one step become one vector. Groups are filled up to whole steps
(`sort(..., lanes=LANES)`). Additions, products, differences and changes of sign are one kind, a*b + c with fitting constants,
which is exact for each of them, so that there are few groups.
"""

from __future__ import annotations

from collections.abc import Callable

from gradlang.loops.functions import LIMITS, function
from gradlang.loops.ir import Buffer, Code, Kernel, Value
from gradlang.plan.sorted_tape import Form

LANES = 4
Write = Callable[..., Value]


def both(op: str) -> Write:
    return lambda code, x, y, z: code.op(op, x, y)


def one(op: str) -> Write:
    return lambda code, x, y, z: code.op(op, x)


def called(name: str) -> Write:
    arity = len(function(name, "f64").params)
    return lambda code, *operands: code.call(name, *operands[:arity])


def comparison(op: str) -> Write:
    return lambda code, x, y, z: code.op("btof", code.op(op, x, y))


def choice(code: Code, x: Value, y: Value, z: Value) -> Value:
    return code.select(code.op("ne", x, code.real(0.0)), y, z)


# Functions whose lanes become vectors, and those that are computed one lane after the other, so that the code stays short.
FREQUENT = ("exp", "log", "sin", "cos", "tanh")
RARE = (
    *("expm1", "log1p", "log2", "log10", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
    *("cbrt", "erf", "erfc", "pow", "atan2", "hypot"),
)
TWO = frozenset({"pow", "atan2", "hypot"})  # arguments
KINDS: dict[str, Write] = {
    "fma": lambda code, x, y, z: code.op("fma", x, y, z),
    "div": both("div"),
    "sqrt": one("sqrt"),
    "abs": one("abs"),
    "floor": one("floor"),
    "ceil": one("ceil"),
    "round": one("rint"),
    "less": comparison("lt"),
    "less_equal": comparison("le"),
    "equal": comparison("eq"),
    "not_equal": comparison("ne"),
    "maximum": both("maximum"),
    "where": choice,
    **{name: called(name) for name in FREQUENT + RARE},
}
FORMS: dict[str, Form] = {
    "add": Form("fma", (0, 1.0, 1)),
    "sub": Form("fma", (1, -1.0, 0)),
    "mul": Form("fma", (0, 1, -0.0)),
    "neg": Form("fma", (0, -1.0, -0.0)),
    "logical_and": Form("fma", (0, 1, -0.0)),
    "logical_or": Form("maximum", (0, 1)),
    "logical_not": Form("fma", (0, -1.0, 1.0)),
    "greater": Form("less", (1, 0)),
    "greater_equal": Form("less_equal", (1, 0)),
    **{name: Form(name, (0, 1)) for name in ("div", "less", "less_equal", "equal", "not_equal")},
    **{name: Form(name, (0,)) for name in ("sqrt", "abs", "floor", "ceil", "round", *FREQUENT, *RARE) if name not in TWO},
    **{name: Form(name, (0, 1)) for name in sorted(TWO)},
    "where": Form("where", (0, 1, 2)),
}
CODES = tuple(KINDS)


def machine() -> Kernel:
    """values, far, kinds, counts, a, b, c; the number of groups and the slot of the first result.

    `counts` are in steps of LANES. Afterwards `far` is not 0 if an argument of a function was beyond the function's limit: the
    values are then as good as nothing."""
    values, far = Buffer("values", "f", True), Buffer("far", "b", True)
    kinds, counts, *operands = (Buffer(n, "s") for n in ("kinds", "counts", "a", "b", "c"))
    groups, base = Value("i", hint="groups"), Value("i", hint="base")
    code = Code()
    beyond = code.cell(code.const(False, "b"), "beyond")
    place = code.cell(code.whole(0), "place")
    with code.loop(code.whole(0), groups, "g", apart=False) as g:
        kind, count, first = code.load(kinds, g), code.load(counts, g), code.read(place)

        def lanes(name: str, places: list[Value]) -> None:
            read = [[code.load(values, code.load(b, at)) for b in operands] for at in places]
            if name in LIMITS:
                limit = code.real(LIMITS[name]["f64"])
                for x, *_ in read:
                    code.update(beyond, "or", code.op("gt", code.op("abs", x), limit))
            made = [KINDS[name](code, *three) for three in read]
            for at, value in zip(places, made, strict=True):
                code.store(values, code.op("iadd", base, at), value)

        def step(name: str) -> None:
            many = code.op("imul", count, code.whole(LANES)) if name in RARE else count
            with code.loop(code.whole(0), many, "s", apart=False) as s:
                if name in RARE:
                    lanes(name, [code.op("iadd", first, s)])
                else:
                    start = code.op("iadd", first, code.op("imul", s, code.whole(LANES)))
                    lanes(name, [code.op("iadd", start, code.whole(k)) for k in range(LANES)])

        switch(code, kind, 0, len(CODES), step)
        code.update(place, "iadd", code.op("imul", count, code.whole(LANES)))
    code.store(far, code.whole(0), code.read(beyond))
    return Kernel("run_tape", (values, far, kinds, counts, *operands), (groups, base), code.body)


def switch(code: Code, kind: Value, low: int, high: int, step: Callable[[str], None]) -> None:
    """The step of a kind among CODES[low:high], found by halves."""
    if high - low == 1:
        step(CODES[low])
        return
    middle = (low + high) // 2
    with code.when(code.op("ilt", kind, code.whole(middle))) as made:
        switch(code, kind, low, middle, step)
    with code.inside(made.otherwise):
        switch(code, kind, middle, high, step)
