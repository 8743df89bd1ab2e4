"""The grammar: one LALR(1) grammar without conflicts, a builder for each of its names, tables that are lark's."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lark.exceptions import UnexpectedToken
from lark.lexer import Token

from gradlang.source import Source, Sources
from gradlang.syntax import ast, grammar
from gradlang.syntax import parse as parsing
from gradlang.syntax.build import BUILDERS
from gradlang.syntax.tables import build, tables_of, tables_text
from gradlang.syntax.tokens import Run, cut

ROOT = Path(__file__).parent.parent
FILES = [*sorted((ROOT / "examples").glob("*.grad")), *sorted((ROOT / "grammars").glob("*.grad"))]
IDS = [path.name for path in FILES]
GRAMMAR = grammar.grammar_text("grad.lark")


def plain(node: Any) -> Any:
    """A tree of the syntax without the places in the text."""
    if hasattr(node, "__match_args__"):
        kept = [part for part in node.__match_args__ if part != "span"]
        name = "Define" if isinstance(node, ast.Define) else type(node).__name__  # also one whose tree is made late
        return (name, *(plain(getattr(node, part)) for part in kept))
    if isinstance(node, (tuple, list)):
        return tuple(map(plain, node))
    return node


def statements(text: str) -> tuple[Any, ...]:
    module, faults = parsing.parse(Source("x.grad", text))
    assert not faults, [(d.code, d.message, d.span) for d in faults]
    assert not module.broken
    return module.statements


# ------------------------------------------------------------------ the grammar and its builders
def test_the_grammar_has_no_conflicts() -> None:
    made = build(GRAMMAR, strict=True)
    assert {t.name for t in made.terminals} >= {"NAME", "NUMBER", "STRING", "UNIT", "COMMENT"}


def kept_children(rule: Any) -> int:
    """How many children a tree of this rule has at least: lark drops punctuation from a tree."""
    symbols = rule.expansion
    if rule.options.keep_all_tokens:
        return len(symbols)
    return sum(not (s.is_term and s.filter_out) for s in symbols) + sum(rule.options.empty_indices)


def test_builders_are_the_names_of_the_grammar() -> None:
    named = set()
    for rule in build(GRAMMAR).rules:
        origin = str(rule.origin.name)
        if rule.alias:
            named.add(str(rule.alias))
        elif not origin.startswith("_") and not (rule.options.expand1 and kept_children(rule) == 1):
            named.add(origin)
    assert set(BUILDERS) == named


# ------------------------------------------------------------------ whole files and single statements
def all_of(runs: list[Run]) -> Run:
    whole = Run()
    for run in runs:
        whole.kinds += run.kinds
        whole.texts += run.texts
        whole.starts += run.starts
        whole.ends += run.ends
    return whole


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_whole_file_is_one_sentence_of_the_grammar(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    pieces = cut(text)
    assert not pieces.faults
    whole = all_of(pieces.runs)
    program = grammar.postfix(whole.kinds, "start")
    assert program[-1][:2] == ("start", len(pieces.runs))
    assert parsing._run(parsing.runnable(program), whole, 0) == statements(text)


@pytest.fixture
def no_shapes() -> Iterator[Callable[[], None]]:
    """Forgets the shapes of statements that were parsed before."""
    parsing._shape.cache_clear()
    yield parsing._shape.cache_clear
    parsing._shape.cache_clear()


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_shape_that_was_seen_before_gives_the_same(path: Path, no_shapes: Callable[[], None]) -> None:
    text = path.read_text(encoding="utf-8")
    first = statements(text)
    assert statements(text) == first
    no_shapes()
    runs = cut(text).runs
    assert len(runs) == len(first)
    for run, whole in reversed(list(zip(runs, first, strict=True))):  # from the last: other statements are the first to be seen
        start, end = run.span
        assert plain(statements(text[start:end])) == (plain(whole),)
    assert statements(text) == first


def test_statements_of_one_shape_keep_their_own_names_and_places() -> None:
    first, second = statements("alpha = beta*2\nx   = yy * 30\n")
    assert plain(first)[0] == plain(second)[0] == "Define"
    assert [t.name.id for t in (*first.targets, *second.targets)] == ["alpha", "x"]
    assert [first.value.args[0].id, second.value.args[0].id] == ["beta", "yy"]
    assert [first.value.args[1].value, second.value.args[1].value] == [2.0, 30.0]
    assert second.value.args[0].span == (21, 23)


def test_a_statement_that_is_too_long_to_remember(no_shapes: Callable[[], None]) -> None:
    text = "y = " + " + ".join(["x"] * parsing.LONG) + "\n"
    (one,) = statements(text)
    assert parsing._shape.cache_info().currsize == 0
    nodes = ast.walk(one.value)
    assert sum(isinstance(n, ast.Apply) for n in nodes) == parsing.LONG - 1
    assert [text[slice(*n.span)] for n in nodes if isinstance(n, ast.Name)] == ["x"] * parsing.LONG
    assert nodes[0].span == (4, len(text) - 1)


def test_a_second_file_has_places_of_its_own() -> None:
    sources = Sources()
    sources.add("a.grad", "x = 1\n")
    second = sources.add("b.grad", "y = x\n")
    module, faults = parsing.parse(second)
    assert not faults
    (define,) = module.statements
    assert second.slice(define.span).rstrip() == "y = x"
    assert second.slice(define.value.span) == "x"


# ------------------------------------------------------------------ the tables
SAMPLE = "a = [x[i]**2 for i in range(N) if i > 1]\ncheck a == 1 tol 1e-9 given x = 2\ndef f(x):\n    return x, x\n"


def test_the_tables_are_those_of_the_grammar(golden: Any) -> None:
    golden(grammar.grammar_dir() / "grad.json", tables_text(tables_of(GRAMMAR)))


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_tables_are_the_same_in_every_run(seed: str) -> None:
    code = (
        "from gradlang.syntax import grammar, tables as t; print(t.tables_text(t.tables_of(grammar.grammar_text('grad.lark'))))"
    )
    env = {**os.environ, "PYTHONHASHSEED": seed}
    made = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made.rstrip() == grammar.grammar_text("grad.json").rstrip()


@pytest.mark.parametrize("found", ["", "of another grammar"])
def test_tables_that_do_not_fit_are_made_anew(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    first, kept = grammar.tables(), grammar.grammar_text

    def text(name: str) -> str:
        if name != "grad.json":
            return kept(name)
        if not found:
            raise FileNotFoundError(name)
        return json.dumps({"grammar": grammar.stamp(found)})

    monkeypatch.setattr(grammar, "grammar_text", text)
    second = grammar.tables.__wrapped__()
    assert (second.terminals, second.literals, second.starts) == (first.terminals, first.literals, first.starts)
    assert (second.rules, second.rows) == (first.rules, first.rows)


def by_lark(parser: Any, kinds: Sequence[str], start: str = "statement") -> tuple[Any, ...]:
    """lark's tree as a postfix program, or where it stops and what it would take there."""
    try:
        tree = parser.parse(kinds, start=start)
    except UnexpectedToken as error:
        return "stops", None if error.token.type == "$END" else error.token.start_pos, frozenset(error.accepts)
    out: list[Any] = []
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, done = stack.pop()
        if node is None or isinstance(node, Token):
            out.append(node if node is None else node.start_pos)
        elif done:
            first, last = (0, 0) if node.meta.empty else (node.meta.start_pos, node.meta.end_pos)
            out.append((str(node.data), len(node.children), first, last))
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.children))
    return tuple(out)


def by_tables(kinds: Sequence[str], start: str = "statement") -> tuple[Any, ...]:
    try:
        return grammar.postfix(kinds, start)
    except grammar.Unexpected as error:
        return "stops", error.at, error.accepts


def test_the_tables_read_what_lark_reads() -> None:
    """Statements of all files, and what comes out if tokens are lost, put in or changed; whole files, too."""
    lark = build(GRAMMAR)
    texts = [path.read_text(encoding="utf-8") for path in FILES] + [text for text, _ in CONSTRUCTS.values()]
    known = sorted({tuple(run.kinds) for text in texts for run in cut(text).runs})
    assert len(known) > 300
    words = sorted({kind for kinds in known for kind in kinds} | set(grammar.tables().literals.values()) | {"ERROR"})
    draw = random.Random(7)
    for kinds in known:
        assert by_tables(kinds) == by_lark(lark, kinds)
        changed = list(kinds[:200])
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(changed))
            changed[at : at + draw.randrange(3)] = draw.choices(words, k=draw.randrange(3))
            changed = changed or ["NAME"]
        assert by_tables(changed) == by_lark(lark, changed), changed
    for text in texts:
        kinds = all_of(cut(text).runs).kinds
        assert by_tables(kinds, "start") == by_lark(lark, kinds, "start")


def test_deep_and_long_statements() -> None:
    deep = ["NAME", "EQUAL", *["LPAR"] * 20_000, "NAME", *["RPAR"] * 20_000, "_NL"]
    assert [s for s in grammar.postfix(deep) if isinstance(s, tuple)][1] == ("targets", 1, 0, 0)
    long = ["NAME", "EQUAL", "LSQB", *["NUMBER", "COMMA"] * 20_000, "RSQB", "_NL"]
    assert ("array", 20_000, 2, len(long) - 2) in grammar.postfix(long)


def test_reading_needs_neither_lark_nor_a_place_to_write(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["lark"] = None
from gradlang.source import Source
from gradlang.syntax.parse import parse
print(len(parse(Source("x.grad", {SAMPLE!r}))[0].statements), len(parse(Source("x.grad", "x = = 1"))[1]))
"""
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "1"]
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ every construct of the language
CONSTRUCTS: dict[str, tuple[str, list[type]]] = {
    "program": (
        "# shopping.grad - two apples and three oranges, with 10 % tax\napple  = 100\nn      = 2\norange = 150\nm      = 3\n"
        "tax    = 1.1\n\nprice = (apple*n + orange*m) * tax\n",
        [ast.Define] * 6,
    ),
    "names": ("사과 = 100\nlambda = 1_000\nclass = 1\nself = 1\n_x = 2\n", [ast.Define] * 5),
    "line_ends": ("a = (1 +\n  2)\nb = [1,\n\n 2]\nc = 1 +\n  2\nd =\n  3\ne = f(1,\n\n  # why\n  2)\n", [ast.Define] * 5),
    "no_last_line_end": ("a = 1", [ast.Define]),
    "byte_order_mark": ("\ufeffa = 1\n".removeprefix("\ufeff"), [ast.Define]),
    "nothing": ("", []),
    "only_comments": ("# one\n\n   # two\n", []),
    "numbers": ("a = 1\nb = 1.\nc = .5\nd = 1e-6\ne = 1_000.5E+3\nf = 8/3\n", [ast.Define] * 6),
    "literals": ("apple = 100\nv = [1, 2, 3]\nbeta = 8/3\nM = [[1, 2], [3, 4]]\nz = []\n", [ast.Define] * 5),
    "inputs": (
        "input x : [N, 784]\nx : [N, 784]\ninput a, b\ninput y, sigma : [J]\ninput x : [3] = [1, 2, 3]\ninput E : [3, 3] = eye(3)\n"
        "input tax in [1, 2] = 1.1\ninput t : int[N]\ninput mask : bool[N]\ninput k : int\ninput s : []\n",
        [ast.Leaf] * 11,
    ),
    "params": (
        "param W : [784, H] = normal(0, 0.01)\nparam b : [H] = zeros()\nparam c : [H] = ones()\nparam U : [H] = uniform(-1, 1)\n"
        "param V : [H, H] = he()\nparam Q : [H, H] = xavier()\nparam s = 0.1\nparam E : [3, 3] = eye(3)\n",
        [ast.Leaf] * 8,
    ),
    "consts": ("const eps = 1e-6\nconst N = 100\nconst h = 1/N\nconst t = [[0, 1], [1, 0]]\n", [ast.Leaf] * 4),
    "labels": ('apple = 100 "price of one apple"\ninput x : [N] "data"\nx : [N] "data"\n', [ast.Define, ast.Leaf, ast.Leaf]),
    "sizes": ("x : [2*N, N-1]\ny : [N] = X @ w + b\nm = sum(r)/N\n", [ast.Leaf, ast.Define, ast.Define]),
    "open_formula": ("price = (apple*n + orange*m) * tax", [ast.Define]),
    "operators": (
        "a = b if c else d\na = x or y and not z\na = 1 < x <= 2\na = x >= y\na = x == y\na = x != y\na = x > y\n"
        "a = 1 + 2 - 3 * 4 / 5 // 6 % 7 @ x\na = -x**-y\na = +x\na = f(x)(y)\na = not not x\n",
        [ast.Define] * 12,
    ),
    "indexing": (
        "a = x[i]\na = x[1:, -1]\na = x[:, None]\na = x[idx]\na = x.T\na = x[::2]\na = x[::-1]\na = x[:]\na = x[1:2:3, 4]\n"
        "a = x.T.T[0][1]\na = x[i, ]\n",
        [ast.Define] * 11,
    ),
    "arrays": ("a = [1, 2, 3]\na = [[a, b], [c, d]]\na = (1, 2)\na = (1,)\na = [1, 2,]\na = (x)\n", [ast.Define] * 6),
    "calls": (
        'a = reshape(x, (2, 3))\na = reshape(x, [2, 3])\na = sum(x, axis=0, keepdims=true)\na = einsum("ij,jk->ik", A, B)\n'
        "a = triangular_solve(L, b, lower=true, trans=false)\na = f()\na = f(x,)\n",
        [ast.Define] * 7,
    ),
    "comprehension_matrix": (
        "D = [[sum((x[i, k] - y[j, k])**2 for k in range(K)) for j in range(M)] for i in range(N)]\n",
        [ast.Define],
    ),
    "comprehension_sum": (
        "f = sum(100*(x[i+1] - x[i]**2)**2 + (1 - x[i])**2 for i in range(N-1))     # Rosenbrock\n",
        [ast.Define],
    ),
    "comprehension_several": ("E, J = [both(z[i], feat[i]) for i in range(N)]\n", [ast.Define]),
    "comprehension_clauses": (
        "a = [i*j for i in range(N) for j in range(i+1, N)]\na = [v for v in x]\na = [i*v for i, v in enumerate(x)]\n"
        "a = [a*b for a, b in zip(x, y)]\na = [i for i in range(0, N, 2) if i != 4]\na = sum(x[i] for i in range(N) if x[i] > 0)\n"
        "a = [i*a*b for i, (a, b) in enumerate(zip(x, y))]\na = max(x[i] if m[i] else 0 for i in range(N) if i if not j)\n",
        [ast.Define] * 8,
    ),
    "indexed": ("y[i] = x[i]**2 for i in range(N)\n", [ast.Define]),
    "recurrence": (
        "h[0] = h0\nh[t] = tanh(W @ h[t-1] + U @ x[t-1]) for t in range(1, T+1)\nloss = sum(h[T]**2)\n",
        [ast.Define] * 3,
    ),
    "recurrence_block": ("for t in range(1, T+1):\n    c[t], h[t] = cell(c[t-1], h[t-1], x[t-1])\n", [ast.Loop]),
    "recurrence_boundaries": (
        "u[t, 0] = 0\nu[t, i] = u[t-1, i-1] for t in range(1, T) for i in range(1, N)\n"
        "v[k] = f(v[k+1]) for k in range(n-1, -1, -1)\n",
        [ast.Define] * 3,
    ),
    "recurrence_tree": ("A[i] = A[parent[i]] @ R[i] for i in range(1, N)\n", [ast.Define]),
    "loops": (
        "for i in range(2):\n    # a comment\n    y[i] = 1\n\n    for j in range(3):\n        z[i, j] = i\n    w[i] = 2\nq = 1\n",
        [ast.Loop, ast.Define],
    ),
    "implicit": ("E = solve(E - e*sin(E) - M for E from M)\n", [ast.Define]),
    "functions": (
        "def sq(x) = x**2\ndef affine(x, W, b):\n    z = x @ W + b\n    return z\ndef f(x, y=2) = x*y\n"
        "def cell(c, x):\n    h = c + x\n    return h, c\nh, c = cell(x)\ndef newton(f0, x) = x - f0/grad(f0, x)\n"
        "def zero() = 0\ndef loop(x):\n    for i in range(3):\n        y[i] = x\n    return y\na = f(x, y=3)\n",
        [
            ast.Function,
            ast.Function,
            ast.Function,
            ast.Function,
            ast.Define,
            ast.Function,
            ast.Function,
            ast.Function,
            ast.Define,
        ],
    ),
    "imports": (
        'import "layers.grad"\nimport "layers.grad" as l\nfrom "layers.grad" import affine\n'
        'from "layers.grad" import act as activation, affine\ny = layers.affine(x, W, b)\n',
        [ast.Import] * 4 + [ast.Define],
    ),
    "op_sigmoid": (
        "op sigmoid(x) -> y:\n    value = 1 / (1 + exp(-x))\n    d/dx  = y * (1 - y)\n"
        "    on x in [-40, 40]                  # where the entry is tested\n",
        [ast.Operator],
    ),
    "op_logaddexp": (
        "op logaddexp(a, b) -> y:\n    value = max(a, b) + log1p(exp(-abs(a - b)))\n    d/da  = exp(a - y)\n    d/db  = exp(b - y)\n",
        [ast.Operator],
    ),
    "op_lines": (
        "op f(a, b, k=1) -> y:\n    constant\n    t = a*b\n    value = t\n    d/da = b\n    d/db = a\n    at a = 0 -> 1, 2\n"
        "    at a = 0, b = 0 -> 1, 2\n    on a in [-1, 1], b in [0, inf]\n    adjoint a = b\n",
        [ast.Operator],
    ),
    "rule": ("rule stable sigmoid: 1/(1 + exp(-x)) => sigmoid(x)\n", [ast.Rewrite]),
    "derivatives": (
        "a = grad(y, x)\na = jacobian(y, x)\na = hessian(y, x)\na = jvp(y, x, v)\na = vjp(y, x, u)\na = hvp(y, x, v)\n"
        "force = -grad(energy, r)\na = grad(grad(y, x), x)\na = grad(sum(x**2), x)\n",
        [ast.Define] * 9,
    ),
    "requests": (
        "grad loss\ngrad loss wrt W1, b1\njacobian y wrt x\nhessian f wrt x\noutput h, y\nminimize loss\nmaximize gain\n"
        "grad (a + b) wrt c\ngrad sum(x)\n",
        [ast.Request] * 9,
    ),
    "checks": (
        "check price == 715 tol 1e-12\ncheck grad(price, apple) == 2.2 tol 1e-12 given n = 2, tax = 1.1\ncheck a < b\n"
        "check a == b given x = [1, 2] tol 1e-9\ncheck true\n",
        [ast.Check] * 5,
    ),
    "units": (
        "apple = 100 'won'\nx : [N, 3] 'm/s^2'\nconst g = 9.81 'm/s^2'\nb = 2 'kg' \"mass\"\ny = a*b 'N' \"force\"\ninput q : [N] 'm'\n",
        [ast.Define, ast.Leaf, ast.Leaf, ast.Define, ast.Define, ast.Leaf],
    ),
    "deviations": ("apple = 100 +/- 5\nm = 3 +/- 1 'kg' \"mass\"\ninput x = 2 +/- 0.1\n", [ast.Define, ast.Define, ast.Leaf]),
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_every_construct_is_a_sentence(name: str) -> None:
    text, kinds = CONSTRUCTS[name]
    made = statements(text)
    assert [ast.Define if isinstance(s, ast.Define) else type(s) for s in made] == kinds
    whole = all_of(cut(text).runs)
    assert grammar.postfix(whole.kinds, "start")[-1][:2] == ("start", len(kinds))


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_windows_line_ends_and_tabs_change_nothing(name: str) -> None:
    text, _ = CONSTRUCTS[name]
    assert plain(statements(text.replace("\n", "\r\n"))) == plain(statements(text))
    assert plain(statements(text.replace("    ", "\t"))) == plain(statements(text))


PRECEDENCE = [
    ("-x**2", "-(x**2)"),
    ("a**b**c", "a**(b**c)"),
    ("a**-b**c", "a**(-(b**c))"),
    ("a - b - c", "(a - b) - c"),
    ("a / b * c", "(a / b) * c"),
    ("a // b % c @ d", "((a // b) % c) @ d"),
    ("a + b * c", "a + (b*c)"),
    ("-a * b", "(-a) * b"),
    ("a < b + c", "a < (b + c)"),
    ("not a < b", "not (a < b)"),
    ("not a and b or c", "((not a) and b) or c"),
    ("a or b and c", "a or (b and c)"),
    ("a if b else c if d else e", "a if b else (c if d else e)"),
    ("a + b if c or d else e + f", "(a + b) if (c or d) else (e + f)"),
    ("-x[0]**y.T", "-((x[0])**(y.T))"),
    ("2*-x", "2*(-x)"),
]


@pytest.mark.parametrize(("short", "full"), PRECEDENCE, ids=[s for s, _ in PRECEDENCE])
def test_precedence_is_pythons(short: str, full: str) -> None:
    def numbered(text: str) -> Any:
        (define,) = statements(f"y = {text}\n")
        return plain(define.value)

    assert numbered(short) == numbered(full)


def test_a_chain_of_comparisons_is_one_node() -> None:
    (define,) = statements("y = a < b <= c\n")
    assert define.value.ops == ("less", "less_equal")
    assert [n.id for n in define.value.args] == ["a", "b", "c"]
