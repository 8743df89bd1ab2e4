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
    operands from the last 50 values, the output the sum of the last ten."""
    r = random.Random(seed)
    names = [f"x{i}" for i in range(leaves)]
    values = [r.uniform(0.5, 2.0) for _ in names]
    out = [f"{n} = {v!r}" for n, v in zip(names, values, strict=True)]
    values = [float(line.split(" = ")[1]) for line in out]
    while len(out) < lines + leaves:
        i, j = (len(values) - 1 - r.randrange(min(50, len(values))) for _ in "ab")
        op = r.choice(["+", "-", "*", "/", "sin", "exp", "tanh", "sqrt"])
        a, b = values[i], values[j]
        if (op == "sqrt" and a < 0.01) or (op == "/" and abs(b) < 0.1) or (op == "-" and i == j):
            continue
        if op in "+-*/":
            value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}[op]
            text = f"{names[i]} {op} {names[j]}"
        else:
            value = functions()[op](a)
            text = f"{op}({names[i]})"
        if 1e-3 < abs(value) < 10:
            names.append(f"v{len(values)}")
            values.append(value)
            out.append(f"{names[-1]} = {text}")
    return "\n".join([*out, "y = " + " + ".join(names[-10:])]) + "\n"
