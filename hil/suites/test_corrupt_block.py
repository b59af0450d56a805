"""A bit flips in an artifact on the board's disk: it is noticed by digest before anything of it runs, and told; what is whole runs instead."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from hil.flipped_bit import flip_bit
from hil.release_server import ReleaseServer, next_version
from hil.suites.updating import LONGEST_SECONDS, configure, kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.agent import Agent
    from hil.plugin.fixtures import Measure

PLACES = (0.5, 0.0, 1.0)
"""Shares of the file: the payload, the first header of the archive, its directory."""
MUST_NOT_BE_USED = 5
"""Exit status of an agent whose artifact is not what it should be: docs/agent.md."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReleaseServer]:
    served = ReleaseServer(tmp_path)
    yield served
    served.close()


@pytest.mark.needs("network")
def test_a_flipped_bit_in_an_update_leads_back_to_the_version_before_until_it_is_fetched_again(
    agent: Agent, measure: Measure, server: ReleaseServer, tmp_path: Path
) -> None:
    release = next_version(agent.artifact, "97.0.0", tmp_path)
    stored = f"{agent.folder}/updates/store/{release.digest.partition(':')[2]}.ewa"
    configure(agent, server)
    server.release(agent.device, server.add(release.path))
    agent.to("model_active")
    agent.wait_for(lambda: kept(agent, release.digest), what="the update is kept", seconds=LONGEST_SECONDS)
    for number, share in enumerate(PLACES, start=1):
        assert agent.stop() == 0
        flip_bit(agent.rig, stored, share=share)
        earlier = {window.envelope.boot_id for window in agent.windows}
        agent.to("model_active")
        agent.wait_for(
            partial(kept_once_more, agent, release.digest, number),
            what="the release is fetched again and kept",
            seconds=LONGEST_SECONDS,
        )
        told = agent.events("update_store_damaged")
        assert [event.details["digest"] for event in told] == [release.digest] * number
        ran = [one.envelope.artifact for one in agent.windows if one.envelope.boot_id not in earlier]
        assert ran[0] == agent.artifact.digest, "the version before runs first"
        assert set(ran) == {agent.artifact.digest, release.digest}, "and nothing else"
        assert sha256_on_board(agent, stored) == release.digest, "it is whole again"
    assert agent.stop() == 0
    agent.wait_for(lambda: agent.said.missing_count == 0, what="every message", ended=True)
    measure("bits_noticed", len(agent.events("update_store_damaged")), "1", low=len(PLACES), high=len(PLACES))
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    assert not agent.events("update_rejected")
    assert not agent.events("update_rolled_back")
    assert "Traceback" not in agent.log()


@pytest.mark.needs("network")
@pytest.mark.parametrize("share", PLACES)
def test_a_flipped_bit_in_the_only_artifact_keeps_it_from_running(agent: Agent, share: float) -> None:
    agent.configure(artifact={"digest": agent.artifact.digest})
    place = flip_bit(agent.rig, f"{agent.folder}/model.ewa", share=share)
    assert 0 <= place < agent.artifact.path.stat().st_size
    agent.to("agent_up")
    agent.wait_for(agent.has_ended, what="the agent's end", ended=True)
    assert agent.stop() == MUST_NOT_BE_USED
    assert not agent.windows
    assert agent.artifact.digest in agent.log(), "which bytes were expected"
    assert "Traceback" not in agent.log()


def kept_once_more(agent: Agent, digest: str, times: int) -> bool:
    """Say whether the release was kept so many times after the first, and runs."""
    return len(agent.events("update_committed")) > times and kept(agent, digest)


def sha256_on_board(agent: Agent, path: str) -> str:
    told = agent.rig.shell.run(["sha256sum", path]).stdout.decode()
    return f"sha256:{told.split()[0]}" if told else ""
