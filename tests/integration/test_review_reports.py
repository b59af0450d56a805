"""`edgewright review compare | device | weekly`: terminal, page, JSON, exit status; on a real store and on simulated fleets."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from host_tools.cli.main import main
from host_tools.review.analysis.artifacts import compare
from host_tools.review.analysis.review import examine_device, review_fleet, weekly
from host_tools.review.reports.comparison import comparison_report
from host_tools.review.reports.document import document
from host_tools.review.reports.page import page_report
from host_tools.review.reports.reviews import device_report, fleet_report, weekly_report
from host_tools.review.reports.status import comparison_status, review_status
from host_tools.review.reports.terminal import terminal_report
from host_tools.review.simulation.fleet import FleetPlan, SimulatedFleet
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.opening import open_store
from host_tools.review.store.windows import Selection
from tests.integration import review_fleet as fleet
from tests.integration.review_fleet import HOSTILE, NEW, OLD, device_id

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.review.analysis.findings import Review
    from host_tools.review.reports.report import Report

A, B = OLD[7:15], NEW[7:15]


def store_of(folder: Path, *, new_seconds: float, devices: int = 24, window_seconds: float = 1800.0) -> str:
    path = str(folder / "fleet.duckdb")
    store = open_store(path)
    for batch in fleet.batches(devices=devices, window_seconds=window_seconds, new_seconds=new_seconds):
        store.write(batch)
    store.roll_up()
    store.close()
    return path


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> str:
    return store_of(tmp_path_factory.mktemp("slower"), new_seconds=0.020)


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> str:
    return store_of(tmp_path_factory.mktemp("same"), new_seconds=0.010)


def test_a_worse_artifact_is_status_1_in_every_form(
    slower: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    assert main(["review", "compare", A, B, "--store", slower, "--html", str(page)]) == 1
    text = capsys.readouterr().out
    assert f"{B} is worse" in text
    assert "+100.0 %" in text
    html = page.read_text()
    assert f"{B} is worse" in html
    assert "<svg" in html
    assert 'http-equiv="Content-Security-Policy"' in html
    assert main(["review", "compare", A, f"sha256:{B}", "--store", slower, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["kind"]) == ("edgewright.review/1", "comparison")
    assert told["comparison"]["verdict"] == "worse"
    median = next(
        one
        for one in told["comparison"]["measures"]
        if one["measure"] == "latency_p50_seconds" and not one["group"]
    )
    assert median["effect"]["change"] == pytest.approx(1.0, abs=0.03)


def test_a_like_artifact_is_status_0(same: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", "compare", A, B, "--store", same]) == 0
    assert f"{B} is no worse" in capsys.readouterr().out


def test_a_terminal_without_a_character_costs_that_character_alone(slower: str) -> None:
    command = [sys.executable, "-m", "host_tools", "review", "compare", A, B, "--store", slower]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert f"{B} is worse".encode() in done.stdout


def test_a_margin_of_ones_own_counts(slower: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "--margin", "latency_p50_seconds=5", "--margin", "latency_p95_seconds=0.4"]
    main(["review", "compare", A, B, "--store", slower, *arguments])
    measures = json.loads(capsys.readouterr().out)["comparison"]["measures"]
    margins = {one["measure"]: one["margin"] for one in measures}
    assert (margins["latency_p50_seconds"], margins["latency_p95_seconds"]) == (5.0, 0.4)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_comparison_can_be_read_at_any_width(
    slower: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["review", "compare", A, B, "--store", slower]) == 1
    text = capsys.readouterr().out
    assert "…" not in text
    assert "median latency" in text
    assert "+100.0 %" in text
    assert max(map(len, text.splitlines())) <= width


def test_too_few_devices_are_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = store_of(tmp_path, new_seconds=0.020, devices=4)
    assert main(["review", "compare", A, B, "--store", few]) == 3
    assert "Too few devices" in capsys.readouterr().out


def test_a_device_and_a_week_say_what_is_found(
    slower: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "device.html"
    main(["review", "device", device_id(3), "--store", slower, "--html", str(page)])
    told = capsys.readouterr().out
    assert device_id(3) in told
    assert "85.0 °C" in told
    assert "<script>owned" not in page.read_text()
    assert "&lt;script&gt;owned=1" in page.read_text()
    assert main(["review", "weekly", "--store", slower, "--json"]) == 1, "a regression needs somebody now"
    week = json.loads(capsys.readouterr().out)["weekly"]
    assert week["review"]["reporting"] == 24
    assert any(one["kind"] == "regression" for one in week["review"]["findings"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "ffff", B], "no artifact that ran in this time begins so"),
        (["compare", "b2", B], "at least 4 characters"),
        (["compare", A, A], "the same artifact"),
        (["device", "gate"], "never heard. Did you mean gate-0"),
        (["device", "x\x1b[2Jy"], "never heard"),
        (["weekly", "--until", "tomorrow"], "--until: expected a time"),
        (
            ["device", "gate-1", "--since", "2026-11-28", "--until", "2026-11-20"],
            "2026-11-28 00:00 UTC to 2026-11-20",
        ),
        (["device", "gate-1", "--until", "1e300"], "expected a start before the end"),
        (["compare", A, B, "--margin", "latency=1"], "Measures are latency_p50_seconds"),
        (
            ["compare", A, B, "--margin", "latency_p50_seconds=x"],
            "--margin latency_p50_seconds: expected a number",
        ),
        (["compare", A, B, "--margin", "latency_p50_seconds=nan"], "expected margins above 0"),
    ],
)
def test_wrong_arguments_are_told(
    slower: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["review", *arguments, "--store", slower]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "\x1b" not in error


def test_nothing_heard_is_status_3(slower: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = str(tmp_path / "empty.duckdb")
    open_store(empty).close()
    said = ""
    for arguments in (["compare", A, B], ["device", "gate-1"], ["weekly"]):
        assert main(["review", *arguments, "--store", empty]) == 3
        assert "no telemetry in it yet" in capsys.readouterr().err
        assert main(["review", *arguments, "--store", slower, "--until", "2020-01-02"]) == 3
        said += capsys.readouterr().err
    assert "no artifact ran from 2019-12-19" in said
    assert main(["review", "compare", A, B, "--store", str(tmp_path / "none.duckdb")]) == 7


# --- simulated fleets: everything a report may have to show ---


@pytest.fixture(scope="module")
def simulated() -> SimulatedStore:
    faults = (
        Injection(fault="latency", size=0.2, with_artifact=1),
        Injection(fault="straggler", size=0.6, share=0.05),
        Injection(fault="silent", share=0.03, since=6 * 86400.0),
        Injection(fault="flapping", size=8.0, share=0.03),
    )
    plan = FleetPlan(devices=40, days=14.0, rollout_at=9 * 86400.0, rollout_share=0.7, injections=faults)
    return SimulatedStore(SimulatedFleet(5, plan))


@pytest.fixture(scope="module")
def reviewed(simulated: SimulatedStore) -> Review:
    plan = simulated.fleet.plan
    return review_fleet(simulated, Selection(start=plan.end - 7 * 86400.0, end=plan.end))


@pytest.fixture(scope="module")
def reports(simulated: SimulatedStore, reviewed: Review) -> dict[str, tuple[Report, bytes, int]]:
    store, plan = simulated, simulated.fleet.plan
    week = Selection(start=plan.end - 7 * 86400.0, end=plan.end)
    whole, comparison = reviewed, compare(store, *store.fleet.artifacts, week)
    device, seven = examine_device(store, store.fleet.devices[0].device, week), weekly(store, end=plan.end)
    return {
        "fleet": (fleet_report(whole), document("fleet", whole), review_status(whole)),
        "comparison": (
            comparison_report(comparison),
            document("comparison", comparison),
            comparison_status(comparison),
        ),
        "device": (device_report(device), document("device", device), review_status(device.review)),
        "weekly": (weekly_report(seven), document("weekly", seven), review_status(seven.review)),
    }


def test_every_report_can_be_shown_everywhere(reports: dict[str, tuple[Report, bytes, int]]) -> None:
    for name, (report, as_json, status) in reports.items():
        console = Console(width=160, record=True, file=None, force_terminal=False)
        with console.capture() as captured:
            console.print(terminal_report(report))
        page, text = page_report(report), captured.get()
        assert set(json.loads(as_json)) == {"schema", "kind", name}
        assert b"NaN" not in as_json
        for found in report.findings:
            assert found.severity in text
            assert found.next_step.partition("`")[0] in " ".join(text.split())
        assert report.verdict in page
        assert status == {"pass": 0, "marginal": status, "fail": 1}[report.tone]
    found = reports
    assert found["comparison"][2] == 1
    assert {"regression", "silent"} <= {
        one["kind"] for one in json.loads(found["fleet"][1])["fleet"]["findings"]
    }


def test_a_week_is_told_in_differences_where_a_ratio_says_nothing_and_in_whole_counts(
    reports: dict[str, tuple[Report, bytes, int]],
) -> None:
    (figures,) = (table for table in reports["weekly"][0].tables if table.title == "Figures")
    changes = {row[0]: row[3] for row in figures.rows}
    assert re.fullmatch(r"[+−]?\d+\.\d °C", changes["temperature"])
    assert changes["throttled share of time"].endswith(" points")
    assert changes["share of inferences that fail"].endswith(" points")
    assert changes["median latency"].endswith(" %")
    (inferences,) = (row[1] for row in figures.rows if row[0] == "inferences")
    assert re.fullmatch(r"\d{1,3}(,\d{3})+", inferences), "a count of millions is no 1.2e+08"
    (flapping,) = (one for one in reports["fleet"][0].findings if "times a day" in one.what)
    assert any("a day" in fact and "1/d" not in fact for fact in flapping.facts)


def test_texts_of_devices_draw_nothing(reviewed: Review) -> None:
    hostile = f"[red]{HOSTILE}\x1b]0;owned\x07\u202e"
    findings = tuple(dataclasses.replace(one, what=hostile, devices=(hostile,)) for one in reviewed.findings)
    report = fleet_report(dataclasses.replace(reviewed, findings=findings))
    console = Console(width=400, force_terminal=True)
    with console.capture() as captured:
        console.print(terminal_report(report))
    assert "[red]<img" in captured.get()
    assert "\x1b]0" not in captured.get()
    assert "\u202e" not in captured.get()
    assert "<img src=x" not in page_report(report)
