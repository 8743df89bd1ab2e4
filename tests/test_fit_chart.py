"""Pictures of learning curves."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from conftest import Golden
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlang.fit.chart import LOG, MOST, Axis, chart

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [
    {
        "epoch": k,
        "step": 15 * k,
        "loss": 2.0**-k,
        "accuracy": 1 - 0.5**k,
        "valid_loss": 0.1 + 2.0**-k,
        "valid_accuracy": 0.9 - 0.5**k,
    }
    for k in range(1, 12)
]


def tree(rows: list[dict[str, float]], title: str = "loss of W") -> ET.Element:
    return ET.fromstring(chart(rows, title))


def test_the_picture_is_the_one_that_was_looked_at(golden: Golden) -> None:
    golden("fit/curve.svg", chart(ROWS, "loss of W & b"))


def test_what_stands_in_it() -> None:
    root = tree(ROWS, "loss of <W>")
    assert root.find(f"{SVG}title").text == "loss of <W>"  # type: ignore[union-attr]
    assert "loss from 0.5 to 0.0004883" in (root.find(f"{SVG}desc").text or "")  # type: ignore[union-attr]
    words = [t.text for t in root.iter(f"{SVG}text")]
    assert words.count("training") == words.count("validation") == 2 and words.count("epoch") == 2
    assert {"loss", "accuracy"} <= set(words)
    assert not {e.tag.removeprefix(SVG) for e in root.iter()} - {
        "svg",
        "title",
        "desc",
        "rect",
        "text",
        "line",
        "path",
        "circle",
    }
    assert not [a for e in root.iter() for a in e.attrib if a in ("style", "class") or a.startswith("on")]


def test_a_step_is_a_step() -> None:
    rows = [{"epoch": k, "step": k, "f": 1.0 / k} for k in range(1, 5)]
    words = [t.text for t in tree(rows).iter(f"{SVG}text")]
    assert "step" in words and "epoch" not in words and "training" not in words


@pytest.mark.parametrize(
    "values", [[], [math.nan], [1.0], [0.0, 0.0], [math.inf, 1.0, math.nan, 2.0], [5e-324, 1e308], [-1e308, 1e308]]
)
def test_values_of_all_kinds(values: list[float]) -> None:
    rows = [{"epoch": k + 1, "step": k + 1, "f": v} for k, v in enumerate(values)]
    text = chart(rows, "f")
    assert "nan" not in re.sub(r"<desc>.*</desc>", "", text) and "inf" not in re.sub(r"<desc>.*</desc>", "", text)
    ET.fromstring(text)


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    rows = [{"epoch": k, "step": k, "f": math.sin(k) + (100.0 if k == 7777 else 2)} for k in range(1, 20001)]
    (line,) = [p.attrib["d"] for p in tree(rows).iter(f"{SVG}path") if p.attrib.get("stroke-width")]
    points = [tuple(map(float, p.split())) for p in line[1:].split("L")]
    assert len(points) <= 2 * MOST
    assert min(y for _, y in points) < min(sorted(y for _, y in points)[1:]) - 50  # the outlier is there


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.booleans())
def test_ticks_are_round_and_cover_the_values(low: float, width: float, whole: bool) -> None:
    if whole:  # counts
        low, width = float(round(low)), float(round(width) + 1)
    axis = Axis(low, low + width, 0.0, 100.0, whole=whole)
    high = low + width
    unseen = 1e-9 * (axis.high - axis.low) + 4 * math.ulp(max(abs(low), abs(high)))  # of the height, and rounding
    assert axis.low <= low + unseen and high - unseen <= axis.high
    assert len(axis.ticks) <= 13
    for value, _ in axis.ticks:
        assert -1e-6 <= axis.at(value) <= 100 + 1e-6


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-200, 1e100), st.floats(LOG, 1e100))
def test_powers_of_ten(low: float, ratio: float) -> None:
    axis = Axis(low, low * ratio, 100.0, 0.0, log=True)
    assert 2 <= len(axis.ticks) <= 9
    assert 0 <= axis.at(low) <= 100 and 0 <= axis.at(low * ratio) <= 100
