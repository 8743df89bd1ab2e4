"""Long kernels as several functions: with very short pieces programs give what NumPy gives, and no function of a text is long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from large import lines_run

import gradlang as gl
from gradlang import pipeline
from gradlang.backend import llvm_parts, pieces
from gradlang.backend.pieces import Division
from gradlang.loops.ir import Buffer, Code, For, Kernel, Load, Run, Store
from gradlang.loops.walk import statements
from gradlang.ops.table import builtin
from gradlang.plan.joined import joined
from gradlang.plan.plan import Loops, Plan, plan
from gradlang.runtime import native

needs_native = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))


def chain(body: str, head: str = "x : [N]\nC0 = x\n", end: str = "y = sum(C{n})\n") -> Callable[[int], str]:
    return lambda n: head + "".join(body.replace("$", str(k)).replace("#", str(k + 1)) for k in range(n)) + end.format(n=n)


def scans(n: int) -> str:
    steps = "".join(f"h{k}[0] = 0\nh{k}[t+1] = tanh(h{k}[t] + x[t]*{k}.5) for t in range(N)\n" for k in range(n))
    return f"x : [N]\n{steps}y = {' + '.join(f'h{k}[N]' for k in range(n))}\n"


def apart(n: int) -> str:
    return "".join(f"a{k} : [N]\n" for k in range(n)) + "y = " + " + ".join(f"sum(a{k}**2)*a{k}[0]" for k in range(n)) + "\n"


PROGRAMS = {
    "one loop": chain("C# = sin(C$)*x + C$/(1 + x**2)\n"),
    "loops and numbers": chain("C# = C$/sum(C$**2) + mean(C$)\n"),
    "choices": chain("C# = where(C$ > 0, C$*x, exp(C$))\n"),
    "truth values kept": chain("b$ = C$ > x\nC# = where(b$, C$*x, 2*x)*where(b$, 1, x)\n"),
    "gathers": chain("C# = C$[i]*x\n", "x : [N]\ninput i : int[N]\nC0 = x\n"),
    "rows": chain("C# = tanh(C$ @ A)\n", "x : [N]\nA : [N, N]\nC0 = x\n"),
    "matrices": chain("C# = tanh(C$ @ x)\n", "x : [N, N]\nC0 = x\n"),
    "slices": chain("C# = C$*(1 + x)\nD# = sum(C#[1:] - C#[:-1]*$.5)\n", end="y = sum(C{n}) + D{n}*D1\n"),
    "recurrences": scans,
    "many arrays": apart,
    "numbers": chain("c# = sin(c$)*a + c$\n", "a = 0.5\nx : [N]\nc0 = a\n", "y = c{n}*sum(x)\n"),
    "softmax of rows": chain("C# = softmax(C$ + x)*C$\n", "x : [N, 5]\nC0 = x\n"),
}


def given(model: gl.Model, n: int) -> dict[str, Any]:
    r = np.random.default_rng(n)
    values: dict[str, Any] = {}
    for leaf in model.program.callable_leaves():
        shape = tuple(d if isinstance(d, int) else n for d in leaf.type.shape)
        if leaf.type.dtype == "int":
            values[leaf.name] = r.integers(0, n, shape)
        elif shape:
            values[leaf.name] = r.normal(size=shape) * 0.3
    return values


@needs_native
@pytest.mark.parametrize("kind", ["value_and_grad", "hvp"])
@pytest.mark.parametrize("longest, piece", [(20, 10), (70, 35)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_pieces_give_what_the_whole_gives(
    name: str, longest: int, piece: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llvm_parts, "LONG", longest)
    monkeypatch.setattr(llvm_parts, "STEP", longest)
    monkeypatch.setattr(llvm_parts, "PIECE", piece)
    monkeypatch.setattr(pieces, "PIECE", piece)
    model = gl.loads(PROGRAMS[name](6))
    for n in (2, 9, 40):
        values = given(model, n)
        wrt = [k for k, v in values.items() if v.dtype == float]
        vectors = [{k: values[k] for k in wrt}] if kind == "hvp" else []
        fast, slow = (getattr(model, kind)("y", wrt=wrt, backend=b)(*vectors, **values) for b in ("native", "numpy"))
        compare(fast, slow)


def compare(fast: Any, slow: Any) -> None:
    if isinstance(slow, tuple):
        for a, b in zip(fast, slow, strict=True):
            compare(a, b)
    elif isinstance(slow, dict):
        assert list(fast) == list(slow)
        for k in slow:
            compare(fast[k], slow[k])
    else:
        np.testing.assert_allclose(fast, slow, rtol=1e-11, atol=1e-12 * (1 + float(np.max(np.abs(slow), initial=0.0))))


def planned(text: str, n: int) -> Plan:
    program = gl.loads(text).program
    goal = pipeline.Goal("grad", ("y",), tuple(program.differentiable()))
    job = pipeline.plan(program, goal, program.language, "a test", native=True)
    return plan(job.tape, builtin(), {"N": n}, {"N"})


def kernels(text: str, n: int = 700) -> list[Kernel]:
    return [s.kernel for s in joined(planned(text, n)).steps if isinstance(s, Loops)]


@pytest.mark.parametrize(
    "name, count", [("loops and numbers", 150), ("recurrences", 90), ("many arrays", 400), ("one loop", 400)]
)
def test_no_function_is_long(name: str, count: int) -> None:
    (whole,) = kernels(PROGRAMS[name](count))
    made, parts = llvm_parts.in_parts(whole)
    assert pieces.length(whole.body) > llvm_parts.LONG and len(parts) > 2
    assert (made.name, made.buffers, made.sizes, made.numbers) == (whole.name, whole.buffers, whole.sizes, whole.numbers)
    for k in (made, *parts):
        assert pieces.length(k.body) < llvm_parts.LONG
    assert {s.kernel for k in (made, *parts) for s in statements(k.body) if isinstance(s, Run)} == set(parts)


def test_short_kernels_stay_as_they_are() -> None:
    (whole,) = kernels(PROGRAMS["loops and numbers"](5))
    assert llvm_parts.in_parts(whole) == (whole, [])


def test_room_that_every_step_uses_keeps_the_pieces_of_a_step_together() -> None:
    """A row that a step makes for itself lies at the same place in every step; an entry for each step does not."""
    code = Code()
    x, row = Buffer("x", "f"), Buffer("row", "f", True)
    with code.loop(code.whole(0), code.whole(9)) as i:
        own = code.op("iadd", i, code.whole(3))
        code.store(row, own, code.load(x, i))
        code.store(row, own, code.op("add", code.load(row, own), code.real(1.0)))
    (mine,) = code.body
    assert isinstance(mine, For)
    assert Division(mine.body, mine, 2).each_its_own()
    code = Code()
    with code.loop(code.whole(0), code.whole(9)) as i:
        code.store(row, code.whole(3), code.load(x, i))
        code.store(x, i, code.load(row, code.whole(3)))
    (shared,) = code.body
    assert isinstance(shared, For)
    assert not Division(shared.body, shared, 2).each_its_own()


@pytest.mark.parametrize("name", ["one loop", "truth values kept"])
def test_steps_in_pieces_have_few_accesses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM would make no vectors of them."""
    monkeypatch.setattr(llvm_parts, "LONG", 1000)
    monkeypatch.setattr(llvm_parts, "STEP", 1000)
    (whole,) = kernels(PROGRAMS[name](120))
    _, parts = llvm_parts.in_parts(whole)
    loops = [s for k in parts for s in k.body if isinstance(s, For)]
    assert len(loops) > 3
    for loop in loops:
        kept = sum(isinstance(s, Load | Store) for s in statements(loop.body))
        assert kept <= llvm_parts.ACCESSES and loop.apart


@pytest.mark.parametrize("name", ["loops and numbers", "recurrences", "many arrays"])
def test_the_work_of_planning_grows_in_proportion(name: str) -> None:
    few, many = (lines_run("plan|loops", lambda n=n: joined(planned(PROGRAMS[name](n), 50))) for n in (20, 80))
    assert many < 5 * few
