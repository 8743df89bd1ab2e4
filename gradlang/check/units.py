"""What the lines of a file or of a function's body define, in an order in which they can be computed.

A unit is a plain definition, or all the indexed definitions (`h[0] = ...`, `h[t] = ... for t in ...`) of names that use one
another: those are computed together, as a recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from gradlang.check import errors, outline
from gradlang.check.errors import Problem
from gradlang.check.names import heads_in, names_in
from gradlang.check.outline import Many
from gradlang.record import record
from gradlang.source import Span
from gradlang.syntax import ast

T = TypeVar("T")
NOTHING: Mapping[str, frozenset[str]] = {}


@record(eq=False)
class Piece:
    """One target of an indexed definition: `define.targets[position]`, inside the `for` clauses `loops`, outer ones first.
    `local` are the plain definitions of the blocks around it, which hold for one count each."""

    define: ast.Define
    position: int
    loops: tuple[ast.For, ...]
    local: tuple[ast.Define, ...]

    @property
    def target(self) -> ast.Target:
        return self.define.targets[self.position]

    @property
    def name(self) -> str:
        return self.target.name.id


@record(eq=False)
class Plain:
    define: ast.Define | Many

    def names(self) -> set[str]:
        return set(outline.defined(self.define))


@record(eq=False, frozen=False)
class Indexed:
    """The indexed definitions of one name."""

    name: ast.Name
    pieces: list[Piece]


@record(eq=False)
class Group:
    """Indexed definitions that are computed together, since they use one another."""

    members: tuple[Indexed, ...]

    def names(self) -> set[str]:
        return {m.name.id for m in self.members}


Unit = Plain | Group


@record(frozen=False)
class Lines:
    """The definitions of some lines: plain ones and, by name, indexed ones."""

    plain: list[ast.Define | Many]
    indexed: dict[str, Indexed]


def read(lines: Iterable[ast.Define | ast.Loop]) -> Lines:
    """Raises Problem for a line that mixes what cannot be mixed."""
    out = Lines([], {})
    stack: list[tuple[ast.Define | ast.Loop, tuple[ast.For, ...], tuple[ast.Define, ...]]] = []
    stack.extend((line, (), ()) for line in reversed(list(lines)))
    while stack:
        line, loops, local = stack.pop()
        if isinstance(line, ast.Loop):
            inner = (*loops, ast.For(line.targets, line.over, line.span))
            own = [x for x in line.body if isinstance(x, ast.Define) and plain_target(x)]
            if not any(isinstance(x, ast.Loop) or not plain_target(x) for x in line.body):
                raise Problem(errors.empty_loop(line.span))
            where: dict[str, Span] = {}
            for name in [t.name for d in own for t in d.targets]:
                if name.id in where:
                    raise Problem(errors.duplicate(name.id, name.span, where[name.id]))
                where[name.id] = name.span
            rest = [x for x in line.body if isinstance(x, ast.Loop) or not plain_target(x)]
            stack.extend((x, inner, (*local, *own)) for x in reversed(rest))
        elif plain_target(line):
            out.plain.append(line)
        elif all(t.index is None for t in line.targets):
            raise Problem(errors.unindexed_loop(line.targets[0].name.id, line.clauses[0].span))
        else:
            one_value(line)
            add_pieces(out.indexed, line, loops, local)
    return out


def one_value(line: ast.Define) -> None:
    """Raises Problem if one name is given several values."""
    if isinstance(line.value, ast.Several) and len(line.targets) == 1:
        raise Problem(errors.several_for_one(line.targets[0].name.id, line.value.span))


def plain_target(line: ast.Define) -> bool:
    return all(t.index is None for t in line.targets) and not line.clauses


def add_pieces(
    indexed: dict[str, Indexed], line: ast.Define, loops: tuple[ast.For, ...], local: tuple[ast.Define, ...]
) -> None:
    for position, target in enumerate(line.targets):
        if target.index is None:
            raise Problem(errors.mixed_targets(target.name.id, target.span))
        own: list[ast.For] = []
        for clause in line.clauses:
            if isinstance(clause, ast.If):
                raise Problem(errors.conditional_definition(clause.span))
            own.append(clause)
        piece = Piece(line, position, (*loops, *own), local)
        indexed.setdefault(piece.name, Indexed(target.name, [])).pieces.append(piece)


def names_of(piece: Piece) -> list[ast.Name]:
    """The names that a piece takes from outside its loops."""
    bound: set[str] = set()
    out: list[ast.Name] = []
    for loop in piece.loops:
        out += [n for n in names_in([loop.over]) if n.id not in bound]
        bound |= ast.shadowed(loop.targets)
    local = {t.name.id for d in piece.local for t in d.targets}
    inner = [d.value for d in piece.local] + [piece.define.value, *(piece.target.index or ())]
    return out + [n for n in names_in(inner) if n.id not in bound and n.id not in local]


def uses(piece: Piece) -> list[str]:
    return [n.id for n in names_of(piece)]


def formulas(item: object) -> list[ast.Expr]:
    pieces = item.pieces if isinstance(item, Indexed) else []
    own = [item.value] if isinstance(item, ast.Define) else []
    return own + [x for p in pieces for x in (p.define.value, *(d.value for d in p.local))]


def ordered(lines: Lines, closed: Mapping[str, frozenset[str]] = NOTHING) -> tuple[list[Unit], list[list[ast.Name]]]:
    """The units, each after what it uses, and the circles of definitions that are no recurrence. `closed` gives the names
    that calls of some functions use."""
    if not lines.indexed and in_sequence(lines.plain, closed):
        return [Plain(d) for d in lines.plain], []
    plain = [d for one in lines.plain for d in (one.lines() if isinstance(one, Many) else [one])]
    owner: dict[str, object] = {n: d for d in plain for n in outline.defined(d)}
    owner.update(lines.indexed)
    items: list[object] = [*plain, *lines.indexed.values()]
    needs: dict[int, list[object]] = {}
    for item in items:
        if isinstance(item, Indexed):
            names = [n for piece in item.pieces for n in uses(piece)]
        else:
            assert isinstance(item, ast.Define)
            names = outline.used(item)
        if closed:
            heads = outline.called(item) if isinstance(item, ast.Define) else heads_in(formulas(item))
            names += [n for f in heads for n in closed.get(f, ())]
        needs[id(item)] = list({id(owner[n]): owner[n] for n in names if n in owner}.values())
    units: list[Unit] = []
    circles: list[list[ast.Name]] = []
    for component in components(items, lambda item: needs[id(item)]):
        head = component[0]
        looped = len(component) > 1 or any(x is head for x in needs[id(head)])
        if all(isinstance(x, Indexed) for x in component):
            units.append(Group(tuple(x for x in component if isinstance(x, Indexed))))
        elif looped:
            circles.append(circle(component, needs))
        else:
            assert isinstance(head, ast.Define)
            units.append(Plain(head))
    return units, circles


def in_sequence(plain: Sequence[ast.Define | Many], closed: Mapping[str, frozenset[str]]) -> bool:
    """Whether each definition already stands after what it uses."""
    names = [[] if isinstance(d, Many) else outline.defined(d) for d in plain]
    many = [d for d in plain if isinstance(d, Many)]
    later = {n for some in names for n in some}
    if len(later) < sum(map(len, names)) or (many and many[0].later(later)):
        return False
    many.reverse()
    for d, some in zip(plain, names, strict=True):
        uses = outline.used(d)
        if closed:
            uses = [*uses, *(n for f in outline.called(d) for n in closed.get(f, ()))]
        if not later.isdisjoint(uses):
            return False
        if isinstance(d, Many):
            many.pop()
            if not d.in_sequence(closed):
                return False
        elif many and many[-1].later(uses):
            return False
        later.difference_update(some)
    return True


def body_order(fn: ast.Function) -> list[Unit]:
    """The units of a function's body, each after what it uses. Raises Problem for a circle or a duplicate."""
    if not fn.body:
        return []
    lines = read(fn.body)
    where: dict[str, Span] = {p.name.id: p.name.span for p in fn.params}
    plain = [d for d in lines.plain if isinstance(d, ast.Define)]
    for name in [t.name for d in plain for t in d.targets] + [x.name for x in lines.indexed.values()]:
        if name.id in where:
            raise Problem(errors.duplicate(name.id, name.span, where[name.id]))
        where[name.id] = name.span
    units, circles = ordered(lines)
    if circles:
        raise Problem(errors.cycle([n.id for n in circles[0]], [n.span for n in circles[0]]))
    return units


def circle(component: Sequence[object], needs: dict[int, list[object]]) -> list[ast.Name]:
    """A way round through definitions that need one another, from the first of them on."""
    inside = {id(x) for x in component}
    at = component[0]
    path: list[object] = []
    while all(at is not x for x in path):
        path.append(at)
        at = next(x for x in needs[id(at)] if id(x) in inside)
    path = path[next(k for k, x in enumerate(path) if x is at) :]
    return [x.name if isinstance(x, Indexed) else x.targets[0].name for x in path if isinstance(x, (Indexed, ast.Define))]


def components(items: Iterable[T], uses: Callable[[T], Iterable[T]]) -> list[list[T]]:
    """The strongly connected components of a graph, each after those that it uses; otherwise in the order given.

    R. Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1 (1972), without recursion."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    waiting: list[T] = []
    on: set[int] = set()
    out: list[list[T]] = []
    for root in items:
        if id(root) in number:
            continue
        work = [(root, iter(uses(root)))]
        number[id(root)] = low[id(root)] = len(number)
        waiting.append(root)
        on.add(id(root))
        while work:
            item, rest = work[-1]
            for n in rest:
                if id(n) not in number:
                    number[id(n)] = low[id(n)] = len(number)
                    waiting.append(n)
                    on.add(id(n))
                    work.append((n, iter(uses(n))))
                    break
                if id(n) in on:
                    low[id(item)] = min(low[id(item)], number[id(n)])
            else:
                work.pop()
                if work:
                    above = id(work[-1][0])
                    low[above] = min(low[above], low[id(item)])
                if low[id(item)] == number[id(item)]:
                    found: list[T] = []
                    while not found or found[-1] is not item:
                        found.append(waiting.pop())
                        on.discard(id(found[-1]))
                    out.append(found[::-1])
    return out
