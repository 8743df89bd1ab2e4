"""Sizes, shapes and types.

A dimension is a whole number or a `Size`, a polynomial in named sizes (`N`, `2*N`, `N - 1`). Sizes are nominal: two
different ones never match, even if a call would make them equal, and only a dimension written as 1 stretches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from gradlang.record import record

Monomial = tuple[str, ...]  # the names of a product, sorted: N*N*M is ("M", "N", "N")


@record
class Size:
    """A polynomial with whole coefficients in named sizes; `terms` is sorted and has no zero coefficients."""

    terms: tuple[tuple[Monomial, int], ...]

    def __str__(self) -> str:
        out = ""
        for names, factor in sorted(self.terms, key=lambda t: (-len(t[0]), t[0])):
            body = "*".join(names)
            size = abs(factor)
            text = body if size == 1 and names else f"{size}*{body}" if names else str(size)
            out += (" - " if factor < 0 else " + ") + text if out else ("-" if factor < 0 else "") + text
        return out

    def names(self) -> set[str]:
        return {n for names, _ in self.terms for n in names}

    def linear(self) -> tuple[str, int, int] | None:
        """(name, factor, offset) if this is factor*name + offset."""
        names = self.names()
        if len(names) != 1 or any(len(m) > 1 for m, _ in self.terms):
            return None
        table = dict(self.terms)
        (name,) = names
        return name, table[(name,)], table.get((), 0)


Dim = int | Size
Shape = tuple[Dim, ...]


def size(name: str) -> Size:
    return Size((((name,), 1),))


def _terms(dim: Dim) -> dict[Monomial, int]:
    return dict(dim.terms) if isinstance(dim, Size) else ({(): dim} if dim else {})


def _dim(terms: Mapping[Monomial, int]) -> Dim:
    kept = tuple(sorted((m, c) for m, c in terms.items() if c))
    if not kept:
        return 0
    return kept[0][1] if len(kept) == 1 and not kept[0][0] else Size(kept)


def add(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    terms = _terms(a)
    for m, c in _terms(b).items():
        terms[m] = terms.get(m, 0) + c
    return _dim(terms)


def mul(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    terms: dict[Monomial, int] = {}
    for m, c in _terms(a).items():
        for n, d in _terms(b).items():
            key = tuple(sorted(m + n))
            terms[key] = terms.get(key, 0) + c * d
    return _dim(terms)


def neg(a: Dim) -> Dim:
    return mul(a, -1)


def sub(a: Dim, b: Dim) -> Dim:
    return add(a, neg(b))


def exact_quotient(a: Dim, b: Dim) -> Dim | None:
    """a / b where that is a polynomial with whole coefficients and b a single term, else None."""
    divisor = _terms(b)
    if len(divisor) != 1:
        return 1 if a == b else None
    ((names, factor),) = divisor.items()
    out: dict[Monomial, int] = {}
    for m, c in _terms(a).items():
        rest = list(m)
        for n in names:
            if n not in rest:
                return None
            rest.remove(n)
        if c % factor:
            return None
        out[tuple(rest)] = c // factor
    return _dim(out)


def product(shape: Iterable[Dim]) -> Dim:
    total: Dim = 1
    for dim in shape:
        total = mul(total, dim)
    return total


def value(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The number that a dimension has under a binding of the sizes. KeyError if a size is not bound."""
    if isinstance(dim, int):
        return dim
    total = 0
    for names, factor in dim.terms:
        for n in names:
            factor *= sizes[n]
        total += factor
    return total


def at_least(dim: Dim, low: int) -> bool:
    """Whether a dimension is `low` or more for every binding of sizes of 1 or more (False: not known)."""
    if isinstance(dim, int):
        return dim >= low
    return all(c >= 0 for m, c in dim.terms if m) and sum(c for _, c in dim.terms) >= low


@record
class Type:
    """The shape and the kind ("real", "int", "bool") of a value. `shape` is () for a scalar."""

    shape: Shape
    dtype: str = "real"

    def __str__(self) -> str:
        dims = show_shape(self.shape)
        if self.dtype == "real":
            return dims if self.shape else "a scalar"
        return self.dtype + (dims if self.shape else "")

    @property
    def rank(self) -> int:
        return len(self.shape)


SCALAR = Type(())
BOOL = Type((), "bool")
INT = Type((), "int")
_SCALARS = {"real": SCALAR, "bool": BOOL, "int": INT}
BUNDLE = Type((), "bundle")  # the several sequences of a recurrence


def scalar_of(dtype: str) -> Type:
    """The type of one number or truth value; that of reals is always the same object."""
    return _SCALARS[dtype]


def show_shape(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


class Mismatch(Exception):
    """Two dimensions that do not fit, and their positions from the right."""

    def __init__(self, left: Dim, right: Dim) -> None:
        super().__init__(f"{left} and {right}")
        self.left, self.right = left, right


@lru_cache(maxsize=4096)
def broadcast(a: Shape, b: Shape) -> Shape:
    """The common shape of two operands under NumPy's rule, where only a written 1 stretches. Raises Mismatch."""
    if a == b:
        return a
    if len(a) < len(b):
        a = (1,) * (len(b) - len(a)) + a
    elif len(b) < len(a):
        b = (1,) * (len(a) - len(b)) + b
    out: list[Dim] = []
    for x, y in zip(a, b, strict=True):
        if x == y or y == 1:
            out.append(x)
        elif x == 1:
            out.append(y)
        else:
            raise Mismatch(x, y)
    return tuple(out)


def stretches(shape: Shape, wanted: Shape) -> bool:
    """Whether a value of a shape can be stretched to another one."""
    try:
        return broadcast(shape, wanted) == wanted
    except Mismatch:
        return False


def join_dtype(dtypes: Iterable[str]) -> str:
    """The kind of an array that holds values of several kinds."""
    seen = set(dtypes)
    return "real" if "real" in seen or not seen else "int" if "int" in seen else "bool"
