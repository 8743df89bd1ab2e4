"""Who reads the text of W5: gradlang its own way, others through Python's parser. As a script: one reader, one file, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
import programs
from tape import Tape

Call = Callable[[], Any]
Answer = tuple[float, list[float]]


def executed(text: str, names: dict[str, Any]) -> Any:
    """The output, computed by Python from what the names stand for."""
    body = text.split("\n", len(programs.inputs(text)))[-1]
    exec(compile(body, "text", "exec"), names)
    return names["y"]


def python_gradient(text: str) -> tuple[Answer, Call]:
    """The answer of the tape, and the sweep back as a call."""
    tape = Tape()
    value, slopes = tape.run(text)
    return (value, list(slopes.values())), lambda: (value, list(tape.backward().values()))


def casadi_function(text: str) -> Call:
    c = peers.casadi()
    inputs = programs.inputs(text)
    leaves = {name: c.SX.sym(name) for name in inputs}
    y = executed(text, {**{k: getattr(c, k) for k in ("sin", "exp", "tanh", "sqrt")}, **leaves})
    x = c.vertcat(*leaves.values())
    made = c.Function("f", [x], [y, c.densify(c.gradient(y, x))])
    call, (value, slopes) = peers.from_casadi(made, [list(inputs.values())])

    def go() -> Any:
        call()
        return value[0], slopes

    return go


def ddx_buffer(text: str, compiled: bool) -> Call:
    d = peers.ddx()
    inputs = programs.inputs(text)

    def model() -> Any:
        names = {**{k: getattr(d, k) for k in ("sin", "exp", "tanh", "sqrt")}, **{name: d.var(name) for name in inputs}}
        return executed(text, names)

    f = d.equation(model)
    if compiled:
        f.compile(cache_dir="")
    call = f.buffer([inputs[name] for name in f.symbols])
    order = [f.symbols.index(name) if name in f.symbols else -1 for name in inputs]

    def go() -> Any:
        call()
        return call.value, call.jacobian

    def answer() -> Any:
        value, slopes = go()
        return value, [slopes[k] if k >= 0 else 0.0 for k in order]

    go.answer = answer  # type: ignore[attr-defined]
    return go


def jax_function(text: str) -> Call:
    j = peers.jax()
    inputs = programs.inputs(text)
    functions = {k: getattr(j.numpy, k) for k in ("sin", "exp", "tanh", "sqrt")}
    f = j.jit(
        j.value_and_grad(
            lambda *p: executed(text, {**functions, **dict(zip(inputs, p, strict=True))}), argnums=tuple(range(len(inputs)))
        )
    )
    return lambda: j.block_until_ready(f(*inputs.values()))


# ---------------------------------------------------------------- each in a fresh process
@dataclass
class Reader:
    """What is imported before the clock starts, what is timed, and up to how many lines it is asked to."""

    package: Callable[[], Any]
    run: Callable[[str], Any]
    most: int = 10_000_000


clock = time.perf_counter  # or that of the processor


def gradlang_first(path: str) -> tuple[Answer, dict[str, float]]:
    import gradlang as gl

    start = clock()
    model = gl.load(path)
    read = clock()
    f = model.value_and_grad("y")
    made = clock()
    value, slopes = f()
    end = clock()
    return (value, list(slopes.values())), {"read": read - start, "compile": made - read, "first call": end - made}


def by_call(make: Callable[[str], Call]) -> Callable[[str], Any]:
    def run(path: str) -> Any:
        call = make(Path(path).read_text(encoding="utf-8"))
        return getattr(call, "answer", call)()

    return run


def gradlang_package() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import numpy  # noqa: F401 (peers import it with themselves)

    import gradlang as gl

    gl.loads("y = 2*x").value_and_grad("y")(x=1.0)  # what is loaded once is not a matter of this file


READERS = {
    "gradlang": Reader(gradlang_package, gradlang_first),
    "Python by hand: tape": Reader(lambda: None, lambda path: python_gradient(Path(path).read_text(encoding="utf-8"))[0]),
    "casadi SX": Reader(peers.casadi, by_call(casadi_function)),
    "ddx, interpreted": Reader(peers.ddx, by_call(lambda text: ddx_buffer(text, False))),
    "ddx, compiled": Reader(peers.ddx, by_call(lambda text: ddx_buffer(text, True)), 10_000),
    "jax.jit": Reader(peers.jax, by_call(jax_function), 1_000),
}


def peak() -> int:
    """The most memory that this process held."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(next(line for line in status.split("\n") if line.startswith("VmHWM")).split()[1])
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:
            return 0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(name: str, path: str, which: str = "") -> None:
    global clock
    clock = time.process_time if which == "cpu" else time.perf_counter
    reader = READERS[name]
    begin = clock()
    try:
        reader.package()
    except ImportError:
        print(json.dumps({"missing": True}))
        return
    start = clock()
    made = reader.run(path)
    seconds = clock() - start
    parts: dict[str, float] = {}
    if isinstance(made[1], dict):
        made, parts = made
    value, slopes = made
    line = {"seconds": seconds, "loaded": start - begin, "parts": parts, "value": float(value)}
    print(json.dumps({**line, "slopes": [float(s) for s in slopes], "peak": peak()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
