"""W1: the price of the shopping and its five gradients, one call from Python."""

from __future__ import annotations

from typing import Any

from timing import Bench, equal

import gradlang as gl

TEXT = """apple  = 100
n      = 2
orange = 150
m      = 3
tax    = 1.1
price = (apple*n + orange*m) * tax
"""
AT = {"apple": 120.0, "n": 2.0, "orange": 150.0, "m": 3.0, "tax": 1.1}


def by_hand(
    apple: float = 100.0, n: float = 2.0, orange: float = 150.0, m: float = 3.0, tax: float = 1.1
) -> tuple[float, dict[str, float]]:
    """The same arithmetic as a Python programmer writes it."""
    goods = apple * n + orange * m
    return goods * tax, {"apple": tax * n, "n": tax * apple, "orange": tax * m, "m": tax * orange, "tax": goods}


def run(bench: Bench) -> None:
    f = gl.loads(TEXT).value_and_grad("price")
    wanted = by_hand(**AT)
    contestants: dict[str, Any] = {
        "gradlang f(apple=..)": lambda: f(apple=120.0),
        "gradlang f.raw(..)": lambda: f.raw(120.0, 2.0, 150.0, 3.0, 1.1),
        "Python by hand, keyword": lambda: by_hand(apple=120.0),
        "Python by hand, positions": lambda: by_hand(120.0, 2.0, 150.0, 3.0, 1.1),
        "an empty call": lambda: None,
    }
    for name in list(contestants)[:-1]:
        equal(name, contestants[name](), wanted)
    contestants |= {k: v for k, v in (jax(wanted), casadi(wanted)) if v}
    bench.compare("W1", "price and 5 gradients", contestants, seconds=2)
    others: dict[str, Any] = {
        "gradlang f(**floats)": lambda: f(**AT),
        "gradlang f(**ints)": lambda: f(apple=120, n=2, orange=150, m=3, tax=1.1),
        "gradlang f(dict)": lambda: f(AT),
    }
    for name, call in others.items():
        equal(name, call(), wanted)
    bench.compare("W1", "all five given", others, seconds=1)


def jax(wanted: Any) -> tuple[str, Any]:
    try:
        import jax as j
    except ImportError:
        return "jax", None
    j.config.update("jax_enable_x64", True)
    g = j.jit(j.value_and_grad(lambda a, n, o, m, t: (a * n + o * m) * t, argnums=(0, 1, 2, 3, 4)))
    values = tuple(AT.values())

    def call() -> Any:
        y, d = g(*values)
        return y.block_until_ready(), dict(zip(AT, d, strict=True))

    equal("jax", call(), wanted)
    return "jax.jit", call


def casadi(wanted: Any) -> tuple[str, Any]:
    try:
        import casadi as c
    except ImportError:
        return "casadi", None
    a, n, o, m, t = args = [c.SX.sym(k) for k in AT]
    price = (a * n + o * m) * t
    g = c.Function("g", args, [price, *(c.gradient(price, x) for x in args)])
    values = tuple(AT.values())

    def call() -> Any:
        y, *d = g(*values)
        return float(y), dict(zip(AT, map(float, d), strict=True))

    equal("casadi", call(), wanted)
    return "casadi SX call", call
