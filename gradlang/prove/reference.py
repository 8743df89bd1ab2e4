"""The true functions behind the table, in multi-precision: what entries, gradients and files are checked against.

An op means its `reference` in mpmath's names, or the mpmath function of its own name, or its value formula; never the
float64 code that is under test. Precision is raised until two settings agree, so cancellation in a reference is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import numpy as np

from gradlang.check.clauses import reference_ops
from gradlang.check.rules import evaluate as evaluate_entry
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.op import Op
from gradlang.ops.operators import ARITHMETIC, COMPARISONS, LOGIC
from gradlang.ops.table import OpTable
from gradlang.syntax import ast
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.types import SCALAR

DIGITS = (60, 140, 400, 900)
LARGEST = 5000  # from 10**LARGEST on a number is not followed: the exponential of a larger one would fill the memory
AGREE = 30  # digits that two settings must share

CONDITIONS = {**COMPARISONS, **LOGIC}
BUILTIN = frozenset({*CONDITIONS, *ARITHMETIC, "div", "pow", "floordiv", "mod"})


class Truth:
    """The functions of a table over one mpmath context."""

    def __init__(self, table: OpTable) -> None:
        self.table = table
        self.ctx = mpmath.MPContext()
        self.ctx.dps = DIGITS[0]
        self.largest = self.ctx.mpf(10) ** LARGEST
        self.inside: list[str] = []  # the entries whose reference is being evaluated
        self._tapes: dict[Any, Tape] = {}

    # -------------------------------------------------------------- expressions of the table
    def eval(self, expr: ast.Expr, env: Mapping[str, Any]) -> Any:
        """The value of an expression of an entry. Entries are small, so this may recurse."""
        c = self.ctx
        match expr:
            case ast.Number(value=value, exact=exact):
                return c.mpf(value if exact is None else exact)
            case ast.Bool(value=value):
                return value
            case ast.Name(id=name):
                if name in env:
                    return env[name]
                return {"pi": +c.pi, "e": +c.e, "inf": c.inf, "nan": c.nan}[name]
            case ast.Apply(op=op, args=args):
                return self.call(op, [self.eval(a, env) for a in args])
            case ast.Compare(ops=ops, args=args):
                values = [self.eval(a, env) for a in args]
                return all(CONDITIONS[o](a, b) for o, a, b in zip(ops, values, values[1:], strict=False))
            case ast.IfElse(then=then, cond=cond, other=other):
                return self.eval(then if self.eval(cond, env) else other, env)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                found = [self.eval(a, env) for a in args]
                return self.call(name, found, tuple(self.eval(k.value, env) for k in keywords))
        raise ValueError(f"{type(expr).__name__} has no place in an entry's reference")

    def call(self, name: str, args: Sequence[Any], attrs: tuple[Any, ...] = ()) -> Any:
        c = self.ctx
        if name in CONDITIONS:
            return CONDITIONS[name](*args)
        if name in ARITHMETIC:
            return ARITHMETIC[name](*args)
        if name == "div":
            a, b = args
            if b == 0:
                return c.nan if a == 0 or a != a else c.inf if a > 0 else -c.inf
            return a / b
        if name == "pow":
            return self.power(*args)
        if name == "floordiv":
            return c.floor(args[0] / args[1])
        if name == "mod":
            return args[0] - args[1] * c.floor(args[0] / args[1])
        if name in self.table and name not in self.inside:  # inside its own reference a name is mpmath's
            return self.op(self.table[name], args, attrs)
        return self.mpmath(name, args)

    def mpmath(self, name: str, args: Sequence[Any]) -> Any:
        c = self.ctx
        if name in ("log", "log1p") and args[0] == (0 if name == "log" else -1):
            return -c.inf
        if name == "abs":
            return c.fabs(args[0])
        if name == "real":
            return c.mpf(args[0])
        if name == "loggamma":
            return c.re(c.loggamma(args[0]))
        return self.real(getattr(c, name)(*args))

    def real(self, value: Any) -> Any:
        return self.ctx.nan if isinstance(value, self.ctx.mpc) and value.imag != 0 else self.ctx.re(value)

    def power(self, a: Any, b: Any) -> Any:
        c = self.ctx
        if b == 0:
            return c.mpf(1)
        if a == 0:
            return c.mpf(0) if b > 0 else c.inf
        return self.real(c.power(a, b))

    def op(self, op: Op, args: Sequence[Any], attrs: tuple[Any, ...] = ()) -> Any:
        """The true value of an op."""
        if op.name in self.table.own:
            return self.own(op, args, attrs)
        env = dict(zip(op.params, args, strict=True))
        env.update(zip(op.attrs, attrs or [self.eval(d, {}) for d in op.defaults], strict=False))
        if op.reference is not None:
            self.inside.append(op.name)
            try:
                return self.eval(op.reference, env)
            finally:
                self.inside.pop()
        if op.value is None:
            return self.call(op.name, args) if op.name in BUILTIN else self.mpmath(op.name, args)
        for name, local in op.locals:
            if name not in op.partials:
                try:
                    env[name] = self.eval(local, env)
                except KeyError:
                    continue  # shared work of the partials, which may use the result
        return self.eval(op.value, env)

    def own(self, op: Op, args: Sequence[Any], attrs: tuple[Any, ...]) -> Any:
        """The true value of a program's entry: its reference, or its formula. It may be of any size, so it is run as a tape,
        in which a call of a reference that is no op of the table stands under mpmath's name."""
        from gradlang.check.calls import default_of

        attrs = attrs or tuple(default_of(d) for d in op.defaults)
        key = (op.name, attrs)
        if key not in self._tapes:
            expr = op.value if op.reference is None else op.reference
            assert expr is not None
            b = Builder(self.table.extended(reference_ops(op, self.table)))
            refs = [b.leaf("input", (p,), SCALAR, op.span) for p in op.params]
            made = b.real(evaluate_entry(op, expr, refs, attrs, b, None, None, op.span).id)
            tape = b.tape([("y", made)])
            self._tapes[key] = expand(tape, b.table, Templates(b.table), self.keeps)
        tape = self._tapes[key]
        given = dict(zip(op.params, args, strict=True))
        functions = Functions(self, frozenset(o.name for o in reference_ops(op, self.table)))
        return evaluate(tape, self.table, given, {}, functions, lambda v: self.ctx.mpf(float(v)))["y"]

    def keeps(self, op: Op) -> bool:
        """Whether multi-precision has a function for an op, so that it need not be written out."""
        return op.value is None or (op.pointwise and op.name not in self.table.own)

    # -------------------------------------------------------------- at any precision that is needed
    def settled(self, run: Callable[[], Any]) -> Any:
        """What `run` gives once more digits no longer change it."""
        before = None
        for digits in DIGITS:
            self.ctx.dps = digits
            try:
                now = run()
            except (ZeroDivisionError, ValueError):
                now = self.ctx.nan
            # an exact zero may be all that few digits see of a tiny value: it counts at the highest setting only
            if (
                before is not None
                and now != 0
                and (
                    now == before
                    or (now != now and before != before)
                    or abs(now - before) <= abs(now) * self.ctx.mpf(10) ** -AGREE
                )
            ):
                break
            before = now
        self.ctx.dps = DIGITS[0]
        return now

    def value(self, op: Op, args: Sequence[float], attrs: tuple[Any, ...] = ()) -> Any:
        return self.settled(lambda: self.op(op, [self.ctx.mpf(a) for a in args], attrs))

    def partial(self, op: Op, args: Sequence[float], at: int, attrs: tuple[Any, ...] = ()) -> Any:
        """The derivative by one argument: a central difference with a step far below double precision."""
        return self.settled(lambda: self.difference(lambda xs: self.op(op, xs, attrs), args, at, 1))

    def second(self, op: Op, args: Sequence[float], at: int, attrs: tuple[Any, ...] = ()) -> Any:
        return self.settled(lambda: self.difference(lambda xs: self.op(op, xs, attrs), args, at, 2))

    def difference(self, f: Callable[[list[Any]], Any], args: Sequence[float], at: int, order: int) -> Any:
        c = self.ctx
        digits = c.dps
        c.dps = digits * 2 + 30
        try:
            xs = [c.mpf(a) for a in args]
            step = (abs(xs[at]) if xs[at] != 0 else c.mpf(1)) * c.mpf(10) ** (-digits // 2)

            def moved(k: int) -> Any:
                return f([x + k * step if i == at else x for i, x in enumerate(xs)])

            if order == 1:
                return (moved(1) - moved(-1)) / (2 * step)
            return (moved(1) - 2 * moved(0) + moved(-1)) / (step * step)
        finally:
            c.dps = digits

    # -------------------------------------------------------------- for the interpreter
    def functions(self) -> dict[str, Callable[..., Any]]:
        """Pointwise ops over arrays of mpmath numbers."""
        return Functions(self)

    def vectorized(self, name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, attrs: tuple[Any, ...] = ()) -> Any:
            def one(*xs: Any) -> Any:
                if any(abs(x) > self.largest and abs(x) < self.ctx.inf for x in xs):
                    return self.ctx.nan
                try:
                    return compute(name, xs, attrs)
                except (ZeroDivisionError, ValueError, OverflowError):  # outside the domain
                    return self.ctx.nan

            call = np.frompyfunc(one, len(args), 1)
            return call(*args)

        return run


class Functions(dict[str, Callable[..., Any]]):
    """The pointwise ops of a table over arrays of mpmath numbers, made when they are first asked for. The names of `plain`
    are mpmath's."""

    def __init__(self, truth: Truth, plain: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.truth, self.plain = truth, plain

    def __contains__(self, name: object) -> bool:
        table = self.truth.table
        op = table[str(name)] if name in table else None
        return name in self.plain or (op is not None and op.pointwise and not op.flags & {"choice", "marker", "cast"})

    def __missing__(self, name: str) -> Callable[..., Any]:
        truth = self.truth
        compute = (lambda n, xs, attrs: truth.mpmath(n, xs)) if name in self.plain else truth.call
        made = self[name] = truth.vectorized(name, compute)
        return made


def ulps(got: float, truth: Any) -> float:
    """The distance of a float from the true value, in units of the spacing of floats at that value."""
    nearest = float(truth)
    if nearest != nearest or got != got:
        return 0.0 if nearest != nearest and got != got else float("inf")
    if nearest in (float("inf"), float("-inf")) or got in (float("inf"), float("-inf")):
        if nearest == got:
            return 0.0
        largest = 1.7976931348623157e308  # a true value beyond the largest float by rounding only
        return 1.0 if abs(nearest) >= largest and abs(got) >= largest and nearest * got > 0 else float("inf")
    spacing = float(np.spacing(abs(nearest)))
    return float(abs(type(truth)(got) - truth) / spacing) if hasattr(truth, "_mpf_") else abs(got - nearest) / spacing
