"""Learning curves as CSV, JSON and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradlang.fit import errors
from gradlang.fit.state import Row

KINDS = (".csv", ".json", ".jsonl")


def check_log(path: str | None) -> None:
    """Raises InputError for a file whose name does not say how curves are to be written."""
    if path is not None and Path(path).suffix not in KINDS:
        raise errors.unknown_log(path, KINDS)


def log_text(rows: Sequence[Row], kind: str) -> str:
    """The rows of a history: a table with a header line (`.csv`), a list of objects (`.json`), or one object a line (`.jsonl`).
    Numbers keep all their digits."""
    if kind == ".jsonl":
        return "".join(json.dumps(plain(r), allow_nan=False) + "\n" for r in rows)
    if kind == ".json":
        return json.dumps([plain(r) for r in rows], indent=1, allow_nan=False) + "\n"
    names = list(dict.fromkeys(n for r in rows for n in r))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([r.get(n, "") for n in names] for r in rows)
    return out.getvalue()


def plain(row: Row) -> dict[str, Any]:
    """A row for JSON, which has no infinities: they are texts."""
    return {n: v if math.isfinite(v) else repr(v) for n, v in row.items()}
