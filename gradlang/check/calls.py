"""Calls: functions of the program and of the library, array functions, ops of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlang.check import arrays, comprehension, derive, errors, errors_modules, imports
from gradlang.check.errors import Problem, TooLarge
from gradlang.check.loops import Index
from gradlang.check.program import POISON, Poison, Ref, Several, Value
from gradlang.check.scope import Env, Home, Space
from gradlang.check.units import Group, body_order
from gradlang.ops.op import Op
from gradlang.source import Span
from gradlang.syntax import ast

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator

MOST_CALLS = 200_000
# Pieces of the rules of the table, which a program does not see.
INTERNAL = frozenset(
    "count kept_shape reduced_shape reduced_last swapped axis_shape inverse_permutation is_none is_integer shift spread "
    "squeeze_axis expand_reduced swap_last outer_last rows_product leading_sum flat_unless first_unless product_along "
    "running_product impulse windows filter_windows batch_axes channels channel_shape filtered piece interp_on as_columns "
    "from_columns on_matrix leading_column later_columns of_matrix is_text matrix_norm entries_norm line_sums line_axis".split()
)


def hidden(name: str, home: Home) -> bool:
    return name in INTERNAL and not home.shipped and home.own(name) is None and name not in home.ops


def function_names(e: Elaborator, home: Home) -> list[str]:
    names = [*arrays.SPECIAL, *e.table]
    at: Home | None = home
    while at is not None:
        names += [*at.functions, *at.imported]
        at = at.parent
    return [n for n in names if not hidden(n, home)]


def call(node: ast.Call, env: Env, e: Elaborator) -> None:
    if not isinstance(node.func, ast.Name):
        if not isinstance(node.func, ast.Attribute):
            raise Problem(errors.not_callable(node.span))
        if imports.is_op(node.func, env):
            call(ast.Call(ast.Name(node.func.name, node.func.span), node.args, node.keywords, node.span), env, e)
            return
        if isinstance(imports.callee(node.func, env, e.table), Poison):
            e.values.append(POISON)
            return
        e.then(_called, node, env, e)
        for expr in (*(k.value for k in reversed(node.keywords)), *reversed(node.args)):
            e.push(expr, env)
        return
    name = node.func.id
    if isinstance(env.names.get(name, env.home.value(name)), Poison) and env.home.function(name) is None:
        e.values.append(POISON)  # its definition has an error that was already reported
        return
    if any(isinstance(a, ast.Implicit) for a in node.args):
        if name != "solve":
            raise Problem(errors.only_in_solve(node.span))
        from gradlang.check import implicit

        implicit.solve(node, env, e)
        return
    if env.home.function(name) is None and name in derive.CALLED:
        derive.derive(name, node, env, e)
        return
    if env.home.function(name) is None and name in comprehension.ITERABLES:
        e.then(_iterable, node, e)
        for expr in reversed(node.args):
            e.push(expr, env)
        return
    if hidden(name, env.home) or (env.home.function(name) is None and name not in arrays.SPECIAL and name not in e.table):
        value = env.names.get(name, env.home.value(name))
        if isinstance(value, Space):
            raise Problem(errors_modules.not_a_function(name, node.func.span, imports.public(value)))
        is_value = value is not None
        raise Problem(errors.unknown_function(name, node.func.span, function_names(e, env.home), is_value))
    if name == "where" and env.home.function(name) is None and len(node.args) == 3 and not node.keywords:
        cond, then, other = node.args  # the same as `then if cond else other`
        e.push(ast.IfElse(then, cond, other, node.span), env)
        return
    e.then(_called, node, env, e)
    for expr in (*(k.value for k in reversed(node.keywords)), *reversed(node.args)):
        e.push(expr, env)


def _iterable(node: ast.Call, e: Elaborator) -> None:
    args = e.pop(len(node.args))
    assert isinstance(node.func, ast.Name)
    poisoned = any(isinstance(a, Poison) for a in args)
    e.values.append(POISON if poisoned else comprehension.ITERABLES[node.func.id](args, node, e))


def _called(node: ast.Call, env: Env, e: Elaborator) -> None:
    name = imports.written(node.func)
    keywords = dict(zip((k.name for k in node.keywords), e.pop(len(node.keywords)), strict=True))
    args = e.pop(len(node.args))
    if any(isinstance(v, Poison) for v in (*args, *keywords.values())):
        e.values.append(POISON)
        return
    if len(keywords) < len(node.keywords):
        seen = [k.name for k in node.keywords]
        raise Problem(errors.argument_twice(name, next(k for k in seen if seen.count(k) > 1), node.span))
    if any(isinstance(a, comprehension.Generated) for a in args):
        if name not in comprehension.REDUCTIONS or not isinstance(args[0], comprehension.Generated):
            raise Problem(errors.generator(name, node.span))
        made = comprehension.reduce(name, args[0], node, e)
        if not isinstance(made, comprehension.Reduction):
            e.values.append(made)
            return
        axis = ast.Keyword("axis", ast.Number(0.0, 0, node.span), node.span)
        node = ast.Call(node.func, node.args, (axis,), node.span)
        args, keywords = [made.x], {"axis": made.axes}
    found = imports.callee(node.func, env, e.table) if isinstance(node.func, ast.Attribute) else env.home.function(name)
    if found is not None:
        assert not isinstance(found, Poison)
        enter(found[0], found[1], args, keywords, node, e)
    elif name in arrays.SPECIAL and name not in env.home.ops:
        special = arrays.SPECIAL[name]
        bound = bind(name, special.params, special.required, args, keywords, node)
        for p, value in bound.items():
            if p in arrays.STATIC and (isinstance(value, (Ref, Index, float, bool, str)) or _holds(value, Ref)):
                raise Problem(
                    errors.bad_constant(
                        f"`{p}` of `{name}` must be whole numbers or sizes that are known before the program runs",
                        node.span,
                        "write a number, a size or a `const`",
                    )
                )
        try:
            e.values.append(special.run(e, node.span, **bound))
        except (TypeError, ValueError, IndexError, AttributeError):
            raise Problem(
                errors.misfit(
                    f"these arguments do not fit `{name}`", node.span, signature(name, special.params, special.required)
                )
            ) from None
    elif name in ("max", "min") and len(args) > 1:
        if keywords:
            raise Problem(errors.unknown_keyword(name, next(iter(keywords)), node.span, ()))
        out = args[0]
        for a in args[1:]:
            out = e.apply("maximum" if name == "max" else "minimum", (out, a), (), node.span)
        e.values.append(out)
    else:
        e.values.append(apply_op(e.table[name], args, keywords, node, e))


def _holds(value: Value, kind: type) -> bool:
    """Whether nested lists hold a value of a kind."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(item)
        elif isinstance(item, kind):
            return True
    return False


# ------------------------------------------------------------------ binding arguments to parameters
def signature(name: str, params: tuple[str, ...], required: int) -> str:
    shown = [p if i < required else f"{p}=..." for i, p in enumerate(params)]
    return f"write `{name}({', '.join(shown)})`"


def bind(
    name: str, params: tuple[str, ...], required: int, args: list[Value], keywords: dict[str, Value], node: ast.Call
) -> dict[str, Value]:
    hint = signature(name, params, required)
    if len(args) > len(params):
        wanted = f"{len(params)} argument{'s' if len(params) != 1 else ''}"
        wanted = wanted if required == len(params) else f"at most {wanted}"
        raise Problem(errors.arity(name, len(args), wanted, node.span, hint))
    bound = dict(zip(params, args, strict=False))
    for k in node.keywords:
        if k.name not in params:
            raise Problem(errors.unknown_keyword(name, k.name, k.span, params))
        if k.name in bound:
            raise Problem(errors.argument_twice(name, k.name, k.span))
        bound[k.name] = keywords[k.name]
    for p in params[:required]:
        if p not in bound:
            raise Problem(errors.missing_argument(name, p, node.span, hint))
    return bound


def apply_op(op: Op, args: list[Value], keywords: dict[str, Value], node: ast.Call, e: Elaborator) -> Value:
    bound = bind(op.name, op.params + op.attrs, len(op.params), args, keywords, node)
    attrs = []
    for name, default in zip(op.attrs, op.defaults, strict=True):
        value = bound[name] if name in bound else default_of(default)
        if isinstance(value, (Ref, Index)):
            raise Problem(
                errors.bad_constant(
                    f"`{name}` must be known before the program runs", node.span, "write a number, a size or a `const`"
                )
            )
        if op.pointwise and (isinstance(value, (tuple, bool, str)) or value is None):
            raise Problem(errors.bad_constant(f"`{name}` of `{op.name}` is a number", node.span))
        attrs.append(value)
    if "variadic" in op.flags:
        items = bound[op.params[0]]
        if not isinstance(items, tuple) or not items:
            raise Problem(errors.bad_constant(f"`{op.name}` takes a list of arrays", node.span, f"write `{op.name}([a, b])`"))
        return e.apply(op.name, items, tuple(attrs), node.span)
    return e.apply(op.name, [bound[p] for p in op.params], tuple(attrs), node.span)


def default_of(expr: ast.Expr) -> Any:
    match expr:
        case ast.Number(value=value, exact=exact):
            return value if exact is None else exact
        case ast.Bool(value=value):
            return value
        case ast.Apply(op="neg", args=(arg,)):
            return -default_of(arg)
    return None


# ------------------------------------------------------------------ functions are inlined
def enter(fn: ast.Function, home: Home, args: list[Value], keywords: dict[str, Value], node: ast.Call, e: Elaborator) -> None:
    name = imports.written(node.func)
    if any(f is fn for _, _, f in e.trail):
        raise Problem(errors.recursive(name, node.span))
    params = tuple(p.name.id for p in fn.params)
    required = sum(p.default is None for p in fn.params)
    env = Env(home, bind(name, params, required, args, keywords, node))
    for p in fn.params:
        if p.default is not None and p.name.id not in env.names:
            env.names[p.name.id] = e.eval(p.default, Env(home))
    e.entered += 1
    if e.entered > MOST_CALLS:
        raise TooLarge
    saved = (e.at, e.scope, len(e.trail))
    if home.shipped:
        e.at = e.at or node.span
    else:
        e.trail.append((name, node.span, fn))
    count = e.calls[(*e.scope, name)] = e.calls.get((*e.scope, name), 0) + 1
    if not (home.shipped and name not in SHOWN):
        e.scope = (*e.scope, name if count == 1 else f"{name}.{count}")
    if not home.shipped:
        if id(fn) not in e.taken:
            e.taken[id(fn)] = derive.taken_in(fn)
        env.taken = e.taken[id(fn)]
        derive.keep_apart(env, e, node.span)
    e.then(_return, fn, saved, e)
    for result in reversed(fn.result):
        e.push(result, env)
    for unit in reversed(body_order(fn)):
        if isinstance(unit, Group):
            e.then(assign_rows, unit, env, e)
        elif isinstance(unit.define, ast.Define):
            e.then(assign, unit.define, env, e)
            e.push(unit.define.value, env)


# Library functions that a picture shows as one box; the others are pieces of rules.
SHOWN = frozenset(
    "mean var std norm sort prod cumprod dot outer affine mse cross_entropy linspace one_hot eye "
    "segment_sum interp layer_norm batch_norm dropout conv2d max_pool2d avg_pool2d "
    "normal_lpdf student_t_lpdf cauchy_lpdf laplace_lpdf lognormal_lpdf exponential_lpdf gamma_lpdf inv_gamma_lpdf beta_lpdf "
    "weibull_lpdf uniform_lpdf dirichlet_lpdf bernoulli_logit_lpmf binomial_logit_lpmf poisson_log_lpmf "
    "categorical_logit_lpmf slogdet eigh multi_normal_cholesky_lpdf".split()
)


def assign(define: ast.Define, env: Env, e: Elaborator) -> None:
    value = e.values.pop()
    targets = [t.name for t in define.targets]
    for t, v in zip(targets, unpack(value, targets, define.span), strict=True):
        env.names[t.id] = derive.apart(v, e, define.span) if t.id in env.taken else v


def assign_rows(group: Group, env: Env, e: Elaborator) -> None:
    from gradlang.check import recurrence  # which calls functions itself

    env.names.update(recurrence.define(e, env, group))


def unpack(value: Value, targets: list[ast.Name], span: Span) -> list[Value]:
    if len(targets) == 1 or isinstance(value, Poison):
        return [value] * len(targets)
    if not isinstance(value, tuple) or len(value) != len(targets):
        got = f"{len(value)} values" if isinstance(value, tuple) else "one value"
        raise Problem(errors.bad_constant(f"{len(targets)} names are given for {got}", span))
    return list(value)


def _return(fn: ast.Function, saved: tuple[Span | None, tuple[str, ...], int], e: Elaborator) -> None:
    results = e.pop(len(fn.result))
    e.at, e.scope, depth = saved
    del e.trail[depth:]
    e.values.append(results[0] if len(results) == 1 else Several(results))
