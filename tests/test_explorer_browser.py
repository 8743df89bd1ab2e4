"""The explorer in a browser, from a file, without a network. Needs playwright and Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_examples import FOLDER, NAMES, PATHS
from test_explain import opened, scalars
from test_explorer import HOSTILE, page_of, told_of

import gradlang as gl
from gradlang.view.explorer.page import Scene, explorer
from gradlang.view.flow import sources
from gradlang.view.picture import Style, picture

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright (pip install gradlang[web])")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium", allow_module_level=True)
SHOPPING = (FOLDER / "02_shopping.grad").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        made = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield made
        made.close()


class Opened:
    """A page in a browser; what it asks the network for and what it complains about must be nothing."""

    def __init__(self, browser: Any, file: Path, text: str, **options: Any) -> None:
        file.write_text(text, encoding="utf-8")
        self.address = file.as_uri()
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda m: self.faults.append(m.text))
        self.page.on("pageerror", lambda e: self.faults.append(str(e)))
        self.page.on("dialog", lambda d: self.faults.append(d.message))
        self.page.on("request", lambda r: self.faults.append(r.url) if not r.url.startswith((self.address, "data:")) else None)
        self.page.goto(self.address)

    def part(self, name: str) -> Any:
        return self.page.locator(f"[data-part={name}]")

    def text(self, name: str) -> str:
        return str(self.part(name).text_content())

    def drawn(self, kind: str) -> list[str]:
        return [t for t in self.page.locator(f"svg [data-{kind}]").all_text_contents() if t]

    def row(self, name: str) -> list[str]:
        line = self.page.locator("[data-part=rows] tr", has=self.page.get_by_role("button", name=name, exact=True))
        return list(line.locator("td").all_text_contents())

    def js(self, text: str) -> Any:
        return self.page.evaluate(text)

    def until(self, condition: str) -> None:
        """The page forbids itself `eval`, which playwright's own function waits with."""
        for _ in range(100):
            if self.js(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(condition)


@pytest.fixture
def explore(browser: Any, tmp_path: Path) -> Iterator[Any]:
    made: list[Opened] = []

    def start(text: str = SHOPPING, of: str = "price", language: str = "en", **options: Any) -> Opened:
        made.append(Opened(browser, tmp_path / "page.html", page_of(told_of(gl.loads(text), of, {}), language), **options))
        return made[-1]

    yield start
    for p in made:
        p.page.wait_for_timeout(250)
        p.context.close()
        assert p.faults == []


def test_playback(explore: Any) -> None:
    p = explore()
    assert p.text("heading") == "price = 715" and p.text("place") == "13 / 13"
    assert {"200", "450", "650", "715"} <= set(p.drawn("value"))
    assert p.row("apple") == ["price of one apple", "100", "2.2"]
    p.part("first").click()
    assert p.text("says") == "The inputs are known; nothing is computed yet." and p.text("heading") == "price"
    assert p.drawn("value") == ["100", "2", "150", "3", "1.1"] and p.drawn("slope") == []
    assert p.row("apples")[1:] == ["–not computed yet"] * 2 and p.part("back").is_disabled()
    p.part("forward").click()
    assert p.text("says") == "Forward: apples = apple * n = 100 * 2 = 200."
    p.part("scrub").fill("5")
    assert p.text("says") == "Backward starts at the result: ∂price/∂price = 1." and p.drawn("slope") == ["1"]
    p.part("forward").click()
    assert p.text("says").endswith("price → goods: 1 × tax = 1 × 1.1 = 1.1.")
    p.part("last").click()
    assert p.text("place") == "13 / 13" and p.part("forward").is_disabled()


def test_branches_of_a_sum(explore: Any) -> None:
    p = explore("x = 3\ny = x*x + 5*x", "y")
    p.page.keyboard.press("End")
    assert p.text("says").endswith("x is used 3 times, so its branches add up: 5 + 3 + 3 = 11.")
    assert sorted(p.drawn("branch")) == ["5", "6"]
    p.part("back").click()
    assert "11" not in p.drawn("slope") and p.drawn("branch") == ["5"]


def test_keys(explore: Any) -> None:
    p = explore()
    p.page.clock.install()
    for key, place in ("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 13), ("Home", 0):
        p.page.keyboard.press(key)
        assert p.text("place") == f"{place} / 13"
    p.page.keyboard.press("Space")
    assert p.part("play").get_attribute("aria-label") == "Pause"
    p.page.clock.run_for(3100)
    assert p.text("place") == "2 / 13"
    p.page.keyboard.press("Space")
    p.page.clock.run_for(5000)
    assert p.text("place") == "2 / 13" and p.part("play").get_attribute("aria-label") == "Play"
    p.page.locator("[data-shape]").first.focus()
    p.page.keyboard.press("Enter")
    assert p.part("node").locator("h3").text_content().startswith("apple")
    p.page.keyboard.press("Tab")
    assert p.js("document.activeElement.dataset.shape") == "1"
    p.page.get_by_role("textbox", name="tax").press("ArrowLeft")
    assert p.text("place") == "2 / 13", "a key in a box is for the box"


def test_inputs(explore: Any) -> None:
    p = explore()
    p.page.get_by_role("textbox", name="apple", exact=True).fill("120")
    p.page.keyboard.press("Enter")
    sync_api.expect(p.part("heading")).to_have_text("price = 759")
    assert p.row("n")[1:] == ["2", "132"] and "240" in p.drawn("value")
    p.page.get_by_role("slider", name="tax").fill("2")
    sync_api.expect(p.part("heading")).to_have_text("price = 1380")
    p.until("location.hash === '#in.apple=120&in.tax=2'")
    box = p.page.get_by_role("textbox", name="m", exact=True)
    box.fill("many")
    box.press("Enter")
    assert box.get_attribute("aria-invalid") == "true" and p.text("heading") == "price = 1380"
    p.part("reset").click()
    sync_api.expect(p.part("heading")).to_have_text("price = 715")


def test_a_declared_range(explore: Any) -> None:
    p = explore("input tax in [1, 2] = 1.1\nprice = 650*tax")
    slider = p.page.get_by_role("slider", name="tax")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("1", "2")
    p.page.get_by_role("textbox", name="tax").fill("3")
    p.page.keyboard.press("Enter")
    assert p.page.get_by_text("outside the range that the program declares").is_visible()


def test_the_address_keeps_the_state(explore: Any) -> None:
    p = explore()
    p.page.goto(p.address + "#step=7&node=7&in.apple=120")
    p.page.reload()
    assert p.text("place") == "7 / 13" and p.text("heading") == "price = 759"
    assert p.part("node").locator("h3 math").text_content() == "goods"
    p.page.goto(p.address + "#step=-3&node=999&in.apple=x&quiz=2")
    p.page.reload()
    assert p.text("place") == "13 / 13" and p.text("heading") == "price = 715"


def test_a_node(explore: Any) -> None:
    p = explore()
    p.page.locator("[data-shape='8']").click()
    panel = p.part("node")
    assert p.page.locator("[data-shape='8']").get_attribute("aria-pressed") == "true"
    rows = [r.locator("td").all_text_contents() for r in panel.locator("tbody tr").all()]
    assert rows == [["goods", "tax = 1.1", "1 × 1.1 = 1.1"], ["tax", "goods = 650", "1 × 650 = 650"]]
    assert panel.locator("math").count() >= 3
    assert p.page.locator(".source .here").text_content() == "price   = goods * tax"
    panel.get_by_role("button", name="line 13").click()
    assert p.js("document.activeElement.className") == "source"
    p.page.locator(".source li", has_text="goods   = apples").click()
    assert panel.locator("h3 math").text_content() == "goods"


def test_a_sum_in_the_panel(explore: Any) -> None:
    p = explore("x = 3\ny = x*x + 5*x", "y")
    p.page.locator("[data-shape='0']").click()
    rows = [r.locator("th, td").all_text_contents() for r in p.part("node").locator("tbody tr").all()]
    assert rows[-1] == ["sum over branches", "11"] and len(rows) == 4


def test_quiz(explore: Any) -> None:
    p = explore()
    p.part("quiz").click()
    assert p.text("heading") == "price" and "715" not in p.part("rows").text_content()
    assert p.drawn("slope") == ["?"] * 9 and p.row("apple")[1] == "100"
    box = p.page.get_by_role("textbox", name="value of goods")
    box.fill("650,3")
    assert "650,3" in p.drawn("value")
    p.page.get_by_role("textbox", name="derivative of price by apple", exact=True).fill("11/5")
    wrong = p.page.get_by_role("textbox", name="derivative of price by tax")
    wrong.fill("700")
    p.part("check").click()
    assert p.text("score") == "2 of 13 right" and wrong.get_attribute("aria-invalid") == "true"
    p.part("answers").click()
    p.part("check").click()
    assert p.text("score") == "13 of 13 right"
    p.page.locator("[data-shape='7']").click()
    assert p.js("document.activeElement.getAttribute('aria-label')") == "value of goods"
    p.part("quiz").click()
    assert p.row("goods")[1:] == ["650", "1.1"] and p.part("player").is_visible()


def test_korean(explore: Any) -> None:
    p = explore(language="ko")
    assert p.part("play").get_attribute("aria-label") == "재생" and p.js("document.documentElement.lang") == "ko"
    p.part("first").click()
    assert p.text("says") == "입력만 알고 있습니다. 아직 아무것도 계산하지 않았습니다."


def test_arrays(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    model, values = opened(FOLDER / "10_two_layer_net.grad")
    p = Opened(browser, tmp_path / "net.html", page_of(told_of(model, "loss", values)))
    assert "do not change here" in p.text("hint") and p.page.get_by_role("slider").count() == 1
    last = int(p.text("place").split(" / ")[1])
    p.part("first").click()
    for _ in range(last):
        p.page.keyboard.press("ArrowRight")
        assert p.text("says")
    for shape in p.page.locator("[data-shape]").all():
        shape.click()
        assert p.part("node").locator("h3").count() == 1
    p.context.close()
    assert p.faults == []


def test_hostile_texts_stay_texts(explore: Any) -> None:
    p = explore(HOSTILE, "z")
    for shape in p.page.locator("[data-shape]").all():
        shape.click()
    assert p.page.locator("img, b").count() == 0
    assert "</script><script>alert(1)" in p.part("source").text_content()
    p.part("first").click()
    for _ in range(40):
        p.page.keyboard.press("ArrowRight")


def test_a_thousand_nodes(explore: Any) -> None:
    """Long tables follow when a slider rests."""
    text = "\n".join(["x0 = 1.5", *(f"x{k + 1} = sin(x{k}) + x{k}/{k + 2}" for k in range(350))])
    p = explore(text, "x350")
    before = p.row("x9")[1]
    p.page.get_by_role("slider", name="x0").fill("2")
    p.until(f"[...document.querySelectorAll('td.number')].every(t => t.textContent !== {before!r})")
    assert p.row("x0")[1] == "2"


# ------------------------------------------------------------------ modes and results
def choose_mode(p: Opened, label: str) -> None:
    p.part("mode").select_option(label=label)


def test_forward_mode(explore: Any) -> None:
    p = explore()
    choose_mode(p, "forward: from apple")
    assert p.text("heading") == "price = 715, ∂price/∂apple = 2.2" and p.text("place") == "4 / 4"
    assert [p.row(name)[2] for name in ("apple", "n", "apples", "oranges", "price")] == ["1", "0", "2", "0", "2.2"]
    assert "by apple" in p.text("legend") and p.text("ratio") == "∂…/∂apple" and p.drawn("branch") == []
    p.part("first").click()
    assert p.drawn("slope") == ["1", "0", "0", "0", "0"] and "derivative of apple by itself is 1" in p.text("says")
    p.part("forward").click()
    assert p.text("says") == (
        "Forward: apples = apple * n = 100 * 2 = 200. Its derivative: ∂apples/∂apple = n × ∂apple/∂apple = 2 × 1 = 2."
    )
    assert p.page.locator(".edge.now").count() == 1
    p.part("forward").click()
    assert p.text("says").endswith("No derivative by apple comes to oranges: it is 0.")
    p.part("last").click()
    p.page.get_by_role("slider", name="tax").fill("2")
    sync_api.expect(p.part("heading")).to_have_text("price = 1300, ∂price/∂apple = 4")
    p.until("location.hash === '#mode=apple&in.tax=2'")
    p.page.reload()
    assert p.text("heading") == "price = 1300, ∂price/∂apple = 4"
    choose_mode(p, "reverse: from price to every input")
    assert p.text("heading") == "price = 1300" and p.row("apple")[2] == "4" and p.text("place") == "13 / 13"


def test_the_sum_of_the_chain_rule(explore: Any) -> None:
    p = explore("x = 3\ny = x*x + 5*x", "y")
    choose_mode(p, "forward: from x")
    p.page.keyboard.press("End")
    says = "Its derivative: ∂y/∂x = 1 × ∂(x * x)/∂x + 1 × ∂(5 * x)/∂x = 1 × 6 + 1 × 5 = 6 + 5 = 11."
    assert p.text("says").endswith(says)
    rows = [r.locator("th, td").all_text_contents() for r in p.part("node").locator("tbody tr").all()]
    assert rows == [["x * x", "1", "1 × 6 = 6"], ["5 * x", "1", "1 × 5 = 5"], ["sum (chain rule)", "11"]]
    p.page.locator(".numbers").get_by_role("button", name="x * x", exact=True).click()
    rows = [r.locator("th, td").all_text_contents() for r in p.part("node").locator("tbody tr").all()]
    assert rows == [["x", "x = 3", "3 × 1 = 3"], ["x", "x = 3", "3 × 1 = 3"], ["sum (chain rule)", "6"]]


def test_what_has_no_derivative_says_so(explore: Any) -> None:
    p = explore("x = 3\nc = 2\nb = x > 2\nf = floor(x)\ny = (x*f if b else c) + c", "y")
    choose_mode(p, "forward: from x")
    for name, says in (
        ("b", "No derivative by x comes to b."),
        ("f", "No derivative by x comes to f."),
        ("c", "No derivative by x comes to c: it is 0."),
    ):
        p.page.locator(".numbers").get_by_role("button", name=name, exact=True).click()
        assert says in p.part("node").text_content()
    assert p.text("heading") == "y = 11, ∂y/∂x = 3"


def test_the_command_opens_in_forward_mode(browser: Any, tmp_path: Path) -> None:
    p = Opened(browser, tmp_path / "page.html", page_of(told_of(gl.loads(SHOPPING), "price", {}), start="n"))
    assert p.text("heading") == "price = 715, ∂price/∂n = 110"
    choose_mode(p, "reverse: from price to every input")
    p.until("location.hash === '#mode=reverse'")
    p.context.close()
    assert p.faults == []


FEW = 5


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_forward_mode_of_examples_arrives_at_the_gradient(
    path: Path, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What forward mode brings to the result is the entry of the gradient, for every example with few scalar inputs."""
    monkeypatch.chdir(FOLDER)
    model, values = opened(path)
    told = {of: told_of(model, of, values) for of in scalars(model)}
    told = {of: t for of, t in told.items() if 0 < len(sources(t.trace)) <= FEW}
    if not told:
        pytest.skip("no scalar inputs, or many")
    scenes = [Scene(t, picture(t, Style())) for t in list(told.values())[:2]]
    p = Opened(browser, tmp_path / "page.html", explorer(scenes))
    for k, scene in enumerate(scenes):
        if k:
            p.part("result").select_option(str(k))
        for name in sources(scene.story.trace):
            choose_mode(p, f"reverse: from {scene.story.trace.of} to every input")
            slope = p.row(name)[2]
            choose_mode(p, f"forward: from {name}")
            arrived = p.text("heading").rpartition(" = ")[2] if "∂" in p.text("heading") else "0"
            assert float(arrived) == pytest.approx(float(slope or 0), rel=2e-6), name
    p.context.close()
    assert p.faults == []


def test_forward_mode_of_arrays(explore: Any) -> None:
    """Recorded derivatives: of entries, of sums, and of a recurrence, in which arguments are taken together."""
    text = "a = 2\nw = [1, 2, 3]\nv = a*w\nh[0] = a\nh[t] = 0.5*h[t-1] + v[t] for t in range(1, 3)\ny = sum(v)*a + h[2]"
    p = explore(text, "y")
    assert p.page.get_by_role("slider").count() == 1, "that of the steps"
    slope = p.row("a")[2]
    choose_mode(p, "forward: from a")
    assert p.text("heading").endswith(f"∂y/∂a = {slope}") and p.row("v")[2] == "[1, 2, 3]" and p.row("w")[2] == ""
    assert "[1, 2, 3]" in p.drawn("slope")
    last = int(p.text("place").split(" / ")[1])
    p.part("first").click()
    assert p.drawn("slope") == ["1"]
    for _ in range(last):
        p.page.keyboard.press("ArrowRight")
        assert p.text("says") and "undefined" not in p.text("says")
    for shape in p.page.locator("[data-shape]").all():
        shape.click()
        assert "undefined" not in p.part("node").text_content()
    p.page.locator(".numbers").get_by_role("button", name="sum(v").first.click()
    assert "t is the derivative of the argument by a." in p.part("node").text_content()


def test_a_link_to_a_step_brings_it_into_view(explore: Any) -> None:
    text = "\n".join(["x0 = 1.5", *(f"x{k + 1} = sin(x{k})" for k in range(60))])
    p = explore(text, "x60")
    p.page.goto(p.address + "#step=60")
    p.page.reload()
    frame, node = (p.page.locator(s).bounding_box() for s in (".drawing", ".node.now"))
    assert frame["x"] <= node["x"] and node["x"] + node["width"] <= frame["x"] + frame["width"]


def test_several_results(browser: Any, tmp_path: Path) -> None:
    model = gl.loads("x = 3\nc = 2\ny = x*x + 5*x*c\nz = y*sin(x)\nw = c*c\noutput y, z, w")
    told = [told_of(model, of, {}) for of in ("y", "z", "w")]
    page = explorer([Scene(t, picture(t, Style())) for t in told], left=["huge"])
    p = Opened(browser, tmp_path / "page.html", page)
    assert p.part("result").locator("option").all_text_contents() == ["y", "z", "w", "huge (too large here: --of huge)"]
    p.page.get_by_role("textbox", name="x", exact=True).fill("2")
    p.page.keyboard.press("Enter")
    sync_api.expect(p.part("heading")).to_have_text("y = 24")
    choose_mode(p, "forward: from x")
    p.part("result").focus()
    p.part("result").select_option("z")
    assert p.text("heading").startswith("z = 21.8231, ∂z/∂x = ") and p.part("mode").input_value() == "0"
    assert p.js("document.title").startswith("z") and p.js("document.activeElement.dataset.part") == "result"
    assert p.page.locator(".drawing svg").get_attribute("aria-label") == "Computation graph of z"
    p.page.locator("[data-shape]").last.click()
    p.until("location.hash.includes('of=z')")
    p.page.reload()
    assert p.text("heading").startswith("z = 21.8231") and p.part("result").input_value() == "1"
    p.part("result").select_option("w")
    assert p.text("heading") == "w = 4" and p.part("mode").input_value() == "-1", "w does not depend on x"
    assert p.row("w")[1:] == ["4", "1"]
    p.part("result").select_option("y")
    assert "y = " in p.text("heading") and len(p.page.locator("[data-part=rows] tr").all()) == len(told[0].entries) + len(
        told[0].steps
    )
    p.context.close()
    assert p.faults == []


# ------------------------------------------------------------------ for everyone
def test_what_is_announced(explore: Any) -> None:
    """Steps, chosen nodes, and results of other inputs, once nothing changes any more."""
    p = explore()
    p.part("first").click()
    p.part("forward").click()
    p.until("document.querySelector('[data-part=spoken]').textContent.startsWith('Forward: apples')")
    p.page.locator("[data-shape]").first.focus()
    p.page.keyboard.press("Enter")
    p.until("document.querySelector('[data-part=spoken]').textContent === 'apple = 100, ∂price/∂apple = not computed yet'")
    p.part("last").click()
    p.page.get_by_role("slider", name="tax").fill("2")
    p.until("document.querySelector('[data-part=spoken]').textContent === 'price = 1300'")


def test_the_order_of_the_keyboard(explore: Any) -> None:
    """Choosers, the player, the picture (which can be skipped), inputs, numbers, source: as they are read."""
    p = explore()
    p.page.keyboard.press("Home")
    seen = []
    for _ in range(12):
        p.page.keyboard.press("Tab")
        seen.append(
            p.js(
                "document.activeElement.dataset.part ?? document.activeElement.className.baseVal ?? document.activeElement.className"
            )
        )
    assert seen[:6] == ["mode", "quiz", "play", "forward", "last", "scrub"]
    assert seen[6:9] == ["skip", "drawing", "node leaf"]
    p.part("skip").focus()
    assert p.part("skip").is_visible() and p.part("skip").bounding_box()["x"] >= 0
    p.page.keyboard.press("Enter")
    assert p.js("document.activeElement.id") == "inputs-title"
    p.page.keyboard.press("Tab")
    assert "apple" in p.js("document.activeElement.getAttribute('aria-label')")


def test_a_phone(explore: Any) -> None:
    """Nothing but the picture and the source text is wider than the screen."""
    p = explore(viewport={"width": 360, "height": 740})
    for mode in "reverse: from price to every input", "forward: from apple":
        choose_mode(p, mode)
        assert p.js("document.documentElement.scrollWidth") <= 360
        wide = """[...document.querySelectorAll("section *")].filter((e) => !e.closest(".drawing, .source, .spoken, .skip, .maths, [hidden]"))
            .filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 80))"""
        assert p.js(wide) == []
    p.part("quiz").click()
    assert p.js("document.documentElement.scrollWidth") <= 360


def test_long_formulas_are_broken_into_lines(explore: Any) -> None:
    """Mathematics is not broken by browsers: what is long is text."""
    first, second = "the_first_of_two_quantities", "the_second_of_two_quantities"
    p = explore(f"{first} = 2\n{second} = 3\ny = {first}**{second}\nz = sin(y)", "z", viewport={"width": 360, "height": 740})
    for shape in p.page.locator("[data-shape]").all():
        shape.click()
        wide = "[...document.querySelectorAll('.node-panel *')].filter((e) => e.getBoundingClientRect().right > innerWidth && !e.closest('.maths'))"
        assert p.js(f"{wide}.length") == 0
        assert p.js("[...document.querySelectorAll('.maths')].every((e) => e.scrollWidth <= 3 * e.clientWidth)")
    p.page.locator(".numbers").get_by_role("button", name="y", exact=True).click()
    assert p.part("node").locator("p code").text_content() == f"{first}**{second}"
    p.page.locator(".numbers").get_by_role("button", name="z", exact=True).click()
    assert p.part("node").locator("p math").text_content() == "sin(y)"


def test_the_size_of_the_picture(explore: Any) -> None:
    p = explore(viewport={"width": 1280, "height": 900})
    wide = "document.querySelector('.drawing svg').getBoundingClientRect().width"
    before = p.js(wide)
    assert before <= 1280
    p.part("larger").click()
    assert p.js(wide) == pytest.approx(1.25 * before, rel=1e-3)
    p.part("smaller").click()
    assert p.js(wide) == pytest.approx(before, rel=1e-3)
    p.page.set_viewport_size({"width": 500, "height": 900})
    p.part("fit").click()
    assert p.js("document.querySelector('.drawing').scrollWidth <= document.querySelector('.drawing').clientWidth")


def test_a_quiz_has_hints_without_numbers(explore: Any) -> None:
    p = explore()
    p.part("quiz").click()
    p.page.locator("[data-shape='8']").click()
    shown = p.part("node").text_content()
    assert "goods·tax" in shown and "A product hands each factor" in shown
    assert not any(number in shown for number in ("715", "650", "1.1")), shown
    choose_mode(p, "forward: from apple")
    assert p.drawn("slope") == ["?"] * 9
    p.page.get_by_role("textbox", name="derivative of price by apple", exact=True).fill("2.2")
    p.part("check").click()
    assert p.text("score") == "1 of 13 right"


def test_names_and_roles(explore: Any) -> None:
    """Every control has a name, every table heads, and what changes is announced."""
    p = explore()
    p.page.locator("[data-shape='8']").click()
    for quiz in False, True:
        if quiz:
            p.part("quiz").click()
        nameless = """[...document.querySelectorAll('button, input, [role=button], [role=group], section')]
            .filter(e => !e.closest('[hidden]'))
            .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim()))
            .map(e => e.outerHTML)"""
        assert p.js(nameless) == []
        assert p.js("[...document.querySelectorAll('table')].every(t => t.querySelectorAll('thead th[scope=col]').length > 1)")
        ids = p.js("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        assert p.js(
            "[...document.querySelectorAll('[aria-labelledby]')].every(e => document.getElementById(e.getAttribute('aria-labelledby')))"
        )
    assert p.part("spoken").get_attribute("aria-live") == "polite"
    assert p.js(
        "[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1]).every((n, k, all) => !k || n <= all[k - 1] + 1)"
    )
    assert p.page.locator("[data-shape='8']").get_attribute("aria-label") == "× price: price = goods * tax"


CONTRAST = """() => {
    const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const c = rgb(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] > 0.99) return c;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const e of document.querySelectorAll("body *")) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || e.closest("[hidden], script, noscript, title, .spoken, :disabled")) continue;
        const style = getComputedStyle(e);
        const ink = rgb(e.closest("svg") ? style.fill : style.color);
        const box = e.closest("svg") && e.classList.contains("symbol") ? rgb(getComputedStyle(e.parentElement.querySelector("rect")).fill) : behind(e);
        const [a, b] = [light(ink), light(box)].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) low.push([e.tagName, e.className.baseVal ?? e.className, e.textContent, ink, box]);
    }
    return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(explore: Any, scheme: str) -> None:
    p = explore(color_scheme=scheme, reduced_motion="reduce")
    assert p.js("getComputedStyle(document.querySelector('.node rect')).transitionDuration") == "0s"
    dark = p.js("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    p.page.locator("[data-shape='8']").click()
    assert p.js(CONTRAST) == []
    p.page.keyboard.press("ArrowLeft")
    assert p.js(CONTRAST) == []
    choose_mode(p, "forward: from apple")
    p.page.locator("h1").click()
    p.page.keyboard.press("ArrowLeft")
    assert p.js(CONTRAST) == []
    choose_mode(p, "reverse: from price to every input")
    p.part("quiz").click()
    p.page.get_by_role("textbox", name="value of goods").fill("7")
    p.part("check").click()
    assert p.js(CONTRAST) == []


def test_paper(explore: Any) -> None:
    p = explore(color_scheme="dark")
    p.page.emulate_media(media="print", color_scheme="dark")
    assert not p.part("play").is_visible() and p.page.locator("svg [data-value]").first.is_visible()
    assert p.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_contributions_that_are_summed(explore: Any) -> None:
    p = explore("m = 2\nx = [1, 2, 3]\nd = x - m\ny = sum(d)", "y")
    p.page.keyboard.press("End")
    assert p.text("says").endswith("d → m: g × (-1), summed = -3.")


def test_mathematics_has_the_parentheses_that_it_needs(explore: Any) -> None:
    p = explore("a = 2\nb = 3\nq = (a + b) / (a*b)\ny = q * (a - b)", "y")
    for name, shown in ("q", "a+ba·b"), ("y", "q·(a−b)"):
        p.page.locator(".numbers").get_by_role("button", name=name, exact=True).click()
        assert p.part("node").locator("p math").first.text_content() == shown
