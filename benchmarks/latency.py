"""Latency, batch 1: float, peer and ours of each engine in turn, round after round, in one process."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from benchmarks.contestants import open_contestant
from benchmarks.findings import Chapter, Finding, Limit, estimated
from benchmarks.made import ENGINE_NAMES, ENTRIES, entry_of, obtain
from benchmarks.material import load_arrays
from benchmarks.options import THREADS
from benchmarks.spread import median_and_quartiles, paired_ratio
from benchmarks.tasks import NotMeasuredError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.contestants import Contestant
    from benchmarks.made import EngineKind, Entry
    from benchmarks.material import Material
    from benchmarks.options import Options
    from host_tools.progress import Progress

Key = TypeVar("Key")
RUNS: Final = 30
_WARM_UPS: Final = 5
_FIRST_WARM_UPS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Ours against another side in one engine, and the largest ratio that is accepted; None where nothing was promised."""

    engine: EngineKind
    against: str
    limit: float | None


COMPARISONS: Final = (
    Comparison(engine="onnx", against="peer", limit=1.05),
    Comparison(engine="onnx", against="float", limit=0.55),
    Comparison(engine="openvino", against="peer", limit=1.05),
    Comparison(engine="openvino", against="float", limit=None),
    Comparison(engine="tflite", against="peer", limit=1.0),
    Comparison(engine="tflite", against="float", limit=0.5),
)


def measure(options: Options, material: Material, progress: Progress) -> Chapter:
    """Time every file."""
    contestants, missing, doors = _open_all(material, progress)
    progress.stage(f"Timing {len(contestants)} files", options.rounds * len(contestants))
    medians = interleaved(contestants, rounds=options.rounds, progress=progress)
    sample = f"{options.rounds} rounds × {RUNS} runs"
    findings = []
    for entry in ENTRIES:
        findings.append(
            _latency(entry, medians.get(entry), doors.get(entry, ""), missing.get(entry, ""), sample)
        )
    for comparison in COMPARISONS:
        findings.append(_compared(comparison, medians, missing, f"{options.rounds} paired rounds"))
    return Chapter(
        name="latency",
        title=f"Latency, batch 1, {THREADS} threads",
        findings=tuple(findings),
        notes=(
            "One process holds all files. A round times every file once, in rotated order: "
            f"{_WARM_UPS} runs that do not count, then {RUNS} that do; the figure of a round is their median.",
            "Timed: handing the input over, inference, taking the output; the bare engine's Python API, without Edgewright's agent.",
            "A ratio is taken within each round; given is the median over rounds, with a bootstrap interval over rounds.",
            "The input is the first evaluation picture, already in the file's own type and layout, which the table names.",
            "The float TFLite file is Edgewright's lowering with float doors and fused activations, as any TensorFlow converter gives; "
            "litert-quantizer starts from the same file.",
        ),
    )


def interleaved(
    contestants: Mapping[Key, Contestant], *, rounds: int, progress: Progress, runs: int = RUNS
) -> dict[Key, list[float]]:
    """Return each contestant's median of every round, in seconds. Each round begins with another one."""
    order = list(contestants)
    medians: dict[Key, list[float]] = {entry: [] for entry in order}
    for entry in order:
        _repeat(contestants[entry], _FIRST_WARM_UPS)
    for index in range(rounds):
        for entry in order[index % len(order) :] + order[: index % len(order)]:
            _repeat(contestants[entry], _WARM_UPS)
            medians[entry].append(statistics.median(_repeat(contestants[entry], runs)))
            progress.step()
    return medians


def _repeat(contestant: Contestant, runs: int) -> list[float]:
    """Return the seconds of each run."""
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        contestant.run()
        times.append((time.perf_counter_ns() - start) * 1e-9)
    return times


def _open_all(
    material: Material, progress: Progress
) -> tuple[dict[Entry, Contestant], dict[Entry, str], dict[Entry, str]]:
    """Return the loaded files, why others are absent, and the types at their doors."""
    sample = np.ascontiguousarray(load_arrays(material.evaluation_arrays)[:1])
    contestants: dict[Entry, Contestant] = {}
    missing: dict[Entry, str] = {}
    progress.stage("Obtaining and loading the files", len(ENTRIES))
    for entry in ENTRIES:
        try:
            contestants[entry] = open_contestant(obtain(material, entry), entry.engine, threads=THREADS)
            contestants[entry].feed(sample)
        except NotMeasuredError as error:
            missing[entry] = str(error)
        progress.step()
    return contestants, missing, {entry: one.doors for entry, one in contestants.items()}


def _latency(entry: Entry, rounds: Sequence[float] | None, doors: str, missing: str, sample: str) -> Finding:
    subject = f"{ENGINE_NAMES[entry.engine]}: {entry.name}"
    if rounds is None:
        return Finding(subject=subject, figure="latency", unit="seconds", missing=missing)
    estimate = median_and_quartiles(rounds)
    return Finding(
        subject=subject,
        figure="latency",
        unit="seconds",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread="quartiles of rounds",
        sample=sample,
        note=doors,
    )


def _compared(
    comparison: Comparison,
    medians: Mapping[Entry, Sequence[float]],
    missing: Mapping[Entry, str],
    sample: str,
) -> Finding:
    ours = entry_of("ours", comparison.engine)
    other = entry_of("peer" if comparison.against == "peer" else "float", comparison.engine)
    subject = f"{ENGINE_NAMES[comparison.engine]}: {ours.name} / {other.name}"
    limit = None if comparison.limit is None else Limit(bound=comparison.limit, at_most=True)
    for entry in (ours, other):
        if entry in missing:
            return Finding(
                subject=subject, figure="latency ratio", unit="ratio", limit=limit, missing=missing[entry]
            )
    estimate = paired_ratio(medians[ours], medians[other])
    return estimated(subject, "latency ratio", "ratio", estimate, sample, limit)
