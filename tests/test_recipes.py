"""Calls whose arrays and results machine code makes: they are those of the driver in Python, and hold nothing back."""

from __future__ import annotations

import ast
import copy
import gc
import inspect
import pickle
import pydoc
import sys
import threading
import weakref

import numpy as np
import pytest

import gradlang as gl
from gradlang.backend.llvm_recipe import CALL
from gradlang.runtime import native
from gradlang.runtime.call import Compiled
from gradlang.runtime.native import vectorcall
from gradlang.runtime.native.recipe import Reader, Unfit, recipe
from gradlang.runtime.native.vectorcall import pair

WHY = native.available()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
R = np.random.default_rng(5)
X, Y, A = R.normal(size=7), R.normal(size=5), R.normal(size=(5, 5)) + 5 * np.eye(5)
WEIGHTED = "x : [N]\ninput w : [N]\ninput a\ny = sum(w*exp(a*x))\n"
RECURRENCE = "x : [T]\nh[0] = 0.5\nh[t] = tanh(h[t-1]*x[t-1]) for t in range(1, T+1)\ny = h[T]**2\n"
PROGRAMS = {  # text, what is compiled, arguments
    "a number": ("x : [N]\ny = sum(x*x)\n", ("function", "y"), {"x": X}),
    "an array": ("x : [N]\ny = x*x\n", ("function", "y"), {"x": X}),
    "a pair": ("x : [N]\ny = sum(x*x)\n", ("value_and_grad", "y"), {"x": X}),
    "several gradients": (WEIGHTED, ("value_and_grad", "y"), {"x": X, "w": X + 1, "a": 2.0}),
    "an array and a number": (WEIGHTED, ("jacobian", "y"), {"x": X, "w": X + 1, "a": 2.0}),
    "copies": ("x : [N]\nz : [N]\ny = sum(x*z)\n", ("value_and_grad", "y"), {"x": X, "z": X + 1}),
    "the same twice": ("x : [N]\nz : [N]\ny = sum(cos(x + z))\n", ("value_and_grad", "y"), {"x": X, "z": X + 1}),
    "dicts in dicts": ("x : [N]\nz : [M]\ny = sum(x**3)*sum(z**2)\n", ("hessian", "y"), {"x": X, "z": Y}),
    "a flag": ("x : [N]\ny = sum(sin(x))\n", ("value_and_grad", "y"), {"x": X}),
    "rooms": ("A : [N, N]\nb : [N]\ny = sum(solve(A, b)**2)\n", ("value_and_grad", "y"), {"A": A, "b": Y}),
    "a recurrence": (RECURRENCE, ("value_and_grad", "y"), {"x": X}),
    "an array of the program": ("x : [5]\ny = sum(x**2*[1, 2, 4, 8, 16])\n", ("value_and_grad", "y"), {"x": Y}),
    "whole numbers": ("x : [N]\nk : int[M]\ny = sum(x[k]**2)\n", ("value_and_grad", "y"), {"x": X, "k": np.array([1, 4])}),
    "no axes of length one": ("A : [N, M]\ny = sum(A**2)\n", ("value_and_grad", "y"), {"A": A[:, :1].copy()}),
    "no array": ("x : [N]\ny = x[0]*x[1]\n", ("function", "y"), {"x": X}),
}


def compiled(name, dtype="float64"):
    text, (kind, what), values = PROGRAMS[name]
    if dtype == "float32":
        values = {k: v.astype("f4") if getattr(v, "dtype", None) == np.float64 else v for k, v in values.items()}
    f = getattr(gl.loads(text, dtype=dtype), kind)(what, backend="native")
    return f, values


def opened(name, dtype="float64"):
    f, values = compiled(name, dtype)
    for _ in range(2):
        f(**values)
    return f, values


def items(f):
    return pair(Compiled).tuple.__get__(f)


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = tuple(one.values()), tuple(other.values())
    if isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.flags.num) == (other.dtype, other.shape, other.flags.num)
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_those_of_the_driver(name, dtype):
    f, values = opened(name, dtype)
    assert type(f) is pair(Compiled).open and type(items(f)[2]) is bytes
    driver = f.raw.last.run
    for _ in range(3):
        same(f(**values), driver(*values.values()))
        same(f(dict(values)), driver(*values.values()))


def parts(result):
    if isinstance(result, (tuple, dict)):
        return [result, *(p for v in (result.values() if isinstance(result, dict) else result) for p in parts(v))]
    return [result]


@pytest.mark.parametrize("name", PROGRAMS)
def test_references_of_results(name):
    """Each part is held as often as in a result of the driver: by what it is in alone."""
    f, values = opened(name)
    made, wanted = f(**values), f.raw.last.run(*values.values())
    gc.collect()
    assert [sys.getrefcount(p) for p in parts(made)] == [sys.getrefcount(p) for p in parts(wanted)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_references_of_what_goes_in(name):
    f, values = opened(name)
    values = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in values.items()}
    arrays = [v for v in values.values() if isinstance(v, np.ndarray)]
    pool = f.raw.last.run.__globals__["pool"]
    f(**values)

    def held():
        gc.collect()
        rooms = [len(pool), *(sys.getrefcount(a) for room in pool for a in room), *map(sys.getrefcount, pool)]
        constants = [sys.getrefcount(c) for c in items(f)[3] if isinstance(c, (np.ndarray, list))]
        return [sys.getrefcount(a) for a in arrays], rooms, constants, sys.getrefcount(items(f)), sys.getrefcount(f)

    before, kinds = held(), sys.getrefcount(np.dtype("float64"))
    for _ in range(300):
        f(**values)
        f(values)
    assert held() == before
    assert abs(sys.getrefcount(np.dtype("float64")) - kinds) < 50


def test_references_when_a_kernel_gives_up():
    f, _ = opened("a flag")
    far, kept = np.full(7, 1e30), items(f)
    call = type(f).__call__
    before = sys.getrefcount(far)
    for _ in range(20):  # the gate closes, and calls of that kind open it no more
        f(x=far)
    assert type(f) is pair(Compiled).roomy
    assert isinstance(f(x=far)[0], float) and call is not Compiled.__call__
    gc.collect()
    assert sys.getrefcount(far) - before <= 1  # the last call that was checked
    alone, other = [kept], [object()]
    del kept
    assert sys.getrefcount(alone[0]) == sys.getrefcount(other[0])


def test_no_room_is_ready():
    """As many calls at once as there are threads: Python makes another room."""
    f, values = opened("rooms")
    wanted, pool = f(**values), f.raw.last.run.__globals__["pool"]
    pool.clear()
    same(f(**values), wanted)
    assert len(pool) == 1
    pool[0] = ("no", "room")
    with pytest.raises(IndexError):
        pool[1]
    same(f(**values), wanted)
    assert all(len(room) > 2 for room in pool)


def test_an_argument_that_is_let_go_during_the_call():
    """The kernel runs beside other threads; the dict may have other values by then."""
    f = gl.loads("x : [N]\ny = sum(exp(sin(x)*cos(x)) + tanh(x))\n").value_and_grad("y", backend="native")
    n = 20_000
    x, wanted = np.full(n, 0.5), None
    for _ in range(3):
        wanted = f(x=x)[0]
    stop, given = threading.Event(), {"x": np.full(n, 0.5)}

    def change():
        while not stop.is_set():
            given["x"] = np.full(n, 0.5)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert all(f(given)[0] == wanted for _ in range(200))
    finally:
        stop.set()
        thread.join()


def test_a_gate_that_changes_during_the_call():
    f = gl.loads("x : [N]\ny = sum(exp(sin(x)*cos(x)) + tanh(x))\n").value_and_grad("y", backend="native")
    short, long = np.full(5000, 0.5), np.full(20_000, 0.5)
    wanted = {len(x): f(x=x)[0] for x in (short, long)}
    wrong = []

    def work(x):
        for _ in range(150):
            if f(x=x)[0] != wanted[len(x)]:
                wrong.append(x)
            vectorcall.closes(f, Compiled)

    threads = [threading.Thread(target=work, args=(x,)) for x in (short, long, short, long)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_interrupts_go_through(monkeypatch):
    """What is no error of the code is told, not asked about again."""
    f, values = opened("a number")
    classes = pair(Compiled)

    def interrupted(*args):
        raise KeyboardInterrupt

    words, _, _, _, *rest = items(f)
    vectorcall.opens(f, classes, classes.address.__get__(f), (words, interrupted, None, None, *rest))
    with pytest.raises(KeyboardInterrupt):
        f(**values)


# ---------------------------------------------------------------- what is no recipe
DRIVER = """def y(x, out=None):
    d = out[0] if out is not None else empty((5,))
    run_k0(d, x, 1)
    return d
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("run_k0(d, x, 1)", "np.exp(x, d)"),
        ("run_k0(d, x, 1)", "run_k0(d, x[0], 1)"),
        ("run_k0(d, x, 1)", "run_k0(d, x=x)"),
        ("run_k0(d, x, 1)", "run_k0(d, elsewhere, 1)"),
        ("run_k0(d, x, 1)", "with np.errstate(all='ignore'):\n        run_k0(d, x, 1)"),
        ("run_k0(d, x, 1)", "d, = run_k0(x, 1)"),
        ("empty((5,))", "zeros((5,))"),
        ("empty((5,))", "empty((5,), order='F')"),
        ("return d", "return x"),
        ("return d", "return np.array(d)"),
        ("return d", "return np.array(empty, order='C')"),
        ("return d", "return np.array(c1, order='C')"),
        ("return d", "return {**d}"),
        (", out=None", ""),
    ],
)
def test_drivers_that_do_more(before, after):
    f, _ = opened("a number")
    scope = {**f.raw.last.run.__globals__}
    Reader(ast.parse(DRIVER).body[0], scope)
    with pytest.raises(Unfit):
        Reader(ast.parse(DRIVER.replace(before, after)).body[0], scope)


def test_a_driver_that_does_more_is_called():
    f = gl.loads("A : [N, N]\nb : [N]\ny = sum(solve(A, b)**2)\n").value_and_grad("y", backend="native")
    a, b = np.eye(200) * 2, np.ones(200)  # so large a system is the library's
    for _ in range(4):
        assert f(A=a, b=b)[0] == 50.0
    assert type(f) is pair(Compiled).open and items(f)[2:4] == (None, None)


def test_a_copy_of_what_is_no_array():
    """Python makes it."""
    f, values = opened("several gradients")
    text = "def y(x, w, a, out=None):\n    return np.array(a, order='C'), np.array(x, order='C')\n"
    scope = {"np": np}
    exec(text, scope)
    words, _, _, _, *rest = items(f)
    found = recipe(text, scope["y"])
    classes = pair(Compiled)
    vectorcall.opens(f, classes, classes.address.__get__(f), (words, scope["y"], *found, *rest))
    same(f(**values), (np.array(2.0), values["x"]))


def test_two_kernels_that_may_give_up():
    """Each has a flag of that name."""
    f, _ = opened("a flag")
    text = DRIVER.replace("    return d", "    flag, = run_k0(x, 1)\n    if flag:\n        return again\n" * 2 + "    return d")
    assert Reader(ast.parse(text).body[0], f.raw.last.run.__globals__).words.count(CALL) >= 3


# ---------------------------------------------------------------- classes
def test_functions_look_as_before():
    fresh, values = compiled("a pair")
    f, _ = opened("a pair")
    assert type(f) is not type(fresh)
    for made in (fresh, f):
        kind = type(made)
        assert isinstance(made, Compiled) and made.__doc__ == Compiled.__doc__ == kind.__doc__
        assert (kind.__name__, kind.__qualname__, kind.__module__) == ("Compiled", "Compiled", "gradlang.runtime.call")
        assert repr(kind) == repr(Compiled)
        assert inspect.signature(made) == inspect.signature(fresh)
        assert "Inputs are keywords" in pydoc.render_doc(made)
        assert callable(made) and hash(made) == hash(made) and made == made and made != 1
        assert not hasattr(made, "__dict__")
        for name in ("tuple", "address", "other"):
            assert not hasattr(made, name)
            with pytest.raises(AttributeError):
                setattr(made, name, 1)
    assert inspect.signature(type(f)) == inspect.signature(Compiled)
    same(f.__call__(**values), fresh(**values))
    same(type(f).__call__(f, **values), fresh(**values))


def test_copies():
    f, values = opened("a pair")
    for other in (copy.copy(f), pickle.loads(pickle.dumps(f))):
        assert type(other) is pair(Compiled).roomy
        same(other(**values), f(**values))


def test_two_classes_are_all():
    """Functions come and go, and leave no class, no tuple and no code behind."""

    def classes():
        gc.collect()
        return sum(isinstance(o, type) and issubclass(o, Compiled) for o in gc.get_objects())

    opened("a pair")
    before, gone = classes(), []
    for _ in range(5):
        f, values = opened("rooms")
        same(f(**values), f.raw.last.run(*values.values()))
        gone += [weakref.ref(f), weakref.ref(f.raw.last)]
    assert classes() == before
    del f
    gc.collect()
    assert not [r for r in gone if r() is not None]


@pytest.mark.parametrize("open", [False, True])
def test_cycles_are_found(open):
    """Through what a function holds by a name, and through the tuple that only machine code sees."""
    f, values = opened("a pair")
    classes = pair(Compiled)
    held = (*items(f), [f])
    if open:
        vectorcall.opens(f, classes, classes.address.__get__(f), held)
        f(**values)
    else:
        f.pick = [f]
    gone = weakref.ref(f)
    del f, held
    assert gone() is not None
    gc.collect()
    assert gone() is None


def test_classes_of_users():
    f, values = opened("a pair")
    mine = type("Mine", (Compiled,), {})(f.job, f.binder, f.artifact, f.native)
    own = type("Own", (pair(Compiled).roomy,), {})(f.job, f.binder, f.artifact, f.native)
    for made in (mine, own):
        kind = type(made)
        for _ in range(4):
            same(made(**values), f(**values))
        assert type(made) is kind
    with pytest.raises(TypeError):
        type("Own", (pair(Compiled).open,), {})


def test_an_object_without_code():
    """Made by hand, of the class that others come to have: there is nothing to call."""
    f, values = opened("a pair")
    with pytest.raises(TypeError):
        type(f)(f.job, f.binder, f.artifact, f.native)(**values)
    other = copy.copy(f)
    vectorcall.pair(Compiled).address.__set__(other, pair(Compiled).address.__get__(f))
    other.__class__ = type(f)
    same(other(**values), f(**values))  # a place without a tuple: the checks are asked


def test_without_such_classes(monkeypatch):
    class Other(Compiled):
        __slots__ = ()

    monkeypatch.setattr(vectorcall, "alike", lambda *args: False)
    assert pair(Other) is None and vectorcall.roomy(Other) is Other
    f, values = compiled("a pair")
    plain = Compiled(f.job, f.binder, f.artifact, f.native)
    for _ in range(4):
        same(plain(**values), f(**values))
    assert type(plain) is Compiled


def test_classes_that_lie_otherwise():
    class Plain:
        __slots__ = ("a",)

    class Weak:
        __slots__ = ("__weakref__", "a")

    class Larger(Plain):
        __slots__ = ("b",)

    assert vectorcall.alike(Plain, type("Same", (Plain,), {"__slots__": ()}), 0)
    assert not vectorcall.alike(Plain, Weak, 8)
    assert vectorcall.alike(Plain, Larger, 8) and not vectorcall.alike(Plain, Larger, 16)
    assert not vectorcall.alike(Plain, type("WithDict", (Plain,), {}), 0)
