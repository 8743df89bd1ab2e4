"""Loops that run in parts: the same bits on any number of threads, what may be parted, and what threads do when things fail."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_native_programs
import test_random_language
import test_random_loops
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native_programs import leaves, same

import gradlang as gl
from gradlang.plan import parts as cutting
from gradlang.runtime import sizes
from gradlang.runtime.native import available, program
from gradlang.runtime.native import parts as running

WHY = available()
native = pytest.mark.skipif(WHY is not None, reason=str(WHY))
LOGISTIC = "X : [N, D]\ny : [N]\nw : [D]\nb : []\nloss = mean(softplus(-y*(X@w + b)))"
FORMULA = "x : [N]\na : []\nb : []\nloss = sum(tanh(a*x + b)*sigmoid(x)*exp(-x*x))"
GATHER = "x : [N]\np : int[M]\nloss = sum(sin(x[p[i]]) for i in range(M))"
SOFTMAX = "Z : [N, K]\nt : int[N]\nloss = mean(logsumexp(Z[i]) - Z[i, t[i]] for i in range(N))"
RNG = np.random.default_rng(41)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "rows": (LOGISTIC, {"X": RNG.normal(size=(9000, 20)), "y": RNG.normal(size=9000), "w": RNG.normal(size=20), "b": 0.1}),
    "entries": (FORMULA, {"x": RNG.normal(size=40_000), "a": 1.3, "b": -0.2}),
    "places": (GATHER, {"x": RNG.normal(size=30), "p": RNG.integers(-30, 30, 150_000)}),
    "classes": (SOFTMAX, {"Z": RNG.normal(size=(20_000, 12)), "t": RNG.integers(0, 12, 20_000)}),
    "largest": ("x : [N]\nloss = max(x*x) + min(sin(x)) + sum(x > 0.5)", {"x": RNG.normal(size=90_000)}),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short loops run in parts too."""
    for name, number in {"PIECE": 0.4, "COPIED": 1e9, "EVEN": 1, "MOST": 5}.items():
        monkeypatch.setattr(cutting, name, number)


def cut(f: Any) -> list[int]:
    """How many parts the loops of the last call had."""
    f = getattr(f, "compiled", f)
    return [s.parts for s in f.raw.last.plan.steps if getattr(s, "parts", 0)]


def identical(a: Any, b: Any) -> bool:
    return [np.asarray(v).tobytes() for v in leaves(a)] == [np.asarray(v).tobytes() for v in leaves(b)]


# ------------------------------------------------------------------ the same bits
@native
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_number_of_threads_gives_the_same_bits(case: str, dtype: str) -> None:
    text, values = CASES[case]
    model = gl.loads(text, dtype=dtype)
    one = model.value_and_grad(backend="native")(values)
    made = {n: model.value_and_grad(backend="native", threads=n) for n in (2, 3, 8)}
    first = made[2](values)
    same(first, one, 5000 * float(np.finfo(dtype).eps))  # sums of 100,000 numbers in another order
    for f in made.values():
        for _ in range(5):
            assert identical(f(values), first)
        assert min(cut(f)) > 1


@native
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("length", [5, 300])
@given(text=st.one_of(test_random_loops.comprehensions(), test_random_loops.recurrences()), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, **test_random_loops.QUIET)
def test_parts_of_random_loops_may_run_in_any_order(text: test_random_loops.Text, seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    at = {"x": rng.uniform(-1, 1, length), "z": rng.uniform(-1, 1, length), "A": rng.uniform(-1, 1, (length, 3)), "a": 0.3}
    model = gl.loads(text.program() + "\n", "random")
    values = {n: v for n, v in {**at, "p": rng.integers(0, length, length)}.items() if n in model.inputs}
    u = rng.uniform(-1, 1, np.shape(model.function("y")(values)))
    in_any_order(model, lambda f: f.vjp("y", wrt=[*at], backend="native", threads=2), (u, values))
    in_any_order(model, lambda f: f.jvp("y", wrt=[*at], backend="native", threads=2), (at, values))


@native
@pytest.mark.usefixtures("small")
@given(text=test_random_language.programs, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, **test_random_loops.QUIET)
def test_parts_of_random_programs_may_run_in_any_order(text: str, seed: int) -> None:
    model, at = gl.loads(text), test_random_language.point(seed)
    values = {n: v for n, v in at.items() if n in model.inputs}
    names = list(test_random_language.LEAVES)
    in_any_order(model, lambda f: f.value_and_grad("y", wrt=names, backend="native", threads=2), (values,))


@native
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("text", "values"),
    [(c[1], c[3]) for c in test_native_programs.LOOPS],
    ids=[c[0] for c in test_native_programs.LOOPS],
)
def test_parts_of_loops_may_run_in_any_order(text: str, values: dict[str, Any]) -> None:
    in_any_order(gl.loads(text), lambda f: f.function("y", backend="native", threads=2), (values,))
    names = [n for n, v in values.items() if np.asarray(v).dtype.kind == "f"]
    value = gl.loads(text).function("y", backend="numpy")(values)
    if names and np.asarray(value).dtype.kind == "f":
        u = np.random.default_rng(3).uniform(-1, 1, np.shape(value))
        in_any_order(gl.loads(text), lambda f: f.vjp("y", wrt=names, backend="native", threads=2), (u, values))


def in_any_order(model: gl.Model, make: Callable[[gl.Model], Any], args: tuple[Any, ...]) -> None:
    """The parts one after the other, forwards and backwards, with spoiled memory; and all at once, which is near it."""
    found = []
    for way in (range, lambda count: reversed(range(count))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program, "run_parts", lambda threads, run, count, way=way: [run(k) for k in way(count)])
            patch.setattr(program, "rooms", spoiled)
            found.append(make(pickle.loads(pickle.dumps(model)))(*args))
    assert identical(*found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PIECE", 1e30)
        whole = make(pickle.loads(pickle.dumps(model)))
        same(found[0], whole(*args))


def spoiled(*given: Any) -> Callable[[], tuple[Any, ...]]:
    """Memory that holds nothing of use."""
    make = sizes.rooms(*given)

    def made() -> tuple[Any, ...]:
        found = make()
        for array in found:
            array[...] = np.nan if array.dtype.kind == "f" else 1
        return found

    return made


@native
def test_short_loops_and_recurrences_are_whole() -> None:
    for text in (
        "x : [N]\ny = sum(sin(x))",
        "x : [N]\nh[0] = x[0]\nh[t] = sin(h[t-1] + x[t]) for t in range(1, N)\ny = h[N-1]",
    ):
        model = gl.loads(text)
        x = RNG.normal(size=100 if "h" not in text else 50_000)
        f = model.function("y", backend="native", threads=4)
        assert identical(f(x=x), model.function("y", backend="native")(x=x))
        assert cut(f) == []


# ------------------------------------------------------------------ threads
@native
def test_callers_on_several_threads_share_the_helpers() -> None:
    text, values = CASES["rows"]
    f = gl.loads(text).value_and_grad(backend="native", threads=3)
    wanted = f(values)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(40):
                assert identical(f(values), wanted)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


@native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_child_of_a_fork_has_helpers_of_its_own() -> None:
    text, values = CASES["entries"]
    f = gl.loads(text).value_and_grad(backend="native", threads=2)
    wanted = f(values)
    before = running.helpers
    assert before.count > 0
    child = os.fork()
    if not child:
        right = identical(f(values), wanted) and running.helpers is not before and running.helpers.count == 1
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert identical(f(values), wanted)


@native
def test_pickled_functions_and_models_keep_their_threads() -> None:
    text, values = CASES["entries"]
    program_ = gl.loads(text).program
    model = pickle.loads(pickle.dumps(gl.Model(program_, backend="native", threads=2)))
    f = model.value_and_grad()
    again = pickle.loads(pickle.dumps(f))
    assert identical(f(values), again(values))
    assert cut(f) == cut(again) != []
    alone = model.value_and_grad(threads=1)
    alone(values)
    assert cut(alone) == []


@pytest.mark.parametrize("count", [1, 2, 16])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_part_is_run_once(threads: int, count: int) -> None:
    for _ in range(50):
        seen: list[int] = []
        running.run_parts(threads, seen.append, count)
        assert sorted(seen) == list(range(count))


def test_errors_of_parts_are_raised_when_nobody_works_any_more() -> None:
    class Trouble(Exception):
        pass

    active = [0]
    begun = threading.Event()

    def run(part: int, who: str) -> None:
        active[0] += 1
        try:
            helper = threading.current_thread().name == "gradlang"
            if helper:
                begun.set()
            elif not begun.wait(10):
                raise AssertionError("no helper came")
            if (who == "helper") == helper:
                raise Trouble(part)
        finally:
            active[0] -= 1

    for who in ("caller", "helper"):
        begun.clear()
        with pytest.raises(Trouble):
            running.run_parts(2, lambda part, who=who: run(part, who), 8)
        assert active == [0]
    running.run_parts(2, lambda part: None, 8)


def test_an_interrupt_waits_for_the_helpers() -> None:
    """What they write to belongs to the call."""
    begun, go_on, log = threading.Event(), threading.Event(), list[str]()

    def run(part: int) -> None:
        if threading.current_thread().name == "gradlang":
            begun.set()
            go_on.wait(10)
            log.append("helped")
        else:
            begun.wait(10)
            threading.Timer(0.05, go_on.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.run_parts(2, run, 2)
    assert log == ["helped"]


def test_a_system_without_threads_runs_everything_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(running, "helpers", running.Helpers())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen: list[int] = []
    running.run_parts(4, seen.append, 6)
    assert seen == list(range(6))


@native
def test_long_kernels_let_others_run() -> None:
    """They say how long they take, and release the interpreter."""
    f = gl.loads("x : [N]\ny = sum(sin(x))").function("y", backend="native")
    works = []
    for n in (10, 1_000_000):
        f(x=np.zeros(n))
        works.append(f.raw.last.plan.steps[0].work)
    assert works[0] < 1000 and works[1] > 500_000
    assert str(works[1]) in f.raw.last.driver.source


# ------------------------------------------------------------------ what is asked for
@pytest.mark.parametrize("bad", [0, -1, 1.0, True, "2"])
def test_a_number_of_threads(bad: Any) -> None:
    model = gl.loads("x : [N]\ny = sum(x)")
    with pytest.raises(gl.InputError, match="`threads` is a whole number from 1 on"):
        model.value_and_grad(threads=bad)
    with pytest.raises(gl.InputError, match="`threads` is a whole number from 1 on"):
        gl.Model(model.program, threads=bad)


def test_every_function_takes_threads() -> None:
    model = gl.loads("x : [N]\ny = sum(x**3)")
    x = np.array([1.0, 2.0])
    assert model.function("y", threads=2)(x=x) == 9.0
    assert model.value_and_grad(threads=2)(x=x)[1]["x"].tolist() == [3.0, 12.0]
    assert model.vjp(wrt="x", threads=2)(1.0, x=x)[1].tolist() == [3.0, 12.0]
    assert model.jvp(wrt="x", threads=2)(x, x=x)[1] == 27.0
    assert model.hvp(wrt="x", threads=2)(x, x=x)[1].tolist() == [6.0, 24.0]
    assert model.jacobian(wrt="x", threads=2)(x=x).tolist() == [3.0, 12.0]
    assert model.hessian(wrt="x", threads=2)(x=x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
