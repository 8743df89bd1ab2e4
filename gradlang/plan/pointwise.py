"""Pointwise ops in the loop form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from gradlang.loops.ir import Code, Value
from gradlang.ops.op import Op
from gradlang.plan.weights import CALLS

KINDS = {"real": "f", "int": "i", "bool": "b"}
Write = Callable[[Code, Sequence[Value]], Value]

PLAIN = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "neg": "neg", "abs": "abs", "sqrt": "sqrt"} | {
    "floor": "floor",
    "ceil": "ceil",
    "round": "rint",
    "maximum": "maximum",
    "minimum": "minimum",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "equal": "eq",
    "not_equal": "ne",
    "logical_and": "and",
    "logical_or": "or",
    "logical_not": "not",
}
LINEAR = frozenset({"add", "sub", "neg"})
WHOLE = {
    **{op: "i" + op for op in ("add", "sub", "mul", "neg", "abs")},
    "maximum": "imax",
    "minimum": "imin",
    "less": "ilt",
    "less_equal": "ile",
    "greater": "igt",
    "greater_equal": "ige",
    "equal": "ieq",
    "not_equal": "ine",
}
DIVISIONS = ("mod", "floordiv")


@cache
def functions() -> frozenset[str]:
    """The functions that there are in `gradlang/loops`. Those are many formulas, and only who makes machine code needs them."""
    from gradlang.loops.functions import NAMES

    return frozenset(NAMES)


@cache
def limit(function: str, width: str) -> float | None:
    """The greatest |x| for which a function holds what it promises, if there is one."""
    from gradlang.loops.functions import LIMITS

    return LIMITS.get(function, {}).get(width)


@cache
def longest(width: str) -> float | None:
    """The greatest quotient of which divisions with a remainder have all digits, if there is one."""
    from gradlang.loops.division import QUOTIENT

    return QUOTIENT.get(width)


def beyond(code: Code, op: str, args: Sequence[Value], width: str) -> Value | None:
    """Whether an op's arguments are larger than those for which its function holds what it promises."""
    if called(op, ["real" if a.type == "f" else "int" for a in args]) is None:
        return None
    if op in DIVISIONS:
        most = longest(width)
        if most is None:
            return None
        a, b = (code.op("abs", real(code, x)) for x in args)
        far = code.op("gt", a, code.op("mul", b, code.real(most)))
        plain = code.op("and", code.op("lt", a, code.real(float("inf"))), code.op("gt", b, code.real(0.0)))
        return code.op("and", far, plain)
    most = limit(op, width)
    return None if most is None else code.op("gt", code.op("abs", real(code, args[0])), code.real(most))


def native(op: Op) -> bool:
    """Whether the loop form has an op of one value at a time. What it lacks, NumPy does."""
    return op.name in PLAIN or op.name in SPECIAL or (op.name in CALLS and op.name in functions())


def called(op: str, kinds: Sequence[str]) -> str | None:
    """The function that an op calls for arguments of these kinds."""
    return op if op in CALLS or (op in DIVISIONS and "real" in kinds) else None


def truth(code: Code, x: Value) -> Value:
    if x.type == "b":
        return x
    return code.op("itob", x) if x.type == "i" else code.op("ne", x, code.real(0.0))


def real(code: Code, x: Value) -> Value:
    """A number as a real."""
    if x.type == "f":
        return x
    if x.const is not None:
        return code.real(float(x.const))
    return code.op("itof" if x.type == "i" else "btof", x)


def whole(code: Code, x: Value) -> Value:
    return x if x.type == "i" else code.op("btoi", x)


def divided(name: str) -> Write:
    """Division of whole numbers that rounds down; NumPy gives 0 where the divisor is 0."""

    def write(code: Code, args: Sequence[Value]) -> Value:
        a, b = args
        if a.type == "f" or b.type == "f":
            return code.call(name, real(code, a), real(code, b))
        a, b, zero = whole(code, a), whole(code, b), code.whole(0)
        none = code.op("ieq", b, zero)
        made = code.op("idiv" if name == "floordiv" else "imod", a, code.select(none, code.whole(1), b))
        return code.select(none, zero, made)

    return write


def choice(code: Code, args: Sequence[Value]) -> Value:
    c, a, b = args
    none = code.none()
    if (a is none and b.const == 0.0) or (b is none and a.const == 0.0):
        return none
    if a.type != b.type:
        kind = "f" if "f" in (a.type, b.type) else "i"
        a, b = ((real if kind == "f" else whole)(code, x) for x in (a, b))
    return code.select(truth(code, c), a, b)


def product(code: Code, args: Sequence[Value]) -> Value:
    """g * p, and 0 where g is, whatever p is."""
    g, p = args
    if g is code.none():
        return g
    zero = code.real(0.0)
    return code.select(code.op("eq", g, zero), zero, code.op("mul", g, p))


def sign(code: Code, args: Sequence[Value]) -> Value:
    (x,) = args
    if x.type != "f":
        zero, x = code.whole(0), whole(code, x)
        up, down = (code.op("btoi", code.op(o, x, zero)) for o in ("igt", "ilt"))
        return code.op("isub", up, down)
    return code.select(code.op("gt", code.op("abs", x), code.real(0.0)), code.op("copysign", code.real(1.0), x), x)


SPECIAL: dict[str, Write] = {
    "floordiv": divided("floordiv"),
    "mod": divided("mod"),
    "where": choice,
    "zmul": product,
    "sign": sign,
    "square": lambda code, args: code.op("mul", args[0], args[0]),
    "real": lambda code, args: real(code, args[0]),
    "mark": lambda code, args: args[0],
}


def rest(code: Code, op: str, args: Sequence[Value]) -> Value:
    """A linear op of which an argument is not there."""
    none = code.none()
    if args[0] is none:
        return args[-1] if op != "sub" or args[-1] is none else code.op("neg", real(code, args[1]))
    return real(code, args[0])


def pointwise(code: Code, op: str, args: Sequence[Value], kind: str) -> Value:
    """A pointwise op over values; `kind` is that of the result."""
    if op in LINEAR and code.none() in args:
        return rest(code, op, args)
    if op in SPECIAL:
        return SPECIAL[op](code, args)
    if op in CALLS:
        return code.call(op, *(real(code, a) for a in args))
    if op.startswith("logical"):
        return code.op(PLAIN[op], *(truth(code, a) for a in args))
    if op in WHOLE and all(a.type != "f" for a in args) and kind != "f":
        return code.op(WHOLE[op], *(whole(code, a) for a in args))
    return code.op(PLAIN[op], *(real(code, a) for a in args))
