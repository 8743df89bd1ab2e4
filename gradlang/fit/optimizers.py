"""First-order optimisers over one vector that holds all parameters, updated in place.

Formulas and defaults are those of `torch.optim`, so that learning rates mean the same in both. Long vectors are gone
through in pieces; what is computed does not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlang.fit import errors
from gradlang.record import record

Vector = NDArray[Any]
PIECE = 2**18  # numbers that are updated at once: what they need beside them stays small
Options = Mapping[str, float]


@record
class Option:
    """A setting of an optimiser: its default, and the range [low, high) of its values (with `open` not `low` itself)."""

    default: float
    low: float
    high: float
    what: str
    open: bool = False


LR = "the learning rate"
EPS = Option(1e-8, 0.0, math.inf, "what is added to the denominator")
MOMENTUM = Option(0.9, 0.0, 1.0, "how much of the last step is kept")
DECAY = Option(0.0, 0.0, math.inf, "adds this times the parameters to the gradient")


def lr(default: float) -> Option:
    return Option(default, 0.0, math.inf, LR, open=True)


# ------------------------------------------------------------------ the rules: p, g, slots, scratch, options, step (from 1)
def sgd(p: Vector, g: Vector, slots: list[Vector], w: Vector, o: Options, t: int) -> None:
    """p -= lr g: stochastic gradient descent (Robbins and Monro 1951, "A stochastic approximation method")."""
    g *= o["lr"]
    p -= g


def momentum(p: Vector, g: Vector, slots: list[Vector], w: Vector, o: Options, t: int) -> None:
    """v = momentum v + g, p -= lr v: the heavy ball (Polyak 1964, "Some methods of speeding up the convergence of iteration
    methods"), with the learning rate outside of v."""
    (v,) = slots
    v *= o["momentum"]
    v += g
    np.multiply(v, o["lr"], out=w)
    p -= w


def nesterov(p: Vector, g: Vector, slots: list[Vector], w: Vector, o: Options, t: int) -> None:
    """v = momentum v + g, p -= lr (g + momentum v): Nesterov's acceleration (Nesterov 1983, "A method for solving the convex
    programming problem with convergence rate O(1/k^2)") in the form of Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning", taken at the point looked ahead to."""
    (v,) = slots
    v *= o["momentum"]
    v += g
    np.multiply(v, o["momentum"], out=w)
    w += g
    w *= o["lr"]
    p -= w


def adagrad(p: Vector, g: Vector, slots: list[Vector], w: Vector, o: Options, t: int) -> None:
    """s += g^2, p -= lr g/(sqrt(s) + eps) (Duchi, Hazan, Singer 2011, "Adaptive subgradient methods for online learning and
    stochastic optimization")."""
    (s,) = slots
    np.multiply(g, g, out=w)
    s += w
    np.sqrt(s, out=w)
    w += o["eps"]
    scaled(p, g, w, o["lr"])


def rmsprop(p: Vector, g: Vector, slots: list[Vector], w: Vector, o: Options, t: int) -> None:
    """s = alpha s + (1 - alpha) g^2, p -= lr g/(sqrt(s) + eps) (Tieleman and Hinton 2012, lecture 6.5 of "Neural networks for
    machine learning")."""
    (s,) = slots
    average(s, g, w, o["alpha"])
    np.sqrt(s, out=w)
    w += o["eps"]
    scaled(p, g, w, o["lr"])


def adam(p: Vector, g: Vector, slots: list[Vector], w: Vector, o: Options, t: int) -> None:
    """m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, both divided by 1 - beta^t, p -= lr m/(sqrt(v) + eps)
    (Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1)."""
    m, v = slots
    beta1, beta2 = o["beta1"], o["beta2"]
    average(v, g, w, beta2)
    g -= m
    g *= 1 - beta1
    m += g
    np.sqrt(v, out=w)
    w /= math.sqrt(1 - beta2**t)
    w += o["eps"]
    np.divide(m, w, out=w)
    w *= o["lr"] / (1 - beta1**t)
    p -= w


def adamw(p: Vector, g: Vector, slots: list[Vector], w: Vector, o: Options, t: int) -> None:
    """Adam with weights that decay apart from the gradient, p *= 1 - lr weight_decay (Loshchilov and Hutter 2019, "Decoupled
    weight decay regularization")."""
    p *= 1 - o["lr"] * o["weight_decay"]
    adam(p, g, slots, w, o, t)


def average(s: Vector, g: Vector, w: Vector, keep: float) -> None:
    """s = keep s + (1 - keep) g^2."""
    np.multiply(g, g, out=w)
    w *= 1 - keep
    s *= keep
    s += w


def scaled(p: Vector, g: Vector, w: Vector, rate: float) -> None:
    """p -= rate g/w."""
    g /= w
    g *= rate
    p -= g


@record
class Rule:
    """An optimiser: what one step does, how many vectors it keeps, and its settings."""

    update: Callable[[Any, Any, list[Any], Any, Options, int], None]
    slots: int
    options: Mapping[str, Option]
    apart: bool = False  # whether weight decay is the rule's own


BETAS = {
    "beta1": Option(0.9, 0.0, 1.0, "how much of the mean gradient is kept"),
    "beta2": Option(0.999, 0.0, 1.0, "how much of the mean square is kept"),
}
RULES: dict[str, Rule] = {
    "sgd": Rule(sgd, 0, {"lr": lr(1e-3), "weight_decay": DECAY}),
    "momentum": Rule(momentum, 1, {"lr": lr(1e-3), "momentum": MOMENTUM, "weight_decay": DECAY}),
    "nesterov": Rule(nesterov, 1, {"lr": lr(1e-3), "momentum": MOMENTUM, "weight_decay": DECAY}),
    "adagrad": Rule(adagrad, 1, {"lr": lr(1e-2), "eps": Option(1e-10, 0.0, math.inf, EPS.what), "weight_decay": DECAY}),
    "rmsprop": Rule(
        rmsprop, 1, {"lr": lr(1e-2), "alpha": Option(0.99, 0.0, 1.0, BETAS["beta2"].what), "eps": EPS, "weight_decay": DECAY}
    ),
    "adam": Rule(adam, 2, {"lr": lr(1e-3), **BETAS, "eps": EPS, "weight_decay": DECAY}),
    "adamw": Rule(
        adamw,
        2,
        {
            "lr": lr(1e-3),
            **BETAS,
            "eps": EPS,
            "weight_decay": Option(1e-2, 0.0, math.inf, "how fast parameters shrink, times the learning rate"),
        },
        apart=True,
    ),
}
SETTINGS = tuple(dict.fromkeys(name for rule in RULES.values() for name in rule.options))


class Optimizer:
    """An optimiser of a vector of `size` numbers. Raises InputError for settings that it does not have or that are outside
    their range."""

    def __init__(self, name: str, given: Mapping[str, Any], size: int, dtype: str) -> None:
        self.name, self.rule = name, RULES[name]
        self.options = settings(name, given)
        self.slots = [np.zeros(size, dtype) for _ in range(self.rule.slots)]
        self.count = 0
        self.scratch = np.empty(min(size, PIECE), dtype)
        self.pieces: list[tuple[Vector, Vector, Vector, list[Vector]]] = []
        self.cut_of: tuple[Any, Any, Any] = None, None, None

    def step(self, p: Vector, parts: Sequence[tuple[int, Vector]]) -> None:
        """One step of a vector p [size] down a gradient, which comes in parts, each with the place where it begins. The memory
        of the gradient is used up, and may hold the next one if the same list is given."""
        self.count += 1
        options, update, count = self.options, self.rule.update, self.count
        decay = 0.0 if self.rule.apart else options["weight_decay"]
        vector, last, slots = self.cut_of
        if parts is not last or p is not vector or self.slots is not slots:
            self.pieces, self.cut_of = self.cut(p, parts), (p, parts, self.slots)
        for q, g, w, s in self.pieces:
            if decay:
                decayed(q, g, w, decay)
            update(q, g, s, w, options, count)

    def cut(self, p: Vector, parts: Sequence[tuple[int, Vector]]) -> list[tuple[Vector, Vector, Vector, list[Vector]]]:
        """Pieces of the vector, the gradient, the scratch memory and the slots, which are views."""
        found = []
        for begin, gradient in parts:
            size = gradient.shape[0]
            for start in range(0, size, PIECE):
                stop = min(start + PIECE, size)
                here = slice(begin + start, begin + stop)
                found.append((p[here], gradient[start:stop], self.scratch[: stop - start], [s[here] for s in self.slots]))
        return found


def decayed(p: Vector, g: Vector, w: Vector, decay: float) -> None:
    np.multiply(p, decay, out=w)
    g += w


def settings(name: str, given: Mapping[str, Any]) -> dict[str, float]:
    """All settings of an optimiser, with defaults for what is not given."""
    known = RULES[name].options
    for setting in given:
        if setting not in known:
            raise errors.no_setting(name, str(setting), list(known), [n for n, r in RULES.items() if setting in r.options])
    found = {}
    for setting, option in known.items():
        value = given.get(setting, option.default)
        if isinstance(value, bool) or not isinstance(value, Real) or not inside(float(value), option):
            raise errors.bad_setting(name, setting, value, option.low, option.high, option.open)
        found[setting] = float(value)
    return found


def inside(value: float, option: Option) -> bool:
    return (option.low < value if option.open else option.low <= value) and value < option.high
