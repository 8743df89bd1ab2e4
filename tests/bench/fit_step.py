"""fit: one step of training: a batch of random rows is gathered, the gradient taken, the parameters moved by sgd or Adam.

The nets are those of examples/11_digits_net.grad (8 x 8 pixels, relu) and examples/10_two_layer_net.grad (28 x 28, sigmoid)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import peers
from timing import Bench

import gradlang as gl
from gradlang.fit.run import Setup, Wishes
from gradlang.fit.training import Lengths, Training, Watcher

TEXT = """X : [N, WIDTH]
t : int[N]
param W1 : [WIDTH, HIDDEN] = he()
param b1 : [HIDDEN] = zeros()
param W2 : [HIDDEN, 10] = he()
param b2 : [10] = zeros()
loss = cross_entropy(affine(ACT(affine(X / LARGEST, W1, b1)), W2, b2), t)
minimize loss
"""
Arrays = dict[str, np.ndarray]
ROWS = 2000
LR = {"sgd": 1e-3, "adam": 1e-3}


@dataclass(frozen=True)
class Case:
    """A net of `width` pixels from 0 to `largest`, and how it is trained."""

    width: int
    hidden: int
    largest: int
    act: str
    batch: int
    optimizer: str

    @property
    def name(self) -> str:
        return f"{self.width}-{self.hidden}-10 {self.act}, batch {self.batch}, {self.optimizer}"

    @property
    def text(self) -> str:
        words = {"WIDTH": self.width, "HIDDEN": self.hidden, "ACT": self.act, "LARGEST": self.largest}
        text = TEXT
        for word, value in words.items():
            text = text.replace(word, str(value))
        return text

    def batches(self) -> list[np.ndarray]:
        order = np.random.default_rng(4).permutation(ROWS)
        return [order[k : k + self.batch] for k in range(0, ROWS, self.batch)]


def data(case: Case) -> tuple[Arrays, Arrays]:
    """Rows of pixels with their labels, and parameters to start from."""
    r = np.random.default_rng(3)
    width, hidden = case.width, case.hidden
    rows = {"X": r.integers(0, case.largest + 1, (ROWS, width)).astype(float), "t": r.integers(0, 10, ROWS)}
    params = {
        "W1": r.normal(0, 0.05, (width, hidden)),
        "b1": r.normal(0, 0.1, hidden),
        "W2": r.normal(0, 0.1, (hidden, 10)),
        "b2": r.normal(0, 0.1, 10),
    }
    return rows, params


Step = Callable[[np.ndarray], Any]


def ours(case: Case, rows: Arrays, params: Arrays, backend: str) -> tuple[Step, Callable[[], Arrays]]:
    """The step of `model.fit`."""
    wishes = Wishes(optimizer=case.optimizer, batch=case.batch, backend=backend, options={"lr": LR[case.optimizer]})
    setup = Setup(gl.loads(case.text), rows, wishes, None, params, None)
    made = setup.made()
    training = Training(setup.problem, made, setup.state(made), Lengths(1, None, case.batch), setup.rows, None, Watcher())
    return training.step, lambda: setup.problem.layout.unpack(training.state.vector)


def by_hand(X: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any, act: str = "relu") -> tuple[float, Arrays]:
    """Backpropagation in plain NumPy: every temporary reused, the softmax shared by loss and gradient."""
    n, rows = len(X), np.arange(len(X))
    z = X @ W1
    z += b1
    if act == "relu":
        np.maximum(z, 0, out=z)
    else:
        np.negative(z, out=z)
        np.exp(z, out=z)
        z += 1
        np.reciprocal(z, out=z)
    s = z @ W2
    s += b2
    s -= s.max(axis=1, keepdims=True)
    right = s[rows, t].sum()
    p = np.exp(s, out=s)
    total = p.sum(axis=1, keepdims=True)
    loss = (np.log(total).sum() - right) / n
    p /= total
    p[rows, t] -= 1
    p /= n
    dW2, db2 = z.T @ p, p.sum(axis=0)
    dz = p @ W2.T
    if act == "relu":
        dz *= z > 0
    else:
        dz *= z
        np.subtract(1, z, out=z)
        dz *= z
    return float(loss), {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": dW2, "b2": db2}


def numpy_by_hand(case: Case, rows: Arrays, start: Arrays) -> tuple[Step, Callable[[], Arrays]]:
    """Plain NumPy that makes no more arrays than it has to: slots and parameters change in place."""
    p = {k: v.copy() for k, v in start.items()}
    m, v, w = ({k: np.zeros_like(a) for k, a in p.items()} for _ in range(3))
    count, lr = 0, LR[case.optimizer]
    X, t = rows["X"], rows["t"]

    def step(which: np.ndarray) -> None:
        nonlocal count
        count += 1
        x = X[which]
        x /= case.largest
        _, g = by_hand(x, t[which], **p, act=case.act)
        for k, d in g.items():
            if case.optimizer == "sgd":
                d *= lr
                p[k] -= d
                continue
            a, b, s = m[k], v[k], w[k]
            np.multiply(d, d, out=s)
            s *= 0.001
            b *= 0.999
            b += s
            a *= 0.9
            d *= 0.1
            a += d
            np.sqrt(b, out=s)
            s /= (1 - 0.999**count) ** 0.5
            s += 1e-8
            np.divide(a, s, out=s)
            s *= lr / (1 - 0.9**count)
            p[k] -= s

    return step, lambda: p


def torch(case: Case, rows: Arrays, start: Arrays, fused: bool = False) -> tuple[Step, Callable[[], Arrays]]:
    t = peers.torch()
    p = {k: t.tensor(v, requires_grad=True) for k, v in start.items()}
    kinds = {"sgd": t.optim.SGD, "adam": t.optim.Adam}
    how = kinds[case.optimizer](list(p.values()), lr=LR[case.optimizer], **({"fused": True} if fused else {}))
    act = t.relu if case.act == "relu" else t.sigmoid
    X, labels = t.tensor(rows["X"]), t.tensor(rows["t"])

    def step(which: np.ndarray) -> float:
        at = t.from_numpy(which)
        s = act(X[at] / case.largest @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        loss = t.nn.functional.cross_entropy(s, labels[at])
        how.zero_grad()
        loss.backward()
        how.step()
        return float(loss)

    return step, lambda: {k: v.detach().numpy() for k, v in p.items()}


def jax(case: Case, rows: Arrays, start: Arrays) -> tuple[Step, Callable[[], Arrays]]:
    """Gather, gradient and update as one compiled function, whose old parameters may be written over."""
    j = peers.jax()
    jnp, tree = j.numpy, j.tree_util.tree_map
    X, labels, lr = j.device_put(rows["X"]), j.device_put(rows["t"]), LR[case.optimizer]
    act = j.nn.relu if case.act == "relu" else j.nn.sigmoid

    def loss(p: Any, x: Any, t: Any) -> Any:
        s = act(x / case.largest @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        return -jnp.mean(j.nn.log_softmax(s)[jnp.arange(case.batch), t])

    def go(state: Any, which: Any) -> Any:
        p, m, v, k = state
        value, g = j.value_and_grad(loss)(p, X[which], labels[which])
        k = k + 1
        if case.optimizer == "sgd":
            return value, (tree(lambda a, d: a - lr * d, p, g), m, v, k)
        m = tree(lambda a, d: 0.9 * a + 0.1 * d, m, g)
        v = tree(lambda a, d: 0.999 * a + 0.001 * d * d, v, g)
        root = jnp.sqrt(1 - 0.999**k)
        p = tree(lambda a, b, c: a - lr / (1 - 0.9**k) * b / (jnp.sqrt(c) / root + 1e-8), p, m, v)
        return value, (p, m, v, k)

    fast = j.jit(go, donate_argnums=0)
    zeros = {k: jnp.zeros(a.shape) for k, a in start.items()}
    state = [({k: jnp.array(a) for k, a in start.items()}, zeros, {k: jnp.zeros(a.shape) for k, a in start.items()}, 0.0)]

    def step(which: np.ndarray) -> float:
        value, state[0] = fast(state[0], which)
        return float(value)

    return step, lambda: {k: np.asarray(a) for k, a in state[0][0].items()}


def contestant(case: Case, make: Callable[[], tuple[Step, Callable[[], Arrays]]]) -> Callable[[], Any]:
    """One step a call, batch after batch; the answer is where the parameters are after all batches of an epoch."""

    def made() -> Any:
        step, params = make()
        every, k = case.batches(), 0

        def call() -> None:
            nonlocal k
            step(every[k])
            k = (k + 1) % len(every)

        def answer() -> Arrays:
            for which in every:
                step(which)
            return {n: np.array(a) for n, a in params().items()}

        call.answer = answer  # type: ignore[attr-defined]
        return call

    return made


def run(bench: Bench) -> None:
    nets = [(64, 32, 16, "relu")] if bench.quick else [(64, 32, 16, "relu"), (784, 50, 255, "sigmoid")]
    for net in nets:
        for batch in (50, 100):
            for optimizer in ("sgd", "adam"):
                race(bench, Case(*net, batch, optimizer))


def race(bench: Bench, case: Case) -> None:
    rows, start = data(case)
    step, wanted = numpy_by_hand(case, rows, start)
    for which in case.batches():
        step(which)
    makers = {
        "gradlang": contestant(case, lambda: ours(case, rows, start, "numpy")),
        "gradlang, native": contestant(case, lambda: ours(case, rows, start, "native")),
        "NumPy by hand": contestant(case, lambda: numpy_by_hand(case, rows, start)),
        "torch": contestant(case, lambda: torch(case, rows, start)),
        "torch, fused": contestant(case, lambda: torch(case, rows, start, True)),
        "jax.jit": contestant(case, lambda: jax(case, rows, start)),
    }
    notes = {"gradlang": "numpy", "gradlang, native": "native"}
    bench.race("fit", case.name, makers, wanted(), tol=1e-7, notes=notes)
