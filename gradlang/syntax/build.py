"""From grammar rules to syntax trees: one function per rule or alias of `grammars/grad.lark`.

Each takes the values of its children (nodes, or the texts of tokens) and the span, and returns a node. `BUILDERS` maps
the names of the grammar to these functions; a test checks that it names exactly what the grammar names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.syntax.messages import Fault, check_option_twice, given_no_name, not_a_check_option

Build = Callable[[list[Any], Span], Any]


class Text(str):
    """A token's text with its span."""

    __slots__ = ("span",)
    span: Span


def _name(text: Text) -> ast.Name:
    return ast.Name(str(text), text.span)


def _apply(op: str) -> Build:
    return lambda c, span: ast.Apply(op, tuple(c), span)


def _first(c: list[Any], span: Span) -> Any:
    return c[0]


def _all(c: list[Any], span: Span) -> tuple[Any, ...]:
    return tuple(c)


class Part(tuple[str, Any]):
    """A tagged piece of a statement, told apart from its neighbours by its tag."""


def _part(tag: str) -> Build:
    return lambda c, span: Part((tag, tuple(c)))


def _parts(c: list[Any]) -> dict[str, tuple[Any, ...]]:
    return {p[0]: p[1] for p in c if isinstance(p, Part)}


# ------------------------------------------------------------------ expressions
def number(c: list[Any], span: Span) -> ast.Number:
    text = c[0].replace("_", "")
    exact = int(text) if text.isdigit() and len(text) < 400 else None
    return ast.Number(float(text), exact, span)


def compare(c: list[Any], span: Span) -> ast.Compare:
    return ast.Compare(tuple(c[1::2]), tuple(c[0::2]), span)


COMPARISONS = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}


def _arguments(c: list[Any]) -> tuple[tuple[ast.Expr, ...], tuple[ast.Keyword, ...]]:
    given = _parts(c).get("arguments", ())
    return (tuple(a for a in given if not isinstance(a, ast.Keyword)), tuple(a for a in given if isinstance(a, ast.Keyword)))


def call(c: list[Any], span: Span) -> ast.Call:
    args, keywords = _arguments(c[1:])
    return ast.Call(c[0], args, keywords, span)


def derive(c: list[Any], span: Span) -> ast.Derive:
    args, keywords = _arguments(c[1:])
    return ast.Derive(str(c[0]), args, keywords, span)


# ------------------------------------------------------------------ leaves and definitions
def tail(c: list[Any], span: Span) -> ast.Tail:
    parts = _parts(c)
    return ast.Tail(*(parts[k][0] if k in parts else None for k in ("deviation", "unit", "label")))


def type_real(c: list[Any], span: Span) -> ast.TypeExpr:
    return ast.TypeExpr("real", c[0] if c else (), span)


def type_array(c: list[Any], span: Span) -> ast.TypeExpr:
    return ast.TypeExpr(str(c[0]), c[1] if len(c) > 1 else (), span)


def leaf(c: list[Any], span: Span) -> ast.Leaf:
    parts = _parts(c)
    bounds, value = parts.get("range"), parts.get("value")
    return ast.Leaf(
        str(parts["role"][0]),
        parts["names"],
        parts.get("type", (None,))[0],
        (bounds[0], bounds[1]) if bounds else None,
        value[0] if value else None,
        c[-1],
        span,
    )


def declare_plain(c: list[Any], span: Span) -> ast.Leaf:
    names = []
    for target in c[0]:
        if target.index is not None:
            raise Fault("indexed_declaration", target.span)
        names.append(target.name)
    return ast.Leaf(None, tuple(names), c[1], None, None, c[2], span)


def define(c: list[Any], span: Span) -> ast.Define:
    return ast.Define(c[0], None, c[1], c[2] if len(c) > 3 else (), c[-1], span)


def define_typed(c: list[Any], span: Span) -> ast.Define:
    return ast.Define(c[0], c[1], c[2], c[3] if len(c) > 4 else (), c[-1], span)


# ------------------------------------------------------------------ functions, modules, requests
def def_short(c: list[Any], span: Span) -> ast.Function:
    params = _parts(c).get("parameters", ())
    return ast.Function(_name(c[0]), params, (), (c[-2],), span)


def def_block(c: list[Any], span: Span) -> ast.Function:
    params = _parts(c).get("parameters", ())
    body = tuple(x for x in c if isinstance(x, (ast.Define, ast.Loop)))
    return ast.Function(_name(c[0]), params, body, c[-1], span)


def loop(c: list[Any], span: Span) -> ast.Loop:
    return ast.Loop(c[0], c[1], tuple(c[2:]), span)


def _path(text: Text) -> ast.String:
    return ast.String(str(text), text.span)


def request(kind: str) -> Build:
    def build(c: list[Any], span: Span) -> ast.Request:
        names = _parts(c).get("wrt", ((),))[0]
        return ast.Request(kind, c[0], names, span)

    return build


def output(c: list[Any], span: Span) -> ast.Request:
    return ast.Request("output", None, _parts(c)["names"], span)


def check(c: list[Any], span: Span) -> ast.Check:
    options: dict[str, Any] = {}
    for word, value in c[1:]:
        wanted = "given" if isinstance(value, tuple) else "tol"
        if word != wanted:
            raise Fault(not_a_check_option, word.span, str(word))
        if wanted in options:
            raise Fault(check_option_twice, word.span, str(word))
        options[wanted] = value
    return ast.Check(c[0], options.get("tol"), options.get("given", ()), span)


def given_dotted(c: list[Any], span: Span) -> tuple[ast.Name, ast.Expr]:
    prefix, last, value = c
    start, parts = prefix.span[0], [str(last)]
    while isinstance(prefix, ast.Attribute):
        parts.append(prefix.name)
        prefix = prefix.value
    if not isinstance(prefix, ast.Name):
        raise Fault(given_no_name, prefix.span)
    return ast.Name(".".join([prefix.id, *reversed(parts)]), (start, last.span[1])), value


def _op_line(kind: str, keys: int, bindings: bool = False, values: bool = True) -> Build:
    def build(c: list[Any], span: Span) -> ast.OpLine:
        rest: list[Any] = c[keys:]
        bound: list[tuple[ast.Name, ast.Expr]] = []
        result: list[ast.Expr] = []
        if kind == "at":
            bound.append((_name(c[1]), rest.pop(0)))
        for item in rest:
            if isinstance(item, Part) and item[0] == "bindings":
                bound.extend(item[1])
            elif isinstance(item, tuple):
                result.extend(item)
            else:
                result.append(item)
        return ast.OpLine(kind, tuple(str(k) for k in c[:keys]), tuple(result), tuple(bound), span)

    return build


def op_domain(c: list[Any], span: Span) -> ast.OpLine:
    values = tuple(e for _, low, high in c[1:] for e in (low, high))
    return ast.OpLine("domain", (str(c[0]), *(str(name.id) for name, _, _ in c[1:])), values, (), span)


def operator(c: list[Any], span: Span) -> ast.Operator:
    lines = tuple(x for x in c if isinstance(x, ast.OpLine))
    params = _parts(c).get("parameters", ())
    result = next(x for x in reversed(c) if isinstance(x, Text))
    return ast.Operator(_name(c[0]), params, _name(result), lines, span)


BUILDERS: dict[str, Build] = {
    "start": _all,
    "define": define,
    "define_typed": define_typed,
    "declare_plain": declare_plain,
    "leaf": leaf,
    "role": _part("role"),
    "names": lambda c, s: Part(("names", tuple(map(_name, c)))),
    "type_part": _part("type"),
    "range_part": _part("range"),
    "value_part": _part("value"),
    "targets": _all,
    "target_name": lambda c, s: ast.Target(_name(c[0]), None, s),
    "target_index": lambda c, s: ast.Target(_name(c[0]), c[1], s),
    "tail": tail,
    "deviation": _part("deviation"),
    "unit": lambda c, s: Part(("unit", (str(c[0]),))),
    "label": lambda c, s: Part(("label", (str(c[0]),))),
    "type_real": type_real,
    "type_scalar": type_array,
    "type_array": type_array,
    "def_short": def_short,
    "def_block": def_block,
    "parameters": _part("parameters"),
    "parameter_plain": lambda c, s: ast.Parameter(_name(c[0]), None),
    "parameter_default": lambda c, s: ast.Parameter(_name(c[0]), c[1]),
    "result": _first,
    "loop": loop,
    "import_all": lambda c, s: ast.Import(_path(c[0]), None, None, s),
    "import_as": lambda c, s: ast.Import(_path(c[0]), _name(c[1]), None, s),
    "import_names": lambda c, s: ast.Import(_path(c[0]), None, tuple(c[1:]), s),
    "import_plain": lambda c, s: (_name(c[0]), _name(c[0])),
    "import_renamed": lambda c, s: (_name(c[0]), _name(c[1])),
    **{f"request_{k}": request(k) for k in ("grad", "jacobian", "hessian", "minimize", "maximize")},
    "request_output": output,
    "wrt": lambda c, s: Part(("wrt", (_parts(c)["names"],))),
    "dotted_names": lambda c, s: Part(("names", tuple(c))),
    "dotted": lambda c, s: ast.Name(".".join(c), s),
    "check": check,
    "check_tol": _all,
    "check_given": lambda c, s: (c[0], tuple(c[1][1])),
    "givens": _part("givens"),
    "given_plain": lambda c, s: (_name(c[0]), c[1]),
    "given_dotted": given_dotted,
    "bindings": _part("bindings"),
    "binding": lambda c, s: (_name(c[0]), c[1]),
    "operator": operator,
    "op_flag": _op_line("flag", 1),
    "op_local": _op_line("local", 1),
    "op_partial": _op_line("partial", 2),
    "op_keyed": _op_line("keyed", 2),
    "op_at": _op_line("at", 2),
    "op_at_several": _op_line("at", 2),
    "op_domain": op_domain,
    "interval": lambda c, s: (_name(c[0]), c[1], c[2]),
    "rewrite": lambda c, s: ast.Rewrite(_name(c[0]), _name(c[1]), c[2], c[3], s),
    "if_else": lambda c, s: ast.IfElse(c[0], c[1], c[2], s),
    "or_": _apply("logical_or"),
    "and_": _apply("logical_and"),
    "not_": _apply("logical_not"),
    "compare": compare,
    "comp_op": lambda c, s: COMPARISONS[c[0]],
    "add": _apply("add"),
    "sub": _apply("sub"),
    "mul": _apply("mul"),
    "div": _apply("div"),
    "floordiv": _apply("floordiv"),
    "mod": _apply("mod"),
    "matmul": _apply("matmul"),
    "neg": _apply("neg"),
    "pos": _first,
    "pow": _apply("pow"),
    "call": call,
    "index": lambda c, s: ast.Index(c[0], c[1], s),
    "attribute": lambda c, s: ast.Attribute(c[0], str(c[1]), s),
    "number": number,
    "name": lambda c, s: ast.Name(str(c[0]), s),
    "true": lambda c, s: ast.Bool(True, s),
    "false": lambda c, s: ast.Bool(False, s),
    "tuple_one": lambda c, s: ast.Array(tuple(c), s),
    "several": lambda c, s: ast.Several(tuple(c), s),
    "tuple_": lambda c, s: ast.Array(tuple(c), s),
    "array_empty": lambda c, s: ast.Array((), s),
    "array": lambda c, s: ast.Array(tuple(c), s),
    "comprehension": lambda c, s: ast.Comprehension(c[0], c[1], True, s),
    "derive": derive,
    "derivative": _first,
    "arguments": _part("arguments"),
    "implicit": lambda c, s: ast.Implicit(c[0], _name(c[1]), c[2], s),
    "generator": lambda c, s: ast.Comprehension(c[0], c[1], False, s),
    "keyword": lambda c, s: ast.Keyword(str(c[0]), c[1], s),
    "string": lambda c, s: ast.String(str(c[0]), s),
    "clauses": _all,
    "for_clause": lambda c, s: ast.For(c[0], c[1], s),
    "if_clause": lambda c, s: ast.If(c[0], s),
    "loop_targets": _all,
    "loop_name": lambda c, s: str(c[0]),
    "loop_group": _first,
    "index_items": _all,
    "slice": lambda c, s: ast.Slice(c[0], c[1], None, s),
    "slice_step": lambda c, s: ast.Slice(c[0], c[1], c[2], s),
    "expr_list": _all,
}
