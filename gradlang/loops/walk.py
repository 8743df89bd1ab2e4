"""Statements of the loop form one after another, and what they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradlang.loops.ir import Declare, For, If, Let, Load, Read, Run, Statement, Store, Update, Value


def statements(body: Sequence[Statement]) -> Iterator[Statement]:
    """All statements, those of the blocks included."""
    stack = [iter(body)]
    while stack:
        for statement in stack[-1]:
            yield statement
            if isinstance(statement, For):
                stack.append(iter(statement.body))
                break
            if isinstance(statement, If):
                stack.append(iter([*statement.then, *statement.otherwise]))
                break
        else:
            stack.pop()


def operands(s: Statement) -> tuple[Value, ...]:
    """The values that a statement uses itself, not those that its blocks use."""
    match s:
        case Let():
            return s.args
        case Load():
            return (s.index,)
        case Store():
            return (s.index, s.value)
        case Declare():
            return (s.start,)
        case Update():
            return (s.value,)
        case For():
            return (s.start, s.stop)
        case If():
            return (s.condition,)
        case Run():
            return (*(at for _, at in s.buffers), *s.sizes)
        case Read():
            return ()
