"""Memory of the agent without an engine: its proportional set, read from outside while it works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.agent.artifacts import null_artifact
from benchmarks.agent.bench import embedded_broker, running_agent
from benchmarks.findings import Finding, Limit, ranged_finding
from benchmarks.tasks import NotMeasuredError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.agent.bench import AgentRun
    from benchmarks.options import Options
    from host_tools.progress import Progress

PSS_LIMIT: Final = Limit(bound=float(32 << 20), at_most=True)
_SETTLE_SECONDS: Final = 5.0
_SAMPLE_SECONDS: Final = 1.0
_SUBJECT: Final = "agent with the null engine"
NOTES: Final = (
    "Memory: null engine at 50 frames a second, connected to the embedded broker, telemetry every second; read from /proc/PID/smaps_rollup "
    f"once a second after {_SETTLE_SECONDS:.0f} s, beside the agent's own word. The benchmark itself is a Python process and so shares the "
    "interpreter's pages with the agent: alone, the agent's PSS is nearer to its RSS.",
)
_SETTINGS: Final = """\
[source]
kind = "null"
rate_hz = 50.0

[telemetry]
interval_seconds = 1.0
pss_interval_seconds = 1.0
"""


def measure(options: Options, progress: Progress) -> list[Finding]:
    """Let the agent work for the window and read its memory."""
    progress.stage(f"Memory of the agent, {options.agent_seconds:.0f} s", round(options.agent_seconds))
    folder = options.work / "agent" / "footprint"
    path = null_artifact(options.work / "agent" / "nothing.ewa", latency_seconds=0.001)
    try:
        with embedded_broker() as broker, running_agent(broker, folder, path, _SETTINGS) as agent:
            agent.wait_until_up()
            agent.listen_for(_SETTLE_SECONDS)
            samples = _sampled(agent, options.agent_seconds, progress)
            told = [one.process_pss_bytes for one in agent.said.system if one.process_pss_bytes is not None]
            own = [float(size) for size in told[-len(samples) :]]  # those of the window
    except NotMeasuredError as error:
        return [Finding(subject=_SUBJECT, figure="PSS", unit="bytes", limit=PSS_LIMIT, missing=str(error))]
    findings = [
        _finding("PSS", [sample["Pss"] for sample in samples], options, PSS_LIMIT),
        _finding("RSS", [sample["Rss"] for sample in samples], options, None),
    ]
    if own:
        findings.append(_finding("PSS by its own telemetry", own, options, None))
    return findings


def smaps_rollup(text: str) -> dict[str, float]:
    r"""Return the sizes of ``/proc/PID/smaps_rollup`` in bytes, by name.

    Example:
        >>> smaps_rollup("Rss:      12 kB\nPss:       8 kB\n")
        {'Rss': 12288.0, 'Pss': 8192.0}
    """
    fields = (line.split() for line in text.splitlines() if line.endswith("kB"))
    return {name.rstrip(":"): float(size) * 1024.0 for name, size, _ in fields}


def _sampled(agent: AgentRun, seconds: float, progress: Progress) -> list[dict[str, float]]:
    samples: list[dict[str, float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or not samples:
        try:
            text = Path(f"/proc/{agent.process.pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError as error:
            raise NotMeasuredError(
                f"the agent's memory cannot be read: {error}; {agent.last_words()}"
            ) from error
        samples.append(smaps_rollup(text))
        agent.listen_for(_SAMPLE_SECONDS)
        progress.step()
    return samples


def _finding(figure: str, values: Sequence[float], options: Options, limit: Limit | None) -> Finding:
    return ranged_finding(
        subject=_SUBJECT,
        figure=figure,
        unit="bytes",
        values=values,
        sample=f"{len(values)} samples over {options.agent_seconds:.0f} s",
        limit=limit,
    )
