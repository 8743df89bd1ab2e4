"""`model.fit`: what a step sees, runs that are continued, what is kept when something goes wrong."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlang as gl
from gradlang.fit.batches import Rows
from gradlang.fit.errors import Diverged
from gradlang.fit.optimizers import RULES
from gradlang.fit.state import State, read_state
from gradlang.fit.training import Watcher

NET = """x : [N, 3]
t : int[N]
param W : [3, 4] = normal(0, 1)
param b : [4] = zeros()
param scale = 1
s = scale*tanh(x @ W + b)
loss = cross_entropy(s, t)
accuracy = mean(1 if argmax(s, axis=1) == t else 0)
minimize loss
output accuracy
"""
LINE = "x : [N]\ny : [N]\nparam a = 0\nparam b = 0\nloss = mean((a*x + b - y)**2)\nminimize loss\n"
# a gradient that tells which rows a step saw: the loss is w times the mean of their numbers
SEEN = "k : [N]\nparam w = 1\nloss = w*mean(k)\nrows = sum(k*0 + 1)\nminimize loss\noutput rows\n"
r = np.random.default_rng(0)
DATA = {"x": r.normal(size=(50, 3)), "t": r.integers(0, 4, 50)}
X = np.linspace(-1, 1, 40)
LINE_DATA = {"x": X, "y": 3 * X - 0.5}


def same(a: Any, b: Any) -> bool:
    return a.params.keys() == b.params.keys() and all(np.array_equal(a.params[n], b.params[n]) for n in a.params)


# ------------------------------------------------------------------ it fits
@pytest.mark.parametrize("name", RULES)
def test_every_optimizer_finds_a_line(name: str) -> None:
    options = {"lr": {"sgd": 0.3, "adagrad": 1.0}.get(name, 0.05), "weight_decay": 0.0}
    made = gl.loads(LINE).fit(LINE_DATA, optimizer=name, steps=1500, **options)
    tol = 0.05 if name in ("rmsprop", "adamw") else 1e-4
    assert made.params["a"] == pytest.approx(3, abs=tol) and made.params["b"] == pytest.approx(-0.5, abs=tol)
    assert made.stopped == "done" and made.value == made.history[-1]["loss"]
    assert [row["step"] for row in made.history] == list(range(1, 1501))


def test_maximize_goes_up() -> None:
    text = LINE.replace("minimize loss", "gain = -loss\nmaximize gain")
    up, down = gl.loads(text).fit(LINE_DATA, steps=20, lr=0.1), gl.loads(LINE).fit(LINE_DATA, steps=20, lr=0.1)
    assert same(up, down)
    assert [r["gain"] for r in up.history] == [-r["loss"] for r in down.history]


def test_ranges_hold_at_every_step() -> None:
    text = LINE.replace("param a = 0", "param a in [-1, 2] = 1").replace("param b = 0", "param b in [0, 1] = 0.5")
    seen: list[dict[str, Any]] = []
    model = gl.loads(text)

    class Look(Watcher):
        def epoch(self, row: Any) -> None:
            seen.append(row)

    made = model.fit(LINE_DATA, optimizer="sgd", lr=0.5, steps=300, watcher=Look())
    assert made.params == {"a": 2.0, "b": 0.0}
    assert len(seen) == 300
    with pytest.warns(UserWarning, match=r"outside its range"):
        made = model.fit(LINE_DATA, optimizer="sgd", lr=1e-300, steps=1, params={"a": 7.0})
    assert made.params == {"a": 2.0, "b": 0.5}


def test_leaves_by_name_and_start_values() -> None:
    model = gl.loads("a = 2\nb = 5\nf = (a - b)**2\nminimize f\n")
    made = model.fit(wrt=["a"], optimizer="sgd", lr=0.25, steps=40)
    assert made.params == {"a": pytest.approx(5, abs=1e-8)}
    made = model.fit({"b": -1}, wrt="a", params={"a": -1.0}, optimizer="sgd", steps=1)
    assert made.params == {"a": -1.0} and made.history == [{"epoch": 1, "step": 1, "f": 0.0}]


def test_some_parameters_stay() -> None:
    model = gl.loads(NET)
    first = model.fit(DATA, steps=1, optimizer="sgd", lr=1e-9).params
    made = model.fit(DATA, wrt="W", steps=5)
    assert list(made.params) == ["W"]
    assert not np.array_equal(made.params["W"], first["W"])


def test_the_seed_makes_the_parameters_and_the_order() -> None:
    model = gl.loads(NET)
    runs = [model.fit(DATA, batch=20, epochs=2, seed=s) for s in (0, 0, 1)]
    assert same(runs[0], runs[1]) and runs[0].history == runs[1].history
    assert not np.array_equal(runs[0].params["W"], runs[2].params["W"])
    assert same(gl.loads(NET, seed=1).fit(DATA, batch=20, epochs=2), runs[2])


def test_data_are_not_changed_and_results_are_new() -> None:
    data = {n: a.copy() for n, a in DATA.items()}
    start = {"W": np.ones((3, 4))}
    made = gl.loads(NET).fit(data, batch=8, epochs=1, params=start)
    assert all(np.array_equal(data[n], DATA[n]) for n in DATA) and np.array_equal(start["W"], np.ones((3, 4)))
    assert not np.shares_memory(made.params["W"], made.state.vector)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64", "bool"])
def test_kinds_of_data_give_the_same_bits(kind: str) -> None:
    data = {"x": (DATA["x"] > 0).astype(kind), "t": DATA["t"].astype("uint8")}
    plain = {"x": data["x"].astype(float), "t": DATA["t"]}
    assert same(gl.loads(NET).fit(data, batch=8, epochs=2), gl.loads(NET).fit(plain, batch=8, epochs=2))


def test_single_precision() -> None:
    made = gl.loads(NET, dtype="float32").fit(DATA, batch=8, epochs=2)
    assert made.params["W"].dtype == np.float32 and made.state.slots[0].dtype == np.float32
    wide = gl.loads(NET).fit(DATA, batch=8, epochs=2)
    np.testing.assert_allclose(made.params["W"], wide.params["W"], rtol=1e-4, atol=1e-5)


def test_large_gradients_are_taken_as_they_are() -> None:
    """Parameters above and below the size from which gradients are not copied, mixed."""
    text = (
        "x : [N, 90]\nparam a : [90] = zeros()\nparam W : [90, 80] = normal(0, 0.1)\nparam b : [80] = zeros()\n"
        "param V : [80, 70] = normal(0, 0.1)\nparam c = 0.5\n"
        "loss = mean(((tanh((x + a) @ W + b) @ V)*c - 1)**2) + 1e-3*sum(V**2)\nminimize loss\n"
    )
    x = np.random.default_rng(1).normal(size=(30, 90))
    model = gl.loads(text)
    made = model.fit({"x": x}, optimizer="sgd", lr=0.1, weight_decay=0.01, batch=30, epochs=3, backend="numpy")
    p = model.value_and_grad(wrt=list(model.params))  # makes the same first values
    values = {n: np.asarray(v) for n, v in model.fit({"x": x}, optimizer="sgd", lr=1e-300, steps=1).params.items()}
    for _ in range(3):
        g = p({**values, "x": x})[1]
        values = {n: values[n] - 0.1 * (g[n] + 0.01 * values[n]) for n in values}
    for n, v in values.items():
        np.testing.assert_allclose(made.params[n], v, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------ batches
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(0, 9), st.integers(0, 5))
def test_an_order_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    rows = Rows("N", {"k": np.arange(count)})
    assert sorted(rows.order(seed, epoch)) == list(range(count))
    assert np.array_equal(rows.order(seed, epoch), rows.order(seed, epoch))


def test_orders_differ() -> None:
    rows = Rows("N", {"k": np.arange(100)})
    orders = {tuple(rows.order(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.floats(0.05, 0.9), st.integers(0, 3))
def test_what_is_held_out_and_what_is_not_are_all_rows(count: int, share: float, seed: int) -> None:
    rows = Rows("N", {"k": np.arange(count), "twice": 2 * np.arange(count)})
    if not 0 < round(count * share) < count:
        with pytest.raises(gl.InputError, match="G543"):
            rows.split(share, seed)
        return
    mine, held = rows.split(share, seed)
    assert held.count == round(count * share)
    assert sorted([*mine.arrays["k"], *held.arrays["k"]]) == list(range(count))
    assert np.array_equal(2 * mine.arrays["k"], mine.arrays["twice"])


def test_every_row_is_met_once_and_the_last_batch_may_be_short() -> None:
    k = 2.0 ** np.arange(10)
    made = gl.loads(SEEN).fit({"k": k}, batch=4, epochs=2, optimizer="sgd", lr=1e-12)
    for row in made.history:
        assert row["loss"] == pytest.approx(k.mean(), rel=1e-6)  # the mean weighted by rows: 4, 4 and 2
        assert row["rows"] == pytest.approx((4 * 4 + 4 * 4 + 2 * 2) / 10)
    assert [row["step"] for row in made.history] == [3, 6]


def test_validation_is_averaged_over_batches_by_rows() -> None:
    model = gl.loads(LINE)
    valid = {"x": np.arange(7.0), "y": np.ones(7)}
    made = model.fit(LINE_DATA, batch=5, epochs=1, valid=valid)
    whole = model.function("loss")(**valid, **made.params)
    assert made.history[-1]["valid_loss"] == pytest.approx(whole, rel=1e-13)
    made = model.fit(LINE_DATA, steps=3, valid=valid)
    assert made.history[-1]["valid_loss"] == model.function("loss")(**valid, **made.params)


def test_rows_that_are_held_out_are_not_learned_from() -> None:
    data = {"x": np.ones(100), "y": np.arange(100.0)}
    model = gl.loads(
        "x : [N]\ny : [N]\nparam w = 0\nloss = mean(x*0) + mean((w - y)**2)\nmean_y = mean(y)\nminimize loss\noutput mean_y"
    )
    made = model.fit(data, hold_out=0.25, steps=2)
    row = made.history[-1]
    assert 75 * row["mean_y"] + 25 * row["valid_mean_y"] == pytest.approx(np.sum(data["y"]))
    batched = model.fit(data, hold_out=0.25, batch=10, epochs=1)
    assert batched.history[-1]["valid_mean_y"] == pytest.approx(row["valid_mean_y"])


def test_a_size_that_is_not_that_of_rows_is_not_cut() -> None:
    text = "x : [N, D]\nmu : [D]\nparam w : [D] = zeros()\nloss = mean(((x - mu) @ w - 1)**2)\nminimize loss"
    made = gl.loads(text).fit({"x": DATA["x"], "mu": np.ones(3)}, batch=10, epochs=1)
    assert made.state.run["size"] == "N"
    two = "x : [N]\ny : [M]\nparam w = 0\nloss = mean((x - w)**2) + mean((y - w)**2)\nminimize loss"
    data = {"x": np.ones(8), "y": np.zeros(6)}
    for batch in ("M=2", {"M": 2}):
        made = gl.loads(two).fit(data, batch=batch, epochs=1)
        assert made.state.run["size"] == "M" and made.state.step == 3
    with pytest.raises(gl.InputError, match="say which: `--batch N=100`"):
        gl.loads(two).fit(data, batch=2)


def test_a_table_with_its_default_is_data_too() -> None:
    model = gl.loads("x : [N] = [1, 2, 3, 4]\ny : [N]\nparam w = 0\nloss = mean((w*x - y)**2)\nminimize loss")
    made = model.fit({"y": [2.0, 4, 6, 8]}, batch=2, epochs=200, lr=0.05)
    assert made.params["w"] == pytest.approx(2, abs=1e-3)


# ------------------------------------------------------------------ states
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("cut", [1, 7, 13, 14])
def test_a_run_that_is_continued_has_the_same_bits(name: str, cut: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": name, "batch": 8, "hold_out": 0.2, "lr": 0.01, "weight_decay": 0.1}
    model = gl.loads(NET)
    whole = model.fit(DATA, steps=23, **options)
    part = model.fit(DATA, steps=cut, **options)
    part.state.save(tmp_path / "s.npz")
    rest = model.fit(DATA, steps=23, resume=tmp_path / "s.npz")
    assert same(whole, rest) and whole.history == rest.history
    assert all(np.array_equal(a, b) for a, b in zip(whole.state.slots, rest.state.slots, strict=True))
    assert whole.state.data() == rest.state.data()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.sampled_from(sorted(RULES)))
def test_however_often_it_is_continued(cuts: list[int], name: str) -> None:
    model = gl.loads(LINE)
    state, total = None, 0
    for cut in cuts:
        total += cut
        state = model.fit(LINE_DATA, optimizer=name, batch=7, steps=total, resume=state).state
    assert state is not None
    assert state.data() == model.fit(LINE_DATA, optimizer=name, batch=7, steps=total).state.data()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_machine_code_continues_alike(dtype: str) -> None:
    pytest.importorskip("llvmlite")
    model = gl.loads(NET, dtype=dtype)
    whole = model.fit(DATA, batch=8, steps=23, backend="native")
    part = model.fit(DATA, batch=8, steps=9, backend="native")
    assert same(whole, model.fit(DATA, steps=23, resume=part.state))
    with pytest.raises(gl.InputError, match="the backend is not the same: native then, numpy now"):
        model.fit(DATA, steps=23, resume=part.state, backend="numpy")
    np.testing.assert_allclose(whole.params["W"], model.fit(DATA, batch=8, steps=23).params["W"], rtol=1e-3)


def test_a_state_is_not_changed_by_going_on() -> None:
    model = gl.loads(NET)
    state = model.fit(DATA, batch=8, steps=9).state
    before = state.data()
    model.fit(DATA, steps=20, resume=state)
    assert state.data() == before
    assert pickle.loads(pickle.dumps(state)).data() == before


def test_a_rate_may_change_on_the_way() -> None:
    model = gl.loads(NET)
    state = model.fit(DATA, batch=8, steps=9, lr=0.1).state
    made = model.fit(DATA, steps=10, resume=state, lr=1e-12)
    assert np.allclose(made.state.vector, state.vector, atol=1e-9)
    assert made.state.run["options"]["lr"] == 1e-12


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "optimizer": ({"optimizer": "sgd"}, "the optimiser is not the same: adam then, sgd now"),
    "seed": ({"seed": 1}, "the seed is not the same: 0 then, 1 now"),
    "batch": ({"batch": 9}, "the batch is not the same: 8 then, 9 now"),
    "hold_out": ({"hold_out": 0.5}, "the share that is held out is not the same: 0.0 then, 0.5 now"),
    "names": ({"wrt": ["W"]}, "the parameters are not the same"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_states_of_other_runs(what: str) -> None:
    model = gl.loads(NET)
    state = model.fit(DATA, batch=8, steps=3).state
    changes, said = OTHERS[what]
    with pytest.raises(gl.InputError, match=said) as caught:
        model.fit(DATA, resume=state, steps=5, **changes)
    assert caught.value.diagnostics[0].code == "G546"


def test_states_of_other_programs_and_data() -> None:
    state = gl.loads(NET).fit(DATA, batch=8, steps=3).state
    with pytest.raises(gl.InputError, match="the data are not the same"):
        gl.loads(NET).fit({**DATA, "x": DATA["x"] + 1e-9}, resume=state, steps=5)
    with pytest.raises(gl.InputError, match="the program is not the same"):
        gl.loads(NET.replace("tanh", "sigmoid")).fit(DATA, resume=state, steps=5)
    with pytest.raises(gl.InputError, match="the dtype is not the same"):
        gl.loads(NET, dtype="float32").fit(DATA, resume=state, steps=5)
    commented = "# the same\n" + NET.replace("param W", "param  W").replace("zeros()", 'zeros() "bias"')
    assert gl.loads(commented).fit(DATA, resume=state, steps=5).state.step == 5


def test_files_that_are_no_states(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    made = gl.loads(NET).fit(DATA, batch=8, steps=3)
    made.state.save(path)
    whole = path.read_bytes()
    made.save(tmp_path / "p.npz")
    contents = [
        b"",
        b"text",
        whole[: len(whole) // 2],
        whole[:-30],
        (tmp_path / "p.npz").read_bytes(),
        whole.replace(b'"step"', b'"stop"'),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(gl.InputError) as caught:
            read_state(path)
        assert caught.value.diagnostics[0].code == "G546", content[:20]
    with pytest.raises(gl.InputError, match="No such file"):
        read_state(tmp_path / "none.npz")


def test_parameters_are_read_by_numpy(tmp_path: Path) -> None:
    made = gl.loads(NET).fit(DATA, batch=8, steps=3)
    made.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as found:
        assert set(found.files) == {"W", "b", "scale"}
        assert all(np.array_equal(found[n], made.params[n]) for n in found.files)


# ------------------------------------------------------------------ what goes wrong on the way
BAD = "x : [N]\ny : [N]\nparam a = 1\nparam b = 1\nr = a*log(b*x) - y\nloss = mean(r**2)\nminimize loss\n"
BAD_DATA = {"x": [1.0, 2, 3, 4], "y": [2.0, 3, 5, 4]}


def test_a_loss_that_is_not_finite_ends_the_fit_where_it_was_good() -> None:
    model = gl.loads(BAD)
    kept: list[tuple[int, bool]] = []

    class Keep(Watcher):
        def keep(self, state: State, last: bool) -> None:
            kept.append((state.step, last))

    with pytest.raises(Diverged) as caught:
        model.fit(BAD_DATA, optimizer="sgd", lr=0.5, steps=100, watcher=Keep())
    error = caught.value
    assert [d.code for d in error.diagnostics] == ["G545", "G404"]
    assert "`loss` is nan at step 4" in str(error) and "`log` of -34.37" in str(error)
    good = error.result
    assert good.stopped == "diverged" and good.state.step == 2 and kept == [(2, True)]
    assert good.params == model.fit(BAD_DATA, optimizer="sgd", lr=0.5, steps=2).params
    assert np.isfinite(model.function("loss")({**BAD_DATA, **good.params}))


def test_a_gradient_that_is_not_finite_ends_it_too() -> None:
    model = gl.loads("param a = 0\nparam b = 2\nloss = sqrt(a) + b**2\nminimize loss\n")
    with pytest.raises(Diverged, match="the gradient by `a` is not finite, though `loss` is 4, at step 1") as caught:
        model.fit()
    assert caught.value.result.params == {"a": 0.0, "b": 2.0}


def test_large_gradients_are_finite() -> None:
    made = gl.loads("param a = 1\nloss = a*1e200\nminimize loss").fit(steps=1, optimizer="sgd")
    assert made.params["a"] == 1 - 1e197


class Press(Watcher):
    """Ctrl-C, once a number of epochs is done."""

    def __init__(self, after: int) -> None:
        self.after, self.states = after, []

    def epoch(self, row: Any) -> None:
        if row["epoch"] == self.after:
            os.kill(os.getpid(), signal.SIGINT)

    def keep(self, state: State, last: bool) -> None:
        self.states.append(state.copy())


def test_an_interrupted_run_gives_what_there_is_and_goes_on() -> None:
    model = gl.loads(NET)
    watcher = Press(2)
    made = model.fit(DATA, batch=8, epochs=5, watcher=watcher)
    assert made.stopped == "interrupted" and len(made.history) == 2
    assert [s.step for s in watcher.states] == [made.state.step]
    whole = model.fit(DATA, batch=8, epochs=5)
    assert same(model.fit(DATA, epochs=5, resume=made.state), whole)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_pressing_twice_ends_at_once() -> None:
    class Twice(Watcher):
        def epoch(self, row: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        gl.loads(NET).fit(DATA, batch=8, epochs=5, watcher=Twice())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_parameter_without_influence() -> None:
    with pytest.warns(UserWarning, match="`b` does not reach `loss`"):
        made = gl.loads("param a = 1\nparam b = 2\nloss = a**2\nminimize loss\n").fit(steps=3)
    assert made.params["b"] == 2


def test_data_that_are_not_finite_are_named() -> None:
    with pytest.raises(Diverged, match=r"`loss` is nan \(the values of `x` are not all finite\) at step 1"):
        gl.loads(LINE).fit({"x": [1.0, np.nan], "y": [1.0, 2.0]})


@pytest.mark.parametrize(
    "change",
    [
        {"at": 99},
        {"at": -1},
        {"epoch": 3},
        {"step": "4"},
        {"history": {}},
        {"sums": {"loss": "x"}},
        {"run": {}},
        {"run": []},
        {"rows": None},
    ],
)
def test_states_that_were_tampered_with(change: dict[str, Any], tmp_path: Path) -> None:
    model = gl.loads(NET)
    state = model.fit(DATA, batch=8, steps=4).state
    for name, value in change.items():
        setattr(state, name, value)
    try:
        state.save(tmp_path / "s.npz")
    except (TypeError, KeyError):  # a list of rows that is none cannot even be written
        return
    with pytest.raises(gl.InputError, match="G546"):
        model.fit(DATA, steps=9, resume=tmp_path / "s.npz")


def test_names_of_other_files_and_odd_shapes(tmp_path: Path) -> None:
    (tmp_path / "lib.grad").write_text("param W : [2, K] = normal(0, 1)\ndef f(x) = x @ W\n")
    (tmp_path / "main.grad").write_text(
        'import "lib.grad"\nx : [N, 2]\nb : [K]\nparam nothing : [0] = zeros()\nloss = mean((lib.f(x) - b)**2) + sum(nothing)\nminimize loss\n'
    )
    made = gl.load(tmp_path / "main.grad").fit({"x": np.ones((6, 2)), "b": np.ones(3)}, batch=2, epochs=1)
    made.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as found:
        assert set(found.files) == {"lib.W", "nothing"} and found["nothing"].shape == (0,)


def test_an_argument_misspelled() -> None:
    with pytest.raises(gl.InputError, match=r"did you mean `epochs`\?"):
        gl.loads(NET).fit(DATA, batch=8, epoch=1)


def test_in_another_thread() -> None:
    import threading

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(gl.loads(NET).fit(DATA, batch=8, epochs=1)))
    thread.start()
    thread.join()
    assert same(found[0], gl.loads(NET).fit(DATA, batch=8, epochs=1))
