"""Indexed definitions: `y[i] = e for i in range(N)`, with or without y on the right side.

The pieces of a name tile a block. Axis by axis, from the first: rows with an index of their own are made one by one, rows
of a loop all at once. If making a row reads rows of earlier steps, the loop is a recurrence and becomes a scan; if not, it
is array code, like a comprehension.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gradlang.check import comprehension, errors, indexing, loops
from gradlang.check.calls import unpack
from gradlang.check.comprehension import Frame
from gradlang.check.errors import Problem
from gradlang.check.growing import Block, Growing, Level, NotYet
from gradlang.check.indexing import Cut
from gradlang.check.loops import Index, Loop
from gradlang.check.names import in_order, names_in
from gradlang.check.pieces import Part, Run, before, in_turn, join, known_before, padded, split
from gradlang.check.program import POISON, Poison, Ref, Value
from gradlang.check.scan import State, extract
from gradlang.check.scope import Env
from gradlang.check.units import Group, Indexed, Piece
from gradlang.ops.shapes import Misfit
from gradlang.record import changed
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import SCALAR, Dim, Size, Type, add, show_shape, sub

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator

GUESSES = 8


class Failed(Exception):
    """A definition has an error that was reported."""


def define(e: Elaborator, env: Env, group: Group) -> dict[str, Value]:
    """The values of the names of a group; POISON for all of them where one has an error."""
    maker = Maker(e, env, group)
    mark = e.mark()
    try:
        return maker.make()
    except Failed:
        pass
    except NotYet as early:
        e.problems.append(e.placed(errors.circular_rows(early.name, early.span)))
    except (Problem, Misfit) as problem:
        e.fail(problem, group.members[0].pieces[0].target.span)
    e.recover(mark, keep_problems=True)
    return {m.name.id: POISON for m in group.members}


class Maker:
    def __init__(self, e: Elaborator, env: Env, group: Group) -> None:
        self.e, self.env = e, env
        self.growing = {m.name.id: Growing(m.name.id) for m in group.members}
        self.group = group
        self.inner = Env(env.home, {**env.names, **self.growing})

    def make(self) -> dict[str, Value]:
        parts = {m.name.id: self.parts(m) for m in self.group.members}
        made = self.rows(parts, 0)
        out: dict[str, Value] = {}
        for name, (ref, origin) in made.items():
            out[name] = changed(ref, origin=origin if any(o != 0 for o in origin) else ())
        return out

    # -------------------------------------------------------------- what the pieces are
    def parts(self, member: Indexed) -> list[Part]:
        made = [self.part(piece) for piece in member.pieces]
        ranks = {len(p.axes) for p in made}
        if len(ranks) > 1:
            odd = next(p for p in made if len(p.axes) != len(made[0].axes))
            raise Problem(errors.ranks_differ(member.name.id, odd.span, made[0].span))
        return made

    def part(self, piece: Piece) -> Part:
        """Evaluates the bounds of the loops and the indices of the target, which must be a loop's or known."""
        e = self.e
        mark = e.mark()
        frame = Frame(Env(self.env.home, dict(self.env.names)))
        overs: list[Value] = []
        for clause in piece.loops:
            over = self.value(clause.over, frame.env)
            try:
                item = comprehension.iterate(over, clause, frame, e)
                comprehension.bind_targets(clause.targets, item, frame.env, clause.span, e)
            except Misfit as misfit:
                raise Problem(errors.misfit(misfit.message, clause.over.span, misfit.help)) from None
            overs.append(over)
            if frame.mask is not None:
                raise Problem(errors.no_block(piece.name, clause.over.span))
        axes = [self.axis(piece, self.place(piece, x, frame.env), frame, x.span) for x in piece.target.index or ()]
        e.recover(mark, keep_problems=True)
        used = [a.clause for a in axes if isinstance(a, Run)]
        if sorted(used) != list(range(len(piece.loops))):
            unused = next((k for k in range(len(piece.loops)) if used.count(k) != 1), 0)
            raise Problem(errors.loop_of_target(piece.name, piece.loops[unused].targets, piece.loops[unused].span))
        return Part(piece, self.inner, tuple(overs), tuple(axes))

    def axis(self, piece: Piece, at: Value, frame: Frame, span: Span) -> Dim | Run:
        if isinstance(at, (int, Size)) and not isinstance(at, bool):
            if isinstance(at, int) and at < 0:
                raise Problem(errors.target_index(piece.name, span))
            return at
        if isinstance(at, Index) and len(at.terms) == 1 and abs(at.terms[0][1]) == 1:
            ((loop, way),) = at.terms
            run = Run(frame.loops.index(loop), at.base, way, loop.length)
            if isinstance(run.low, int) and run.low < 0:
                raise Problem(errors.below_zero(piece.name, run.low, span))
            return run
        raise Problem(errors.target_index(piece.name, span))

    def place(self, piece: Piece, expr: ast.Expr, env: Env) -> Value:
        """An index of a target. A name that nothing defines is most likely that of a loop that was left out."""
        if isinstance(expr, ast.Slice):
            raise Problem(errors.target_index(piece.name, expr.span))
        try:
            return self.value(expr, env)
        except Failed:
            found = self.e.problems[-1] if self.e.problems else None
            if found is not None and found.code == "G201" and found.span == expr.span and isinstance(expr, ast.Name):
                hint = f"add the loop: `{piece.name}[{expr.id}] = ... for {expr.id} in range(...)`"
                self.e.problems[-1] = changed(found, help=hint)
            raise

    def value(self, expr: ast.Expr, env: Env) -> Value:
        before = len(self.e.problems)
        value = self.e.eval(expr, env)
        if isinstance(value, Poison) or len(self.e.problems) > before:
            raise Failed
        return value

    # -------------------------------------------------------------- rows of one axis
    def rows(self, parts: dict[str, list[Part]], axis: int) -> dict[str, tuple[Ref, tuple[Dim, ...]]]:
        """The arrays of some names from an axis on, and the first index of each of their axes."""
        (first, *_) = parts.values()
        if len(first[0].axes) == axis:
            return {name: (self.entry(name, found), ()) for name, found in parts.items()}
        parts = {name: split(found, axis, self.e) for name, found in parts.items()}
        levels = {name: Level() for name in parts}
        for name, level in levels.items():
            self.growing[name].levels.append(level)
        origins: dict[str, tuple[Dim, ...]] = {}
        try:
            todo = self.tasks(parts, axis)
            while todo:
                waiting: list[list[tuple[str, list[Part]]]] = []
                reason: NotYet | None = None
                for task in todo:
                    mark = self.e.mark()
                    try:
                        origins.update(self.task(task, levels, axis))
                    except NotYet as early:
                        self.e.recover(mark)
                        waiting.append(task)
                        reason = early
                if len(waiting) == len(todo):
                    assert reason is not None
                    raise reason
                todo = waiting
            out = {}
            for name, level in levels.items():
                block = join(self.e, name, level.blocks, parts[name][0].span)
                out[name] = (block.rows, (block.low, *origins.get(name, ())))
            return out
        finally:
            for name in levels:
                self.growing[name].levels.pop()

    def tasks(self, parts: dict[str, list[Part]], axis: int) -> list[list[tuple[str, list[Part]]]]:
        """What can be made at once: one row of one name, or a run of all names that share a loop."""
        out: dict[object, list[tuple[str, list[Part]]]] = {}
        for name, found in parts.items():
            same: dict[object, list[Part]] = {}
            for p in found:
                at = p.axes[axis]
                same.setdefault((at.low, at.length, at.way) if isinstance(at, Run) else at, []).append(p)
            for key, group in same.items():
                run = group[0].axes[axis]
                shared = ("run", run.length, run.way) if isinstance(run, Run) and len(parts) > 1 else (name, key)
                out.setdefault(shared, []).append((name, group))
        return in_turn(list(out.values()), axis)

    def task(self, task: list[tuple[str, list[Part]]], levels: dict[str, Level], axis: int) -> dict[str, tuple[Dim, ...]]:
        at = task[0][1][0].axes[axis]
        if isinstance(at, Run):
            return self.run(task, levels, axis)
        ((name, found),) = task
        level = levels[name]
        level.now = at
        try:
            ref, origin = self.rows({name: found}, axis + 1)[name]
        finally:
            level.now = None
        made = self.e.apply("reshape", (ref,), ((1, *ref.type.shape),), found[0].span)
        assert isinstance(made, Ref)
        level.blocks.append(Block(at, 1, made, found[0].span))
        return {name: origin}

    # -------------------------------------------------------------- the rows of a loop
    def run(self, task: list[tuple[str, list[Part]]], levels: dict[str, Level], axis: int) -> dict[str, tuple[Dim, ...]]:
        e = self.e
        mark = e.mark()
        short = dict.fromkeys(levels, 0)
        guess: dict[str, State] = {}
        for _ in range(GUESSES):
            e.recover(mark)
            states = self.states(task, levels, axis, short, guess)
            base = len(e.nodes)
            rows, origins, loop = self.step(task, levels, axis, states)
            fits, scans = True, any(s.leaves for s in states.values())
            for name, state in states.items():
                row, level = rows[name], levels[name]
                axes = tuple(at for at in row.axes if at is not loop)
                steps = tuple(at for at in row.steps if at is not loop)
                if scans and (axes, row.type.shape) != (state.axes, state.type.shape):
                    fits = False
                    self.compare(name, row, state, task)
                if scans and level.short > short[name]:
                    fits, short[name] = False, level.short
                guess[name] = State(name, 0, Type(row.type.shape), axes, steps)
            if fits:
                self.close(task, levels, axis, states, rows, loop, base)
                return origins
        raise Problem(errors.no_shape(task[0][0], task[0][1][0].span))

    def compare(self, name: str, row: Ref, state: State, task: list[tuple[str, list[Part]]]) -> None:
        if state.known is not None and row.type.shape != state.type.shape:
            span = next(found[0].span for n, found in task if n == name)
            shown = ["a scalar" if not s else show_shape(s) for s in (state.type.shape, row.type.shape)]
            raise Problem(errors.rows_differ(name, shown[0], shown[1], span))

    def states(
        self,
        task: list[tuple[str, list[Part]]],
        levels: dict[str, Level],
        axis: int,
        short: dict[str, int],
        guess: dict[str, State],
    ) -> dict[str, State]:
        out = {}
        for k, (name, found) in enumerate(task):
            run = found[0].axes[axis]
            assert isinstance(run, Run)
            known = known_before(self.e, levels[name].blocks, run, found[0].span)
            g = guess.get(name)
            type, axes = (g.type, g.axes) if g else (SCALAR, ())
            ref = known.rows if known else None
            for at in g.steps if g and ref else ():
                if ref is not None and at in ref.axes:  # the recurrence around this one makes these rows at each step
                    ref = self.e.row(ref, at, found[0].span)
            if ref is not None:
                type = Type(ref.type.shape[1:])
                axes = loops.together(axes, ref.axes)
            rows: Dim = known.length if known else 0
            if short[name]:
                ref, rows = padded(self.e, ref, type, rows, short[name], found[0].span)
            out[name] = State(name, k, type, axes, g.steps if g else (), rows, ref)
        return out

    def step(
        self, task: list[tuple[str, list[Part]]], levels: dict[str, Level], axis: int, states: dict[str, State]
    ) -> tuple[dict[str, Ref], dict[str, tuple[Dim, ...]], Loop]:
        """One row of each name at every count of a new loop."""
        e = self.e
        run = task[0][1][0].axes[axis]
        assert isinstance(run, Run)
        clause = task[0][1][0].piece.loops[run.clause]
        loop = e.loop(next(iter(ast.shadowed(clause.targets)), "_"), run.length, clause.span, [], scan=True)
        for name, found in task:
            at = found[0].axes[axis]
            assert isinstance(at, Run)
            level = levels[name]
            level.loop, level.base, level.way, level.state = loop, at.base, at.way, states[name]
            level.now, level.value, level.short = Index(at.base, ((loop, at.way),)), None, 0
        rows: dict[str, Ref] = {}
        origins: dict[str, tuple[Dim, ...]] = {}
        pending = [name for name, _ in task]
        tried: set[tuple[str, str]] = set()
        named = dict(task)
        try:
            while pending:
                name = pending[0]
                mark = e.mark()
                try:
                    inner = [p.along(self.run_of(p, axis), loop, e) for p in named[name]]
                    rows[name], origins[name] = self.rows({name: inner}, axis + 1)[name]
                except NotYet as early:
                    if early.name not in pending or (name, early.name) in tried:
                        raise
                    e.recover(mark)
                    tried.add((name, early.name))
                    pending.remove(early.name)
                    pending.insert(0, early.name)
                    continue
                levels[name].value = rows[name]
                pending.pop(0)
        finally:
            for name, _ in task:
                level = levels[name]
                level.loop, level.now, level.value, level.state = None, None, None, None
        return rows, origins, loop

    def run_of(self, part: Part, axis: int) -> Run:
        at = part.axes[axis]
        assert isinstance(at, Run)
        return at

    def close(
        self,
        task: list[tuple[str, list[Part]]],
        levels: dict[str, Level],
        axis: int,
        states: dict[str, State],
        rows: dict[str, Ref],
        loop: Loop,
        base: int,
    ) -> None:
        """The rows of all steps: a scan if one of them reads another's, array code if not."""
        e = self.e
        span = task[0][1][0].span
        scans = any(s.leaves for s in states.values())
        if scans:
            out = [self.stepped(rows[name], states[name], loop, span) for name, _ in task]
            arrays = extract(e, loop, base, list(states.values()), out, span)
        else:
            arrays = [comprehension.closed(rows[name], (loop,), e, span) for name, _ in task]
        for (name, found), array in zip(task, arrays, strict=True):
            run = self.run_of(found[0], axis)
            level, low, length = levels[name], run.low, run.length
            made: Value = array
            if scans:  # the known rows that the scan starts from are part of its sequence
                chain = before(level.blocks, run)
                level.blocks = [b for b in level.blocks if b not in chain]
                for b in chain:
                    low, length = (b.low if run.way > 0 else low), add(length, b.length)
                if array.type.shape[0] != length:
                    made = indexing.get(e, array, [Cut(sub(array.type.shape[0], length), None, None)], span)
            if run.way < 0 and isinstance(made, Ref):
                made = indexing.get(e, made, [Cut(None, None, -1)], span)
            assert isinstance(made, Ref)
            level.blocks.append(Block(low, length, made, found[0].span))

    def stepped(self, row: Ref, state: State, loop: Loop, span: Span) -> Ref:
        """A row as the step makes it, for every count of the loops around."""
        e = self.e
        if loop in row.axes:
            row = e.row(row, loop, span)
        if row.type.dtype != "real":
            made = e.apply("real", (row,), (), span)
            assert isinstance(made, Ref)
            row = made
        if row.axes != state.axes:
            made = comprehension.closed(row, state.axes, e, span)
            row = Ref(made.id, row.type, state.axes, made.steps)
        return row

    # -------------------------------------------------------------- one entry
    def entry(self, name: str, found: list[Part]) -> Ref:
        if len(found) > 1:
            raise Problem(errors.entry_twice(name, found[1].span, found[0].span))
        (part,) = found
        env = Env(part.env.home, dict(part.env.names))
        for d in local_order(part.piece):
            for target, v in zip(d.targets, unpack(self.value(d.value, env), [t.name for t in d.targets], d.span), strict=True):
                env.names[target.name.id] = v
        define = part.piece.define
        value = self.value(define.value, env)
        value = unpack(value, [t.name for t in define.targets], define.span)[part.piece.position]
        ref = self.e.ref(value, define.value.span)
        if isinstance(ref, Poison):
            raise Failed
        return ref


def local_order(piece: Piece) -> list[ast.Define]:
    """The plain definitions of the blocks around a piece that it needs, each after what it uses."""
    if not piece.local:
        return []
    owner = {t.name.id: d for d in piece.local for t in d.targets}
    by_id = {id(d): d for d in piece.local}

    def uses(k: int) -> Iterator[int]:
        return (id(owner[n.id]) for n in names_in([by_id[k].value]) if n.id in owner)

    roots = [id(owner[n.id]) for n in names_in([piece.define.value]) if n.id in owner]
    order, cycles = in_order(roots, uses)
    if cycles:
        names = [by_id[k].targets[0].name for k in cycles[0]]
        raise Problem(errors.cycle([n.id for n in names], [n.span for n in names]))
    return [by_id[k] for k in order]
