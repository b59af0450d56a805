"""What the page is told, held against a fleet whose every number is known, in a real store."""

from __future__ import annotations

import io
import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from host_tools.errors import InputError
from host_tools.review.exports.grafana import dashboard, dashboard_bytes
from host_tools.review.exports.prometheus import BOUNDS_SECONDS
from host_tools.review.serve.directory import roll_of
from host_tools.review.serve.looked import Looked
from host_tools.review.serve.server import serving
from host_tools.review.serve.span import Span, named_span, of_ranking, picked_level, span_of
from host_tools.review.serve.timeline import timeline_of
from host_tools.review.store.duckdb_engine import DuckDbEngine
from host_tools.review.store.opening import open_store, opened
from host_tools.review.store.telemetry_store import Retention
from host_tools.review.store.tiles import windows_a_device
from host_tools.review.store.windows import SHOWN_LEVELS, Level, Selection
from tests.integration import review_fleet
from tests.integration.review_fleet import (
    HOSTILE,
    NEW,
    NEW_SECONDS,
    OLD,
    OLD_SECONDS,
    START,
    SWITCH,
    WINDOWS,
    device_id,
)
from tests.unit.host_tools.review.store.stored_messages import batch_of, inference, sample, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.store.telemetry_store import TelemetryStore

DEVICES = 8
BUCKET = 2 ** (1 / 2**review_fleet.SCALE) - 1
"""Relative width of a stored bucket."""
ALL = f"start={START}&end={START + 7200}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TelemetryStore]:
    opened = open_store(str(tmp_path_factory.mktemp("store") / "fleet.duckdb"))
    for batch in review_fleet.batches(devices=DEVICES):
        opened.write(batch)
    opened.roll_up()
    yield opened
    opened.close()


@contextmanager
def asking(store: TelemetryStore, *, token: str | None = None) -> Iterator[httpx.Client]:
    with (
        serving(store, token=token) as address,
        httpx.Client(base_url=address.partition("?")[0], timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client(store: TelemetryStore) -> Iterator[httpx.Client]:
    with asking(store) as client:
        yield client


def answer(client: httpx.Client, path: str) -> Any:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_fleet_adds_up(client: httpx.Client) -> None:
    fleet = answer(client, f"/api/fleet?{ALL}")
    assert fleet["statuses"] == {"up": DEVICES - 1, "degraded": 1}
    assert fleet["total"]["inferences"] == DEVICES * WINDOWS * 100
    assert fleet["total"]["devices"] == DEVICES
    assert fleet["total"]["joules"] is None, "nobody measured energy"
    by_artifact = {row["artifact"]: row["measures"] for row in fleet["artifacts"]}
    assert by_artifact[NEW]["inferences"] == DEVICES // 2 * (WINDOWS - SWITCH) * 100
    assert by_artifact[NEW]["latency_p50"] == pytest.approx(NEW_SECONDS, rel=BUCKET)
    assert by_artifact[OLD]["latency_p99"] == pytest.approx(OLD_SECONDS, rel=BUCKET)
    assert by_artifact[OLD]["celsius_max"] == 85.0


def test_percentiles_over_time_are_of_merged_histograms(client: httpx.Client) -> None:
    timeline = answer(client, f"/api/timeline?{ALL}&level=60")
    line = timeline["lines"][0]
    before, after = SWITCH - 5, SWITCH + 5
    assert line["p95"][before] == pytest.approx(OLD_SECONDS, rel=BUCKET)
    assert line["p95"][after] == pytest.approx(NEW_SECONDS, rel=BUCKET)
    assert sum(map(sum, line["heat"])) == sum(line["inferences"]) == DEVICES * WINDOWS * 100
    assert len(timeline["edges"]) == len(line["heat"]) + 1
    assert timeline["edges"][0] < OLD_SECONDS <= timeline["edges"][-1]
    assert timeline["edges"][-2] < NEW_SECONDS <= timeline["edges"][-1]


def test_a_rollout_is_seen_in_devices_and_marks(client: httpx.Client) -> None:
    timeline = answer(client, f"/api/timeline?{ALL}&level=60")
    devices = {one["artifact"]: one["devices"] for one in timeline["rollout"]}
    assert devices[NEW][SWITCH - 2] == 0
    assert devices[NEW][SWITCH + 2] == devices[OLD][SWITCH + 2] == DEVICES // 2
    committed = [mark for mark in timeline["markers"] if mark["name"] == "update_committed"]
    assert [mark["count"] for mark in committed] == [DEVICES // 2]
    seen = [mark for mark in timeline["markers"] if mark["name"] == "first_seen"]
    assert any(abs(mark["time"] - (START + SWITCH * 60)) <= 60 for mark in seen)


def test_two_artifacts_have_lines_of_their_own_in_one_frame(client: httpx.Client) -> None:
    timeline = answer(client, f"/api/timeline?{ALL}&level=60&artifact={OLD}&artifact={NEW}")
    old, new = timeline["lines"]
    assert (old["artifact"], new["artifact"]) == (OLD, NEW)
    assert new["p50"][SWITCH - 5] is None
    assert sum(new["inferences"]) + sum(old["inferences"]) == DEVICES * WINDOWS * 100
    assert len(old["heat"]) == len(new["heat"])


@settings(deadline=None)
@given(
    start=st.integers(0, 40 * 86400), length=st.integers(60, 31 * 86400), fine=st.sampled_from(SHOWN_LEVELS)
)
def test_devices_are_ranked_over_few_windows_that_hold_the_time_shown(
    start: int, length: int, fine: Level
) -> None:
    shown = Span(start=1.8e9 + start, end=1.8e9 + start + length, level=fine, is_chosen=True).at(fine)
    ranked = of_ranking(shown)
    assert ranked.start <= shown.start < shown.end <= ranked.end
    assert windows_a_device(Selection(start=ranked.start, end=ranked.end), ranked.level) <= (
        12 if ranked.level is Level.DAY else 10
    )
    # Never a quarter longer than needed from half a day on; below it whole hours are as short as it gets.
    assert ranked.end - ranked.start < shown.end - shown.start + 2 * max(3600.0, length / 4)


def test_a_ranking_tells_the_time_that_it_is_of(client: httpx.Client) -> None:
    start, end = START + 610, START + 610 + 3600
    ranked = answer(client, f"/api/devices?start={start}&end={end}&level=10")
    assert (ranked["shown"]["level"], ranked["shown"]["start"]) == (3600, start // 3600 * 3600)
    whole = answer(client, f"/api/devices?start={start // 3600 * 3600}&end={-(-end // 3600) * 3600}&level=10")
    assert ranked["rows"] == whole["rows"]


def test_a_coarser_level_is_shown_where_the_fine_one_has_nothing(
    client: httpx.Client, store: TelemetryStore
) -> None:
    chosen = answer(client, f"/api/timeline?{ALL}&level=10")
    picked = answer(client, f"/api/timeline?{ALL}")
    assert chosen["shown"]["level"] == 10
    assert sum(picked["lines"][0]["inferences"]) == DEVICES * WINDOWS * 100


def test_groups_follow_two_labels(client: httpx.Client) -> None:
    groups = answer(client, f"/api/groups?{ALL}&by=target&inner=model_name")["groups"]
    assert sum(group["devices"] for group in groups) == DEVICES
    assert {(group["value"], group["inner"]) for group in groups} == {
        ("cortex-a-tflite", HOSTILE),
        ("cortex-a-tflite", "detector"),
        ("x86_64-openvino", "detector"),
    }
    odd = next(group for group in groups if group["value"] == "x86_64-openvino")
    assert odd["measures"]["latency_p95"] == pytest.approx(OLD_SECONDS, rel=BUCKET)
    assert odd["statuses"] == {"up": DEVICES // 2 - 1, "degraded": 1}


def test_weeks_are_ranked_by_quarters_of_a_day_and_months_by_days(client: httpx.Client) -> None:
    week, month = (answer(client, f"/api/devices?range={name}") for name in ("7d", "30d"))
    assert (week["shown"]["level"], month["shown"]["level"]) == (21600, 86400)
    assert month["shown"]["start"] % 86400 == month["shown"]["end"] % 86400 == 0
    assert [row["measures"] for row in month["rows"]] == [row["measures"] for row in week["rows"]]


def test_the_ranking_is_ordered_filtered_and_paged(client: httpx.Client) -> None:
    slowest = answer(client, f"/api/devices?{ALL}")["rows"]
    assert [int(row["device"].rpartition("-")[2]) % 2 for row in slowest] == [0] * 4 + [1] * 4
    hottest = answer(client, f"/api/devices?{ALL}&sort=celsius_max")["rows"]
    assert hottest[0]["device"] == device_id(3)
    assert [row["device"] for row in answer(client, f"/api/devices?{ALL}&status=degraded")["rows"]] == [
        device_id(3)
    ]
    assert answer(client, f"/api/devices?{ALL}&search=GATE-7")["count"] == 1
    assert answer(client, f"/api/devices?{ALL}&page=2")["rows"] == []
    unmeasured = answer(client, f"/api/devices?{ALL}&sort=watts&order=ascending")["rows"]
    assert len(unmeasured) == DEVICES, "a device without a value still has a place"
    only = answer(client, f"/api/devices?{ALL}&label=target%3Dx86_64-openvino")
    assert only["count"] == DEVICES // 2


def test_a_device_has_what_its_models_were_shown(client: httpx.Client) -> None:
    (image,) = answer(client, f"/api/device?{ALL}&device={device_id(0)}")["inputs"]
    assert (image["name"], image["saturated"]) == ("image", 0.25)
    assert image["mean_before"] < image["mean"] <= 1.5
    assert image["stability"] > 0.1
    assert 0.1 < image["distance"] <= 0.45
    assert answer(client, f"/api/device?{ALL}&device={device_id(1)}")["inputs"] == []


def test_a_device_has_its_sensors_and_events(client: httpx.Client) -> None:
    device = answer(client, f"/api/device?{ALL}&device={device_id(0)}")
    assert [row["artifact"] for row in device["artifacts"]] == [OLD, NEW]
    assert [one["name"] for one in device["readings"]] == ["cpu_thermal_celsius"]
    assert set(device["readings"][0]["values"]) == {50.0}
    committed = [event for event in device["events"] if event["name"] == "update_committed"]
    assert committed[0]["text"] == HOSTILE


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("/api/fleet?range=3d", "range: expected one of"),
        ("/api/fleet?start=5", "belong together"),
        ("/api/fleet?start=9&end=3", "start before end"),
        ("/api/fleet?start=nan&end=3", "start before end"),
        ("/api/fleet?start=0&end=99999999999", "at most 20 years"),
        ("/api/findings?start=253402300799&end=253402300800", "before the year 9999"),
        ("/api/fleet?start=0&end=86400000&level=10", "at most 6000 are shown"),
        ("/api/fleet?level=7", "level: expected one of"),
        ("/api/fleet?start=soon&end=later", "start"),
        ("/api/fleet?label=nonsense", "expected key=value"),
        ("/api/fleet?" + "&".join("artifact=x" for _ in range(9)), "at most 8"),
        ("/api/groups?by=target&inner=target", "two that differ"),
        ("/api/devices?sort=beauty", "sort: expected one of"),
        ("/api/devices?order=sideways", "order: expected ascending or descending, got 'sideways'"),
        ("/export/devices.csv?order=", "order: expected ascending or descending, got ''"),
        ("/api/devices?page=0", "page"),
        ("/api/device?range=1h", "Its id is missing"),
        ("/api/device?range=1h&device=%1b[2J", "never heard"),
        ("/export/timeline.exe?range=1h", "expected one of csv, parquet"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(client: httpx.Client, query: str, said: str) -> None:
    response = client.get(query)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert said in error["message"]
    assert "\x1b" not in error["message"]


def test_nothing_can_be_changed_and_nothing_is_framed(client: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/api/fleet").status_code == 405
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/static/..%2Fapplication.py").status_code == 404
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400, (
        "a name that leads a browser here"
    )


def test_what_is_seen_can_be_had_as_csv_and_parquet(client: httpx.Client) -> None:
    for kind in ("csv", "parquet"):
        content = io.BytesIO(client.get(f"/export/timeline.{kind}?{ALL}&level=60").content)
        table = pyarrow.csv.read_csv(content) if kind == "csv" else pyarrow.parquet.read_table(content)
        assert table.num_rows == WINDOWS
        assert sum(table.column("inferences").to_pylist()) == DEVICES * WINDOWS * 100
        assert table.column("latency_p95_seconds")[SWITCH + 5].as_py() == pytest.approx(
            NEW_SECONDS, rel=BUCKET
        )
    devices = pyarrow.csv.read_csv(io.BytesIO(client.get(f"/export/devices.csv?{ALL}").content))
    assert devices.num_rows == DEVICES


def test_a_spreadsheet_runs_nothing(store: TelemetryStore) -> None:
    import pyarrow as pa

    from host_tools.review.exports.tables import table_bytes

    table = pa.table({"status": ["=cmd|' /C calc'!A0", "up", "+1", "-"]})
    read = pyarrow.csv.read_csv(io.BytesIO(table_bytes(table, "csv")))
    assert read.column("status").to_pylist() == ["'=cmd|' /C calc'!A0", "up", "'+1", "'-"]


def test_a_scrape_counts_what_the_store_counts(client: httpx.Client) -> None:
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    inferences = {
        sample.labels["artifact"]: sample.value for sample in families["edgewright_inferences"].samples
    }
    assert inferences == {"b2" * 6: 24000.0, "a1" * 6: 72000.0}
    statuses = {sample.labels["status"]: sample.value for sample in families["edgewright_devices"].samples}
    assert statuses["degraded"] == 1.0
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in families["edgewright_inference_latency_seconds"].samples
        if sample.name.endswith("_bucket") and sample.labels["artifact"] == "b2" * 6
    ]
    assert [bound for bound, _ in buckets[:-1]] == list(BOUNDS_SECONDS)
    assert [count for bound, count in buckets if bound < NEW_SECONDS] == [0.0] * sum(
        bound < NEW_SECONDS for bound in BOUNDS_SECONDS
    )
    assert {count for bound, count in buckets if bound > NEW_SECONDS * (1 + BUCKET)} == {24000.0}


def offered_names(client: httpx.Client) -> set[str]:
    lines = client.get("/metrics").text.splitlines()
    return {line.split()[2] for line in lines if line.startswith("# TYPE")}


def test_the_document_names_every_figure_of_a_scrape_and_no_other(client: httpx.Client) -> None:
    document = (Path(__file__).parents[4] / "docs" / "integrations.md").read_text()
    told = set(re.findall(r"`(edgewright_[a-z_]+)", document.partition("## Grafana")[0]))
    assert sorted(told) == sorted(offered_names(client))


def test_the_dashboard_asks_only_for_what_a_scrape_offers(client: httpx.Client) -> None:
    offered = offered_names(client)
    offered |= {f"{name}_bucket" for name in offered}
    asked = re.findall(r"edgewright_[a-z0-9_]+", json.dumps(dashboard()["panels"]))
    assert asked
    assert set(asked) <= offered
    assert json.loads(dashboard_bytes()) == dashboard()
    places = [tuple(panel["gridPos"].values()) for panel in dashboard()["panels"]]
    assert len(set(places)) == len(places)


def test_levels_suit_the_screen_and_what_is_kept() -> None:
    now = 1e9
    assert picked_level(now - 3600, now, newest=now) is Level.SECONDS_10
    assert picked_level(now - 86400, now, newest=now) is Level.MINUTE
    assert picked_level(now - 30 * 86400, now, newest=now) is Level.HOUR
    assert picked_level(now - 90 * 86400, now, newest=now) is Level.DAY
    assert picked_level(now - 20 * 86400, now - 20 * 86400 + 3600, newest=now) is Level.HOUR, (
        "minutes are kept for 14 days"
    )
    longer = Retention(minute_days=30.0)
    assert picked_level(now - 20 * 86400, now - 20 * 86400 + 3600, newest=now, kept=longer) is Level.MINUTE


@pytest.mark.parametrize(
    ("told", "level"),
    [(0.0, 10), (5.0, 10), (10.2, 10), (15.0, 60), (60.0, 60), (61.0, 60), (300.0, 3600)],
)
def test_no_level_is_finer_than_what_devices_tell(told: float, level: int) -> None:
    now = 1e9
    assert picked_level(now - 3600, now, newest=now, told_seconds=told).seconds == level


@pytest.mark.parametrize(("window", "level"), [(10.0, 10), (35.0, 60), (60.0, 60), (300.0, 3600)], ids=str)
def test_the_chart_has_no_holes_between_the_windows_of_devices(window: float, level: int) -> None:
    # An hour, with samples of the system every ten seconds whatever the length of the windows of inference.
    store = opened(DuckDbEngine(Path(":memory:"), threads=1))
    said, total = [], 0
    for second in range(10, 3600, 10):
        said.append(sample(stamp("a", "boot", second, float(second)), "system", cpu_ratio=0.5))
        if second // window > (second - 10) // window:
            total += 5
            said.append(inference(stamp("a", "boot", second + 1, second + 0.1), total=total, window=window))
    store.write(batch_of(said))
    store.roll_up()
    roll = roll_of(store)
    found = timeline_of(store, roll, Looked(span=named_span("1h", newest=roll.newest)))
    assert found.shown.level == level
    seen = np.flatnonzero(found.lines[0].inferences)
    assert np.isfinite(found.lines[0].p50[seen[0] : seen[-1] + 1]).all()
    assert found.lines[0].inferences.sum() == total
    chosen = Looked(span=named_span("1h", newest=roll.newest, level="10"))
    assert timeline_of(store, roll, chosen).shown.level == 10, "who asks for a level gets it"
    store.close()


def test_a_span_is_whole_windows_and_holds_what_was_asked_for() -> None:
    span = span_of(1000.0, 4321.0, newest=5000.0, level="60")
    assert (span.start, span.end, span.windows) == (960.0, 4380.0, 57)
    assert named_span("1h", newest=100.0).start == 0.0
    with pytest.raises(InputError, match="range"):
        named_span("eon", newest=0.0)


def test_a_token_is_asked_for_everywhere(store: TelemetryStore) -> None:
    with asking(store, token="s3cret") as client:
        for path in ("/", "/static/main.js", "/api/fleet", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 401
        assert client.get("/metrics", headers={"authorization": "Bearer s3cret"}).status_code == 200
        assert client.get("/api/fleet?token=s3cret").status_code == 200
        assert client.get("/api/fleet").status_code == 200, "the cookie has it now"


def test_an_empty_store_is_shown_as_empty(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = open_store(str(tmp_path_factory.mktemp("empty") / "fleet.duckdb"))
    with asking(empty) as client:
        assert answer(client, "/api/fleet")["total"]["inferences"] == 0
        assert answer(client, "/api/timeline")["rollout"] == []
        assert answer(client, "/api/groups")["groups"] == []
        assert answer(client, "/api/devices")["rows"] == []
        assert "edgewright_devices" in client.get("/metrics").text
    empty.close()
