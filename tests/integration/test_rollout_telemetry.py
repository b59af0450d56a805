"""What gates find in a real store of telemetry whose every number is known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from host_tools.fleet.records.gates import Gate
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.fleet.records.rollouts import Rollout, RolloutPlan, Stage, StageProgress
from host_tools.fleet.rollout.telemetry import TelemetryFindings
from host_tools.review.store.opening import open_store
from host_tools.review.store.tables import TABLES, Batch
from tests.integration import review_fleet
from tests.integration.review_fleet import NEW, OLD, START, SWITCH, WINDOWS, device_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from host_tools.fleet.records.gates import GateFinding, GateMeasure
    from host_tools.review.store.telemetry_store import TelemetryStore

DEVICES = 24
HALF_HOUR = 1800.0


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that nobody writes to: devices with an even number got a release that is twice as slow."""
    return filled(tmp_path_factory.mktemp("slower") / "fleet.duckdb")


@pytest.fixture
def store(slower: Path, tmp_path: Path) -> Iterator[TelemetryStore]:
    """The same, the test's own."""
    opened = open_store(str(shutil.copy(slower, tmp_path / "fleet.duckdb")))
    yield opened
    opened.close()


def filled(path: Path, **how: float) -> Path:
    store = open_store(str(path))
    for batch in review_fleet.batches(devices=DEVICES, **{"window_seconds": HALF_HOUR, **how}):  # type: ignore[arg-type]
        store.write(batch)
    store.roll_up()
    store.close()
    return path


def artifact(digest: str) -> ReleasedArtifact:
    return ReleasedArtifact(path="models/detector/detector.ewa", digest=digest, size_bytes=1)


def look(
    store: TelemetryStore,
    *gates: Gate,
    window_seconds: float = HALF_HOUR,
    members: int = DEVICES,
    before: str = OLD,
    after: str = NEW,
) -> dict[str, GateFinding]:
    began = START + SWITCH * window_seconds
    rollout = Rollout(
        plan=RolloutPlan(
            id="r1",
            release="detector-2",
            group="gates",
            stages=(Stage(name="all", share_ppm=1_000_000),),
            gates=gates,
        ),
        previous={"x86_64-openvino": artifact(before)},
        state="running",
        stages=(StageProgress(state="running", began_seconds=began),),
    )
    release = Release(
        id="detector-2",
        model="detector",
        version="2",
        counter=2,
        artifacts={"x86_64-openvino": artifact(after)},
        created_by="user ann",
        created_seconds=began,
    )
    findings = TelemetryFindings(store, lambda group: [device_id(one) for one in range(members)])
    found = findings(rollout, release, START + WINDOWS * window_seconds + 1.0)
    assert [one.gate for one in found] == list(gates)
    return {one.gate.measure: one for one in found}


def test_a_release_that_is_twice_as_slow_fails_its_gate(store: TelemetryStore) -> None:
    found = look(store, Gate(measure="latency_p95", worst=0.1))["latency_p95"]
    assert found.outcome == "failed"
    assert found.devices == DEVICES // 2  # those with an even number switched
    assert found.estimate == pytest.approx(1.0, abs=0.03)


def test_a_release_that_is_as_fast_passes(tmp_path: Path) -> None:
    store = open_store(str(filled(tmp_path / "fleet.duckdb", new_seconds=review_fleet.OLD_SECONDS)))
    found = look(store, Gate(measure="latency_p95", worst=0.1), Gate(measure="temperature", worst=5.0))
    assert found["latency_p95"].outcome == "passed"
    assert found["temperature"].outcome == "passed"
    assert found["temperature"].estimate == pytest.approx(0.0, abs=1e-9)
    store.close()


def test_what_no_device_measures_is_told_as_not_measured(store: TelemetryStore) -> None:
    found = look(
        store, Gate(measure="energy_per_inference", worst=0.1), Gate(measure="output_agreement", worst=0.02)
    )
    assert {one.outcome for one in found.values()} == {"not_measured"}


@pytest.mark.parametrize("measure", ["latency_p95", "crashes"])
def test_it_is_told_that_devices_have_no_history_or_that_nothing_of_the_release_was_stored(
    store: TelemetryStore, measure: GateMeasure
) -> None:
    gate, other = Gate(measure=measure, worst=0.1), "sha256:" + "9" * 64
    without_history = look(store, gate, before=other)[measure].text
    assert "12 have them with detector-2, none with what they ran before." in without_history
    ingest_was_away = look(store, gate, after=other)[measure].text
    assert "none with detector-2, 24 have them with what they ran before." in ingest_was_away
    few = look(store, gate, members=6)[measure].text
    assert (
        "on 3 devices with figures of both artifacts: undecided, it takes 5; 3 have them with what they ran"
        in few
    )
    assert (
        "nothing to compare: before detector-2 the group ran nothing"
        in look(store, gate, members=0)[measure].text
    )


def test_a_history_of_an_hour_is_compared_without_regard_to_the_hours_of_the_day(tmp_path: Path) -> None:
    # An hour with each: no hour of the day has both.
    store = open_store(str(filled(tmp_path / "fleet.duckdb", window_seconds=60.0)))
    found = look(store, Gate(measure="latency_p50", worst=0.1), window_seconds=60.0)["latency_p50"]
    store.close()
    assert found.outcome == "failed"
    assert found.devices == DEVICES // 2


def test_devices_of_other_groups_do_not_count(store: TelemetryStore) -> None:
    found = look(store, Gate(measure="latency_p95", worst=0.1), members=6)["latency_p95"]
    assert (found.devices, found.outcome) == (3, "undecided")  # five are needed
    assert (
        look(store, Gate(measure="latency_p95", worst=0.1), members=0)["latency_p95"].outcome
        == "not_measured"
    )


def test_starts_that_nobody_asked_for_are_crashes(store: TelemetryStore) -> None:
    after = START + (SWITCH + 2) * HALF_HOUR
    store.write(
        started(
            (device_id(number), f"crash-{crash}", after + 600.0 * crash + number)
            for crash in range(40)
            for number in range(0, DEVICES, 2)
        )
    )
    store.roll_up()
    found = look(store, Gate(measure="crashes", worst=0.01))["crashes"]
    assert found.outcome == "failed"
    assert found.estimate == pytest.approx(40 / (60 * HALF_HOUR / 3600), rel=0.1)


def test_the_switch_itself_is_no_crash(store: TelemetryStore) -> None:
    at = START + SWITCH * HALF_HOUR + 30.0
    store.write(started((device_id(number), "updated", at) for number in range(0, DEVICES, 2)))
    store.roll_up()
    assert look(store, Gate(measure="crashes", worst=0.01))["crashes"].estimate == pytest.approx(
        0.0, abs=0.05
    )


@pytest.mark.parametrize(("cosine", "outcome"), [(0.4, "failed"), (0.999, "undecided")])
def test_outputs_of_the_shadow_run_are_findings(store: TelemetryStore, cosine: float, outcome: str) -> None:
    for number in range(0, DEVICES, 2):
        details = {"digest": NEW, "shadow_frames": 100, "shadow_cosine": cosine}
        store.write(activated(device_id(number), json.dumps(details), number))
    store.write(activated(device_id(1), "no JSON", 1))
    store.write(activated(device_id(3), json.dumps({"digest": NEW, "shadow_cosine": "high"}), 3))
    found = look(store, Gate(measure="output_agreement", worst=0.1))["output_agreement"]
    assert found.devices == DEVICES // 2
    assert found.estimate == pytest.approx(1 - cosine)
    assert found.outcome == outcome


def test_the_store_is_asked_at_most_once_a_minute(store: TelemetryStore) -> None:
    asked = []

    def members(group: str) -> list[str]:
        asked.append(group)
        return [device_id(0)]

    findings = TelemetryFindings(store, members)
    stage = StageProgress(state="running", began_seconds=START)
    plan = RolloutPlan(
        id="r",
        release="d",
        group="g",
        stages=(Stage(name="all", share_ppm=1_000_000),),
        gates=(Gate(measure="latency_p95", worst=0.1),),
    )
    rollout = Rollout(plan=plan, previous={}, state="running", stages=(stage,))
    release = Release(
        id="d", model="d", version="1", counter=1, artifacts={}, created_by="", created_seconds=0.0
    )
    for seconds in (0.0, 1.0, 59.0, 61.0):
        findings(rollout, release, START + 3600.0 + seconds)
    assert asked == ["g", "g"]
    waiting = replace(rollout, stages=(StageProgress(),))
    assert findings(waiting, release, START + 9999.0) == ()


def numbered(device: str, *, boot: str, seq: int, time: float) -> dict[str, object]:
    return {
        "device": device, "boot_id": boot, "seq": seq, "time": time, "uptime_seconds": 1.0,
        "clock": "synced", "received": time + 0.5, "retained": False, "artifact": NEW,
    }  # fmt: skip


def started(starts: Iterable[tuple[str, str, float]]) -> Batch:
    """Return the first message of runs, each given as device, boot and time."""
    rows = [
        {**numbered(device, boot=boot, seq=1, time=time), "status": "up", "reason": ""}
        for device, boot, time in starts
    ]
    return Batch(rows={"health": pa.RecordBatch.from_pylist(rows, schema=TABLES["health"])})


def activated(device: str, details: str, number: int) -> Batch:
    time = START + SWITCH * HALF_HOUR + 60.0 + number
    row = {
        **numbered(device, boot="shadow", seq=number, time=time), "name": "update_activated", "severity": "info",
        "text": "", "details": details,
    }  # fmt: skip
    return Batch(rows={"event": pa.RecordBatch.from_pylist([row], schema=TABLES["event"])})
