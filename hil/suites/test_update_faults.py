"""Power cuts at every step of an update, from a signed repository on this machine: one verified model always runs, and the update ends well."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hil.release_server import ReleaseServer, next_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device_agent.contract.archive import ArtifactArchive
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure

STEPS = ("update_started", "update_tried", "update_activated", "update_committed")
"""The step that has just begun when the power goes: download, trial and shadow run, start of the new model, settling."""
LONGEST_SECONDS = 120.0
MOMENT = 0.02


@pytest.fixture(scope="module")
def releases(
    tmp_path_factory: pytest.TempPathFactory, artifact: ArtifactArchive
) -> Iterator[tuple[ReleaseServer, list[tuple[str, ArtifactArchive]]]]:
    folder = tmp_path_factory.mktemp("releases")
    server = ReleaseServer(folder)
    archives = [next_version(artifact, version, folder) for version in ("98.0.0", "99.0.0")]
    yield server, [(server.add(archive.path), archive) for archive in archives]
    server.close()


def configure(agent: Agent, server: ReleaseServer) -> None:
    root = agent.send("root.json", server.root)
    agent.configure(
        update={
            "url": f"http://127.0.0.1:{agent.rig.network.reach(server.port)}",
            "root": root,
            "directory": f"{agent.folder}/updates",
            "first_check_seconds": 0.1,
            "check_interval_seconds": 0.5,
            "require_synced_clock": False,
            "shadow_frames": 0,
            "probation_seconds": 0.2,
            "probation_inferences": 5,
            "probation_p95_ratio": 1000.0,
        }
    )


def hear(agent: Agent, text: str) -> None:
    """Wait until the log has a text: sooner than telemetry would tell."""
    deadline = time.monotonic() + LONGEST_SECONDS * agent.rig.board.section.slowness
    while text not in agent.log():
        assert time.monotonic() < deadline, f"{text}: not within {LONGEST_SECONDS:g} s\n{agent.log()[-3000:]}"
        assert not agent.has_ended(), agent.log()[-3000:]
        time.sleep(MOMENT)


def kept(agent: Agent, digest: str) -> bool:
    """Say whether the agent has told that it keeps a release, and runs it."""
    # Not by the envelope: what a cut kept from being told is told at the next start, before any artifact runs.
    told = [event.details["digest"] for event in agent.events("update_committed")]
    return digest in told and agent.windows[-1].envelope.artifact == digest


@pytest.mark.needs("power", "network")
@pytest.mark.parametrize("step", STEPS)
def test_a_power_cut_at(
    agent: Agent,
    measure: Measure,
    releases: tuple[ReleaseServer, list[tuple[str, ArtifactArchive]]],
    step: str,
) -> None:
    server, [(name, archive), (next_name, following)] = releases
    configure(agent, server)
    server.release(agent.device, name)
    agent.to("agent_up")
    hear(agent, step)
    agent.cut_power()
    cut = time.monotonic()
    agent.to("model_active")
    verified = {agent.artifact.digest, archive.digest}
    agent.wait_for(lambda: kept(agent, archive.digest), what="the update is kept", seconds=LONGEST_SECONDS)
    measure("recovery", time.monotonic() - cut, "s", note="from the cut until the new model is kept")
    ran = {window.envelope.artifact for window in agent.windows}
    assert ran <= verified, "nothing else ever ran"
    if step == STEPS[-1]:
        server.release(agent.device, next_name)
        agent.wait_for(lambda: kept(agent, following.digest), what="the next update", seconds=LONGEST_SECONDS)
    assert agent.stop() == 0
    assert not agent.events("update_rejected")
    assert not agent.events("update_rolled_back")
    assert "Traceback" not in agent.log()
