"""Long loops with the short ones inside them written out: no temporaries, known zeros are gone, and NumPy's values."""

from __future__ import annotations

import numpy as np
import pytest
from test_plan import kernels, planned, walk

import gradlang as gl
from gradlang.loops.ir import For, Let, Load, Store, Update
from gradlang.plan.plan import Loops
from gradlang.runtime import native

WHY = native.available()
compiled = pytest.mark.skipif(WHY is not None, reason=str(WHY))
RNG = np.random.default_rng(6)
ROTATED = """cams : [C, 4]
X : [P, 3]
obs : int[N, 2]

def turned(cam, x):
    n = cam[:3]/cam[3]
    p = x*cos(cam[3]) + cross(n, x)*sin(cam[3])
    return p[:2]/p[2] if p[2] > 0 else 2*p[:2]

def slopes(leaves):
    r = turned(leaves[:4], leaves[4:7])
    return jacobian(r, leaves)

J = [slopes(concat([cams[obs[i, 0]], X[obs[i, 1]]])) for i in range(N)]
"""
SPRINGS = "x : [N, 3]\nf = sum((sqrt(sum((x[1:] - x[:-1])**2, axis=1)) - 1)**2)\n"
NET = "x : [N, 3]\nW : [3, 5]\nb : [5]\nv : [5]\ny : [N]\nloss = mean((tanh(x@W + b)@v - y)**2)\n"
LOGISTIC = "X : [N, 30]\ny : [N]\nw : [30]\nloss = mean(softplus(-y*(X@w)))\n"


def loops(step: Loops) -> list[For]:
    return [s for s in walk(step.kernel.body) if isinstance(s, For)]


def test_a_gradient_of_short_rows_is_one_straight_line_without_temporaries():
    (step,) = kernels(planned(NET, "loss", ["W", "b", "v"], N=4000))
    (line,) = (s for s in loops(step) if s.stop.const == 4000)
    assert not any(isinstance(s, For) for s in line.body)
    assert not any(s.kind == "temp" for s in step.sources)
    assert sum(isinstance(s, Load) for s in line.body) == 4  # a row of x and its y: the weights are read before
    assert not any(isinstance(s, Store) for s in line.body)  # what is summed up stays in registers


@compiled
def test_zeros_around_a_slice_are_no_summands():
    run = gl.loads(ROTATED).function("J", backend="native")
    run(cams=RNG.normal(size=(5, 4)), X=RNG.normal(size=(9, 3)), obs=np.zeros((500, 2), np.int64))
    (version,) = run.raw.versions.kept.values()
    (step,) = kernels(version.plan)
    line = max(loops(step), key=lambda s: len(s.body))
    consts = [a.const for s in line.body if isinstance(s, Let) and s.op == "add" for a in s.args]
    assert not any(c == 0.0 for c in consts)
    assert sum(isinstance(s, Store) for s in line.body) == 2 * 7


def test_long_rows_of_which_little_is_made_stay_in_loops_over_blocks():
    (step,) = kernels(planned(LOGISTIC, "loss", ["w"], library=False, N=4000))
    assert any(s.kind == "temp" for s in step.sources)
    assert max(len(s.body) for s in loops(step)) < 60
    (step,) = kernels(planned(LOGISTIC, "loss", ["w"], N=4000))  # here such rows are turned into columns
    assert not any(s.kind == "temp" for s in step.sources)


def test_a_short_loop_is_not_worth_it():
    (step,) = kernels(planned(NET, "loss", ["W", "b", "v"], N=50))
    assert max(len(s.body) for s in loops(step)) < 60


@compiled
@pytest.mark.parametrize(
    ("text", "of", "given"),
    [
        (SPRINGS, "f", {"x": RNG.normal(size=(301, 3))}),
        (
            NET,
            "loss",
            {
                "x": RNG.normal(size=(300, 3)),
                "W": RNG.normal(size=(3, 5)),
                "b": RNG.normal(size=5),
                "v": RNG.normal(size=5),
                "y": RNG.normal(size=300),
            },
        ),
        (
            "a : [N, 3]\nb : [N, 4]\nw : [7]\ny = tanh(concat([a, b], axis=1)@w)\nf = sum(y**2)/sum(max(a, axis=1))\n",
            "f",
            {"a": RNG.normal(size=(300, 3)), "b": RNG.normal(size=(300, 4)), "w": RNG.normal(size=7)},
        ),
        (
            "x : [N, 4]\nk : int[4]\nf = sum([sum(x[i][k]*x[i])**2 for i in range(N)])\n",
            "f",
            {"x": RNG.normal(size=(300, 4)), "k": np.array([2, 0, 3, 1])},
        ),
        (
            "x : [M, N, 3]\nf = sum([[exp(-sum(x[m, n]**2)) for n in range(N)] for m in range(M)])\n",
            "f",
            {"x": RNG.normal(size=(2, 301, 3))},
        ),
        ("x : [N, 2]\ny = max(x, axis=0)\nf = sum(prod(x)) + sum(y)\n", "f", {"x": RNG.normal(size=(300, 2))}),
    ],
    ids=["springs", "net", "joined", "picked", "under a loop", "extremes"],
)
def test_as_numpy(text, of, given):
    model = gl.loads(text)
    leaves = [k for k, v in given.items() if v.dtype != np.int64]
    one, other = (model.value_and_grad(of, wrt=leaves, backend=b) for b in ("native", "numpy"))
    (value, slopes), (right, exact) = one(**given), other(**given)
    assert one.backend == "native"
    assert value == pytest.approx(right, rel=1e-12)
    for k in leaves:
        np.testing.assert_allclose(slopes[k], exact[k], rtol=1e-10, atol=1e-12 * np.abs(exact[k]).max())


@compiled
def test_jacobians_of_rows_as_numpy():
    given = {
        "cams": RNG.normal(size=(5, 4)) + np.array([0, 0, 0, 2]),
        "X": RNG.normal(size=(9, 3)),
        "obs": np.stack([RNG.integers(0, 5, 300), RNG.integers(-9, 9, 300)], axis=1),
    }
    model = gl.loads(ROTATED)
    one, other = (model.function("J", backend=b) for b in ("native", "numpy"))
    np.testing.assert_allclose(one(**given), other(**given), rtol=1e-10, atol=1e-10)
    assert one.backend == "native"
    given["obs"][7, 0] = 5
    with pytest.raises(gl.InputError):
        one(**given)


# ------------------------------------------------------------------ lines inside blocks
TRIANGLES = """const D = 8
const K = 20
x   : [N, D]
mu  : [K, D]
q   : [K, D]
low : [K, D, D]
Q    = [[[exp(q[k, i]) if i == j else low[k, i, j] if i > j else 0 for j in range(D)] for i in range(D)] for k in range(K)]
dist = [[sum((Q[k] @ (x[n] - mu[k]))**2) for k in range(K)] for n in range(N)]
f    = sum(logsumexp(sum(q, axis=1) - dist/2, axis=1))
"""
LEAVES = ["mu", "q", "low"]


def triangles(n: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(1)
    return {
        "x": r.normal(size=(n, 8)),
        "mu": r.normal(size=(20, 8)),
        "q": r.normal(size=(20, 8)),
        "low": r.normal(size=(20, 8, 8)),
    }


def test_a_batch_of_small_products_goes_over_its_points_once():
    (step,) = kernels(planned(TRIANGLES, "f", LEAVES, N=1000))
    blocks = [s for s in loops(step) if s.counter.hint == "block"]
    assert len(blocks) == 1  # value and gradient
    sizes = [s.shape for s in step.sources if s.kind == "temp"]
    assert not any("N" in str(s) for s in sizes)
    assert (8, 128) in sizes  # the rows of x lie side by side: they are read for every component
    assert sum(s == (20, 8, 128) for s in sizes) == 1  # the products; x - mu is computed again


def test_of_a_triangle_only_the_entries_are_multiplied_that_are_there():
    (step,) = kernels(planned(TRIANGLES, "f", LEAVES, N=1000))
    (block,) = (s for s in loops(step) if s.counter.hint == "block")
    lines = [s for s in walk(block.body) if isinstance(s, For) and not any(isinstance(x, For) for x in s.body)]
    there = 8 * 9 // 2
    sums = [sum(isinstance(s, Update) and s.op == "add" and s.cell.hint != "zeros" for s in line.body) for line in lines]
    assert there + 8 in sums  # forward: the products and their squares
    # back: the slopes of the matrices that are not masked away, of mu and of the weights, as many at once as there are registers
    assert {23, 22} <= set(sums) and there + 8 + 1 == 23 + 22


def test_that_nothing_infinite_meets_a_zero_is_looked_at_in_one_sum():
    (step,) = kernels(planned(TRIANGLES, "f", LEAVES, N=1000))
    lines = [s for s in loops(step) if sum(isinstance(x, Update) and x.cell.hint == "zeros" for x in s.body) == 7]
    assert len(lines) == 1  # the columns but the first meet zeros
    assert any(s.kind == "flag" for s in step.sources)


def test_the_sum_over_the_columns_of_a_product_is_a_product_with_a_sum():
    tape = planned(TRIANGLES, "f", LEAVES, N=1000).tape
    long = [i for i in tape.instrs if i.op == "matmul" and "N" in str(i.type.shape)]
    assert len(long) == 1  # forward alone


@compiled
@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_triangles_as_numpy(bad):
    given = triangles(301)
    if bad is not None:
        given["x"][7, 5] = bad  # zero times this is no zero
    model = gl.loads(TRIANGLES)
    one, other = (model.value_and_grad("f", wrt=LEAVES, backend=b) for b in ("native", "numpy"))
    with np.errstate(all="ignore"):
        (value, slopes), (right, exact) = one(**given), other(**given)
    assert one.backend == "native"
    np.testing.assert_allclose(value, right, rtol=1e-12)
    for k in LEAVES:
        np.testing.assert_allclose(slopes[k], exact[k], rtol=1e-9, atol=1e-11 * np.nanmax(np.abs(exact[k]), initial=0))


def test_what_lies_with_its_points_together_is_gone_over_in_blocks_of_points(monkeypatch):
    monkeypatch.setattr("gradlang.plan.plan.batches", lambda *_: set())  # products of a library, not in tiles
    steps = kernels(planned(TRIANGLES.replace("const D = 8", "const D = 40"), "f", LEAVES, N=1000))
    large = [s for s in steps if sum("N" in str(t.shape) and len(t.shape) == 3 for t in s.sources)]
    assert large
    for step in large:
        inner = [s for s in loops(step) if not any(isinstance(x, For) for x in walk(s.body))]
        names = {
            b.name for b, t in zip(step.kernel.buffers, step.sources, strict=False) if len(t.shape) == 3 and "N" in str(t.shape)
        }
        using = [s for s in inner if any(getattr(x, "buffer", None) is not None and x.buffer.name in names for x in s.body)]
        assert using and all(s.stop.const is None for s in using)  # up to the end of a block


PARTED = """cams : [C, 3]
obs : int[N]
v : [N]

def q(c, s):
    n = norm(c)
    return min(s, c[0])/n + hypot(s, c[1])/n + s/n + c[0]/n

a = [-atan(softplus(v[i])) for i in range(N)]
b = [q(cams[obs[i]], v[i]) for i in range(N)]
f = sum(a*v) + sum(b*v)
"""


@compiled
@pytest.mark.parametrize("n", [7, 100, 1025])
@pytest.mark.parametrize("text", [PARTED, PARTED.replace("a = [-atan(softplus(v[i])) for i in range(N)]\n", "a = v*v\n")])
def test_what_lies_in_memory_of_a_block_is_read_inside_it(text, n):
    """A cheap value is computed again by who reads it only if its arguments are there."""
    given = {"cams": RNG.normal(size=(3, 3)), "obs": RNG.integers(0, 3, n), "v": RNG.normal(size=n)}
    one, other = (gl.loads(text).value_and_grad("f", backend=b) for b in ("native", "numpy"))
    (value, slopes), (right, exact) = one(**given), other(**given)
    assert one.backend == "native"
    np.testing.assert_allclose(value, right, rtol=1e-12)
    for k, slope in slopes.items():
        np.testing.assert_allclose(slope, exact[k], rtol=1e-10, atol=1e-12)
