"""What roots read: which other roots, at which of their loops, and how far apart in memory.

A root is written once into code that is thrown away, with counters of its own, and every access is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from gradlang.ir.tape import Tape
from gradlang.loops.ir import FOLDS, Cell, Code, Let, Value
from gradlang.plan.pointwise import KINDS
from gradlang.plan.reader import Frame, Index, Reader
from gradlang.plan.roots import LONG, Root, slight
from gradlang.record import field, record
from gradlang.types import Shape, Type, value

Access = Callable[[Index, Shape], None]
Leaf = Callable[[Frame, Any, Index, Access], None]  # notes what reading an input accesses


@record
class Survey:
    """Surveys roots of a tape. `outside` are values that are made by somebody else, with the order in which their axes lie
    in memory where it is not the usual one. `rigid` are values that lie in C order, whoever makes them. `leaf` knows where the
    inputs of a body lie."""

    tape: Tape
    sizes: Mapping[str, int]
    outside: Mapping[int, tuple[int, ...] | None] = field(default_factory=dict)
    leaf: Leaf | None = None
    rigid: Collection[int] = ()

    def __call__(self, roots: Iterable[Root]) -> None:
        made = {g for r in roots for g in r.gives}
        leaves = {n.attrs[0]: n.type for n in self.tape.instrs if n.op == "input"}
        for root in roots:
            _Look(self, root, made, leaves).note()


class _Look:
    """The survey of one root."""

    def __init__(self, survey: Survey, root: Root, made: set[int], leaves: Mapping[Any, Type]) -> None:
        self.survey, self.root, self.made, self.tape, self.leaves = survey, root, made, survey.tape, leaves
        self.code = Code()
        self.held = {n: Value("i", hint=n) for n in survey.sizes}
        self.frame = Frame(self.code, self.held, Cell("b"))
        zero = self.code.whole(0)
        self.counters = [zero if a.extent == 1 else Value("i", hint=f"i{k}") for k, a in enumerate(root.axes)]
        self.reads: dict[int, list[tuple[int | None, ...]]] = {n: [()] for n in root.needs}
        self.inputs: dict[Any, list[tuple[int | None, ...]]] = {}
        self.touched: set[Any] = set()
        self.steps = [0.0] * len(self.counters)
        self.fixed: list[list[float]] = []  # how far the loops move in what lies in memory in a given way

    def note(self) -> None:
        root = self.root
        if root.special is None:
            reader = Reader(self.tape, self.frame, {}, self.input, self.seen)
            root.entry(reader, self.counters)
            shape = self.tape.instrs[root.at].type.shape
            if root.target is not None:
                self.access(root.target(reader, self.counters), shape)
            else:
                outs = {a.out: c for a, c in zip(root.axes, self.counters, strict=True) if a.out is not None}
                index = tuple(outs.get(k, self.code.whole(0)) for k in range(len(shape)))
                self.access(index, shape, root.at in self.survey.rigid)
        root.dear = any(isinstance(s, Let) and s.op == "call" for s in self.code.body)
        root.work = sum(isinstance(s, Let) and s.value.type == "f" for s in self.code.body)
        root.reads, root.inputs, root.touches = self.reads, self.inputs, frozenset(self.touched)
        root.order = self.order()

    def order(self) -> tuple[int, ...]:
        """The loops, those that move furthest outside. One long loop among short ones goes outside in any case: where values
        lie that no one else reads is still open."""
        order = sorted(range(len(self.counters)), key=lambda k: (-self.steps[k], k))
        self.root.near = order[-1] if order else None
        extents = [value(a.extent, self.survey.sizes) for a in self.root.axes]
        long = [k for k in order if extents[k] >= LONG]
        self.root.sided = len(long) == 1 and all(
            moved[long[0]] <= min(m for m in moved if m) for moved in self.fixed if any(moved)
        )
        if len(long) == 1 and slight(self.root, [n for k, n in enumerate(extents) if k != long[0]]):
            order = [long[0], *(k for k in order if k != long[0])]
        return tuple(order)

    def access(self, index: Index, shape: Shape, fixed: bool = False) -> None:
        """Adds up how far a step of each loop moves."""
        at = self.frame.linear(index, shape)
        sizes = {v: self.survey.sizes[n] for n, v in self.held.items()}
        moved = strides(self.code, at, self.counters, sizes)
        if fixed:
            self.fixed.append(moved)
        for k, s in enumerate(moved):
            self.steps[k] += s if self.counters[k].const is None else 0.0

    def seen(self, i: int, index: Index) -> Value | None:
        outside = self.survey.outside
        if i in self.root.gives or not (i in self.made or i in outside):
            return None
        self.reads.setdefault(i, []).append(self.loops(index))
        type = self.tape.instrs[i].type
        if type.shape:
            self.touched.add(i)
        order = outside.get(i) or range(type.rank)
        self.access(
            tuple(index[k] for k in order), tuple(type.shape[k] for k in order), i not in self.made or i in self.survey.rigid
        )
        return Value(KINDS[type.dtype])

    def loops(self, index: Index) -> tuple[int | None, ...]:
        """Which loop counts an axis, if one does."""
        where = {id(c): k for k, c in enumerate(self.counters) if c.const is None}
        return tuple(where.get(id(v)) for v in index)

    def input(self, key: Any, index: Index) -> Value:
        type = self.leaves[key]
        if index:
            self.touched.add(key)
            self.inputs.setdefault(key, []).append(self.loops(index))
            if self.survey.leaf is not None:
                self.survey.leaf(self.frame, key, index, self.access)
            else:
                self.access(index, type.shape, True)
        return Value(KINDS[type.dtype])


# ------------------------------------------------------------------ which loops go outside
FAR = 64.0  # the stride of an access that is not known


def strides(code: Code, at: Value, counters: Sequence[Value], sizes: Mapping[Value, int]) -> list[float]:
    """How far one step of each loop moves an access, in entries; from the statements that compute its position."""
    known: dict[int, int | None] = {id(v): n for v, n in sizes.items()}
    base = _evaluate(code.lets, at, known | {id(c): 0 for c in counters})
    out = []
    for c in counters:
        moved = _evaluate(code.lets, at, known | {id(k): int(k is c) for k in counters})
        out.append(FAR if base is None or moved is None else float(abs(moved - base)))
    return out


def _evaluate(lets: Mapping[Value, Let], at: Value, env: dict[int, int | None]) -> int | None:
    stack = [at]
    while stack:
        v = stack[-1]
        if id(v) in env:
            stack.pop()
            continue
        if v.const is not None:
            env[id(v)] = int(v.const) if v.type != "f" else None
            continue
        let = lets.get(v)
        if let is None:
            env[id(v)] = None
            continue
        missing = [a for a in let.args if id(a) not in env]
        if missing:
            stack.extend(missing)
            continue
        args = [env[id(a)] for a in let.args]
        if let.op == "select":
            env[id(v)] = args[1] if args[0] else args[2]
        elif any(a is None for a in args) or let.op not in FOLDS or (let.op in ("idiv", "imod") and not args[1]):
            env[id(v)] = None
        else:
            env[id(v)] = int(FOLDS[let.op](*args))
    return env[id(at)]
