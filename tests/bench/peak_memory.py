"""memory: the most memory a process holds that takes a text of 10,000 lines to its first gradient."""

from __future__ import annotations

import sys
from pathlib import Path

from start_up import launch
from timing import Bench

HERE = Path(__file__).resolve().parent
HEAD = f"import sys; sys.path.insert(0, {str(HERE)!r}); import programs; "
CASES = {
    "gradlang": "import gradlang; gradlang.loads(programs.{made}).value_and_grad('y')(); ",
    "gradlang, loads only": "import gradlang; gradlang.loads(programs.{made}); ",
    "tape in Python": "import tape; tape.Tape().run(programs.{made}); ",
    "import gradlang": "import gradlang; ",
    "python -c pass": "",
}
# Linux counts the memory of the process that started this one into ru_maxrss; VmHWM starts anew.
TAIL = """import re, resource
try:
    print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""


def run(bench: Bench) -> None:
    if sys.platform == "win32":
        bench.notes.append("memory: not measured on Windows.")
        return
    scale = 1 if sys.platform == "darwin" else 1024
    size = 1_000 if bench.quick else 10_000
    for kind in ("chain", "dag"):
        first = 0.0
        for name, body in CASES.items():
            peak = scale * int(launch(["-c", HEAD + body.format(made=f"{kind}({size})") + "\n" + TAIL]).stdout)
            first = first or peak
            bench.add("memory", f"{kind}, {size} lines", name, peak, peak / first, "bytes")
