"""The explorer, `gradlang graph -o page.html`: what the page knows, and what its JavaScript computes (with Node.js)."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_examples import FOLDER, NAMES, PATHS
from test_explain import opened, scalars
from test_graph_pictures import random_program

import gradlang as gl
from gradlang.cli.graphing import ROOM
from gradlang.cli.main import main
from gradlang.view.explorer.code import is_live
from gradlang.view.explorer.data import PageData, Shared
from gradlang.view.explorer.order import order
from gradlang.view.explorer.page import SCRIPTS, Scene, asset, explorer
from gradlang.view.flow import flow, sources
from gradlang.view.formula import atomic
from gradlang.view.picture import Style, picture
from gradlang.view.show import summary
from gradlang.view.story import Story, story
from gradlang.view.trace import trace
from gradlang.view.words import LANGUAGES, Words, catalog

NODE = shutil.which("node")
node = pytest.mark.skipif(NODE is None, reason="no Node.js")
HOSTILE = """# </script><script>alert(1)</script> <img src=x onerror=alert(2)> @@DATA@@ &amp;
input x_1 in [-inf, 1] = 0.5 "</script><b>a label</b> & \\u003c"
α = 2 "<img src=x onerror=alert(3)>"
y = sigmoid(x_1 * α) + x_1**2 * x_1 + tanh(x_1/α)
z = maximum(y, 0.1) * (y if y > 0 else x_1)
"""


def told_of(model: gl.Model, of: str, values: dict[str, Any]) -> Story:
    return story(trace(model, of, values), 6)


def page_of(told: Story, language: str = "en", start: str = "") -> str:
    return explorer([Scene(told, picture(told, Style()))], language, start=start)


def pieces(page: str) -> tuple[dict[str, Any], str]:
    """The data of a page with those of its first graph, and the functions that compute its numbers."""
    data = re.search(r'<script type="application/json" data-part="data">(.*?)</script>', page, re.S)
    script = page.rpartition('"use strict";')[2]
    assert data is not None
    made = json.loads(data[1])
    return made | made["graphs"][0], script[: script.index(asset("numbers.js"))]


def in_node(text: str) -> Any:
    done = subprocess.run([str(NODE), "-"], input=text, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def coded(found: Any) -> Any:
    return float(found) if isinstance(found, str) else found


CODED = "(k, v) => (typeof v === 'number' && (!Number.isFinite(v) || Object.is(v, -0)) ? String(Object.is(v, -0) ? '-0' : v).replace('Infinity', 'inf') : v)"


def recomputed(page: str, *inputs: dict[str, float]) -> list[dict[str, list[Any]]]:
    """What the page computes for each of some inputs by name."""
    data, functions = pieces(page)
    at = {n["name"]: i for i, n in enumerate(data["nodes"]) if n.get("kind") == "input"}
    calls = json.dumps([{str(at[name]): x for name, x in given.items() if name in at} for given in inputs])
    run = f"const page = {json.dumps(data)};\nconsole.log(JSON.stringify({calls}.map((x) => computed(page, x, FORWARD, BACK)), {CODED}));"
    return [{k: [coded(x) for x in v] for k, v in r.items()} for r in in_node(functions + asset("numbers.js") + run)]


def compare(made: dict[str, list[Any]], told: Story, exact: bool = False) -> None:
    """The numbers of a page against those of a trace."""
    t = told.trace
    every = order(told).numbered
    scale = max((abs(float(x)) for x in made["values"] if math.isfinite(x)), default=0.0)  # what cancels leaves its rounding

    def same(a: Any, b: Any) -> None:
        if exact:
            assert a == b or (a != a and b != b), (a, b)
        else:
            np.testing.assert_allclose(float(a), float(b), rtol=1e-10, atol=1e-13 * scale, equal_nan=True)

    for i, value, slope in zip(t.order, made["values"], made["slopes"], strict=True):
        same(value, t.values[i])
        assert (slope is None) == (i not in t.adjoints)
        if slope is not None:
            same(slope, t.adjoints[i])
    for b, part, local in zip(every, made["parts"], made["locals"], strict=True):
        same(part, b.value)
        if b.local is not None:
            same(local, b.local)


# ------------------------------------------------------------------ the numbers
@node
@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_numbers_of_examples(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JavaScript gives the numbers of Python, at the inputs of the example and at others."""
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model):
        told = told_of(model, of, values)
        data, functions = pieces(page := page_of(told))
        assert data["live"] is is_live(told.trace)
        if not data["live"]:
            assert "=>" not in functions
            continue
        defaults = {e.name: float(e.value) for e in told.entries}
        others = [{n: x * f + 0.01 for n, x in defaults.items()} for f in (0.8, 1.3)]
        first, *rest = recomputed(page, {}, *others)
        compare(first, told)
        for given, made in zip(others, rest, strict=True):
            compare(made, told_of(model, of, values | given))


@node
def test_bits_of_plain_arithmetic() -> None:
    text = "a = 0.1\nb = 3.7\nc = a*b - b/a\nd = c*c + sqrt(b) - c/7\ny = d*c + a"
    model = gl.loads(text)
    told = told_of(model, "y", {})
    first, second = recomputed(page_of(told), {}, {"a": -1e-3, "b": 2.2})
    compare(first, told, exact=True)
    compare(second, told_of(model, "y", {"a": -1e-3, "b": 2.2}), exact=True)


@node
@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_random_programs(seed: int) -> None:
    model = gl.loads(random_program(random.Random(seed), 60))
    told = told_of(model, "out", {})
    compare(recomputed(page_of(told), {})[0], told)


@node
def test_kinks_and_what_is_not_finite() -> None:
    model = gl.loads("x = 0\ny = (log(x) if x > 0 else 3*x) + relu(x) + abs(x) + 1/x")
    told = told_of(model, "y", {})
    first, second = recomputed(page_of(told), {}, {"x": 2.0})
    compare(first, told)
    compare(second, told_of(model, "y", {"x": 2.0}))


@node
def test_a_derivative_that_flows_in() -> None:
    model = gl.loads("x = 2\ny = x*x")
    told = story(trace(model, "y", {}, upstream=1.5), 6)
    assert recomputed(page_of(told), {"x": 3.0})[0]["slopes"][0] == 9.0


def test_every_op_is_printed_once() -> None:
    lines = ["x0 = 1.5", *(f"x{k + 1} = sin(x{k}) * x{k}" for k in range(150))]
    page = page_of(told_of(gl.loads("\n".join(lines)), "x150", {}))
    assert pieces(page)[1].count("=>") == 7, "two forward, two back, and three arguments in forward mode"


# ------------------------------------------------------------------ forward mode
def moved(page: str, told: Story, inputs: dict[str, float]) -> dict[str, dict[str, list[Any]]]:
    """What the page computes in forward mode from each input, with the derivatives of reverse mode as "slopes"."""
    data, functions = pieces(page)
    at = {n["name"]: i for i, n in enumerate(data["nodes"]) if n.get("kind") == "input"}
    given = json.dumps({str(at[name]): x for name, x in inputs.items() if name in at})
    run = f"""const page = {json.dumps(data)};
        const {{ values, slopes }} = computed(page, {given}, FORWARD, BACK);
        const made = page.sources.map((i) => [page.nodes[i].name, {{ ...moved(page, values, i, MOVE), slopes }}]);
        console.log(JSON.stringify(Object.fromEntries(made), {CODED}));"""
    return dict(in_node(functions + asset("numbers.js") + run))


def compare_flows(page: str, told: Story, inputs: dict[str, float]) -> int:
    """The tangents of a page and their terms against those of Python, and at the result against reverse mode."""
    t = told.trace
    scale = max((abs(float(v)) for v in t.values.values() if math.isfinite(v)), default=0.0)
    compared = 0

    def same(a: Any, b: Any) -> None:
        np.testing.assert_allclose(float(coded(a)), float(b), rtol=1e-9, atol=1e-12 * scale, equal_nan=True)

    for name, made in moved(page, told, inputs).items():
        found = flow(t, name)
        for i, tangent, terms in zip(t.order, made["tangents"], made["terms"], strict=True):
            assert (tangent is None) == (i not in found.tangents), (name, told.names[i])
            if tangent is not None:
                same(tangent, found.tangents[i])
            for term, wanted in zip([x for x in terms or () if x is not None], found.parts.get(i, {}).values(), strict=True):
                same(term, wanted)
        here, top = t.order.index(t.leaves[name]), t.order.index(t.top)
        same(made["tangents"][top] or 0.0, coded(made["slopes"][here]) or 0.0)
        compared += 1
    return compared


@node
@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_forward_mode_of_examples(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From every scalar input the derivative that arrives at the result is that of reverse mode, at any inputs."""
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model):
        told = told_of(model, of, values)
        page = page_of(told)
        data, _ = pieces(page)
        assert [data["nodes"][i]["name"] for i in data["sources"]] == sources(told.trace)[:8]
        if data["live"]:
            assert data["flows"] == []
            others = {e.name: float(e.value) * 1.1 + 0.02 for e in told.entries}
            assert compare_flows(page, told, {}) == compare_flows(page, told_of(model, of, values | others), others)
        for i, recorded in zip(data["sources"], data["flows"], strict=False):
            arrived, slope = recorded["tangents"].get(str(data["top"]), 0), data["nodes"][i].get("slope", 0)
            assert isinstance(arrived, str) or arrived == pytest.approx(slope, rel=1e-9), data["nodes"][i]["name"]
            assert len(recorded["below"]) == len(data["shapes"])
            for at, terms in recorded["terms"].items():
                if not isinstance(recorded["tangents"][at], str) and None not in terms and "" not in terms:
                    assert sum(x for x in terms if not isinstance(x, str)) == pytest.approx(recorded["tangents"][at], abs=1e-6)


@node
@pytest.mark.parametrize(
    "text",
    [
        "x = -1\ny = sqrt(x if x > 0 else 0) + 2*x",
        "x = 0\ny = (log(x) if x > 0 else 3*x) + relu(x) + abs(x)",
        "x = -2\nz = 2*(x if x > 0 else 0) + -(x if x > 1 else 0)\ny = sqrt(z)/z + sqrt(z) + x",
        "x = 0\nw = x*x\ny = sqrt(w)",
        "a = 2\nb = 3\nc = a if b > 1 else b\ny = c**2 * floor(a) + maximum(a, b) + a**b",
    ],
)
def test_exact_zeros_of_forward_mode(text: str) -> None:
    """Branches not taken, kinks, and undefined local derivatives: the JavaScript goes with Python, nan where it is nan."""
    told = told_of(gl.loads(text), "y", {})
    assert compare_flows(page_of(told), told, {}) == len(told.entries)


@node
@pytest.mark.parametrize("seed", range(4))
def test_forward_mode_of_random_programs(seed: int) -> None:
    told = told_of(gl.loads(random_program(random.Random(seed), 60)), "out", {})
    assert compare_flows(page_of(told), told, {}) > 0


def test_functions_of_forward_mode_are_shared() -> None:
    """Functions for derivatives with exact zeros are made only behind choices."""
    assert "=== 0" not in pieces(page_of(told_of(gl.load(FOLDER / "02_shopping.grad"), "price", {})))[1]
    choice = pieces(page_of(told_of(gl.loads("x = 2\ny = sqrt(x if x > 0 else 0)"), "y", {})))[1]
    assert choice.count("t === 0 ? 0 :") == 1


# ------------------------------------------------------------------ several results
def test_a_page_offers_the_other_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "two.grad", tmp_path / "x.html"
    file.write_text("x = 3\ny = x*x + 5*x\nz = y*sin(x)\noutput y, z\n", encoding="utf-8")

    def graphs(*words: str) -> list[str]:
        assert main(["graph", str(file), *words, "-o", str(page)]) == 0
        return [g["of"] for g in pieces(page.read_text(encoding="utf-8"))[0]["graphs"]]

    assert graphs() == ["y", "z"] and graphs("--of", "z") == ["z", "y"] and graphs("--of", "z,y") == ["z", "y"]
    assert graphs("--upstream", "z=2") == ["z"]
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg xmlns") == 1, "the drawings of the others are data until they are asked for"
    assert len(text.encode()) < 100_000
    file.write_text("x = 3\ny = x*x\n", encoding="utf-8")
    assert graphs() == ["y"]
    file.write_text("x = 3\nb = x > 2\ny = x*x if b else x\noutput b\n", encoding="utf-8")
    assert graphs("--of", "y") == ["y"], "an output without a derivative is not offered"
    assert main(["graph", str(file), "-o", str(page)]) == 1 and "G510" in capsys.readouterr().err


def test_large_results_are_left_to_pages_of_their_own(tmp_path: Path) -> None:
    lines = ["x0 = 0.5", *(f"x{k + 1} = sin(x{k}) + x{k}" for k in range(ROOM // 2))]
    file, page = tmp_path / "large.grad", tmp_path / "x.html"
    file.write_text("\n".join([*lines, "small = x0*x0", f"output x{ROOM // 2}, small, x2\n"]), encoding="utf-8")
    assert main(["graph", str(file), "--of", "x2", "-o", str(page)]) == 0
    data, _ = pieces(page.read_text(encoding="utf-8"))
    assert [g["of"] for g in data["graphs"]] == ["x2", "small"] and data["left"] == [f"x{ROOM // 2}"]
    assert main(["graph", str(file), "--of", f"x2,x{ROOM // 2}", "-o", str(page)]) == 0
    data, _ = pieces(page.read_text(encoding="utf-8"))
    assert [g["of"] for g in data["graphs"]] == ["x2", f"x{ROOM // 2}"] and data["left"] == []


def test_functions_to_open_need_not_be_called_in_every_result(tmp_path: Path) -> None:
    file, page = tmp_path / "f.grad", tmp_path / "x.html"
    file.write_text("def f(a) = a*a + 1\nx = 3\ny = f(x)\nz = x*x\noutput y, z\n", encoding="utf-8")
    assert main(["graph", str(file), "--open", "f", "-o", str(page)]) == 0
    data, _ = pieces(page.read_text(encoding="utf-8"))
    assert [g["of"] for g in data["graphs"]] == ["y", "z"]
    assert all(len(s["members"]) == 1 for s in data["shapes"]), "f is open"


# ------------------------------------------------------------------ numbers and formulas as texts
@node
def test_numbers_are_written_as_python_writes_them() -> None:
    rng = random.Random(1)
    numbers = [0.0, -0.0, 1.0, 715.0000000000001, 1e-5, 123456.4, 999999.6, 1234567.0, 0.0001, 1e22, -2.5e-7, 5e-324, 1e308]
    numbers += [rng.uniform(-1, 1) * 10.0 ** rng.randrange(-12, 12) for _ in range(300)]
    run = f"console.log(JSON.stringify({json.dumps(numbers)}.map((x) => [shown(x, 6), shown(x, 3), fitted(x, 6, 8)])));"
    for x, (six, three, short) in zip(numbers, in_node(asset("numbers.js") + run), strict=True):
        assert (six, three) == (f"{x:.6g}", f"{x:.3g}")
        assert len(short) <= 8 or short == f"{x:.1g}"
        assert float(short) == pytest.approx(x, rel=0.5)


@node
def test_answers() -> None:
    texts = ["1/3", "0,5", "−2", "1e-3", " 7 ", "", "a", "1/2/3", "0x10", "inf", "-1/4"]
    run = f"console.log(JSON.stringify({json.dumps(texts)}.map(parsed), {CODED}));"
    found = [coded(x) for x in in_node(asset("numbers.js") + run)]
    np.testing.assert_array_equal(found, [1 / 3, 0.5, -2, 1e-3, 7, np.nan, np.nan, np.nan, np.nan, np.inf, -0.25])
    cases = "[[715.5, 715], [714, 715], [0, 0], [1e-9, 0], [NaN, NaN], [1, true], [0, true]]"
    run = f"console.log(JSON.stringify({cases}.map(([a, b]) => agrees(a, b, 1e-3))));"
    assert in_node(asset("numbers.js") + run) == [True, False, True, False, False, True, False]


@node
def test_spans_of_sliders() -> None:
    cases = [(100, None), (1.1, None), (-3, None), (0, None), (5, [1, 9]), (2, [0, ["inf"]]), (1e-30, None), (1e308, None)]
    run = f"console.log(JSON.stringify({json.dumps(cases)}.map(([v, r]) => span(v, r ?? undefined))));"
    for (value, _), (low, high, step) in zip(cases, in_node(asset("numbers.js") + run), strict=True):
        assert (low <= value <= high or value == 1e308) and 0 < step <= (high - low) / 99
    assert in_node(asset("numbers.js") + run)[:2] == [[0, 200, 1], [0, 2.2, 0.01]]


def filled(text: str, pieces: dict[str, tuple[str, int]]) -> str:
    """What `filled` of numbers.js does."""

    def piece(m: re.Match[str]) -> str:
        made, kind = pieces[m[2]]
        return m[1] + (f"({made})" if kind > (0 if m[1] else 2 - len(m[3])) else made)

    return re.sub("(-?)\ue000(\\w+)(!*)\ue001", piece, text)


def kind(text: str) -> int:
    return 0 if atomic(text) or "e+" in text else 1 if text.startswith("-") else 2


def alike(made: str, wanted: str) -> bool:
    """Where a part gets a line of its own depends on how long the names are."""
    return made == wanted or "--" in wanted or ", t1 = " in wanted + made


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_formulas_are_those_of_the_story(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names and the numbers of the run in its holes, a formula is that of `gradlang explain`."""
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model):
        told = told_of(model, of, values)
        shared = Shared(Words(), 6)
        data = PageData(told, picture(told, Style()), order(told), None, shared).as_json()
        texts, nodes = list(shared.texts), data["nodes"]
        at = {i: k for k, i in enumerate(told.trace.order)}
        for s in told.steps:
            known = nodes[at[s.node]]
            if "mathml" not in known:
                assert texts[known["formula"]] == s.formula
                continue
            ends = [*known["args"], at[s.node]]
            labels = [*map(str, range(len(ends) - 1)), "r"]
            names = {k: (nodes[a]["name"], kind(nodes[a]["name"])) for k, a in zip(labels, ends, strict=True)}
            written = [summary(told.trace.values[told.trace.order[a]], 6).removesuffix(".0") for a in ends]
            numbers = {k: (w, kind(w)) for k, w in zip(labels, written, strict=True)}
            assert alike(filled(texts[known["formula"]], names), s.formula)
            if s.numbers and "--" not in s.numbers and "e+" not in s.numbers:
                assert filled(texts[known["formula"]], numbers) == s.numbers
            for g, b in zip(s.gives, known.get("gives", []), strict=False):
                branch = data["branches"][b]
                if "mathml" in branch:
                    made = filled(texts[branch["formula"]], names)
                    assert alike(made, g.local or g.part)
                if "computed" in branch:
                    assert g.computed


# ------------------------------------------------------------------ the order of the steps
@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_nothing_is_shown_before_it_is_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    for of in scalars(model):
        told = told_of(model, of, values)
        t, steps = told.trace, order(told)
        last = len(steps.forward) + bool(t.adjoints) + len(steps.backward)
        place = {id(b): k for k, b in enumerate(steps.numbered)}
        for i in t.order:
            assert all(steps.values[a] <= steps.values[i] for a in t.nodes[i].args)
            if i in t.adjoints:
                assert len(steps.forward) < steps.slopes[i] <= last
                for b in t.got.get(i, ()):
                    assert steps.branches[place[id(b)]] <= steps.slopes[i]
                for b in t.given.get(i, ()):
                    assert steps.slopes[i] <= steps.branches[place[id(b)]]
        assert set(steps.slopes) >= {i for i in t.adjoints if t.nodes[i].type.dtype == "real"}


def test_steps_of_the_book() -> None:
    model = gl.load(FOLDER / "02_shopping.grad")
    told = told_of(model, "price", {})
    steps = order(told)
    names = told.names
    assert [names[i] for i in steps.forward] == ["apples", "oranges", "goods", "price"]
    assert [(names[b.user], names[b.source]) for b in steps.backward][:3] == [
        ("price", "goods"),
        ("price", "tax"),
        ("goods", "apples"),
    ]
    assert steps.values[told.trace.leaves["apple"]] == 0 and steps.slopes[told.trace.top] == 5


def test_a_sum_is_known_with_its_last_branch() -> None:
    told = told_of(gl.loads("x = 3\ny = x*x + 5*x"), "y", {})
    steps = order(told)
    x = told.trace.leaves["x"]
    known = sorted(steps.branches[k] for k, b in enumerate(steps.numbered) if b.source == x)
    assert len(known) == 3 and known[0] < known[-1] == steps.slopes[x]


# ------------------------------------------------------------------ the file
class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_texts(language: str) -> None:
    page = page_of(told_of(gl.loads(HOSTILE), "z", {}), language)
    tags = Tags()
    tags.feed(page)
    assert [t for t, _ in tags.found].count("script") == 2 and "img" not in dict(tags.found) and "b" not in dict(tags.found)
    data, functions = pieces(page)
    assert data["files"][0]["text"].startswith("# </script>") and "<img" not in functions
    assert any(n.get("label") == "<img src=x onerror=alert(3)>" for n in data["nodes"])
    assert "@@" not in page.replace("@@DATA@@", "", 1)


def test_nothing_is_fetched() -> None:
    page = page_of(told_of(gl.load(FOLDER / "02_shopping.grad"), "price", {}))
    tags = Tags()
    tags.feed(page)
    policy = next(a["content"] for t, a in tags.found if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy and "http" not in policy
    for _, attributes in tags.found:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert len(page.encode()) < 100_000


def test_the_picture_carries_its_numbers() -> None:
    """Without a script the page shows the numbers of the run."""
    page = page_of(told_of(gl.load(FOLDER / "02_shopping.grad"), "price", {}))
    assert re.search(r'<text class="value"[^>]*data-value="8"[^>]*>715</text>', page)
    assert len(re.findall(r"<g class=\"node [a-z]+\"[^>]*tabindex=\"0\" role=\"button\"", page)) == 9


def test_the_same_text_every_time() -> None:
    texts = {page_of(told_of(gl.load(FOLDER / "21_black_scholes.grad"), "call", {})) for _ in range(2)}
    assert len(texts) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_words_of_the_page(language: str) -> None:
    """Every word that the page asks for is in the catalogue, and none is left over."""
    code = "".join(map(asset, SCRIPTS))
    used = set(re.findall(r"\bwords\.(\w+)", code)) | set(re.findall(r"@@word (\w+)@@", asset("page.html")))
    used |= {"graph", "file", "input", "constant"}  # in Python, and by the kind of a node
    assert used == set(catalog(language)["page"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(FOLDER / "02_shopping.grad")
    assert main(["graph", file, "apple=120", "--lang", "ko", "-o", str(tmp_path / "x.html")]) == 0
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    data, _ = pieces(page)
    assert '<html lang="ko">' in page and data["nodes"][0]["value"] == 120.0 and data["start"] == ""
    assert data["files"][0]["name"] == "02_shopping.grad"
    for words, said in (
        (["--mode", "values"], "--mode"),
        (["--stage", "differentiate"], "--stage"),
        (["--blank"], "worksheet"),
        (["--mode", "forward"], "name it with `--wrt`"),
        (["--mode", "forward", "--wrt", "goods"], "forward mode goes from one scalar input"),
    ):
        assert main(["graph", file, *words, "-o", str(tmp_path / "y.html")]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "y.html").exists()


def test_the_command_in_forward_mode(tmp_path: Path) -> None:
    """The picture of the file, which is there without JavaScript too, has the derivatives by the input."""
    file, page = str(FOLDER / "02_shopping.grad"), tmp_path / "x.html"
    assert main(["graph", file, "--mode", "forward", "--wrt", "apple", "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    data, _ = pieces(text)
    assert data["start"] == "apple" and len(data["backward"]) == 8, "reverse mode is there with all inputs"
    shown = re.findall(r'<text class="slope"[^>]*>([^<]*)</text>', text)
    assert sorted(shown) == ["0"] * 5 + ["1", "2", "2", "2.2"]
