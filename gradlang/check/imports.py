"""What imports mean: names of other files, with a prefix or taken by name, and which of their leaves a program has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradlang.check import errors, errors_modules
from gradlang.check.errors import Problem
from gradlang.check.modules import DEEPEST, Unit, prefix_of, stem
from gradlang.check.program import POISON, Poison, Ref, Value, needed
from gradlang.check.scope import Env, Home, Space
from gradlang.ops.table import OpTable
from gradlang.syntax import ast
from gradlang.types import Size

if TYPE_CHECKING:
    from gradlang.check.check import Checker


# ------------------------------------------------------------------ an import makes names known
def take(c: Checker, s: ast.Import) -> None:
    """Makes the names of an import known in the file of a checker. What could not be read is `POISON`."""
    unit = c.unit.links.get(id(s))
    if s.names is None:
        name = prefix_of(s)
        if name is None:
            word = stem(s.path.value)
            if unit is not None:
                c.report(errors_modules.no_prefix(word, s.path.value, s.path.span))
            c.found.setdefault("".join(x if x.isalnum() else "_" for x in word), POISON)
        elif c.claim(name):
            c.found[name.id] = POISON if unit is None or unit.home is None else Space(unit.source.path, unit.home)
        return
    for theirs, ours in s.names:
        if c.claim(ours):
            c.found[ours.id] = POISON
            if unit is not None and unit.home is not None:
                try:
                    _take(c, Space(unit.source.path, unit.home), theirs, ours.id)
                except Problem as problem:
                    c.report(problem.diagnostic)


def _take(c: Checker, space: Space, theirs: ast.Name, ours: str) -> None:
    if theirs.id in space.home.ops:
        if theirs.id != ours:
            raise Problem(errors_modules.op_renamed(theirs.id, theirs.span))
        del c.found[ours]
        c.home.ops |= {ours}
        return
    function, value = _look_up(space, theirs.id, theirs, stem(space.path))
    if function is not None:
        del c.found[ours]
        c.home.imported[ours] = function
    else:
        c.found[ours] = value


def _look_up(
    space: Space, name: str, node: ast.Name | ast.Attribute, prefix: str
) -> tuple[tuple[ast.Function, Home] | None, Value]:
    """The function, or the value, that is called `name` in a file. Raises Problem if there is none, or if it is private."""
    home = space.home
    function = home.own(name)
    value = home.value(name) if function is None else None
    if function is None and value is None:
        raise Problem(errors_modules.no_member(prefix, name, node.span, public(space)))
    if name.startswith("_"):
        raise Problem(errors_modules.private(prefix, name, node.span))
    return function, value


def is_op(node: ast.Attribute, env: Env) -> bool:
    """Whether `layers.swish` is an op of an imported file."""
    space = space_of(node.value, env)
    return isinstance(space, Space) and node.name in space.home.ops and not node.name.startswith("_")


def public(space: Space) -> list[str]:
    home = space.home
    known = [n for n in home.known() if isinstance(home.value(n), Ref) or home.value(n) not in (None, POISON)]
    return list(dict.fromkeys(n for n in (*home.functions, *sorted(home.ops), *home.imported, *known) if not n.startswith("_")))


# ------------------------------------------------------------------ names with a prefix
def written(node: ast.Expr) -> str:
    """A dotted name as it was written."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.name)
        node = node.value
    return ".".join([node.id if isinstance(node, ast.Name) else "", *reversed(parts)])


def dotted(name: ast.Name) -> ast.Expr:
    """The expression that a dotted name of a request means."""
    first, *rest = name.id.split(".")
    out: ast.Expr = ast.Name(first, name.span)
    for part in rest:
        out = ast.Attribute(out, part, name.span)
    return out


def space_of(node: ast.Expr, env: Env) -> Space | Poison | None:
    """The imported file that an expression names (`layers`, `net.layers`); None if it names none."""
    path: list[ast.Attribute] = []
    while isinstance(node, ast.Attribute) and len(path) <= DEEPEST:
        path.append(node)
        node = node.value
    if not isinstance(node, ast.Name) or node.id in env.names:
        return None
    found = env.home.value(node.id)
    for part in reversed(path):
        if not isinstance(found, Space):
            break
        found = _value(found, part)
    return found if isinstance(found, (Space, Poison)) else None


def _value(space: Space, node: ast.Attribute) -> Value:
    function, value = _look_up(space, node.name, node, written(node.value))
    if function is not None:
        raise Problem(errors.unknown_name(written(node), node.span, (), [written(node)]))
    return value


def member(node: ast.Attribute, env: Env) -> Value | None:
    """The value of `layers.W`; None if what stands before the dot is no imported file."""
    space = space_of(node.value, env)
    if not isinstance(space, Space):
        return space
    value = _value(space, node)
    if isinstance(value, Space):
        raise Problem(errors_modules.not_a_value(written(node), node.span, public(value)))
    return value


def callee(node: ast.Attribute, env: Env, table: OpTable) -> tuple[ast.Function, Home] | Poison:
    """The function `layers.affine`. Raises Problem if there is none."""
    space = space_of(node.value, env)
    if isinstance(space, Poison):
        return space
    if space is None:
        base = node.value
        of_value = isinstance(base, ast.Name) and (base.id in env.names or env.home.value(base.id) is not None)
        raise Problem(errors.dotted(node, table, of_value))
    function, value = _look_up(space, node.name, node, written(node.value))
    if function is not None:
        return function
    if isinstance(value, Poison):
        return value
    if isinstance(value, Space):
        raise Problem(errors_modules.not_a_function(written(node), node.span, public(value)))
    raise Problem(errors.unknown_function(written(node), node.span, (), True))


# ------------------------------------------------------------------ what a program has of the files that it imports
def keep_needed(main: Checker, others: Sequence[Checker]) -> None:
    """Leaves and values of files from which names were only taken belong to a program if these names need them; what
    definitions of other files demand of the sizes counts only where the file that is run uses them."""
    program = main.program
    mine = [a.node for a in program.asked] + [v.id for v in main.found.values() if isinstance(v, Ref)]
    mine += [n for p in program.promises for n in (p.cond, p.left, p.right, *p.made.values()) if n is not None]
    used = set(needed(program.nodes, mine))
    whole = [v.id for c in others if c.unit.whole for v in c.found.values() if isinstance(v, Ref)]
    kept = set(needed(program.nodes, [*mine, *whole]))
    owner: dict[int, Unit] = {c.unit.source.base: c.unit for c in (main, *others)}

    def unit_of(offset: int) -> Unit:
        return owner[program.sources.of(offset).base]

    leaves = {n: x for n, x in program.leaves.items() if x.node in kept or (x.node < 0 and unit_of(x.span[0]).whole)}
    program.leaves = dict(sorted(leaves.items(), key=lambda item: program.sources.of(item[1].span[0]).base))
    program.values = {n: i for n, i in program.values.items() if i in kept}
    program.labels = {n: text for n, text in program.labels.items() if n in program.values}
    sizes = {n for x in leaves.values() for d in x.type.shape if isinstance(d, Size) for n in d.names()}
    program.sizes = {n: s for n, s in program.sizes.items() if n in sizes or unit_of(s[0]).whole}
    dropped = {id(row) for c in others for nodes, rows in c.demands if used.isdisjoint(nodes) for row in rows}
    program.requirements = [row for row in program.requirements if id(row) not in dropped]
