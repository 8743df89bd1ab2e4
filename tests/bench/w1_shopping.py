"""W1: the price of the shopping and its five gradients, one call from Python."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import floors
import peers
from timing import Bench

import gradlang as gl

Call = Callable[[], Any]
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
    quick = gl.loads(TEXT).value_and_grad("price", backend="native") if find_spec("llvmlite") else f
    wanted = by_hand(**AT)

    def generated() -> Call:
        raw = f.raw
        return lambda: raw(120.0, 2.0, 150.0, 3.0, 1.1)

    makers: dict[str, Callable[[], Call]] = {
        "gradlang f(apple=..)": lambda: lambda: f(apple=120.0),
        "gradlang f(apple=..), native": lambda: lambda: quick(apple=120.0),
        "gradlang, the generated Python": generated,
        "Python by hand, keyword": lambda: lambda: by_hand(apple=120.0),
        "Python by hand, positions": lambda: lambda: by_hand(120.0, 2.0, 150.0, 3.0, 1.1),
        "C by hand, extension module": c_floor,
        "jax.jit": jax,
        "casadi SX, call": casadi,
        "casadi SX, buffer": casadi_buffer,
        "casadi SX, buffer, values in and out": casadi_packed,
        "ddx, compiled, buffer": ddx,
        "sympy lambdify": sympy,
        "torch": torch,
        "autograd": autograd,
    }
    stay = "its memory is neither filled nor read"
    notes = {
        "gradlang f(apple=..)": f.backend,
        "gradlang f(apple=..), native": quick.backend,
        "casadi SX, buffer": stay,
        "ddx, compiled, buffer": stay,
    }
    bench.race("W1", "price and 5 gradients", makers, wanted, tol=1e-12, notes=notes)

    def kept() -> Call:
        """The last hundred results are held, so that none of them can be used again."""
        held: deque[Any] = deque(maxlen=100)
        return lambda: held.append(quick(apple=120.0)) or held[-1]

    others: dict[str, Callable[[], Call]] = {
        "gradlang f(**floats)": lambda: lambda: f(**AT),
        "gradlang f(**floats), native": lambda: lambda: quick(**AT),
        "gradlang f(apple=..), native, 100 results held": kept,
        "gradlang f(**ints)": lambda: lambda: f(apple=120, n=2, orange=150, m=3, tax=1.1),
        "gradlang f(dict)": lambda: lambda: f(AT),
        "an empty call": lambda: empty,
    }
    bench.race("W1", "all five given", others, wanted, tol=1e-12, seconds=1)


def empty() -> None:
    """What calling anything costs."""


empty.answer = lambda: by_hand(**AT)  # type: ignore[attr-defined]


def named(call: Call, answer: Call | None = None) -> Call:
    """The call, and for the comparison its answer as (price, dict)."""

    def converted() -> Any:
        price, slopes = (answer or call)()
        return price, dict(zip(AT, slopes, strict=True))

    try:
        call.answer = converted  # type: ignore[attr-defined]
        return call
    except AttributeError:  # not a Python function
        made: Any = lambda: call()  # noqa: E731
        made.answer = converted
        return made


def c_floor() -> Call:
    f = floors.extension("w1_shopping").value_and_grad
    return named(lambda: f(120.0, 2.0, 150.0, 3.0, 1.1))


def jax() -> Call:
    j = peers.jax()
    g = j.jit(j.value_and_grad(lambda a, n, o, m, t: (a * n + o * m) * t, argnums=(0, 1, 2, 3, 4)))
    values = tuple(AT.values())
    return named(lambda: j.block_until_ready(g(*values)))


def casadi_function() -> Any:
    c = peers.casadi()
    a, n, o, m, t = args = [c.SX.sym(k) for k in AT]
    price = (a * n + o * m) * t
    return c.Function("g", args, [price, *(c.gradient(price, x) for x in args)])


def casadi() -> Call:
    g, values = casadi_function(), tuple(AT.values())

    def call() -> Any:
        y, *slopes = g(*values)
        return float(y), [float(s) for s in slopes]

    return named(call)


def casadi_buffer() -> Call:
    call, (price, *slopes) = peers.from_casadi(casadi_function(), list(AT.values()))
    call.answer = lambda: (call(), (price[0], dict(zip(AT, (s[0] for s in slopes), strict=True))))[1]
    return call


def casadi_packed() -> Call:
    """Five Python floats into the memory of the function, six out of it."""
    c = peers.casadi()
    x = c.SX.sym("x", 5)
    price = (x[0] * x[1] + x[2] * x[3]) * x[4]
    made = c.Function("g", [x], [c.densify(c.vertcat(price, c.gradient(price, x)))])
    buffer, call = made.buffer()
    given, out = bytearray(40), bytearray(48)
    buffer.set_arg(0, memoryview(given).cast("d"))
    buffer.set_res(0, memoryview(out).cast("d"))
    fill, read = struct.Struct("5d").pack_into, struct.Struct("6d").unpack

    def go() -> Any:
        fill(given, 0, 120.0, 2.0, 150.0, 3.0, 1.1)
        call()
        return read(out)

    made_call = named(go, lambda: (go()[0], go()[1:]))
    made_call.kept = buffer  # type: ignore[attr-defined]
    return made_call


def ddx() -> Call:
    f = peers.ddx().equation("(apple*n + orange*m) * tax").compile(cache_dir="")
    call = f.buffer([AT[k] for k in f.symbols])
    return named(call, lambda: (call(), (call.value, call.jacobian))[1])


def sympy() -> Call:
    """Derivatives one by one, not a reverse sweep: for a formula of this size the same thing."""
    s = peers.sympy()
    a, n, o, m, t = args = s.symbols(list(AT))
    price = (a * n + o * m) * t
    f = s.lambdify(args, [price, [price.diff(x) for x in args]], "math", cse=True)
    values = tuple(AT.values())
    return named(lambda: f(*values))


def torch() -> Call:
    t = peers.torch()

    def call() -> Any:
        a, n, o, m, tax = leaves = [t.tensor(v, requires_grad=True) for v in AT.values()]
        price = (a * n + o * m) * tax
        return price.item(), t.autograd.grad(price, leaves)

    return named(call)


def autograd() -> Call:
    peers.autograd()
    from autograd.builtins import tuple as boxed
    from autograd.differential_operators import value_and_grad

    g, values = value_and_grad(lambda p: (p[0] * p[1] + p[2] * p[3]) * p[4]), tuple(AT.values())
    return named(lambda: g(boxed(values)))
