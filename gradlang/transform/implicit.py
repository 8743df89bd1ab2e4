"""Derivatives of implicit definitions, by the implicit function theorem.

Where F(x, p) = 0, dx = -J^-1 (dF/dp) dp with J = dF/dx: neither the start nor the steps of Newton's method matter, and the
result is made of ordinary instructions at the solution, which differentiate again (Griewank and Walther, "Evaluating
Derivatives", 2nd ed. 2008, section 15.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gradlang.ir.tape import Builder, Root
from gradlang.transform.chain import Chain
from gradlang.transform.lifting import replay
from gradlang.types import Shape, product


class Solution:
    """The residual and its Jacobian at the solution, written out next to it."""

    def __init__(self, chain: Chain, at: int) -> None:
        self.chain, self.b, self.at = chain, chain.b, at
        self.instr = chain.b.instrs[at]
        self.root: Root = self.instr.attrs[0]
        b, body = self.b, self.root.body
        # the unknown and the arguments apart from their other uses: derivatives of the residual mean them alone
        self.given: dict[int, int] = {}
        for i, leaf in enumerate(body.instrs):
            if leaf.op == "input":
                kind, k, _ = leaf.attrs[0]
                source = at if kind == "unknown" else self.instr.args[k + 1]
                self.given[i] = b.add("mark", (source,), (("root", at, i),), b.instrs[source].type, self.instr.span)
        found = replay(b, body.instrs, {i: b.ref(m) for i, m in self.given.items()}, [i for _, i in body.outputs[:2]])
        self.residual, self.slope = (found[i].id for _, i in body.outputs[:2])

    def held(self) -> list[tuple[int, int]]:
        """(position of an argument, its value in the residual)."""
        leaves = ((self.root.body.instrs[i].attrs[0], m) for i, m in self.given.items())
        return [(k + 1, m) for (kind, k, _), m in leaves if kind == "held"]

    def solved(self, right: int, transposed: bool) -> int:
        """-J^-1 times a value of the shape of the unknown, or -J^-T."""
        b, shape = self.b, self.b.instrs[right].type.shape
        lead, own = shape[: self.root.lead], shape[self.root.lead :]
        if not own:
            return b.apply("neg", (b.apply("div", (right, self.slope)),))
        n = product(own)
        matrix = reshaped(b, self.slope, (*lead, n, n))
        if transposed:
            r = len(lead)
            matrix = b.apply("transpose", (matrix,), ((*range(r), r + 1, r),))
        column = reshaped(b, right, (*lead, n, 1))
        return reshaped(b, b.apply("neg", (b.apply("solve", (matrix, column)),)), shape)


def reshaped(b: Builder, x: int, shape: Shape) -> int:
    return x if b.instrs[x].type.shape == shape else b.apply("reshape", (x,), (shape,))


def root_adjoints(
    chain: Chain, at: int, g: int, active: bytearray, vjp: Callable[..., dict[int, int | None]]
) -> Iterable[tuple[int, int | None]]:
    """(position, cotangent) for the arguments of a root."""
    here = Solution(chain, at)
    seed = here.solved(g, True)
    wanted = [(position, m) for position, m in here.held() if active[here.instr.args[position]]]
    found = vjp(chain, {here.residual: seed}, [m for _, m in wanted])
    for position, m in wanted:
        yield position, found[m]


def root_tangent(chain: Chain, at: int, tangents: dict[int, int], jvp: Callable[..., list[int | None]]) -> int | None:
    """The tangent of a root, for the tangents of the arguments by position."""
    here = Solution(chain, at)
    given = {m: tangents[position] for position, m in here.held() if position in tangents}
    (moved,) = jvp(chain, [here.residual], given) if given else [None]
    return None if moved is None else here.solved(moved, False)
