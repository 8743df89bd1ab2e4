"""python tests/bench/run.py [W1 ... W9 fit cold text compile start memory sizes] [--quick] [--huge] [--cpu] [--json FILE]: the benchmarks as a Markdown table."""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from pathlib import Path  # noqa: E402

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from timing import Bench, Row, markdown, summary  # noqa: E402

WORKLOADS = {
    "W1": "w1_shopping",
    "W2": "w2_network",
    "W3": "w3_logistic",
    "W4": "w4_elementwise",
    "W5": "w5_dag",
    "W6": "w6_gmm",
    "W7": "w7_bundle",
    "W8": "w8_second",
    "W9": "w9_recurrence",
    "fit": "fit_step",
    "cold": "cold",
    "text": "text_cold",
    "compile": "compiling",
    "start": "start_up",
    "memory": "peak_memory",
    "sizes": "sizes",
}


PACKAGES = "gradlang numpy scipy llvmlite jax torch casadi autograd drjit ddx-ad pytensor sympy lark networkx".split()


def versions() -> str:
    """What was compared with what."""
    from importlib.metadata import PackageNotFoundError, version

    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def apart(names: list[str], options: list[str]) -> tuple[list[Row], list[str], int]:
    """Every workload in a process of its own: what one has imported, cached or broken is nothing to the next."""
    rows: list[Row] = []
    notes: list[str] = []
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            made = Path(folder) / f"{name}.json"
            done = subprocess.run([sys.executable, __file__, name, *options, "--json", str(made)], stdout=subprocess.DEVNULL)
            if done.returncode:
                failed = 1
                notes.append(f"{name} ended with status {done.returncode}.")
            if made.exists():
                read = json.loads(made.read_text(encoding="utf-8"))
                rows += [Row(**r) for r in read["rows"]]
                notes += read["notes"]
    return rows, notes, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds and no large cases")
    parser.add_argument("--huge", action="store_true", help="W5 with a million lines, too (minutes, and some GB of memory)")
    parser.add_argument(
        "--cpu", action="store_true", help="processor time of calls, not wall time: for a machine that is shared"
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON too")
    args = parser.parse_args()
    unknown = [w for w in args.workloads if w not in WORKLOADS]
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}: there are {', '.join(WORKLOADS)}")
    names = args.workloads or list(WORKLOADS)
    if len(names) == 1:
        bench = Bench(args.quick, args.huge, time.process_time if args.cpu else time.perf_counter)
        rows, notes, failed = bench.rows, bench.notes, 0
        try:
            importlib.import_module(WORKLOADS[names[0]]).run(bench)
        except Exception:  # what was measured until then is worth keeping
            traceback.print_exc()
            failed = 1
    else:
        rows, notes, failed = apart(names, [f"--{k}" for k in ("quick", "huge", "cpu") if getattr(args, k)])
    print(versions() + "\n\n" + summary(rows) + "\n\n" + markdown(rows))
    for note in notes:
        print("\n" + note)
    if args.json:
        made = {"versions": versions(), "rows": [dataclasses.asdict(r) for r in rows], "notes": notes}
        Path(args.json).write_text(json.dumps(made, indent=1), encoding="utf-8")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
