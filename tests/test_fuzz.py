"""No text may end in anything but diagnostics: random texts, glued tokens, mutated programs, random command-line values."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from conftest import GOLDEN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradlang import pipeline
from gradlang.api import Model
from gradlang.check.program import Program
from gradlang.cli.main import main
from gradlang.diagnostics import GradlangError, InternalError, as_json, render_all
from gradlang.syntax.grammar import tables
from gradlang.types import Size, value

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.grad"))
LARGE = 10_000  # entries: random sizes must not fill the memory of the machine that runs the tests
QUIET = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}

# Programs that use every part of the language; the fuzzer changes a few characters of them.
PROGRAMS = [path.read_text(encoding="utf-8") for path in EXAMPLES] + [
    "price = (apple*n + orange*m) * tax\n",
    "x = 2\ny = x**3 - 2*x if x > 0 and not x == 3 else exp(-x)\ngrad y wrt x\ncheck y == 4 tol 1e-9 given x = 2\n",
    "input x : [N, D]\nparam W : [D, H] = normal(0, 0.1)\nparam b : [H] = zeros()\ninput t : int[N]\n"
    "h = relu(x @ W + b)\nloss = cross_entropy(h, t) + 1e-3*sum(W**2)\nminimize loss\n",
    "const N = 4\nconst h = 1/N\nu = [0.5, 1, 2, 3, 5]\nd = (u[1:] - u[:-1])/h\nE : [] = sum(d**2)*h/2\noutput E, d\n",
    "def affine(x, W, b=0):\n    z = x @ W + b\n    return z\n\ndef both(x) = affine(x, eye(2), b=1)\n"
    "A = [[1, 2], [3, 4]]\nB, C = split(concat([both(A), A.T], axis=1), 2, 1)\ns = norm(B - C) + A[0, -1]*max(A)\n",
    "input v : [2*K]\ninput m : bool[2*K]\nw = where(m, v, 0)\nq = mean(w[::2]) + std(v, axis=0, keepdims=true)[0]\n",
    '사과 = 100 "값"\n세금 = 1.1\n합계 = 사과*세금 # 합계\n',
    "a, b, c = split([1, 2, 3], 3)\ny = sum(a) + pi*e\n",
    'input z : [3, 4]\ny = einsum("ij,ij->i", z, z)\nr = sqrt(prod(y)) // 2 % 3\ns = sort(y)[::-1]\nk = argmax(y)\n',
    "h[0] = 0\nh[t] = tanh(h[t-1] + x[t-1]) for t in range(1, T+1)\nfor i in range(3):\n    c[i] = i\n",
    "input x : [N]\ninput A : [N, K]\ninput p : int[N]\ny = [sum(x[i]*A[i, k] for i in range(N) if i != k) for k in range(K)]\n"
    "z = max(x[j] - x[i] for i in range(N) for j in range(i+1, N))\nw = [a*b + i for i, (a, b) in enumerate(zip(x, x[::-1]))]\n"
    "q = mean(x[p[i]]**2 for i in range(N))\nv = [norm(A[i:i+2, 0]) for i in range(N-1)]\n",
    "input x : [T, D]\nparam W : [D, D] = normal(0, 1)\ndef cell(h, c, v):\n    n = tanh(W @ h + v)*c\n    return n, n + c\n"
    "h[0] = zeros(D)\nc[0] = x[0]\nfor t in range(1, T+1):\n    m = mean(x[t-1])\n    h[t], c[t] = cell(h[t-1], c[t-1]*m, x[t-1])\n"
    "u[0, j] = x[0, j] for j in range(D)\nu[t, 0] = 1 for t in range(1, T)\n"
    "u[t, j] = u[t-1, j] + u[t-1, j-1]**2 for t in range(1, T) for j in range(1, D)\nloss = sum(h[T]**2) + u[T-1, D-1]\n",
    "input p : int[N]\ninput x : [N]\ns[N] = 1\ns[k] = sin(s[k+1]) + x[k] for k in range(N-1, -1, -1)\nr[0] = x[0]\n"
    "r[i] = r[p[i]]*x[i] + sum(r[j] for j in range(i)) for i in range(1, N)\ndef f(a):\n    q[0] = a\n"
    "    q[t] = q[t-1]*2 + a for t in range(1, 4)\n    return q[3]\ny = sum(f(v) for v in x if v > 0)*s[0]\n",
    "op f(x) -> y:\n    value = x*x\n    d/dx = 2*x\n    on x in [-1, 1]\nrule stable r: log(exp(x)) => x\n"
    'import "a.grad" as a\nfrom "b.grad" import c as d\nm = 3 +/- 1 \'kg\' "mass"\nj = grad(f(m), m)\n',
]
LITERALS = sorted(tables().literals)
TOKENS = [
    *LITERALS,
    *LITERALS,
    "x",
    "y",
    "z",
    "f",
    "N",
    "사과",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "0.5",
    "1e3",
    "1e400",
    '"text"',
    "'m/s'",
    "\n",
    "\n",
    "\n",
    "    ",
    "\t",
    " ",
    "# note",
    "x = 2\n",
    "y = ",
    "input v : [N]\n",
    "v",
    "v[0]",
    "v[:, None]",
    "sum",
    "max",
    "mean",
    "exp",
    "log",
    "sqrt",
    "where",
    "concat",
    "reshape",
    "eye",
    "zeros",
    "einsum",
    "split",
    "norm",
    "axis",
    "keepdims",
    "pi",
    "inf",
    "nan",
    "None",
    "lambda",
    "×",
    "−",
    "（",
    "）",
    "，",
    "$",
    "\\",
    "\r\n",
    "\u00a0",
    "\u3000",
    "\u200b",
    "\x00",
    "\f",
    "\v",
    "\x1c",
    "\x85",
    "\u2028",
]
LINES = [
    *(line + "\n" for text in PROGRAMS for line in text.splitlines()),
    "def g(x):\n",
    "    return x\n",
    "    y = 2*x\n",
    "def k(x, y=2) = x*y\n",
    "w = k(2)\n",
    "n = k(1, y=v)\n",
    "input v : [N]\n",
    "input q : int\n",
    "const c = [1, 2]\n",
    "s = v[q]\n",
    "grad s\n",
    "grad w wrt v\n",
    "output v\n",
    "check w == 4\n",
    "check true\n",
    "param p : [N, 3] = he()\n",
    "r = p @ c\n",
    "r = p.T @ v\n",
    "r2 = p + v[:, None]\n",
    "h[0] = 0\n",
    "h[1] = v[0]\n",
    "h[t] = h[t-1] + v[t] for t in range(1, N)\n",
    "h[t] = h[t+1] for t in range(N-1, -1, -1)\n",
    "h[i, j] = v[i]*v[j] for i in range(N) for j in range(N)\n",
    "for t in range(N):\n",
    "for i, a in enumerate(v):\n",
    "    h[t] = y + v[t]\n",
    "    h[t], l[t] = 1\n",
    "l = [v[i+1] for i in range(N-1)]\n",
    "l = sum(a for a in v if a > 0)\n",
]

CHARACTERS = "xyzN012.eE+-*/%@=<>!()[]{},:;\"'#_ \t\n\r\\^|&$~?`사，（−×\u0301\u200b\ufeff\u3000\x00\f\v\x1c\x85\u2028"

texts = st.one_of(st.text(max_size=80), st.text(st.sampled_from(CHARACTERS), max_size=60))
tokens, lines = st.sampled_from(TOKENS), st.sampled_from(LINES)
glued = st.one_of(
    st.lists(tokens, max_size=25).map(" ".join),
    st.lists(tokens, max_size=25).map("".join),
    st.lists(lines, max_size=8).map("".join),
    st.lists(st.one_of(lines, st.lists(tokens, max_size=6).map(" ".join)), max_size=8).map("".join),
)


def _functions() -> list[str]:
    from gradlang.check.calls import function_names
    from gradlang.check.rules import library

    class Table:
        table = pipeline.standard().table

    return sorted(function_names(Table, library()))  # type: ignore[arg-type]


functions = st.sampled_from(_functions())
operands = st.sampled_from(
    [
        "x",
        "v",
        "A",
        "i",
        "j",
        "m",
        "k",
        "u",
        "2",
        "-1",
        "0",
        "1",
        "0.5",
        "1e9",
        "N",
        "true",
        "None",
        "inf",
        "[1, 2]",
        "[]",
        "[[]]",
        "[x, 2]",
        "[0, 1]",
        "(x > 0)",
        '"ij->i"',
        '"ij,j"',
    ]
)


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operator = st.sampled_from(["+", "-", "*", "/", "//", "%", "@", "**", "<", "<=", "==", "!=", "and", "or"])
    keyword = st.sampled_from(["axis", "keepdims", "ord", "shape", "n", "ddof", "num", "fill_value", "value"])
    return st.one_of(
        st.tuples(inner, operator, inner).map(" ".join).map("({})".format),
        st.tuples(inner, inner).map(lambda p: f"{p[0]}[{p[1]}]"),
        st.tuples(inner, inner, inner).map(lambda p: f"{p[0]}[{p[1]}:{p[2]}]"),
        st.tuples(inner, inner).map(lambda p: f"{p[0]}[:, {p[1]}]"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda p: f"[{', '.join(p)}]"),
        inner.map("{}.T".format),
        inner.map("(-{})".format),
        st.tuples(functions, st.lists(inner, min_size=1, max_size=3)).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
        st.tuples(functions, inner, keyword, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]}={p[3]})"),
    )


# Formulas that the grammar takes, with operands that may not fit.
formulas = st.recursive(operands, combined, max_leaves=6).map(
    "x = 1.5\nv = [1, 2, 3]\nA = [[1, 2], [3, 4]]\ninput i : int\ninput j : int[3]\ninput m : bool[3]\nconst k = 2\n"
    "input u : [N]\ny = {}\n".format
)


loops = st.sampled_from(
    ["range({})", "range({}, {})", "range({}, {}, {})", "zip({}, {})", "enumerate({})", "{}", "range(N)", "range(3)"]
)
indices = st.sampled_from(
    ["i", "j", "i-1", "i+1", "2*i", "N-1-i", "i+j", "0", "1", "-1", "N", "p[i]", "i:i+2", ":", "k", "i, j", "0, i"]
)


@st.composite
def looped(draw: st.DrawFn) -> str:
    """Comprehensions and indexed definitions that the grammar takes, with bounds, indices and elements that may not fit."""
    small = st.sampled_from(
        ["x", "v", "A", "i", "j", "k", "N", "0", "1", "2", "-1", "v[i]", "A[i, j]", "A[i]", "s[i-1]", "s[0]", "s", "p"]
    )

    def clause(name: str) -> str:
        over = draw(loops)
        target = draw(st.sampled_from([name, name, name, f"{name}, j", "i, (j, k)"]))
        return f" for {target} in {over.format(*(draw(small) for _ in range(3)))}"

    def element(depth: int) -> str:
        how = draw(st.integers(0, 7 if depth else 3))
        if how < 3:
            return draw(st.one_of(small, indices.map("v[{}]".format), indices.map("A[{}]".format), indices.map("s[{}]".format)))
        if how == 3:
            return draw(small)
        parts = [element(depth - 1) for _ in range(2)]
        if how == 4:
            return f"({parts[0]} {draw(st.sampled_from(['+', '*', '-', '/', '@', '**', '//', '%']))} {parts[1]})"
        if how == 5:
            return f"({parts[0]} if {parts[1]} > {draw(small)} else {draw(small)})"
        body = parts[0] + clause("j") + (f" if {parts[1]} > 1" if draw(st.booleans()) else "")
        return f"[{body}]" if how == 6 else f"{draw(functions)}({body})"

    lines = ["input v : [N]", "input A : [N, N]", "input p : int[N]", "x = 2", "const k = 3"]
    for _ in range(draw(st.integers(1, 3))):
        target = draw(st.sampled_from(["s", "s", "q"]))
        index = draw(indices)
        made = f"{target}[{index}] = {element(2)}"
        how = draw(st.integers(0, 4))
        if how == 0:
            lines += [f"for {clause('i')[5:]}:", f"    w = {element(1)}", f"    {made}"]
        elif how < 3:
            lines.append(made + clause("i") + (clause("j") if "j" in index else ""))
        else:
            lines.append(f"{made if how == 3 else f'y = [{element(2)}{clause(chr(105))}]'}")
    return "\n".join(lines) + "\n"


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid program with some characters deleted, doubled, swapped, replaced, or whole lines moved."""
    text = draw(st.sampled_from(PROGRAMS))
    rng = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 4))):
        if not text:
            break
        i, j = rng.randrange(len(text)), rng.randrange(len(text))
        how = rng.randrange(8)
        if how == 0:
            text = text[:i] + text[i + 1 :]
        elif how == 1:
            text = text[:i] + text[i] + text[i:]
        elif how == 2 and i + 1 < len(text):
            text = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
        elif how == 3:
            text = text[:i] + text[j] + text[i + 1 :]
        elif how == 4:
            text = text[:i] + rng.choice(TOKENS) + text[i:]
        elif how == 5:
            lines = text.splitlines(keepends=True)
            lines.insert(rng.randrange(len(lines) + 1), lines.pop(rng.randrange(len(lines))))
            text = "".join(lines)
        elif how == 6:
            i, j = sorted((i, min(len(text), i + rng.randrange(12))))
            text = text[:i] + text[j:]
        else:
            text = text[:i]
    return text


def given_values(program: Program) -> dict[str, Any] | None:
    """A value for each leaf that needs one, or None where an array would be large."""
    sizes = dict.fromkeys(program.sizes, 4)
    out: dict[str, Any] = {}
    for node in program.nodes:
        try:
            if math.prod(value(d, sizes) if isinstance(d, Size) else d for d in node.type.shape) > LARGE:
                return None
        except KeyError:
            return None
    for leaf in program.callable_leaves():
        if leaf.required:
            shape = tuple(value(d, sizes) for d in leaf.type.shape)
            if min(shape, default=0) < 0:
                return None
            entry = {"real": 0.7, "int": 1, "bool": True}[leaf.type.dtype]
            out[leaf.name] = np.full(shape, entry)
    return out


def survives(text: str, call: bool = True) -> None:
    """Reading a text, and compiling and calling what it says, raises nothing but an error with diagnostics."""
    try:
        program, problems = pipeline.read(text, "fuzz.grad", pipeline.standard())
        assert render_all(problems, program.sources) or not problems
        for d in problems:
            json.dumps(as_json(d, program.sources))
            assert d.code != "G900"
            assert d.span is None or 0 <= d.span[0] <= d.span[1] <= len(text)
        values = given_values(program) if call and not problems else None
        if values is None:
            return
        model = Model(program)
        if not program.outputs:
            return
        with np.errstate(all="ignore"):
            model.function(program.outputs)(values)
            for name in program.outputs:
                type = program.nodes[program.values[name]].type
                if not type.shape and type.dtype == "real" and program.differentiable():
                    model.value_and_grad(name)(values)
    except GradlangError as error:
        assert not isinstance(error, InternalError), str(error)
        assert error.diagnostics


@settings(max_examples=400, **QUIET)
@given(texts)
def test_arbitrary_text(text: str) -> None:
    survives(text)


@settings(max_examples=600, **QUIET)
@given(glued)
def test_glued_tokens_and_lines(text: str) -> None:
    survives(text)


@settings(max_examples=1000, **QUIET)
@given(formulas)
def test_formulas_that_may_not_fit(text: str) -> None:
    survives(text)


@settings(max_examples=600, **QUIET)
@given(looped())
def test_loops_that_may_not_fit(text: str) -> None:
    survives(text)


@settings(max_examples=500, **QUIET)
@given(mutated())
def test_mutated_programs(text: str) -> None:
    survives(text)


def test_truncated_programs() -> None:
    """A program that is still being typed: every beginning of every program."""
    for text in PROGRAMS[-14:]:
        for end in range(len(text)):
            survives(text[:end], call=False)


def test_the_bad_programs_without_one_line() -> None:
    for path in sorted((GOLDEN / "bad").glob("*.grad")):
        lines = path.read_bytes().decode("utf-8-sig").splitlines(keepends=True)
        for i in range(min(len(lines), 8)):
            survives("".join(lines[:i] + lines[i + 1 :]), call=False)


DEEP: dict[str, Callable[[int], str]] = {
    "parentheses": lambda n: "(" * n + "x" + ")" * n,
    "unclosed": lambda n: "(" * n + "x",
    "lists": lambda n: "[" * n + "1" + "]" * n,
    "signs": lambda n: "-" * n + "x",
    "nots": lambda n: "1 if " + "not " * n + "x > 0 else 2",
    "powers": lambda n: "**".join(["x"] * n),
    "calls": lambda n: "sin(" * n + "x" + ")" * n,
    "choices": lambda n: "x if x > 0 else " * n + "x",
    "indices": lambda n: "x" + "[0]" * n,
    "sum": lambda n: " + ".join(["x"] * n),
    "attributes": lambda n: "x" + ".T" * n,
    "list": lambda n: "[" + "x, " * n + "]",
    "chained comparison": lambda n: "1 if " + " < ".join(["x"] * n) + " else 2",
    "commas": lambda n: "max(" + "x, " * n + "x)",
}


def test_deep_and_long_formulas() -> None:
    for make in DEEP.values():
        survives(f"x = 2\ny = {make(2000)}\n", call=False)
        survives(f"x = 2\ny = {make(100)}\n")


VALUES = [
    "1/0",
    "2**2000",
    "9**9**9",
    "10**400",
    "-10**400",
    "[[1, 2], [3]]",
    "[]",
    "[[]]",
    "true",
    "None",
    "pi",
    "e",
    "inf",
    "-inf",
    "nan",
    "1e999",
    "x",
    '"a"',
    "(1,)",
    "[1, [2]]",
    "2 3",
    "1_0",
    "0x10",
    "sum([1])",
    "1 if true else 2",
    "1\n",
    "1 # c",
    "=3",
]
names = st.sampled_from(["apple", "n", "x", "", " apple ", "aple", "사과", "lambda", "price"])
literals = st.one_of(
    st.text(max_size=15),
    st.text(st.sampled_from("0123456789.eE+-*/[](), _infatrue"), max_size=15),
    st.sampled_from(VALUES),
    st.floats().map(repr),
    st.lists(st.floats(), max_size=4).map(repr),
    st.complex_numbers().map(repr),
)
words = st.one_of(st.text(max_size=20), st.tuples(names, st.sampled_from(["=", "=", "=", "", "=="]), literals).map("".join))


@settings(max_examples=300, **QUIET)
@given(st.lists(words, min_size=1, max_size=3), st.sampled_from(["run", "check", "--upstream", "--wrt", "--data"]))
def test_words_of_the_command_line(chosen: list[str], where: str) -> None:
    """Any words after a program: status 0, 1 or 2, and never a traceback."""
    path = str(EXAMPLES[0])
    extra = chosen if where in ("run", "check") else [w for word in chosen for w in (where, word)]
    argv = ["check" if where == "check" else "run", path, *extra]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), np.errstate(all="ignore"):
        try:
            status = main(argv)
        except SystemExit as stop:
            status = stop.code
    assert status in (0, 1, 2), err.getvalue()
    assert status == 0 or err.getvalue() or out.getvalue()
