"""Power cuts at every step of an update, from a signed repository on this machine: one verified model always runs, and the update ends well."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hil.release_server import ReleaseServer, next_version
from hil.suites.updating import LONGEST_SECONDS, STEPS, configure, hear, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device_agent.contract.archive import ArtifactArchive
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure


@pytest.fixture(scope="module")
def releases(
    tmp_path_factory: pytest.TempPathFactory, artifact: ArtifactArchive
) -> Iterator[tuple[ReleaseServer, list[tuple[str, ArtifactArchive]]]]:
    folder = tmp_path_factory.mktemp("releases")
    server = ReleaseServer(folder)
    archives = [next_version(artifact, version, folder) for version in ("98.0.0", "99.0.0")]
    yield server, [(server.add(archive.path), archive) for archive in archives]
    server.close()


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
