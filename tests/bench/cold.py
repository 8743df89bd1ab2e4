"""cold: from text to the first gradient of W1, W2 and W4, everything in a process of its own, with nothing compiled before."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import w1_shopping
import w2_network
import w4_elementwise
from start_up import clock_of, environment
from timing import Bench

# A script makes its data, imports its package, starts the clock, and ends with the gradient in hand.
CLOCK = "\nimport os, time\nclock = getattr(time, os.environ['BENCH_CLOCK'])\nstart = clock()\n"
END = "\nprint('seconds', clock() - start)\n"
W1_AT = f"at = {w1_shopping.AT!r}\n"
W2_DATA = """import numpy as np
r = np.random.default_rng(7)
d = {"X": r.random((100, 784)), "t": np.eye(10)[r.integers(0, 10, 100)], "W1": r.normal(0, 0.01, (784, 50)),
     "b1": r.normal(0, 0.1, 50), "W2": r.normal(0, 0.1, (50, 10)), "b2": r.normal(0, 0.1, 10)}
"""
W4_DATA = "import numpy as np\nx = np.random.default_rng(4).normal(0.0, 1.5, 1_000_000)\na, b = 1.3, -0.2\n"
JAX = "import jax, jax.numpy as jnp\njax.config.update('jax_enable_x64', True)"
CASADI = "import casadi as c"
TORCH = "import torch\ntorch.set_num_threads(1)"


def gradlang(text: str, of: str, wrt: list[str], given: str) -> str:
    body = f"f = gradlang.loads({text!r}).value_and_grad({of!r}, wrt={wrt!r})\nf({given})"
    return "import gradlang" + CLOCK + body


SCRIPTS: dict[str, dict[str, str]] = {
    "W1": {
        "gradlang": W1_AT + gradlang(w1_shopping.TEXT, "price", list(w1_shopping.AT), "at"),
        "jax.jit": W1_AT
        + JAX
        + CLOCK
        + "g = jax.jit(jax.value_and_grad(lambda a, n, o, m, t: (a*n + o*m)*t, argnums=(0, 1, 2, 3, 4)))\n"
        "jax.block_until_ready(g(*at.values()))",
        "casadi SX": W1_AT + CASADI + CLOCK + "a, n, o, m, t = v = [c.SX.sym(k) for k in at]\ny = (a*n + o*m)*t\n"
        "c.Function('g', v, [y, *(c.gradient(y, k) for k in v)])(*at.values())",
        "torch": W1_AT + TORCH + CLOCK + "a, n, o, m, t = v = [torch.tensor(k, requires_grad=True) for k in at.values()]\n"
        "torch.autograd.grad((a*n + o*m)*t, v)",
        "ddx, compiled": W1_AT
        + "import ddx"
        + CLOCK
        + "f = ddx.equation('(apple*n + orange*m) * tax').compile(cache_dir='')\nf.jacobian(at)",
        "sympy lambdify": W1_AT + "import sympy" + CLOCK + "v = a, n, o, m, t = sympy.symbols(list(at))\ny = (a*n + o*m)*t\n"
        "sympy.lambdify(v, [y, *(y.diff(k) for k in v)], 'math')(*at.values())",
    },
    "W2, relu, batch 100": {
        "gradlang": W2_DATA + gradlang(w2_network.TEXT.replace("ACTIVATION", "relu"), "loss", ["W1", "b1", "W2", "b2"], "d"),
        "jax.jit": W2_DATA + JAX + CLOCK + "def loss(p, X, t):\n"
        "    s = jax.nn.relu(X @ p['W1'] + p['b1']) @ p['W2'] + p['b2']\n"
        "    return -jnp.mean(jnp.sum(t*jax.nn.log_softmax(s), axis=1))\n"
        "X, t = d.pop('X'), d.pop('t')\njax.block_until_ready(jax.jit(jax.value_and_grad(loss))(d, X, t))",
        "torch": W2_DATA + TORCH + CLOCK + "v = {k: torch.tensor(a, requires_grad=k not in ('X', 't')) for k, a in d.items()}\n"
        "s = torch.relu(v['X'] @ v['W1'] + v['b1']) @ v['W2'] + v['b2']\n"
        "torch.autograd.grad(torch.nn.functional.cross_entropy(s, v['t']), [v[k] for k in ('W1', 'b1', 'W2', 'b2')])",
    },
    "W4, n = 1000000": {
        "gradlang": W4_DATA + gradlang(w4_elementwise.TEXT, "y", ["x", "a", "b"], "{'x': x, 'a': a, 'b': b}"),
        "jax.jit": W4_DATA + JAX + CLOCK + "f = lambda x, a, b: jnp.sum(jnp.tanh(a*x + b)*jax.nn.sigmoid(x)*jnp.exp(-x*x))\n"
        "jax.block_until_ready(jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2)))(x, a, b))",
        "drjit": W4_DATA
        + "import drjit as dr\nfrom drjit.llvm.ad import Float64\ndr.set_thread_count(1)"
        + CLOCK
        + "v = [Float64(k) for k in (x, a, b)]\n"
        "dr.enable_grad(*v)\ndr.backward(dr.sum(dr.tanh(v[1]*v[0] + v[2])/(1 + dr.exp(-v[0]))*dr.exp(-v[0]*v[0])))\n"
        "dr.eval([dr.grad(k) for k in v])\ndr.sync_thread()",
        "torch": W4_DATA + TORCH + CLOCK + "v = [torch.tensor(k, requires_grad=True) for k in (x, a, b)]\n"
        "torch.autograd.grad(torch.sum(torch.tanh(v[1]*v[0] + v[2])*torch.sigmoid(v[0])*torch.exp(-v[0]**2)), v)",
    },
}
WARM = "warm cache"


def launch(bench: Bench, script: str, home: Path) -> tuple[float, float] | None:
    """(seconds of the process, seconds from text to gradient), or None where a package is missing. Whoever keeps compiled
    code on disk keeps it in `home`."""
    home.mkdir(exist_ok=True)
    env = {**environment(), "HOME": str(home), "XDG_CACHE_HOME": str(home), "GRADLANG_CACHE": str(home / "gradlang")}
    env["BENCH_CLOCK"] = "process_time" if bench.clock is time.process_time else "perf_counter"
    clock = clock_of(bench)
    start = clock()
    done = subprocess.run([sys.executable, "-c", script + END], capture_output=True, text=True, env=env)
    whole = clock() - start
    if done.returncode:
        missing = any(word in done.stderr for word in ("ModuleNotFoundError", "ImportError", "LLVM"))
        if missing:
            return None
        raise RuntimeError(done.stderr)
    return whole, float(done.stdout.split()[-1])


def run(bench: Bench) -> None:
    for workload, scripts in SCRIPTS.items():
        contestants = {}
        for name, script in scripts.items():
            if name in ("gradlang", "drjit"):
                contestants |= {f"{name}, empty cache": script, f"{name}, {WARM}": script}
            else:
                contestants[name] = script
        with tempfile.TemporaryDirectory(prefix="bench-cold-") as folder:
            case(bench, workload, contestants, Path(folder))


def case(bench: Bench, workload: str, contestants: dict[str, str], folder: Path) -> None:
    samples: dict[str, list[tuple[float, float]]] = {}
    missing: set[str] = set()
    for turn in range(3 if bench.quick else 8):
        for number, (name, script) in enumerate(contestants.items()):
            if name in missing:
                continue
            made = launch(bench, script, folder / (WARM if name.endswith(WARM) else f"{turn}-{number}"))
            if made is None:
                missing.add(name)
            elif turn:  # the first round fills the caches of the disk, and what is to be warm
                samples.setdefault(name, []).append(made)
    for k, what in enumerate(("process", "text to first gradient, imports not counted")):
        medians = {name: statistics.median(s[k] for s in runs) for name, runs in samples.items()}
        first = medians["gradlang, empty cache"]
        for name, m in medians.items():
            bench.add("cold", f"{workload}: {what}", name, m, m / first)
