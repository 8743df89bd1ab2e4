"""Optimisers: step by step those of torch.optim; settings and their errors."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch_optimizers as reference

import gradlang as gl
from gradlang.fit.optimizers import PIECE, RULES, Optimizer

KEPT = json.loads(reference.KEPT.read_text(encoding="utf-8"))["cases"]
IDS = [f"{name}-{k}" for k, (name, *_) in enumerate(reference.CASES)]


def ours(name: str, options: dict[str, float]) -> list[list[float]]:
    optimizer = Optimizer(name, options, reference.SIZE, "float64")
    p, out = np.array(reference.start()), []
    for step in range(reference.STEPS):
        optimizer.step(p, [(0, np.array(reference.gradient(step)))])
        out.append(p.tolist())
    return out


@pytest.mark.parametrize("k", range(len(reference.CASES)), ids=IDS)
def test_steps_of_torch(k: int) -> None:
    name, options, kind, theirs = reference.CASES[k]
    assert (KEPT[k]["torch"], KEPT[k]["options"]) == (kind, theirs)
    np.testing.assert_allclose(ours(name, options), KEPT[k]["p"], rtol=1e-13, atol=1e-15)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("k", range(len(reference.CASES)), ids=IDS)
def test_steps_of_the_torch_that_is_here(k: int) -> None:
    name, options, kind, theirs = reference.CASES[k]
    np.testing.assert_allclose(ours(name, options), reference.by_torch(kind, theirs), rtol=1e-13, atol=1e-15)


def test_every_optimizer_is_compared() -> None:
    assert {name for name, *_ in reference.CASES} == set(RULES)
    assert len(KEPT) == len(reference.CASES)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_pieces_change_nothing(name: str, decay: float) -> None:
    """A vector that is longer than a piece moves as its parts do, to the last bit."""
    r = np.random.default_rng(1)
    size = 2 * PIECE + 17
    p, gradients = r.normal(size=size), r.normal(size=(3, size))
    whole, part = p.copy(), p[PIECE - 5 : PIECE + 5].copy()
    long, short = (
        Optimizer(name, {"weight_decay": decay}, size, "float64"),
        Optimizer(name, {"weight_decay": decay}, 10, "float64"),
    )
    for g in gradients:
        long.step(whole, [(0, g[:100].copy()), (100, g[100:].copy())])
        short.step(part, [(0, g[PIECE - 5 : PIECE + 5].copy())])
    assert np.array_equal(whole[PIECE - 5 : PIECE + 5], part)


@pytest.mark.parametrize("name", RULES)
def test_single_precision_stays(name: str) -> None:
    optimizer = Optimizer(name, {}, 3, "float32")
    p = np.ones(3, "float32")
    optimizer.step(p, [(0, np.ones(3, "float32"))])
    assert p.dtype == np.float32 and all(s.dtype == np.float32 for s in optimizer.slots)
    assert np.all(p < 1)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("sgd", {"momentum": 0.9}, "momentum and nesterov have it"),
    ("adam", {"lrr": 0.1}, "did you mean `lr`?"),
    ("adam", {"lr": 0}, "`lr` of adam is a number above 0, not 0"),
    ("adam", {"lr": -1e-3}, "above 0"),
    ("adam", {"lr": float("nan")}, "above 0"),
    ("adam", {"lr": float("inf")}, "above 0"),
    ("adam", {"beta1": 1.0}, "from 0 on and below 1"),
    ("momentum", {"momentum": -0.1}, "from 0 on and below 1"),
    ("adam", {"lr": "fast"}, "'fast'"),
    ("adam", {"lr": True}, "True"),
]


@pytest.mark.parametrize(("name", "options", "said"), WRONG)
def test_wrong_settings(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(gl.InputError) as caught:
        Optimizer(name, options, 1, "float64")
    assert [d.code for d in caught.value.diagnostics] == ["G544"]
    assert said in str(caught.value)
