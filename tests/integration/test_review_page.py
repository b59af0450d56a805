"""The page of the fleet in a real browser: every view, keys, shared links, live data, hostile devices, no network."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from host_tools.review.serve.server import serving
from host_tools.review.store.opening import open_store
from host_tools.review.store.tables import TABLES, Batch
from tests.integration import review_fleet
from tests.integration.browser_session import Browser, browser
from tests.integration.review_fleet import HOSTILE, NEW, OLD, START, WINDOWS, device_id
from tests.integration.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from host_tools.review.store.telemetry_store import TelemetryStore

DEVICES = 24
ROOT = "document.documentElement.dataset.drawn"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TelemetryStore]:
    opened = open_store(str(tmp_path_factory.mktemp("store") / "fleet.duckdb"))
    for batch in review_fleet.batches(devices=DEVICES):
        opened.write(batch)
    opened.roll_up()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def address(store: TelemetryStore) -> Iterator[str]:
    with serving(store) as address:
        yield address


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def chromium(shared_browser: Browser) -> Iterator[Browser]:
    """Give the browser; whatever the test does, the page must raise nothing and ask nobody else."""
    shared_browser.asked.clear()
    shared_browser.problems.clear()
    shared_browser.shape()
    yield shared_browser
    assert shared_browser.problems == []
    elsewhere = [url for url in shared_browser.asked if urlsplit(url).hostname not in ("127.0.0.1", None)]
    assert elsewhere == []


def opened(chromium: Browser, address: str, query: str = "") -> None:
    chromium.open("about:blank")
    chromium.open(address + query)
    chromium.wait(f"{ROOT} >= 1")


@pytest.fixture(scope="module")
def unmeasured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page of a fleet that measures neither power nor temperature nor throttling."""
    store = open_store(str(tmp_path_factory.mktemp("unmeasured") / "fleet.duckdb"))
    for batch in review_fleet.batches(devices=1):
        store.write(Batch(rows={name: rows for name, rows in batch.rows.items() if name != "reading"}))
    store.roll_up()
    with serving(store) as address:
        yield address
    store.close()


def test_what_was_not_measured_is_told_in_its_own_place(chromium: Browser, unmeasured: str) -> None:
    opened(chromium, unmeasured)
    told = chromium.ask(
        """[...document.querySelectorAll(".annotation-text")]
             .map((one) => [one.textContent, Math.round(one.getBoundingClientRect().top)])"""
    )
    names = ["power was not measured", "temperature was not measured", "throttling was not measured"]
    assert [name for name, _ in told] == names
    tops = [top for _, top in told]
    assert all(below - above > 50 for above, below in itertools.pairwise(tops)), tops


def test_what_was_not_understood_is_listed_with_the_reason(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = open_store(str(tmp_path_factory.mktemp("letters") / "fleet.duckdb"))
    letter = {"received": START, "topic": "ew/v1/x", "payload": b"{", "payload_bytes": 1, "reason": HOSTILE}
    rows = pa.RecordBatch.from_pylist([letter], schema=TABLES["dead_letter"])
    store.write(Batch(rows={"dead_letter": rows}))
    with serving(store) as address:
        opened(chromium, address)
        told = chromium.ask("document.querySelector('#dead-letters summary').textContent")
        cells = chromium.ask(
            "[...document.querySelectorAll('#dead-letters td')].map((one) => one.textContent)"
        )
        title = chromium.ask("document.title")
        said = chromium.ask("document.getElementById('content').textContent")
        charts = chromium.ask("document.querySelectorAll('.chart').length")
    store.close()
    assert told == "Not understood: 1 message"
    assert cells[1:] == ["ew/v1/x", "1", HOSTILE]
    assert title == "Fleet – Edgewright review"
    assert "No device was heard yet." in said
    assert charts == 0, "an empty chart, of 1970"


def test_what_is_wrong_is_told_once(chromium: Browser, address: str) -> None:
    chromium.open("about:blank")
    chromium.open(f"{address}?device=nobody")
    trouble = chromium.wait("document.getElementById('trouble').textContent")
    assert trouble == "device 'nobody': never heard. Search for it in the list of devices."
    chromium.problems.clear()  # the answer's status


def drawn_again(chromium: Browser, before: str) -> None:
    chromium.wait(f"{ROOT} > {before}")


def query_of(chromium: Browser) -> dict[str, list[str]]:
    return parse_qs(urlsplit(chromium.ask("location.href")).query)


def test_fleet_artifact_and_device_are_shown_one_from_the_other(chromium: Browser, address: str) -> None:
    opened(chromium, address, "?range=6h")
    assert chromium.ask("document.querySelector('h1').textContent") == "Fleet"
    tiles = chromium.ask("document.querySelector('.tiles').textContent")
    assert f"{DEVICES * WINDOWS * 100:,}" in tiles
    assert "1 degraded" in chromium.ask("document.querySelector('.chips').textContent")
    chart = "document.getElementById('timeline-chart')"
    kinds = chromium.ask(f"{chart}.data.map((trace) => trace.type)")
    assert kinds.count("heatmap") == 1
    marks = chromium.ask(
        f"{chart}.data.filter((trace) => trace.yaxis === 'y6').flatMap((trace) => trace.hovertext)"
    )
    updates = [mark for mark in marks if "update committed" in mark]
    assert updates, marks
    drawn = chromium.ask(f"[...{chart}.querySelectorAll('.shapelayer path, .y6 .point, .xy6 .point')].length")
    assert drawn == 2 * len(marks), "each mark is a sign at the top and a line down the chart"
    assert chromium.ask("document.getElementById('map-chart').data[0].type") == "treemap"
    assert chromium.ask("document.querySelectorAll('[aria-labelledby=devices] tbody tr').length") == 20

    before = chromium.ask(ROOT)
    chromium.ask("document.querySelectorAll('[aria-labelledby=artifacts] tbody a')[0].click()")
    drawn_again(chromium, before)
    assert query_of(chromium)["artifact"] == [OLD]

    before = chromium.ask(ROOT)
    chromium.ask("document.querySelector('[aria-labelledby=devices] tbody a').click()")
    drawn_again(chromium, before)
    device = query_of(chromium)["device"][0]
    assert device in chromium.ask("document.querySelector('h1').textContent")
    assert "cpu_thermal_celsius" in chromium.ask(
        "document.querySelector('[data-unit]').getAttribute('aria-label')"
    )

    before = chromium.ask(ROOT)
    chromium.ask("history.back()")
    drawn_again(chromium, before)
    assert "device" not in query_of(chromium)


def test_two_artifacts_lie_over_each_other(chromium: Browser, address: str) -> None:
    opened(chromium, address, f"?range=6h&artifact={OLD}&artifact={NEW}")
    chart = "document.getElementById('timeline-chart')"
    assert chromium.ask(f"{chart}.data.filter((trace) => trace.type === 'heatmap').length") == 2
    medians = chromium.ask(
        f"{chart}.data.filter((trace) => trace.name?.startsWith('p50')).map((trace) => trace.y.filter((y) => y !== null).at(-1))"
    )
    assert medians == pytest.approx([10.0, 20.0], rel=0.023)


def test_keys_move_and_zoom_and_the_link_restores_the_view(chromium: Browser, address: str) -> None:
    opened(chromium, address, "?range=6h")
    chromium.ask("document.getElementById('timeline-chart').focus()")
    before = chromium.ask(ROOT)
    chromium.press("+")
    drawn_again(chromium, before)
    zoomed = query_of(chromium)
    assert float(zoomed["end"][0]) - float(zoomed["start"][0]) == pytest.approx(3 * 3600, abs=120)
    assert chromium.ask("document.activeElement.id") == "timeline-chart", "the focus was lost"

    before = chromium.ask(ROOT)
    chromium.press("ArrowLeft")
    drawn_again(chromium, before)
    moved = query_of(chromium)
    assert float(moved["start"][0]) < float(zoomed["start"][0])

    seen = chromium.ask("document.getElementById('timeline-chart').getAttribute('aria-label')")
    link = chromium.ask("location.href")
    opened(chromium, link)
    assert chromium.ask("document.getElementById('timeline-chart').getAttribute('aria-label')") == seen


@pytest.mark.parametrize("setting", ["granted", "denied"])
def test_a_link_to_what_is_seen_is_copied_or_else_stands_in_the_address(
    chromium: Browser, address: str, setting: str
) -> None:
    opened(chromium, address, "?range=6h&live=1")
    chromium.call("Page.bringToFront")  # only who has the focus may use the clipboard
    for name in ("clipboard-write", "clipboard-read"):
        chromium.call("Browser.setPermission", permission={"name": name}, setting=setting)
    place = "document.getElementById('state').textContent"
    chromium.ask("document.getElementById('share').click()")
    said = chromium.wait(f"/later\\.$/.test({place}) && {place}")
    if setting == "granted":
        assert said == "The link is copied; it shows this time, also later."
        link = chromium.ask("navigator.clipboard.readText()")
    else:
        assert said == "Copy the address of this page: it shows this time, also later."
        link = chromium.ask("location.href")
    asked = parse_qs(urlsplit(link).query)
    assert float(asked["end"][0]) - float(asked["start"][0]) == pytest.approx(6 * 3600, abs=120)
    assert "live" not in asked


def test_what_is_seen_can_be_had_as_a_picture_and_as_tables(
    chromium: Browser, address: str, tmp_path: Path
) -> None:
    opened(chromium, address, f"?range=6h&artifact={OLD}")
    chromium.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    chromium.ask("document.getElementById('export-png').click()")
    saved = tmp_path / "edgewright-fleet.png"
    wait_until(saved.exists, what="the picture is saved")
    with Image.open(saved) as picture:
        assert picture.size == (2800, 1600)
        colours = picture.convert("RGB").resize((140, 80)).getcolors(140 * 80)
        assert colours is not None
        assert len(colours) > 50, "nothing is drawn"
    for kind in ("csv", "parquet"):
        content = bytes(
            chromium.ask(
                f"fetch(document.getElementById('export-{kind}').href).then((answer) => answer.arrayBuffer()).then((all) => [...new Uint8Array(all)])"
            )
        )
        source = pa.BufferReader(content)
        table = pyarrow.csv.read_csv(source) if kind == "csv" else pyarrow.parquet.read_table(source)
        assert set(table.column("artifact").to_pylist()) == {OLD}
        assert sum(table.column("inferences").to_pylist()) > 0


def test_dragging_over_the_chart_shows_that_time(chromium: Browser, address: str) -> None:
    opened(chromium, address, f"?start={START}&end={START + 7200}")
    chromium.ask("document.getElementById('timeline-chart').scrollIntoView()")
    box = chromium.ask(
        "(() => { const box = document.querySelector('#timeline-chart .nsewdrag').getBoundingClientRect(); "
        "return [box.left, box.top, box.width, box.height]; })()"
    )
    before = chromium.ask(ROOT)
    y = box[1] + box[3] / 2
    chromium.drag((box[0] + box[2] * 0.25, y), (box[0] + box[2] * 0.5, y))
    drawn_again(chromium, before)
    found = query_of(chromium)
    assert float(found["start"][0]) == pytest.approx(START + 1800, abs=120)
    assert float(found["end"][0]) == pytest.approx(START + 3600, abs=120)


def test_what_devices_say_is_only_ever_text(chromium: Browser, address: str) -> None:
    for query in (
        "?range=6h&by=model_name&inner=site",
        f"?range=6h&device={device_id(0)}",
        f"?range=6h&device={device_id(3)}",
    ):
        opened(chromium, address, query)
        assert chromium.ask("typeof window.owned") == "undefined"
        assert "owned" not in chromium.ask("document.title")
        assert (
            chromium.ask(
                "document.querySelectorAll('#content img, #content script, #content a[href^=javascript], svg a').length"
            )
            == 0
        )
    assert HOSTILE in chromium.ask("document.querySelector('h1').textContent")
    opened(chromium, address, f"?range=6h&device={device_id(0)}")
    lines = "document.querySelector('[aria-labelledby=events] td .nowrap').getClientRects().length"
    assert chromium.ask(lines) == 1, "a long text leaves the other columns no room"
    chromium.shape(width=390)
    width = "document.querySelector('[aria-labelledby=events] td .prose').getBoundingClientRect().width"
    assert chromium.ask(width) > 150, "nor do they leave it none"
    opened(chromium, address, "?range=6h&by=model_name")
    labels = chromium.ask(
        "[...document.querySelectorAll('#map-chart text')].map((text) => text.textContent).join('|')"
    )
    assert "<img src=x" in labels, labels


def test_live_data_appears_until_it_is_paused(chromium: Browser, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "fleet.duckdb"))  # its own: the others count what theirs holds
    for batch in review_fleet.batches(devices=2):
        store.write(batch)
    store.roll_up()
    tile = "document.querySelector('.tile b').textContent"
    with serving(store) as address:
        opened(chromium, address, "?range=24h&live=1")
        assert chromium.ask(tile) == f"{2 * WINDOWS * 100:,}"
        for batch in review_fleet.batches(devices=1, start=START + 7200, windows=5, boot="again"):
            store.write(batch)
        store.roll_up()
        chromium.wait(f"{tile} === {json.dumps(f'{(2 * WINDOWS + 5) * 100:,}')}", seconds=60)
        chromium.ask("document.getElementById('live').click()")
        chromium.wait("document.getElementById('live').getAttribute('aria-pressed') === 'false'")
        assert "live" not in query_of(chromium)
        chromium.open("about:blank")  # before the server goes: what is still on its way would be refused
    store.close()


def test_charts_keep_their_room_in_a_window_of_another_width(chromium: Browser, address: str) -> None:
    opened(chromium, address, "?range=6h")
    drawn = "document.querySelector('#timeline-chart .main-svg').getBoundingClientRect()"
    room = "document.getElementById('timeline-chart').getBoundingClientRect().height"
    assert chromium.ask(room) == 800
    chromium.shape(width=900)
    chromium.wait(f"{drawn}.width < 900")
    assert (chromium.ask(room), chromium.ask(f"{drawn}.height")) == (800, 800)


def test_every_control_has_a_name_and_dark_is_dark(chromium: Browser, address: str) -> None:
    chromium.shape(dark=True)
    opened(chromium, address, "?range=6h")
    unnamed = chromium.ask(
        "[...document.querySelectorAll('button, select, input, [tabindex=\"0\"]')].filter((one) => "
        "!(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)).map((one) => one.outerHTML)"
    )
    assert unnamed == []
    assert chromium.ask("document.getElementById('timeline-chart')._fullLayout.paper_bgcolor") == "#171c24"


def test_a_wrong_address_says_what_is_wrong(chromium: Browser, address: str) -> None:
    chromium.open("about:blank")
    chromium.open(f"{address}?range=6h&device=nobody")
    said = chromium.wait("document.getElementById('trouble').textContent")
    assert "never heard" in said
    chromium.problems[:] = [
        one for one in chromium.problems if "400" not in one
    ]  # the browser logs the refusal


def test_a_token_is_asked_for_and_kept_out_of_the_address(chromium: Browser, store: TelemetryStore) -> None:
    token = 'let+me&in="1";'  # as base64 and people have them
    with serving(store, token=token) as address:
        plain = address.partition("?")[0]
        for wrong in (plain, f"{plain}api/fleet?token=guess"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(wrong)
            refused.value.close()  # else its socket is found open whenever the collector comes by, in another test
            assert refused.value.code == 401
        opened(chromium, address)
        assert "let" not in chromium.ask("location.href")
        assert "inferences" in chromium.ask("document.querySelector('.tiles').textContent")
