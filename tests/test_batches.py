"""Large files are read as columns: programs, errors and tapes are those that come of reading line by line."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from large import TABLE

import gradlang as gl
from gradlang import pipeline
from gradlang.check import check, many_nodes
from gradlang.check.nodes import Nodes, arguments, whole
from gradlang.check.program import Node, Program, needed
from gradlang.ir.build import write
from gradlang.ir.tape import Builder
from gradlang.source import Source
from gradlang.syntax import ast, batch, tokens
from gradlang.syntax import parse as parsing
from gradlang.syntax.lines import Shapes

LANGUAGE = pipeline.standard()
ALWAYS = ((tokens, "LARGE", 0), (batch, "LEAST", 1), (many_nodes, "WORTH", 0), (many_nodes, "EACH", 0))


class Finder:
    """Files by name."""

    root = "main"

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def find(self, written: str, importer: str) -> Any:
        from gradlang.check.modules import Found, Unreadable

        if written not in self.files:
            raise Unreadable("no such file")
        return Found(written, written, lambda: self.files[written])


def read(text: str, limits: tuple[tuple[Any, str, int], ...], files: dict[str, str]) -> tuple[Program, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "SHAPES", Shapes(parsing._builder))
        for place, name, value in limits:
            patch.setattr(place, name, value)
        return pipeline.read(text, "f.grad", LANGUAGE, Finder(files))


def tape(program: Program) -> list[Any]:
    builder = Builder(program.language.table)
    write(program, [program.values[n] for n in program.outputs], builder)
    return builder.instrs


def same(text: str, least: int = 1, files: dict[str, str] | None = None, worth: int = 0) -> Program:
    """Reads a text line by line and in batches, which must come to the same."""
    limits = [(place, name, {"LEAST": least, "WORTH": worth}.get(name, value)) for place, name, value in ALWAYS]
    singly, problems = read(text, ((tokens, "LARGE", 1 << 60),), files or {})
    program, found = read(text, tuple(limits), files or {})
    assert found == problems
    assert type(singly.nodes) is list
    parts = ("leaves", "values", "labels", "outputs", "asked", "promises", "sizes", "warnings", "requirements")
    for part in parts:
        a, b = getattr(program, part), getattr(singly, part)
        assert a == b, part
        assert list(a) == list(b), part
    assert list(arguments(program.nodes)) == [n.args for n in singly.nodes]
    some = list(program.values.values())[-3:]
    assert needed(program.nodes, some) == needed(singly.nodes, some)
    if not problems:
        assert repr(tape(program)) == repr(tape(singly))
    assert repr(list(program.nodes)) == repr(singly.nodes)  # 1 is no 1.0, and 0.0 no -0.0
    assert program.nodes == singly.nodes
    return program


# ------------------------------------------------------------------ random programs, with faults
HEADS = """x = 0.5
w = [1, 2, 3]
k = 2
const c = 3
def f(a) = a*a + x
def own(a) = a + 1
"""
SHAPES = (
    "{} = {} + {}",
    "{} = {}*{} - sin({})",
    "{} = 2*{} + {}/{n}",
    "{} = {n}*{} - {n}",
    "{}   =  ( {} )*-{n}",
    "{} = -{n}*{} + -{n}",
    "{} = {}**2 + {}**{n}",
    "{} = f({}) + exp(-{})",
    "{} = own({})*{}",
    "{} = max({}, {n}) + min({}, {}, 1)",
    "{} = {} if {} > {n} else {n}",
    "{} = {}",
    "{} = clip({}, 0, {n}) + abs({})",
    "{} = 2*3 + {}*(4*5)",
    "{} = sum({}) + pi*{}",
    "{} = e*{} + {}",
    "{} = {n}",
    "{} = -{n}",
    "{} = sqrt({n})",
    "{} = {} # of {}",
    '{} = {} "a label"',
    "{} = {}[0] + {}",
    "{} : int = {n}",
)
NUMBERS = ("0", "1", "2", "0.5", "1e-3", "7", ".5", "0.0", "1_0", "1e400", "9007199254740993", "3")
BETWEEN = ("", "  ", "# a note, it's = 1", "  # (a note", "\t", "#", "## v1 = v2", "output x", "check x > 0", "# é")
FAULTS = (
    "y = nowhere + 1",
    "  {line}",
    "{line}\n{line}",
    "v3 = v4 + v5",
    "a = (x",
    "x) = 2",
    "y = sin(x, x)",
    "y = x/0",
    "é = x*x",
    "y = x*é",
    "w2 = w + w",
    "s = x ×2",
    "for = x",
    "y == x",
    "y = x *",
    "z = tru",
    "pi = 3*x",
    "sin = x*x",
    "y = w",
    "{line} +\n  x",
    "{line}\n    x",
    "h[0] = x\nh[i] = h[i-1]*x for i in 1..5",
    "y = \u200bx",
    "late = v999 + x",
    "def g(a) = a*v7",
    'y = "text',
)


def random_program(seed: int, count: int, faults: int, shapes: int) -> str:
    r = random.Random(seed)
    lines, names = HEADS.splitlines(), ["x", "k", "x", "c"]
    chosen = r.sample(SHAPES, shapes)
    for k in range(count):
        if r.random() < 0.02:
            lines.append(r.choice(BETWEEN))
        near = names[-20:] + (["w"] if r.random() < 0.03 else [])
        fill = [f"v{k}"] + [r.choice(near) for _ in range(4)]
        lines.append(r.choice(chosen).format(*fill, n=r.choice(NUMBERS)))
        names.append(f"v{k}")
    for _ in range(faults):
        k = r.randrange(6, len(lines))
        lines[k] = r.choice(FAULTS).format(line=lines[k])
    text = "\n".join(lines) + r.choice(["\n", "", "\n\n# end"])
    return text.replace("\n", "\r\n") if r.random() < 0.1 else text


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9),
    st.integers(5, 300),
    st.integers(0, 4),
    st.integers(2, len(SHAPES)),
    st.sampled_from([1, 4, 40]),
    st.sampled_from([0, 6, 10**9]),
)
def test_random_programs(seed: int, count: int, faults: int, shapes: int, least: int, worth: int) -> None:
    same(random_program(seed, count, faults, shapes), least, worth=worth)


@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_every_fault_in_the_middle(fault: int) -> None:
    body = [f"v{k + 1} = v{k}*x + {k + 1}" for k in range(30)]
    for at in (0, 7, 15, 29):
        lines = [*body[:at], FAULTS[fault].format(line=body[at]), *body[at + 1 :]]
        same("x = 0.5\nw = [1, 2]\nv0 = 2\n" + "\n".join(lines) + "\nlast = v30 + x\n")


def test_ordinary_limits() -> None:
    """With the limits as they are some lines are worth columns and some are not."""
    r = random.Random(3)
    lines = ["x = 0.5", "v0 = x"]
    for k in range(6000):
        a, b = (r.randrange(max(0, k - 30), k + 1) for _ in "ab")
        forms = f"v{a}*{k % 7} + v{b}", f"sin(v{a})*v{b}/3", f"-v{a}", f"v{a} if v{b} > 0 else x"
        lines.append(f"v{k + 1} = {forms[r.randrange(400) // 133]}")
    text = "\n".join(lines) + "\n"
    assert len(lines) > tokens.LARGE
    program, problems = read(text, (), {})
    singly, _ = read(text, ((tokens, "LARGE", 1 << 60),), {})
    assert not problems
    assert isinstance(program.nodes, Nodes)
    assert 100 < len(list(whole(program.nodes))) < len(program.nodes) // 2
    assert repr(list(program.nodes)) == repr(singly.nodes)
    assert list(program.values.items()) == list(singly.values.items())


@pytest.mark.parametrize("piece", [64, 150, 1000])
def test_pieces_of_a_text(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is split piece by piece, wherever its lines end."""
    monkeypatch.setattr(batch, "PIECE", piece)
    for seed in range(6):
        same(random_program(seed, 120, seed % 3, 8), 1 + seed)


# ------------------------------------------------------------------ programs that need care
CHAIN = "".join(f"v{k + 1} = v{k}*x\n" for k in range(20))


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n" + "".join(f"v{k} = v{k + 1}*x\n" for k in range(20)) + "v20 = x\n",  # each before what it uses
        "x = 1\n" + "".join(f"v{k} = v{(k + 1) % 20}*x\n" for k in range(20)),  # a circle
        "x = 1\n" + "".join(f"v{k} = v{k}*x\n" for k in range(20)),
        "".join(f"v{k} = a{k}*b\n" for k in range(20)),  # a formula of unknown names
        "".join(f"v{k} = a{k % 3}*b if a{k} > 0 else z\n" for k in range(20)) + CHAIN,
        "x = 1\nsin = 2\n" + "".join(f"v{k} = sin(x)\n" for k in range(9)),
        "x = 1\nop sin(x) -> y:\n    value = x*x\n" + "".join(f"v{k} = sin(x) + {k}\n" for k in range(9)),
        "x = 1\ndef sin(a) = a*x\n" + "".join(f"v{k} = sin(x) + {k}\n" for k in range(9)),
        "x = 1\n" + "".join(f"v{k} = f(x) + {k}\n" for k in range(9)) + "def f(a) = a*late\nlate = x + 1\n",
        "x = 1\nf0 = x\n" + "".join(f"f{k + 1} = f(x)\n" for k in range(9)) + "def f(a) = a*f3\n",
        "x = 1\n" + "".join(f"v{k} = later*{k}\n" for k in range(9)) + "later = 3*x if x > 0 else x\n",
        "x = 1\n" + "".join(f"v{k} = x*{k}\n" for k in range(9)) + "v3 = x + x\n",
        "v3 = 1\nx = 2\n" + "".join(f"v{k} = x*{k}\n" for k in range(9)),
        "x = 1\ny = 2\n" + "".join(f"v{k} = {'xy'[k % 2]}*x\n" for k in range(9)) + "grad v8 wrt x\n",
        "x = 1\ny = 2\n" + "".join(f"v{k} = {'xy'[k % 2]}*x\n" for k in range(9)) + "grad v8 wrt y\ngrad v7 wrt y\n",
        "x = 1\n" + CHAIN.replace("v0*", "x*") + "z = grad(v20, x)\n" + "".join(f"u{k} = z*v{k + 1}\n" for k in range(9)),
        "x = [1, 2]\ny = 2\n" + "".join(f"v{k} = {'xy'[k % 2]}*y\n" for k in range(9)),
        "x : int = 1\ny = 2\n" + "".join(f"v{k} = {'xy'[k % 2]}*y\n" for k in range(9)),
        "x = 1\n" + "".join(f"v{k} = x\n" for k in range(9)) + "".join(f"e{k} = e*pi + x\n" for k in range(9)),
        "x = 1\n" + "".join(f"e{k} = e*x\n" for k in range(9)) + "e = 7\n" + "".join(f"g{k} = e\n" for k in range(9)),
        "x = 1\n" + "".join(f"output x\ncheck x > {k}\n" for k in range(9)),
        "x = 1\n" + "".join(f"a{k}, b{k} = x, {k}\n" for k in range(9)) + "".join(f"c{k} = a{k}*b{k}\n" for k in range(9)),
        "x = 1\n" + "".join(f"a{k} = x, {k}\n" for k in range(9)),
        "x = 1\n" + "".join(f"c{k} = {k}\nv{k} = c{k}*x\n" for k in range(30)),  # numbers between the formulas
        "x = 1\n" + "".join(f"v{k} = " + " + ".join(["x"] * (k % 3 + 13)) + "\n" for k in range(20)),  # many names
        "x = 1\n" + "".join(f"v{k} = x**{k}.5\n" for k in range(30)),  # as many kinds of lines as lines
        "x = 1\n" + "".join(f"v{k} = x*a.b{k}\n" for k in range(9)),
        "x = 1\ny = é\n" + "".join(f"v{k} = x*é{k}\n" for k in range(9)) + "".join(f"é{k} = x*{k}\n" for k in range(9)),
        "x = 1\n" + "".join(f"v{k} = 1/{k % 2} + x\n" for k in range(9)) + "".join(f"u{k} = x/{k % 2}\n" for k in range(9)),
        "x = 1\n" + "".join(f"v{k} = x * {k}  \n\n   \n# {k}\n" for k in range(9)) + "y = x\n",
        "x = 1\n" + "".join(f"v{k} = x * {k}\n;\n" for k in range(9)) + "y = x\n",
        "x = 1\n" + "".join(f"v{k} = x*{k}\n" for k in range(9)) + "  # a note\n   y = x\n",
        "x = 1\n" + "".join(f"v{k} = x*{k}\n" for k in range(9)) + "\x0c\n\xa0\n",
        "",
        "\n\n# nothing\n",
    ],
)
def test_programs_that_need_care(text: str) -> None:
    same(text)


def test_two_names_of_one_value() -> None:
    """Names that other files give may mean the same node."""
    files = {"a": "input t = 2\nu = t*t\n"}
    same(
        "from 'a' import u, u as z\nx = 1\n".replace("'", '"') + "".join(f"v{k} = {'uz'[k % 2]}*u + z\n" for k in range(9)),
        1,
        files,
    )


def test_an_imported_file_is_large() -> None:
    files = {"a": "input t = 2\nv0 = t\n" + "".join(f"v{k + 1} = v{k}*t + {k}\n" for k in range(30))}
    for head in ('from "a" import v20, v3 as w\n', 'import "a"\nv20 = a.v20\nw = a.t\n'):
        program = same(head + "x = 1\n" + "".join(f"u{k} = v20*w + x\n" for k in range(30)), 1, files)
        assert len(program.values) > 30


def test_too_large_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (1, 10, 11, 12, 13, 30, 59, 60, 61, 62, 63):
        monkeypatch.setattr(check, "MOST_VALUES", most)
        text = "x = 1\nv0 = x*x\n" + "".join(f"v{k + 1} = v{k}*x + 2\n" for k in range(20)) + "y = x + 1\n"
        same(text)
        same(text, worth=10**9)


# ------------------------------------------------------------------ nodes that are made when they are looked at
def large_program() -> Program:
    text = "x = 0.5\nv0 = x + 1\n" + "".join(f"v{k + 1} = v{k}*x - {k + 1}\n" for k in range(300))
    program, problems = read(text, ALWAYS, {})
    assert not problems
    return program


def test_nodes_are_made_when_they_are_looked_at() -> None:
    program = large_program()
    nodes = program.nodes
    assert isinstance(nodes, Nodes)
    few = len(list(whole(nodes)))
    assert few < 30 < len(nodes)
    tape(program)
    assert len(list(whole(nodes))) == few
    last = nodes[-4]
    assert last is nodes[len(nodes) - 4] is nodes[-4:][0]
    assert (last.op, last.name, nodes[last.args[1]].attrs) == ("sub", "v299", (299.0,))
    assert len(list(whole(nodes))) == few + 2
    assert [n.name for n in reversed(nodes)][:4] == ["v300", None, None, "v299"]
    assert pickle.loads(pickle.dumps(nodes)) == list(nodes)
    assert nodes != list(nodes)[:-1]
    assert all(type(a) is int for n in nodes for a in (*n.args, *n.span))
    nodes.append(Node("neg", (1,), (), last.type, (0, 1)))
    assert nodes[-1].op == "neg"
    del nodes[-1:]
    assert (len(nodes), nodes[-1].name) == (903, "v300")


@pytest.mark.parametrize("one", ["x if x > 0 else 2", "sum(w)", "w[1]", "max(w)", "f(x)"])
def test_lines_over_any_scalar_are_columns(one: str) -> None:
    """What is chosen, summed up or read from an array is a number like any other."""
    body = "".join(f"v{k + 1} = v{k}*x - {k + 1}\n" for k in range(99))
    program = same(f"x = 0.5\nw = [1, 2]\ndef f(a) = a*a + x\nv0 = {one}\n{body}y = v99 + x\n", worth=40)
    text = program.sources.files[0].text
    made, problems = read(text, ALWAYS, {})
    assert not problems
    assert len(list(whole(made.nodes))) < 30 < len(made.nodes)


def test_what_is_changed_in_a_node_counts() -> None:
    program = large_program()
    nodes = program.nodes
    at = program.values["v299"]
    nodes[at].name = "other"
    assert "other" in [i.name for i in tape(program)]


def test_a_large_model_runs() -> None:
    text = "input x = 0.5\nv0 = x + 1\n" + "".join(f"v{k + 1} = sin(v{k}) + x*0.{k + 1}\n" for k in range(1600))
    model = gl.loads(text)
    assert isinstance(model.program.nodes, Nodes)
    value, slope, x = 1.5, 1.0, 0.5
    for k in range(1600):
        value, slope = np.sin(value) + x * float(f"0.{k + 1}"), np.cos(value) * slope + float(f"0.{k + 1}")
    y, slopes = model.value_and_grad()()
    assert y == pytest.approx(value, rel=1e-12)
    assert slopes["x"] == pytest.approx(slope, rel=1e-10)


def test_lines_of_a_module() -> None:
    text = "".join(f"v{k + 1} = 2*v{k} + sin(x)\n" for k in range(10)) + "y = x\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "SHAPES", Shapes(parsing._builder))
        single, _ = parsing.parse(Source("f.grad", text, 100))
        for place, name, value in ALWAYS:
            patch.setattr(place, name, value)
        module, faults = parsing.parse(Source("f.grad", text, 100))
    assert not faults
    lines, last = module.statements
    assert isinstance(lines, batch.Batch)
    assert [*lines.lines(), last] == list(single.statements)
    assert lines.names() == [f"v{k + 1}" for k in range(10)]
    assert lines.spans() == [s.targets[0].name.span for s in single.statements[:-1] if isinstance(s, ast.Define)]


def test_small_files_are_read_without_numpy() -> None:
    code = "import sys, gradlang.pipeline as p\np.load('x = 1\\n' + ''.join(f'v{k} = x*{k}\\n' for k in range(50)), 'f', p.standard())"
    code += "\nprint(sorted({'gradlang.syntax.batch', 'gradlang.check.many'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_table_of_ops() -> None:
    """A stretch holds what an op over numbers is an instruction for as it stands, or is written op by op."""
    text = "op twice(x) -> y:\n    value = 2*x\nx = 1\nv0 = x\n" + "".join(f"v{k + 1} = twice(v{k})\n" for k in range(20))
    same(text)
    assert "twice" not in TABLE
