"""Every array function against NumPy: values, gradients, forward against reverse mode, second derivatives.

The reference derivative is a central difference of sixth order of the NumPy formula, in NumPy's longest float.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

import gradlang as gl

SIZES = {"N": 4, "D": 3, "M": 2, "K": 5, "P": 6}
STENCIL = ((1, 45), (2, -9), (3, 1))  # times 1/60: the central difference of sixth order
STEP = 2e-3


@dataclass(frozen=True)
class Case:
    """A formula for `y` over typed inputs, and the same in NumPy; the inputs are the lambda's arguments, in order."""

    name: str
    inputs: str  # "x : [N, D]; i : int[K]"
    formula: str
    ref: Callable[..., Any]
    positive: bool = False
    given: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name


def row(name: str, inputs: str, formula: str, ref: Callable[..., Any], positive: bool = False, **given: Any) -> Case:
    return Case(name, inputs, formula, ref, positive, given)


def lse(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def soft(x: Any, axis: int = -1) -> Any:
    e = np.exp(x)
    return e / np.sum(e, axis=axis, keepdims=True)


def norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


def hot(labels: Any, n: int) -> Any:
    return (np.asarray(labels)[..., None] == np.arange(n)) * 1.0


V, A, B = "x : [N]", "x : [N, D]", "x : [M, N, D]"

REDUCTIONS = [
    row(f"{name}-{tag}", shape, f"y = {name}(x{args})", lambda x, f=f, kw=kw: f(x, **kw), positive=name == "prod")
    for name, f in {
        "sum": np.sum,
        "mean": np.mean,
        "prod": np.prod,
        "max": np.max,
        "min": np.min,
        "var": np.var,
        "std": np.std,
        "norm": norm,
        "logsumexp": lse,
    }.items()
    for tag, shape, args, kw in [
        ("vector", V, "", {}),
        ("all", A, "", {}),
        ("axis0", A, ", axis=0", {"axis": 0}),
        ("axis1", A, ", axis=1", {"axis": 1}),
        ("last", B, ", axis=-1", {"axis": -1}),
        ("middle", B, ", axis=-2", {"axis": -2}),
        ("keepdims", B, ", axis=1, keepdims=true", {"axis": 1, "keepdims": True}),
        ("keep_all", A, ", keepdims=true", {"keepdims": True}),
        ("several", B, ", axis=[0, 2]", {"axis": (0, 2)}),
        ("tuple", B, ", axis=(-1, 0)", {"axis": (-1, 0)}),
        ("several_keep", B, ", axis=[0, 1], keepdims=true", {"axis": (0, 1), "keepdims": True}),
    ]
] + [
    row("var-ddof", A, "y = var(x, axis=0, ddof=1)", lambda x: np.var(x, axis=0, ddof=1)),
    row("std-ddof", A, "y = std(x, axis=1, ddof=1)", lambda x: np.std(x, axis=1, ddof=1)),
    row("norm-1", A, "y = norm(x, 1, axis=1)", lambda x: np.sum(np.abs(x), axis=1)),
    row("norm-2", A, "y = norm(x, 2, axis=1)", lambda x: norm(x, 1)),
    row("norm-inf", A, "y = norm(x, inf, axis=1)", lambda x: np.max(np.abs(x), axis=1)),
    row("norm-minus-inf", V, "y = norm(x, -inf)", lambda x: np.min(np.abs(x))),
    row("norm-3", A, "y = norm(x, ord=3, axis=0)", lambda x: np.sum(np.abs(x) ** 3, axis=0) ** (x.dtype.type(1) / 3)),
    row("sum-positional-axis", A, "y = sum(x, 1)", lambda x: np.sum(x, 1)),
    row("max-of-mask", A, "y = sum(where(x > 0, x, 0), axis=0)", lambda x: np.sum(np.where(x > 0, x, 0), axis=0)),
]

RUNNING = [
    row(f"{name}-{tag}", shape, f"y = {name}(x{args})", lambda x, f=f, kw=kw: f(x, **kw))
    for name, f in {"cumsum": np.cumsum, "cumprod": np.cumprod, "sort": np.sort}.items()
    for tag, shape, args, kw in [
        ("vector", V, "", {}),
        ("axis0", A, ", axis=0", {"axis": 0}),
        ("axis1", A, ", axis=1", {"axis": 1}),
        ("last", B, ", axis=-1", {"axis": -1}),
        ("middle", B, ", axis=1", {"axis": 1}),
    ]
] + [
    row("sort-matrix", A, "y = sort(x)", np.sort),
    row("cumsum-flattens", A, "y = cumsum(x)", np.cumsum),
    row("cumprod-flattens", A, "y = cumprod(x)", np.cumprod),
]

NEURAL = [
    row("softmax-vector", V, "y = softmax(x)", soft),
    row("softmax-rows", A, "y = softmax(x)", soft),
    row("softmax-axis", B, "y = softmax(x, axis=1)", lambda x: soft(x, 1)),
    row("log_softmax-vector", V, "y = log_softmax(x)", lambda x: np.log(soft(x))),
    row("log_softmax-rows", A, "y = log_softmax(x)", lambda x: np.log(soft(x))),
    row("log_softmax-axis", A, "y = log_softmax(x, axis=0)", lambda x: np.log(soft(x, 0))),
    row(
        "cross_entropy-labels",
        "x : [N, D]; t : int[N]",
        "y = cross_entropy(x, t)",
        lambda x, t: -np.mean(np.sum(hot(t, x.shape[-1]) * np.log(soft(x)), axis=-1)),
        t=[2, 0, 1, 1],
    ),
    row(
        "cross_entropy-one-hot",
        "x : [N, D]; t : int[N]",
        "y = cross_entropy(x, one_hot(t, D))",
        lambda x, t: -np.mean(np.sum(hot(t, x.shape[-1]) * np.log(soft(x)), axis=-1)),
        t=[2, 0, 1, 1],
    ),
    row(
        "cross_entropy-soft",
        "x : [N, D]; t : [N, D]",
        "y = cross_entropy(x, t)",
        lambda x, t: -np.mean(np.sum(t * np.log(soft(x)), axis=-1)),
    ),
    row("cross_entropy-row", "x : [D]; t : [D]", "y = cross_entropy(x, t)", lambda x, t: -np.sum(t * np.log(soft(x)))),
    row("cross_entropy-row-label", "x : [D]; t : int", "y = cross_entropy(x, t)", lambda x, t: -np.log(soft(x))[t], t=1),
    row(
        "cross_entropy-scaled",
        "x : [N, D]; t : int[N]; s : []",
        "y = s*cross_entropy(s*x, t) + sum(x)*s",
        lambda x, t, s: -s * np.mean(np.sum(hot(t, x.shape[-1]) * np.log(soft(s * x)), axis=-1)) + np.sum(x) * s,
        t=[0, 2, 1, 0],
    ),
    row("mse", "x : [N, D]; t : [N, D]", "y = mse(x, t)", lambda x, t: np.mean((x - t) ** 2)),
    row("affine", "x : [N, D]; W : [D, K]; b : [K]", "y = affine(x, W, b)", lambda x, W, b: x @ W + b),
    row("affine-row", "x : [D]; W : [D, K]; b : [K]", "y = affine(x, W, b)", lambda x, W, b: x @ W + b),
    row("layer", "x : [N, D]; W : [D, K]; b : [K]", "y = tanh(affine(x, W, b))", lambda x, W, b: np.tanh(x @ W + b)),
]

PRODUCTS = [
    row(f"matmul-{i}", f"a : {a}; b : {b}", f"y = {form}", np.matmul)
    for i, (a, b, form) in enumerate(
        [
            ("[N]", "[N]", "a @ b"),
            ("[N, D]", "[D]", "a @ b"),
            ("[N]", "[N, D]", "a @ b"),
            ("[N, D]", "[D, K]", "matmul(a, b)"),
            ("[M, N, D]", "[M, D, K]", "a @ b"),
            ("[M, N, D]", "[D, K]", "a @ b"),
            ("[N, D]", "[M, D, K]", "a @ b"),
            ("[M, N, D]", "[D]", "a @ b"),
            ("[D]", "[M, D, K]", "a @ b"),
            ("[K, M, N, D]", "[M, D, P]", "a @ b"),
            ("[1, N, D]", "[M, D, K]", "a @ b"),
            ("[K, 1, N, D]", "[M, D, P]", "matmul(a, b)"),
            ("[K, M, N, D]", "[D]", "a @ b"),
            ("[D]", "[K, M, D, P]", "a @ b"),
            ("[1, D]", "[D, 1]", "a @ b"),
            ("[M, 1, D]", "[D, K]", "a @ b"),
        ]
    )
] + [
    row("dot-vectors", "a : [N]; b : [N]", "y = dot(a, b)", np.dot),
    row("dot-matrix-vector", "a : [N, D]; b : [D]", "y = dot(a, b)", np.dot),
    row("dot-vector-matrix", "a : [N]; b : [N, D]", "y = dot(a, b)", np.dot),
    row("dot-matrices", "a : [N, D]; b : [D, K]", "y = dot(a, b)", np.dot),
    row("dot-batch-matrix", "a : [M, N, D]; b : [D, K]", "y = dot(a, b)", np.dot),
    row("outer", "a : [N]; b : [D]", "y = outer(a, b)", np.outer),
    row("outer-flattens", "a : [N, M]; b : [D]", "y = outer(a, b)", np.outer),
    row("outer-same", V, "y = outer(x, x)", lambda x: np.outer(x, x)),
    row("gram", A, "y = x.T @ x", lambda x: x.T @ x),
    row("square-thrice", "x : [D, D]", "y = x @ x @ x", lambda x: x @ x @ x),
    row("chain", "a : [N, D]; b : [D, K]; c : [K]", "y = a @ b @ c", lambda a, b, c: a @ b @ c),
    row(
        "stretched-matmul",
        "s : [1, 1]; x : [N, D]",
        "y = broadcast_to(s, [N, N]) @ x",
        lambda s, x: np.full((4, 4), s[0, 0]) @ x,
    ),
    row(
        "stretched-row-matmul",
        "v : [N]; x : [N, N]",
        "y = broadcast_to(v, [N, N]) @ x",
        lambda v, x: np.broadcast_to(v, (4, 4)) @ x,
    ),
    row(
        "matmul-stretched",
        "x : [N, D]; v : [D]",
        "y = x @ broadcast_to(v, [D, D])",
        lambda x, v: x @ np.broadcast_to(v, (3, 3)),
    ),
    row(
        "ones-matmul",
        "x : [N, N]",
        "y = ones([N, N]) @ x + x @ ones([N, N])",
        lambda x: np.ones((4, 4)) @ x + x @ np.ones((4, 4)),
    ),
    row("matmul-of-transposes", "a : [D, N]; b : [K, D]", "y = a.T @ b.T", lambda a, b: a.T @ b.T),
]

EINSUM = [
    row(
        f"einsum {spec}",
        "; ".join(f"{n} : {t}" for n, t in zip("abc", shapes, strict=False)),
        f'y = einsum("{spec}", {", ".join("abc"[: len(shapes)])})',
        lambda *arrays, spec=spec: np.einsum(spec, *arrays),
    )
    for spec, *shapes in [
        ("ij,jk->ik", "[N, D]", "[D, K]"),
        ("ij,jk", "[N, D]", "[D, K]"),
        ("ij,kj->ki", "[N, D]", "[K, D]"),
        ("i,i->", "[N]", "[N]"),
        ("i,j->ij", "[N]", "[D]"),
        ("i,j->ji", "[N]", "[D]"),
        ("i,i->i", "[N]", "[N]"),
        ("ii", "[N, N]"),
        ("ii->", "[N, N]"),
        ("ii->i", "[N, N]"),
        ("ij->", "[N, D]"),
        ("ij->i", "[N, D]"),
        ("ij->j", "[N, D]"),
        ("ij->ji", "[N, D]"),
        ("ba", "[N, D]"),
        ("ijk->ik", "[M, N, D]"),
        ("iij->j", "[N, N, D]"),
        ("iji->ij", "[N, D, N]"),
        ("iii->i", "[D, D, D]"),
        ("iii", "[D, D, D]"),
        ("iijj->ij", "[M, M, D, D]"),
        ("iijj", "[M, M, D, D]"),
        ("bij,bjk->bik", "[M, N, D]", "[M, D, K]"),
        ("bij,jk->bik", "[M, N, D]", "[D, K]"),
        ("ij,ij->", "[N, D]", "[N, D]"),
        ("ij,ij->i", "[N, D]", "[N, D]"),
        ("i,ij,j->", "[N]", "[N, D]", "[D]"),
        ("ij,jk,kl->il", "[N, D]", "[D, K]", "[K, M]"),
        ("ik,jk,lk->ijl", "[N, D]", "[K, D]", "[M, D]"),
        ("ij,k->", "[N, D]", "[K]"),
        ("ij,k->i", "[N, D]", "[K]"),
        ("ii,ij->j", "[N, N]", "[N, D]"),
        ("ii,jj->ij", "[N, N]", "[D, D]"),
        ("ij,jk,ki->", "[N, D]", "[D, K]", "[K, N]"),
        ("ij, jk -> ik", "[N, D]", "[D, K]"),
        ("ij,->ij", "[N, D]", "[]"),
        ("IJ,Jk->Ik", "[N, D]", "[D, K]"),
        ("ii,jk->jk", "[N, N]", "[D, K]"),
        ("i,j,k->ijk", "[N]", "[D]", "[M]"),
    ]
] + [
    row("einsum-same-twice", "x : [D, D]", 'y = einsum("ij,jk->ik", x, x)', lambda x: np.einsum("ij,jk->ik", x, x)),
    row("einsum-same-thrice", "x : [D, D]", 'y = einsum("ij,jk,ki->", x, x, x)', lambda x: np.trace(x @ x @ x)),
]

SHAPES = [
    row("transpose-vector", V, "y = x.T * 1.5", lambda x: x.T * 1.5),
    row("transpose", A, "y = transpose(x)", np.transpose),
    row("T", A, "y = x.T", lambda x: x.T),
    row("T-of-three", B, "y = x.T", lambda x: x.T),
    row("transpose-axes", B, "y = transpose(x, [1, 2, 0])", lambda x: np.transpose(x, (1, 2, 0))),
    row("transpose-tuple", B, "y = transpose(x, axes=(2, 0, 1))", lambda x: np.transpose(x, (2, 0, 1))),
    row("transpose-negative", B, "y = transpose(x, (0, -1, 1))", lambda x: np.transpose(x, (0, -1, 1))),
    row("reshape", A, "y = reshape(x, [D, N])", lambda x: x.reshape(3, 4)),
    row("reshape-rest", B, "y = reshape(x, [M, -1])", lambda x: x.reshape(2, -1)),
    row("reshape-flat", B, "y = reshape(x, -1)", lambda x: x.reshape(-1)),
    row("reshape-one", A, "y = reshape(x, (N, 1, D, 1))", lambda x: x.reshape(4, 1, 3, 1)),
    row("reshape-product", A, "y = reshape(x, [N*D])", lambda x: x.reshape(-1)),
    row("reshape-scalar", "x : []", "y = reshape(x, [1, 1])", lambda x: np.reshape(x, (1, 1))),
    row("reshape-to-scalar", "x : [1, 1]", "y = reshape(x, [])", lambda x: np.reshape(x, ())),
    row("flatten", B, "y = flatten(x)", np.ravel),
    row("squeeze", "x : [N, 1, D, 1]", "y = squeeze(x)", np.squeeze),
    row("squeeze-axis", "x : [N, 1, D, 1]", "y = squeeze(x, axis=1)", lambda x: np.squeeze(x, 1)),
    row("squeeze-last", "x : [N, 1, D, 1]", "y = squeeze(x, -1)", lambda x: np.squeeze(x, -1)),
    row("expand_dims-0", A, "y = expand_dims(x, 0)", lambda x: np.expand_dims(x, 0)),
    row("expand_dims-1", A, "y = expand_dims(x, axis=1)", lambda x: np.expand_dims(x, 1)),
    row("expand_dims-last", A, "y = expand_dims(x, -1)", lambda x: np.expand_dims(x, -1)),
    row("expand_dims-several", A, "y = expand_dims(x, (0, -1))", lambda x: np.expand_dims(x, (0, -1))),
    row("broadcast_to", "x : [N]; z : [D]", "y = broadcast_to(x, [D, N])*z[:, None]", lambda x, z: x * z[:, None]),
    row("broadcast_to-one", "x : [N, 1]; z : [D]", "y = broadcast_to(x, [N, D]) + z", lambda x, z: x + z),
    row("broadcast_to-scalar", "x : []; z : [N, D]", "y = broadcast_to(x, shape(z)) - z", lambda x, z: x - z),
    row("broadcast_to-fixed", "x : []", "y = broadcast_to(x, [2, 3])", lambda x: np.broadcast_to(x, (2, 3))),
    row("repeat", A, "y = repeat(x, 2)", lambda x: np.repeat(x, 2)),
    row("repeat-axis0", A, "y = repeat(x, 2, axis=0)", lambda x: np.repeat(x, 2, 0)),
    row("repeat-axis1", A, "y = repeat(x, 3, axis=-1)", lambda x: np.repeat(x, 3, -1)),
    row("tile", V, "y = tile(x, 2)", lambda x: np.tile(x, 2)),
    row("tile-deeper", V, "y = tile(x, [2, 3])", lambda x: np.tile(x, (2, 3))),
    row("tile-matrix", A, "y = tile(x, [2, 1])", lambda x: np.tile(x, (2, 1))),
    row("tile-shorter", A, "y = tile(x, 2)", lambda x: np.tile(x, 2)),
    row("pad", V, "y = pad(x, 2)", lambda x: np.pad(x, 2)),
    row("pad-pair", V, "y = pad(x, [1, 2])", lambda x: np.pad(x, (1, 2))),
    row("pad-matrix", A, "y = pad(x, 1)", lambda x: np.pad(x, 1)),
    row("pad-axes", A, "y = pad(x, [[1, 0], [2, 3]])", lambda x: np.pad(x, ((1, 0), (2, 3)))),
    row("pad-axes-tuples", A, "y = pad(x, ((0, 0), (1, 1)))", lambda x: np.pad(x, ((0, 0), (1, 1)))),
    row("pad-pair-matrix", A, "y = pad(x, (1, 2))", lambda x: np.pad(x, (1, 2))),
    row("roll", V, "y = roll(x, 1)", lambda x: np.roll(x, 1)),
    row("roll-back", V, "y = roll(x, -1)", lambda x: np.roll(x, -1)),
    row("roll-more", V, "y = roll(x, 3)", lambda x: np.roll(x, 3)),
    row("roll-zero", V, "y = roll(x, 0)*2", lambda x: x * 2),
    row("roll-flat", A, "y = roll(x, 2)", lambda x: np.roll(x, 2)),
    row("roll-axis", A, "y = roll(x, 1, axis=1)", lambda x: np.roll(x, 1, 1)),
    row("roll-negative-axis", B, "y = roll(x, -2, axis=-2)", lambda x: np.roll(x, -2, -2)),
    row("flip", A, "y = flip(x)", np.flip),
    row("flip-axis", A, "y = flip(x, axis=0)", lambda x: np.flip(x, 0)),
    row("flip-last", B, "y = flip(x, -1)", lambda x: np.flip(x, -1)),
    row("flip-several", B, "y = flip(x, (0, 2))", lambda x: np.flip(x, (0, 2))),
    row("concat", "a : [N, D]; b : [M, D]", "y = concat([a, b])", lambda a, b: np.concatenate([a, b])),
    row("concat-axis", "a : [N, D]; b : [N, K]", "y = concat([a, b], axis=1)", lambda a, b: np.concatenate([a, b], 1)),
    row("concat-last", "a : [N, D]; b : [N, K]", "y = concat([a, b, a], axis=-1)", lambda a, b: np.concatenate([a, b, a], -1)),
    row("concat-const", V, "y = concat([[1, 2], x, zeros(2), x*x])", lambda x: np.concatenate([[1, 2], x, [0, 0], x * x])),
    row("stack", "a : [N]; b : [N]", "y = stack([a, b, a*b])", lambda a, b: np.stack([a, b, a * b])),
    row("stack-axis", "a : [N, D]; b : [N, D]", "y = stack([a, b], axis=1)", lambda a, b: np.stack([a, b], 1)),
    row("stack-last", "a : [N, D]; b : [N, D]", "y = stack([a, b], axis=-1)", lambda a, b: np.stack([a, b], -1)),
    row("stack-scalars", "a : []; b : []", "y = stack([a, b, a])", lambda a, b: np.stack([a, b, a])),
    row("array-of-scalars", "a : []; b : []", "y = [[a, b], [a*b, 2]]", lambda a, b: np.array([[a, b], [a * b, 2]])),
    row("array-of-vectors", "a : [N]; b : [N]", "y = [a, b, a - b]", lambda a, b: np.array([a, b, a - b])),
    row("array-of-entries", V, "y = [x[1], x[0]*x[1], 3]", lambda x: np.array([x[1], x[0] * x[1], 3])),
    row(
        "block",
        "a : [N, D]; b : [N, M]; c : [K, D]; d : [K, M]",
        "y = block([[a, b], [c, d]])",
        lambda a, b, c, d: np.block([[a, b], [c, d]]),
    ),
    row("block-row", "a : [N, D]; b : [N, M]", "y = block([a, b])", lambda a, b: np.block([a, b])),
    row("block-vectors", "a : [N]; b : [M]", "y = block([a, b])", lambda a, b: np.block([a, b])),
    row("split", "x : [6]", "y = split(x, 3)[1]*split(x, 3)[2]", lambda x: np.split(x, 3)[1] * np.split(x, 3)[2]),
    row(
        "split-at",
        "x : [6, D]",
        "p = split(x, [2, 4])\ny = p[0]*p[1] - p[2]",
        lambda x: np.split(x, [2, 4])[0] * np.split(x, [2, 4])[1] - np.split(x, [2, 4])[2],
    ),
    row("split-axis", "x : [N, 4]", "y = split(x, 2, axis=1)[1]", lambda x: np.split(x, 2, 1)[1]),
    row(
        "split-last",
        "x : [N, 2*D]",
        "p = split(x, 2, -1)\ny = p[0]*sigmoid(p[1])",
        lambda x: np.split(x, 2, -1)[0] / (1 + np.exp(-np.split(x, 2, -1)[1])),
    ),
    row("split-symbolic-edge", A, "a, b = split(x, [1])\ny = a*b", lambda x: x[:1] * x[1:]),
    row("take", V, "y = take(x, [2, 0, 2])", lambda x: np.take(x, [2, 0, 2])),
    row("take-axis", "x : [N, D]; i : int[K]", "y = take(x, i, axis=1)", lambda x, i: np.take(x, i, 1), i=[0, 2, 1, 2, 2]),
    row(
        "take-negative",
        "x : [N, D]; i : int[K]",
        "y = take(x, i, axis=-1)",
        lambda x, i: np.take(x, i, -1),
        i=[0, -1, 1, -3, 2],
    ),
    row(
        "take-matrix-index",
        "x : [N, D]; i : int[M, K]",
        "y = take(x, i, axis=0)",
        lambda x, i: np.take(x, i, 0),
        i=[[0, 3, 1, 1, 2], [3, 3, 0, 1, 2]],
    ),
    row("take-flattens", "x : [N, D]; i : int[K]", "y = take(x, i)", lambda x, i: np.take(x, i), i=[0, 11, 4, 4, 7]),
    row("zeros", V, "y = zeros([2, N]) + x", lambda x: np.zeros((2, 4)) + x),
    row("ones", V, "y = ones(N)*x", lambda x: x),
    row("full", "x : []", "y = full([4, 2], x)", lambda x: np.full((4, 2), x)),
    row("full-constant", V, "y = full(N, 2.5)*x", lambda x: 2.5 * x),
    row("eye", "x : [N, N]", "y = eye(N) @ x + eye(N)*x", lambda x: x + np.eye(4) * x),
    row("arange", V, "y = arange(N)*x", lambda x: np.arange(4) * x),
    row("arange-start", V, "y = arange(1, N + 1)*x", lambda x: np.arange(1, 5) * x),
    row("arange-step", V, "y = arange(0, 2*N, 2)*x", lambda x: np.arange(0, 8, 2) * x),
    row("arange-down", "x : [4]", "y = arange(4, 0, -1)*x", lambda x: np.arange(4, 0, -1) * x),
    row("linspace", V, "y = linspace(0, 1, N)*x", lambda x: np.linspace(0, 1, 4).astype(x.dtype) * x),
    row(
        "linspace-of-inputs",
        "a : []; b : []",
        "y = linspace(a, b, 5)",
        lambda a, b: a + (b - a) * np.arange(5).astype(np.asarray(a).dtype) / 4,
    ),
    row(
        "one_hot",
        "x : [N, D]; i : int[N]",
        "y = sum(x*one_hot(i, D), axis=1)",
        lambda x, i: np.sum(x * hot(i, 3), 1),
        i=[1, 1, 2, 0],
    ),
    row("size", A, "y = x*size(x)/N + size(x, 1)*x*x", lambda x: x * 3 + 3 * x * x),
    row("shape", A, "y = reshape(x, shape(x.T))*shape(x)[0]", lambda x: x.reshape(3, 4) * 4),
    row("where-array", "x : [N, D]; z : [D]", "y = where(x > 0.3, x*x, z)", lambda x, z: np.where(x > 0.3, x * x, z)),
]

INDEXING = [
    row(f"index {text.partition('=')[2].strip()} of {shape}", f"x : {shape}", text, ref)
    for text, shape, ref in [
        ("y = x[0]", "[N]", lambda x: x[0]),
        ("y = x[-1]", "[N]", lambda x: x[-1]),
        ("y = x[2]", "[N, D]", lambda x: x[2]),
        ("y = x[1, 2]", "[N, D]", lambda x: x[1, 2]),
        ("y = x[-2, -1]", "[N, D]", lambda x: x[-2, -1]),
        ("y = x[1][2]", "[N, D]", lambda x: x[1][2]),
        ("y = x[1:]", "[N]", lambda x: x[1:]),
        ("y = x[:-1]", "[N]", lambda x: x[:-1]),
        ("y = x[1:-1]", "[N]", lambda x: x[1:-1]),
        ("y = x[:]", "[N]", lambda x: x[:]),
        ("y = x[1:, -1]", "[N, D]", lambda x: x[1:, -1]),
        ("y = x[:, 1]", "[N, D]", lambda x: x[:, 1]),
        ("y = x[:, 1:]", "[N, D]", lambda x: x[:, 1:]),
        ("y = x[:2, 1:]", "[N, D]", lambda x: x[:2, 1:]),
        ("y = x[::-1]", "[N]", lambda x: x[::-1]),
        ("y = x[::-1, ::-1]", "[N, D]", lambda x: x[::-1, ::-1]),
        ("y = x[:, None]", "[N]", lambda x: x[:, None]),
        ("y = x[None]", "[N]", lambda x: x[None]),
        ("y = x[None, :, None]", "[N]", lambda x: x[None, :, None]),
        ("y = x[:, None, 1]", "[N, D]", lambda x: x[:, None, 1]),
        ("y = x[N-1]", "[N]", lambda x: x[3]),
        ("y = x[N-2:]", "[N]", lambda x: x[2:]),
        ("y = x[:N-1]", "[N]", lambda x: x[:3]),
        ("y = x[-2:]", "[N]", lambda x: x[-2:]),
        ("y = x[1:N]", "[N, D]", lambda x: x[1:4]),
        ("y = x[0, :, 1]", "[M, N, D]", lambda x: x[0, :, 1]),
        ("y = x[1:, :, 1:]", "[M, N, D]", lambda x: x[1:, :, 1:]),
        ("y = x[:, -1, :]", "[M, N, D]", lambda x: x[:, -1, :]),
        ("y = x[1:]*x[:-1]", "[N]", lambda x: x[1:] * x[:-1]),
        ("y = x[2:] - 2*x[1:-1] + x[:-2]", "[K]", lambda x: x[2:] - 2 * x[1:-1] + x[:-2]),
        ("y = x[1:][::-1][1:]", "[N]", lambda x: x[1:][::-1][1:]),
        ("y = x[::2]", "[2*N]", lambda x: x[::2]),
        ("y = x[1::2]", "[2*N]", lambda x: x[1::2]),
        ("y = x[::2]*x[1::2]", "[2*N]", lambda x: x[::2] * x[1::2]),
        ("y = x[::2]", "[7]", lambda x: x[::2]),
        ("y = x[1::3]", "[7]", lambda x: x[1::3]),
        ("y = x[::-2]", "[7]", lambda x: x[::-2]),
        ("y = x[5:1:-2]", "[7]", lambda x: x[5:1:-2]),
        ("y = x[-1:-4:-1]", "[7]", lambda x: x[-1:-4:-1]),
        ("y = x[2::-1]", "[7]", lambda x: x[2::-1]),
        ("y = x[1:6:2]", "[7]", lambda x: x[1:6:2]),
        ("y = x[3:100]", "[7]", lambda x: x[3:100]),
        ("y = x[-100:2]", "[7]", lambda x: x[-100:2]),
        ("y = x[::-3, 1::2]", "[7, 5]", lambda x: x[::-3, 1::2]),
        ("y = x[6::-3]", "[7]", lambda x: x[6::-3]),
        ("y = x[5::-3]", "[7]", lambda x: x[5::-3]),
        ("y = x[[2, 0, 2]]", "[N]", lambda x: x[[2, 0, 2]]),
        ("y = x[[0, -1]]", "[N, D]", lambda x: x[[0, -1]]),
        ("y = x[:, [2, 0]]", "[N, D]", lambda x: x[:, [2, 0]]),
        ("y = x[[[0, 1], [2, 2]]]", "[N]", lambda x: x[[[0, 1], [2, 2]]]),
        ("y = x[[0, 1], [2, 0]]", "[N, D]", lambda x: x[[0, 1], [2, 0]]),
    ]
] + [
    row("index x[i]", "x : [N]; i : int[K]", "y = x[i]", lambda x, i: x[i], i=[0, 3, 3, 1, 0]),
    row("index x[i] negative", "x : [N]; i : int[K]", "y = x[i]", lambda x, i: x[i], i=[0, -1, -4, 1, -2]),
    row("index rows x[i]", "x : [N, D]; i : int[K]", "y = x[i]", lambda x, i: x[i], i=[0, 3, 3, 1, 0]),
    row("index matrix x[i]", "x : [N, D]; i : int[M, K]", "y = x[i]", lambda x, i: x[i], i=[[0, 3, 3, 1, 0], [1, 1, 1, 2, 2]]),
    row("index scalar x[i]", "x : [N, D]; i : int", "y = x[i]", lambda x, i: x[i], i=2),
    row("index x[:, i]", "x : [N, D]; i : int[K]", "y = x[:, i]", lambda x, i: x[:, i], i=[0, 2, 2, 1, 0]),
    row("index x[1:, i]", "x : [N, D]; i : int[K]", "y = x[1:, i]", lambda x, i: x[1:, i], i=[0, 2, 2, 1, 0]),
    row("index x[i, 1:]", "x : [N, D]; i : int[K]", "y = x[i, 1:]", lambda x, i: x[i, 1:], i=[0, 2, 3, 1, 0]),
    row("index x[i, 1]", "x : [N, D]; i : int[K]", "y = x[i, 1]", lambda x, i: x[i, 1], i=[0, 2, 3, 1, 0]),
    row("index x[2, i]", "x : [N, D]; i : int[K]", "y = x[2, i]", lambda x, i: x[2, i], i=[0, 2, 1, 1, 0]),
    row("index x[i, None]", "x : [N]; i : int[K]", "y = x[i, None]", lambda x, i: x[i, None], i=[0, 2, 1, 1, 0]),
    row(
        "index x[i, j]",
        "x : [N, D]; i : int[K]; j : int[K]",
        "y = x[i, j]",
        lambda x, i, j: x[i, j],
        i=[0, 3, 3, 1, 0],
        j=[2, 1, 1, 0, 2],
    ),
    row(
        "index x[i, j] negative",
        "x : [N, D]; i : int[K]; j : int[K]",
        "y = x[i, j]",
        lambda x, i, j: x[i, j],
        i=[0, -1, 3, 1, -4],
        j=[-1, 1, -3, 0, -2],
    ),
    row(
        "index x[i, j] stretched",
        "x : [N, D]; i : int[K, 1]; j : int[M]",
        "y = x[i, j]",
        lambda x, i, j: x[i, j],
        i=[[0], [3], [3], [1], [0]],
        j=[2, 1],
    ),
    row(
        "index x[i, j] rows",
        "x : [N, D, M]; i : int[K]; j : int[K]",
        "y = x[i, j]",
        lambda x, i, j: x[i, j],
        i=[0, 3, 3, 1, 0],
        j=[2, 1, 1, 0, 2],
    ),
    row(
        "index x[:, i, j]",
        "x : [M, N, D]; i : int[K]; j : int[K]",
        "y = x[:, i, j]",
        lambda x, i, j: x[:, i, j],
        i=[0, 3, 3, 1, 0],
        j=[2, 1, 1, 0, 2],
    ),
    row(
        "index x[i, j, k]",
        "x : [M, N, D]; i : int[K]; j : int[K]; k : int[K]",
        "y = x[i, j, k]",
        lambda x, i, j, k: x[i, j, k],
        i=[0, 1, 1, 1, 0],
        j=[2, 3, 3, 0, 2],
        k=[2, 1, 1, 0, 2],
    ),
    row("index by arange", "x : [N, D]; t : int[N]", "y = x[arange(N), t]", lambda x, t: x[np.arange(4), t], t=[2, 0, 1, 1]),
    row("index by argmax", A, "y = x[argmax(x, axis=0)]", lambda x: x[np.argmax(x, axis=0)]),
    row("index by arithmetic", "x : [N]; i : int[K]", "y = x[i + 1] - x[i]", lambda x, i: x[i + 1] - x[i], i=[0, 2, 1, 1, 0]),
]

BROADCAST = [
    row("rows", "x : [N, D]; z : [D]", "y = x*z + z", lambda x, z: x * z + z),
    row("columns", "x : [N, D]; z : [N]", "y = x/(2 + z[:, None]**2)", lambda x, z: x / (2 + z[:, None] ** 2)),
    row("outer sum", "x : [N]; z : [D]", "y = x[:, None]*z - z", lambda x, z: x[:, None] * z - z),
    row("scalar", "x : [N, D]; z : []", "y = x*z + z", lambda x, z: x * z + z),
    row("one", "x : [N, 1]; z : [1, D]", "y = x*z", lambda x, z: x * z),
    row("batch", "x : [M, N, D]; z : [N, 1]", "y = exp(x*z)", lambda x, z: np.exp(x * z)),
    row("keepdims", A, "y = x - mean(x, axis=1, keepdims=true)", lambda x: x - np.mean(x, axis=1, keepdims=True)),
    row("standardise", A, "y = (x - mean(x, axis=0))/std(x, axis=0)", lambda x: (x - np.mean(x, 0)) / np.std(x, 0)),
    row("literal", "x : [N, 3]", "y = x*[1, 2, 3]", lambda x: x * np.array([1, 2, 3])),
    row("pairwise", "x : [N, D]; z : [M, D]", "y = norm(x[:, None, :] - z, axis=-1)", lambda x, z: norm(x[:, None, :] - z, -1)),
    row("pow", "x : [N, D]; z : [D]", "y = x**z", lambda x, z: x**z, positive=True),
]

CASES = REDUCTIONS + RUNNING + NEURAL + PRODUCTS + EINSUM + SHAPES + INDEXING + BROADCAST


# ------------------------------------------------------------------ how a case is run
def fixed(text: str) -> str:
    """The text with numbers in place of its sizes."""
    strings = re.split(r'("[^"]*")', text)
    return "".join(s if s.startswith('"') else re.sub(r"\b[NDMKP]\b", lambda m: str(SIZES[m[0]]), s) for s in strings)


def leaves(case: Case) -> dict[str, tuple[str, tuple[int, ...]]]:
    """name -> kind and shape of each input."""
    out = {}
    for part in case.inputs.split("; "):
        name, _, type = part.partition(" : ")
        kind, _, dims = type.rstrip("]").partition("[")
        sizes = [d.strip() for d in fixed(dims).split(",") if d.strip()]
        out[name] = (kind, tuple(int(np.prod([int(f) for f in d.split("*")])) for d in sizes))
    return out


def separated(rng: np.random.Generator, shape: tuple[int, ...], positive: bool) -> Any:
    """Random numbers that are well apart from each other and from 0, so that no stencil crosses a kink."""
    n = int(np.prod(shape))
    values = (np.arange(n) + 0.5 + rng.uniform(-0.2, 0.2, n)) / n * 1.8
    signs = 1 if positive else rng.choice([-1, 1], n)
    return np.asarray((rng.permutation(values) + 0.1).reshape(shape) * np.reshape(signs, () if positive else shape))


def data(case: Case) -> dict[str, Any]:
    rng = np.random.default_rng(sum(map(ord, case.name)))
    return {
        n: np.array(case.given[n]) if n in case.given else separated(rng, shape, case.positive)
        for n, (_, shape) in leaves(case).items()
    }


@cache
def program(inputs: str, formula: str, symbolic: bool, head: str) -> gl.Model:
    """The program for y, and a scalar `loss` of y with an input `w` of the shape of y."""
    lines = [f"input {part}".replace(" : []", "") for part in inputs.split("; ")] + [formula]
    text = "\n".join(lines)
    if not symbolic:
        text = fixed(text)
    if head:
        shape = gl.loads(text).outputs["y"].shape
        text += "\ninput w" + (f" : [{', '.join(map(str, shape))}]" if shape else "") + "\n"
        text += f"loss = {'sum' if shape else ''}({'y' if head == 'plain' else f'w*{head}(y)'})"
    return gl.loads(text)


def symbolics(case: Case) -> list[bool]:
    return [True, False] if fixed(case.inputs) != case.inputs else [False]


BOTH = [pytest.param(c, s, id=f"{c.name}{'' if s else ' fixed'}") for c in CASES for s in symbolics(case=c)]


def weights(shape: tuple[int, ...], seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def differences(f: Callable[[Any], Any], h: float) -> Any:
    """d f(t)/dt at 0, by the stencil."""
    return sum(c * (f(k * h) - f(-k * h)) for k, c in STENCIL) / (60 * h)


def reference(case: Case, inputs: dict[str, Any], w: Any, name: str) -> Any:
    """The gradient of sum(w*y) by one input, of the NumPy formula in long doubles."""
    long = {n: np.asarray(v, np.longdouble) if v.dtype.kind == "f" else v for n, v in inputs.items()}
    h = np.longdouble(STEP)
    out = np.zeros(inputs[name].shape, np.longdouble)
    for at in np.ndindex(out.shape):

        def along(t: Any, at: tuple[int, ...] = at) -> Any:
            moved = long[name].copy()
            moved[at] += t
            return np.sum(w * case.ref(*({**long, name: moved}).values()))

        out[at] = differences(along, h)
    return out.astype(float)


def close(got: Any, wanted: Any, rtol: float, atol: float) -> None:
    assert np.shape(got) == np.shape(wanted)
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


# ------------------------------------------------------------------ the tests
@pytest.mark.parametrize(("case", "symbolic"), BOTH)
def test_value(case: Case, symbolic: bool) -> None:
    inputs = data(case)
    got = program(case.inputs, case.formula, symbolic, "")(inputs)
    wanted = case.ref(*inputs.values())
    close(got, wanted, 1e-13, 1e-14)
    assert np.asarray(got).dtype == np.float64


@pytest.mark.parametrize(("case", "symbolic"), BOTH)
def test_gradient(case: Case, symbolic: bool) -> None:
    inputs = data(case)
    w = weights(np.shape(case.ref(*inputs.values())))
    f = program(case.inputs, case.formula, symbolic, " ").value_and_grad("loss")
    value, grads = f(inputs, w=w)
    assert value == pytest.approx(np.sum(w * case.ref(*inputs.values())), rel=1e-12, abs=1e-13)
    reals = [n for n, (kind, _) in leaves(case).items() if not kind]
    assert set(grads) == {*reals, "w"}
    for n in reals:
        close(grads[n], reference(case, inputs, w, n), 1e-9, 1e-10)
    close(grads["w"], case.ref(*inputs.values()), 1e-13, 1e-14)


@pytest.mark.parametrize(("case", "symbolic"), BOTH)
def test_gradient_of_the_plain_sum(case: Case, symbolic: bool) -> None:
    """Here the cotangent is one number everywhere, which is never stored as an array."""
    inputs = data(case)
    shape = np.shape(case.ref(*inputs.values()))
    model = program(case.inputs, case.formula, symbolic, "plain")
    grads = model.value_and_grad("loss")(inputs, w=np.zeros(shape))[1]
    assert np.array_equal(grads.pop("w"), np.zeros(shape))
    for n in grads:
        close(grads[n], reference(case, inputs, np.ones(shape), n), 1e-9, 1e-10)
    assert set(grads) == {n for n, (kind, _) in leaves(case).items() if not kind}


@pytest.mark.parametrize(("case", "symbolic"), BOTH)
def test_forward_is_reverse(case: Case, symbolic: bool) -> None:
    """u . (J v) by forward mode is (u J) . v by reverse mode, and both are linear in their vector."""
    inputs = data(case)
    model = program(case.inputs, case.formula, symbolic, "")
    wanted = case.ref(*inputs.values())
    reals = [n for n, (kind, _) in leaves(case).items() if not kind]
    u, v = weights(np.shape(wanted), 1), {n: weights(inputs[n].shape, 2 + k) for k, n in enumerate(reals)}
    value, push = model.jvp("y", wrt=reals)(v, inputs)
    again, pull = model.vjp("y", wrt=reals)(u, inputs)
    close(value, wanted, 1e-13, 1e-14)
    close(again, wanted, 1e-13, 1e-14)
    assert np.shape(push) == np.shape(wanted)
    left, right = np.sum(u * push), sum(np.sum(pull[n] * v[n]) for n in reals)
    assert left == pytest.approx(right, rel=1e-11, abs=1e-12)
    thrice = model.vjp("y", wrt=reals)(-3 * u, inputs)[1]
    for n in reals:
        close(thrice[n], -3 * pull[n], 1e-13, 1e-14)


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("head", ["sin", "plain"])
def test_second_order(case: Case, head: str) -> None:
    """The Hessian of a function of y is symmetric, and is the difference of its gradients."""
    inputs = data(case)
    model = program(case.inputs, case.formula, symbolics(case)[0], head)
    reals = [n for n, (kind, _) in leaves(case).items() if not kind]
    rest = {**inputs, "w": weights(np.shape(case.ref(*inputs.values())))}
    first, second = ({n: weights(inputs[n].shape, 10 * s + k) for k, n in enumerate(reals)} for s in (1, 2))
    product = model.hvp("loss", wrt=reals)
    curve, other = product(first, rest)[1], product(second, rest)[1]
    left = sum(np.sum(curve[n] * second[n]) for n in reals)
    right = sum(np.sum(other[n] * first[n]) for n in reals)
    assert left == pytest.approx(right, rel=1e-9, abs=1e-10)
    gradient = model.value_and_grad("loss", wrt=reals)
    for n in reals:
        h = STEP / max(np.abs(first[m]).max() for m in reals)

        def along(t: float, n: str = n) -> Any:
            return gradient({**rest, **{m: inputs[m] + t * first[m] for m in reals}})[1][n]

        close(curve[n], differences(along, h), 1e-7, 1e-8)


# ------------------------------------------------------------------ results that are not real
WHOLE = [
    (V, "argmax(x)", np.argmax),
    (V, "argmin(x)", np.argmin),
    (A, "argmax(x, axis=0)", lambda x: np.argmax(x, 0)),
    (A, "argmin(x, axis=-1)", lambda x: np.argmin(x, -1)),
    (B, "argmax(x, axis=1)", lambda x: np.argmax(x, 1)),
    (A, "argmax(x)", np.argmax),
    (A, "argmin(x)", np.argmin),
    (A, "any(x > 1)", lambda x: np.any(x > 1)),
    (A, "all(x > -9)", lambda x: np.all(x > -9)),
    (A, "any(x > 0, axis=0)", lambda x: np.any(x > 0, 0)),
    (A, "all(x > 0, axis=-1)", lambda x: np.all(x > 0, -1)),
    (B, "any(x > 0, axis=[0, 2])", lambda x: np.any(x > 0, (0, 2))),
    (B, "all(x > 0, axis=1, keepdims=true)", lambda x: np.all(x > 0, 1, keepdims=True)),
    (A, "x > 0.1", lambda x: x > 0.1),
    (A, "not (x > 0.1) and x < 1 or x == x", lambda x: ~(x > 0.1) & (x < 1) | (x == x)),
    (A, "sum(x > 0)", lambda x: np.sum(x > 0)),
    (A, "mean(x > 0, axis=0)", lambda x: np.mean(x > 0, 0)),
    (A, "any(x)", np.any),
    (A, "all(x)", np.all),
    (V, "arange(N)", lambda x: np.arange(4)),
    (V, "arange(2, 11, 3)", lambda x: np.arange(2, 11, 3)),
    (V, "arange(5, 0, -2)", lambda x: np.arange(5, 0, -2)),
    (V, "eye(N)", lambda x: np.eye(4)),
    (V, "zeros([2, N])", lambda x: np.zeros((2, 4))),
    (V, "ones(3)", lambda x: np.ones(3)),
    (V, "full((2, 2), 7)", lambda x: np.full((2, 2), 7)),
    (V, "linspace(0, 1, 5)", lambda x: np.linspace(0, 1, 5)),
    (V, "linspace(2, -1)", lambda x: np.linspace(2, -1)),
    (V, "linspace(2, 3, 1)", lambda x: np.linspace(2, 3, 1)),
    (V, "size(x)", np.size),
    (A, "size(x, 0) + size(x, -1)", lambda x: 7),
    (A, "shape(x)", np.shape),
    (A, "shape(x)[1]", lambda x: 3),
    (V, "one_hot([2, 0, 1], 4)", lambda x: hot([2, 0, 1], 4)),
    (V, "one_hot(1, N)", lambda x: hot(1, 4)),
    (V, "pad(ones(2), 1, value=5)", lambda x: np.pad(np.ones(2), 1, constant_values=5)),
]


@pytest.mark.parametrize(("inputs", "formula", "ref"), WHOLE, ids=[f"{t.partition(':')[2]} {f}" for t, f, _ in WHOLE])
@pytest.mark.parametrize("symbolic", [True, False])
def test_other_results(inputs: str, formula: str, ref: Callable[[Any], Any], symbolic: bool) -> None:
    x = data(row(formula, inputs, "", ref))["x"]
    text = f"input {inputs}\ny = {formula}\nz = sum(x)"
    got = gl.loads(text if symbolic else fixed(text)).function("y")(x=x)
    wanted = np.asarray(ref(x))
    close(np.asarray(got, float), wanted.astype(float), 1e-15, 1e-15)
    if wanted.dtype.kind in "b":
        assert np.asarray(got).dtype == bool


def test_first_of_equal_entries_is_chosen() -> None:
    model = gl.loads("input x : [N]\nhigh = argmax(x)\nlow = argmin(x)\ns = sort(x)")
    out = model(x=[1, 3, 0, 3, 0])
    assert (out["high"], out["low"]) == (1, 2)
    assert out["s"].tolist() == [0, 0, 1, 3, 3]


def test_sort_of_equal_entries_passes_each_weight_once() -> None:
    f = gl.loads("input x : [3]\ninput w : [3]\ny = sum(w*sort(x))").value_and_grad("y", wrt="x")
    assert sorted(f(x=[2, 2, 1], w=[1, 10, 100])[1]["x"].tolist()) == [1, 10, 100]


def test_empty_arrays() -> None:
    model = gl.loads("input x : [N]\ns = sum(x)\np = prod(x)\nc = cumsum(x)\nn = norm(x)\nt = s + p + n + sum(c)")
    f = model.function(["s", "p", "c", "n"])
    out = f(x=np.zeros(0))
    assert (out["s"], out["p"], out["n"]) == (0, 1, 0)
    assert out["c"].shape == (0,)
    assert model.value_and_grad("t", wrt="x")(x=np.zeros(0))[1]["x"].shape == (0,)


@pytest.mark.parametrize("formula", ["max(x)", "min(x)", "x[argmax(x)]"])
def test_the_maximum_of_no_entries_is_an_input_error(formula: str) -> None:
    with pytest.raises(gl.InputError):
        gl.loads(f"input x : [N]\ny = {formula}")(x=np.zeros(0))


@pytest.mark.parametrize(("start", "stop", "num"), [(0.1, 0.7, 7), (-0.3, 1e-3, 11), (1e8, 0.1, 3), (0.0, 1.0, 50)])
def test_linspace_ends_at_its_stop(start: float, stop: float, num: int) -> None:
    got = gl.loads(f"input a\ninput b\ny = linspace(a, b, {num})")(a=start, b=stop)
    assert (got[0], got[-1]) == (start, stop)
    close(got, np.linspace(start, stop, num), 1e-14, 1e-16)


# ------------------------------------------------------------------ sizes
def test_one_program_serves_every_size() -> None:
    f = gl.loads("input x : [N, D]\nloss = sum((x[1:] - x[:-1])**2)/(N - 1)").value_and_grad("loss")
    for n, d in ((2, 1), (5, 3), (9, 2)):
        x = weights((n, d), n)
        value, grads = f(x=x)
        step = np.diff(x, axis=0)
        wanted = np.zeros((n, d))
        wanted[1:] += 2 * step / (n - 1)
        wanted[:-1] -= 2 * step / (n - 1)
        assert value == pytest.approx(np.sum(step**2) / (n - 1), rel=1e-14)
        close(grads["x"], wanted, 1e-13, 1e-15)


@pytest.mark.parametrize("formula", ["x + z", "concat([x[:, None], z[:, None]], axis=1)", "x @ z"])
def test_two_sizes_that_meet_are_an_error(formula: str) -> None:
    with pytest.raises(gl.SourceError, match=r"N|M"):
        gl.loads(f"input x : [N]\ninput z : [M]\ny = {formula}")


@pytest.mark.parametrize(
    "formula",
    [
        "x[4]",
        "x[-5]",
        "x[:, 0]",
        "sum(x, axis=1)",
        "reshape(x, [3])",
        "x[0.5]",
        "split(x, 3)",
        "concat([x, ones([2, 2])])",
        "transpose(x, [1])",
        "squeeze(x, 0)",
        "stack([x, ones(3)])",
        'einsum("ij->i", x)',
        'einsum("i->j", x)',
        "broadcast_to(x, [3])",
        "x @ 2",
        "[x, 1]",
    ],
)
def test_misuse_is_an_error_of_the_text(formula: str) -> None:
    with pytest.raises(gl.SourceError):
        gl.loads(f"input x : [4]\ny = {formula}")


@pytest.mark.parametrize("index", [[0, 4], [-5, 1]])
@pytest.mark.parametrize("formula", ["x[i]", "take(x, i)", "x[i]*2"])
def test_an_index_outside_is_an_input_error(formula: str, index: list[int]) -> None:
    model = gl.loads(f"input x : [N]\ninput i : int[2]\ny = {formula}\nz = sum(y)")
    with pytest.raises(gl.InputError):
        model.function("y")(x=np.ones(4), i=index)
    with pytest.raises(gl.InputError):
        model.value_and_grad("z", wrt="x")(x=np.ones(4), i=index)


@pytest.mark.parametrize(("i", "j"), [([0], [3]), ([4], [0]), ([1], [-4]), ([-5], [2])])
def test_an_index_pair_outside_does_not_reach_another_row(i: list[int], j: list[int]) -> None:
    f = gl.loads("input x : [N, D]\ninput i : int[K]\ninput j : int[K]\ny = x[i, j]").function("y")
    with pytest.raises(gl.InputError):
        f(x=np.arange(12.0).reshape(4, 3), i=i, j=j)


@pytest.mark.parametrize(("formula", "size"), [("x[2]", 2), ("x[-3]", 2), ("x[3:]", 2), ("x[:-3]", 2)])
def test_an_index_outside_a_symbolic_size_is_an_input_error(formula: str, size: int) -> None:
    f = gl.loads(f"input x : [N]\ny = sum({formula})").function("y")
    assert np.isfinite(f(x=np.ones(3)))
    with pytest.raises(gl.InputError):
        f(x=np.ones(size))
