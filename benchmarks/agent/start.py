"""From the start of the agent's process to its first inference, beside what the engine itself takes to load."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from benchmarks.agent.bench import embedded_broker, running_agent
from benchmarks.findings import Finding, Limit, fresh_processes, ranged_finding
from benchmarks.made import ENGINE_NAMES, artifact
from benchmarks.options import THREADS
from benchmarks.spread import median_and_range
from benchmarks.tasks import NotMeasuredError, run_python

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.agent.bench import AgentRun, Broker
    from benchmarks.made import EngineKind
    from benchmarks.material import Material
    from benchmarks.options import Options
    from host_tools.progress import Progress

_FACTOR: Final = 1.5
_ALLOWANCE_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 60.0
NOTES: Final = (
    "Start: from starting the process to the time in the first result (one frame of zeros), artifact check and golden self-test in between. "
    "The engine's own load is importing its library (numpy in it) and loading the payload in a fresh process without the agent; starting the "
    "interpreter and reading the artifact are not in it. The agent's bytecode is there, as an installer leaves it. "
    f"The limit is {_FACTOR} × the median of that + {_ALLOWANCE_SECONDS} s.",
)
_SETTINGS: Final = f"""\
[engine]
threads = {THREADS}

[source]
kind = "null"
max_frames = 1

[results]
jsonl = "results.jsonl"
max_rate_hz = 0.0
"""


def measure(options: Options, material: Material, progress: Progress) -> list[Finding]:
    """Start the agent and the bare engine in turn."""
    engines: tuple[EngineKind, ...] = ("onnx", "tflite")
    findings = []
    progress.stage("Starting agent and bare engine", len(engines) * options.repeats)
    for engine in engines:
        subject = f"EfficientNet-Lite0, {ENGINE_NAMES[engine]}"
        folder = options.work / "agent" / f"start-{engine}"
        loads, starts = [], []
        try:
            path = artifact(material, engine)
            with embedded_broker() as broker:
                for index in range(options.repeats):
                    loads.append(_load_seconds(folder / f"load-{index}.log", path, engine))
                    starts.append(_start_seconds(broker, folder / f"start-{engine}-{index}", path))
                    progress.step()
        except NotMeasuredError as error:
            findings.append(
                Finding(
                    subject=subject, figure="start to first inference", unit="seconds", missing=str(error)
                )
            )
            continue
        limit = Limit(bound=_FACTOR * median_and_range(loads).value + _ALLOWANCE_SECONDS, at_most=True)
        findings.append(_finding(subject, "engine's own load", loads, None))
        findings.append(_finding(subject, "start to first inference", starts, limit))
    return findings


def _load_seconds(log: Path, path: Path, engine: EngineKind) -> float:
    request = {"artifact": str(path), "engine": engine, "threads": THREADS, "seconds": 0.0, "compare": False}
    outcome = run_python("benchmarks.agent.direct", request, log=log)
    if outcome.missing:
        raise NotMeasuredError(outcome.missing)
    return outcome.laps["load"]


def _start_seconds(broker: Broker, folder: Path, path: Path) -> float:
    """Return the seconds from start to the time that stands in the first result."""
    with running_agent(broker, folder, path, _SETTINGS) as agent:
        return first_result_time(agent) - agent.started


def first_result_time(agent: AgentRun) -> float:
    """Return the Unix time in the agent's first result.

    Raises:
        NotMeasuredError: There is none after a minute, or the agent failed before.
    """
    results, end = agent.folder / "results.jsonl", time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        ended = agent.process.poll() is not None
        text = results.read_text(encoding="utf-8") if results.is_file() else ""
        if "\n" in text:
            return float(json.loads(text.splitlines()[0])["time"])
        if ended:
            raise NotMeasuredError(agent.last_words())
        time.sleep(0.02)
    raise NotMeasuredError(f"no result after {_PATIENCE_SECONDS:.0f} s; see {agent.folder / 'agent.log'}")


def _finding(subject: str, figure: str, values: Sequence[float], limit: Limit | None) -> Finding:
    return ranged_finding(
        subject=subject,
        figure=figure,
        unit="seconds",
        values=values,
        sample=fresh_processes(len(values)),
        limit=limit,
    )
