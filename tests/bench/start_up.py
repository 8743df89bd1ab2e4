"""start: a cold `gradlang run` as a process of its own, beside what Python, NumPy and lark cost, and where its time goes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

from timing import Bench, shown

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
COMMANDS = {
    "gradlang run 02_shopping": ["-m", "gradlang", "run", str(EXAMPLES / "02_shopping.grad")],
    "gradlang run 11_digits_net": [
        "-m",
        "gradlang",
        "run",
        str(EXAMPLES / "11_digits_net.grad"),
        "--data",
        str(EXAMPLES / "data" / "digits.npz"),
    ],
    "gradlang --version": ["-m", "gradlang", "--version"],
    "import gradlang": ["-c", "import gradlang"],
    "python -c pass": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import lark": ["-c", "import lark"],
    "import networkx": ["-c", "import networkx"],
    "import argparse, json": ["-c", "import argparse, json"],
}


@cache
def bytecode() -> tempfile.TemporaryDirectory[str]:
    """A place for compiled modules, as an installed package has them; the source tree stays clean."""
    return tempfile.TemporaryDirectory(prefix="bench-pyc-")


def environment() -> dict[str, str]:
    made = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONPYCACHEPREFIX": bytecode().name,
    }
    made.pop("PYTHONDONTWRITEBYTECODE", None)
    return made


def launch(words: list[str]) -> subprocess.CompletedProcess[str]:
    made = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment())
    if made.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {made.returncode}:\n{made.stderr}")
    return made


def clock_of(bench: Bench) -> Callable[[], float]:
    """The clock for processes that this one starts and waits for: their processor time where calls are measured in that."""
    if bench.clock is not time.process_time:
        return time.perf_counter
    import resource  # Windows has none

    def spent() -> float:
        found = resource.getrusage(resource.RUSAGE_CHILDREN)
        return found.ru_utime + found.ru_stime

    return spent


def run(bench: Bench) -> None:
    clock = clock_of(bench)
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(4 if bench.quick else 15):
        for name, words in COMMANDS.items():
            start = clock()
            launch(words)
            if turn:
                samples[name].append(clock() - start)
    medians = {name: statistics.median(s) for name, s in samples.items()}
    first = medians["gradlang run 02_shopping"]
    for name, m in medians.items():
        bench.add("start", "cold process", name, m, m / first)
    bench.notes.append(breakdown())


def imports() -> dict[str, float]:
    """Seconds of import by package (a module's own time), of one cold run."""
    made: dict[str, float] = defaultdict(float)
    for line in launch(["-X", "importtime", *COMMANDS["gradlang run 02_shopping"]]).stderr.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():
            name = fields[2].strip()
            made[name.split(".")[0]] += int(fields[0]) * 1e-6
    return made


def breakdown() -> str:
    """Imports by package, then what `run` itself does, as a list."""
    by_package = imports()
    lines = [
        "Where a cold `gradlang run examples/02_shopping.grad` spends its time (imports from `-X importtime`, which slows",
        "them a little):",
        "",
    ]
    total = sum(by_package.values())
    top = sorted(by_package.items(), key=lambda item: -item[1])[:12]
    lines += [f"- imports, all: {shown(total, 's')}: " + ", ".join(f"{n} {shown(s, 's')}" for n, s in top)]
    script = f"""
import time
t0 = time.perf_counter()
import gradlang.cli.main, gradlang.cli.running
from gradlang import pipeline
t1 = time.perf_counter()
language = pipeline.standard()
t2 = time.perf_counter()
text = open({str(EXAMPLES / "02_shopping.grad")!r}, encoding="utf-8").read()
program = pipeline.load(text, "f", language)
t3 = time.perf_counter()
from gradlang.api import Model
f = Model(program).value_and_grad("price")
t4 = time.perf_counter()
f()
t5 = time.perf_counter()
print(t1 - t0, t2 - t1, t3 - t2, t4 - t3, t5 - t4)
"""
    runs = [[float(x) for x in launch(["-c", script]).stdout.split()] for _ in range(5)]
    medians = [statistics.median(column) for column in zip(*runs, strict=True)]
    what = [
        "import of the command line and the pipeline",
        "tables of ops and rules",
        "text to program",
        "program to function",
        "first call",
    ]
    lines += [f"- {name}: {shown(m, 's')}" for name, m in zip(what, medians, strict=True)]
    return "\n".join(lines)
