"""The benchmark of a rollout over a real broker, small: programs are killed in the middle, and each device is updated exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet.protocol.chaos import DATABASE, PROGRAMS, WORKER, Chaos
from benchmarks.fleet.protocol.rollouts import roll_out
from benchmarks.fleet.protocol.stand import StandSettings, stand
from tests.unit.host_tools.fleet.postgres_cluster import PostgresCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

DEVICES = 24
SETTINGS = StandSettings(
    devices=DEVICES,
    processes=2,
    check_seconds=1.0,
    window_seconds=1.0,
    rate_hz=50.0,
    probation_seconds=0.5,
    artifact_bytes=1 << 14,
    start_seconds=0.5,
    gates_seconds=2.0,
    look_seconds=0.1,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    made = PostgresCluster()
    try:
        yield made.start()
    finally:
        made.remove()


def test_every_device_is_updated_once_though_the_server_is_killed(tmp_path: Path) -> None:
    with stand(tmp_path, SETTINGS) as up:
        figures = roll_out(up, "killed", "2.0", soak_seconds=0.0, kill=True)
        assert {event["event"] for event in up.events()} == {
            "update_started",
            "update_tried",
            "update_activated",
            "update_committed",
        }
        running = {one["artifact"] for one in up.every("/devices")}
        up.programs.kill("devices-0")  # each of its devices had a session, and a last will, of its own
        up.wait_until(
            lambda: up.ask("GET", "/overview")["by_health"].get("down") == DEVICES // 2,
            "the broker says that half of the devices have gone",
        )
    assert figures.killed
    assert figures.down_seconds > 0.0
    assert (figures.jobs.jobs, figures.jobs.succeeded, figures.jobs.devices_once) == (DEVICES,) * 3
    assert figures.jobs.faults(DEVICES, stages=4) == []
    assert sum(stage.devices for stage in figures.stages) == DEVICES
    assert len(running) == 1
    assert figures.messages["e"] >= 4 * DEVICES
    assert figures.messages["acknowledged"] > 0
    assert set(figures.costs) == {"server", "broker", "ingest", "repository", "devices"}
    assert all(cost.peak_rss_bytes >= cost.peak_pss_bytes > 0 for cost in figures.costs.values())
    logs = {path.name: path.read_text(errors="replace") for path in (tmp_path / "logs").iterdir()}
    assert [name for name, text in logs.items() if "Traceback" in text] == []


def test_whatever_is_killed_during_a_rollout_no_job_is_lost_or_run_twice(
    tmp_path: Path, cluster: PostgresCluster
) -> None:
    settings = replace(SETTINGS, database=cluster.database("chaos"))
    chaos = Chaos(seed=1, kills=5, pause_seconds=1.0, restart_database=cluster.restart)
    with stand(tmp_path, settings) as up:
        figures = roll_out(up, "chaos", "2.0", soak_seconds=0.0, chaos=chaos)  # fails where a job was
        running = {one["artifact"] for one in up.every("/devices")}
    assert Counter(one.program for one in figures.kills) == dict.fromkeys((*PROGRAMS, DATABASE), 1)
    assert [one.stage for one in figures.kills] == [0, 1, 2, 3, 3]
    assert all((one.down_seconds > 0.0) == (one.program != WORKER) for one in figures.kills)
    assert figures.jobs.faults(DEVICES, stages=5) == []
    assert len(running) == 1
    logs = {path.name: path.read_text(errors="replace") for path in (tmp_path / "logs").iterdir()}
    assert [name for name, text in logs.items() if "Traceback" in text] == []
