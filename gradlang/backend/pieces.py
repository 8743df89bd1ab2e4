"""A body of statements in pieces, and what lies between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

from gradlang.loops.ir import (
    RESULTS,
    Buffer,
    Cell,
    Declare,
    Fetch,
    For,
    Let,
    Load,
    Read,
    Run,
    Statement,
    Store,
    Update,
    Value,
)
from gradlang.loops.walk import operands, statements

PIECE = 600  # statements of a piece, about


def length(body: Iterable[Statement]) -> int:
    return sum(1 for _ in statements(list(body)))


def divided(body: Sequence[Statement], most: int) -> list[list[Statement]]:
    """A body in pieces of about the same length."""
    pieces: list[list[Statement]] = [[]]
    filled = 0
    for s in body:
        size = length([s])
        if pieces[-1] and filled + size > most:
            pieces.append([])
            filled = 0
        pieces[-1].append(s)
        filled += size
    return pieces


class Piece:
    """Statements that become a kernel, and what they use of what is made outside."""

    def __init__(self, body: list[Statement]) -> None:
        self.body = body
        self.cells: dict[Cell, bool] = {}  # whether they are changed
        self.declared: dict[Cell, None] = {}
        self.buffers: dict[Buffer, None] = {}
        made: set[Value] = set()
        used: dict[Value, None] = {}
        for s in statements(body):
            used.update(dict.fromkeys(v for v in operands(s) if v.const is None))
            if isinstance(s, Let | Load | Read):
                made.add(s.value)
            elif isinstance(s, For):
                made.add(s.counter)
            if isinstance(s, Declare):
                self.declared[s.cell] = None
            elif isinstance(s, Read | Update):
                self.cells[s.cell] = self.cells.get(s.cell, False) or isinstance(s, Update)
            if isinstance(s, Load | Store):
                self.buffers[s.buffer] = None
            elif isinstance(s, Run):
                self.buffers.update(dict.fromkeys(b for b, _ in s.buffers))
        self.values = dict.fromkeys(v for v in used if v not in made)
        for cell in self.declared:
            self.cells.setdefault(cell, False)


class Division:
    """A body, which with a `loop` are its steps, in pieces."""

    def __init__(self, body: list[Statement], loop: For | None = None, size: int | None = None) -> None:
        """With pieces of about `size` statements."""
        self.body, self.loop = body, loop
        self.pieces = [Piece(p) for p in divided(body, size or PIECE)]
        self.at = {s.value: k for k, p in enumerate(self.pieces) for s in p.body if isinstance(s, Let | Load | Read)}
        self.last: dict[Value | Cell, int] = {}  # the piece that uses it last
        for k, p in enumerate(self.pieces):
            self.last.update(dict.fromkeys(p.values, k))
            self.last.update(dict.fromkeys(p.cells, k))
        self.declared = {c for p in self.pieces for c in p.declared}
        self.again = self.made_again()

    def made_again(self) -> dict[Value, Statement]:
        """Which values of the body every piece makes for itself."""
        inside: set[Value] = set(self.at)
        again: dict[Value, Statement] = {}
        for s in self.body:
            index = (
                isinstance(s, Let) and s.value.type == "i" and RESULTS.get(s.op) == "i" and all(a.type == "i" for a in s.args)
            )
            read = isinstance(s, Load) and not isinstance(s, Fetch) and not s.buffer.writable and not s.buffer.local
            if isinstance(s, Let | Load) and (index or read) and all(a not in inside or a in again for a in operands(s)):
                again[s.value] = s
        return again

    def gives(self, k: int) -> list[Value | Cell]:
        """What a piece leaves for later ones, or for the surroundings."""
        piece, last = self.pieces[k], self.last
        made = (s.value for s in piece.body if isinstance(s, Let | Load | Read))
        values = [v for v in made if last.get(v, k) > k and v not in self.again]
        own = piece.declared
        cells = [c for c, new in piece.cells.items() if (new or c in own) and (last[c] > k or c not in self.declared)]
        return [*values, *cells]

    def needs(self, piece: Piece) -> tuple[list[Value], list[Statement]]:
        """The values that a piece is given, and the statements that it makes again."""
        wanted = dict.fromkeys(piece.values)
        own = {s.value for s in piece.body if isinstance(s, Let | Load | Read)}
        again: dict[Value, None] = {}
        stack = [v for v in wanted if v in self.again]
        while stack:
            v = stack.pop()
            if v in again or v in own:
                continue
            again[v] = None
            for a in operands(self.again[v]):
                if a in self.again:
                    stack.append(a)
                elif a.const is None:
                    wanted[a] = None
        found = [v for v in wanted if v not in again and (v in self.at or v.type != "i")]  # the others are sizes
        return found, [s for v, s in self.again.items() if v in again]

    @cached_property
    def crossing(self) -> int:
        """How many numbers lie between the pieces."""
        return sum(len(self.gives(k)) for k in range(len(self.pieces)))

    @cached_property
    def accesses(self) -> int:
        """How many accesses to memory the busiest piece has, about."""
        own = (sum(isinstance(s, Load | Store) for s in statements(p.body)) for p in self.pieces)
        return max(
            n + len(self.needs(p)[0]) + len(self.gives(k)) for k, (p, n) in enumerate(zip(self.pieces, own, strict=True))
        )

    def each_its_own(self) -> bool:
        """Whether what one piece writes into an array and another one reads, or writes, is an entry of the step alone, and no
        piece reads what others sum up: arrays, and cells of the surroundings, may be room that every step uses."""
        users = Counter(c for p in self.pieces for c in p.cells if c not in self.declared)
        if any(isinstance(s, Read) and users[s.cell] > 1 for s in statements(self.body)):
            return False
        seen: dict[Buffer, int] = {}
        for k, piece in enumerate(self.pieces):
            for b in piece.buffers:
                seen[b] = k if seen.get(b, k) == k else -1
        shared = {b for b, k in seen.items() if k < 0 and (b.writable or b.local)}
        index: dict[Buffer, Value] = {}
        for s in statements(self.body):
            if isinstance(s, Run) and any(b in shared for b, _ in s.buffers):
                return False
            if not (isinstance(s, Load | Store) and s.buffer in shared):
                continue
            if index.setdefault(s.buffer, s.index) is not s.index or not self.tells_steps_apart(s.index):
                return False
        return True

    def tells_steps_apart(self, index: Value) -> bool:
        assert self.loop is not None
        made = {s.value: s for s in self.body if isinstance(s, Let)}
        while index in made:
            s = made[index]
            changing = [a for a in s.args if a in self.at or a is self.loop.counter]
            if s.op not in ("iadd", "isub", "imul") or len(changing) != 1:
                return False
            if s.op == "imul" and not any(a.const for a in s.args):
                return False
            (index,) = changing
        return index is self.loop.counter
