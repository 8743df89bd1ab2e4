"""The words of JavaScript: identifiers, strings, numbers and operations."""

from __future__ import annotations

import math
import re

from gradlang.backend.llvm_ops import narrowed
from gradlang.backend.names import printable

# Reserved words of modules, and what a module may not bind or had better not.
KEYWORDS = frozenset(
    """arguments await break case catch class const continue debugger default delete do else enum eval export extends false
    finally for function globalThis if implements import in Infinity instanceof interface let NaN new null package private
    protected public return static super switch this throw true try typeof undefined var void while with yield""".split()
)
# Globals that the generated code uses, and its own names.
USED = frozenset(
    """Array ArrayBuffer Error Float32Array Float64Array Int32Array Math Number Object Set String Uint8Array meta check inputs
    outside read taken described listed converted measured misfit isList places shaped sizes drawn differs""".split()
)
MATH = frozenset(
    """abs sqrt cbrt floor ceil exp expm1 log log1p log2 log10 sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh
    hypot""".split()
)  # functions of `Math` that have the name of the op and its values
HELPERS = {
    "pow": """/** x**y; unlike JavaScript's, 1 for x = 1 and for x = -1 with an infinite y. */
function pow(x, y) {
    return x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y;
}""",
    "copysign": """/** The size of a with the sign of b. */
function copysign(a, b) {
    return b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a);
}""",
    "round": """/** The nearest whole number; halves go to the even one. */
function round(x) {
    const above = Math.round(x);
    return above - x === 0.5 && above % 2 !== 0 ? above - 1 : above;
}""",
    "mod": """/** a - b floor(a / b), with the sign of b. */
function mod(a, b) {
    const rest = a % b;
    return rest === 0 ? copysign(0, b) : rest < 0 !== b < 0 ? rest + b : rest;
}""",
    "floordiv": """/** floor(a / b), from the exact remainder. */
function floordiv(a, b) {
    if (b === 0) return a / b;
    const rest = a % b;
    const quotient = (a - rest) / b - (rest !== 0 && rest < 0 !== b < 0 ? 1 : 0);
    if (quotient === 0) return copysign(0, a / b);
    const below = Math.floor(quotient);
    return quotient - below > 0.5 ? below + 1 : below;
}""",
    "imod": """/** Of the sign of b; 0 for division by 0. */
function imod(a, b) {
    if (b === 0) return 0;
    const rest = a % b;
    return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}""",
    "idiv": """/** Rounded down; 0 for division by 0. */
function idiv(a, b) {
    return b === 0 ? 0 : (a - imod(a, b)) / b;
}""",
    "maximum": """/** The greater one; a nan stays. */
function maximum(a, b) {
    return a > b || a !== a ? a : b;
}""",
    "minimum": """/** The lesser one; a nan stays. */
function minimum(a, b) {
    return a < b || a !== a ? a : b;
}""",
}
NEEDS = {"mod": ("copysign",), "floordiv": ("copysign",), "idiv": ("imod",)}
# functions that are printed from their entry in the table of ops
WRITTEN = frozenset({"erf", "erfc", "tanh_slope", "softplus", "log_sigmoid"})
SAME = {"exp_less": "exp"}  # functions for fewer arguments than that of `Math` takes
RESERVED = KEYWORDS | USED | WRITTEN | frozenset(HELPERS)

# A template of the loop form and the helper that it needs. Whole numbers are JavaScript's numbers, exact up to 2**53.
TEMPLATES: dict[str, tuple[str, str]] = {
    **{op: (f"{{0}} {sign} {{1}}", "") for op, sign in {"add": "+", "sub": "-", "mul": "*", "div": "/"}.items()},
    **{
        op: (f"Math.{name}({{0}})", "") for op, name in {"abs": "abs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil"}.items()
    },
    "neg": ("-{0}", ""),
    "fma": ("{0} * {1} + {2}", ""),
    "rint": ("round({0})", "round"),
    "copysign": ("copysign({0}, {1})", "copysign"),
    "maximum": ("maximum({0}, {1})", "maximum"),
    "minimum": ("minimum({0}, {1})", "minimum"),
    **{op: (f"{{0}} {sign} {{1}}", "") for op, sign in {"iadd": "+", "isub": "-", "imul": "*"}.items()},
    "idiv": ("idiv({0}, {1})", "idiv"),
    "imod": ("imod({0}, {1})", "imod"),
    "ineg": ("-{0}", ""),
    "iabs": ("Math.abs({0})", ""),
    "imax": ("{0} > {1} ? {0} : {1}", ""),
    "imin": ("{0} < {1} ? {0} : {1}", ""),
    **{
        prefix + op: (f"{{0}} {sign} {{1}}", "")
        for prefix in ("", "i")
        for op, sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "===", "ne": "!=="}.items()
    },
    "and": ("{0} && {1}", ""),
    "or": ("{0} || {1}", ""),
    "not": ("!{0}", ""),
    "select": ("{0} ? {1} : {2}", ""),
    "itof": ("{0} + 0", ""),  # a whole number may be -0 here
    "ftoi": ("Math.trunc({0})", ""),
    "btof": ("Number({0})", ""),
    "btoi": ("Number({0})", ""),
    "itob": ("{0} !== 0", ""),
}


def string(text: str) -> str:
    """A string literal. Nothing in it ends a script of an HTML page, and what cannot be seen is escaped."""
    return '"' + "".join(map(shown, text)) + '"'


def shown(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    if c == "<" or not (c == " " or c.isprintable()):
        return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\u{{{ord(c):x}}}"
    return c


def plain(text: str) -> str:
    """A user's text as a part of a comment, in a page of HTML too."""
    return printable(text).replace("*/", "* /").replace("</", "< /").replace("<!", "< !")


def key(name: str) -> str:
    """A property of an object literal."""
    if name == "__proto__":  # as a plain name it would be the prototype
        return '["__proto__"]'
    return name if name.isidentifier() else string(name)


def member(name: str) -> str:
    """What follows an object to read a property."""
    return f".{name}" if name.isidentifier() else f"[{string(name)}]"


def property(name: str, text: str) -> str:
    return name if key(name) == text else f"{key(name)}: {text}"


def real(known: float, width: str = "f64") -> str:
    """The shortest text that reads back as the same number."""
    known = narrowed(known) if width == "f32" else float(known)
    if math.isnan(known):
        return "NaN"
    if math.isinf(known):
        return "Infinity" if known > 0 else "-Infinity"
    return re.sub(r"\.0$", "", repr(known))


def literal(kind: str, known: float | int | bool, width: str = "f64") -> str:
    """A constant of the loop form, in parentheses if it is negative."""
    text = str(bool(known)).lower() if kind == "b" else real(float(known), width) if kind == "f" else str(int(known))
    return f"({text})" if text.startswith("-") else text
