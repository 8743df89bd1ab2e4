"""What an entry of the table says about an op."""

from __future__ import annotations

from gradlang.record import field, record
from gradlang.source import Source, Span
from gradlang.syntax import ast

FLAGS = {
    "constant": "its derivative is zero",
    "linear": "linear in each argument that has an adjoint",
    "integral": "whole numbers in, whole numbers out",
    "predicate": "its result is a truth value",
    "logical": "truth values in, a truth value out",
    "index": "its result is a whole number",
    "choice": "its first argument is a condition",
    "cast": "takes truth values and whole numbers, gives reals",
    "marker": "keeps its value apart from equal ones",
    "variadic": "takes a list of arrays",
    "rounding": "its result is whole and has the sign of its argument, zeros too",
    "moves": "moves entries and keeps their kind",
}
WORDS = ("value", "reference", "shape")
PAIRS = {"max": "maximum", "min": "minimum"}  # of two values


@record
class Domain:
    """A box where an entry is tested: argument -> (low, high)."""

    bounds: dict[str, tuple[float, float]]


@record
class Kink:
    """A point, and the partials that are agreed on there (None where the partial is left open)."""

    point: dict[str, float]
    partials: tuple[float, ...]


@record
class Op:
    """One entry. `params` are the differentiable arguments, `attrs` the settings with their defaults, `result` the name
    that rules use for the value. `locals` are named shared work, in order."""

    name: str
    params: tuple[str, ...]
    attrs: tuple[str, ...]
    defaults: tuple[ast.Expr, ...]
    result: str
    flags: frozenset[str] = frozenset()
    locals: tuple[tuple[str, ast.Expr], ...] = ()
    value: ast.Expr | None = None
    partials: dict[str, ast.Expr] = field(default_factory=dict)
    adjoints: dict[str, ast.Expr] = field(default_factory=dict)
    spelling: dict[str, str] = field(default_factory=dict)
    reference: ast.Expr | None = None
    shape: str = ""
    domains: tuple[Domain, ...] = ()
    kinks: tuple[Kink, ...] = ()
    span: Span = (0, 0)
    source: Source | None = None

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def pointwise(self) -> bool:
        return not self.shape and not self.adjoints and not self.defined

    @property
    def defined(self) -> bool:
        """Whether the entry is a formula and nothing else: it is written out wherever it is used, and its derivative is
        that of the formula."""
        return self.value is not None and not self.partials and not self.adjoints and not self.flags and not self.shape

    @property
    def differentiable(self) -> bool:
        return bool(self.partials or self.adjoints) or "variadic" in self.flags

    @property
    def kind(self) -> str:
        if "constant" in self.flags or self.flags & {"predicate", "logical", "index"}:
            return "constant"
        if "linear" in self.flags:
            return "linear"
        return "pointwise" if self.pointwise else "array"

    def calls(self, *, rules: bool = True) -> set[str]:
        """The names of the functions and ops that the entry's formulas call; without `rules` only those of its value."""
        exprs = [e for _, e in self.locals] + ([] if self.value is None else [self.value])
        if rules:
            exprs += [*self.partials.values(), *self.adjoints.values()]
        out: set[str] = set()
        for expr in exprs:
            for node in ast.walk(expr):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    pair = node.func.id in PAIRS and len(node.args) > 1
                    out.add(PAIRS[node.func.id] if pair else node.func.id)
        return out

    def text(self) -> str:
        """The entry as it stands in its file."""
        return self.source.slice(self.span).rstrip() if self.source else self.name


# What only a body or a derivative needs, and no table has: the value of an array at the current step of a recurrence, a
# recurrence and one of its sequences, an implicit definition; and the operators that `transform/differentiate.py` removes.
ROW, SCAN, ITEM, ROOT = (Op(name, (), (), (), "y") for name in ("row", "scan", "item", "root"))
DERIVATIVES = {name: Op(name, (), (), (), "y") for name in ("grad", "jvp", "vjp", "jacobian")}
BODIES = frozenset({"scan", "segments", "root"})  # what holds a body
BEYOND = frozenset({*DERIVATIVES, *BODIES, "item"})  # nodes that no table has
