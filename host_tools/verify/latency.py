"""Latency, batch 1: rounds interleaved over all contestants, so that heat and neighbours fall on all alike."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from host_tools.verify.verification_report import Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROUNDS = 5
_WARM_UP_SECONDS = 0.1
_ROUND_SECONDS = 0.15
_ROUND_MIN_RUNS = 5


def measure(
    contestants: Mapping[str, Callable[[], object]],
    engines: Mapping[str, str],
    *,
    threads: int,
    rounds: int = ROUNDS,
) -> dict[str, Latency]:
    """Time every contestant in turn, round after round.

    Args:
        contestants: Name to a function that runs one inference.
        engines: Name to engine and version, for the report.
        threads: Threads that one inference uses, for the report.
        rounds: How many rounds; the first inference of each is thrown away.

    Returns:
        By contestant: the median over rounds of each round's median, in seconds, and the spread of the rounds.
    """
    medians: dict[str, list[float]] = {name: [] for name in contestants}
    runs = dict.fromkeys(contestants, 0)
    for run in contestants.values():
        _time_for(run, seconds=_WARM_UP_SECONDS)
    for _ in range(rounds):
        for name, run in contestants.items():
            run()
            times = _time_for(run, seconds=_ROUND_SECONDS)
            medians[name].append(statistics.median(times))
            runs[name] += len(times)
    return {
        name: Latency(
            engine=engines[name],
            threads=threads,
            median_seconds=statistics.median(medians[name]),
            fastest_round_seconds=min(medians[name]),
            slowest_round_seconds=max(medians[name]),
            runs=runs[name],
        )
        for name in contestants
    }


def _time_for(run: Callable[[], object], *, seconds: float) -> list[float]:
    """Run until ``seconds`` have passed and at least `_ROUND_MIN_RUNS` runs are done; return each run's time in seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _ROUND_MIN_RUNS or time.perf_counter() < end:
        start = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - start) * 1e-9)
    return times
