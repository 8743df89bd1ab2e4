"""What a loop computes of a row of a table alone is computed once for each row.

Steps that gather rows of a table, as observations do with their cameras, often outnumber the rows by far. What is dear, and a
function of the row, is then a table of its own: it is made before the loop, which gathers its rows instead. This is a
rewriting of loops as they stand, after planning, for machine code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from math import frexp

from gradlang.loops.ir import Buffer, Cell, Declare, For, Kernel, Let, Load, Read, Statement, Store, Update, Value
from gradlang.loops.walk import operands
from gradlang.plan.affine import Positions, positions_of
from gradlang.plan.columns import Lines, straight, whole
from gradlang.plan.plan import Library, Loops, Plan
from gradlang.plan.weights import HEAVY
from gradlang.record import changed
from gradlang.types import product, value

TIMES = 2  # steps for each row that are worth it
ENTRIES = 4096  # of the tables of a kernel, which lie on the stack
CALL = 20  # operations of a function
GATHERED = 3  # operations that an entry of a gathered row costs
AGAIN = 2  # operations that are done again sooner than a column is gathered
DEAR = 4  # operations from which on one is dear


def in_tables(plan: Plan, sizes: Mapping[str, int]) -> Plan:
    """A plan for machine code, in which functions of the rows of tables are tables. Its sizes must be fixed, as numbers."""
    steps: list[Loops | Library] = []
    for step in plan.steps:
        if isinstance(step, Loops):
            pairs = zip(step.kernel.buffers, step.sources, strict=False)
            lengths = {b: value(product(s.shape), sizes) for b, s in pairs if s.kind in ("input", "value")}
            kernel = tabled(step.kernel, lengths)
            step = step if kernel is step.kernel else changed(step, kernel=kernel)
        steps.append(step)
    return plan if all(a is b for a, b in zip(steps, plan.steps, strict=True)) else changed(plan, steps=tuple(steps))


def tabled(kernel: Kernel, lengths: Mapping[Buffer, int]) -> Kernel:
    """A kernel that does the same with tables. `lengths` are the numbers of entries of its buffers, where they are known."""
    positions, room = positions_of(kernel.body), ENTRIES
    body: list[Statement] = []
    for s in kernel.body:
        while isinstance(s, For) and straight(s):
            made = _Rows.best(s, positions, lengths, room)
            if made is None:
                break
            before, s = made.written(len(body))
            room -= made.rows * len(made.columns)
            body += before
        body.append(s)
    return changed(kernel, body=body) if room < ENTRIES else kernel


class _Rows:
    """What a loop computes of the rows that a value chooses."""

    def __init__(self, loop: For, positions: Positions, at: Value, rows: int) -> None:
        self.loop, self.positions, self.at, self.rows = loop, positions, at, rows
        self.stored = {s.buffer for s in loop.body if isinstance(s, Store)}
        self.inside = {s.value for s in loop.body if isinstance(s, Let | Load | Read)} | {loop.counter}
        self.made = {s.value: s for s in loop.body if isinstance(s, Let)}
        self.own: set[Value] = set()  # functions of the row
        self.dear: set[Value] = set()
        self.collect()
        self.columns = self.frontier()

    @staticmethod
    def best(loop: For, positions: Positions, lengths: Mapping[Buffer, int], room: int) -> _Rows | None:
        """The rows for which a table saves something, if there are any."""
        last = positions.steps(loop, positions.of(loop.start))
        seen: dict[Value, bool] = {}  # values that choose rows, and whether all of these are there
        made = {s.value for s in loop.body if isinstance(s, Let)}
        for s in loop.body if last is not None else ():
            if isinstance(s, Load):
                form = positions.of(s.index)
                (at, *more) = [v for v in form.factors if v in made] or [loop.counter]
                if at is loop.counter or more or len(form.factors) > 1:
                    continue
                low, high = positions.range(form)
                there = low is not None and high is not None and low >= 0 and high < lengths.get(s.buffer, 0)
                seen[at] = seen.get(at, True) and there
        for at, there in seen.items():
            low, high = positions.bounds.get(at, (None, None))
            if there and low == 0 and high is not None and last is not None and TIMES * (high + 1) <= last + 1:
                found = _Rows(loop, positions, at, high + 1)
                if found.columns and found.rows * len(found.columns) <= room and found.alone() and found.pays():
                    return found
        return None

    # -------------------------------------------------------------- what is a function of a row
    def collect(self) -> None:
        """Finds the functions of the row, and those among them that are dear."""
        parts: dict[Cell, list[Value]] = {}
        declared = {s.cell for s in self.loop.body if isinstance(s, Declare)}
        for s in self.loop.body:
            if isinstance(s, Declare):
                parts[s.cell] = [s.start]
            elif isinstance(s, Update) and s.cell in declared:
                parts[s.cell].append(s.value)
            elif isinstance(s, Load):
                form = self.positions.of(s.index)
                if s.buffer not in self.stored and list(form.factors) == [self.at]:
                    self.own.add(s.value)
            elif isinstance(s, Let) and s.value.type != "i" and self.all_own(s.args):
                self.own.add(s.value)
                if weight(s) >= DEAR or not self.dear.isdisjoint(s.args):
                    self.dear.add(s.value)
            elif isinstance(s, Read) and s.cell in declared and self.all_own(parts[s.cell]):
                self.own.add(s.value)
                if not self.dear.isdisjoint(parts[s.cell]):
                    self.dear.add(s.value)

    def all_own(self, args: Sequence[Value]) -> bool:
        return any(a in self.own for a in args) and all(a in self.own or a not in self.inside for a in args)

    def frontier(self) -> list[Value]:
        """The dear numbers that others need, in order."""
        kept = {v for v in self.dear if v.type == "f"}
        needed = {v for s in alive(self.loop.body, kept) for v in operands(s)}
        found = [s.value for s in self.loop.body if isinstance(s, Let | Read) and s.value in kept and s.value in needed]
        return [v for v in found if not self.again(v, set(found))]

    def again(self, v: Value, columns: Set[Value]) -> bool:
        """Whether a column is rather computed from others: by operations that are not dear themselves."""
        waiting, done = [v], 0
        for x in waiting:  # grows while it is walked
            s = self.made.get(x)
            if x in self.dear and (x is v or x not in columns):
                if s is None or weight(s) >= DEAR or done >= AGAIN:
                    return False
                done += 1
                waiting += s.args
        return True

    def alone(self) -> bool:
        """Whether what makes the columns reads nothing else of a step, not even to find its places."""
        lines = self.needed()
        made = {s.value for s in lines if isinstance(s, Let | Load | Read)} | {self.at}
        return all(a in made or a not in self.inside for s in lines for a in operands(s))

    def pays(self) -> bool:
        return GATHERED * len(self.columns) < cost(self.loop.body) - cost(self.rest(()))

    # -------------------------------------------------------------- the loops
    def rest(self, loads: Collection[Load]) -> list[Statement]:
        """What is left of the loop, with the columns loaded."""
        gone = set(self.columns)
        body: list[Statement] = []
        for s in self.loop.body:
            if isinstance(s, Let | Read) and s.value in gone:
                continue
            body.append(s)
            if isinstance(s, Let) and s.value is self.at:
                lines = Lines()
                for load in loads:
                    first = lines.op("imul", self.at, len(self.columns))
                    lines.append(Load(load.value, load.buffer, lines.op("iadd", first, int(load.index.const or 0))))
                body += lines
        return alive(body, gone if not loads else set())

    def written(self, number: int) -> tuple[list[Statement], For]:
        """The loop that makes the table, and the loop that gathers its rows."""
        count = len(self.columns)
        table = Buffer(f"table{number}", "f", writable=True, local=self.rows * count)
        loads = [Load(v, table, whole(k)) for k, v in enumerate(self.columns)]
        row, lines = Value("i", hint="row"), Lines()
        of: dict[Value, Value] = {self.at: row}
        cells: dict[Cell, Cell] = {}
        for s in self.needed():
            if isinstance(s, Let | Load):
                lines.copies([s], of)
            elif isinstance(s, Declare):
                cells[s.cell] = Cell(s.cell.type, s.cell.hint)
                lines.append(Declare(cells[s.cell], of.get(s.start, s.start)))
            elif isinstance(s, Update):
                lines.append(Update(cells[s.cell], s.op, of.get(s.value, s.value)))
            elif isinstance(s, Read):
                of[s.value] = Value(s.value.type, hint=s.value.hint)
                lines.append(Read(of[s.value], cells[s.cell]))
        first = lines.op("imul", row, count)
        for k, v in enumerate(self.columns):
            lines.append(Store(table, lines.op("iadd", first, k), of[v]))
        return [For(row, whole(0), whole(self.rows), lines)], changed(self.loop, body=self.rest(loads))

    def needed(self) -> list[Statement]:
        """The statements that make the columns of a row, without that which says which row it is."""
        live, cells = set(self.columns), set[Cell]()
        kept: list[Statement] = []
        for s in reversed(self.loop.body):
            if isinstance(s, Let | Load | Read):
                wanted = s.value in live and s.value is not self.at
            else:
                wanted = isinstance(s, Declare | Update) and s.cell in cells
            if not wanted:
                continue
            if isinstance(s, Read):
                cells.add(s.cell)
            live.update(operands(s))
            kept.append(s)
        return kept[::-1]


def alive(body: Sequence[Statement], given: Collection[Value]) -> list[Statement]:
    """Statements of which something comes. `given` are values that are there."""
    live: set[Value] = set()
    cells = {s.cell for s in body if isinstance(s, Update)} - {s.cell for s in body if isinstance(s, Declare)}
    kept: list[Statement] = []
    for s in reversed(body):
        if isinstance(s, Let | Load | Read) and (s.value not in live or s.value in given):
            continue
        if isinstance(s, Declare | Update) and s.cell not in cells:
            continue
        if isinstance(s, Read):
            cells.add(s.cell)
        live.update(operands(s))
        kept.append(s)
    return kept[::-1]


def cost(body: Sequence[Statement]) -> int:
    """Operations of a step, about."""
    return sum(weight(s) for s in alive(body, ()) if isinstance(s, Let | Update))


def weight(s: Let | Update) -> int:
    if s.op == "div" and isinstance(s, Let) and s.args[1].const is not None:
        return 1 if frexp(s.args[1].const)[0] in (0.5, -0.5) else HEAVY["div"]
    return CALL if s.op == "call" else HEAVY.get(s.op, 1)
