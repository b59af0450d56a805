"""Power cuts one after another (``--rig-cuts N``), each in an update: the board always comes back, and the update that was cut ends well."""

from __future__ import annotations

import functools
import logging
import random
import time
from typing import TYPE_CHECKING

import pytest

from hil.errors import AgentError
from hil.release_server import ReleaseServer, next_version
from hil.suites.updating import LONGEST_SECONDS, STEPS, configure, hear, kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device_agent.contract.archive import ArtifactArchive
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord

logger = logging.getLogger(__name__)

SEED = 1
LONGEST_PAUSE_SECONDS = 1.0
"""From a step's line in the log until the power goes: up to so much, drawn from the seed."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReleaseServer]:
    made = ReleaseServer(tmp_path)
    yield made
    made.close()


@pytest.mark.needs("power", "network")
def test_no_power_cut_in_an_update_leaves_a_board_that_does_not_come_back(
    agent: Agent,
    artifact: ArtifactArchive,
    server: ReleaseServer,
    tmp_path: Path,
    measure: Measure,
    hil_record: TestRecord,
    request: pytest.FixtureRequest,
) -> None:
    draw = random.Random(SEED)  # noqa: S311  a schedule, not a secret
    configure(agent, server)
    agent.to("model_active")
    verified, recoveries, bricks = {agent.artifact.digest}, [], 0
    cuts: int = request.config.getoption("--rig-cuts")
    for number in range(cuts):
        following = next_version(artifact, f"100.0.{number}", tmp_path)
        verified.add(following.digest)
        step = STEPS[number % len(STEPS)]
        before = agent.log().count(step)
        server.release(agent.device, server.add(following.path))
        hear(agent, step, times=before + 1)
        time.sleep(draw.uniform(0.0, LONGEST_PAUSE_SECONDS))
        cut = time.monotonic()
        agent.cut_power()
        try:
            agent.to("model_active")
            agent.wait_for(
                functools.partial(kept, agent, following.digest),
                what="the update is kept",
                seconds=LONGEST_SECONDS,
            )
        except AgentError as error:
            bricks += 1
            hil_record.add_log(f"cut {number + 1}, at {step}", str(error))
            break
        recoveries.append(time.monotonic() - cut)
        logger.info("cut %d of %d, at %s: the update is kept", number + 1, cuts, step)
    measure("cuts", len(recoveries) + bricks, "1", low=1)
    measure("bricks", bricks, "1", high=0, note="boards that did not come back, or did not end the update")
    if recoveries:
        measure("longest_recovery", max(recoveries), "s", note="from the cut until the new model is kept")
    assert {window.envelope.artifact for window in agent.windows} <= verified, "nothing else ever ran"
    assert not agent.events("update_rejected")
    assert not agent.events("update_rolled_back")
    assert "Traceback" not in agent.log()
