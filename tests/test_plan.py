"""Plans: what shares a loop, what is read once, what never leaves a loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.cli import main
from gradlang.loops.ir import For, If, Let, Load, Statement
from gradlang.pipeline import Goal
from gradlang.plan.cost import floats_pay, pays
from gradlang.plan.plan import Library, Loops, Plan, plan

ELEMENTWISE = """x : [N]
a = 0.5
b = 0.1
f = sum(tanh(a*x + b)*sigmoid(x)*exp(-x*x))
"""
LOGISTIC = """X : [N, D]
y : [N]
w : [D]
b = 0.1
loss = mean(softplus(-y*(X@w + b)))
"""
RECURRENT = """W : [16, 16]
U : [16]
h0 : [16]
x : [T]
h[0] = h0
h[t] = tanh(W @ h[t-1] + U*x[t-1]) for t in range(1, T+1)
loss = sum(h[T]**2)
"""
NETWORK = """X : [N, 784]
t : int[N]
W1 : [784, 50]
W2 : [50, 10]
loss = cross_entropy(relu(X@W1)@W2, t)
"""


def planned(text: str, of: str, wrt: Sequence[str], library: bool = True, **sizes: int) -> Plan:
    model = gl.loads(text)
    job = pipeline.plan(model.program, Goal("grad", (of,), tuple(wrt)), model.program.language, "a test", native=True)
    return plan(job.tape, model.program.language.table, sizes, sizes, library)


def walk(body: Sequence[Statement]) -> Iterator[Statement]:
    for s in body:
        yield s
        if isinstance(s, For):
            yield from walk(s.body)
        elif isinstance(s, If):
            yield from walk([*s.then, *s.otherwise])


def kernels(made: Plan) -> list[Loops]:
    return [s for s in made.steps if isinstance(s, Loops)]


def temporaries(step: Loops) -> list[int]:
    return [len(s.shape) for s in step.sources if s.kind == "temp"]


def test_an_elementwise_sum_and_its_gradient_are_one_loop_that_reads_each_entry_once():
    (step,) = kernels(planned(ELEMENTWISE, "f", ["x", "a", "b"], N=1000))
    (loop,) = [s for s in step.kernel.body if isinstance(s, For)]
    assert not any(isinstance(s, For) for s in walk(loop.body))
    assert sum(isinstance(s, Load) for s in walk(loop.body)) == 1
    assert not temporaries(step)


def test_logistic_regression_goes_over_its_rows_once():
    (step,) = kernels(planned(LOGISTIC, "loss", ["w", "b"], N=10_000, D=100))
    outer = [s for s in step.kernel.body if isinstance(s, For) and any(isinstance(i, For) for i in walk(s.body))]
    assert len(outer) == 1  # blocks of rows: product, losses, gradient
    assert all(s.shape == (128,) for s in step.sources if s.kind == "temp")  # nothing of the length of X is kept


def test_a_function_of_a_row_is_called_side_by_side_with_others():
    (step,) = kernels(planned(LOGISTIC, "loss", ["w"], N=10_000, D=100))
    innermost = [s for s in walk(step.kernel.body) if isinstance(s, For) and not any(isinstance(i, For) for i in walk(s.body))]
    calling = [s for s in innermost if any(isinstance(x, Let) and x.op == "call" for x in s.body)]
    assert calling and all(not any(isinstance(x, For) for x in s.body) for s in calling)


def test_short_axes_run_side_by_side_over_blocks():
    text = "X : [N, 30]\ny : [N]\nw : [30]\nloss = mean(softplus(-y*(X@w)))\n"
    (step,) = kernels(planned(text, "loss", ["w"], library=False, N=5000))
    assert any(s.kind == "temp" and s.shape[-1] == 64 for s in step.sources)
    assert not any(s.kind == "temp" and "N" in str(s.shape) for s in step.sources)


def test_large_products_are_the_library_s_and_small_ones_are_loops():
    made = planned(NETWORK, "loss", ["W1", "W2"], N=100)
    ops = [made.tape.instrs[i].op for s in made.steps if isinstance(s, Library) for i in s.instrs]
    assert ops and set(ops) <= {"matmul", "zmatmul"}
    small = "A : [4, 4]\nx : [4]\ny = sum((A @ (A @ x))**2)\n"
    assert all(isinstance(s, Loops) for s in planned(small, "y", ["A", "x"]).steps)


@pytest.mark.parametrize("steps", [100, 1000])
def test_a_recurrence_and_the_gradients_of_small_weights_are_one_call(steps):
    (step,) = planned(RECURRENT, "loss", ["W", "U", "h0"], T=steps).steps
    assert isinstance(step, Loops) and any(isinstance(s, For) and not s.apart for s in step.kernel.body)
    (side,) = (s for s in walk(step.kernel.body) if isinstance(s, For) and s.side)
    assert side.stop.const == 16  # entries of a row of the gradient side by side, summed over the steps of a block
    assert not any(s.kind == "value" and s.shape == ("T", 16) for s in step.sources)


def test_gradients_of_larger_weights_are_one_product_after_the_recurrence():
    made = planned(RECURRENT.replace("16", "80"), "loss", ["W", "U", "h0"], T=1000)
    products = [made.tape.instrs[i] for s in made.steps if isinstance(s, Library) for i in s.instrs]
    assert any(p.type.shape == (80, 80) for p in products)


def test_without_a_library_all_is_loops():
    assert all(isinstance(s, Loops) for s in planned(NETWORK, "loss", ["W1", "W2"], library=False, N=100).steps)


def test_no_gradient_is_made_that_nobody_asked_for():
    made = planned(NETWORK, "loss", ["W2"], N=100)
    shapes = [i.type.shape for i in made.tape.instrs]
    assert (784, 50) not in [i.type.shape for i in made.tape.instrs if i.op != "input"]
    assert shapes


def test_a_recurrence_reads_and_writes_its_sequences_alone():
    """What a step can make of its row by itself is not made before all steps, and no sequence is filled with zeros first."""
    made = planned(RECURRENT, "loss", ("W", "U", "h0"), T=500)
    (loops,) = kernels(made)
    long = [s for s in loops.sources if s.kind == "temp" and not isinstance(s.shape[0], int)]
    assert len(long) == 3  # the states, their slopes, and their cotangents
    steps = [s for s in walk(loops.kernel.body) if isinstance(s, For) and s.stop.const is not None and s.stop.const >= 500]
    assert [s.stop.const for s in steps] == [500, 500]  # forward and backward
    assert [s.stop.const for s in loops.kernel.body if isinstance(s, For) and s.counter.hint == "block"] == [4]  # gradients


def test_what_pays():
    model = gl.loads(ELEMENTWISE)
    tape = pipeline.plan(model.program, Goal("grad", ("f",), ("x",)), model.program.language, "a test", native=True).tape
    assert pays(tape, {"N": 1_000_000}, 1000) and not pays(tape, {"N": 3}, 1)


def test_what_pays_for_numbers():
    """What it depends on is the program and the number of calls alone."""
    model = gl.loads("x = 1\ny = 2\nz = x*y*exp(x*y)")
    tape = model.value_and_grad().job.tape
    assert floats_pay(tape, 1_000_000) and not floats_pay(tape, 1000)
    long = gl.loads("x = 1\n" + "".join(f"a{k} = {f'a{k - 1}' if k else 'x'}*x + {k}\n" for k in range(300)) + "z = a299*x")
    tape = long.value_and_grad("z").job.tape
    assert floats_pay(tape, 100_000) and not floats_pay(tape, 1000)


@pytest.mark.parametrize("text", [ELEMENTWISE, LOGISTIC, RECURRENT, NETWORK])
def test_plans_are_shown(text, tmp_path, capsys):
    (tmp_path / "m.grad").write_text(text)
    assert main(["compile", str(tmp_path / "m.grad"), "--dump", str(tmp_path / "d")]) == 0
    shown = (tmp_path / "d" / "plan.c").read_text()
    assert "void k" in shown and "for (int64_t" in shown and "the input" in shown
    capsys.readouterr()
