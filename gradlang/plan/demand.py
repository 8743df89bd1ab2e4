"""Entries that nobody needs: those that every user masks away."""

from __future__ import annotations

from gradlang.ir.tape import Tape
from gradlang.plan.pointwise import PLAIN, SPECIAL
from gradlang.plan.reader import Index, Reader


class Demand:
    """Follows values to their users, at one index."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.results = {i for _, i in tape.outputs}
        self.users: dict[int, list[int]] = {}
        for u, instr in enumerate(tape.instrs):
            for a in instr.args:
                self.users.setdefault(a, []).append(u)

    def needs(self, reader: Reader, i: int, index: Index) -> bool:
        """Whether anybody needs an entry of a value: it is a result, or goes into something else than choices of others."""
        shape = self.tape.instrs[i].type.shape
        stack, seen = [i], {i}
        while stack:
            at = stack.pop()
            if at in self.results:
                return True
            for u in self.users.get(at, ()):
                instr = self.tape.instrs[u]
                if (instr.op not in PLAIN and instr.op not in SPECIAL) or instr.type.shape != shape:
                    return True
                if (instr.op != "where" or self.taken(reader, u, at, index)) and u not in seen:
                    seen.add(u)
                    stack.append(u)
        return False

    def taken(self, reader: Reader, u: int, at: int, index: Index) -> bool:
        """Whether a choice may be for a value."""
        condition, then, otherwise = self.tape.instrs[u].args
        if not reader.numbers()[condition]:
            return True
        known = reader.at(condition, index if self.tape.instrs[condition].type.shape else ()).const
        return known is None or at == condition or at == (then if known else otherwise)
