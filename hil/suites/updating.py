"""What the suites of updates share: an agent that follows a repository of this machine, and what is heard of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.release_server import ReleaseServer

STEPS = ("update_started", "update_tried", "update_activated", "update_committed")
"""The step that has just begun when the power goes: download, trial and shadow run, start of the new model, settling."""
LONGEST_SECONDS = 120.0
PAUSE_SECONDS = 0.5
"""Between two checks."""
SLOW_PAUSE_SECONDS = 0.1
"""Times the board's slowness: a check is a process of its own, and a slow board would do nothing else."""
DAY_SECONDS = 86_400.0
STEP_SECONDS = 300.0
"""A check or a trial may take so long, times the board's slowness: who waits for it has less patience."""
MOMENT_SECONDS = 0.02


def configure(agent: Agent, server: ReleaseServer) -> None:
    """Let an agent follow a repository, with little patience."""
    root = agent.send("root.json", server.root)
    patience = min(STEP_SECONDS * agent.rig.board.section.slowness, DAY_SECONDS)
    agent.configure(
        update={
            "url": f"http://{agent.rig.network.host}:{agent.rig.network.reach(server.port)}",
            "root": root,
            "directory": f"{agent.folder}/updates",
            "first_check_seconds": 0.1,
            "check_interval_seconds": max(
                PAUSE_SECONDS, SLOW_PAUSE_SECONDS * agent.rig.board.section.slowness
            ),
            "check_timeout_seconds": patience,
            "trial_timeout_seconds": patience,
            "require_synced_clock": False,
            "shadow_frames": 0,
            "probation_seconds": 0.2,
            "probation_inferences": 5,
            "probation_p95_ratio": 1000.0,
        }
    )


def hear(agent: Agent, text: str, *, offset: int = 0) -> None:
    """Wait until the log has a text, from a byte on: sooner than telemetry would tell."""
    longest = LONGEST_SECONDS * agent.rig.board.section.slowness
    deadline = time.monotonic() + longest
    asked = time.monotonic()
    while text not in (log := agent.log(offset=offset)):
        assert time.monotonic() < deadline, f"{text}: not within {longest:g} s\n{log[-3000:]}"
        assert not agent.has_ended(), log[-3000:]
        # To ask costs a slow board time that the agent needs: no more than half of it.
        time.sleep(max(MOMENT_SECONDS, time.monotonic() - asked))
        asked = time.monotonic()


def kept(agent: Agent, digest: str) -> bool:
    """Say whether the agent has told that it keeps a release, and runs it."""
    # Not by the envelope: what a cut kept from being told is told at the next start, before any artifact runs.
    told = [event.details["digest"] for event in agent.events("update_committed")]
    return digest in told and agent.windows[-1].envelope.artifact == digest
