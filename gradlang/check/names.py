"""Which names a file defines, what each definition uses, and in which order they can be computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from gradlang.syntax import ast

T = TypeVar("T")
LITERAL_NAMES = frozenset({"pi", "e", "inf", "nan"})


def names_in(exprs: Iterable[ast.Expr]) -> list[ast.Name]:
    """The free names of expressions in the order of the text; heads of calls and the variables of `for` are not among them."""
    out: list[ast.Name] = []
    stack: list[tuple[ast.Expr, frozenset[str]]] = [(x, frozenset()) for x in reversed(list(exprs))]
    while stack:
        node, bound = stack.pop()
        kind = node.__class__
        if kind is ast.Name:
            if node.id not in bound:  # type: ignore[union-attr]
                out.append(node)  # type: ignore[arg-type]
            continue
        if kind is ast.Number:
            continue
        if kind is ast.Apply:
            stack.extend((c, bound) for c in reversed(node.args))  # type: ignore[union-attr]
            continue
        if isinstance(node, ast.Comprehension):
            parts: list[tuple[ast.Expr, frozenset[str]]] = []
            for c in node.clauses:  # a variable is known from its own clause on
                parts.append((c.over if isinstance(c, ast.For) else c.cond, bound))
                bound = bound | ast.shadowed(c.targets) if isinstance(c, ast.For) else bound
            stack.extend([*reversed(parts), (node.element, bound)])
            continue
        if isinstance(node, ast.Implicit):
            stack += [(node.start, bound), (node.residual, bound | {node.name.id})]
            continue
        if isinstance(node, ast.Index):
            stack.extend((c, bound) for c in reversed(ast.children(node)) if not (isinstance(c, ast.Name) and c.id == "None"))
            continue
        kids = ast.children(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kids = kids[1:]
        stack.extend((c, bound) for c in reversed(kids))
    return out


def heads_in(exprs: Iterable[ast.Expr]) -> list[str]:
    """The names of the functions that expressions call."""
    nodes = (n for x in exprs for n in ast.walk(x))
    return [n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]


def closures(functions: Mapping[str, ast.Function]) -> dict[str, frozenset[str]]:
    """For each function of a file the names of the file that a call of it uses, also through other functions; only those
    that use some."""
    names: dict[str, set[str]] = {}
    calls: dict[str, set[str]] = {}
    for name, fn in functions.items():
        exprs = [*fn.result, *(p.default for p in fn.params if p.default is not None)]
        stack: list[ast.Define | ast.Loop] = list(fn.body)
        local = {p.name.id for p in fn.params}
        while stack:
            line = stack.pop()
            if isinstance(line, ast.Loop):
                stack.extend(line.body)
                exprs.append(line.over)
                local |= ast.shadowed(line.targets)
                continue
            exprs += [line.value, *(x for t in line.targets for x in t.index or ())]
            local |= {t.name.id for t in line.targets}
            for c in line.clauses:
                exprs.append(c.over if isinstance(c, ast.For) else c.cond)
                local |= ast.shadowed(c.targets) if isinstance(c, ast.For) else set()
        names[name] = {n.id for n in names_in(exprs)} - local
        calls[name] = {h for h in heads_in(exprs) if h in functions}
    out = {}
    for name in functions:
        seen, todo = {name}, [name]
        while todo:
            new = calls[todo.pop()] - seen
            seen |= new
            todo.extend(new)
        if found := frozenset().union(*(names[n] for n in seen)):
            out[name] = found
    return out


def is_literal(expr: ast.Expr, shadowed: frozenset[str] = frozenset()) -> bool:
    """Whether an expression is made of numbers only (and the named constants that are not `shadowed`), in lists or not."""
    for node in ast.walk(expr):
        if isinstance(node, ast.Name) and node.id in LITERAL_NAMES and node.id not in shadowed:
            continue
        if not isinstance(node, (ast.Number, ast.Array, ast.Bool)) and not (
            isinstance(node, ast.Apply) and node.op in ("neg", "add", "sub", "mul", "div", "floordiv", "pow", "mod")
        ):
            return False
    return not isinstance(expr, ast.Name) or expr.id in ("inf", "nan")


def in_order(items: Iterable[T], uses: Callable[[T], Iterable[T]]) -> tuple[list[T], list[list[T]]]:
    """Items so that each stands after what it uses, otherwise in the order given; and the cycles found, each once."""
    order: list[T] = []
    cycles: list[list[T]] = []
    state: dict[T, int] = {}
    for root in items:
        if root in state:
            continue
        state[root] = 1
        path, stack = [root], [iter(uses(root))]
        while stack:
            for item in stack[-1]:
                seen = state.get(item)
                if seen is None:
                    state[item] = 1
                    path.append(item)
                    stack.append(iter(uses(item)))
                    break
                if seen == 1:
                    cycles.append(path[path.index(item) :])
            else:
                stack.pop()
                done = path.pop()
                state[done] = 2
                order.append(done)
    return order, cycles
