"""Array programs as readable NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from gradlang.backend.names import ARRAY_KINDS, Names
from gradlang.backend.numpy_slices import dim_text, ranges
from gradlang.backend.text import ATOM, INFIX, PRODUCT, SUM, TERNARY, UNARY, TapePrinter, Text, array_text, number
from gradlang.ir.tape import Instr, Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.types import Dim, Shape

if TYPE_CHECKING:
    from gradlang.backend.numpy_pieces import Pieces

MARKS = "\ue000\ue001"  # no text of a user has them


def unmarked(text: str) -> str:
    return text.replace(MARKS[0], "").replace(MARKS[1], "") if MARKS[0] in text else text


def spelled(op: Op) -> bool:
    """Whether this backend writes an op itself; otherwise its value is written."""
    return "numpy" in op.spelling or op.value is None


class NumpyPrinter(TapePrinter):
    def __init__(
        self,
        tape: Tape,
        names: Names,
        table: OpTable,
        params: Mapping[Any, str],
        sizes: dict[str, str],
        helpers: set[str] | None = None,
        wanted: Iterable[int] = (),
        marked: bool = False,
    ) -> None:
        """`wanted` are instructions whose texts are asked for, besides the outputs of the tape. With `marked` numbers beside
        arrays stand between MARKS."""
        super().__init__(tape, names)
        self.marked = marked
        self.table, self.params, self.sizes = table, params, sizes
        self.helpers: set[str] = set() if helpers is None else helpers
        self.sequences: dict[int, list[str]] = {}
        self.starts: dict[int, str] = {}  # of recurrences in segments: the list of what was carried into each
        for i in wanted:
            self.uses[i] += 1
        self.skip_broadcasts()
        self.pieces: dict[int, Pieces] = {}  # arrays that are put together, and what is written only there
        self.absorbed: set[int] = set()
        if any(instr.type.shape for instr in tape.instrs):
            from gradlang.backend.numpy_pieces import Finder

            found = Finder(self)
            self.pieces, self.absorbed = found.made, found.inside
        self.run()

    def inside(
        self, tape: Tape, params: Mapping[Any, str], wanted: Iterable[int], sizes: Mapping[str, str] | None = None
    ) -> NumpyPrinter:
        """A printer of the body of a loop, which may have sizes of its own."""
        known = {**self.sizes, **sizes} if sizes else self.sizes
        return NumpyPrinter(tape, self.names, self.table, params, known, self.helpers, wanted, self.marked)

    def dim(self, dim: Dim) -> str:
        return dim_text(dim, self.sizes)

    def named(self, i: int) -> str:
        """A value by a name, for a use that is repeated."""
        text = self.text[i][0]
        if not text.isidentifier():
            name = self.names.fresh()
            self.lines.append((f"{name} = {text}", self.tape.instrs[i].span))
            self.text[i] = (name, ATOM)
        return self.text[i][0]

    def inlined(self, i: int, instr: Instr, text: str) -> bool:
        written = instr.op in ("scan", "segments", "item", "root") or i in self.pieces or i in self.absorbed
        return written or super().inlined(i, instr, unmarked(text))

    def leaf(self, i: int, instr: Instr) -> Text:
        if instr.op == "input":
            return self.params[instr.attrs[0]], ATOM
        value = instr.attrs[0]
        if instr.op == "size":
            text = dim_text(value, self.sizes)
            return (f"F({text})", ATOM) if instr.type.dtype == "real" else (text, SUM if " " in text else ATOM)
        if instr.op == "array":
            kind = ARRAY_KINDS[instr.type.dtype]
            return f"np.array({array_text(value)}, {kind})", ATOM
        if isinstance(value, (bool, int)):
            return repr(value), ATOM
        if value in (float("inf"), float("-inf")):
            return ("np.inf", ATOM) if value > 0 else ("-np.inf", UNARY)
        return ("np.nan", ATOM) if value != value else number(value)

    def shape(self, shape: Shape) -> str:
        dims = [dim_text(d, self.sizes) for d in shape]
        return "(" + ", ".join(dims) + ("," if len(dims) == 1 else "") + ")"

    # -------------------------------------------------------------- instructions
    def expression(self, i: int, instr: Instr) -> Text:
        if i in self.absorbed:
            return "", ATOM
        if i in self.pieces:
            from gradlang.backend.numpy_pieces import write

            return write(self, i, instr)
        if instr.op in ("scan", "segments", "root"):
            return self.loop(i, instr)
        if instr.op == "item":
            return self.sequences[instr.args[0]][instr.attrs[0]], ATOM
        op = self.table[instr.op]
        special = STRUCTURAL.get(instr.op) or (None if op.pointwise else rarer().get(instr.op))
        if special is not None:
            return special(self, instr)
        args = self.operands(instr) if op.pointwise else list(instr.args)
        if all(self.tape.instrs[a].op == "const" for a in args) and instr.type.dtype == "real":
            return self.call(
                NUMPY_NAMES.get(instr.op, op.spelling.get("numpy", f"np.{instr.op}")),
                [f"F({self.at(a)})" if self.tape.instrs[a].type.dtype == "real" else self.at(a) for a in args],
            )
        if instr.op in INFIX and "logical" not in op.flags:
            return self.infix(instr.op, args[0], args[1])
        if instr.op == "neg":
            return self.negated(args[0])
        if instr.op == "mark":
            return self.text[args[0]]
        if instr.op in ("maximum", "minimum"):
            texts = [self.beside(a, b) for a, b in zip(args, reversed(args), strict=True)]
        else:
            texts = [self.at(a) for a in args]
        if instr.op == "where" and all(self.tape.instrs[a].op == "const" for a in args[1:]):
            texts[1:] = [self.typed(a) for a in args[1:]]
        return self.call(op.spelling.get("numpy", f"np.{instr.op}"), texts)

    def loop(self, i: int, instr: Instr) -> Text:
        """A recurrence, or the steps of Newton's method."""
        from gradlang.backend import numpy_scan, numpy_segments

        write = {"scan": numpy_scan.write, "segments": numpy_segments.write, "root": numpy_scan.newton}[instr.op]
        return write(self, i, instr)

    def infix(self, op: str, a: int, b: int) -> Text:
        """y - 2.0 * x for y + -2.0 * x, which is the same number."""
        if op == "add" and self.taken(a) and not self.taken(b):
            a, b = b, a
        sign, mine, left, right = INFIX[op]
        if op in ("add", "sub") and self.taken(b):
            return f"{self.beside(a, b, SUM)} {'-' if op == 'add' else '+'} {self.at(b, PRODUCT).replace('-', '', 1)}", SUM
        return f"{self.beside(a, b, left)} {sign} {self.beside(b, a, right)}", mine

    def taken(self, i: int) -> bool:
        """Whether a value is written as a product that begins with a negative number."""
        instr, (text, mine) = self.tape.instrs[i], self.text[i]
        if instr.op != "mul" or mine != PRODUCT or self.tape.instrs[instr.args[0]].op != "const":
            return False
        return text.lstrip(MARKS[0]).startswith("-")

    def beside(self, i: int, other: int, precedence: int = TERNARY) -> str:
        """An operand; a number beside an array is marked, so that it may become an array without axes."""
        instrs, text = self.tape.instrs, self.at(i, precedence)
        number = instrs[i].op == "const" and instrs[i].type.dtype == "real" and instrs[other].type.dtype == "real"
        return f"{MARKS[0]}{text}{MARKS[1]}" if number and self.marked and instrs[other].type.shape else text

    def typed(self, i: int) -> str:
        """An operand that brings its number type with it: a bare constant would be a float64."""
        instr = self.tape.instrs[i]
        return f"F({self.at(i)})" if instr.op == "const" and instr.type.dtype == "real" else self.at(i)

    def method(self, instr: Instr, name: str, *args: str) -> Text:
        return f"{self.at(instr.args[0], ATOM)}.{name}({', '.join(a for a in args if a)})", ATOM

    def helper(self, name: str, *args: str) -> Text:
        self.helpers.add(name)
        return f"{name}({', '.join(args)})", ATOM


def _axis(axes: tuple[int, ...], rank: int) -> str:
    return "" if len(axes) == rank else f"axis={axes[0] if len(axes) == 1 else axes}"


def _reduce(name: str) -> Callable[[NumpyPrinter, Instr], Text]:
    def text(p: NumpyPrinter, instr: Instr) -> Text:
        axes, keep = instr.attrs[:2]
        initial = instr.attrs[2] if len(instr.attrs) > 2 else None
        rank = p.tape.instrs[instr.args[0]].type.rank
        start = "" if initial is None else f"initial={float(initial)!r}"
        return p.method(instr, name, _axis(axes, rank), "keepdims=True" if keep else "", start)

    return text


def _broadcast(p: NumpyPrinter, instr: Instr) -> Text:
    return p.call("np.broadcast_to", [p.typed(instr.args[0]), p.shape(instr.type.shape)])


def _sum_to(p: NumpyPrinter, instr: Instr) -> Text:
    source, target = p.tape.instrs[instr.args[0]].type.shape, instr.type.shape
    extra = len(source) - len(target)
    thin = tuple(extra + k for k, d in enumerate(target) if d == 1 and source[extra + k] != 1)
    axes = (*range(extra), *thin)
    text = p.method(instr, "sum", _axis(axes, len(source)), "keepdims=True" if thin else "")[0]
    return (f"{text}.reshape({p.shape(target)})" if thin and extra else text), ATOM


def _reshape(p: NumpyPrinter, instr: Instr) -> Text:
    source = p.tape.instrs[instr.args[0]]
    if not source.type.shape:
        return p.call("np.reshape", [p.typed(instr.args[0]), p.shape(instr.type.shape)])
    if source.op == "slice" and p.text[instr.args[0]][0].endswith("]"):
        picked = _picked(p, source, instr.type.shape)
        if picked is not None:
            return picked
    return p.method(instr, "reshape", p.shape(instr.type.shape))


def _picked(p: NumpyPrinter, cut: Instr, shape: Shape) -> Text | None:
    """x[3] for a slice of one row without its axis, if that is what a reshape makes of it."""
    starts, lengths, steps = cut.attrs
    dims = p.tape.instrs[cut.args[0]].type.shape
    single = [n == 1 and d != 1 for n, d in zip(lengths, dims, strict=True)]
    if tuple(n for n, one in zip(lengths, single, strict=True) if not one) != shape:
        return None
    parts = ranges(starts, lengths, steps, dims, p.sizes, single)
    return f"{p.at(cut.args[0], ATOM)}[{parts}]", ATOM


def _transpose(p: NumpyPrinter, instr: Instr) -> Text:
    (axes,) = instr.attrs
    if axes == (1, 0):
        return f"{p.at(instr.args[0], ATOM)}.T", ATOM
    return p.call("np.transpose", [p.at(instr.args[0]), str(axes)])


def _slice(p: NumpyPrinter, instr: Instr) -> Text:
    shape = p.tape.instrs[instr.args[0]].type.shape
    starts, lengths, steps = instr.attrs
    return f"{p.at(instr.args[0], ATOM)}[{ranges(starts, lengths, steps, shape, p.sizes)}]", ATOM


def _unslice(p: NumpyPrinter, instr: Instr) -> Text:
    shape, starts, steps = instr.attrs
    lengths = p.tape.instrs[instr.args[0]].type.shape
    where = ranges(starts, lengths, steps, shape, p.sizes)
    (a,) = instr.args
    if p.tape.instrs[a].op == "broadcast_to" and not p.tape.instrs[p.tape.instrs[a].args[0]].type.shape:
        (a,) = p.tape.instrs[a].args  # to stretch a number takes NumPy longer than to put it into places
    kind = () if instr.type.dtype == "real" else (ARRAY_KINDS[instr.type.dtype],)
    return p.helper("place", p.at(a), p.shape(shape), f"np.s_[{where or '...'}]", *kind)


def _take(p: NumpyPrinter, instr: Instr) -> Text:
    (axis,) = instr.attrs
    return p.call("np.take", [p.at(instr.args[0]), p.at(instr.args[1]), f"axis={axis}"])


def _take_along(p: NumpyPrinter, instr: Instr) -> Text:
    return p.call("np.take_along_axis", [p.at(a) for a in instr.args] + [f"axis={instr.attrs[0]}"])


def _scatter(name: str) -> Callable[[NumpyPrinter, Instr], Text]:
    def text(p: NumpyPrinter, instr: Instr) -> Text:
        axis, n = instr.attrs
        return p.helper(name, p.typed(instr.args[0]), p.at(instr.args[1]), str(axis), dim_text(n, p.sizes))

    return text


def _joined(name: str) -> Callable[[NumpyPrinter, Instr], Text]:
    def text(p: NumpyPrinter, instr: Instr) -> Text:
        items = "[" + ", ".join(p.typed(a) for a in instr.args) + "]"
        return p.call(name, [items] + ([f"axis={instr.attrs[0]}"] if instr.attrs[0] else []))

    return text


def _einsum(p: NumpyPrinter, instr: Instr) -> Text:
    args = [repr(instr.attrs[0]), *(p.at(a) for a in instr.args)]
    return p.call("np.einsum", args + (["optimize=True"] if len(instr.args) > 1 else []))


def _real(p: NumpyPrinter, instr: Instr) -> Text:
    return p.method(instr, "astype", "F") if instr.type.shape else p.call("F", [p.at(instr.args[0])])


def _argsort(p: NumpyPrinter, instr: Instr) -> Text:
    return p.call("np.argsort", [p.at(instr.args[0]), f"axis={instr.attrs[0]}", 'kind="stable"'])


def _on_axis(name: str) -> Callable[[NumpyPrinter, Instr], Text]:
    return lambda p, instr: p.call(name, [p.at(instr.args[0]), f"axis={instr.attrs[0]}"])


NUMPY_NAMES = {
    "add": "np.add",
    "sub": "np.subtract",
    "mul": "np.multiply",
    "div": "np.divide",
    "neg": "np.negative",
    "floordiv": "np.floor_divide",
    "mod": "np.mod",
}
STRUCTURAL: dict[str, Callable[[NumpyPrinter, Instr], Text]] = {
    "broadcast_to": _broadcast,
    "sum_to": _sum_to,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "unslice": _unslice,
    "take_axis": _take,
    "take_along": _take_along,
    "scatter_add": _scatter("scatter_add"),
    "scatter_along": _scatter("scatter_along"),
    "concat": _joined("np.concatenate"),
    "stack": _joined("np.stack"),
    "iota": lambda p, i: p.call("np.arange", [dim_text(i.attrs[0], p.sizes)]),
    "sum": _reduce("sum"),
    "max": _reduce("max"),
    "min": _reduce("min"),
    "any": _reduce("any"),
    "all": _reduce("all"),
    "product": lambda p, i: p.method(i, "prod", "axis=-1"),
    "argmax_along": _on_axis("np.argmax"),
    "argmin_along": _on_axis("np.argmin"),
    "argsort": _argsort,
    "cumsum_along": _on_axis("np.cumsum"),
    "scan_affine": lambda p, i: p.helper("scan_affine", p.at(i.args[0]), p.at(i.args[1]), str(i.attrs[0])),
    "nearest": lambda p, i: p.helper("nearest", p.at(i.args[0]), dim_text(i.attrs[0], p.sizes)),
    "earlier": lambda p, i: p.helper(
        "earlier", p.at(i.args[0]), p.at(i.args[1]), dim_text(i.attrs[0], p.sizes), str(i.attrs[1])
    ),
    "within": lambda p, i: p.helper("within", p.at(i.args[0]), dim_text(i.attrs[0], p.sizes)),
    "einsum": _einsum,
    "zmatmul": lambda p, i: p.helper("zmatmul", p.at(i.args[0]), p.at(i.args[1]), str(i.attrs[0])),
    "zeinsum": lambda p, i: p.helper("zeinsum", repr(i.attrs[0]), *(p.at(a) for a in i.args)),
    "real": _real,
}


@cache
def rarer() -> dict[str, Callable[[NumpyPrinter, Instr], Text]]:
    """What few programs need."""
    from gradlang.backend import numpy_linalg, numpy_windows

    return {**numpy_windows.STRUCTURAL, **numpy_linalg.STRUCTURAL}
