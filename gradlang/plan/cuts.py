"""Loops cut where a choice in them changes (index set splitting: M. Wolfe, High Performance Compilers for Parallel Computing,
1996, section 9.3).

`where(i < n - 1, ...)` is the same for all steps of a loop but the last: the loop up to there and the one step behind it have
no choice. Positions that were kept inside by `imin` and `imax` become plain ones, so that vectors are read instead of single
entries. A loop of one step becomes its statements. The steps run in their order, and each does what it did before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradlang.loops.ir import (
    FOLDS,
    Cell,
    Declare,
    For,
    If,
    Kernel,
    Let,
    Load,
    Read,
    Run,
    Statement,
    Store,
    Update,
    Value,
)
from gradlang.loops.walk import statements
from gradlang.plan.plan import Loops, Plan
from gradlang.record import changed

STEPS = 16  # of a loop that is worth it; LLVM writes shorter ones out
PIECES = 6  # of a loop
STATEMENTS = 400  # of all pieces together
FORMS = 4  # lines that a value may consist of
COMPARED = ("ilt", "ile", "igt", "ige", "ieq", "ine")
Line = tuple[int, int]  # (a, b): a*counter + b
Lines = frozenset[Line]
NOTHING: Lines = frozenset()


def cut(plan: Plan) -> Plan:
    """A plan in whose kernels no long loop chooses by a comparison of its counter with a number."""
    steps = (changed(s, kernel=in_pieces(s.kernel)) if isinstance(s, Loops) else s for s in plan.steps)
    return changed(plan, steps=tuple(steps))


def in_pieces(kernel: Kernel) -> Kernel:
    """A kernel that does the same, with the loops cut, inner ones first."""
    loops = [s for s in statements(kernel.body) if isinstance(s, For)]
    if not any(map(places, loops)):
        return kernel
    body = list(_Copy({}, {}).of(kernel.body))  # loops of the given kernel stay as they are
    blocks = [body]
    for block in blocks:  # grows while it is walked
        for s in block:
            blocks += [s.body] if isinstance(s, For) else [s.then, s.otherwise] if isinstance(s, If) else []
    for block in reversed(blocks):
        for s in [s for s in block if isinstance(s, For)]:
            ends = places(s)
            if ends:
                at = block.index(s)
                block[at : at + 1] = pieces(s, ends)
    return changed(kernel, body=body)


def places(loop: For) -> list[int]:
    """The steps before which a loop is cut, or none if it is not worth it."""
    if loop.side or loop.start.const is None or loop.stop.const is None:
        return []
    start, stop = int(loop.start.const), int(loop.stop.const)
    if stop - start < STEPS:
        return []
    count, found = 0, set[int]()
    lines: dict[Value, Lines] = {loop.counter: frozenset({(1, 0)})}
    for s in statements(loop.body):
        count += 1
        if not isinstance(s, Let):
            continue
        given = [lines_of(a, lines) for a in s.args]
        if s.op in COMPARED or s.op in ("imin", "imax"):
            found.update(k for k in changes(s.op, *given) if start < k < stop)
        if s.value.type == "i":
            lines[s.value] = made_of(s.op, given)
    return sorted(found) if found and len(found) < PIECES and count * (len(found) + 1) <= STATEMENTS else []


def lines_of(v: Value, lines: dict[Value, Lines]) -> Lines:
    return frozenset({(0, int(v.const))}) if v.const is not None and v.type == "i" else lines.get(v, NOTHING)


def made_of(op: str, given: Sequence[Lines]) -> Lines:
    """The lines that a whole number consists of; none if it is something else."""
    made = NOTHING
    if op in ("imin", "imax") and all(given):
        made = given[0] | given[1]
    elif op == "select" and given[1] and given[2]:
        made = given[1] | given[2]
    elif op in ("iadd", "isub"):
        sign = 1 if op == "iadd" else -1
        made = frozenset((a + sign * c, b + sign * d) for a, b in given[0] for c, d in given[1])
    elif op == "imul":
        made = frozenset((a * d + c * b, b * d) for a, b in given[0] for c, d in given[1] if not a or not c)
        made = made if len(made) == len(given[0]) * len(given[1]) else NOTHING
    return made if len(made) <= FORMS else NOTHING


def changes(op: str, left: Lines, right: Lines) -> Iterator[int]:
    """The steps from which on a comparison says something else than before."""
    for a, b in left:
        for c, d in right:
            slope, at = a - c, d - b  # slope*counter against at
            if not slope:
                continue
            slope, at = (slope, at) if slope > 0 else (-slope, -at)
            first = -(-at // slope)  # the first step that is not below
            after = at // slope + 1  # the first one above
            if op in ("ieq", "ine"):
                yield from (first, after) if first < after else ()
            else:
                yield first if turns_at_first(op, a > c) else after


def turns_at_first(op: str, rising: bool) -> bool:
    """Whether a comparison changes where the difference of its sides reaches zero, and not where it passes it."""
    return op in (("ilt", "ige") if rising else ("ile", "igt")) or op in ("imin", "imax")


def pieces(loop: For, ends: Sequence[int]) -> list[Statement]:
    """A loop as several, one after another."""
    assert loop.start.const is not None and loop.stop.const is not None
    out: list[Statement] = []
    bounds = [int(loop.start.const), *ends, int(loop.stop.const)]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        if stop - start == 1:
            out += _Copy({loop.counter: whole(start)}, {}).of(loop.body)
            continue
        made = For(Value("i", hint=loop.counter.hint, level=loop.counter.level), whole(start), whole(stop), [], loop.apart)
        copy = _Copy({loop.counter: made.counter}, {made.counter: (1, 0)}, start, stop - 1)
        made.body += copy.of(loop.body)
        out.append(made)
    return out


def whole(n: int) -> Value:
    return Value("i", n)


class _Copy:
    """Statements once more, with what is known of a counter between two steps, both included."""

    def __init__(self, values: dict[Value, Value], lines: dict[Value, Line], first: int = 0, last: int = 0) -> None:
        self.values, self.lines, self.first, self.last = values, lines, first, last
        self.cells: dict[Cell, Cell] = {}

    def at(self, v: Value) -> Value:
        return self.values.get(v, v)

    def fresh(self, v: Value) -> Value:
        made = self.values[v] = Value(v.type, hint=v.hint, level=v.level)
        return made

    def of(self, body: Sequence[Statement]) -> list[Statement]:
        out: list[Statement] = []
        stack = [(iter(body), out)]
        while stack:
            for s in stack[-1][0]:
                opened = self.one(s, stack[-1][1])
                if opened:
                    stack += [(iter(block), into) for block, into in reversed(opened)]
                    break
            else:
                stack.pop()
        return out

    def one(self, s: Statement, out: list[Statement]) -> list[tuple[list[Statement], list[Statement]]]:
        """Copies one statement. Of one with blocks: these, and where their copies go."""
        at = self.at
        if isinstance(s, Let):
            self.let(s, out)
        elif isinstance(s, Load):
            index = at(s.index)
            out.append(type(s)(self.fresh(s.value), s.buffer, index))
        elif isinstance(s, Read):
            out.append(Read(self.fresh(s.value), self.cells.get(s.cell, s.cell)))
        elif isinstance(s, Store):
            out.append(Store(s.buffer, at(s.index), at(s.value)))
        elif isinstance(s, Declare):
            cell = self.cells[s.cell] = Cell(s.cell.type, s.cell.hint)
            out.append(Declare(cell, at(s.start)))
        elif isinstance(s, Update):
            out.append(Update(self.cells.get(s.cell, s.cell), s.op, at(s.value)))
        elif isinstance(s, Run):
            out.append(Run(s.kernel, tuple((b, at(i)) for b, i in s.buffers), tuple(map(at, s.sizes))))
        elif isinstance(s, For):
            loop = For(self.fresh(s.counter), at(s.start), at(s.stop), [], s.apart, s.side)
            out.append(loop)
            return [(s.body, loop.body)]
        else:
            condition = at(s.condition)
            if condition.const is not None:
                return [(s.then if condition.const else s.otherwise, out)]
            branch = If(condition)
            out.append(branch)
            return [(s.then, branch.then), (s.otherwise, branch.otherwise)]
        return []

    # -------------------------------------------------------------- what is known
    def let(self, s: Let, out: list[Statement]) -> None:
        args = tuple(map(self.at, s.args))
        known = self.folded(s.op, args)
        if known is not None:
            self.values[s.value] = known
            return
        made = self.fresh(s.value)
        out.append(Let(made, s.op, args, s.function))
        if made.type == "i":
            line = list(made_of(s.op, [frozenset({x} if (x := self.line(a)) else ()) for a in args]))
            if len(line) == 1:
                self.lines[made] = line[0]

    def line(self, v: Value) -> Line | None:
        return (0, int(v.const)) if v.const is not None and v.type == "i" else self.lines.get(v)

    def folded(self, op: str, args: tuple[Value, ...]) -> Value | None:
        """What an operation gives if no operation is needed."""
        if op == "select" and args[0].const is not None:
            return args[1] if args[0].const else args[2]
        if op in ("and", "or") and any(a.const is not None for a in args):
            sure, other = args if args[0].const is not None else args[::-1]
            return other if bool(sure.const) == (op == "and") else sure
        if op == "not" and args[0].const is not None:
            return Value("b", not args[0].const)
        if op in FOLDS and all(a.const is not None and a.type == "i" for a in args):
            divided = op in ("idiv", "imod") and not args[1].const
            made = 0 if divided else FOLDS[op](*(int(a.const or 0) for a in args))
            return Value("b", made) if isinstance(made, bool) else whole(made)
        if op in COMPARED or op in ("imin", "imax"):
            return self.compared(op, *args)
        return None

    def compared(self, op: str, one: Value, two: Value) -> Value | None:
        a, b = self.line(one), self.line(two)
        if a is None or b is None:
            return None
        least, most = sorted((a[0] - b[0]) * k + a[1] - b[1] for k in (self.first, self.last))
        if op in ("imin", "imax"):
            return (one if op == "imax" else two) if least >= 0 else (two if op == "imax" else one) if most <= 0 else None
        if op in ("ieq", "ine"):
            return Value("b", (least == 0) == (op == "ieq")) if least == most or least > 0 or most < 0 else None
        ends = {FOLDS[op](least, 0), FOLDS[op](most, 0)}
        return Value("b", ends.pop()) if len(ends) == 1 else None
