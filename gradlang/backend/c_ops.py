"""The words of C: types, numbers and operations."""

from __future__ import annotations

import math
import re

from gradlang.backend.llvm_ops import Width, narrowed

# A template and the helper that it needs. {s} is "f" in the names of libm's functions of floats.
TEMPLATES: dict[str, tuple[str, str]] = {
    "add": ("{0} + {1}", ""),
    "sub": ("{0} - {1}", ""),
    "mul": ("{0} * {1}", ""),
    "div": ("{0} / {1}", ""),
    "neg": ("-{0}", ""),
    "abs": ("fabs{s}({0})", ""),
    "sqrt": ("sqrt{s}({0})", ""),
    "fma": ("gl_fused({0}, {1}, {2})", "fused"),
    "floor": ("floor{s}({0})", ""),
    "ceil": ("ceil{s}({0})", ""),
    "rint": ("rint{s}({0})", ""),
    "copysign": ("copysign{s}({0}, {1})", ""),
    "maximum": ("gl_maximum({0}, {1})", "maximum"),
    "minimum": ("gl_minimum({0}, {1})", "minimum"),
    "iadd": ("{0} + {1}", ""),
    "isub": ("{0} - {1}", ""),
    "imul": ("{0} * {1}", ""),
    "idiv": ("gl_idiv({0}, {1})", "idiv"),
    "imod": ("gl_imod({0}, {1})", "imod"),
    "ineg": ("-{0}", ""),
    "iabs": ("{0} < 0 ? -{0} : {0}", ""),
    "imax": ("{0} > {1} ? {0} : {1}", ""),
    "imin": ("{0} < {1} ? {0} : {1}", ""),
    "wadd": ("{0} + {1}", ""),
    "wsub": ("{0} - {1}", ""),
    "wand": ("{0} & {1}", ""),
    "wor": ("{0} | {1}", ""),
    "wxor": ("{0} ^ {1}", ""),
    "wshl": ("{0} << {1}", ""),
    "wshr": ("{0} >> {1}", ""),
    "wsar": ("({word})(({signed}){0} >> {1})", ""),
    "lt": ("{0} < {1}", ""),
    "le": ("{0} <= {1}", ""),
    "gt": ("{0} > {1}", ""),
    "ge": ("{0} >= {1}", ""),
    "eq": ("{0} == {1}", ""),
    "ne": ("{0} != {1}", ""),
    "ilt": ("{0} < {1}", ""),
    "ile": ("{0} <= {1}", ""),
    "igt": ("{0} > {1}", ""),
    "ige": ("{0} >= {1}", ""),
    "ieq": ("{0} == {1}", ""),
    "ine": ("{0} != {1}", ""),
    "wlt": ("({signed}){0} < ({signed}){1}", ""),
    "weq": ("{0} == {1}", ""),
    "and": ("{0} && {1}", ""),
    "or": ("{0} || {1}", ""),
    "not": ("!{0}", ""),
    "select": ("{0} ? {1} : {2}", ""),
    "bits": ("gl_bits({0})", "bits"),
    "unbits": ("gl_unbits({0})", "unbits"),
    "itof": ("({real}){0}", ""),
    "ftoi": ("(int64_t){0}", ""),
    "btof": ("({real}){0}", ""),
    "btoi": ("(int64_t){0}", ""),
    "itob": ("{0} != 0", ""),
    "wtof": ("({real})({signed}){0}", ""),
    "ftow": ("({word})({signed}){0}", ""),
    "itow": ("({word}){0}", ""),
    "wtoi": ("(int64_t)({signed}){0}", ""),
}
# Of whole numbers that may be any: they wrap around, as they do in NumPy.
WRAPPED = {op: f"wrapped {op}" for op in ("iadd", "isub", "imul", "ineg", "iabs")}
TEMPLATES |= {
    "wrapped iadd": ("(int64_t)((uint64_t){0} + (uint64_t){1})", ""),
    "wrapped isub": ("(int64_t)((uint64_t){0} - (uint64_t){1})", ""),
    "wrapped imul": ("(int64_t)((uint64_t){0} * (uint64_t){1})", ""),
    "wrapped ineg": ("(int64_t)(0 - (uint64_t){0})", ""),
    "wrapped iabs": ("{0} < 0 ? (int64_t)(0 - (uint64_t){0}) : {0}", ""),
}
HELPERS = {
    "fused": """#ifdef FP_FAST_FMA{S}
static inline {real} gl_fused({real} a, {real} b, {real} c) {{ return fma{s}(a, b, c); }}
#else
static inline {real} gl_fused({real} a, {real} b, {real} c) {{ return a * b + c; }}
#endif""",
    "maximum": "static inline {real} gl_maximum({real} a, {real} b) {{ return a > b || a != a ? a : b; }}",
    "minimum": "static inline {real} gl_minimum({real} a, {real} b) {{ return a < b || a != a ? a : b; }}",
    "idiv": """/* rounded down; 0 for division by 0 */
static inline int64_t gl_idiv(int64_t a, int64_t b) {{
    if (b == 0 || b == -1) return b == 0 ? 0 : (int64_t)(0 - (uint64_t)a);
    return a / b - (a % b != 0 && (a % b ^ b) < 0);
}}""",
    "imod": """/* of the sign of b; 0 for division by 0 */
static inline int64_t gl_imod(int64_t a, int64_t b) {{
    if (b == 0 || b == -1) return 0;
    return a % b + (a % b != 0 && (a % b ^ b) < 0 ? b : 0);
}}""",
    "bits": "static inline {word} gl_bits({real} x) {{ {word} w; memcpy(&w, &x, sizeof w); return w; }}",
    "unbits": "static inline {real} gl_unbits({word} w) {{ {real} x; memcpy(&x, &w, sizeof x); return x; }}",
}


def types(width: Width) -> dict[str, str]:
    if width == "f64":
        return {"f": "double", "w": "uint64_t", "signed": "int64_t", "i": "int64_t", "b": "int"}
    return {"f": "float", "w": "uint32_t", "signed": "int32_t", "i": "int64_t", "b": "int"}


def literal(kind: str, known: float | int | bool, width: Width) -> str:
    """A constant, in parentheses if it is negative."""
    if kind == "b":
        return "1" if known else "0"
    if kind == "f":
        return real(float(known), width)
    if kind == "w":
        bits = 64 if width == "f64" else 32
        wrapped = int(known) & (1 << bits) - 1
        return f"UINT{bits}_C({wrapped if wrapped < 1024 else hex(wrapped)})"
    whole = int(known)
    if whole == -(2**63):
        return "INT64_MIN"
    text = str(abs(whole)) if abs(whole) < 2**31 else f"INT64_C({abs(whole)})"
    return text if whole >= 0 else f"(-{text})"


def real(known: float, width: Width) -> str:
    if width == "f32":
        known = narrowed(known)
    if math.isnan(known):
        return "NAN" if width == "f32" else "(double)NAN"
    if math.isinf(known):
        text = "INFINITY" if width == "f32" else "(double)INFINITY"
        return text if known > 0 else f"(-{text})"
    size = abs(known)
    short = size < 1e6 and (size * 1024).is_integer()
    text = repr(size) if short else re.sub(r"\.?0+p", "p", size.hex())
    text += "f" if width == "f32" else ""
    return f"(-{text})" if math.copysign(1.0, known) < 0 else text
