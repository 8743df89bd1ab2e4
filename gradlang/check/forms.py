"""What each kind of expression means: steps of the elaborator, which push their parts and take the values of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gradlang.check import calls, comprehension, derive, errors, imports, indexing, statics
from gradlang.check.errors import Problem
from gradlang.check.loops import Index, plus
from gradlang.check.program import POISON, Poison, Ref, Value
from gradlang.check.scope import Env
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import Size

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


def _number(node: ast.Number, env: Env, e: Elaborator) -> None:
    e.values.append(node.value if node.exact is None else node.exact)


def _literal(node: ast.Bool | ast.String, env: Env, e: Elaborator) -> None:
    e.values.append(node.value)


def _name(node: ast.Name, env: Env, e: Elaborator) -> None:
    e.values.append(env.lookup(node))


def _apply(node: ast.Apply, env: Env, e: Elaborator) -> None:
    e.then(_applied, node, e)
    for arg in reversed(node.args):
        e.push(arg, env)


def _applied(node: ast.Apply, e: Elaborator) -> None:
    args = e.pop(len(node.args))
    known = statics.fold(node.op, args)
    if known is not statics.UNKNOWN:
        e.values.append(known)
    elif node.op == "pow" and (n := statics.whole(args[1])) is not None:
        e.values.append(e.apply("powi", args[:1], (n,), node.span))
    elif node.op == "div" and not isinstance(args[1], Ref) and statics.is_zero(args[1]) and e.at is None:
        raise Problem(errors.bad_constant("this divides by zero", node.args[1].span))
    else:
        made = e.apply(node.op, args, (), node.span)
        if node.op in LOGIC and isinstance(made, Ref):
            _imply(node.op, args, made, e)
        e.values.append(made)


LOGIC = ("logical_and", "logical_or", "logical_not")


def _imply(op: str, args: list[Value], made: Ref, e: Elaborator) -> None:
    """What a condition says of indices follows from its parts."""
    sides = [e.implied.get(a.id, ([], [])) if isinstance(a, Ref) else ([], []) for a in args]
    if op == "logical_not":
        e.implied[made.id] = (sides[0][1], sides[0][0])
    elif op == "logical_and":
        e.implied[made.id] = ([f for true, _ in sides for f in true], [])
    else:
        e.implied[made.id] = ([], [f for _, false in sides for f in false])


def _compare(node: ast.Compare, env: Env, e: Elaborator) -> None:
    e.then(_compared, node, e)
    for arg in reversed(node.args):
        e.push(arg, env)


def _compared(node: ast.Compare, e: Elaborator) -> None:
    args = e.pop(len(node.args))
    parts: list[Value] = []
    for op, a, b in zip(node.ops, args, args[1:], strict=False):
        known = statics.fold(op, [a, b])
        parts.append(_comparison(op, a, b, node.span, e) if known is statics.UNKNOWN else known)
    out = parts[0]
    for p in parts[1:]:
        known = statics.fold("logical_and", [out, p])
        if known is statics.UNKNOWN:
            made = e.apply("logical_and", (out, p), (), node.span)
            if isinstance(made, Ref):
                _imply("logical_and", [out, p], made, e)
            known = made
        out = known
    e.values.append(out)


def _comparison(op: str, a: Value, b: Value, span: Span, e: Elaborator) -> Value:
    """A comparison, and what it says of the indices of loops."""
    made = e.apply(op, (a, b), (), span)
    whole = all(isinstance(x, (int, Size, Index)) and not isinstance(x, bool) for x in (a, b))
    if whole and isinstance(made, Ref):
        over, under = plus(a, b, -1), plus(b, a, -1)
        more, less = plus(over, -1), plus(under, -1)
        e.implied[made.id] = {
            "less": ([less], [over]),
            "less_equal": ([under], [more]),
            "greater": ([more], [under]),
            "greater_equal": ([over], [less]),
            "equal": ([over, under], []),
            "not_equal": ([], [over, under]),
        }[op]
    return made


def _if_else(node: ast.IfElse, env: Env, e: Elaborator) -> None:
    e.then(_chosen, node, env, e)
    e.push(node.cond, env)


def _chosen(node: ast.IfElse, env: Env, e: Elaborator) -> None:
    cond = e.values.pop()
    if isinstance(cond, bool):
        e.push(node.then if cond else node.other, env)
        return
    if isinstance(cond, Poison) and e.at is not None:  # the library chooses by what it could not find out
        e.values.append(POISON)
        return
    e.then(_selected, node, cond, e)
    for side, wanted in ((node.other, False), (node.then, True)):
        e.then(e.leave)
        e.push(side, env)
        e.then(e.enter, cond, wanted)


def _selected(node: ast.IfElse, cond: Value, e: Elaborator) -> None:
    then, other = e.pop(2)
    e.values.append(e.apply("where", (cond, then, other), (), node.span))


def _array(node: ast.Array, env: Env, e: Elaborator) -> None:
    e.then(_listed, node, e)
    for item in reversed(node.items):
        e.push(item, env)


def _listed(node: ast.Array, e: Elaborator) -> None:
    items = e.pop(len(node.items))
    e.values.append(POISON if any(isinstance(i, Poison) for i in items) else tuple(items))


def _call(node: ast.Call, env: Env, e: Elaborator) -> None:
    calls.call(node, env, e)


def _index(node: ast.Index, env: Env, e: Elaborator) -> None:
    indexing.index(node, env, e)


def _attribute(node: ast.Attribute, env: Env, e: Elaborator) -> None:
    found = imports.member(node, env)
    if found is not None:
        e.values.append(found)
        return
    if node.name != "T":
        if isinstance(node.value, ast.Name) and env.home.value(node.value.id) is None:
            raise Problem(errors.dotted(node, e.table))
        raise Problem(errors.no_attribute(node))
    e.then(_transposed, node, e)
    e.push(node.value, env)


def _transposed(node: ast.Attribute, e: Elaborator) -> None:
    e.values.append(e.apply("transpose", e.pop(1), (None,), node.span))


def _comprehension(node: ast.Comprehension, env: Env, e: Elaborator) -> None:
    comprehension.comprehension(node, env, e)


def _slice(node: ast.Slice, env: Env, e: Elaborator) -> None:
    raise Problem(errors.bad_constant("a slice stands only inside `[ ]`", node.span))


def _implicit(node: ast.Implicit, env: Env, e: Elaborator) -> None:
    raise Problem(errors.only_in_solve(node.span))


def _derive(node: ast.Derive, env: Env, e: Elaborator) -> None:
    derive.derive(node.kind, node, env, e)


DISPATCH: dict[type, Callable[..., None]] = {
    ast.Number: _number,
    ast.Bool: _literal,
    ast.String: _literal,
    ast.Name: _name,
    ast.Apply: _apply,
    ast.Compare: _compare,
    ast.IfElse: _if_else,
    ast.Array: _array,
    ast.Several: _array,
    ast.Call: _call,
    ast.Index: _index,
    ast.Attribute: _attribute,
    ast.Slice: _slice,
    ast.Derive: _derive,
    ast.Implicit: _implicit,
    ast.Comprehension: _comprehension,
}
