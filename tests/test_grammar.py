"""The grammar: one LALR(1) grammar without conflicts, a builder for each of its names, a cache that is only a cache."""

from __future__ import annotations

import marshal
import os
import pickle
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradlang.source import Source, Sources
from gradlang.syntax import ast, grammar, tokens
from gradlang.syntax import parse as parsing
from gradlang.syntax.build import BUILDERS
from gradlang.syntax.known import known
from gradlang.syntax.tokens import Run, cut

ROOT = Path(__file__).parent.parent
FILES = [*sorted((ROOT / "examples").glob("*.grad")), *sorted((ROOT / "grammars").glob("*.grad"))]
IDS = [path.name for path in FILES]


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
    made = grammar.build(strict=True)
    assert {t.name for t in made.terminals} >= {"NAME", "NUMBER", "STRING", "UNIT", "COMMENT"}


def kept_children(rule: Any) -> int:
    """How many children a tree of this rule has at least: lark drops punctuation from a tree."""
    symbols = rule.expansion
    if rule.options.keep_all_tokens:
        return len(symbols)
    return sum(not (s.is_term and s.filter_out) for s in symbols) + sum(rule.options.empty_indices)


def test_builders_are_the_names_of_the_grammar() -> None:
    named = set()
    for rule in grammar.build().rules:
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
    tree = grammar.parser().parse(tuple(whole.kinds), start="start")
    assert len(tree.children) == len(pieces.runs)
    assert parsing._run(parsing.runnable(grammar.program_of(tree)), whole, 0) == statements(text)


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


# ------------------------------------------------------------------ the cache of the tables
@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A cache folder of its own, and a function that forgets what this process has read."""

    def forget() -> None:
        for kept in (grammar.parser, known, tokens.lexicon, parsing._shape):
            kept.cache_clear()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    forget()
    yield forget
    forget()


def cached(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache" / "gradlang").glob("grammar-*")
    return path


SAMPLE = "a = [x[i]**2 for i in range(N) if i > 1]\ncheck a == 1 tol 1e-9 given x = 2\ndef f(x):\n    return x, x\n"


def test_an_empty_cache_is_filled_and_read(tmp_path: Path, fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    built = statements(SAMPLE)
    path = cached(tmp_path)
    kept = path.read_bytes()
    fresh()

    def never(strict: bool = False) -> Any:
        raise AssertionError("the tables are built although they are in the cache")

    monkeypatch.setattr(grammar, "build", never)
    assert statements(SAMPLE) == built
    assert cached(tmp_path).read_bytes() == kept
    assert grammar.parser().parse(("NAME", "EQUAL", "NUMBER", "_NL"), start="start").data == "start"


def test_the_same_terminals_with_and_without_the_cache(tmp_path: Path, fresh: Callable[[], None]) -> None:
    built = dict(known().literals), dict(known().terminals)
    fresh()
    assert cached(tmp_path).is_file()
    assert (known().literals, known().terminals) == built


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"no tables",
        b"\x80\x04N.",
        marshal.dumps(None),
        marshal.dumps(7),
        marshal.dumps(()),
        marshal.dumps([1, 2, 3]),
        marshal.dumps(({}, {})),
        marshal.dumps(([], [])),
        marshal.dumps(("a", "b")),
        marshal.dumps(({"parser": {}, "options": {}}, {})),
        marshal.dumps(({"parser": {"lexer_conf": {}}, "options": {}}, {})),
        marshal.dumps(({"parser": {"lexer_conf": []}, "options": 1}, {0: {"__type__": "Rule"}})),
    ],
    ids=range(13),
)
def test_a_corrupt_cache_is_ignored_and_replaced(tmp_path: Path, fresh: Callable[[], None], wrong: bytes) -> None:
    built = statements(SAMPLE)
    path = cached(tmp_path)
    path.write_bytes(wrong)
    fresh()
    assert statements(SAMPLE) == built
    assert marshal.loads(cached(tmp_path).read_bytes())[0]["parser"]


def test_known_shapes_need_no_parser(fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    read = statements(SAMPLE)
    known().save()
    fresh()
    monkeypatch.setattr(parsing, "postfix", None)
    assert statements(SAMPLE) == read


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"no shapes",
        marshal.dumps(None),
        marshal.dumps((1, 2, 3, 4)),
        marshal.dumps(((), {}, {}, {})),
        lambda key: (key, {"NAME": 1}, {}, {}),
        lambda key: (key, {}, {}, {("NAME",): 3}),
        lambda key: (key, {}, {}, {("NAME",): (("name", 1, 0, "x"),)}),
        lambda key: (key, {}, {}, {"NAME": (0,)}),
    ],
    ids=range(9),
)
def test_corrupt_shapes_are_ignored(fresh: Callable[[], None], wrong: Any) -> None:
    read = statements(SAMPLE)
    known().save()
    path = known().path
    assert path is not None and path.is_file()
    path.write_bytes(wrong if isinstance(wrong, bytes) else marshal.dumps(wrong(known().key)))
    fresh()
    assert statements(SAMPLE) == read


@pytest.mark.parametrize("part", [0.01, 0.25, 0.5, 0.75, 0.99])
def test_a_cache_that_was_cut_off_is_ignored(tmp_path: Path, fresh: Callable[[], None], part: float) -> None:
    built = statements(SAMPLE)
    path = cached(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    fresh()
    assert statements(SAMPLE) == built


def test_a_folder_in_the_place_of_the_cache_file(tmp_path: Path, fresh: Callable[[], None]) -> None:
    built = statements(SAMPLE)
    path = cached(tmp_path)
    path.unlink()
    path.mkdir()
    fresh()
    assert statements(SAMPLE) == built


def test_without_a_place_for_a_cache(tmp_path: Path, fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    assert grammar.cache_dir() is None
    assert len(statements(SAMPLE)) == 3
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    fresh()
    assert grammar.cache_dir() is None
    assert len(statements(SAMPLE)) == 3


def test_the_cache_folder_is_the_users_own(tmp_path: Path, fresh: Callable[[], None]) -> None:
    before = os.umask(0)
    try:
        statements(SAMPLE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "cache" / "gradlang").stat().st_mode) == 0o700
    assert stat.S_IMODE(cached(tmp_path).stat().st_mode) & 0o077 == 0


def test_the_cache_is_plain_data(tmp_path: Path, fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **more: Any) -> Any:
        raise AssertionError("a pickle")

    for name in ("load", "loads", "dump", "dumps"):
        monkeypatch.setattr(pickle, name, never)
    statements(SAMPLE)
    kept = cached(tmp_path).read_bytes()
    fresh()
    statements(SAMPLE)
    assert kept[:1] != b"\x80"  # with which every pickle since protocol 2 starts
    todo, kinds = [marshal.loads(kept)], set()
    while todo:
        item = todo.pop()
        kinds.add(type(item))
        todo += [*item, *item.values()] if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else []
    assert kinds <= {dict, list, tuple, str, int, float, bool, type(None)}


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
    assert len(grammar.parser().parse(tuple(whole.kinds), start="start").children) == len(kinds)


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
