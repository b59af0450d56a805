"""What the agent writes to its disk: flash wears out by it. Counted by the kernel, at the default settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.agent.artifacts import null_artifact
from benchmarks.agent.bench import Broker, embedded_broker, running_agent
from benchmarks.findings import Finding
from benchmarks.tasks import NotMeasuredError
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from benchmarks.agent.bench import AgentRun
    from benchmarks.options import Options
    from host_tools.progress import Progress

_SUBJECT: Final = "agent with the null engine, all defaults"
_SETTLE_SECONDS: Final = 15.0
_HOUR_SECONDS: Final = 3600.0
NOTES: Final = (
    f"Written to disk: the kernel's write_bytes of the process (/proc/PID/io), after {_SETTLE_SECONDS:.0f} s, one window of telemetry every "
    "10 s, as by default; pages of the spool (SQLite, 4 KiB each) with its log. Events and health add their own.",
)
_SETTINGS: Final = """\
[source]
kind = "null"
rate_hz = 10.0
"""


def measure(options: Options, progress: Progress) -> list[Finding]:
    """Let the agent work, with a broker and without, and read what it wrote."""
    progress.stage(f"What the agent writes to disk, twice {options.agent_seconds:.0f} s", 2)
    artifact = null_artifact(options.work / "agent" / "nothing.ewa", latency_seconds=0.001)
    findings = []
    for figure, is_away in (
        ("written to disk an hour", False),
        ("written to disk an hour, broker away", True),
    ):
        folder = options.work / "agent" / ("wear-alone" if is_away else "wear")
        try:
            with embedded_broker() as heard:
                broker = Broker(port=free_port(), listener=heard.listener) if is_away else heard
                with running_agent(broker, folder, artifact, _SETTINGS) as agent:
                    agent.listen_for(_SETTLE_SECONDS)
                    written = _written(agent, options.agent_seconds)
        except NotMeasuredError as error:
            findings.append(Finding(subject=_SUBJECT, figure=figure, unit="bytes", missing=str(error)))
        else:
            findings.append(
                Finding(
                    subject=_SUBJECT,
                    figure=figure,
                    unit="bytes",
                    value=written * _HOUR_SECONDS / options.agent_seconds,
                    sample=f"{written / 1024:.0f} KiB in {options.agent_seconds:.0f} s",
                )
            )
        progress.step()
    return findings


def write_bytes(text: str) -> int:
    r"""Return how many bytes a process caused to be written, from ``/proc/PID/io``.

    Example:
        >>> write_bytes("wchar: 9\nwrite_bytes: 4096\n")
        4096
    """
    (line,) = (line for line in text.splitlines() if line.startswith("write_bytes:"))
    return int(line.partition(":")[2])


def _written(agent: AgentRun, seconds: float) -> int:
    before = _counted(agent)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        agent.listen_for(min(1.0, left))
    return _counted(agent) - before


def _counted(agent: AgentRun) -> int:
    try:
        return write_bytes(Path(f"/proc/{agent.process.pid}/io").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise NotMeasuredError(
            f"what the agent wrote cannot be read: {error}; {agent.last_words()}"
        ) from error
