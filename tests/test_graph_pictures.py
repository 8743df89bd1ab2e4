"""`gradlang graph`: pictures of programs, their geometry, and the formats for other tools."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path

import pytest
from conftest import Golden
from hypothesis import given, settings
from hypothesis import strategies as st
from test_examples import FOLDER, PATHS, arguments, inputs
from test_explain import opened, scalars

import gradlang as gl
from gradlang.cli.main import main
from gradlang.view import metrics
from gradlang.view.flow import flow, tangents
from gradlang.view.folding import MOST, fold
from gradlang.view.geometry import CAPTION, FONT, RADIUS, SMALL, Drawing, draw
from gradlang.view.layout import Box, inversions, place
from gradlang.view.picture import Picture, Style, picture
from gradlang.view.story import story
from gradlang.view.svg import svg
from gradlang.view.trace import trace

Rectangle = tuple[float, float, float, float]


def drawn(model: gl.Model, of: str, values: dict[str, object], style: Style | None = None, blank: bool = False) -> Drawing:
    return draw(picture(story(trace(model, of, values), 6), style or Style()), blank)


def boxes(d: Drawing) -> list[tuple[str, Rectangle]]:
    """Every text and shape with the rectangle that it takes."""
    out: list[tuple[str, Rectangle]] = []
    sizes = {"symbol": FONT, "leaf": FONT, "caption": CAPTION}
    for t in d.texts:
        size = sizes.get(t.role, SMALL)
        wide = metrics.width(t.text, size, t.role == "slope")
        left = t.x - wide / 2 if t.anchor == "middle" else t.x - wide if t.anchor == "end" else t.x
        if t.role not in ("symbol", "leaf"):
            out.append((t.text, (left, t.y - size * 0.72, left + wide, t.y + size * 0.2)))
    for o in d.outlines:
        high = o.height if o.kind in ("op", "group") else FONT
        out.append((o.kind, (o.x - o.width / 2, o.y - high / 2, o.x + o.width / 2, o.y + high / 2)))
    out += [("slot", (s.x, s.y, s.x + s.width, s.y + SMALL + 4)) for s in d.slots]
    return out


def overlap(a: Rectangle, b: Rectangle) -> bool:
    spare = 0.5
    return a[0] + spare < b[2] and b[0] + spare < a[2] and a[1] + spare < b[3] and b[1] + spare < a[3]


def check_geometry(d: Drawing) -> None:
    """No two texts or shapes overlap, and all are inside the picture."""
    every = boxes(d)
    for (n, a), (m, b) in combinations(every, 2):
        assert not overlap(a, b), (n, a, m, b)
    for n, (left, top, right, bottom) in every:
        assert left >= 0 and top >= 0 and right <= d.width and bottom <= d.height, n
    for c in d.curves:
        xs = [x for x, _ in c.points]
        assert xs == sorted(xs), "an edge goes to the right only"


@pytest.mark.parametrize("path", PATHS, ids=[p.stem for p in PATHS])
def test_geometry_of_examples(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model):
        for style in (Style(), Style(open=("all",)), Style(constants="leaves", digits=17)):
            check_geometry(drawn(model, of, values, style))
        check_geometry(drawn(model, of, values, blank=True))


def random_program(rng: random.Random, count: int) -> str:
    lines = [f"x{i} = {rng.uniform(-2, 2)!r}" for i in range(6)]
    names = [f"x{i}" for i in range(6)]
    for k in range(count):
        a, b = rng.choice(names[-12:]), rng.choice(names[-12:])
        lines.append(f"v{k} = " + rng.choice([f"{a}*{b}", f"sin({a}) + {b}", f"{a} - {b}", f"tanh({a}*{b})", f"{a}/7"]))
        names.append(f"v{k}")
    return "\n".join([*lines, "out = " + " + ".join(names[-12:])])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 40))
def test_geometry_of_random_programs(seed: int, count: int) -> None:
    model = gl.loads(random_program(random.Random(seed), count))
    d = drawn(model, "out", {})
    check_geometry(d)
    ET.fromstring(svg(d))


def test_the_book(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 5-13 of the book: what flows forward stands above the edges, what flows back below."""
    monkeypatch.chdir(FOLDER)
    model, values = opened(FOLDER / "02_shopping.grad")
    d = drawn(model, "price", values)
    above = {t.text for t in d.texts if t.role == "value"}
    below = sorted(float(t.text) for t in d.texts if t.role == "slope")
    assert {"200", "450", "650", "715"} <= above
    assert below == [1, 1.1, 1.1, 1.1, 2.2, 3.3, 110, 165, 650]
    places = {t.text: t for t in d.texts if t.role in ("value", "slope")}
    assert places["2.2"].x == places["100"].x and places["2.2"].y > places["100"].y


GOLDENS = [
    ("01_apples", []),
    ("02_shopping", []),
    ("02_shopping", ["--mode", "forward", "--wrt", "apple"]),
    ("02_shopping", ["--upstream", "price=2"]),
    ("02_shopping", ["--mode", "values"]),
    ("02_shopping", ["--stage", "differentiate"]),
    ("03_chain_rule", []),
    ("06_sigmoid", ["--of", "by_nodes"]),
    ("06_sigmoid", ["--of", "by_nodes", "--constants", "leaves"]),
    ("06_sigmoid", ["--of", "as_one_op"]),
    ("09_softmax_loss", ["--of", "by_formula"]),
    ("10_two_layer_net", []),
    ("10_two_layer_net", ["--open", "all"]),
    ("17_eight_schools", []),
    ("25_lstm", []),
    ("27_conv_net", []),
]


def stem(name: str, words: list[str]) -> str:
    return "_".join([name, *(w.lstrip("-").replace("=", "_") for w in words)])


@pytest.mark.parametrize(("name", "words"), GOLDENS, ids=[stem(n, w) for n, w in GOLDENS])
def test_svg(
    name: str, words: list[str], golden: Golden, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(FOLDER)
    path = FOLDER / f"{name}.grad"
    assert main(["graph", path.name, *inputs(arguments(path)), *words, "--digits", "4"]) == 0
    made = capsys.readouterr().out
    golden(f"graph/{stem(name, words)}.svg", made)
    root = ET.fromstring(made)
    assert root.get("role") == "img" and root.find("{http://www.w3.org/2000/svg}title") is not None
    for banned in ("<style", "<script", "class=", " id=", "href"):
        assert banned not in made


@pytest.mark.parametrize("kind", ["dot", "mmd", "tex", "json"])
def test_other_formats(kind: str, golden: Golden, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(FOLDER)
    out = tmp_path / f"p.{kind}"
    assert main(["graph", "02_shopping.grad", "-o", str(out)]) == 0
    golden(f"graph/02_shopping.{kind}", out.read_text(encoding="utf-8"))
    if kind == "json":
        made = json.loads(out.read_text(encoding="utf-8"))
        assert {n["name"]: n["derivative"] for n in made["nodes"] if n["kind"] == "leaf"}["n"] == 110.00000000000001


def derivatives(words: list[str], out: Path) -> dict[str, object]:
    assert main(["graph", str(FOLDER / "02_shopping.grad"), *words, "-o", str(out)]) == 0
    return {n["name"]: n["derivative"] for n in json.loads(out.read_text(encoding="utf-8"))["nodes"]}


def test_data_are_what_the_picture_shows(tmp_path: Path) -> None:
    """Derivatives that flow forward, none, and a stage of the compiler."""
    out = tmp_path / "p.json"
    forward = derivatives(["--mode", "forward", "--wrt", "apple"], out)
    assert (forward["apple"], forward["apples"], forward["price"], forward["tax"]) == (1.0, 2.0, 2.2, None)
    assert set(derivatives(["--mode", "values"], out).values()) == {None}
    assert "d_price_d_apple" in derivatives(["--stage", "differentiate"], out)


def test_the_program_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("resvg_py")
    program = tmp_path / "p.png"
    program.write_text("y = x*x", encoding="utf-8")
    assert main(["graph", str(program), "x=2", "-o", str(program)]) == 1
    assert "this is the program itself" in capsys.readouterr().err
    assert program.read_text(encoding="utf-8") == "y = x*x"


def test_png(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    out = tmp_path / "p.png"
    assert main(["graph", str(FOLDER / "02_shopping.grad"), "-o", str(out)]) == 0
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("words", "boxes", "given", "asked"),
    [
        ([], 8, ["100", "715", "1"], ["2.2", "110", "3.3", "165"]),
        (["--mode", "values"], 4, ["100", "1.1"], ["200", "450", "650", "715"]),
        (["--mode", "forward", "--wrt", "apple"], 3, ["100", "715", "1"], ["2.2"]),
    ],
)
def test_worksheet(words: list[str], boxes: int, given: list[str], asked: list[str], tmp_path: Path) -> None:
    """A worksheet asks for what its mode shows and says what that follows from; the key beside it has the answers."""
    out = tmp_path / "sheet.svg"
    assert main(["graph", str(FOLDER / "02_shopping.grad"), *words, "--blank", "-o", str(out)]) == 0
    sheet, key = out.read_text(encoding="utf-8"), (tmp_path / "sheet-answers.svg").read_text(encoding="utf-8")
    assert sheet.count('rx="3"') == boxes
    assert all(f">{n}<" in sheet for n in ["apple", *given])
    assert all(f">{n}<" in key for n in [*given, *asked])
    assert not any(f">{n}<" in sheet for n in asked)


def test_branches_are_shown_where_a_value_is_used_twice() -> None:
    model = gl.loads("x = 3\ny = x*x + 5*x")
    d = drawn(model, "y", {})
    assert sorted(t.text for t in d.texts if t.role == "branch") == ["5", "6"]
    assert [t.text for t in d.texts if t.role == "slope"].count("11") == 1


def test_nothing_is_drawn_where_no_gradient_comes() -> None:
    """What was not computed is not a zero."""
    model = gl.loads("x = 3\nconst k = 2\nt : int[2] = [0, 1]\ny = k*x + sum(t)")
    assert [t.text for t in drawn(model, "y", {}).texts if t.role == "slope"].count("0") == 0


def test_forward_mode_is_the_derivative_by_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    for path in PATHS:
        model, values = opened(path)
        for of in scalars(model):
            told = trace(model, of, values)
            for name in model.program.differentiable():
                leaf = model.program.leaves[name]
                if leaf.type.shape or name not in told.leaves or told.leaves[name] not in told.values:
                    continue
                found = tangents(told, name).get(told.top, 0.0)
                wanted = model.value_and_grad(of, name, backend="numpy")(values)[1][name]
                assert abs(found - wanted) <= 1e-11 * max(abs(wanted), 1e-300), (path.stem, of, name)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x = -1\ny = sqrt(x if x > 0 else 0)", 0.0),
        ("x = 0\ny = (log(x) if x > 0 else 3*x) + relu(x)", 3.0),
        ("x = -2\nz = 2*(x if x > 0 else 0) + -(x if x > 1 else 0)\ny = sqrt(z) + x", 1.0),
    ],
)
def test_a_branch_that_is_not_taken_stays_zero_in_forward_mode(text: str, wanted: float) -> None:
    """A zero that a choice leaves wins over an infinite local derivative, as in the compiled gradient."""
    model = gl.loads(text)
    assert model.value_and_grad("y")()[1]["x"] == wanted
    assert tangents(trace(model, "y", {}), "x")[model.program.values["y"]] == wanted


def test_the_terms_of_forward_mode_are_those_of_the_chain_rule() -> None:
    model = gl.loads("x = 3\nc = 7\ny = x*x + 5*x + c")
    found = flow(trace(model, "y", {}), "x")
    y = model.program.values["y"]
    assert found.tangents[y] == 11 and list(found.parts[y]) == [0], "c does not depend on x"
    first, second = (i for i in found.parts if model.program.nodes[i].op == "mul")
    assert found.parts[first] == {0: 3, 1: 3} and found.parts[second] == {1: 5}
    for i, terms in found.parts.items():
        assert sum(terms.values()) == found.tangents[i]


# ------------------------------------------------------------------ folding and layout
def test_calls_are_folded_and_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    model, values = opened(FOLDER / "10_two_layer_net.grad")
    told = story(trace(model, "loss", values))

    def groups(style: Style) -> list[str]:
        return [s.text for s in picture(told, style).shapes if s.kind == "group"]

    assert groups(Style()) == ["affine", "affine", "cross_entropy"]
    assert groups(Style(open=("affine",))) == ["cross_entropy"]
    assert "cross_entropy" not in groups(Style(open=("all",)))


def test_a_call_with_its_own_result_in_an_argument_is_not_folded_into_a_cycle() -> None:
    scopes = {0: ("f",), 1: (), 2: ("f",)}
    assert fold([0, 1, 2], [(0, 1), (1, 2)], scopes, ()) == [(0,), (1,), (2,)]


def test_large_graphs_stay_readable() -> None:
    model = gl.loads(random_program(random.Random(4), 2000))
    made: Picture = picture(story(trace(model, "out", {})), Style())
    assert len(made.shapes) <= 2 * MOST
    assert sum(len(s.members) for s in made.shapes) > 2000
    check_geometry(draw(made))


def test_a_tree_has_no_crossing() -> None:
    box = Box(40.0, 40.0)
    placed = place([box] * 7, [(0, 4), (1, 4), (2, 5), (3, 5), (4, 6), (5, 6)], [(0.0, 0.0)] * 6, 40.0)
    assert placed.y[0] < placed.y[1] < placed.y[2] < placed.y[3]
    assert placed.y[4] == pytest.approx((placed.y[0] + placed.y[1]) / 2, abs=RADIUS)


@given(st.lists(st.integers(0, 20), max_size=40))
def test_inversions(values: list[int]) -> None:
    assert inversions(values, 21) == sum(a > b for a, b in combinations(values, 2))


# ------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["-o", "p.gif"], "a picture cannot be written as 'gif'"),
        (["-o", "p"], "does not say what format it has"),
        (["--blank", "-o", "p.dot"], "a worksheet is a drawing"),
        (["--stage", "expnd"], "did you mean `expand`?"),
        (["--mode", "forward"], "forward mode goes from one input"),
        (["--of", "prise"], "did you mean `price`?"),
        (["--open", "affine"], "no function named `affine` is called on the way to `price`"),
        (["-o", "no/such/folder/p.svg"], "cannot write"),
    ],
)
def test_errors(words: list[str], wanted: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    assert main(["graph", "02_shopping.grad", *words]) == 1
    assert wanted in capsys.readouterr().err


def test_several_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", str(FOLDER / "06_sigmoid.grad")]) == 1
    assert "name one: `--of by_nodes`" in capsys.readouterr().err
