"""The whole state of a fit, and how it is kept on disk.

A state holds all that the next step depends on, so a run that is continued gives the same bits as one that was never
interrupted: the parameters, what the optimiser keeps, the place in the epoch, and sums of the epoch. The order of the
rows needs no generator: it follows from the seed and the number of the epoch.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlang.diagnostics import InputError
from gradlang.fit import errors
from gradlang.runtime.data import from_numpy
from gradlang.runtime.saving import save

Array = NDArray[Any]
FORMAT = 1
Row = dict[str, float]
VALID = "valid_"  # stands before the names of values of validation data


@dataclass
class State:
    """`run` says what run this is of; `step` and `epoch` count what is done; `at` is the number of batches done in the epoch,
    `sums` are weighted sums of values over them, `rows` the sum of their weights. `slots` are the vectors of the optimiser."""

    run: dict[str, Any]
    vector: Array
    slots: list[Array]
    step: int = 0
    epoch: int = 0
    at: int = 0
    sums: Row = field(default_factory=dict)
    rows: int = 0
    history: list[Row] = field(default_factory=list)

    def copy(self) -> State:
        """The state as it is now. The list of rows is shared: those of later epochs are not the state's."""
        slots = [s.copy() for s in self.slots]
        sums = dict(self.sums)
        return State(self.run, self.vector.copy(), slots, self.step, self.epoch, self.at, sums, self.rows, self.history)

    @property
    def done(self) -> list[Row]:
        """The rows of the epochs that are done."""
        return self.history[: self.epoch]

    def data(self) -> bytes:
        """The state as a file in NumPy's npz format."""
        meta = {"format": FORMAT, "run": self.run, "step": self.step, "epoch": self.epoch, "at": self.at}
        meta |= {"sums": self.sums, "rows": self.rows, "history": self.done}
        text = np.frombuffer(json.dumps(meta, ensure_ascii=False).encode(), np.uint8)
        slots = {f"slot{k}": s for k, s in enumerate(self.slots)}
        return npz({"fit": text, "vector": self.vector, **slots})

    def save(self, path: str | Path) -> None:
        """Writes the state, all or nothing. Raises InputError if that is not possible."""
        save(path, self.data())


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Arrays as the bytes of an .npz file; the same arrays give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return out.getvalue()


def read_state(path: str | Path) -> State:
    """The state in a file. Raises InputError if there is none."""
    try:
        arrays = from_numpy(path)
    except OSError as error:
        raise errors.no_file(str(path), error.strerror or str(error)) from None
    except (ValueError, MemoryError):
        raise errors.no_state(str(path), "it is another kind of file, or damaged") from None
    if not isinstance(arrays, dict) or "fit" not in arrays or "vector" not in arrays:
        raise errors.no_state(str(path), "it holds other arrays")
    try:
        meta = json.loads(arrays["fit"].tobytes().decode())
        if meta["format"] != FORMAT:
            raise errors.no_state(str(path), f"its format is {meta['format']}, this version knows {FORMAT}")
        slots = [arrays[f"slot{k}"] for k in range(sum(name.startswith("slot") for name in arrays))]
        parts = [meta[k] for k in ("step", "epoch", "at", "sums", "rows", "history")]
        made = State(meta["run"], arrays["vector"], slots, *parts)
        if not sound(made):
            raise errors.no_state(str(path), "its parts do not fit together")
        return made
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise errors.no_state(str(path), "its text is damaged") from None


# What `run` of a state holds.
RUN: dict[str, Any] = {
    "optimizer": str, "seed": int, "size": (str, type(None)), "batch": (int, type(None)), "hold_out": float, "dtype": str,
    "backend": str, "names": dict, "program": str, "data": str, "options": dict,
}  # fmt: skip


def sound(state: State) -> bool:
    """Whether a state that was read can be gone on from."""
    run, vector = state.run, state.vector
    counts = (state.step, state.epoch, state.at, state.rows)
    rows = [state.sums, *state.history, run.get("options")]
    return (
        all(isinstance(run.get(name), kind) for name, kind in RUN.items())
        and all(isinstance(c, int) and c >= 0 for c in counts)
        and (state.epoch, state.at) <= (state.step, state.step)
        and len(state.history) == state.epoch
        and all(isinstance(r, dict) and all(isinstance(v, (int, float)) for v in r.values()) for r in rows)
        and all({"epoch", "step"} <= set(r) for r in state.history)
        and all(
            a.shape == vector.shape and a.ndim == 1 and a.dtype == vector.dtype == run["dtype"] for a in state.slots or [vector]
        )
    )


def fingerprint(arrays: Mapping[str, Any]) -> str:
    """A short text that tells data apart: the CRC of their names, shapes and bytes."""
    crc = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        crc = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return f"{crc:08x}"
