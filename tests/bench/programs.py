"""Long programs, one assignment a line, that gradlang and Python both read. The inputs come first, the output is `y`."""

from __future__ import annotations

import math
import random
from typing import Any


def functions() -> dict[str, Any]:
    return {"sin": math.sin, "exp": math.exp, "tanh": math.tanh, "sqrt": math.sqrt}


def inputs(text: str) -> dict[str, float]:
    """The leading lines `name = number`."""
    out = {}
    for line in text.split("\n"):
        name, _, body = line.partition(" = ")
        if not body[:1].isdigit():
            return out
        out[name] = float(body)
    return out


def chain(lines: int) -> str:
    """Every line uses the one before it and two inputs: the deepest graph of its length."""
    out = ["a = 0.9", "b = 0.1", "v0 = 1.5"]
    out += [f"v{i} = (v{i - 1}*a + b)*1.01" for i in range(1, lines + 1)]
    return "\n".join([*out, f"y = v{lines} + a"]) + "\n"


def dag(lines: int, leaves: int = 20, seed: int = 1) -> str:
    """A random graph of one operation a line: + - * / sin exp tanh sqrt of values that stay between 1e-3 and 10 in size,
    operands from the last 50 values, the output the sum of the last ten.

    A rounding error anywhere may grow a hundredfold at most: answers can be compared however they were computed."""
    r = random.Random(seed)
    names = [f"x{i}" for i in range(leaves)]
    values = [round(r.uniform(0.5, 2.0), 6) for _ in names]
    errors = [1.0] * leaves
    out = [f"{n} = {v!r}" for n, v in zip(names, values, strict=True)]
    while len(out) < lines + leaves:
        i, j = (len(values) - 1 - r.randrange(min(50, len(values))) for _ in "ab")
        op = r.choice(["+", "-", "*", "/", "sin", "exp", "tanh", "sqrt"])
        a, b = values[i], values[j]
        if (op == "sqrt" and a < 0.01) or (op == "/" and abs(b) < 0.1) or (op == "-" and i == j) or (op == "exp" and a > 3):
            continue
        y, da, db = operation(op, a, b)
        error = abs(y) + abs(da) * errors[i] + abs(db) * errors[j]
        if 1e-3 < abs(y) < 10 and error < 100:
            names.append(f"v{len(values)}")
            values.append(y)
            errors.append(error)
            out.append(f"{names[-1]} = " + (f"{names[i]} {op} {names[j]}" if op in "+-*/" else f"{op}({names[i]})"))
    return "\n".join([*out, "y = " + " + ".join(names[-10:])]) + "\n"


def operation(op: str, a: float, b: float) -> tuple[float, float, float]:
    """Value and both partials."""
    if op in "+-":
        sign = 1.0 if op == "+" else -1.0
        return a + sign * b, 1.0, sign
    if op == "*":
        return a * b, b, a
    if op == "/":
        return a / b, 1 / b, -a / b**2
    y = functions()[op](a)
    return y, {"sin": math.cos(a), "exp": y, "tanh": 1 - y * y, "sqrt": 0.5 / y}[op], 0.0
