"""What passes between two calls of ONNX Runtime behind the same model: in a plain loop, in one that counts, and in the agent's.

A large model drives everything else out of the processor's caches, so that a line of Python costs many times what it costs behind a small one.
How much is left to save is seen beside loops that do next to nothing, in one process, in turn:

    plain       calls the library, and nothing else
    counting    asks the clock before and after, and counts the difference in the agent's histogram
    agent       the agent's own loop: tap of a shadow run, engine, source of zeros, meter, sketches of inputs, a result a second

The library's call is timed from within, so that everything outside of it counts, two readings of that clock among it, and for all three alike.
The agent's other threads are not there; ``--only field`` of the benchmarks has them.

    python -m benchmarks.agent.floor out/lite0-1.0.0-x86_64-onnxruntime.ewa --threads 2
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from benchmarks import machine
from benchmarks.agent.overhead import OVERHEAD_LIMIT
from benchmarks.findings import Chapter, estimated, ranged_finding
from benchmarks.show import show_chapter
from benchmarks.spread import median_of_differences
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import EdgewrightError, EngineError
from device_agent.engines.onnx import OnnxEngine, open_session, session_options
from device_agent.inference import InferenceLoop, LoopLimits, Meter
from device_agent.results import ResultQueue
from device_agent.sources.synthetic import SyntheticSource
from device_agent.telemetry.histogram import Histogram
from device_agent.update.shadow import Tap
from device_agent.worker import StopEvent
from host_tools.cli.arguments import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.findings import Finding

_SKETCH_EVERY: Final = 64  # frames, as by default
_RESULTS_HZ: Final = 1.0  # likewise
_WARM_UP: Final = 8
_FILE_WIDTH: Final = 160  # columns of a table that goes into a file


class Watched:
    """A session of ONNX Runtime that notes when each call began and ended."""

    def __init__(self, session: Any) -> None:
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self._run = session.run
        self.moments: list[int] = []

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[np.generic]]) -> Any:
        """Call the library."""
        note = self.moments.append
        note(perf_counter_ns())
        outputs = self._run(names, feeds)
        note(perf_counter_ns())
        return outputs

    def between_seconds(self) -> float:
        """Return the mean time from the end of a call to the beginning of the next, and forget all of them."""
        ends, begins = self.moments[1:-1:2], self.moments[2::2]
        self.moments.clear()
        return 1e-9 * statistics.fmean(begin - end for end, begin in zip(ends, begins, strict=True))


def measure(path: Path, *, threads: int, rounds: int, frames: int) -> dict[str, list[float]]:
    """Return seconds between two calls, a figure a round, by the name of the loop.

    Args:
        path: Artifact for ONNX Runtime.
        threads: For the library.
        rounds: How often the loops take turns.
        frames: Of one turn.

    Raises:
        EdgewrightError: The artifact cannot be opened, or is for another engine.
    """
    archive = ArtifactArchive.open(path)
    if archive.manifest.requires.engine != "onnx":
        raise EngineError(
            f"{path}: expected an artifact for onnx, got one for {archive.manifest.requires.engine}."
        )
    (payload,) = archive.payload().values()
    watched = Watched(open_session(payload, partial(session_options, threads)))
    source = SyntheticSource(archive.manifest.inputs, as_arrays=True)
    loops = {
        "plain loop": partial(_plain, watched, source),
        "counting loop": partial(_counting, watched, source),
        "agent's loop": partial(_agent, watched, source, archive),
    }
    found: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        loop(_WARM_UP)
    watched.moments.clear()
    for _ in range(rounds):
        for name, loop in loops.items():
            loop(frames)
            found[name].append(watched.between_seconds())
    return found


def findings_of(subject: str, found: Mapping[str, Sequence[float]], sample: str) -> list[Finding]:
    """Return the figure of each loop, and how much more the agent's takes than the plain one's."""
    findings = [
        ranged_finding(
            subject=subject, figure=f"between two calls, {name}", unit="seconds", values=values, sample=sample
        )
        for name, values in found.items()
    ]
    for other, limit in (("plain loop", OVERHEAD_LIMIT), ("counting loop", None)):
        more = median_of_differences(found["agent's loop"], found[other])
        findings.append(
            estimated(subject, f"agent's loop, more than the {other}", "seconds", more, sample, limit)
        )
    return findings


def _plain(watched: Watched, source: SyntheticSource, frames: int) -> None:
    names, feeds = _call(watched, source)
    run = watched.run
    for _ in range(frames):
        run(names, feeds)


def _counting(watched: Watched, source: SyntheticSource, frames: int) -> None:
    names, feeds = _call(watched, source)
    run, record = watched.run, Histogram().record
    for _ in range(frames):
        start = perf_counter_ns()
        run(names, feeds)
        record(perf_counter_ns() - start)


def _agent(watched: Watched, source: SyntheticSource, archive: ArtifactArchive, frames: int) -> None:
    meter = Meter(sketch_every_frames=_SKETCH_EVERY)
    meter.begin(archive.manifest.inputs)
    InferenceLoop(
        engine=Tap(OnnxEngine(watched)),
        source=source,
        meter=meter,
        results=ResultQueue(size=frames, max_rate_hz=_RESULTS_HZ, wake=lambda: None),
        limits=LoopLimits(rate_hz=0.0, max_frames=frames, max_consecutive_errors=1),
        stopping=StopEvent(),
    ).run()


def _call(watched: Watched, source: SyntheticSource) -> tuple[list[str], dict[str, NDArray[np.generic]]]:
    """Return what a call takes: the outputs' names, and the frame of zeros."""
    frame = source.next(0.0)
    inputs = [] if frame is None else frame.inputs
    doors = [door.name for door in watched.get_inputs()]
    return [exit_.name for exit_ in watched.get_outputs()], dict(zip(doors, inputs, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; the status is 2 for an artifact that cannot be run."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agent.floor", description=lines[0], epilog=lines[-1].strip()
    )
    parser.add_argument("artifact", type=Path, help="an .ewa for ONNX Runtime")
    parser.add_argument("--threads", type=count, default=2, help="of the library (default: 2)")
    parser.add_argument("--rounds", type=count, default=7, help="how often the loops take turns (default: 7)")
    parser.add_argument("--frames", type=count, default=256, help="of one turn (default: 256)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    facts = machine.facts()
    try:
        found = measure(
            options.artifact, threads=options.threads, rounds=options.rounds, frames=options.frames
        )
    except EdgewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    findings = findings_of(options.artifact.stem, found, f"{options.rounds} rounds × {options.frames} frames")
    notes = tuple(f"{name}: {value}" for name, value in {**facts, **machine.versions()}.items())
    show_chapter(
        Console(width=None if sys.stdout.isatty() else _FILE_WIDTH),
        Chapter(name="floor", title=lines[0], findings=tuple(findings), notes=notes),
    )
    if options.json is not None:
        document = {"machine": facts, "findings": [dataclasses.asdict(one) for one in findings]}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
