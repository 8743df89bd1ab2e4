"""W5: a random graph of scalar operations as a text of one assignment a line: reading it, one call, memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import floors
import numpy as np
import programs
from start_up import environment
from timing import Bench, equal, kind
from w5_readers import READERS, casadi_function, ddx_buffer, python_gradient

import gradlang as gl

HERE = Path(__file__).resolve().parent
Call = Callable[[], Any]


def run(bench: Bench) -> None:
    sizes = [1_000, 10_000] if bench.quick else [1_000, 10_000, 100_000]
    sizes += [1_000_000] if bench.huge else []
    for lines in sizes:
        text = programs.dag(lines)
        case(bench, lines, text)
        first_gradient(bench, lines, text)
    for what in ("one call", "file to first gradient", "peak memory"):
        found = {r.case: r.median for r in bench.rows if r.workload == "W5" and r.contestant == "gradlang"}
        costs = [found[f"{lines} lines, {what}"] / lines for lines in sizes]
        for k in range(1, len(sizes)):
            bench.add(
                "W5",
                f"growth, {what}",
                f"gradlang, a line of {sizes[k]} / of {sizes[k - 1]}",
                costs[k] / costs[k - 1],
                0.0,
                "times",
            )


# ---------------------------------------------------------------- one call
class Listing:
    """The operations that the output needs, as arrays: what a hand-written floor starts from."""

    OPS = ("+", "-", "*", "/", "sin", "exp", "tanh", "sqrt")

    def __init__(self, text: str) -> None:
        self.leaves = list(programs.inputs(text))
        slots = {name: k for k, name in enumerate(self.leaves)}
        made: list[tuple[int, int, int]] = []
        *lines, last = text.strip().split("\n")[len(self.leaves) :]
        for line in lines:
            name, _, body = line.partition(" = ")
            words = body.replace("(", " ").replace(")", "").split()
            op, a, b = (words[1], words[0], words[2]) if len(words) == 3 else (words[0], words[1], words[1])
            made.append((self.OPS.index(op), slots[a], slots[b]))
            slots[name] = len(slots)
        terms = [slots[name] for name in last.partition(" = ")[2].split(" + ")]
        total = terms[0]
        for term in terms[1:]:
            made.append((0, total, term))
            total = len(self.leaves) + len(made) - 1
        self.ops = self.live(made, total)

    def live(self, made: list[tuple[int, int, int]], output: int) -> list[tuple[int, int, int]]:
        """Without the operations that nothing needs, numbered anew."""
        first = len(self.leaves)
        needed = [True] * first + [False] * len(made)
        needed[output] = True
        for k in range(len(made) - 1, -1, -1):
            if needed[first + k]:
                needed[made[k][1]] = needed[made[k][2]] = True
        place = list(range(first))
        out: list[tuple[int, int, int]] = []
        for k, (op, a, b) in enumerate(made):
            place.append(first + len(out))
            if needed[first + k]:
                out.append((op, place[a], place[b]))
        return out


def c_tape(text: str) -> Call:
    listing = Listing(text)
    first, count = len(listing.leaves), len(listing.ops)
    op, left, right = (
        np.array(column, kind) for column, kind in zip(zip(*listing.ops, strict=True), ("int8", "int32", "int32"), strict=True)
    )
    v, g = np.zeros(first + count), np.zeros(first + count)
    v[:first] = list(programs.inputs(text).values())
    call = floors.bound(floors.library("w5_tape", loose=False).value_and_grad, [count, first, op, left, right, v, g])
    return lambda: (call(), g[:first])


def c_locals(text: str) -> Call:
    """Straight-line C of the live operations, every value and slope a local variable."""
    listing = Listing(text)
    first = len(listing.leaves)
    forward = [f"const double v{k} = x[{k}];" for k in range(first)]
    back: list[str] = []
    slopes: set[int] = {first + len(listing.ops) - 1}

    def add(slot: int, term: str) -> str:
        if slot in slopes:
            return f"g{slot} += {term};"
        slopes.add(slot)
        return f"double g{slot} = {term};"

    for k, (op, a, b) in enumerate(listing.ops, first):
        name = Listing.OPS[op]
        forward.append(f"const double v{k} = " + (f"v{a} {name} v{b};" if op < 4 else f"{name}(v{a});"))
    for k, (op, a, b) in reversed(list(enumerate(listing.ops, first))):
        terms = {
            0: ((a, f"g{k}"), (b, f"g{k}")),
            1: ((a, f"g{k}"), (b, f"-g{k}")),
            2: ((a, f"g{k}*v{b}"), (b, f"g{k}*v{a}")),
            3: ((a, f"g{k}/v{b}"), (b, f"-g{k}*v{k}/v{b}")),
            4: ((a, f"g{k}*cos(v{a})"),),
            5: ((a, f"g{k}*v{k}"),),
            6: ((a, f"g{k}*(1 - v{k}*v{k})"),),
            7: ((a, f"g{k}*0.5/v{k}"),),
        }[op]
        back += [add(slot, term) for slot, term in terms]
    last = first + len(listing.ops) - 1
    ends = [f"g[{k}] = g{k};" if k in slopes else f"g[{k}] = 0;" for k in range(first)]
    lines = [*forward, f"double g{last} = 1;", *back, *ends, f"return v{last};"]
    head = "#include <math.h>\ndouble run(const double *restrict x, double *restrict g) {\n"
    source = head + "\n".join(lines) + "\n}\n"
    flags = [f for f in floors.FLAGS if f != "-O3"]
    function = floors.built(f"w5_{first + len(listing.ops)}", source, [*flags, "-O1"]).run
    g = np.zeros(first)
    call = floors.bound(function, [np.array(list(programs.inputs(text).values())), g])
    return lambda: (call(), g)


def case(bench: Bench, lines: int, text: str) -> None:
    wanted, sweep = python_gradient(text)
    model = gl.loads(text)
    backend = "native" if find_spec("llvmlite") else "auto"
    f, value, plain = model.value_and_grad("y", backend=backend), model.function("y"), model.value_and_grad("y")

    def gradlang(f: Any) -> Call:
        def go() -> Any:
            y, slopes = f()
            return y, list(slopes.values())

        return go

    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: gradlang(f),
        "gradlang, without llvmlite": lambda: gradlang(plain),
        "Python by hand: tape, sweep back only": lambda: sweep,
        "C by hand, tape of live operations": lambda: c_tape(text),
        "casadi SX, buffer": lambda: casadi_function(text),
        "ddx, interpreted, buffer": lambda: ddx_buffer(text, False),
    }
    if lines <= 10_000:
        makers["C by hand, straight line"] = lambda: c_locals(text)
        makers["ddx, compiled, buffer"] = lambda: ddx_buffer(text, True)
    notes = {"gradlang": f.backend, "gradlang, without llvmlite": plain.backend}
    bench.race("W5", f"{lines} lines, one call", makers, wanted, seconds=3, objective=value, notes=notes)


# ---------------------------------------------------------------- from the file to the first gradient
def first_gradient(bench: Bench, lines: int, text: str) -> None:
    """Each in a process of its own: seconds from the file to the gradient, without and with the import of the package (and of
    NumPy, if it needs that), and peak memory. gradlang imports some of its modules with the first file that needs them: the
    former counts these for gradlang alone, the latter counts everything for everybody."""
    wanted = python_gradient(text)[0]
    with tempfile.TemporaryDirectory(prefix="bench-w5-") as folder:
        path = Path(folder) / "dag.grad"
        path.write_text(text, encoding="utf-8")
        made: dict[str, list[dict[str, Any]]] = {}
        for _ in range(5 if lines <= 10_000 else 1 if lines > 100_000 else 3):
            for name, reader in READERS.items():
                slow = sum(r.get("seconds", 0.0) for r in made.get(name, ())) > 10
                if lines <= reader.most and not slow:
                    made.setdefault(name, []).append(fresh(name, path, bench.clock is time.process_time))
    case = f"{lines} lines, file to first gradient"
    first = 0.0
    for name, runs in made.items():
        bench.notes += dict.fromkeys(f"W5, {case}: {r['failed']}." for r in runs if "failed" in r)
        runs[:] = [r for r in runs if "seconds" in r]
        if not runs:  # not installed, or it never ended well
            continue
        equal(f"W5, {case}, {name}", (runs[0]["value"], runs[0]["slopes"]), wanted)
        median = statistics.median(r["seconds"] for r in runs)
        first = first or median
        bench.add("W5", case, name, median, median / first)
        for part in runs[0].get("parts", ()):
            m = statistics.median(r["parts"][part] for r in runs)
            bench.add("W5", case, f"- of which {part}", m, m / first)
    loaded = {n: statistics.median(r["seconds"] + r["loaded"] for r in runs) for n, runs in made.items() if runs}
    for name, median in loaded.items():
        bench.add("W5", f"{lines} lines, the same with the package's import", name, median, median / loaded["gradlang"])
    peaks = {name: runs[0]["peak"] for name, runs in made.items() if runs}
    for name, peak in peaks.items():
        if peak:
            bench.add("W5", f"{lines} lines, peak memory", name, peak, peak / peaks["gradlang"], "bytes")


def fresh(name: str, path: Path, cpu: bool) -> dict[str, Any]:
    words = [sys.executable, str(HERE / "w5_readers.py"), name, str(path), *(["cpu"] if cpu else [])]
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    if done.returncode and kind(name) == "gradlang":
        raise RuntimeError(f"{name}:\n{done.stderr}")
    if done.returncode:
        return {"failed": f"{name} ended with status {done.returncode}"}
    return dict(json.loads(done.stdout.strip().split("\n")[-1]))
