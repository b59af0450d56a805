"""Power cuts one after another (``--rig-cuts N``), each in an update: the board always comes back, and the update that was cut ends well.

With ``--rig-cuts-record FILE`` every cut is kept as it ends, and another session goes on where the last one was broken off.
"""

from __future__ import annotations

import functools
import logging
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.errors import AgentError, BootError
from hil.facts import artifact_facts, host_facts, rig_facts
from hil.release_server import ReleaseServer, next_version
from hil.suites.cut_record import Cut, CutRecord
from hil.suites.updating import LONGEST_SECONDS, STEPS, configure, hear, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device_agent.contract.archive import ArtifactArchive
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord

logger = logging.getLogger(__name__)

SEED = 1
LONGEST_PAUSE_SECONDS = 1.0
"""From a step's line in the log until the power goes: up to so much, drawn from the seed and the cut's number."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReleaseServer]:
    made = ReleaseServer(tmp_path)
    yield made
    made.close()


@pytest.fixture
def cut_record(request: pytest.FixtureRequest) -> CutRecord:
    """Return the cuts of earlier sessions, which this one adds to."""
    named = request.config.getoption("--rig-cuts-record")
    return CutRecord(Path(named) if named else None)


@pytest.mark.needs("power", "network")
def test_no_power_cut_in_an_update_leaves_a_board_that_does_not_come_back(
    agent: Agent,
    artifact: ArtifactArchive,
    server: ReleaseServer,
    cut_record: CutRecord,
    tmp_path: Path,
    measure: Measure,
    hil_record: TestRecord,
    request: pytest.FixtureRequest,
) -> None:
    wanted: int = request.config.getoption("--rig-cuts")
    if len(cut_record.cuts) < wanted:
        here = host_facts(request.config.invocation_params.dir)
        cut_record.begin_session(rig_facts(agent.rig) | artifact_facts(artifact) | here)
        configure(agent, server)
        agent.to("model_active")
    begin, verified = time.monotonic(), {agent.artifact.digest}
    most_seconds = 60.0 * request.config.getoption("--rig-cuts-minutes")
    for number in range(len(cut_record.cuts) + 1, wanted + 1):
        longest = max((cut.seconds for cut in cut_record.cuts), default=0.0)
        if len(verified) > 1 and time.monotonic() - begin + longest > most_seconds:
            logger.info("%d of %d cuts; another would not end in time", number - 1, wanted)
            break
        following = next_version(artifact, f"100.0.{number}", tmp_path)
        verified.add(following.digest)
        cut = cut_in_an_update(agent, server, following, cut_record, number, verified)
        cut_record.end(cut)
        logger.info("cut %d of %d, at %s: %s", number, wanted, cut.step, cut.reason or "the update is kept")
        if cut.outcome != "kept":
            hil_record.add_log(f"cut {number}, at {cut.step}", cut.reason)
            break
    measure("cuts", len(cut_record.cuts), "1", low=1)
    measure(
        "bricks",
        sum(cut.outcome == "brick" for cut in cut_record.cuts),
        "1",
        high=0,
        note="boards that did not come back, or did not end the update",
    )
    measure("cuts_broken_off", cut_record.broken_off, "1", note="with their session; each was made again")
    recoveries = [cut.recovery_seconds for cut in cut_record.cuts if cut.recovery_seconds is not None]
    if recoveries:
        measure("longest_recovery", max(recoveries), "s", note="from the cut until the new model is kept")
    wrong = [
        f"cut {cut.number}, at {cut.step}: {cut.reason}" for cut in cut_record.cuts if cut.outcome != "kept"
    ]
    assert not wrong, "\n".join(wrong)


def cut_in_an_update(
    agent: Agent,
    server: ReleaseServer,
    following: ArtifactArchive,
    record: CutRecord,
    number: int,
    verified: set[str],
) -> Cut:
    """Release an artifact, cut the power in one of the update's steps, give it back, and see what comes of it.

    Args:
        agent: Up, and following the server.
        server: Signs the release.
        following: The artifact.
        record: Is told before the power goes.
        number: Of the cut: says which step, and with the seed how long after it began.
        verified: Digests of all that may run.
    """
    step = STEPS[(number - 1) % len(STEPS)]
    pause = random.Random(f"{SEED} {number}").uniform(0.0, LONGEST_PAUSE_SECONDS)  # noqa: S311  a schedule, not a secret
    begin = time.monotonic()
    offset = agent.log_bytes()
    server.release(agent.device, server.add(following.path))
    hear(agent, step, offset=offset)
    time.sleep(pause)
    record.begin(number, step)
    off = time.monotonic()
    brick = comes_back(agent, following.digest)
    back = time.monotonic()
    wrong = brick or what_else_is_wrong(agent, verified)
    return Cut(
        number=number,
        step=step,
        pause_seconds=pause,
        outcome="brick" if brick else "wrong" if wrong else "kept",
        recovery_seconds=None if wrong else back - off,
        reason=wrong,
        seconds=back - begin,
    )


def comes_back(agent: Agent, digest: str) -> str:
    """Cut the power and give it back; return why the board does not come back and end the update, empty where it does."""
    agent.to("off")
    try:
        agent.to("model_active")
        agent.wait_for(
            functools.partial(kept, agent, digest), what="the update is kept", seconds=LONGEST_SECONDS
        )
    except (AgentError, BootError) as error:
        return str(error)
    return ""


def what_else_is_wrong(agent: Agent, verified: set[str]) -> str:
    """Return what must never be seen of an update that was cut; empty where it was not seen."""
    others = {window.envelope.artifact for window in agent.windows} - verified
    if others:
        return f"{', '.join(sorted(map(str, others)))} ran, which was never released"
    for name in ("update_rejected", "update_rolled_back"):
        if agent.events(name):
            return f"{name}: {agent.events(name)[-1].details}"
    return "a traceback is in the agent's log" if "Traceback" in agent.log() else ""
