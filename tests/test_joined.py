"""What is made of the rows of a recurrence is made beside its steps."""

from __future__ import annotations

import numpy as np
import pytest
from test_plan import RECURRENT, planned, walk
from test_unrolled import compiled

import gradlang as gl
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_ops import Target
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Code, Fetch, For, Kernel, Load, Store
from gradlang.plan.joined import CACHED, beside, joined
from gradlang.plan.plan import Loops
from gradlang.record import changed

WRT = ["W", "U", "h0"]


def kernels(text: str, loss: str, wrt: list[str], steps: int) -> tuple[Loops, Loops]:
    """Before and after."""
    plan = planned(text, loss, wrt, True, T=steps)
    (one,), (other,) = plan.steps, joined(plan).steps
    assert isinstance(one, Loops) and isinstance(other, Loops)
    return one, other


def recurrences(step: Loops) -> list[For]:
    return [s for s in walk(step.kernel.body) if isinstance(s, For) and not s.apart]


def test_a_block_comes_after_its_steps():
    one, other = kernels(RECURRENT, "loss", WRT, 1000)
    assert len(recurrences(one)) == 2
    forward, block, backward = recurrences(other)
    assert backward in block.body and block.stop.const == 8
    assert forward.stop.const == 1000
    assert any(isinstance(s, For) and s.body for s in block.body[block.body.index(backward) + 1 :])  # the tiles
    assert len([s for s in other.kernel.body if isinstance(s, For)]) < len([s for s in one.kernel.body if isinstance(s, For)])


def long(step: Loops) -> list[Buffer]:
    pairs = zip(step.kernel.buffers, step.sources, strict=False)
    return [b for b, s in pairs if s.kind == "temp" and len(s.shape) == 2 and str(s.shape[0]) != "16" and s.shape[1] == 16]


def touched(step: Loops, kind: type) -> set[Buffer]:
    loops = recurrences(step)
    return {s.buffer for loop in loops for s in walk(loop.body) if isinstance(s, kind)}


def test_a_sequence_of_which_the_latest_row_is_read_is_not_kept():
    for wrt, kept in ((WRT, 2), ([], 0)):
        plan = planned(RECURRENT, "loss", wrt, True, T=1000)
        steps = [s for s in joined(plan).steps if isinstance(s, Loops)]
        sequences = {b for s in steps for b in long(s) if b in touched(s, Store)}
        blocks = {b for s in steps for b, of in zip(s.kernel.buffers, s.sources, strict=False) if of.shape[:1] == (128,)}
        assert len(sequences - blocks) == kept, wrt


def test_rows_that_lie_far_apart_are_asked_for():
    steps = 2 * CACHED // 16
    for count, there in ((1000, False), (steps, True)):
        _, other = kernels(RECURRENT, "loss", WRT, count)
        fetched = [s for s in walk(other.kernel.body) if isinstance(s, Fetch)]
        assert bool(fetched) == there and len(fetched) in (0, 2)
        text = unit_text([other.kernel], "f64", Target(vector=512, converts=True), lambda name: function(name, "f64"))
        assert ("llvm.prefetch" in text) == there


def add_rows(lag: int, reverse: bool, read: int) -> Kernel:
    """h[t+1] = 2 h[t], s += the row h[t + read] (or that from the other end), in blocks of 128."""
    code, steps, n = Code(), 300, 4
    h, s = Buffer("h", "f", True), Buffer("s", "f", True)
    whole = code.whole
    with code.loop(whole(0), whole(steps), apart=False) as t, code.loop(whole(0), whole(n)) as i:
        old = code.load(h, code.op("iadd", code.op("imul", t, whole(n)), i))
        at = code.op("iadd", code.op("imul", code.op("iadd", t, whole(lag)), whole(n)), i)
        code.store(h, at, code.op("add", old, code.real(1.0)))
    with code.loop(whole(0), whole(3)) as block:
        first = code.op("imul", block, whole(128))
        last = code.op("imin", code.op("iadd", first, whole(128)), whole(steps))
        with code.loop(first, last) as k:
            row = code.op("isub", whole(steps - 1), k) if reverse else k
            at = code.op("imul", code.op("iadd", row, whole(read)), whole(n))
            with code.loop(whole(0), whole(n)) as i:
                code.store(s, i, code.op("add", code.load(s, i), code.load(h, code.op("iadd", at, i))))
    return Kernel("rows", (h, s), (), code.body)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("lag", "read", "fits"), [(1, 0, True), (1, 1, True), (1, 2, False), (2, 2, True), (3, 1, True)])
def test_only_rows_that_are_finished_are_read(lag: int, read: int, fits: bool, reverse: bool):
    kernel = add_rows(lag, reverse, read)
    assert (beside(kernel, ()) is not kernel) == fits


def test_what_is_read_after_it_is_changed_stays_apart():
    """The loop over blocks writes what the steps read."""
    kernel = add_rows(1, False, 0)
    (h, s), (steps, blocks) = kernel.buffers, (x for x in kernel.body if isinstance(x, For))
    swapped = [Store(h, x.index, x.value) if isinstance(x, Store) and x.buffer is s else x for x in walk(blocks.body)]
    inner = next(x for x in walk(blocks.body) if isinstance(x, For) and any(isinstance(y, Store) for y in x.body))
    inner.body[:] = [x for x in swapped if x in inner.body or isinstance(x, Store)]
    assert beside(kernel, ()) is kernel and any(isinstance(x, Load) for x in walk(steps.body))


PROGRAMS = {
    "last": ("h[t] = tanh(W @ h[t-1] + x[t-1]) for t in range(1, T+1)", "sum(h[T]**2)"),
    "every row": ("h[t] = tanh(W @ h[t-1] + x[t-1]) for t in range(1, T+1)", "sum(h**2) + sum(h[T]*h0)"),
    "pairs of rows": ("h[t] = tanh(W @ h[t-1] + x[t-1]) for t in range(1, T+1)", "sum(h[1:T]*h[2:T+1]) + sum(h[0]*h[T])"),
    "two matrices": ("h[t] = tanh(W @ h[t-1])*(V @ x[t-1]) + 0.5*h[t-1] for t in range(1, T+1)", "sum(h[T])"),
    "no function": ("h[t] = 0.9*(W @ h[t-1]) + x[t-1] for t in range(1, T+1)", "sum(h[T]**2)"),
    "backwards": ("h[t] = tanh(W @ h[t-1] + x[T-t]) for t in range(1, T+1)", "sum(h[T]**2) + sum(outer(h[1], h[T])*V)"),
}


@compiled
@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("n", [4, 8, 16])
def test_gradients_as_numpy_for_any_number_of_steps(kind: str, n: int):
    step, loss = PROGRAMS[kind]
    text = f"W : [{n}, {n}]\nV : [{n}, {n}]\nh0 : [{n}]\nx : [T, {n}]\nh[0] = h0\n{step}\nf = {loss} + 0*sum(V)\n"
    model = gl.loads(text)
    one, other = (model.value_and_grad("f", wrt=["W", "V", "h0", "x"], backend=b) for b in ("native", "numpy"))
    few = model.value_and_grad("f", wrt=["W"], backend="native")
    for steps in (3, 128, 255, 256, 300, 1000):
        r = np.random.default_rng(steps)
        data = {k: np.linalg.qr(r.normal(size=(n, n)))[0] for k in "WV"}
        data |= {"h0": r.normal(size=n), "x": r.normal(0, 0.5, (steps, n))}
        (value, slopes), (right, exact) = one(**data), other(**data)
        assert value == pytest.approx(right, rel=1e-11)
        for k in slopes:
            np.testing.assert_allclose(slopes[k], exact[k], rtol=0, atol=1e-10 * max(np.abs(exact[k]).max(), 1e-3))
        np.testing.assert_allclose(few(**data)[1]["W"], exact["W"], rtol=0, atol=1e-10 * np.abs(exact["W"]).max())
        again = one(**data)
        assert again[0] == value and all((again[1][k] == slopes[k]).all() for k in slopes)


def test_what_another_kernel_reads_is_kept():
    """Threads cut a kernel into several ones, which share their buffers."""
    plan = planned(RECURRENT, "loss", WRT, True, T=1000)
    (step,) = plan.steps
    assert isinstance(step, Loops)
    both = changed(plan, steps=(step, changed(step, parts=2)))
    other = joined(both).steps[0]
    assert isinstance(other, Loops) and touched(step, Store) <= touched(other, Store)
