"""`check` lines: a condition or two sides to compare, a tolerance, and the values that are given for inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlang.check import errors, errors_promises, statics
from gradlang.check.errors import Problem
from gradlang.check.program import Leaf, Poison, Promise, Ref, needed
from gradlang.check.scope import Env, Home
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import Shape, Size, Type

if TYPE_CHECKING:
    from gradlang.check.check import Checker


def evaluated(c: Checker, expr: ast.Expr) -> Ref | Poison:
    before = len(c.elaborator.problems)
    ref = c.elaborator.ref(c.elaborator.eval(expr, c.env), expr.span)
    c.problems += c.elaborator.problems[before:]
    return ref


def title(c: Checker, name: ast.Name) -> str:
    """What a name (dotted or not) of a request is called in the program."""
    found = c.unit.origin(name.id)
    return found[0].full(found[1]) if found is not None else name.id


def promise(c: Checker, s: ast.Check) -> Promise | None:
    """A `check` line; None if an error in it was reported. Raises Problem."""
    given: dict[str, Any] = {}
    made: dict[str, int] = {}
    first: dict[str, Span] = {}
    for name, expr in s.given:
        full = title(c, name)
        leaf = c.program.leaves.get(full)
        if leaf is None:
            raise Problem(errors.not_a_leaf(name.id, name.span, c.program.leaves, full in c.program.values))
        if leaf.role == "const":
            raise Problem(errors_promises.given_constant(name.id, name.span, leaf.span))
        if full in first:
            raise Problem(errors_promises.given_twice(name.id, name.span, first[full]))
        first[full] = name.span
        value = constant(c, name.id, expr, leaf)
        if isinstance(value, Poison):
            return None
        if isinstance(value, Ref):
            made[full] = value.id
        else:
            given[full] = value
    tol = tolerance(c, s)
    sides = split(c, s)
    if sides is None:
        return None
    unused(c, [n for n in sides if n is not None], first)
    return Promise(*sides, tol, given, s.span, made)


def split(c: Checker, s: ast.Check) -> tuple[int | None, int | None, int | None] | None:
    """The nodes of a condition, or of the two sides of `==`."""
    if isinstance(s.cond, ast.Compare) and s.cond.ops == ("equal",):
        left, right = (evaluated(c, x) for x in s.cond.args)
        if not isinstance(left, Ref) or not isinstance(right, Ref):
            return None
        if not alike(left.type.shape, right.type.shape):
            raise Problem(errors_promises.sides_differ(str(left.type), str(right.type), s.cond.span))
        return None, left.id, right.id
    ref = evaluated(c, s.cond)
    if not isinstance(ref, Ref):
        return None
    if ref.type.dtype != "bool":
        text = c.program.sources.of(s.cond.span[0]).slice(s.cond.span)
        got = str(ref.type) if ref.type.shape else "a number"
        raise Problem(errors_promises.no_condition(" ".join(text.split()), got, s.cond.span))
    return ref.id, None, None


def alike(left: Shape, right: Shape) -> bool:
    """Whether two shapes may be equal, or one of them is that of a scalar. What a size is, the values given say."""
    if not left or not right:
        return True
    same = (a == b or isinstance(a, Size) or isinstance(b, Size) for a, b in zip(left, right, strict=False))
    return len(left) == len(right) and all(same)


def tolerance(c: Checker, s: ast.Check) -> float | None:
    if s.tol is None:
        return None
    value = c.elaborator.eval(s.tol, Env(Home({})))
    if not statics.is_number(value):
        raise Problem(errors.bad_constant("a number is needed here", s.tol.span))
    if not value >= 0:
        raise Problem(errors_promises.bad_tolerance(s.tol.span))
    if not isinstance(s.cond, ast.Compare) or s.cond.ops != ("equal",):
        raise Problem(errors_promises.tolerance_alone(s.tol.span))
    return float(value)


def constant(c: Checker, name: str, expr: ast.Expr, leaf: Leaf) -> Any:
    """A value that is given for an input: numbers, nested tuples of them, or a node that depends on no input."""
    before = len(c.elaborator.problems)
    value = c.elaborator.eval(expr, c.env)
    c.problems += c.elaborator.problems[before:]
    if isinstance(value, Poison):
        return value
    got: Type | None = None
    if statics.is_number(value) or isinstance(value, bool):
        got = Type((), "bool" if isinstance(value, bool) else "real")
    elif isinstance(value, tuple) and (known := statics.nested(value)):
        if statics.ragged(value):
            raise Problem(errors.ragged(expr.span))
        got = Type(*known)
    whole = got is not None and leaf.type.dtype != "real" and statics.of_kind(value, leaf.type.dtype)
    if got is None:
        ref = c.elaborator.ref(value, expr.span)
        if not isinstance(ref, Ref):
            return ref
        if any(c.program.nodes[i].op == "input" for i in needed(c.program.nodes, [ref.id])):
            raise Problem(errors_promises.given_depends(name, expr.span))
        value, got = ref, ref.type
        whole = leaf.type.dtype == "real" or got.dtype in (leaf.type.dtype, "bool")
    if fits(got, leaf.type) and leaf.type.dtype != "real" and not whole:
        hint = f"give `{name}` " + ("whole numbers" if leaf.type.dtype == "int" else "true or false (or 0 and 1)")
        raise Problem(errors_promises.given_misfit(name, str(leaf.type), "a real number", expr.span, leaf.span, hint))
    if not fits(got, leaf.type):
        shown = str(got) if got.shape or got.dtype != "real" else "a single number"
        wanted = str(leaf.type) if leaf.type.shape or leaf.type.dtype != "real" else "a scalar"
        raise Problem(
            errors_promises.given_misfit(name, wanted, shown, expr.span, leaf.span, f"a value for `{name}` has its shape")
        )
    return value


def fits(got: Type, wanted: Type) -> bool:
    """Whether a value may be one of a type: equal numbers, and one number for each size."""
    found: dict[str, Any] = {}
    if got.rank != wanted.rank:
        return False
    for g, w in zip(got.shape, wanted.shape, strict=True):
        plain = w.linear() if isinstance(w, Size) else None
        if plain is not None and plain[1:] == (1, 0):
            if found.setdefault(plain[0], g) != g:
                return False
        elif not isinstance(w, Size) and not isinstance(g, Size) and g != w:
            return False
    return True


def unused(c: Checker, nodes: list[int], given: dict[str, Span]) -> None:
    """Warns of given inputs that a check does not depend on, and whose sizes it does not use."""
    if not given:
        return
    used = set(needed(c.program.nodes, nodes))
    sizes = {n for i in used for d in dims_of(c, i) for n in d.names()}
    for name, span in given.items():
        leaf = c.program.leaves[name]
        own = {n for d in leaf.type.shape if isinstance(d, Size) for n in d.names()}
        if leaf.node not in used and not own & sizes:
            c.program.warnings.append(errors_promises.given_unused(name, span))


def dims_of(c: Checker, i: int) -> list[Size]:
    node = c.program.nodes[i]
    return [d for d in (*node.type.shape, *node.attrs) if isinstance(d, Size)]
