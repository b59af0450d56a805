"""Charts and pages: whole documents, nothing executable, values escaped."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest

from host_tools.pages.charts import Bar, Series, bar_chart, line_chart
from host_tools.pages.page import decibels, mebibytes, milliseconds, percent


def test_a_line_chart_is_svg_with_its_labels() -> None:
    chart = line_chart(
        [
            Series(label="p50 <a>", x=[0, 1, 2], y=[1.0, math.nan, 3.0]),
            Series(label="p95", x=[0, 1], y=[2.0, 2.0]),
        ],
        title="Latency & more",
        x_label="minutes",
        y_label="ms",
        markers=True,
    )
    text = "".join(ET.fromstring(chart).itertext())
    assert "p50 <a>" in text
    assert "Latency & more" in text
    assert "minutes" in text


@pytest.mark.filterwarnings("error")
def test_a_chart_of_every_target_has_room_for_its_legend_and_tells_lines_apart() -> None:
    names = [f"vendor-accelerator-of-a-long-name-{index}" for index in range(28)]
    chart = line_chart(
        [Series(label=name, x=[0, 1], y=[float(index), 2.0]) for index, name in enumerate(names)],
        title="SQNR by layer",
        x_label="x",
        y_label="y",
        markers=True,
    )
    root = ET.fromstring(chart)
    _, _, _, height = map(float, root.attrib["viewBox"].split())
    text = {element.text: element for element in root.iter() if element.text and element.text in names}
    assert set(text) == set(names)
    places = [_height_of(element) for element in text.values()]
    assert all(0.0 < place < height for place in places)
    strokes = [
        style for path in root.iter() if "stroke-width: 1.4" in (style := path.attrib.get("style", ""))
    ]
    assert len(set(strokes)) == len(names)


def _height_of(element: ET.Element) -> float:
    """Return how far down an SVG text stands."""
    found = re.search(r"translate\([\d.-]+[ ,]+([\d.-]+)\)", element.attrib.get("transform", ""))
    return float(found[1]) if found else float(element.attrib["y"])


def test_a_bar_chart_writes_each_value() -> None:
    chart = bar_chart(
        [Bar(label="float", value=5.0, low=4.5, high=6.0, series=None)], title="t", x_label="ms"
    )
    assert " 5" in "".join(ET.fromstring(chart).itertext())


def test_the_same_chart_gives_the_same_text() -> None:
    def draw() -> str:
        return str(
            line_chart([Series(label="a", x=[0, 1], y=[1.0, 2.0])], title="t", x_label="x", y_label="y")
        )

    assert draw() == draw()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.98765), "98.8 %"),
        (percent(None), "–"),
        (milliseconds(0.0024567), "2.46 ms"),
        (milliseconds(None), "–"),
        (decibels(19.24), "19.2 dB"),
        (decibels(None), "exact"),
        (decibels(-math.inf), "no signal"),
        (mebibytes(5 << 20), "5.00 MiB"),
        (mebibytes(1536), "1.5 KiB"),
    ],
)
def test_numbers_for_people(shown: str, expected: str) -> None:
    assert shown == expected
