"""The buffers of a kernel that hold values between its loops, and which of them are small enough for its stack."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gradlang.loops.ir import Buffer
from gradlang.record import record
from gradlang.types import Shape, product, value

OWN, OWN_EACH = 1024, 256  # entries of the small buffers of a kernel, and of one of them


@record
class Temporary:
    """A buffer of a kernel that holds a value between its loops."""

    buffer: Buffer
    shape: Shape


def small(temporaries: Sequence[Temporary], fixed: Collection[str], sizes: Mapping[str, int]) -> tuple[tuple[Buffer, int], ...]:
    """The buffers of a kernel that registers or a stack can hold, with their numbers of entries. `fixed` are the sizes that are
    the same at every call."""
    out: list[tuple[Buffer, int]] = []
    room = OWN
    for t in temporaries:
        count = value(product(t.shape), sizes) if all(isinstance(d, int) or d.names() <= set(fixed) for d in t.shape) else OWN
        if count <= min(room, OWN_EACH):
            out.append((t.buffer, max(count, 1)))
            room -= count
    return tuple(out)
