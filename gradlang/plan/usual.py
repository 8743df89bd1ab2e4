"""Long loops in their usual case, and the few other steps one by one.

A formula often takes care of what hardly ever happens: a norm that is zero or overflows, an infinite slope that an exact zero
has to win over. Steps of a loop that run side by side as vectors all pay for it. So such a loop is written twice: once for
all steps, under the assumption that nothing of this happens (`gradlang/plan/assumed.py`), which every step checks; and as it
was, for the steps in which it does, which store their results once more. This is a rewriting of loops as they stand, after
planning, for machine code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set

from gradlang.loops.ir import (
    Buffer,
    Cell,
    Declare,
    For,
    If,
    Kernel,
    Let,
    Load,
    Read,
    Statement,
    Store,
    Update,
    Value,
)
from gradlang.plan.affine import Positions, Sum, positions_of
from gradlang.plan.assumed import Assumed, Unknown
from gradlang.plan.columns import STEPS, Lines, straight, whole
from gradlang.plan.plan import Loops, Plan
from gradlang.plan.quotients import LARGEST, multiplied
from gradlang.plan.weights import HEAVY
from gradlang.record import changed

BLOCK = 512  # steps, of which it is noted which ones are unusual
LEAST = 40  # operations of a step that is worth it
GAIN = 0.8  # what may be left of them
MANY = 6  # if more than one step in so many is unusual, all of a block are done again, as vectors
CALL = 20  # operations of a function
PASSES = frozenset({"add", "sub", "mul", "neg", "abs", "sqrt", "fma"})  # infinity, and nan


def in_usual_case(plan: Plan, width: str, norms: Set[Value] = frozenset()) -> Plan:
    """A plan for machine code, in which long loops are written for their usual case. `width` is that of the reals, `norms`
    are values that loops read and that are expected not to be zero."""
    steps = (changed(s, kernel=usual(s.kernel, width, norms)) if isinstance(s, Loops) else s for s in plan.steps)
    return changed(plan, steps=tuple(steps))


def norms_of(plan: Plan) -> set[Value]:
    """The values that loops compute as sums of what is never negative, or as roots of such."""
    found: set[Value] = set()
    for kernel in (s.kernel for s in plan.steps if isinstance(s, Loops)):
        positions = positions_of(kernel.body)
        for s in kernel.body:
            if isinstance(s, For) and straight(s):
                try:
                    line = Assumed(s, positions)
                except Unknown:
                    continue
                found |= {v for v, made in line.of.items() if made in line.sums}
    return found


def usual(kernel: Kernel, width: str = "f64", norms: Set[Value] = frozenset()) -> Kernel:
    """A kernel that does the same, in which long loops are written for their usual case."""
    positions, body, found = positions_of(kernel.body), list(kernel.body), False
    unusual = Buffer("unusual", "b", writable=True, local=BLOCK)
    blocks = [body]
    for block in blocks:  # grows while it is walked
        for s in list(block):
            made: Sequence[Statement] | None = None
            if isinstance(s, If):
                branch = If(s.condition, list(s.then), list(s.otherwise))
                made = [branch]
                blocks += [branch.then, branch.otherwise]
            elif isinstance(s, For) and straight(s):
                made = parted(s, positions, unusual, width, norms)
                found = found or made is not None
            elif isinstance(s, For):
                loop = changed(s, body=list(s.body))
                made = [loop]
                blocks.append(loop.body)
            if made is not None:
                block[block.index(s) : block.index(s) + 1] = made
    return changed(kernel, body=body) if found else kernel


def parted(loop: For, positions: Positions, unusual: Buffer, width: str, norms: Set[Value]) -> list[Statement] | None:
    """The loop over blocks, each with its usual and its other steps; None if that is not worth it, or not possible."""
    length = positions.of(loop.stop).plus(positions.of(loop.start), -1)
    last_step = positions.steps(loop, positions.of(loop.start))
    if (not length.factors and length.constant < STEPS) or cost(loop.body) < LEAST:
        return None
    if not own_entries(loop, positions, last_step):
        return None
    try:
        line = Assumed(loop, positions, norms)
    except Unknown:
        return None
    line.prune()
    lines, divisors, quotients = multiplied(line.lines)
    line.products |= dict.fromkeys(quotients)
    checked = to_check(lines, line.held, line.products)
    if not line.assumed and not checked and not divisors:
        return None
    lines, good = guarded(lines, line.assumed, divisors, checked, width)
    if cost(lines) > GAIN * cost(loop.body):
        return None
    if last_step is not None and last_step < BLOCK:
        return both(loop, line, lines, good, (loop.start, loop.stop), unusual)
    out, body = Lines(), Lines()
    steps = out.op("iadd", out.op("isub", loop.stop, loop.start), BLOCK - 1)
    block = For(Value("i", hint="block"), whole(0), out.op("idiv", steps, BLOCK), body)
    first = body.op("iadd", loop.start, body.op("imul", block.counter, BLOCK))
    last = body.op("imin", body.op("iadd", first, BLOCK), loop.stop)
    body += both(loop, line, lines, good, (first, last), unusual)
    return [*out, block]


def both(
    loop: For, line: Assumed, lines: list[Statement], good: Value, ends: tuple[Value, Value], unusual: Buffer
) -> list[Statement]:
    """One block: all steps as usual, then as they were those that are not, or all of them if these are many. Either is done by
    one loop, which is run for one step at a time or for the block: its code is long."""
    first, last = ends
    made = {s.value: s for s in lines if isinstance(s, Let)}
    bad, count, found = Value("b"), Cell("i", "unusual"), Value("i")
    lines = Lines([*lines, Let(bad, "not", (good,))])
    for cell, op, value in line.flags:
        if of_reals(value, made):  # what an unusual step finds is worth nothing
            sure = Value("b")
            lines.append(Let(sure, "and" if op == "or" else "or", (value, good if op == "or" else bad)))
            value = sure
        lines.append(Update(cell, op, value))
    lines += [Store(unusual, lines.op("isub", line.counter, first), bad), Update(count, "iadd", lines.let("btoi", bad))]
    usually = For(line.counter, first, last, lines, loop.apart, loop.side)
    out = Lines([Declare(count, whole(0)), usually, Read(found, count)])
    steps = out.op("isub", last, first)
    many = out.op("igt", out.op("imul", found, MANY), steps)
    some = out.op("igt", found, 0)
    again, this = Lines(), Value("b")
    each = For(Value("i"), whole(0), Value("i"), again, rare=True)
    rare = Lines([Let(each.stop, "select", (many, whole(1), steps)), each])
    again.append(Load(this, unusual, each.counter))
    at = again.op("iadd", first, each.counter)
    start, stop = Value("i"), Value("i")
    again.append(Let(start, "select", (many, first, at)))
    again.append(Let(stop, "select", (many, last, again.op("iadd", at, again.let("btoi", this)))))
    again.append(For(loop.counter, start, stop, list(loop.body), loop.apart, loop.side))
    return [*out, If(some, rare)]


def own_entries(loop: For, positions: Positions, last_step: int | None) -> bool:
    """Whether every step writes entries of its own, so that a step may be done again after later ones."""
    term = next((v for v in positions.of(loop.counter).factors if positions.loops.get(v) is loop), loop.counter)
    forms: dict[Buffer, list[Sum]] = {}
    for s in loop.body:
        if isinstance(s, Store):
            forms.setdefault(s.buffer, []).append(positions.of(s.index))
    for of in forms.values():
        stride = abs(of[0].factors.get(term, 0))
        if not stride or any(f.factors != of[0].factors for f in of):
            return False
        ends = sorted({f.constant for f in of})
        apart = (b - a for k, a in enumerate(ends) for b in ends[k + 1 :])
        if any(d % stride == 0 and (last_step is None or d // stride <= last_step) for d in apart):
            return False
    return bool(forms)


def of_reals(v: Value, made: Mapping[Value, Let]) -> bool:
    """Whether a truth value comes of real numbers."""
    waiting = [v]
    for v in waiting:  # grows while it is walked
        if v.type == "f":
            return True
        waiting += [a for a in made[v].args if a not in waiting] if v in made else []
    return False


def cost(lines: Sequence[Statement]) -> int:
    """Operations of a step, about."""
    real = [s for s in lines if (isinstance(s, Let) and s.value.type in "fb") or isinstance(s, Update)]
    return sum((CALL if s.op == "call" else HEAVY.get(s.op, 1)) for s in real)


# ------------------------------------------------------------------ what is checked
def to_check(lines: Sequence[Statement], held: Mapping[Value, None], products: Mapping[Value, None]) -> list[Value]:
    """A few values that are finite only if all of those are: results that these go into by ops that keep infinity."""
    results: dict[Value, int] = {}
    reached: dict[Value, int] = {}  # the results that a value goes into, as bits
    sums: dict[Cell, Value] = {}
    for s in reversed(lines):
        if isinstance(s, Store) and s.value.type == "f" and s.value.const is None:
            reached[s.value] = reached.get(s.value, 0) | 1 << results.setdefault(s.value, len(results))
        elif isinstance(s, Read):
            sums[s.cell] = s.value
        elif isinstance(s, Update | Let):
            into = sums[s.cell] if isinstance(s, Update) else s.value
            passes = s.op == "add" if isinstance(s, Update) else s.op in PASSES or s.op == "div"
            through = () if not passes else (s.value,) if isinstance(s, Update) else s.args[:1] if s.op == "div" else s.args
            for a in through:
                reached[a] = reached.get(a, 0) | reached.get(into, 0)
    made = {s.value for s in lines if isinstance(s, Let | Load | Read)}
    wanted = [*held, *(v for v in products if v in made)]
    chosen = [v for v in wanted if not reached.get(v)]
    masks = [reached[v] for v in wanted if reached.get(v)]
    often = Counter(k for mask in masks for k in bits(mask))
    known, covered = list(results), 0
    for mask in masks:
        if not mask & covered:
            best = max(bits(mask), key=lambda k: (often[k], -k))
            chosen.append(known[best])
            covered |= 1 << best
    return list(dict.fromkeys(chosen))


def bits(mask: int) -> list[int]:
    return [k for k, c in enumerate(reversed(f"{mask:b}")) if c == "1"]


def guarded(
    lines: Sequence[Statement], assumed: Mapping[Value, bool], divisors: Sequence[Value], checked: Sequence[Value], width: str
) -> tuple[list[Statement], Value]:
    """Statements with the checks, and whether all of them are passed."""
    made = {s.value for s in lines if isinstance(s, Let | Load | Read)}
    out, terms, total = Lines(), set(checked), None
    for v in (v for v in checked if v not in made):
        total = v if total is None else out.let("add", total, v)
    for s in lines:
        out.append(s)
        if isinstance(s, Let | Load | Read) and s.value in terms:
            total = s.value if total is None else out.let("add", total, s.value)
    good = [v if truth else out.let("not", v) for v, truth in assumed.items()]
    sizes = [(out.let("abs", c), LARGEST[width]) for c in divisors]
    good += [out.let("gt", size, Value("f", 1 / most)) for size, most in sizes]
    sizes += [] if total is None else [(out.let("abs", total), float("inf"))]
    good += [out.let("lt", size, Value("f", most)) for size, most in sizes]
    all_of_them, *more = good
    for g in more:
        all_of_them = out.let("and", all_of_them, g)
    return out, all_of_them
