"""Ops for every count of some loops at once: what they are for each count on its own, whichever arguments have the loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.backend import numpy as array_backend
from gradlang.backend.artifact import Job, Param, Returns
from gradlang.backend.module import generate
from gradlang.check.calls import default_of
from gradlang.check.infer import infer
from gradlang.check.lift import Lift, emit
from gradlang.check.loops import Loop, dims
from gradlang.check.program import Ref
from gradlang.ir.tape import Builder
from gradlang.pipeline import optimized
from gradlang.prove.structural import Example, examples
from gradlang.runtime.load import load
from gradlang.transform.alignment import resized, rowwise
from gradlang.types import Type

LANGUAGE = gl.loads("x = 1\ny = 2*x").program.language
LOOPS = (Loop("i", 2, 0), Loop("j", 3, 1))
PATTERNS = ((), (0,), (1,), (0, 1))
STRUCTURAL = [n for n in LANGUAGE.table if not LANGUAGE.table[n].pointwise and n != "iota"]
CASES = [(n, k) for n in STRUCTURAL for k in range(len(examples(LANGUAGE.table[n])))]


def data(example: Example, patterns: tuple[tuple[int, ...], ...]) -> list[Any]:
    """An argument for every count of its loops: the example's own at the first count, near it at the others."""
    rng = np.random.default_rng(3)
    out = []
    for k, (t, own) in enumerate(zip(example.types, patterns, strict=True)):
        base = np.asarray(example.data.get(k, rng.uniform(-2, 2, t.shape)))  # type: ignore[arg-type]
        shape = (*(LOOPS[a].length for a in own), *t.shape)
        out.append(np.broadcast_to(base, shape).copy() if t.dtype == "int" else base + 0.1 * rng.uniform(-1, 1, shape))  # type: ignore[arg-type]
    return out


def compiled(b: Builder, made: int, arrays: list[Any]) -> Any:
    tape, _ = optimized(b.tape([("y", made)]), LANGUAGE, array_backend.spelled)
    kinds = ["int" if a.dtype.kind == "i" else "real" for a in arrays]
    params = tuple(Param(f"x{k}", "", Type(a.shape, d)) for k, (a, d) in enumerate(zip(arrays, kinds, strict=True)))
    job = Job(tape, params, Returns("dict", (("y", "y"),)), "f", "the table")
    found: Any = load(generate(job, LANGUAGE.table))
    return lambda *args: np.asarray(found(*(a if a.shape or a.dtype.kind == "i" else a[()] for a in args))["y"])


@pytest.mark.parametrize(("name", "which"), CASES)
def test_an_op_over_loops_is_that_of_every_count(name: str, which: int) -> None:
    op = LANGUAGE.table[name]
    example = examples(op)[which]
    attrs = tuple(example.attrs.get(a, default_of(d)) for a, d in zip(op.attrs, op.defaults, strict=True))
    attrs, type = infer(op, list(example.types), attrs, LANGUAGE.table)
    alone = Builder(LANGUAGE.table)
    leaves = [alone.leaf("input", (f"x{k}",), t, (0, 0)) for k, t in enumerate(example.types)]
    one = compiled(alone, alone.emit(op, leaves, attrs, type, (0, 0)).id, data(example, ((),) * len(leaves)))
    for patterns in product(PATTERNS, repeat=len(example.types)):
        if not any(patterns):
            continue
        arrays, b, refs = data(example, patterns), Builder(LANGUAGE.table), []
        for k, (a, t, own) in enumerate(zip(arrays, example.types, patterns, strict=True)):
            leaf = b.leaf("input", (f"x{k}",), Type(a.shape, t.dtype), (0, 0))
            refs.append(Ref(leaf.id, t, tuple(LOOPS[n] for n in own)))
        made = emit(b, LANGUAGE.table, op, refs, attrs, type, (0, 0), ())
        whole = Lift(b, LANGUAGE.table, made.axes, (0, 0), ()).full(made)
        got = compiled(b, whole.id, arrays)(*arrays)
        used = sorted({n for own in patterns for n in own})
        assert got.shape == dims(made.axes) + np.shape(one(*(a[(0,) * len(p)] for a, p in zip(arrays, patterns, strict=True))))
        for at in product(*(range(int(d)) for d in dims(made.axes))):  # type: ignore[arg-type]
            place = dict(zip(used, at, strict=True))
            wanted = one(*(a[tuple(place[n] for n in p)] for a, p in zip(arrays, patterns, strict=True)))
            np.testing.assert_allclose(got[at], wanted, rtol=1e-11, atol=1e-11, err_msg=f"{patterns} at {at}")


@pytest.mark.parametrize(("name", "which"), CASES)
def test_an_entry_along_an_axis_needs_what_the_alignment_says(name: str, which: int) -> None:
    op = LANGUAGE.table[name]
    example = examples(op)[which]
    attrs = tuple(example.attrs.get(a, default_of(d)) for a, d in zip(op.attrs, op.defaults, strict=True))
    attrs, type = infer(op, list(example.types), attrs, LANGUAGE.table)
    arrays = data(example, ((),) * len(example.types))
    b = Builder(LANGUAGE.table)
    leaves = [b.leaf("input", (f"x{k}",), t, (0, 0)) for k, t in enumerate(example.types)]
    made = b.emit(op, leaves, attrs, type, (0, 0)).id
    instr, whole = b.instrs[made], compiled(b, made, arrays)(*arrays)
    for axis in range(instr.type.rank if instr.op != "slice" else 0):  # of a slice the parts lie elsewhere
        found = rowwise(instr, [t.shape for t in example.types], axis, LANGUAGE.table)
        if found is None or all(a is None for a in found):
            continue
        for k in range(whole.shape[axis]):
            parts = [
                a[(*(slice(None),) * at, slice(k, k + 1))] if at is not None else a for a, at in zip(arrays, found, strict=True)
            ]
            part = Builder(LANGUAGE.table)
            given = [
                part.leaf("input", (f"x{j}",), Type(p.shape, t.dtype), (0, 0)).id
                for j, (p, t) in enumerate(zip(parts, example.types, strict=True))
            ]
            got = compiled(part, resized(part, instr, given, axis, 1), parts)(*parts)
            np.testing.assert_allclose(
                got, np.take(whole, [k], axis), rtol=1e-12, atol=1e-12, err_msg=f"axis {axis}, entry {k}"
            )
