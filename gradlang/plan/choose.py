"""Which values of a tape are made as such: sums, results, and what is too dear to be computed at every use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod

from gradlang.ir.tape import Instr, Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.plan.pointwise import called, functions, native
from gradlang.plan.reader import LEAVES, MOVES, VIEWS
from gradlang.plan.roots import BROAD, COMBINED, CONTRACTIONS, Root, letters_of, stored
from gradlang.plan.specials import WRITERS, library_better
from gradlang.plan.weights import HEAVY
from gradlang.types import Dim, value

LONGEST = 300  # operations of one expression: above, machine code takes long to make
DEAR = 12  # the weight of an operation from which on it is not done twice
SLIGHT = 4  # the weight of what is rather done at every step of a recurrence than before all of them
JOINED = ("concat", "stack")


def spelled(op: Op) -> bool:
    """Whether the loop form or NumPy has an op as such; otherwise its value is written."""
    return native(op) or op.value is None


def inline(instr: Instr) -> bool:
    """Whether an entry is computed from entries of the arguments, where it is needed."""
    return not (instr.op in COMBINED or instr.op in JOINED or instr.op in WRITERS or instr.op in ("scan", "root", "item"))


def reached(tape: Tape, outputs: Sequence[int]) -> list[int]:
    """The instructions that some values need, in order."""
    found = set(outputs)
    for i in range(max(outputs, default=-1), -1, -1):
        if i in found:
            found.update(tape.instrs[i].args)
    return sorted(found)


def loops_do(tape: Tape, i: int, table: OpTable) -> bool:
    """Whether loops can make a value, in the ops that they know."""
    instr = tape.instrs[i]
    if instr.op == "scan":
        body = instr.attrs[0].body
        return all(loops_do(body, k, table) for k in range(len(body.instrs)))
    if instr.op == "root":
        body = instr.attrs[0].body
        return all(loops_do(body, k, table) for k in reached(body, [dict(body.outputs)["step"]]))
    if instr.op in LEAVES or instr.op in MOVES or instr.op in COMBINED or instr.op in JOINED or instr.op == "item":
        return True
    if instr.op in WRITERS:
        return True
    if instr.op not in table or not table[instr.op].pointwise or not native(table[instr.op]):
        return False
    function = called(instr.op, [tape.instrs[a].type.dtype for a in instr.args])
    return function is None or function in functions()


def library_does(tape: Tape, i: int, sizes: Mapping[str, int]) -> bool:
    """Whether matrices are so large that a BLAS or LAPACK is faster than loops."""
    instr = tape.instrs[i]
    if instr.op == "scan":
        body = instr.attrs[0].body
        return any(library_better(body, k, sizes) for k in range(len(body.instrs)))
    if library_better(tape, i, sizes):
        return True
    if instr.op not in CONTRACTIONS or len(instr.args) != 2:
        return False
    (left, other), right = letters_of(tape, i)
    extent: dict[str, int] = {}
    for part, a in zip((left, other), instr.args, strict=True):
        extent.update({c: value(d, sizes) for c, d in zip(part, tape.instrs[a].type.shape, strict=True)})
    batch = [c for c in left if c in other and c in right]
    one = prod(extent[c] for c in left if c not in other and c in right)
    two = prod(extent[c] for c in other if c not in left and c in right)
    inner = prod(extent[c] for c in left if c in other and c not in right)
    least = 24 if batch else 4  # NumPy takes the products of a batch one after the other
    if batch and (left[0] != other[0] or instr.op.endswith("einsum")):
        return False
    return min(one, two, inner) >= least and one * two * inner >= 20_000


def batches(tape: Tape, table: OpTable, sizes: Mapping[str, int]) -> set[int]:
    """Products that a library would do one after another, for all steps of another axis, and those with small results that are
    summed over the steps of a recurrence."""
    steps = {n.attrs[0].length for n in tape.instrs if n.op == "scan"}
    return {
        i
        for i, n in enumerate(tape.instrs)
        if n.op in CONTRACTIONS
        and (n.type.rank > 2 or (n.type.rank == 2 and over_steps(tape, i, sizes, steps)))
        and loops_do(tape, i, table)
        and library_does(tape, i, sizes)
    }


def over_steps(tape: Tape, i: int, sizes: Mapping[str, int], steps: Collection[Dim]) -> bool:
    """Whether a small matrix is a sum over the steps of a recurrence, which is the longest axis."""
    instr = tape.instrs[i]
    if len(instr.args) != 2:
        return False
    (left, other), right = letters_of(tape, i)
    gone = [d for c, d in zip(left, tape.instrs[instr.args[0]].type.shape, strict=True) if c in other and c not in right]
    if len(gone) != 1 or gone[0] not in steps:
        return False
    return max(value(d, sizes) for d in instr.type.shape) <= min(BROAD, value(gone[0], sizes))


def views(tape: Tape, i: int) -> bool:
    """Whether a value is a leaf seen another way."""
    return tape.instrs[beneath(tape, i)].op in ("input", "const", "array", "size", "item")


def beneath(tape: Tape, i: int) -> int:
    """The value that a library sees in another way: behind slices, transposes and the like."""
    while tape.instrs[i].op in VIEWS:
        i = tape.instrs[i].args[0]
    return i


def made(tape: Tape, needed: Sequence[int], wanted: Collection[int], extra: Collection[int]) -> list[int]:
    """The values that get roots, in order. `wanted` are needed as wholes, `extra` was found too dear to be done twice."""
    chosen = {i for i in needed if not inline(tape.instrs[i])} | {
        i for i in (*wanted, *extra) if tape.instrs[i].op not in LEAVES
    }
    weight: dict[int, int] = {}
    for i in needed:
        instr = tape.instrs[i]
        if instr.op in LEAVES or instr.op == "array":
            weight[i] = 0
            continue
        weight[i] = HEAVY.get(instr.op, 1) + sum(weight.get(a, 0) for a in instr.args if a not in chosen)
        if instr.op in ("broadcast_to", "take_axis", "take_along"):
            a = instr.args[0]
            if tape.instrs[a].type.shape and weight.get(a, 0) >= DEAR and a not in chosen:
                chosen.add(a)
        elif instr.op in CONTRACTIONS:
            # every entry of a factor is needed many times
            chosen.update(b for b in (beneath(tape, a) for a in instr.args) if tape.instrs[b].type.shape and weight.get(b, 0))
        elif instr.op in ("scan", "root"):
            many = len(instr.attrs[0].names) if instr.op == "scan" else 1
            spare = [a for j, a in enumerate(instr.args[many:]) if weight.get(a, 0) <= SLIGHT and reads_once(instr, j)]
            chosen.update(a for a in instr.args[many:] if tape.instrs[a].type.shape and not views(tape, a) and a not in spare)
        if weight[i] > LONGEST and i not in chosen:
            chosen.add(i)
    return [i for i in needed if i in chosen and tape.instrs[i].op != "item"]


def reads_once(instr: Instr, j: int) -> bool:
    """Whether a step of a recurrence reads every entry of its row of an array once, and it is one that has rows."""
    held = instr.attrs[0]
    if instr.op != "scan" or j >= held.rows:
        return False
    instrs = held.body.instrs
    row = next((k for k, leaf in enumerate(instrs) if leaf.op == "input" and leaf.attrs[0][:2] == ("row", j)), None)
    reached = {row}
    for k, at in enumerate(instrs):
        if reached.isdisjoint(at.args):
            continue
        if inline(at) and at.op not in MOVES and at.type.shape == instrs[at.args[0]].type.shape:
            reached.add(k)
        elif at.op not in CONTRACTIONS or row in at.args:  # another factor gets a root
            return False
    return True


def roots_of(tape: Tape, i: int) -> list[Root]:
    """The roots of a value that is no recurrence."""
    make = COMBINED.get(tape.instrs[i].op, stored)
    roots = make(tape, i)
    for r in roots:
        r.gives = (i,)
    return roots
