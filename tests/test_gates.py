"""Calls that go straight to their machine code: what they take and give, and everything that they leave to the checks."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import gradlang as gl
from gradlang.once import once
from gradlang.runtime import native
from gradlang.runtime.call import Compiled
from gradlang.runtime.native import gate as gates
from gradlang.runtime.native.vectorcall import pair
from gradlang.runtime.seen import Seen

WHY = native.available()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
X = np.array([0.1, -0.2, 0.3, 0.5])
W = np.array([1.0, 2.0, 3.0, 4.0])


def wanted(x, w=(3, 4, 5, 6), a=2.0):
    return np.sum(np.asarray(w) * np.exp(a * np.asarray(x)))


def opened(text="x : [N]\ninput w : [N]\ninput a\ny = sum(w*exp(a*x))\n", dtype="float64", **given):
    """A function with a gate, and the same from before it was called."""
    f = gl.loads(text, dtype=dtype).value_and_grad("y", backend="native")
    given = given or {"x": X, "w": W, "a": 2.0}
    for _ in range(2):
        f(**given)
    return f


def has_gate(f):
    return type(f) is pair(Compiled).open


def told(f, monkeypatch):
    """Counts the calls that go to the checks."""
    count = []
    before = Compiled.__call__
    monkeypatch.setattr(Compiled, "__call__", lambda self, *args, **values: count.append(1) or before(self, *args, **values))
    return count


def close(got, x, w=W, a=2.0):
    value, slopes = got
    e = np.asarray(w) * np.exp(a * np.asarray(x))
    np.testing.assert_allclose(value, e.sum(), rtol=1e-14)
    np.testing.assert_allclose(slopes["x"], a * e, rtol=1e-14)
    np.testing.assert_allclose(slopes["a"], np.sum(e * x), rtol=1e-13)


CALLS = {
    "keywords": lambda f, x: f(x=x, w=W, a=2.0),
    "keywords in another order": lambda f, x: f(a=2.0, w=W, x=x),
    "a dict": lambda f, x: f({"x": x, "w": W, "a": 2.0}),
    "a dict in another order": lambda f, x: f({"a": 2.0, "x": x, "w": W}),
    "words that are made": lambda f, x: f(**{"".join(["x"]): x, bytes([119]).decode(): W, str(b"a", "ascii"): 2.0}),
    "a number of NumPy": lambda f, x: f(x=x, w=W, a=np.float64(2.0)),
}
CHECKED = {
    "a list": lambda f, x: f(x=list(x), w=W, a=2.0),
    "an int": lambda f, x: f(x=x, w=W, a=2),
    "a dict and a keyword": lambda f, x: f({"x": x, "w": W}, a=2.0),
    "strides": lambda f, x: f(x=np.repeat(x, 2)[::2], w=W, a=2.0),
    "another dtype": lambda f, x: f(x=x, w=W.astype(np.int64), a=2.0),
    "another byte order": lambda f, x: f(x=x.astype(">f8"), w=W, a=2.0),
    "not aligned": lambda f, x: f(x=unaligned(x), w=W, a=2.0),
    "a class of its own": lambda f, x: f(x=x.view(Own), w=W, a=2.0),
    "a mapping": lambda f, x: f(Mapped({"x": x, "w": W, "a": 2.0})),
}


class Own(np.ndarray):
    pass


class Mapped(dict):
    pass


def unaligned(x):
    raw = np.zeros(8 * len(x) + 1, np.uint8)
    made = raw[1:].view("f8")
    made[:] = x
    return made


@pytest.mark.parametrize("name", [*CALLS, *CHECKED])
def test_calls(name, monkeypatch):
    f = opened()
    assert has_gate(f)
    count = told(f, monkeypatch)
    for x in (X, X + 1):
        close((CALLS | CHECKED)[name](f, x), x)
    assert bool(count) == (name in CHECKED)


def test_results_are_new():
    f = opened()
    one, two = f(x=X, w=W, a=2.0), f(x=X, w=W, a=2.0)
    assert one[1]["x"] is not two[1]["x"] and not np.shares_memory(one[1]["x"], two[1]["x"])
    assert type(one[0]) is float and type(one[1]["a"]) is float


def test_other_shapes(monkeypatch):
    f = opened()
    longer = np.linspace(0, 1, 7)
    for _ in range(3):
        close(f(x=longer, w=longer, a=1.0), longer, longer, 1.0)
        close(f(x=X, w=W, a=2.0), X)
    count = told(f, monkeypatch)
    for _ in range(4):  # the first is checked, the second made a step of, and then there is a gate for this shape
        close(f(x=longer, w=longer, a=1.0), longer, longer, 1.0)
    assert len(count) == 2
    for bad in (longer[:, None], X.reshape(2, 2)):
        with pytest.raises(gl.InputError):
            f(x=bad, w=W, a=2.0)
    with pytest.raises(gl.InputError):
        f(x=X, w=longer, a=2.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f(x=X, w=W),
        lambda f: f(x=X, w=W, a=2.0, b=1.0),
        lambda f: f(x=X, w=W, a=None),
        lambda f: f({"x": X, "w": W, 1: 2.0}),
        lambda f: f({"x": X, "w": W, "a": 2.0}, a=3.0, c=1),
        lambda f: f(),
    ],
)
def test_errors_are_those_of_the_checks(call):
    fresh = gl.loads("x : [N]\ninput w : [N]\ninput a\ny = sum(w*exp(a*x))\n").value_and_grad("y", backend="native")
    messages = []
    for f in (fresh, opened()):
        with pytest.raises(gl.InputError) as error:
            call(f)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_defaults():
    f = gl.loads("x : [N]\nw : [N] = [3, 4, 5, 6]\ny = sum(w*exp(x))\n").value_and_grad("y", wrt="x", backend="native")
    for x in (X, X + 1, X + 2, X + 3):
        np.testing.assert_allclose(f(x=x)[0], wanted(x, a=1.0), rtol=1e-14)
    assert has_gate(f)
    for w in (W, W + 1, W + 2):
        np.testing.assert_allclose(f(x=X, w=w)[0], wanted(X, w, 1.0), rtol=1e-14)
        np.testing.assert_allclose(f(x=X)[0], wanted(X, a=1.0), rtol=1e-14)


def test_arguments_beyond_a_limit(monkeypatch):
    """The code gives up, NumPy runs, and there is no gate for such calls any more."""
    text = "x : [N]\ny = sum(sin(x))\n"
    f = opened(text, x=X)
    assert has_gate(f)
    far = np.array([1e30, 1.0, 2.0, 3.0])
    for _ in range(3):
        np.testing.assert_allclose(f(x=far)[0], np.sin(far).sum(), rtol=1e-14)
    assert not has_gate(f)
    np.testing.assert_allclose(f(x=X)[0], np.sin(X).sum(), rtol=1e-14)


def test_single_precision():
    f = opened(dtype="float32", x=X.astype("f4"), w=W.astype("f4"), a=2.0)
    assert has_gate(f)
    for a in (2.0, np.float32(2.0)):
        value, slopes = f(x=X.astype("f4"), w=W.astype("f4"), a=a)
        np.testing.assert_allclose(value, wanted(X, W), rtol=1e-6)
        assert slopes["x"].dtype == np.float32


def test_matrices_and_truth_values():
    text = "A : [I, J]\ninput k : bool[I]\ny = sum(where(k[:, None], A**2, A))\n"
    a, k = np.arange(6.0).reshape(2, 3), np.array([True, False])
    f = gl.loads(text).value_and_grad("y", wrt="A", backend="native")
    for _ in range(4):
        assert f(A=a, k=k)[0] == 17.0
    assert f(A=a.T.copy().T, k=k)[0] == 17.0  # not in C order
    with pytest.raises(gl.InputError):
        f(A=a.T, k=k)


def test_arrays_of_the_caller():
    f = opened("x : [N]\ny = sum(exp(x))\n", x=X)
    out = {"x": np.empty(4)}
    made = f(x=X, out=out)
    assert made[1] is out
    np.testing.assert_allclose(out["x"], np.exp(X), rtol=1e-15)


def test_references_are_given_back():
    """Of objects that nothing else in this process holds: names, too, are shared, and old garbage lets go of them at any time."""
    f = gl.loads("held : [N]\ny = sum(exp(2*held))\n").value_and_grad("y", backend="native")
    name, x = next(iter(f(held=X)[1])), X.copy()
    given = {name: x}
    f(held=x)
    assert has_gate(f)
    gc.collect()
    held = [sys.getrefcount(o) for o in (x, given, name)]
    for _ in range(200):
        f(held=x)
        f(given)
        f(held=list(x))
    gc.collect()
    assert [sys.getrefcount(o) for o in (x, given, name)] == held


def test_a_function_is_let_go():
    f = opened()
    assert has_gate(f)
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def test_a_call_that_outlives_its_name():
    f = opened()
    call, known = f.__call__, weakref.ref(f)
    assert has_gate(f)
    del f
    gc.collect()
    for _ in range(3):
        for x, w in ((X, W), (X[:2], W[:2])):
            close(call(x=x, w=w, a=2.0), x, w)
    with pytest.raises(gl.InputError, match="a value is missing"):
        call(x=X, a=2.0)
    with pytest.raises(TypeError, match=r"Compiled.__call__\(\) takes"):
        call(X, W)
    del call
    gc.collect()
    assert known() is None


def test_copies_by_pickle():
    f = pickle.loads(pickle.dumps(opened()))
    assert isinstance(f, Compiled) and not has_gate(f)
    close(f(x=X, w=W, a=2.0), X)


def test_another_thread_calls_while_a_gate_is_made(monkeypatch):
    """The gate runs the code for its own shapes, not that of the last call."""
    f, follow = opened(x=X[:2], w=W[:2], a=2.0), Seen.follow

    def interrupted(self, step):
        follow(self, step)
        thread = threading.Thread(target=lambda: f.raw(X[:2], W[:2], np.float64(2.0)))
        thread.start()
        thread.join()

    for _ in range(2):
        monkeypatch.setattr(Seen, "follow", interrupted)
        close(f(x=X, w=W, a=2.0), X)
    monkeypatch.undo()
    assert has_gate(f)
    close(f(x=X, w=W, a=2.0), X)


FIRST = """
import gc, sys, threading
import numpy as np
import gradlang as gl

def work(k):
    text = f"x : [N]\\ny = sum(sin(x)*{k + 1})" if k % 2 else f"input x\\ny = sin(x)*{k + 1}"
    f = gl.loads(text).value_and_grad(backend="native")
    together.wait()
    x = np.ones(k) if k % 2 else 1.0
    for _ in range(4):
        f(x=x)
    made.append((f, x, np.sum(np.sin(x))*(k + 1)))

together, made = threading.Barrier(6), []
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
for t in threads:
    t.start()
for t in threads:
    t.join()
gc.collect()
junk = [bytes(200) for _ in range(10_000)], [np.ones(5000) for _ in range(300)]
for f, x, wanted in made:
    for given in (x, np.float64(x) if np.ndim(x) == 0 else list(x)):
        assert np.isclose(f(x=given)[0], wanted) and np.isclose(f({"x": given})[0], wanted)
print(len(made))
"""


def test_the_first_calls_of_a_process_may_come_from_several_threads():
    """What all functions share is made once: it goes away with the last one who knows it."""
    environment = {**os.environ, "GRADLANG_CACHE": "off"}
    done = subprocess.run([sys.executable, "-c", FIRST], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "6"), done.stderr


def test_what_is_made_once_is_made_by_one_thread():
    together, count, got = threading.Barrier(4), [], []

    @once
    def made(number):
        count.append(number)
        time.sleep(0.01)
        return [number]

    def ask():
        together.wait()
        got.append(made(2))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert count == [2] and all(g is got[0] for g in got)
    made.cache_clear()
    assert made(2) is not got[0] and made.__name__ == "made"


def test_threads_of_other_shapes():
    sizes, wrong = (2, 3, 17, 40), []
    given = [{"x": np.linspace(-1, 1, n), "w": np.arange(1.0, n + 1), "a": 2.0} for n in sizes]
    right = [wanted(**d) for d in given]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            f = opened()
            threads = [threading.Thread(target=work, args=(f, given, right, k, wrong)) for k in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def work(f, given, right, k, wrong):
    """Calls with one set of shapes after the other, some of them several times."""
    try:
        for i in range(60):
            j = (k + i // (k + 1)) % len(given)
            value = f(given[j])[0]
            if not np.isclose(value, right[j], rtol=1e-12):
                wrong.append((j, value))
    except BaseException as error:
        wrong.append(error)


def test_threads():
    f, wrong = opened(), []

    def work(k):
        for _ in range(200):
            value = f(x=X + k, w=W, a=2.0)[0] if k % 2 else f({"x": X[:2] + k, "w": W[:2], "a": 2.0})[0]
            if not np.isclose(value, wanted(X + k, W) if k % 2 else wanted(X[:2] + k, W[:2]), rtol=1e-13):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_without_gates(monkeypatch):
    monkeypatch.setattr(gates, "library", lambda base, ask: None)
    f = opened()
    assert not has_gate(f)
    close(f(x=X, w=W, a=2.0), X)


def test_numbers_between_library_calls_are_those_of_numpy(monkeypatch):
    """There Python's would raise where NumPy's do not."""
    r = np.random.default_rng(1)
    a = r.normal(size=(60, 60))
    f = gl.loads("A : [N, N]\ninput c\ny = sum(A @ A)/c\n").function("y", backend="native")
    for _ in range(4):
        assert np.isinf(f(A=a, c=0.0))
