"""The syntax tree: frozen dataclasses, each with the span of the text it was read from.

Statements and expressions hold no types and no resolved names. Trees can be very deep (a sum of 100,000 terms leans to
the left), so nothing that walks them may recurse.
"""

from __future__ import annotations

from gradlang.record import record
from gradlang.source import Span


@record
class Number:
    """A number as written; `exact` is its integer value if it was written as an integer."""

    value: float
    exact: int | None
    span: Span


@record
class Name:
    id: str
    span: Span


@record
class Bool:
    value: bool
    span: Span


@record
class String:
    value: str
    span: Span


@record
class Apply:
    """An operator applied to its operands: `op` is the name of its entry in the table (`add`, `mul`, `neg`, ...)."""

    op: str
    args: tuple[Expr, ...]
    span: Span


@record
class Compare:
    """A comparison chain as in Python: `a < b <= c`."""

    ops: tuple[str, ...]
    args: tuple[Expr, ...]
    span: Span


@record
class IfElse:
    then: Expr
    cond: Expr
    other: Expr
    span: Span


@record
class Array:
    """`[a, b]`, or a tuple `(a, b)` where a list of numbers is meant (a shape, axes)."""

    items: tuple[Expr, ...]
    span: Span


@record
class Several(Array):
    """`a, b` on the right side of a definition of several names."""


@record
class Keyword:
    name: str
    value: Expr
    span: Span


@record
class Call:
    func: Expr
    args: tuple[Expr, ...]
    keywords: tuple[Keyword, ...]
    span: Span


@record
class Slice:
    start: Expr | None
    stop: Expr | None
    step: Expr | None
    span: Span


@record
class Index:
    value: Expr
    items: tuple[Expr, ...]
    span: Span


@record
class Attribute:
    value: Expr
    name: str
    span: Span


@record
class For:
    """`for i, j in xs`: `targets` holds names and nested groups of names."""

    targets: tuple[str | tuple[object, ...], ...]
    over: Expr
    span: Span


@record
class If:
    cond: Expr
    span: Span


@record
class Comprehension:
    """`[e for ...]` (bracketed) or the bare generator of a reduction, `sum(e for ...)`."""

    element: Expr
    clauses: tuple[For | If, ...]
    bracketed: bool
    span: Span


@record
class Implicit:
    """`residual for x from start`, the argument of `solve`."""

    residual: Expr
    name: Name
    start: Expr
    span: Span


@record
class Derive:
    """`grad(y, x)`, `jacobian(y, x)`, `hessian(y, x)`."""

    kind: str
    args: tuple[Expr, ...]
    keywords: tuple[Keyword, ...]
    span: Span


Expr = (
    Number
    | Name
    | Bool
    | String
    | Apply
    | Compare
    | IfElse
    | Array
    | Call
    | Slice
    | Index
    | Attribute
    | Comprehension
    | Derive
    | Implicit
)


@record
class TypeExpr:
    """`[N, 3]`, `int[N]`, `bool`: dims are expressions of sizes."""

    dtype: str
    dims: tuple[Expr, ...]
    span: Span


@record
class Tail:
    """What may end a leaf or a definition: `+/- 5`, `'won'`, `"a label"`."""

    deviation: Expr | None = None
    unit: str | None = None
    label: str | None = None


@record
class Leaf:
    """`input x, y : [N] in [0, 1] = 0.5`. `role` is input, param or const; None if the line had no keyword."""

    role: str | None
    names: tuple[Name, ...]
    type: TypeExpr | None
    range: tuple[Expr, Expr] | None
    value: Expr | None
    tail: Tail
    span: Span


@record
class Target:
    """The left side of a definition: a name, with index expressions for `y[i] = ...`."""

    name: Name
    index: tuple[Expr, ...] | None
    span: Span


@record
class Define:
    targets: tuple[Target, ...]
    type: TypeExpr | None
    value: Expr
    clauses: tuple[For | If, ...]
    tail: Tail
    span: Span


@record
class Parameter:
    name: Name
    default: Expr | None


@record
class Function:
    name: Name
    params: tuple[Parameter, ...]
    body: tuple[Define | Loop, ...]
    result: tuple[Expr, ...]
    span: Span


@record
class Loop:
    targets: tuple[str | tuple[object, ...], ...]
    over: Expr
    body: tuple[Define | Loop, ...]
    span: Span


@record
class Import:
    """`names` is None for a whole module, else pairs (name in the file, name here)."""

    path: String
    prefix: Name | None
    names: tuple[tuple[Name, Name], ...] | None
    span: Span


@record
class Request:
    """`grad loss wrt W, b`, `output h, y`, `minimize loss`; `of` is an expression, or None for `output`."""

    kind: str
    of: Expr | None
    names: tuple[Name, ...]
    span: Span


@record
class Check:
    cond: Expr
    tol: Expr | None
    given: tuple[tuple[Name, Expr], ...]
    span: Span


@record
class OpLine:
    """One clause of an op entry. `kind` is flag, local, partial, keyed, at or domain; `key` its leading words."""

    kind: str
    key: tuple[str, ...]
    values: tuple[Expr, ...]
    bindings: tuple[tuple[Name, Expr], ...]
    span: Span


@record
class Operator:
    name: Name
    params: tuple[Parameter, ...]
    result: Name
    lines: tuple[OpLine, ...]
    span: Span


@record
class Rewrite:
    kind: Name
    name: Name
    left: Expr
    right: Expr
    span: Span


class Lines:
    """Definitions of one plain name each, a line each: too many to make objects of all (`syntax/batch.py`)."""

    __slots__ = ()

    def names(self) -> list[str]:
        """What the lines define, in order."""
        raise NotImplementedError

    def spans(self) -> list[Span]:
        """Where these names stand."""
        raise NotImplementedError

    def move(self, by: int) -> None:
        """Moves all places."""
        raise NotImplementedError


Statement = Leaf | Define | Lines | Function | Loop | Import | Request | Check | Operator | Rewrite


@record
class Module:
    """A file: its statements in order, and the names that statements with a fault would have defined."""

    statements: tuple[Statement, ...]
    broken: frozenset[str] = frozenset()


def children(node: object) -> tuple[Expr, ...]:
    """The direct subexpressions of an expression, in the order of the text."""
    match node:
        case Apply(args=args) | Compare(args=args):
            return args
        case IfElse(then=a, cond=c, other=b):
            return (a, c, b)
        case Array(items=items):
            return items
        case Call(func=func, args=args, keywords=keywords):
            return (func, *args, *(k.value for k in keywords))
        case Derive(args=args, keywords=keywords):
            return (*args, *(k.value for k in keywords))
        case Index(value=value, items=items):
            return (value, *items)
        case Slice(start=a, stop=b, step=c):
            return tuple(e for e in (a, b, c) if e is not None)
        case Attribute(value=value):
            return (value,)
        case Implicit(residual=residual, start=start):
            return (residual, start)
        case Comprehension(element=element, clauses=clauses):
            return (element, *(c.over if isinstance(c, For) else c.cond for c in clauses))
    return ()


def walk(root: Expr) -> list[Expr]:
    """Every expression of a tree, parents before children."""
    out, stack = [], [root]
    while stack:
        node = stack.pop()
        out.append(node)
        stack.extend(reversed(children(node)))
    return out


def bound_twice(targets: tuple[str | tuple[object, ...], ...]) -> str | None:
    """A name that stands twice in the targets of a `for`."""
    seen: set[str] = set()
    stack: list[object] = [*reversed(targets)]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if item in seen:
                return item
            seen.add(item)
        elif isinstance(item, tuple):
            stack.extend(reversed(item))
    return None


def shadowed(targets: tuple[str | tuple[object, ...], ...]) -> set[str]:
    """The names that the targets of a `for` bind."""
    names: set[str] = set()
    stack: list[object] = list(targets)
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            names.add(item)
        elif isinstance(item, tuple):
            stack.extend(item)
    return names
