"""What a definition defines, uses and calls; for lines of one shape found once, without making their trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from gradlang.check.names import heads_in, names_in
from gradlang.record import record
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.syntax.lines import Shape, Written

PLAIN = (ast.Apply, ast.Name, ast.Number, ast.Call)
ARITHMETIC = ("add", "sub", "mul", "div")


@record(eq=False)
class Outline:
    """The lines `name = formula` of a shape, whose formula is made of numbers, names, operators and calls. The numbers are
    those of words: what is defined, the free names of the formula in order, what it calls, and its numbers, of which some
    (`free`) are plain operands next to something that is computed, some of
    these `nonzero`, since they divide or have a minus sign."""

    target: int
    names: tuple[int, ...]
    heads: tuple[int, ...]
    fixed: tuple[int, ...]
    free: tuple[int, ...]
    nonzero: tuple[int, ...]


@record(eq=False)
class Operand:
    """A number, or a number with a minus sign, that is an operand of +, -, * or / beside something that is computed."""

    number: ast.Number
    negative: bool
    divides: bool
    of: Span


def operands(formula: ast.Expr) -> list[Operand]:
    computed: set[int] = set()
    out: list[Operand] = []
    for node in reversed(ast.walk(formula)):
        kids = ast.children(node)
        if isinstance(node, ast.Name) or any(id(k) in computed for k in kids):
            computed.add(id(node))
            if isinstance(node, ast.Apply) and node.op in ARITHMETIC:
                for side in node.args:
                    negative = isinstance(side, ast.Apply) and side.op == "neg"
                    number = side.args[0] if isinstance(side, ast.Apply) and negative else side
                    if isinstance(number, ast.Number):
                        out.append(Operand(number, negative, node.op == "div" and side is node.args[1], node.span))
    return out


_outlines: dict[Shape, Outline | None] = {}


def outline(line: Written) -> Outline | None:
    """The outline of a line, if its shape has one."""
    try:
        return _outlines[line.shape]
    except KeyError:
        made = _outlines[line.shape] = _outline(line)
        return made


def _outline(line: Written) -> Outline | None:
    tree = line.tree()
    if len(tree.targets) != 1 or tree.targets[0].index is not None or tree.type is not None or tree.clauses:
        return None
    nodes = ast.walk(tree.value)
    heads = [n.func for n in nodes if isinstance(n, ast.Call)]
    if tree.tail != ast.Tail() or not all(n.__class__ in PLAIN for n in nodes):
        return None
    if any(isinstance(n, ast.Call) and (n.keywords or not isinstance(n.func, ast.Name)) for n in nodes):
        return None
    word = {start: k for k, start in enumerate(line.starts())}
    beside = operands(tree.value)
    free = {o.number.span for o in beside}
    numbers = [n.span for n in nodes if isinstance(n, ast.Number)]

    def words(spans: Sequence[Span]) -> tuple[int, ...]:
        return tuple(word[start] for start, _ in spans)

    return Outline(
        words([tree.targets[0].name.span])[0],
        words([n.span for n in names_in([tree.value])]),
        words([h.span for h in heads]),
        words([s for s in numbers if s not in free]),
        words([s for s in numbers if s in free]),
        words([o.number.span for o in beside if o.divides or o.negative]),
    )


class Many:
    """Definitions of one file, each of one plain name, that are dealt with together."""

    def lines(self) -> Iterator[Written]:
        """The definitions one by one."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """What they define, in order."""
        raise NotImplementedError

    def used(self) -> list[str]:
        """The free names of their formulas, each once, but for those that are defined by many lines."""
        raise NotImplementedError

    def unused(self) -> list[str]:
        """What they define and none of many lines uses."""
        raise NotImplementedError

    def called(self) -> list[str]:
        """The names of the functions that they call, each once."""
        raise NotImplementedError

    @property
    def span(self) -> Span:
        """Where the one stands that is being defined."""
        raise NotImplementedError

    def unknown(self, known: Set[str]) -> Sequence[ast.Define]:
        """Those that use other names than those that are known."""
        raise NotImplementedError

    def define(self, most: int) -> None:
        """Writes their nodes, unless the program gets more than `most`. Raises TooLarge."""
        raise NotImplementedError

    def later(self, names: Iterable[str]) -> bool:
        """Whether some of these names are defined here, or by later ones of many lines."""
        raise NotImplementedError

    def in_sequence(self, closed: Mapping[str, frozenset[str]]) -> bool:
        """Whether each stands after those of many lines that it uses. `closed` gives the names that calls of some functions
        use."""
        raise NotImplementedError


def defined(d: ast.Define | Many) -> list[str]:
    """The names that a definition gives values to."""
    if d.__class__ is Written and (found := outline(d)) is not None:
        return [d.words[found.target]]
    return d.names() if isinstance(d, Many) else [t.name.id for t in d.targets]


def used(d: ast.Define | Many) -> list[str]:
    """The free names of a formula in the order of the text."""
    if d.__class__ is Written and (found := outline(d)) is not None:
        words = d.words
        return [words[k] for k in found.names]
    return d.used() if isinstance(d, Many) else [n.id for n in names_in([d.value])]


def called(d: ast.Define | Many) -> list[str]:
    """The names of the functions that a formula calls."""
    if d.__class__ is Written and (found := outline(d)) is not None:
        return [d.words[k] for k in found.heads]
    return d.called() if isinstance(d, Many) else heads_in([d.value])
