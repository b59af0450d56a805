"""`report.html` in a real browser: what a person who has lost accuracy clicks, types and reads."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from host_tools.diagnose.diagnosis import Diagnosis
from host_tools.diagnose.diagnosis_file import decode
from host_tools.diagnose.diagnosis_page import render_diagnosis
from host_tools.pipeline import Conversion, convert
from host_tools.recipe import Recipe
from host_tools.verify.report_page import render_report
from tests.e2e.small_network import samples, write_network
from tests.integration.browser import ask

TARGETS = ("nxp-neutron", "x86_64-onnxruntime")
EVIL = '</script><img src=x onerror="alert(1)"><b>"&amp;'


@pytest.fixture(scope="module")
def conversion(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """Return a conversion whose depthwise layer loses most: one channel of its weights is a thousand times the others, and nothing is done about it."""
    folder = tmp_path_factory.mktemp("browser")
    model = onnx.load(write_network(folder / "small.onnx"))
    for tensor in model.graph.initializer:
        if tensor.name == "w1":
            array = numpy_helper.to_array(tensor).copy()
            array[3] *= 1000
            tensor.CopyFrom(numpy_helper.from_array(array, "w1"))
    onnx.save(model, folder / "small.onnx")
    np.save(folder / "data.npy", samples(8))
    return convert(
        folder / "small.onnx",
        data=folder / "data.npy",
        targets=TARGETS,
        out=folder / "out",
        threads=1,
        cache=folder / "cache",
        recipe=Recipe(equalization=False, reconstruction=False),
    )


@pytest.fixture
def page(conversion: Conversion) -> str:
    return conversion.report_page.read_text(encoding="utf-8")


def diagnosis_of(conversion: Conversion, target: str) -> Diagnosis:
    path = conversion.diagnoses[target]
    return decode(path.read_bytes(), where=str(path))


def test_the_guilty_layer_is_shown_at_once(page: str, tmp_path: Path) -> None:
    answer = ask(
        page,
        """
        const row = document.querySelector("#dx-layers tbody tr");
        return {
            panel: document.getElementById("dx-panel").textContent,
            first: row.dataset.layer,
            chosen: row.getAttribute("aria-selected"),
            summary: document.getElementById("dx-summary").textContent,
            histograms: document.querySelectorAll("#dx-panel svg").length,
            tabs: [...document.querySelectorAll("#dx-tabs button")].map((tab) => tab.textContent),
        };
        """,
        tmp_path,
    )
    assert isinstance(answer, dict)
    assert answer["first"] == "depthwise"
    assert answer["chosen"] == "true"
    assert answer["panel"].startswith("depthwise: Conv + Clip")
    assert "One scale for 8 channels of weights" in answer["panel"]
    assert "[keep_float]" in answer["summary"]
    assert answer["histograms"] == 2
    assert answer["tabs"] == list(TARGETS)


def test_layers_are_chosen_in_chart_and_table_by_mouse_and_keys(page: str, tmp_path: Path) -> None:
    answer = ask(
        page,
        """
        const title = () => document.querySelector("#dx-panel h3").textContent.split(":")[0];
        const steps = [];
        click(document.querySelector('#dx-chart [data-layer="stem"]')); steps.push(title());
        const chart = document.getElementById("dx-chart");
        press(chart, "ArrowRight"); steps.push(title());
        press(chart, "ArrowLeft"); press(chart, "ArrowLeft"); steps.push(title());
        press(chart, "ArrowLeft"); steps.push(title());
        press(chart, "End"); steps.push(title());
        const row = () => document.querySelector('#dx-layers tr[data-layer="residual"]');
        click(row()); steps.push(title());
        row().focus(); press(document.activeElement, "ArrowDown"); press(document.activeElement, "Enter");
        steps.push(title() === document.activeElement.dataset.layer && title() !== "residual");
        return steps;
        """,
        tmp_path,
    )
    assert answer == ["stem", "depthwise", "images", "images", "classifier", "residual", True]


def test_the_table_sorts_and_filters(page: str, tmp_path: Path) -> None:
    answer = ask(
        page,
        """
        const names = () => [...document.querySelectorAll("#dx-layers tbody tr")].map((row) => row.dataset.layer);
        const head = (index) => document.querySelectorAll("#dx-layers th button")[index];
        const filter = document.getElementById("dx-filter");
        click(head(1)); const up = names();
        click(head(1)); const down = names();
        const order = document.querySelectorAll("#dx-layers th")[1].getAttribute("aria-sort");
        filter.value = "conv weight_channels"; filter.dispatchEvent(new Event("input"));
        return { up, down, order, filtered: names(), count: document.getElementById("dx-count").textContent };
        """,
        tmp_path,
    )
    assert isinstance(answer, dict)
    assert answer["up"] == sorted(answer["up"], key=str.lower)
    assert answer["down"] == answer["up"][::-1]
    assert answer["order"] == "descending"
    assert "depthwise" in answer["filtered"]
    assert len(answer["filtered"]) < len(answer["up"])
    assert answer["count"] == f"{len(answer['filtered'])} of {len(answer['up'])}"


def test_another_target_is_another_diagnosis(page: str, conversion: Conversion, tmp_path: Path) -> None:
    answer = ask(
        page,
        """
        const tabs = document.getElementById("dx-tabs");
        press(tabs.children[0], "ArrowRight");
        return {
            chosen: tabs.querySelector('[aria-selected="true"]').textContent,
            focused: document.activeElement.textContent,
            first: document.querySelector("#dx-layers tbody tr").dataset.layer,
            samples: document.querySelectorAll("#dx-samples tbody tr").length,
        };
        """,
        tmp_path,
    )
    other = diagnosis_of(conversion, TARGETS[1])
    assert answer == {
        "chosen": TARGETS[1],
        "focused": TARGETS[1],
        "first": other.costliest(1)[0].name,
        "samples": len(other.samples.worst),
    }


def test_names_from_the_model_are_text(conversion: Conversion, tmp_path: Path) -> None:
    diagnosis = diagnosis_of(conversion, TARGETS[0])
    layers = tuple(
        replace(layer, name=EVIL, reason=EVIL) if layer.name == "depthwise" else layer
        for layer in diagnosis.layers
    )
    page = render_report(conversion.report, diagnosis=render_diagnosis([replace(diagnosis, layers=layers)]))
    answer = ask(
        page,
        """
        return {
            first: document.querySelector("#dx-layers tbody tr td:nth-child(2)").textContent,
            images: document.images.length,
        };
        """,
        tmp_path,
    )
    assert answer == {"first": EVIL, "images": 0}


@pytest.mark.parametrize("dark", [False, True])
def test_it_follows_the_users_colours(dark: bool, page: str, tmp_path: Path) -> None:
    answer = ask(
        page,
        """
        const brightness = (color) => color.match(/[0-9]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
        const style = getComputedStyle(document.body);
        return [brightness(style.backgroundColor), brightness(style.color)];
        """,
        tmp_path,
        dark=dark,
    )
    assert isinstance(answer, list)
    paper, ink = answer
    low, high = sorted(answer)
    assert low < 150
    assert high > 600
    assert (paper < ink) == dark


def test_a_narrow_window_scrolls_no_further_than_its_tables(page: str, tmp_path: Path) -> None:
    answer = ask(page, "return document.documentElement.scrollWidth - innerWidth;", tmp_path, width=700)
    assert isinstance(answer, int)
    assert answer <= 0


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    assert "default-src 'none'" in page
    references = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(reference.startswith("#") for reference in references), references
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|import)\s*\(", page)


def test_a_run_that_was_not_diagnosed_has_a_page_without_scripts(conversion: Conversion) -> None:
    assert "<script" not in render_report(conversion.report)
    assert render_diagnosis([]) is None
