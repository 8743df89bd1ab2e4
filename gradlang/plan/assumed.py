"""A straight line of statements, rewritten under assumptions that hold in nearly all steps of a loop.

What is assumed is noted, and who runs the line has to check it: that conditions are what they usually are (`assumed`), and that
values are finite (`held`, `products`). Where all of it holds, the rewritten line gives what the line itself gives, but for
the signs of zeros: where such a sign could change a number, the zero counts as unusual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

from gradlang.loops.ir import (
    COMPARISONS,
    Buffer,
    Cell,
    Declare,
    For,
    Let,
    Load,
    Read,
    Statement,
    Store,
    Update,
    Value,
)
from gradlang.loops.walk import operands
from gradlang.plan.affine import Positions

EXTREME = 1e100  # numbers beyond, and below its inverse, are unusual
DEEP = 8  # factors that are followed
TURNED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
SIGNLESS = frozenset({"abs"})  # ops of which the sign of a zero does not pass
EXPONENTIALS = ("exp", "exp_less", "exp2", "sigmoid")
FLAGS = ("or", "and")
Guess = tuple[bool, frozenset[Value]]  # what a condition usually is, and the comparisons of which this holds


class Unknown(Exception):
    """The line does what cannot be rewritten."""


class Assumed:
    """The rewritten line of the body of a loop. `lines` end up without what nobody needs (`prune`)."""

    def __init__(self, loop: For, positions: Positions, norms: Set[Value] = frozenset()) -> None:
        """`norms` are values read that are expected to be sums of what is never negative."""
        self.norms = norms
        self.positions, self.counter, body = positions, Value("i", hint=loop.counter.hint), loop.body
        positions.sums[self.counter] = positions.of(loop.counter)
        self.lines: list[Statement] = []
        self.flags: list[tuple[Cell, str, Value]] = []  # updates of cells outside
        self.assumed: dict[Value, bool] = {}  # conditions, and what is taken for granted of them
        self.held: dict[Value, None] = {}  # values that must be finite
        self.products: dict[Value, None] = {}  # the same, where they are needed
        self.of: dict[Value, Value] = {loop.counter: self.counter}
        self.seen: dict[tuple[object, ...], Value] = {}
        self.let: dict[Value, Let] = {}
        self.guess: dict[Value, Guess] = {}
        self.positive: set[Value] = set()  # not negative, or nan
        self.sums: set[Value] = set()  # of several such
        self.loose: set[Value] = set()  # a zero may have another sign than in the line itself
        self.sums_of: dict[Cell, tuple[Value, str, list[Value]]] = {}
        self.zero = self.real(0.0)
        self.own = {s.cell for s in body if isinstance(s, Declare)}
        self.spared = spared(body)
        stored = {s.buffer for s in body if isinstance(s, Store)}
        for s in body:
            self.statement(s, stored)

    # -------------------------------------------------------------- values
    def real(self, x: float) -> Value:
        return self.seen.setdefault(("f", repr(float(x))), Value("f", float(x)))

    def at(self, v: Value) -> Value:
        if v.const is not None:
            return self.seen.setdefault((v.type, repr(v.const)), v)
        return self.of.get(v, v)

    def emit(self, op: str, args: tuple[Value, ...], type: str, function: str = "") -> Value:
        key = (op, function, *(sorted(args, key=id) if op in ("add", "mul", *FLAGS) else args))
        found = self.seen.get(key)
        if found is None:
            found = self.seen[key] = Value(type)
            self.let[found] = Let(found, op, args, function)
            self.lines.append(self.let[found])
            if type == "i":
                self.positions.sums[found] = self.positions.let(self.let[found])
        self.signs(self.let[found])  # also of a value that was there: its arguments may have become loose
        return found

    def signs(self, s: Let) -> None:
        """What is known of the sign of a value."""
        op, args = s.op, s.args
        if s.value.type == "f" and op not in SIGNLESS and any(a in self.loose for a in args):
            self.loose.add(s.value)
        # 1/0, atan2 and the like tell the zeros apart
        tells = args[1:] if op in ("div", "copysign") else args if op == "bits" or (op == "call" and len(args) > 1) else ()
        for a in tells:
            if a in self.loose:
                self.assumed[self.emit("eq", (a, self.zero), "b")] = False
        known = op in ("abs", "sqrt") or (op == "call" and s.function in EXPONENTIALS) or (op == "mul" and args[0] is args[1])
        if known or (op in ("add", "mul", "div") and all(map(self.never_negative, args))):
            self.positive.add(s.value)
        if (op == "add" and s.value in self.positive) or (op in ("sqrt", "mul") and self.sums.issuperset(args)):
            self.sums.add(s.value)

    def never_negative(self, v: Value) -> bool:
        return v in self.positive or (v.const is not None and v.const >= 0)

    # -------------------------------------------------------------- statements
    def statement(self, s: Statement, stored: set[Buffer]) -> None:
        if isinstance(s, Let):
            self.of[s.value] = self.made(s, tuple(self.at(a) for a in s.args))
        elif isinstance(s, Load):
            if s.buffer in stored:
                raise Unknown
            index = self.at(s.index)
            key = ("load", s.buffer, index)
            if key not in self.seen:
                self.seen[key] = Value(s.value.type, hint=s.value.hint)
                self.lines.append(Load(self.seen[key], s.buffer, index))
                if s.value in self.norms:
                    self.positive.add(self.seen[key])
                    self.sums.add(self.seen[key])
            self.of[s.value] = self.seen[key]
        elif isinstance(s, Store):
            self.lines.append(Store(s.buffer, self.at(s.index), self.at(s.value)))
        elif isinstance(s, Declare):
            self.sums_of[s.cell] = self.at(s.start), "", []
        elif isinstance(s, Read) and s.cell in self.own:
            self.of[s.value] = self.total(*self.sums_of[s.cell], s.cell.type)
        elif isinstance(s, Update):
            self.update(s, self.at(s.value))
        else:
            raise Unknown

    def update(self, s: Update, v: Value) -> None:
        if s.cell not in self.own:
            if s.op in FLAGS:
                if v.const is None or bool(v.const) != (s.op == "and"):
                    self.flags.append((s.cell, s.op, v))
            elif s.op != "add" or v is not self.zero:  # the zeros that only tell whether values are finite
                raise Unknown
            return
        start, op, terms = self.sums_of[s.cell]
        if not s.op or (terms and op != s.op):
            raise Unknown
        self.sums_of[s.cell] = start, s.op, [*terms, v]

    def total(self, start: Value, op: str, terms: list[Value], type: str) -> Value:
        """What is in a cell."""
        given = len(terms)
        if op == "add":
            terms = [t for t in terms if t.const != 0.0]
            if start.const == 0.0 and len(terms) == 1:
                self.loose.add(terms[0])
                return terms[0]
        if not terms:
            return start
        key = ("total", op, start, *terms)
        if key not in self.seen:
            made, cell = Value(type), Cell(type, "total")
            self.seen[key] = made
            self.lines += [Declare(cell, start), *(Update(cell, op, t) for t in terms), Read(made, cell)]
            signs = [self.never_negative(t) for t in terms]
            if (op == "add" and all(signs) and self.never_negative(start)) or (op == "maximum" and any(signs)):
                self.positive.add(made)
                self.sums |= {made} if len(terms) > 1 else set()
        if len(terms) < given or any(t in self.loose for t in terms):
            self.loose.add(self.seen[key])
        return self.seen[key]

    def made(self, s: Let, args: tuple[Value, ...]) -> Value:
        if s.op == "select":
            return self.select(*args)
        if s.value in self.spared and args[0].const == 0.0:
            return self.zero
        if s.value.type == "f":
            return self.op(s.op, *args, function=s.function)
        known = self.placed(s.op, args)
        if known is not None:
            return known
        made = self.emit(s.op, args, s.value.type, s.function)
        if s.value.type == "b" and made not in self.guess:
            found = self.usually(made, s.op, args)
            if found is not None:
                self.guess[made] = found
        return made

    # -------------------------------------------------------------- places
    def placed(self, op: str, args: tuple[Value, ...]) -> Value | None:
        """Arithmetic of places that is decided by the bounds of counters: whether they are inside."""
        if op in FLAGS:
            a, b = args if args[0].const is None else args[::-1]
            return None if b.const is None else a if bool(b.const) == (op == "and") else b
        if op not in ("ilt", "ige", "imin", "imax"):
            return None
        low, high = self.positions.range(self.positions.of(args[0]).plus(self.positions.of(args[1]), -1))
        if op in ("imin", "imax"):
            less, more = high is not None and high <= 0, low is not None and low >= 0
            return None if not (less or more) else args[0] if less == (op == "imin") else args[1]
        less, more = high is not None and high < 0, low is not None and low >= 0
        return None if not (less or more) else Value("b", less == (op == "ilt"))

    # -------------------------------------------------------------- arithmetic
    def op(self, op: str, *args: Value, function: str = "") -> Value:
        """An operation of reals, without what is not to be done in finite numbers."""
        if op in ("add", "sub"):
            return self.sum(op, *args)
        if op == "neg":
            inner = self.negated(args[0]) if args[0].const is None else self.real(-args[0].const)
            return inner if inner is not None else self.emit("neg", args, "f")
        if op in ("mul", "div"):
            a, b = args if op == "div" or args[0].const is None else args[::-1]
            if b.const == 1.0:
                return a
            if op == "mul" and b.const == 0.0 and a.const is None:
                self.held[a] = None
                return self.zero
            signs = [self.negated(x) for x in (a, b)]
            if any(x is not None for x in signs):
                made = self.op(op, *(x if y is None else y for x, y in zip((a, b), signs, strict=True)))
                return made if None not in signs else self.op("neg", made)
            args = (a, b)
        return self.emit(op, args, "f", function)

    def sum(self, op: str, a: Value, b: Value) -> Value:
        if b.const == 0.0 or (a.const == 0.0 and op == "add"):
            kept = a if b.const == 0.0 else b
            self.loose.add(kept)
            return kept
        left, right = self.negated(a), self.negated(b)
        if right is not None:
            return self.emit("sub" if op == "add" else "add", (a, right), "f")
        if left is not None and op == "add":
            return self.emit("sub", (b, left), "f")
        return self.emit(op, (a, b), "f")

    def negated(self, v: Value) -> Value | None:
        """What a value is the negative of, if it is one."""
        s = self.let.get(v)
        return s.args[0] if s is not None and s.op == "neg" else None

    # -------------------------------------------------------------- choices
    def select(self, c: Value, a: Value, b: Value) -> Value:
        if a is b or c.const is not None:
            return a if a is b or c.const else b
        known = self.guess.get(c) if a.type == "f" else None  # places in memory are what they are
        if known is not None:
            truth, atoms = known
            self.assumed.update({x: self.guess[x][0] for x in atoms})
            return a if truth else b
        s = self.let.get(c)
        if s is not None and s.op == "eq" and s.args[1].const == 0.0 and a.const == 0.0 and self.vanishes(b, s.args[0]):
            self.products[b] = None
            self.loose.add(b)
            return b
        return self.emit("select", (c, a, b), a.type)

    def vanishes(self, x: Value, g: Value) -> bool:
        """Whether x is zero or not finite where g is zero."""
        g = g if (inner := self.negated(g)) is None else inner
        for _ in range(DEEP):
            s = self.let.get(x)
            if x is g or (s is not None and s.op == "mul" and s.args[1] is g):
                return True
            if s is None or s.op not in ("mul", "div", "neg"):
                return False
            x = s.args[0]
        return False

    def usually(self, made: Value, op: str, args: tuple[Value, ...]) -> Guess | None:
        """What a condition usually is."""
        if op in COMPARISONS:
            truth = self.compared(op, *args)
            return None if truth is None else (truth, frozenset({made}))
        if op not in ("not", *FLAGS):
            return None
        known = [self.guess.get(a) for a in args]
        if op == "not":
            return None if known[0] is None else (not known[0][0], known[0][1])
        decides = [k for k in known if k is not None and k[0] == (op == "or")]
        if decides:
            return min(decides, key=lambda k: len(k[1]))
        first, second = known
        return None if first is None or second is None else (op == "and", first[1] | second[1])

    def compared(self, op: str, a: Value, b: Value) -> bool | None:
        """That a value which is never negative is no extreme number is usual, and that a sum of such values is not zero."""
        if a.const is not None:
            op, a, b = TURNED.get(op, op), b, a
        if b.const is None or a not in self.positive:
            return None
        bound = float(b.const)
        if not (a in self.sums if bound == 0 else 0 < bound <= 1 / EXTREME or bound >= EXTREME):
            return None
        return {"eq": False, "ne": True}.get(op, (op in ("gt", "ge")) == (bound < 1))

    # -------------------------------------------------------------- what is left
    def prune(self) -> None:
        """Takes out what nobody needs."""
        live = {*self.held, *self.assumed, *(v for _, _, v in self.flags)}
        cells: set[Cell] = set()
        kept: list[Statement] = []
        for s in reversed(self.lines):
            if isinstance(s, Let | Load | Read) and s.value not in live:
                continue
            if isinstance(s, Declare | Update) and s.cell not in cells:
                continue
            if isinstance(s, Read):
                cells.add(s.cell)
            live.update(operands(s))
            kept.append(s)
        self.lines = kept[::-1]
        self.products = {v: None for v in self.products if v in live}


def spared(body: Sequence[Statement]) -> set[Value]:
    """Products that only a choice reads, and not where their first factor is zero: the other may then be anything."""
    made = {s.value: s for s in body if isinstance(s, Let)}
    uses = Counter(v for s in body for v in operands(s))
    found = set()
    for s in body:
        if not isinstance(s, Let) or s.op != "select":
            continue
        condition, product = made.get(s.args[0]), made.get(s.args[2])
        if condition is None or product is None or uses[product.value] > 1:
            continue
        zero = condition.op == "eq" and condition.args[1].const == 0.0
        if zero and product.op == "mul" and product.args[0] is condition.args[0]:
            found.add(product.value)
    return found
