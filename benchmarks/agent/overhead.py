"""What the agent adds to each inference.

Two ways, because they fail differently. *Within the agent*: the wall time of a telemetry window less the time in the engine, by inference, plus
what our engine adapter adds to the library's own call; both in one process at one time, so that a machine which is now faster and now slower
does not matter, and microseconds can be seen beside milliseconds. *Across processes*: the agent's period less that of a plain loop over the
library, in turn; it misses nothing, but sees only what is larger than the machine's unrest: exact on the tiny model alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.agent.artifacts import cool_board, tiny_artifact
from benchmarks.agent.bench import embedded_broker, running_agent
from benchmarks.findings import Finding, Limit, estimated
from benchmarks.made import ENGINE_NAMES, artifact
from benchmarks.options import THREADS
from benchmarks.spread import median_and_quartiles, median_of_differences
from benchmarks.tasks import NotMeasuredError, run_python

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.agent.bench import Broker
    from benchmarks.made import EngineKind
    from benchmarks.material import Material
    from benchmarks.options import Options
    from device_agent.contract.telemetry.measurements import InferenceWindow
    from host_tools.progress import Progress

SECONDS: Final = 10.0
"""As long as a telemetry window is by default."""
OVERHEAD_LIMIT: Final = Limit(bound=20e-6, at_most=True)
SHARE_LIMIT: Final = Limit(bound=0.01, at_most=True)
NOTES: Final = (
    f"Overhead: a round is {SECONDS:.0f} s of a plain loop over the library, then {SECONDS:.0f} s of the agent (its second "
    "telemetry window), zeros as frames, as fast as they come, no results written. Telemetry goes to the embedded broker at the default "
    "intervals, and what it takes from inference is in the figures.",
    "“Within the agent” is window time less engine time per inference, plus the adapter's cost (measured on the tiny model, block by block "
    "against the library's own call). “Across processes” is the agent's period less the plain loop's.",
    "The 1 % is held against EfficientNet-Lite0; of a model of a few microseconds, 1 % is less than one call in Python.",
)
_SETTINGS: Final = """\
[engine]
threads = {threads}

[source]
kind = "null"

[results]
{results}
"""
_RESULTS_OFF: Final = "mqtt = false"
_RESULTS_ON: Final = 'jsonl = "results.jsonl"'


EVERYTHING_NOTES: Final = (
    "Overhead with everything on: as in the chapter on the agent, with updates (a repository is checked every 10 s, by default once an hour, and "
    "the running model's frames can be seen by a shadow run), a heat policy, and results written to a file.",
)
_EVERYTHING: Final = """
[heat]
pause_celsius = 150.0

[sensors]
sysfs_root = "{board}"

[update]
url = "{url}"
root = "{root}"
directory = "updates"
first_check_seconds = 1.0
check_interval_seconds = 10.0
require_synced_clock = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What the rounds of one case gave, in seconds, one figure a round.

    Attributes:
        plain: Period of the plain loop.
        agent: Period of the agent.
        loop: Time of the agent outside its engine, per inference.
    """

    plain: tuple[float, ...]
    agent: tuple[float, ...]
    loop: tuple[float, ...]


def measure(options: Options, material: Material, progress: Progress) -> list[Finding]:
    """Measure EfficientNet-Lite0 and a tiny model in both engines."""
    folder = options.work / "agent" / "overhead"
    engines: tuple[EngineKind, ...] = ("onnx", "tflite")
    findings = []
    progress.stage("Agent against bare engine", 2 * len(engines) * options.rounds)
    for engine in engines:
        subject = f"tiny model, {ENGINE_NAMES[engine]}"
        adapter = 0.0
        try:
            path = tiny_artifact(options.work / "agent" / "tiny", engine)
            adapter = _bare(folder / f"adapter-{engine}", path, engine, threads=1, seconds=0.0, compare=True)[
                "adapter"
            ]
            rounds = _rounds(folder / f"tiny-{engine}", path, engine, 1, options.rounds, progress)
            findings.extend(tiny_findings(subject, rounds, adapter))
        except NotMeasuredError as error:
            findings.append(_missing(subject, error))
        subject = f"EfficientNet-Lite0, {ENGINE_NAMES[engine]}"
        try:
            rounds = _rounds(
                folder / f"lite0-{engine}",
                artifact(material, engine),
                engine,
                THREADS,
                options.rounds,
                progress,
            )
            findings.extend(large_findings(subject, rounds, adapter))
        except NotMeasuredError as error:
            findings.append(_missing(subject, error))
    return findings


def measure_everything(options: Options, material: Material, progress: Progress) -> list[Finding]:
    """Measure both models in ONNX Runtime with updates, heat and results on."""
    from benchmarks.agent.updating import served  # noqa: PLC0415 - it needs python-tuf, as this function does
    from host_tools.repository.keys import KeyRing  # noqa: PLC0415 - likewise
    from host_tools.repository.repository import Repository  # noqa: PLC0415 - likewise

    folder = options.work / "agent" / "everything"
    root = Repository(folder / "repository", KeyRing(folder / "keys")).init()
    progress.stage("Agent with everything on against bare engine", 2 * options.rounds)
    try:
        tiny = tiny_artifact(options.work / "agent" / "tiny", "onnx")
        adapter = _bare(folder / "adapter", tiny, "onnx", threads=1, seconds=0.0, compare=True)["adapter"]
        with served(folder / "repository") as url:
            more = _EVERYTHING.format(url=url, root=root, board=cool_board(options.work / "agent" / "board"))
            results = _RESULTS_ON
            small = _rounds(
                folder / "tiny", tiny, "onnx", 1, options.rounds, progress, more=more, results=results
            )
            large = _rounds(
                folder / "lite0",
                artifact(material, "onnx"),
                "onnx",
                THREADS,
                options.rounds,
                progress,
                more=more,
                results=results,
            )
    except NotMeasuredError as error:
        return [_missing("everything on, ONNX Runtime", error)]
    return [
        *tiny_findings("tiny model, ONNX Runtime, everything on", small, adapter),
        *large_findings("EfficientNet-Lite0, ONNX Runtime, everything on", large, adapter),
    ]


def tiny_findings(subject: str, rounds: Rounds, adapter: float) -> list[Finding]:
    """Return the findings of a model that is small beside the agent's overhead."""
    return [
        _within(subject, rounds, adapter),
        _across(subject, rounds, OVERHEAD_LIMIT),
        _period(subject, "plain loop, per inference", rounds.plain),
    ]


def large_findings(subject: str, rounds: Rounds, adapter: float) -> list[Finding]:
    """Return the findings of a model of the usual size."""
    shares = [(loop + adapter) / plain for loop, plain in zip(rounds.loop, rounds.plain, strict=True)]
    estimate = median_and_quartiles(shares)
    share = Finding(
        subject=subject,
        figure="overhead within the agent, of the plain loop's period",
        unit="share",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread="quartiles of rounds",
        sample=_sample(rounds),
        limit=SHARE_LIMIT,
    )
    return [
        _within(subject, rounds, adapter),
        share,
        _across(subject, rounds, None),
        _period(subject, "plain loop, per inference", rounds.plain),
    ]


def loop_cost(windows: Sequence[InferenceWindow]) -> tuple[float, float]:
    """Return the period, and the part of it outside the engine, per inference in seconds, of some telemetry windows.

    Raises:
        NotMeasuredError: Nothing was inferred in them.
    """
    count = sum(window.latency_count for window in windows)
    if not count:
        raise NotMeasuredError("the agent sent no telemetry window with an inference")
    wall = sum(window.window_seconds for window in windows)
    return wall / count, (wall - sum(window.latency_sum_seconds for window in windows)) / count


def _rounds(
    folder: Path,
    path: Path,
    engine: EngineKind,
    threads: int,
    count: int,
    progress: Progress,
    *,
    more: str = "",
    results: str = _RESULTS_OFF,
) -> Rounds:
    """Run plain loop and agent in turn."""
    plain, agent, loop = [], [], []
    with embedded_broker() as broker:
        for index in range(count):
            bare = _bare(
                folder / f"plain-{index}", path, engine, threads=threads, seconds=SECONDS, compare=False
            )
            plain.append(bare["period"])
            settings = _SETTINGS.format(threads=threads, results=results) + more
            period, outside = _agent(broker, folder / f"{folder.name}-{index}", path, settings)
            agent.append(period)
            loop.append(outside)
            progress.step()
    return Rounds(plain=tuple(plain), agent=tuple(agent), loop=tuple(loop))


def _agent(broker: Broker, folder: Path, path: Path, settings: str) -> tuple[float, float]:
    with running_agent(broker, folder, path, settings) as agent:
        agent.wait_until_up()
        agent.listen_for(2 * SECONDS)
        while len(agent.said.inference) < 2:
            agent.listen_for(SECONDS / 8)
        return loop_cost(agent.said.inference[1:2])


def _bare(
    answer: Path, path: Path, engine: EngineKind, *, threads: int, seconds: float, compare: bool
) -> dict[str, float]:
    request = {
        "artifact": str(path),
        "engine": engine,
        "threads": threads,
        "seconds": seconds,
        "compare": compare,
    }
    outcome = run_python("benchmarks.agent.direct", request, log=answer.with_suffix(".log"))
    if outcome.missing:
        raise NotMeasuredError(outcome.missing)
    return outcome.laps


def _within(subject: str, rounds: Rounds, adapter: float) -> Finding:
    estimate = median_and_quartiles([loop + adapter for loop in rounds.loop])
    return Finding(
        subject=subject,
        figure="overhead within the agent, per inference",
        unit="seconds",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread="quartiles of rounds",
        sample=_sample(rounds),
        limit=OVERHEAD_LIMIT,
        note=f"of it the engine adapter {1e6 * adapter:.1f} µs",
    )


def _across(subject: str, rounds: Rounds, limit: Limit | None) -> Finding:
    estimate = median_of_differences(rounds.agent, rounds.plain)
    return estimated(
        subject, "overhead across processes, per inference", "seconds", estimate, _sample(rounds), limit
    )


def _period(subject: str, figure: str, values: Sequence[float]) -> Finding:
    estimate = median_and_quartiles(values)
    return Finding(
        subject=subject,
        figure=figure,
        unit="seconds",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread="quartiles of rounds",
        sample=f"{len(values)} rounds × {SECONDS:.0f} s",
    )


def _sample(rounds: Rounds) -> str:
    return f"{len(rounds.plain)} rounds × {SECONDS:.0f} s each"


def _missing(subject: str, error: NotMeasuredError) -> Finding:
    return Finding(
        subject=subject, figure="overhead", unit="seconds", limit=OVERHEAD_LIMIT, missing=str(error)
    )
