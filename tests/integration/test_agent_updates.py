"""The agent as a process takes updates from a real repository: child processes, restarts, probation and all."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from device_agent.contract.digest import digest_of_file
from device_agent.contract.telemetry.event import UPDATE_EVENTS
from device_agent.update.state_file import StateFile
from tests.integration.support import AgentProcess, command, onnx_artifact, wait_until, write_config
from tests.integration.update_repository import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_BROKER = 1
LONGEST_SECONDS = 150.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.server.close()


def config_of(fleet: Fleet, folder: Path, delivered: Path, **update: Any) -> Path:
    np.savez(folder / "frames.npz", x=np.random.default_rng(1).normal(0, 1, (50, 1, 8)).astype(np.float32))
    settings = {
        "url": fleet.server.url,
        "root": str(fleet.root),
        "directory": "updates",
        "first_check_seconds": 0.2,
        "check_interval_seconds": 0.5,
        "require_synced_clock": False,
        "shadow_frames": 5,
        "probation_seconds": 0.5,
        "probation_inferences": 10,
        "probation_p95_ratio": 1000.0,
        "probation_bad_windows": 1,
    } | update
    return write_config(
        folder,
        NO_BROKER,
        delivered,
        source={"kind": "replay", "path": "frames.npz", "loop": True},
        update=settings,
    )


def events(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the events about updates, in order."""
    with contextlib.closing(sqlite3.connect(folder / "spool" / "spool.db")) as spool:
        rows = spool.execute("SELECT topic, payload FROM message WHERE topic LIKE '%/e/update_%'").fetchall()
    return [(topic.rsplit("/", 1)[-1], json.loads(payload)["data"]) for topic, payload in rows]


def hear(agent: AgentProcess, text: str) -> None:
    """Wait for a text in the log: several processes start one after another, on a machine that may be busy."""
    wait_until(
        lambda: text in agent.log or agent.process.poll() is not None, what=text, seconds=LONGEST_SECONDS
    )
    assert text in agent.log, agent.log


def known_good(folder: Path) -> str:
    state = StateFile(folder / "updates" / "state.json").read()
    return (
        ""
        if state.main.known_good is None or state.main.probation is not None
        else state.main.known_good.digest
    )


def test_the_agent_takes_an_update_keeps_it_and_refuses_one_that_computes_wrongly(
    fleet: Fleet, tmp_path: Path
) -> None:
    delivered = onnx_artifact(tmp_path / "delivered.ewa", golden=False)
    good = onnx_artifact(tmp_path / "good.ewa")
    wrong = onnx_artifact(tmp_path / "wrong.ewa", change=lambda output: output + np.float32(0.4))
    config = config_of(fleet, tmp_path, delivered)
    with AgentProcess(config) as agent:
        hear(agent, "engine_loaded")
        process = agent.process.pid
        fleet.offer(good, counter=1)
        wait_until(lambda: known_good(tmp_path) == digest_of_file(good), what="kept", seconds=LONGEST_SECONDS)
        fleet.offer(wrong, counter=2)
        hear(agent, "update_rejected")
        assert agent.process.pid == process, "it begins anew in its own process"
        assert agent.stop() == 0
    told = events(tmp_path)
    names = [name for name, _ in told]
    assert names == [
        "update_started",
        "update_tried",
        "update_activated",
        "update_committed",
        "update_started",
        "update_rejected",
    ]
    assert set(names) <= set(UPDATE_EVENTS)
    activated = told[2][1]
    assert activated["details"]["shadow_frames"] == 5
    assert activated["details"]["shadow_cosine"] == pytest.approx(1.0)
    assert activated["artifact"] == digest_of_file(delivered)
    assert told[3][1]["artifact"] == digest_of_file(good), "what was kept is what ran"
    assert told[5][1]["details"]["reason"] == "self_test"
    assert "up to 8 codes away" in told[5][1]["text"]
    assert "Traceback" not in agent.log


def test_a_model_that_gives_nan_on_this_devices_frames_is_found_by_the_shadow_run(
    fleet: Fleet, tmp_path: Path
) -> None:
    config = config_of(fleet, tmp_path, onnx_artifact(tmp_path / "delivered.ewa", golden=False))
    fleet.offer(onnx_artifact(tmp_path / "nan.ewa", golden=False, broken=True), counter=1)
    with AgentProcess(config) as agent:
        hear(agent, "update_rejected")
        assert agent.stop() == 0
    assert events(tmp_path)[-1][1]["details"]["reason"] == "shadow_nonfinite"


def test_without_a_shadow_run_probation_finds_it_and_the_agent_goes_back_by_itself(
    fleet: Fleet, tmp_path: Path
) -> None:
    delivered = onnx_artifact(tmp_path / "delivered.ewa", golden=False)
    config = config_of(fleet, tmp_path, delivered, shadow_frames=0)
    fleet.offer(onnx_artifact(tmp_path / "nan.ewa", golden=False, broken=True), counter=1)
    with AgentProcess(config) as agent:
        hear(agent, "update_rolled_back")
        wait_until(
            lambda: agent.log.count("engine_loaded") == 3,
            what="the old model runs again",
            seconds=LONGEST_SECONDS,
        )
        assert agent.stop() == 0
    name, told = events(tmp_path)[-1]
    assert (name, told["details"]["reason"]) == ("update_rolled_back", "output_not_finite")
    assert told["details"]["runs"] == known_good(tmp_path) == digest_of_file(delivered)


def test_a_repository_that_is_away_and_a_clock_that_nobody_vouches_for_stop_no_model(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.server.close()
    config = config_of(fleet, tmp_path, onnx_artifact(tmp_path / "delivered.ewa"))
    with AgentProcess(config) as agent:
        hear(agent, "update_postponed")
        assert agent.stop() == 0
    assert events(tmp_path)[0][1]["details"]["reason"] == "transfer"
    clock = "import device_agent.sensors.host as host; host.clock_is_synchronized = lambda: False"
    config_of(fleet, tmp_path, tmp_path / "delivered.ewa", require_synced_clock=True)
    with AgentProcess(config, prelude=clock) as agent:
        hear(agent, "no time service vouches for the clock")
        assert agent.stop() == 0
    assert events(tmp_path)[1][1]["details"]["reason"] == "clock_unsynced"


def test_expired_metadata_stop_no_model_and_fresh_ones_go_on(fleet: Fleet, tmp_path: Path) -> None:
    config = config_of(fleet, tmp_path, onnx_artifact(tmp_path / "delivered.ewa"), probation_seconds=0.0)
    new = onnx_artifact(tmp_path / "new.ewa", golden=False)
    fleet.offer(new, counter=1)
    fleet.expire_timestamp()
    with AgentProcess(config) as agent:
        hear(agent, "update_postponed")
        hear(agent, "health: up")
        assert command("status", "--config", str(config)).returncode == 0
        fleet.repository.refresh()
        wait_until(lambda: known_good(tmp_path) == digest_of_file(new), what="kept", seconds=LONGEST_SECONDS)
        assert agent.stop() == 0
    assert events(tmp_path)[0][1]["details"]["reason"] == "metadata_expired"


def test_two_agents_do_not_share_a_folder_of_updates(fleet: Fleet, tmp_path: Path) -> None:
    artifact = onnx_artifact(tmp_path / "delivered.ewa")
    config = config_of(fleet, tmp_path, artifact)
    with AgentProcess(config) as agent:
        agent.wait_for_log("engine_loaded")
        other = tmp_path / "other.toml"
        other.write_text(config.read_text().replace("spool/spool.db", "other/spool.db"))
        done = command("run", "--config", str(other))
        assert done.returncode == 7, done.stderr
        assert f"update.directory: {tmp_path / 'updates'}: another agent uses it" in done.stderr
        assert "Traceback" not in done.stderr
        assert agent.stop() == 0
