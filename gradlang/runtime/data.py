"""Arrays in files: .npz and .npy of NumPy, tables as CSV with a header line, IDX as of MNIST.

A file is named as `FILE` or `name=FILE`. Only files that the user names are opened, and nothing in them is run.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlang.diagnostics import Diagnostic, InputError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

KINDS = "data are .npz, .npy, .csv and IDX files (MNIST), the last three also with .gz"
NONE: Mapping[str, int] = {}
# What zipfile and NumPy raise for files that are cut off or changed, besides ValueError.
DAMAGED = (
    EOFError, KeyError, TypeError, AttributeError, SyntaxError, OverflowError, RuntimeError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def fail(code: str, message: str, help: str = "") -> InputError:
    return InputError([Diagnostic(code, message, help=help)])


def read_all(specs: Iterable[str], ranks: Mapping[str, int] = NONE) -> dict[str, Array]:
    """The arrays of several files. `ranks` are the numbers of axes of the inputs that they are for. What is named (`x=x.npy`)
    stands over what comes with a whole file.

    Raises InputError for a file that cannot be read, and for a name that two files give."""
    out: dict[str, Array] = {}
    origin: dict[str, str] = {}
    specs = list(specs)
    for spec in sorted(specs, key=lambda s: bool(split(s)[0])):
        for name, array in read_data(spec, ranks).items():
            if name in out and bool(split(spec)[0]) == bool(split(origin[name])[0]):
                text = f"`{name}` is in two files: {origin[name]} and {spec}"
                raise fail("G522", text, "leave one of them out, or name the one that is meant: `--data x=FILE.npy`")
            out[name], origin[name] = array, spec
    return out


def split(spec: str) -> tuple[str, str]:
    """The name, or none, and the path."""
    name, equal, path = spec.partition("=")
    return (name, path) if equal and all(part.isidentifier() for part in name.split(".")) else ("", spec)


def path_of(spec: str) -> str:
    """The file that is read for a spec, without the name in front and the columns behind."""
    path = split(spec)[1]
    table = path.rpartition(":")[0]
    return table if is_table(table) and not is_table(path) else path


def is_table(path: str) -> bool:
    return path.removesuffix(".gz").endswith(".csv")


def read_data(spec: str, ranks: Mapping[str, int] = NONE) -> dict[str, Array]:
    """Arrays by name from one file: all of an .npz file, the columns of a CSV file, or the single array of another one."""
    name, path = split(spec)
    try:
        return read(name, path, ranks)
    except OSError as error:
        raise fail("G520", f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zlib.error, csv.Error, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise fail("G523", f"{path} is no such data: {str(error) or 'it does not fit into memory'}") from None


def from_numpy(file: Any) -> Array | dict[str, Array]:
    """The array of an .npy file, or those of an .npz file. Nothing is unpickled.

    Raises OSError if it cannot be read, ValueError if it is another kind of file or damaged."""
    import numpy as np

    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            arrays = {name: found[name] for name in found.files}
    except DAMAGED as error:
        raise ValueError(f"it is another kind of file, or damaged ({error or type(error).__name__})") from None
    except ValueError as error:
        if "pickle" in str(error):  # also what NumPy takes a file of another kind for
            raise ValueError("it is another kind of file, or holds Python objects, which are not read") from None
        raise
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name!r} in it is no array")
    return arrays


def read(name: str, path: str, ranks: Mapping[str, int]) -> dict[str, Array]:
    if path.endswith(".npz"):
        arrays = from_numpy(path)
        if not isinstance(arrays, dict):
            raise ValueError("it is a single array, whose file ends in .npy")
        if name and name not in arrays:
            raise fail(
                "G522", f"there is no `{name}` in {path}", did_you_mean(name, arrays) or f"there are {', '.join(arrays)}"
            )
        return {name: arrays[name]} if name else arrays
    if path.removesuffix(".gz").endswith(".npy"):
        packed = path.endswith(".gz")  # which NumPy would read past Python, as it is on the disk
        whole: Any = io.BytesIO(gzip.decompress(Path(path).read_bytes())) if packed else path
        wanted, array = named(name, path), from_numpy(whole)
        if isinstance(array, dict):
            raise ValueError("it holds several arrays; such a file ends in .npz")
        return {wanted: array}
    table = path_of(path)
    if is_table(table):
        chosen = None if table == path else [c.strip() for c in path.rpartition(":")[2].split(",")]
        return table_of(name, path, read_csv(table), chosen, ranks)
    if Path(path).is_file():
        with opened(path) as file:
            if is_idx(file.peek(4)[:4]):
                return {named(name, path): shaped(read_idx(file), ranks.get(name))}
    else:
        Path(path).open("rb").close()  # says why it cannot be read
    raise fail("G522", f"the kind of {path} is not known", KINDS)


def named(name: str, path: str) -> str:
    if not name:
        raise fail("G522", f"name the input that {path} is for", f"write `--data x={path}`")
    return name


def opened(path: str) -> io.BufferedReader:
    raw: Any = gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb")  # noqa: SIM115 - the caller closes it
    return io.BufferedReader(raw) if path.endswith(".gz") else raw


# ------------------------------------------------------------------ CSV
ENTRY = re.compile(r"(.+)\[(0|[1-9][0-9]*)\]")


def read_csv(path: str) -> dict[str, Array]:
    """The columns of a CSV file with a header line, as float arrays [rows]."""
    import numpy as np

    with opened(path) as file:
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
        rows = [(k, row) for k, row in enumerate(reader, 1) if row]
    if not rows:
        raise fail("G523", f"{path} is empty", "the first line of a table names its columns")
    header, body = [h.strip() for h in rows[0][1]], rows[1:]
    for h in header:
        if not h or header.count(h) > 1:
            raise fail("G523", f"the header of {path} has {f'`{h}` twice' if h else 'a column without a name'}")
    if all(number(h) for h in header):
        raise fail("G523", f"the first line of {path} has numbers only", "it must name the columns: `width,height`")
    columns: list[list[float]] = [[] for _ in header]
    for line, row in body:
        if len(row) != len(header):
            raise fail("G523", f"line {line} of {path} has {len(row)} fields, the header has {len(header)}")
        for column, field in zip(columns, row, strict=True):
            if not number(field):
                hint = "commas part fields, points part decimals" if set(field) & set(",;\t") else ""
                raise fail("G523", f"line {line} of {path}: {field!r} is not a number", hint)
            column.append(float(field))
    return {name: np.array(column, float) for name, column in zip(header, columns, strict=True)}


def number(text: str) -> bool:
    """Whether a field is a number; `1_000` is one for Python, but not in a table."""
    if "_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def table_of(
    name: str, path: str, columns: Mapping[str, Array], chosen: list[str] | None, ranks: Mapping[str, int]
) -> dict[str, Array]:
    """A table as inputs: each column under its own name, `X[0]`, `X[1]`, ... together as the columns of X; or the columns
    (or those that are chosen) together as the input `name`, a vector if there is one column and the input has one axis."""
    import numpy as np

    for column in chosen or ():
        if column not in columns:
            hint = did_you_mean(column, columns) or f"there are {', '.join(columns)}"
            raise fail("G522", f"{path.rpartition(':')[0]} has no column `{column}`", hint)
    picked = {c: columns[c] for c in chosen} if chosen else dict(columns)
    if name:
        alone = len(picked) == 1 and ranks.get(name, 1 if chosen else 2) == 1
        return {name: next(iter(picked.values())) if alone else np.stack(list(picked.values()), axis=1)}
    out: dict[str, Array] = {}
    parts: dict[str, dict[int, Array]] = {}
    for column, values in picked.items():
        entry = ENTRY.fullmatch(column)
        if entry is None:
            out[column] = values
        else:
            parts.setdefault(entry[1], {})[int(entry[2])] = values
    for whole, entries in parts.items():
        if whole in out or sorted(entries) != list(range(len(entries))):
            missing = next((k for k in range(len(entries)) if k not in entries), None)
            why = f"`{whole}` is a column too" if missing is None else f"there is no `{whole}[{missing}]`"
            raise fail("G523", f"{path} has columns of `{whole}`, but {why}", "columns of one input count from 0")
        out[whole] = np.stack([entries[k] for k in range(len(entries))], axis=1)
    return out


# ------------------------------------------------------------------ IDX
# The format of the MNIST files: two zero bytes, one for the kind, one for the number of axes, the lengths as big-endian
# 32-bit numbers, then the entries in C order (LeCun, Cortes, Burges, "The MNIST database of handwritten digits").
IDX = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def is_idx(head: bytes) -> bool:
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in IDX and head[3] > 0


def read_idx(file: io.BufferedReader) -> Array:
    """The array of an IDX file. Raises ValueError if it is cut off or too long."""
    import numpy as np

    head = file.read(4)
    rest = file.read(4 * head[3])
    if len(rest) != 4 * head[3]:
        raise ValueError("its head is cut off")
    lengths = struct.unpack(f">{head[3]}I", rest)
    kind = np.dtype(IDX[head[2]])
    wanted = kind.itemsize
    for n in lengths:
        wanted *= n
    data = file.read(wanted) if wanted < 2**63 else b""
    if len(data) != wanted or file.read(1):
        many = "more" if len(data) == wanted else "less"
        raise ValueError(f"its head says {' x '.join(map(str, lengths))} entries, it holds {many}")
    return np.frombuffer(data, kind).reshape(lengths).astype(kind.newbyteorder("="))


def shaped(pictures: Array, rank: int | None) -> Array:
    """Pictures [N, H, W] as the input wants them: in rows [N, H*W], or with a channel [N, 1, H, W]."""
    if pictures.ndim == 3 and rank == 2:
        return pictures.reshape(len(pictures), pictures.shape[1] * pictures.shape[2])
    if pictures.ndim == 3 and rank == 4:
        return pictures[:, None]
    return pictures
