"""compile: from the text of a program of many array formulas to its first gradient as machine code, without a cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import Bench, equal

import gradlang as gl

N = 400
LINES = (20, 80, 320)


def chain(n: int) -> str:
    """One loop, whose step is long."""
    body = "".join(f"c{k + 1} = sin(c{k})*x + c{max(k - 1, 0)}\n" for k in range(n))
    return f"c0 = x\n{body}y = sum(c{n})\n"


def sums(n: int) -> str:
    """Many loops, each of which needs the sums of the one before."""
    body = "".join(f"c{k + 1} = c{k}/sum(c{k}**2) + mean(c{k})\n" for k in range(n))
    return f"c0 = x\n{body}y = sum(c{n})\n"


def recurrences(n: int) -> str:
    steps = "".join(f"h{k}[0] = 0\nh{k}[t+1] = tanh(h{k}[t] + x[t]*{k}.5) for t in range(N)\n" for k in range(n))
    return f"{steps}y = {' + '.join(f'h{k}[N]' for k in range(n))}\n"


SHAPES: dict[str, Callable[[int], str]] = {"one long loop": chain, "loops and sums": sums, "recurrences": recurrences}


def gradlang(text: str, x: Any) -> tuple[Any, Any]:
    value, slopes = gl.loads(f"x : [N]\n{text}").value_and_grad("y", backend="native")(x=x)
    return value, slopes["x"]


def jax(text: str, x: Any) -> tuple[Any, Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    code = compile(text, "text", "exec")

    def f(x: Any) -> Any:
        names = {"sin": jax.numpy.sin, "sum": jax.numpy.sum, "mean": jax.numpy.mean, "x": x}
        exec(code, names)
        return names["y"]

    value, slope = jax.jit(jax.value_and_grad(f))(x)
    return float(value), np.asarray(slope)


def run(bench: Bench) -> None:
    os.environ["GRADLANG_CACHE"] = "off"
    x = np.random.default_rng(0).normal(size=N) * 0.1
    small = {name: gradlang(shape(3), x) for name, shape in SHAPES.items()}  # what is loaded once is not counted
    others: dict[str, Any] = {}
    try:
        for name in ("one long loop", "loops and sums"):
            equal(f"jax, {name}", jax(SHAPES[name](3), x), small[name])
        others["jax"] = jax
    except ImportError:
        pass
    for name, shape in SHAPES.items():
        before = 0.0
        for lines in LINES[:2] if bench.quick else LINES:
            text, seconds = shape(lines), dict[str, float]()
            for who, call in {"gradlang": gradlang, **(others if name != "recurrences" else {})}.items():
                start = bench.clock()
                call(text, x)
                seconds[who] = bench.clock() - start
            for who, s in seconds.items():
                bench.add("compile", f"{name}, {lines} lines", who, s, s / seconds["gradlang"])
            if before:
                bench.notes.append(
                    f"compile, {name}: {lines} lines take {seconds['gradlang'] / before:.1f} times as long as a quarter."
                )
            before = seconds["gradlang"]
