"""python tests/torch_optimizers.py: parameters after each step of torch.optim, for gradients that are written down here.

The result is kept in golden/torch_optimizers.json, so that the test needs no torch; where it is installed, the test compares
with it again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent / "golden" / "torch_optimizers.json"
STEPS, SIZE = 12, 5
# name of ours, settings of ours, class of torch, arguments of torch
CASES: list[tuple[str, dict[str, float], str, dict[str, Any]]] = [
    ("sgd", {}, "SGD", {"lr": 1e-3}),
    ("sgd", {"lr": 0.1, "weight_decay": 0.2}, "SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("momentum", {}, "SGD", {"lr": 1e-3, "momentum": 0.9}),
    ("momentum", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}, "SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}),
    ("nesterov", {"lr": 0.1, "momentum": 0.8}, "SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ("adagrad", {}, "Adagrad", {}),
    ("adagrad", {"lr": 0.5, "eps": 1e-3, "weight_decay": 0.1}, "Adagrad", {"lr": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("rmsprop", {}, "RMSprop", {}),
    ("rmsprop", {"lr": 0.1, "alpha": 0.7, "eps": 1e-4}, "RMSprop", {"lr": 0.1, "alpha": 0.7, "eps": 1e-4}),
    ("adam", {}, "Adam", {}),
    ("adam", {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}, "Adam", {"lr": 0.1, "betas": [0.5, 0.9], "eps": 1e-3}),
    ("adam", {"weight_decay": 0.1}, "Adam", {"weight_decay": 0.1}),
    ("adamw", {}, "AdamW", {}),
    ("adamw", {"lr": 0.1, "weight_decay": 0.5}, "AdamW", {"lr": 0.1, "weight_decay": 0.5}),
]


def start() -> list[float]:
    return [math.cos(3.0 * i) for i in range(SIZE)]


def gradient(step: int) -> list[float]:
    """Of all sizes, with exact zeros."""
    return [0.0 if i == 2 and step < 3 else math.sin(1 + 2.7 * i + step) * 10.0 ** (i - 2) for i in range(SIZE)]


def by_torch(kind: str, options: dict[str, Any]) -> list[list[float]]:
    """The parameters after each step, in float64. Raises ImportError without torch."""
    import torch

    p = torch.tensor(start(), dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, kind)([p], **options)
    out = []
    for step in range(STEPS):
        p.grad = torch.tensor(gradient(step), dtype=torch.float64)
        optimizer.step()
        out.append(p.detach().tolist())
    return out


if __name__ == "__main__":
    import torch

    rows = [{"torch": kind, "options": theirs, "p": by_torch(kind, theirs)} for _, _, kind, theirs in CASES]
    KEPT.write_text(json.dumps({"version": torch.__version__, "cases": rows}, indent=1) + "\n", encoding="utf-8")
