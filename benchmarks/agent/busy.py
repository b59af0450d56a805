"""What the agent takes of the processor beside its inferences, and when it is first heard of."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.agent.artifacts import cool_board, null_artifact
from benchmarks.agent.bench import embedded_broker, running_agent
from benchmarks.findings import Finding, Limit, fresh_processes, ranged_finding
from benchmarks.tasks import NotMeasuredError

if TYPE_CHECKING:
    from benchmarks.agent.bench import AgentRun, Broker
    from benchmarks.options import Options
    from host_tools.progress import Progress

SHARE_LIMIT: Final = Limit(bound=0.01, at_most=True)
START_LIMIT: Final = Limit(bound=1.0, at_most=True)
_SUBJECT: Final = "agent with the null engine"
_SETTLE_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
NOTES: Final = (
    f"Processor: user and system time of the process over the window, after {_SETTLE_SECONDS:.0f} s, at one frame a second that costs nothing, telemetry every 10 s "
    "as by default, a heat policy that reads the temperature every 2 s: sampler, spool and broker's connection together.",
    "First health: from starting the process to the moment at which a subscriber has its first message of health, which says that it is not running yet.",
)
_SETTINGS: Final = """\
[source]
kind = "null"
rate_hz = 1.0

[heat]
pause_celsius = 150.0

[sensors]
sysfs_root = "{board}"
"""


def measure(options: Options, progress: Progress) -> list[Finding]:
    """Let the agent idle for the window, then start it some times."""
    progress.stage(f"Processor of an idle agent, {options.agent_seconds:.0f} s", 1 + options.repeats)
    folder = options.work / "agent" / "busy"
    settings = _SETTINGS.format(board=cool_board(options.work / "agent" / "board"))
    artifact = null_artifact(options.work / "agent" / "no-wait.ewa", latency_seconds=0.0)
    try:
        with embedded_broker() as broker:
            with running_agent(broker, folder / "idle", artifact, settings) as agent:
                agent.wait_until_up()
                agent.listen_for(_SETTLE_SECONDS)
                share = _share(agent, options.agent_seconds)
            progress.step()
            starts, costs = [], []
            for index in range(options.repeats):
                seconds, taken = _first_health(broker, folder / f"first-{index}", artifact, settings)
                starts.append(seconds)
                costs.append(taken)
                progress.step()
    except NotMeasuredError as error:
        return [Finding(subject=_SUBJECT, figure="share of a core", unit="share", missing=str(error))]
    return [
        Finding(
            subject=_SUBJECT,
            figure="share of a core beside its inferences",
            unit="share",
            value=share,
            sample=f"{options.agent_seconds:.0f} s",
            limit=SHARE_LIMIT,
        ),
        ranged_finding(
            subject=_SUBJECT,
            figure="start to first health",
            unit="seconds",
            values=starts,
            sample=fresh_processes(len(starts)),
            limit=START_LIMIT,
        ),
        ranged_finding(
            subject=_SUBJECT,
            figure="processor time to first health",
            unit="seconds",
            values=costs,
            sample=fresh_processes(len(costs)),
        ),
    ]


def processor_seconds(stat: str) -> float:
    r"""Return user and system time of ``/proc/PID/stat``, in seconds.

    Example:
        >>> processor_seconds("7 (a b) S " + " ".join(["0"] * 10) + " 150 50 0 0\n") * os.sysconf("SC_CLK_TCK")
        200.0
    """
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _share(agent: AgentRun, seconds: float) -> float:
    before, began = _taken(agent), time.monotonic()
    agent.listen_for(seconds)
    return (_taken(agent) - before) / (time.monotonic() - began)


def _taken(agent: AgentRun) -> float:
    try:
        return processor_seconds(Path(f"/proc/{agent.process.pid}/stat").read_text(encoding="utf-8"))
    except OSError as error:
        raise NotMeasuredError(f"the agent's time cannot be read: {error}; {agent.last_words()}") from error


def _first_health(broker: Broker, folder: Path, artifact: Path, settings: str) -> tuple[float, float]:
    """Return the time that passed until the first message of health, and the processor's time until it was seen."""
    with running_agent(broker, folder, artifact, settings) as agent:
        end = time.monotonic() + _PATIENCE_SECONDS
        while agent.said.health is None:
            if time.monotonic() > end:
                raise NotMeasuredError(f"no health after {_PATIENCE_SECONDS:.0f} s; {agent.last_words()}")
            agent.listen_for(_POLL_SECONDS)
        return agent.said.first_heard - agent.started, _taken(agent)
