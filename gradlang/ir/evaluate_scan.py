"""Recurrences in the reference interpreter, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.ir.tape import Instr, Scan

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
