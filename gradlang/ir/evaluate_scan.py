"""Recurrences and implicit definitions in the reference interpreter, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.ir.tape import Instr, Root, Scan

if TYPE_CHECKING:
    from gradlang.ir.evaluate import Machine


def recur(m: Machine, instr: Instr, args: list[Any]) -> list[Any]:
    """The sequences of a recurrence."""
    scan: Scan = instr.attrs[0]
    extra = m.dims(scan.extra)
    out: list[Any] = []
    for k, type in enumerate(scan.types):
        rows = np.full((m.dims(scan.length)[0] + extra[k], *m.dims(type.shape)), m.number(0.0), m.dtype)
        rows[: len(args[k])] = args[k]
        out.append(rows)
    for t in range(m.dims(scan.length)[0]):
        keys = [i.attrs[0] for i in scan.body.instrs if i.op == "input"]
        made = m.within({key: read(scan, key, t, out, extra, args) for key in keys}).run(scan.body)
        for p, (_, i) in enumerate(scan.body.outputs):
            if scan.kind == "pull":
                out[p][extra[p] + t] = made[i]
                continue
            k, lag = scan.ports[p]
            if lag is None:
                out[k] = out[k] + made[i]
            else:
                out[k][t + lag] = out[k][t + lag] + made[i]
    return out


def read(scan: Scan, key: tuple[str, int, Any], t: int, out: list[Any], extra: tuple[int, ...], args: list[Any]) -> Any:
    """An input of the body at step t."""
    kind, k, lag = key
    many = len(scan.names)
    if kind == "state":
        return out[k][extra[k] + t - lag]
    if kind == "past":
        return out[k]
    if kind == "inbox":
        return out[k][t]
    return args[many + k][t] if kind == "row" else args[many + scan.rows + k]


LONGEST = 100  # steps of Newton's method
NEAR = 1e-9  # from here on steps are taken until they get no smaller


def newton(m: Machine, instr: Instr, args: list[Any]) -> Any:
    """The value where the residual is zero. Raises ArithmeticError if Newton's method does not find it."""
    root: Root = instr.attrs[0]
    held = {("held", j, None): x for j, x in enumerate(args[1:])}
    x = np.array(np.broadcast_to(args[0], m.dims(instr.type.shape)), m.dtype)
    last = None
    for _ in range(LONGEST):
        made = m.within({("unknown", 0, None): x, **held}).run(root.body)
        step = np.asarray(made[dict(root.body.outputs)["step"]])
        x = np.asarray(x - step, m.dtype)
        size = max((abs(s) / (1 + abs(v)) for s, v in zip(step.ravel(), x.ravel(), strict=True)), default=0)
        if size == 0 or (last is not None and last < NEAR and not size < last):
            return x[()]
        last = size
    raise ArithmeticError(f"Newton's method finds no solution for `{root.name}`")
