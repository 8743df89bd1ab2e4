"""Values as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradlang.diagnostics import text_width

LARGE = 60  # entries; a larger array is summarised
SMALL = 6  # entries of an array that is written within a line


def number_text(value: float, digits: int | None) -> str:
    return repr(float(value)) if digits is None else f"{value:.{digits}g}"


def value_text(value: Any, digits: int | None) -> str:
    """A scalar to its last digit, a small array in full, a large one by shape and corners."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return number_text(value, digits) if isinstance(value, float) else str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(value_text(v, digits) for v in value) + "]"
    import numpy as np

    array = np.asarray(value)
    if array.ndim == 0:
        return value_text(array.item(), digits)

    def entry(x: Any) -> str:
        return value_text(x.item() if hasattr(x, "item") else x, digits if digits is not None or array.size <= LARGE else 6)

    style = {"float_kind": entry, "int_kind": entry, "bool": entry}
    text = np.array2string(array, separator=", ", threshold=LARGE, edgeitems=2, max_line_width=100, formatter=style)  # type: ignore[arg-type]
    return text if array.size <= LARGE else f"array [{', '.join(map(str, array.shape))}]\n{text}"


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Names, values and labels in columns."""
    if not rows:
        return "  (no inputs)"
    wide = max(text_width(name) for name, _, _ in rows)
    flat = [v for _, v, label in rows if label and "\n" not in v]
    column = max(map(len, flat), default=0)
    out = []
    for name, value, label in rows:
        head = "  " + name + " " * (wide - text_width(name)) + "  "
        body = value.replace("\n", "\n" + " " * (wide + 4))
        out.append(head + (body + " " * (column - len(body)) + "  " + label if label and "\n" not in value else body))
    return "\n".join(line.rstrip() for line in out)


def json_value(value: Any) -> Any:
    """Numbers and nested lists; what JSON has no number for is a text."""
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(float(value))
    if isinstance(value, dict):
        return {name: json_value(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(v) for v in value]
    return json_value(value.tolist())


def summary(value: Any, digits: int | None = None) -> str:
    """A value in one line: what is large by its shape and the range of its numbers."""
    import numpy as np

    array = np.asarray(value)
    if array.size <= SMALL:
        return value_text(array.item() if array.ndim == 0 else array, digits).replace("\n", "")
    shape = ", ".join(map(str, array.shape))
    some = array[~np.isnan(array)] if array.dtype.kind == "f" else array
    missing = array.size - some.size
    if not some.size:
        return f"array [{shape}], all nan"
    low, high = (value_text(x.item(), digits or 5) for x in (some.min(), some.max()))
    return f"array [{shape}], {low} .. {high}" + (f", {missing} nan" if missing else "")
