"""The log densities against their textbook formulas in multi-precision: values, every partial, products with the Hessian.

How close: a value is held to 1e-13 of 1 + |true value|, tails and huge parameters included. A derivative is held to 1e-13 (a
second one to 1e-10) of its natural scale, the sum of the absolute derivatives of the terms of the textbook formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp

import gradlang as gl

Box = dict[str, tuple[float, float]]
Terms = Callable[..., list[Any]]
COUNT = 16  # points of a box


@dataclass(frozen=True)
class Density:
    """`terms` are the summands of the log density; data are the arguments without derivatives. A box whose ends are both
    positive and far apart is walked by decades."""

    args: str
    terms: Terms
    boxes: list[Box]
    data: tuple[str, ...] = ()
    support: tuple[Any, ...] = ()  # where it integrates (or sums) to 1, for the parameters of `at`
    at: dict[str, float] = field(default_factory=dict)


def log(x: Any) -> Any:
    return mpmath.log(x)


def lgamma(x: Any) -> Any:
    return mpmath.re(mpmath.loggamma(x))


def halves(z: Any) -> Any:
    return -z * z / 2


def _student(y: Any, nu: Any, mu: Any, sigma: Any) -> list[Any]:
    z = (y - mu) / sigma
    norm = lgamma((nu + 1) / 2) - lgamma(nu / 2) - log(nu * mp.pi) / 2
    return [norm, -log(sigma), -(nu + 1) / 2 * mpmath.log1p(z * z / nu)]


def _binomial(n: Any, N: Any, alpha: Any) -> list[Any]:
    choose = lgamma(N + 1) - lgamma(n + 1) - lgamma(N - n + 1)
    return [choose, -n * mpmath.log1p(mpmath.exp(-alpha)), -(N - n) * mpmath.log1p(mpmath.exp(alpha))]


LOCATION: list[Box] = [
    {"y": (-5, 5), "mu": (-2, 2), "sigma": (0.1, 4)},
    {"y": (-1e6, 1e6), "mu": (-1, 1), "sigma": (1e-3, 1e3)},
]
INF = mp.inf
DENSITIES: dict[str, Density] = {
    "normal_lpdf": Density(
        "y mu sigma",
        lambda y, mu, sigma: [halves((y - mu) / sigma), -log(sigma), -log(2 * mp.pi) / 2],
        LOCATION,
        support=(-INF, 0.5, INF),
        at={"mu": 0.5, "sigma": 1.5},
    ),
    "student_t_lpdf": Density(
        "y nu mu sigma",
        _student,
        [
            {"y": (-5, 5), "nu": (0.2, 30), "mu": (-2, 2), "sigma": (0.1, 4)},
            {"y": (-4, 4), "nu": (1e2, 1e12), "mu": (-1, 1), "sigma": (0.5, 2)},
            {"y": (-1e9, 1e9), "nu": (1e-3, 1e3), "mu": (-1, 1), "sigma": (1e-3, 1e3)},
        ],
        support=(-INF, 0.5, INF),
        at={"nu": 3.5, "mu": 0.5, "sigma": 1.5},
    ),
    "cauchy_lpdf": Density(
        "y mu sigma",
        lambda y, mu, sigma: [-log(mp.pi), -log(sigma), -mpmath.log1p(((y - mu) / sigma) ** 2)],
        [*LOCATION, {"y": (1e100, 1e250), "mu": (-1, 1), "sigma": (0.1, 2)}],
        support=(-INF, 0.5, INF),
        at={"mu": 0.5, "sigma": 1.5},
    ),
    "laplace_lpdf": Density(
        "y mu sigma",
        lambda y, mu, sigma: [-log(2 * sigma), -abs(y - mu) / sigma],
        LOCATION,
        support=(-INF, 0.5, INF),
        at={"mu": 0.5, "sigma": 1.5},
    ),
    "lognormal_lpdf": Density(
        "y mu sigma",
        lambda y, mu, sigma: [halves((log(y) - mu) / sigma), -log(y), -log(sigma), -log(2 * mp.pi) / 2],
        [
            {"y": (0.1, 5), "mu": (-2, 2), "sigma": (0.1, 4)},
            {"y": (1e-300, 1e300), "mu": (-1, 1), "sigma": (0.1, 10)},
        ],
        support=(0, 1, INF),
        at={"mu": 0.25, "sigma": 0.75},
    ),
    "exponential_lpdf": Density(
        "y beta",
        lambda y, beta: [log(beta), -beta * y],
        [{"y": (0.01, 5), "beta": (0.1, 4)}, {"y": (1e-100, 1e8), "beta": (1e-8, 1e8)}],
        support=(0, 1, INF),
        at={"beta": 1.5},
    ),
    "gamma_lpdf": Density(
        "y alpha beta",
        lambda y, alpha, beta: [alpha * log(beta), -lgamma(alpha), (alpha - 1) * log(y), -beta * y],
        [
            {"y": (0.1, 5), "alpha": (0.1, 6), "beta": (0.2, 4)},
            {"y": (9e5, 1.1e6), "alpha": (9e5, 1.1e6), "beta": (0.9, 1.1)},
            {"y": (1e-200, 1e2), "alpha": (1e-3, 1e2), "beta": (0.1, 10)},
        ],
        support=(0, 1, INF),
        at={"alpha": 2.5, "beta": 1.5},
    ),
    "inv_gamma_lpdf": Density(
        "y alpha beta",
        lambda y, alpha, beta: [alpha * log(beta), -lgamma(alpha), -(alpha + 1) * log(y), -beta / y],
        [
            {"y": (0.1, 5), "alpha": (0.1, 6), "beta": (0.2, 4)},
            {"y": (0.9, 1.1), "alpha": (9e5, 1.1e6), "beta": (9e5, 1.1e6)},
            {"y": (1e-2, 1e100), "alpha": (1e-3, 1e2), "beta": (0.1, 10)},
        ],
        support=(0, 1, INF),
        at={"alpha": 2.5, "beta": 1.5},
    ),
    "beta_lpdf": Density(
        "y alpha beta",
        lambda y, alpha, beta: [
            (alpha - 1) * log(y),
            (beta - 1) * mpmath.log1p(-y),
            lgamma(alpha + beta) - lgamma(alpha) - lgamma(beta),
        ],
        [
            {"y": (0.01, 0.99), "alpha": (0.1, 6), "beta": (0.1, 6)},
            {"y": (0.49, 0.51), "alpha": (9e5, 1.1e6), "beta": (9e5, 1.1e6)},
            {"y": (1e-100, 0.9), "alpha": (1e-3, 1e2), "beta": (1e-3, 1e2)},
        ],
        support=(0, 0.5, 1),
        at={"alpha": 2.5, "beta": 1.5},
    ),
    "weibull_lpdf": Density(
        "y alpha sigma",
        lambda y, alpha, sigma: [log(alpha), -log(sigma), (alpha - 1) * log(y / sigma), -((y / sigma) ** alpha)],
        [
            {"y": (0.1, 5), "alpha": (0.3, 5), "sigma": (0.2, 4)},
            {"y": (1e-100, 1e3), "alpha": (0.1, 3), "sigma": (0.1, 10)},
        ],
        support=(0, 1, INF),
        at={"alpha": 2.5, "sigma": 1.5},
    ),
    "uniform_lpdf": Density(
        "y alpha beta",
        lambda y, alpha, beta: [-log(beta - alpha) + 0 * y],
        [{"y": (-1, 1), "alpha": (-5, -1), "beta": (1, 8)}, {"y": (-1, 1), "alpha": (-1e9, -1), "beta": (1, 1e9)}],
        support=(-2, 3),
        at={"alpha": -2, "beta": 3},
    ),
    "bernoulli_logit_lpmf": Density(
        "y alpha",
        lambda y, alpha: [-mpmath.log1p(mpmath.exp(-alpha if y else alpha))],
        [{"y": (0, 0), "alpha": (-700, 700)}, {"y": (1, 1), "alpha": (-700, 700)}, {"y": (1, 1), "alpha": (-3, 3)}],
        ("y",),
        (0, 1),
        {"alpha": 0.75},
    ),
    "binomial_logit_lpmf": Density(
        "n N alpha",
        _binomial,
        [
            {"n": (3, 3), "N": (10, 10), "alpha": (-30, 30)},
            {"n": (0, 0), "N": (10, 10), "alpha": (-300, 30)},
            {"n": (500_000, 500_000), "N": (1_000_000, 1_000_000), "alpha": (-0.01, 0.01)},
            {"n": (7, 7), "N": (7, 7), "alpha": (-30, 300)},
        ],
        ("n", "N"),
        tuple(range(8)),
        {"N": 7, "alpha": 0.75},
    ),
    "poisson_log_lpmf": Density(
        "n alpha",
        lambda n, alpha: [n * alpha, -mpmath.exp(alpha), -lgamma(n + 1)],
        [
            {"n": (3, 3), "alpha": (-40, 5)},
            {"n": (0, 0), "alpha": (-300, 30)},
            {"n": (1_000_000, 1_000_000), "alpha": (13.8, 13.83)},
        ],
        ("n",),
        tuple(range(60)),
        {"alpha": 0.75},
    ),
}


def points(density: Density) -> Iterator[dict[str, float]]:
    """Points that look random, each box on its own; both ends of a wide box are far apart."""
    steps = [0.6180339887498949, 0.7548776662466927, 0.8191725133961645, 0.8566748838545029]
    for box in density.boxes:
        for k in range(COUNT):
            out = {}
            for (name, (low, high)), step in zip(box.items(), steps, strict=False):
                t = (0.5 + (k + 1) * step) % 1
                wide = low > 0 and high / low > 50
                out[name] = math.exp(math.log(low) + t * (math.log(high) - math.log(low))) if wide else low + t * (high - low)
            yield out


def model(name: str, density: Density) -> gl.Model:
    args = density.args.split()
    return gl.loads(f"input {', '.join(args)}\nlp = {name}({', '.join(args)})\n")


def slopes(terms: Terms, point: dict[str, Any], along: dict[str, Any], order: int) -> list[Any]:
    """The derivative of each term along a direction, by central differences in many digits."""
    h = mp.mpf(10) ** -40 * max([1, *(abs(point[n]) for n in along)])
    rows = [terms(**{n: x + k * h * along.get(n, 0) for n, x in point.items()}) for k in (-1, 0, 1)]
    if order == 1:
        return [(c - a) / (2 * h) for a, _, c in zip(*rows, strict=True)]
    return [(c - 2 * b + a) / (h * h) for a, b, c in zip(*rows, strict=True)]


def digits(density: Density) -> int:
    """Enough for the differences: a step of 1e-40 must show beside the largest number."""
    return 700 if any(high > 1e200 for box in density.boxes for _, high in box.values()) else 120


def total(parts: list[Any]) -> tuple[float, float]:
    """A sum, and its natural scale."""
    return float(mpmath.fsum(parts)), float(mpmath.fsum(map(abs, parts)))


@pytest.mark.parametrize("name", DENSITIES)
def test_values_and_partials(name: str) -> None:
    density = DENSITIES[name]
    wrt = [a for a in density.args.split() if a not in density.data]
    run = model(name, density).value_and_grad("lp", wrt=wrt)
    assert len(density.boxes) * COUNT >= 30
    with mpmath.workdps(digits(density)):
        for point in points(density):
            value, grads = run(point)
            exact = {n: mp.mpf(x) for n, x in point.items()}
            true, _ = total(density.terms(**exact))
            assert abs(value - true) <= 1e-13 * (1 + abs(true)), (point, value, true)
            for n in wrt:
                small = {n: min(abs(exact[n]), mp.mpf(1))}
                slope, scale = (x / float(small[n]) for x in total(slopes(density.terms, exact, small, 1)))
                assert abs(grads[n] - slope) <= 1e-13 * scale, (point, n, grads[n], slope)


@pytest.mark.parametrize("name", DENSITIES)
def test_products_with_the_hessian(name: str) -> None:
    density = DENSITIES[name]
    wrt = [a for a in density.args.split() if a not in density.data]
    run = model(name, density).hvp("lp", wrt=wrt)
    with mpmath.workdps(digits(density)):
        for point in list(points(density))[:COUNT]:
            exact = {n: mp.mpf(x) for n, x in point.items()}
            v = {n: 0.5 - 0.25 * k for k, n in enumerate(wrt)}
            _, product = run(v if len(wrt) > 1 else v[wrt[0]], point)
            got = product if isinstance(product, dict) else {wrt[0]: product}
            curve, scale = total(slopes(density.terms, exact, {n: mp.mpf(x) for n, x in v.items()}, 2))
            assert abs(sum(v[n] * float(got[n]) for n in wrt) - curve) <= 1e-10 * scale + 1e-35, (point, got, curve)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_whole_is_one(name: str) -> None:
    """The formulas that the others are held to are normalised themselves."""
    density = DENSITIES[name]
    first = density.args.split()[0]

    def mass(x: Any) -> Any:
        return mpmath.exp(mpmath.fsum(density.terms(**{first: mp.mpf(x), **{n: mp.mpf(v) for n, v in density.at.items()}})))

    with mpmath.workdps(20):
        whole = sum(map(mass, density.support)) if density.data else mpmath.quad(mass, density.support)
        assert abs(whole - 1) < 1e-9


def test_scalars_need_no_arrays() -> None:
    for name, density in DENSITIES.items():
        assert "numpy" not in model(name, density).value_and_grad("lp").source.split("def ")[1], name


# ------------------------------------------------------------------ sums over arrays
def test_arrays_are_summed_and_broadcast() -> None:
    m = gl.loads(
        "y : [N]\nmu : [M, 1]\nsigma : [M, 1]\nlp = normal_lpdf(y, mu, sigma)\nt = student_t_lpdf(y, 3, mu, sigma)\n"
        "c = cauchy_lpdf(y, 0.5, 2)\noutput lp, t, c\n"
    )
    y, mu, sigma = np.array([0.5, -1.0, 2.0]), np.array([[0.25], [1.5]]), np.array([[0.5], [2.0]])
    one = gl.loads("input y, mu, sigma\nlp = normal_lpdf(y, mu, sigma)\nt = student_t_lpdf(y, 3, mu, sigma)\noutput lp, t\n")
    rows = [one(y=float(a), mu=float(b), sigma=float(s)) for a in y for b, s in zip(mu[:, 0], sigma[:, 0], strict=True)]
    got = m(y=y, mu=mu, sigma=sigma)
    for name in ("lp", "t"):
        assert got[name] == pytest.approx(sum(r[name] for r in rows), rel=1e-14)
    assert got["c"] == pytest.approx(-np.sum(np.log(2 * np.pi * (1 + ((y - 0.5) / 2) ** 2))), rel=1e-14)
    _, grads = m.value_and_grad("lp")(y=y, mu=mu, sigma=sigma)
    assert grads["mu"].shape == (2, 1)
    np.testing.assert_allclose(grads["y"], np.sum((mu - y) / sigma**2, axis=0), rtol=1e-13)


LOGITS = np.array([[0.5, -1.0, 2.0], [800.0, 0.0, -800.0]])


def test_categorical() -> None:
    """Labels from 0; one row of logits for all labels, or a row for each."""
    m = gl.loads("y : int[N]\nbeta : [K]\nlp = categorical_logit_lpmf(y, beta)\n")
    value, grads = m.value_and_grad("lp", wrt="beta")(y=[2, 0, 2], beta=LOGITS[0])
    p = np.exp(LOGITS[0]) / np.exp(LOGITS[0]).sum()
    assert value == pytest.approx(math.log(p[2] ** 2 * p[0]), rel=1e-14)
    np.testing.assert_allclose(grads["beta"], [1 - 3 * p[0], -3 * p[1], 2 - 3 * p[2]], rtol=1e-13)
    for kind in ("int[N]", "[N]"):
        m = gl.loads(f"y : {kind}\nbeta : [N, K]\nlp = categorical_logit_lpmf(y, beta)\n")
        value, grads = m.value_and_grad("lp", wrt="beta")(y=[1, 2], beta=LOGITS)
        assert value == pytest.approx(math.log(p[1]) - 1600, rel=1e-14)
        np.testing.assert_allclose(grads["beta"], [np.eye(3)[1] - p, [-1, 0, 1]], rtol=1e-13)
    m = gl.loads("beta : [3] = [0.5, -1, 2]\nlp = categorical_logit_lpmf(1, beta)\n")
    assert m() == pytest.approx(math.log(p[1]), rel=1e-14)
    for bad in (3, -1):
        m = gl.loads("y : int[N]\nbeta : [K]\nlp = categorical_logit_lpmf(y, beta)\n")
        value, grads = m.value_and_grad("lp", wrt="beta")(y=[bad], beta=LOGITS[0])
        assert value == -math.inf
        assert not grads["beta"].any()


def test_dirichlet() -> None:
    m = gl.loads("theta : [N, K]\nalpha : [K]\nlp = dirichlet_lpdf(theta, alpha)\n")
    rng = np.random.default_rng(5)
    for scale in (0.3, 2.0, 50.0, 1e6):
        alpha = scale * (1 + np.arange(4.0))
        theta = rng.dirichlet(alpha, 8)
        value, grads = m.value_and_grad("lp")(theta=theta, alpha=alpha)
        with mpmath.workdps(60):
            a = [mp.mpf(x) for x in alpha]
            one = lgamma(sum(a)) - sum(map(lgamma, a))
            terms = [sum((x - 1) * log(mp.mpf(t)) for x, t in zip(a, row, strict=True)) for row in theta]
            true = float(sum(one + t for t in terms))
            slope = [
                [float(mpmath.digamma(sum(a)) - mpmath.digamma(x) + log(mp.mpf(t))) for x, t in zip(a, row, strict=True)]
                for row in theta
            ]
        # the entries of theta are rounded, so they sum to 1 within an eps, which the formula magnifies by sum(alpha)
        assert abs(value - true) <= 1e-13 * (1 + abs(true)) + 4 * 2**-52 * alpha.sum()
        np.testing.assert_allclose(grads["theta"], (alpha - 1) / theta, rtol=1e-12)
        np.testing.assert_allclose(grads["alpha"], np.sum(slope, axis=0), rtol=1e-12, atol=1e-12)


def test_dirichlet_of_a_row_per_distribution() -> None:
    m = gl.loads("theta : [K]\nalpha : [N, K]\nlp = dirichlet_lpdf(theta, alpha)\n")
    theta, alpha = np.array([0.25, 0.75]), np.array([[1.0, 2.0], [3.0, 0.5]])
    beta = gl.loads("input y, a, b\nlp = beta_lpdf(y, a, b)\n")
    assert m(theta=theta, alpha=alpha) == pytest.approx(beta(y=0.25, a=1, b=2) + beta(y=0.25, a=3, b=0.5), rel=1e-14)


# ------------------------------------------------------------------ outside the support
OUTSIDE = [
    "lognormal_lpdf(y, 0.5, a)",
    "exponential_lpdf(y, a)",
    "gamma_lpdf(y, a, 2)",
    "inv_gamma_lpdf(y, a, 2)",
    "beta_lpdf(y, a, 2)",
    "weibull_lpdf(y, a, 2)",
    "uniform_lpdf(y, a, 2)",
    "dirichlet_lpdf([y, 1 - y], [a, 2])",
    "dirichlet_lpdf([0.5 + y, 0.3], [a, 2])",
    "bernoulli_logit_lpmf(y, a)",
    "binomial_logit_lpmf(y, 5, a)",
    "binomial_logit_lpmf(1.5, 5, a*y)",
    "poisson_log_lpmf(y, a)",
    "categorical_logit_lpmf(y, [a, 2])",
]


@pytest.mark.parametrize("formula", OUTSIDE)
def test_outside_the_support(formula: str) -> None:
    for text in (f"y = -1\na = 1.5\nlp = {formula}\n", f"y = -1\na = 1.5\nz : [2] = [0, 0]\nlp = {formula} + sum(z)\n"):
        value, grads = gl.loads(text).value_and_grad("lp", wrt=["y", "a"])()
        assert value == -math.inf
        assert grads == {"y": 0.0, "a": 0.0}


def test_one_entry_outside_leaves_the_others_their_gradient() -> None:
    m = gl.loads("y : [3] = [1, -1, 2]\na = 1.5\nlp = gamma_lpdf(y, a, 2)\n")
    value, grads = m.value_and_grad("lp")()
    assert value == -math.inf
    np.testing.assert_allclose(grads["y"], [0.5 - 2, 0, 0.25 - 2])
    assert math.isfinite(grads["a"])


EDGES = [
    ("exponential_lpdf(y, 2)", 0.0, math.log(2), -2.0),
    ("gamma_lpdf(y, 1, 2)", 0.0, math.log(2), -2.0),
    ("gamma_lpdf(y, 2, 2)", 0.0, -math.inf, math.inf),
    ("gamma_lpdf(y, 0.5, 2)", 0.0, math.inf, -math.inf),
    ("beta_lpdf(y, 1, 3)", 0.0, math.log(3), -2.0),
    ("beta_lpdf(y, 3, 1)", 1.0, math.log(3), 2.0),
    ("beta_lpdf(y, 2, 2)", 0.0, -math.inf, math.inf),
    ("weibull_lpdf(y, 1, 2)", 0.0, -math.log(2), -0.5),
    ("uniform_lpdf(y, 1, 3)", 1.0, -math.log(2), 0.0),
    ("uniform_lpdf(y, 1, 3)", 3.0, -math.log(2), 0.0),
    ("laplace_lpdf(y, 1, 2)", 1.0, -math.log(4), 0.0),
    ("lognormal_lpdf(y, 1, 2)", 0.0, -math.inf, 0.0),
]


@pytest.mark.parametrize(("formula", "y", "value", "slope"), EDGES)
def test_ends_of_the_support(formula: str, y: float, value: float, slope: float) -> None:
    got, grads = gl.loads(f"input y\nlp = {formula}\n").value_and_grad("lp")(y=y)
    assert got == pytest.approx(value, rel=1e-15)
    assert grads["y"] == pytest.approx(slope, rel=1e-15)


@pytest.mark.parametrize(
    "formula",
    [
        "normal_lpdf(1, 0, s)",
        "student_t_lpdf(1, s, 0, 1)",
        "cauchy_lpdf(1, 0, s)",
        "laplace_lpdf(1, 0, s)",
        "gamma_lpdf(1, s, 1)",
        "gamma_lpdf(1, 1, s)",
        "inv_gamma_lpdf(1, s, 1)",
        "beta_lpdf(0.5, s, 1)",
        "beta_lpdf(0.5, 0.2, s)",
        "weibull_lpdf(1, s, 1)",
        "uniform_lpdf(1, 1, 1 + s)",
        "exponential_lpdf(1, s)",
    ],
)
def test_a_parameter_outside_its_domain_gives_nan(formula: str) -> None:
    for s in (-0.5, -2.0):
        assert math.isnan(gl.loads(f"input s\nlp = {formula}\n")(s=s)) or "uniform" in formula


def test_counts_of_every_kind() -> None:
    """Whole numbers, truth values and reals mean the same data; none of them has a derivative."""
    for kind, data in (("int[N]", [0, 1, 1]), ("bool[N]", [False, True, True]), ("[N]", [0.0, 1.0, 1.0])):
        m = gl.loads(f"y : {kind}\na = 0.5\nlp = bernoulli_logit_lpmf(y, a)\n")
        value, grads = m.value_and_grad("lp", wrt="a")(y=data)
        assert value == pytest.approx(-math.log1p(math.exp(0.5)) - 2 * math.log1p(math.exp(-0.5)), rel=1e-15)
        assert grads["a"] == pytest.approx(2 - 3 / (1 + math.exp(-0.5)), rel=1e-14)
    for kind in ("int[N]", "[N]"):
        m = gl.loads(f"n : {kind}\na : [N]\np = poisson_log_lpmf(n, a)\nb = binomial_logit_lpmf(n, 9, a)\noutput p, b\n")
        got = m(n=[0, 3, 9], a=[0.5, 1.0, -1.0])
        assert got["p"] == pytest.approx(-math.exp(0.5) + 3 - math.e - math.log(6) - 9 - math.exp(-1) - math.log(362880))
        assert math.isfinite(got["b"])
