"""Lines of known shapes are read and elaborated from what the first of them taught: everything is as if each were read anew."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gradlang import pipeline
from gradlang.source import Source
from gradlang.syntax import parse as parsing
from gradlang.syntax.lines import Shapes, Written

LANGUAGE = pipeline.standard()


def read(text: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    shapes = Shapes(parsing._builder)
    if not known:
        shapes.find = lambda *_: None  # type: ignore[method-assign]
    monkeypatch.setattr(parsing, "SHAPES", shapes)
    program, problems = pipeline.read(text, "f.grad", LANGUAGE)
    return program.nodes, program.values, program.leaves, program.outputs, program.labels, problems


def same(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    anew = read(text, False, monkeypatch)
    known = read(text, True, monkeypatch)
    assert known == anew
    for node, other in zip(known[0], anew[0], strict=True):  # 1 is no 1.0, and 0.0 no -0.0
        assert repr(node.attrs) == repr(other.attrs)
    return known


def program(seed: int) -> str:
    r = random.Random(seed)
    lines, names = ["x = 0.5", "w = [1, 2, 3]", "k = 2", "const c = 3", "def f(a) = a*a + 1"], ["x", "k", "x", "c", "w"]
    shapes = [
        "{} = {} + {}",
        "{} = {}*{} - sin({})",
        "{} = 2*{} + {}/{n}",
        "{} = {n}*{} - {n}",
        "{}   =  ( {} )*-{n}",
        "{} = -{n}*{} + -{n}",
        "{} = {}**2 + {}**{n}",
        "{} = f({}) + exp(-{})",
        "{} = max({}, {n}) + min({}, {}, 1)",
        "{} = {} if {} > {n} else {n}",
        "{} = {}",
        "{} = +{}",
        "{} = 2*3 + {}*(4*5)",
        "{} = sum({}) + pi*{}",
        "{} = -(-{}) + clip({}, 0, {n})",
        "{} = {} # of {}",
        '{} = {} "a label"',
    ]
    for k in range(300):
        if r.random() < 0.05:
            lines.append(r.choice(["", "  ", "# note", "  # note"]))
        shape = r.choice(shapes)
        fill = [f"v{k}"] + [r.choice(names[-20:]) for _ in range(4)]
        number = r.choice(["0", "1", "2", "0.5", "1e-3", "7", ".5", "0.0", "1_0", "1e400", "9007199254740993"])
        lines.append(shape.format(*fill, n=number))
        names.append(f"v{k}")
    return "\n".join(lines) + r.choice(["\n", "", "\n\n# end"])


@pytest.mark.parametrize("seed", range(12))
def test_random_lines(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = program(seed)
    nodes, *_ = same(text, monkeypatch)
    assert len(nodes) > 100
    same(text.replace("\n", "\r\n"), monkeypatch)


@pytest.mark.parametrize("seed", range(12))
def test_random_faults(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    r = random.Random(seed)
    lines = program(seed).split("\n")
    for _ in range(6):
        k = r.randrange(5, len(lines))
        faults = ["y = nowhere + 1", lines[k], "  " + lines[k], "v3 = v4 + v5", "a = (x", "x) = 2", "y = sin(x, x)", "y = x/0"]
        lines[k] = r.choice(
            [*faults, "é = x*x", "y = x*é", "w2 = w + w", "s = x ×2", "for = x", "y == x", "y = x *", "z = tru"]
        )
    same("\n".join(lines), monkeypatch)


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n" + "".join(f"v{k} = v{k + 1}*x\n" for k in range(20)) + "v20 = x\n",  # each before what it uses
        "x = 1\n" + "".join(f"v{k} = v{(k + 1) % 20}*x\n" for k in range(20)),  # a circle
        "".join(f"v{k} = a{k}*b\n" for k in range(20)),  # a formula of unknown names
        "x = 1\nsin = 2\n" + "".join(f"v{k} = sin(x)\n" for k in range(9)),
        "x = 1\nop sin(x) -> y:\n    value = x*x\n" + "".join(f"v{k} = sin(x) + {k}\n" for k in range(9)),
        "x = 1\ndef sin(a) = a*x\n" + "".join(f"v{k} = sin(x) + {k}\n" for k in range(9)),
        "x = 1\ny = 2\n" + "".join(f"v{k} = {'xy'[k % 2]}*x\n" for k in range(9)) + "grad v8 wrt x\n",
        "x = [1, 2]\ny = 2\n" + "".join(f"v{k} = {'xy'[k % 2]}*y\n" for k in range(9)),
        "x : int = 1\ny = 2\n" + "".join(f"v{k} = {'xy'[k % 2]}*y\n" for k in range(9)),
        "x = 1\n" + "".join(f"v{k} = x\n" for k in range(9)) + "".join(f"e{k} = e*pi + x\n" for k in range(9)),
        "x = 1\n" + "".join(f"output x\ncheck x > {k}\n" for k in range(9)),
        "b = 1\n" + "check b == 1 tol 1e-7 given b = 1\n" * 5 + "check b == 1 tol 1e-7 igven b = 1\nc = b\n" * 2,
    ],
)
def test_lines_that_need_care(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    same(text, monkeypatch)


def test_trees_are_made_when_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "SHAPES", Shapes(parsing._builder))
    module, faults = parsing.parse(Source("f.grad", "".join(f"v{k + 1} = 2*v{k} + sin(x)\n" for k in range(10)), 100))
    assert not faults
    first, last = module.statements[0], module.statements[-2]
    assert isinstance(last, Written) and not isinstance(first, Written)
    assert (last.value.args[1].span, last.span) == ((264, 270), (252, 270))
    assert last == last.tree() and last.tree() == last and hash(last) == hash(last.tree()) and first != last
    with pytest.raises(AttributeError):
        last.nothing  # noqa: B018
