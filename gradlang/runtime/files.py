"""Reads programs and data. Only files that the user names are opened."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gradlang.diagnostics import Diagnostic, InputError


def _fail(code: str, message: str, help: str = "") -> InputError:
    return InputError([Diagnostic(code, message, help=help)])


def read_text(path: str) -> str:
    """A program's text; `-` is standard input. Raises InputError if there is no such text."""
    if not path:
        raise _fail("G520", "no file is named")
    if path == "-" and sys.stdin is None:
        raise _fail("G520", "there is no standard input")
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise _fail("G520", f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise _fail("G520", f"cannot read {path!r}: this is no file name") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        hint = "save it as UTF-8"
        try:
            data.decode("cp949")
            hint = "it looks like CP949: save it as UTF-8"
        except UnicodeDecodeError:
            pass
        raise _fail("G521", f"{path} is not UTF-8 text (line {line})", hint) from None


def read_data(spec: str) -> dict[str, Any]:
    """Arrays by name from `data.npz`, `name=array.npy`, or a CSV file whose header names the columns."""
    import numpy as np

    name, equal, path = spec.partition("=")
    if not equal or not name.isidentifier():
        name, path = "", spec
    try:
        if path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as found:
                return {k: found[k] for k in found.files}
        if path.endswith(".npy"):
            if not name:
                raise _fail("G522", f"name the input that {path} is for", f"write `--data x={path}`")
            return {name: np.load(path, allow_pickle=False)}
        if path.endswith(".csv"):
            columns = read_csv(path)
            return {name: np.stack(list(columns.values()), axis=1)} if name else columns
    except OSError as error:
        raise _fail("G520", f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise _fail("G523", f"{path} is no such data: {error}") from None
    raise _fail("G522", f"the kind of {path} is not known", "data are .npz, .npy and .csv files")


def read_csv(path: str) -> dict[str, Any]:
    """The columns of a CSV file with a header line, as float arrays."""
    import csv

    import numpy as np

    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    if not rows:
        raise _fail("G523", f"{path} is empty")
    header, body = [h.strip() for h in rows[0]], [r for r in rows[1:] if r]
    columns: list[list[float]] = [[] for _ in header]
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise _fail("G523", f"line {number} of {path} has {len(row)} fields, the header has {len(header)}")
        for column, field in zip(columns, row, strict=True):
            try:
                column.append(float(field))
            except ValueError:
                raise _fail("G523", f"line {number} of {path}: {field!r} is not a number") from None
    return {name: np.array(column) for name, column in zip(header, columns, strict=True)}


def read_all(specs: Iterable[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for spec in specs:
        out.update(read_data(spec))
    return out
