"""The agent under a heat policy, as a process: a board that is a tree below a sysfs root gets hot and cools down."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from device_agent.contract.digest import digest_of_file
from device_agent.contract.manifest import Heat
from tests.integration.support import (
    AgentProcess,
    command,
    null_artifact,
    onnx_artifact,
    wait_until,
    write_config,
)
from tests.integration.update_repository import Fleet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Zone:
    """One thermal zone."""

    root: Path

    def set(self, celsius: float) -> None:
        folder = self.root / "class/thermal/thermal_zone0"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "type").write_text("cpu-thermal")
        (folder / "temp.new").write_text(str(int(celsius * 1_000)))
        (folder / "temp.new").rename(folder / "temp")

    def remove(self) -> None:
        (self.root / "class/thermal/thermal_zone0/temp").unlink()


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    made = Zone(tmp_path / "sys")
    made.set(40.0)
    return made


def heat_config(
    folder: Path,
    zone: Zone,
    *,
    artifact: Path | None = None,
    engine: Mapping[str, object] | None = None,
    **heat: object,
) -> Path:
    return write_config(
        folder,
        1,
        artifact or null_artifact(folder / "a.ewa"),
        engine=engine or {},
        mqtt={"enabled": False},
        results={"jsonl": "results.jsonl", "max_rate_hz": 0.0},
        source={"kind": "null", "rate_hz": 100.0},
        sensors={"sysfs_root": str(zone.root)},
        heat={"interval_seconds": 0.1, "hold_seconds": 1.0, **heat},
    )


def spooled(folder: Path, ending: str) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(folder / "spool/spool.db")) as spool:
        rows = spool.execute("SELECT topic, payload FROM message ORDER BY id").fetchall()
    return [json.loads(payload) for topic, payload in rows if topic.endswith(ending)]


def results(folder: Path) -> list[dict[str, Any]]:
    file = folder / "results.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def rate_within(folder: Path, seconds: float) -> float:
    """Return how many results a second were written in the next while."""
    before, began = len(results(folder)), time.monotonic()
    time.sleep(seconds)
    return (len(results(folder)) - before) / (time.monotonic() - began)


def more_results(folder: Path) -> dict[str, Any]:
    """Return the last result once there are some new ones."""
    before = len(results(folder))
    wait_until(lambda: len(results(folder)) >= before + 3, what="results")
    return results(folder)[-1]


def test_heat_lowers_the_rate_then_pauses_and_cooling_lifts_both(tmp_path: Path, zone: Zone) -> None:
    config = heat_config(tmp_path, zone, slow_celsius=70.0, slow_rate_hz=5.0, pause_celsius=80.0)
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        zone.set(75.0)
        agent.wait_for_log("heat_measures_taken: 75.0 °C: fewer frames")
        more_results(tmp_path)
        # 5 a second, once what waited has been written.
        wait_until(lambda: rate_within(tmp_path, 1.0) <= 10, what="fewer frames")
        zone.set(85.0)
        agent.wait_for_log("inference pauses")
        wait_until(lambda: rate_within(tmp_path, 0.5) == 0, what="no frames")
        assert "health: degraded: it is too hot" in agent.log
        zone.set(40.0)
        agent.wait_for_log("as declared, nothing holds back")
        agent.wait_for_log("health: up")
        more_results(tmp_path)
        assert agent.stop() == 0
    taken = [event["data"]["details"]["measures"] for event in spooled(tmp_path, "/e/heat_measures_taken")]
    lifted = [event["data"]["details"]["measures"] for event in spooled(tmp_path, "/e/heat_measures_lifted")]
    assert taken == ["slow", "slow,pause"]
    assert lifted == ["slow", ""]


def test_the_variant_runs_while_it_is_hot_and_the_declared_artifact_afterwards(
    tmp_path: Path, zone: Zone
) -> None:
    variant = null_artifact(tmp_path / "small.ewa", latency_seconds=0.001)
    digest = f"sha256:{hashlib.sha256(variant.read_bytes()).hexdigest()}"
    config = heat_config(
        tmp_path, zone, variant_celsius=70.0, variant_path=str(variant), variant_digest=digest
    )
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        zone.set(75.0)
        agent.wait_for_log("model_switched")
        more_results(tmp_path)
        assert more_results(tmp_path)["artifact"] == digest
        zone.set(40.0)
        wait_until(lambda: agent.log.count("model_switched") == 2, what="the declared artifact is back")
        more_results(tmp_path)
        assert more_results(tmp_path)["artifact"] != digest
        assert agent.stop() == 0
    artifacts = [window["artifact"] for window in spooled(tmp_path, "/m/inference")]
    changes = [at for at in range(1, len(artifacts)) if artifacts[at] != artifacts[at - 1]]
    assert len(changes) == 2
    totals = [window["inferences_total"] for window in spooled(tmp_path, "/m/inference")]
    assert totals == sorted(totals)


def test_a_variant_that_cannot_stand_in_leaves_what_runs(tmp_path: Path, zone: Zone) -> None:
    config = heat_config(
        tmp_path, zone, variant_celsius=70.0, variant_path=str(tmp_path / "none.ewa"), slow_celsius=90.0
    )
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        zone.set(75.0)
        agent.wait_for_log("model_switch_failed")
        more_results(tmp_path)
        zone.remove()
        agent.wait_for_log("heat_unknown")
        assert "ENOENT" in agent.log
        assert agent.stop() == 0


def test_a_variant_that_takes_more_memory_than_a_model_may_leaves_what_runs(
    tmp_path: Path, zone: Zone
) -> None:
    heavy = onnx_artifact(tmp_path / "heavy.ewa", ballast_bytes=96 << 20)
    declared = onnx_artifact(tmp_path / "a.ewa")
    config = heat_config(
        tmp_path, zone, artifact=declared, engine={"memory_max_bytes": 48 << 20}, variant_celsius=70.0,
        variant_path=str(heavy),
    )  # fmt: skip
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        zone.set(75.0)
        agent.wait_for_log("model_switch_failed")
        assert "engine.memory_max_bytes: loading and testing the model added" in agent.log
        assert more_results(tmp_path)["artifact"] == digest_of_file(declared)
        assert agent.stop() == 0
    done = command("check", "--config", str(config))
    assert done.returncode == 7
    assert "engine.memory_max_bytes" in done.stderr


def test_while_the_variant_runs_a_new_model_is_not_judged_and_it_is_the_new_one_that_comes_back(
    tmp_path: Path, zone: Zone
) -> None:
    old = null_artifact(tmp_path / "old.ewa", latency_seconds=0.02)
    new = null_artifact(tmp_path / "new.ewa", latency_seconds=0.021)
    variant = null_artifact(tmp_path / "small.ewa", latency_seconds=0.4)  # as a model that is much too slow
    fleet = Fleet(tmp_path)
    config = write_config(
        tmp_path,
        1,
        old,
        mqtt={"enabled": False},
        results={"jsonl": "results.jsonl", "max_rate_hz": 0.0},
        source={"kind": "null"},
        sensors={"sysfs_root": str(zone.root)},
        heat={
            "interval_seconds": 0.1,
            "hold_seconds": 1.0,
            "variant_celsius": 70.0,
            "variant_path": str(variant),
        },
        update={
            "url": fleet.server.url,
            "root": str(fleet.root),
            "directory": "updates",
            "first_check_seconds": 0.2,
            "check_interval_seconds": 0.5,
            "require_synced_clock": False,
            "shadow_frames": 0,
            "probation_seconds": 0.5,
            "probation_inferences": 100,
            "probation_p95_ratio": 8.0,
            "probation_bad_windows": 1,
        },
    )
    with contextlib.closing(fleet.server), AgentProcess(config) as agent:
        wait_until(lambda: len(ran(tmp_path)) > 50, what="a window of the old model")
        fleet.offer(new, counter=1)
        agent.wait_for_log("update_activated", seconds=150.0)
        zone.set(75.0)
        agent.wait_for_log("model_switched", seconds=150.0)
        wait_until(lambda: ran(tmp_path)[-5:] == [digest_of_file(variant)] * 5, what="windows of the variant")
        zone.set(40.0)
        agent.wait_for_log("update_committed", seconds=150.0)
        assert agent.stop() == 0
    assert "update_rolled_back" not in agent.log
    order = [digest for digest, _ in itertools.groupby(ran(tmp_path))]
    assert order == [digest_of_file(one) for one in (old, new, variant, new)]


def test_the_artifact_declares_what_to_do_and_the_configuration_overrides_it(
    tmp_path: Path, zone: Zone
) -> None:
    heat = Heat(
        slow_celsius=70.0, slow_rate_hz=5.0, pause_celsius=80.0, hysteresis_celsius=5.0, hold_seconds=1.0
    )
    config = heat_config(tmp_path, zone)
    null_artifact(tmp_path / "a.ewa", heat=heat)
    found = json.loads(command("check", "--config", str(config), "--json").stdout)["heat"]
    assert found["declared by"] == "the artifact"
    assert found["measures"] == "slow from 70 °C, pause from 80 °C"
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        zone.set(75.0)
        agent.wait_for_log("heat_measures_taken: 75.0 °C: fewer frames")
        more_results(tmp_path)
        wait_until(lambda: rate_within(tmp_path, 1.0) <= 10, what="fewer frames")
        zone.set(85.0)
        agent.wait_for_log("inference pauses")
        assert agent.stop() == 0
    for own, measures in (({"pause_celsius": 90.0}, "pause from 90 °C"), ({"from_artifact": False}, None)):
        config = heat_config(tmp_path, zone, **own)
        null_artifact(tmp_path / "a.ewa", heat=heat)
        found = json.loads(command("check", "--config", str(config), "--json").stdout)["heat"]
        assert found.get("measures") == measures


def test_a_new_model_that_makes_the_device_too_hot_is_taken_back_with_that_reason(
    tmp_path: Path, zone: Zone
) -> None:
    fleet = Fleet(tmp_path)
    config = write_config(
        tmp_path,
        1,
        null_artifact(tmp_path / "old.ewa"),
        mqtt={"enabled": False},
        sensors={"sysfs_root": str(zone.root)},
        update={
            "url": fleet.server.url,
            "root": str(fleet.root),
            "directory": "updates",
            "first_check_seconds": 0.2,
            "require_synced_clock": False,
            "shadow_frames": 0,
            "probation_p95_ratio": 1000.0,
            "probation_max_celsius": 80.0,
        },
    )
    with contextlib.closing(fleet.server), AgentProcess(config) as agent:
        fleet.offer(null_artifact(tmp_path / "new.ewa", latency_seconds=0.001), counter=1)
        agent.wait_for_log("update_activated", seconds=150.0)
        zone.set(91.0)
        agent.wait_for_log("update_rolled_back", seconds=150.0)
        assert agent.stop() == 0
    (told,) = spooled(tmp_path, "/e/update_rolled_back")
    assert told["data"]["details"]["reason"] == "heat"
    assert "91.0 °C, update.probation_max_celsius is 80" in told["data"]["text"]


def ran(folder: Path) -> list[str]:
    """Return which artifact gave each result."""
    return [result["artifact"] for result in results(folder)]
