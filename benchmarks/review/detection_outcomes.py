"""What detection is counted in: fleets of one size, and outcomes that add up to rates with their intervals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.review.analysis.estimates import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.review.detection_tables import Rate

DAY = 86400.0
DEVICES = 100
DAYS = 8.0
PI, PC, SMALL = "cortex-a-tflite", "x86_64-openvino", "aarch64-onnxruntime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One thing that could have been found, or told wrongly, in one fleet.

    Attributes:
        kind: What sort.
        size: How large it was made; 0 where nothing was.
        hits: How many times it was told.
        trials: How many times it could have been.
    """

    kind: str
    size: float
    hits: int
    trials: int


def rates(outcomes: Sequence[Outcome]) -> list[Rate]:
    """Add up outcomes by kind and size, with intervals."""
    hits: Counter[tuple[str, float]] = Counter()
    trials: Counter[tuple[str, float]] = Counter()
    for one in outcomes:
        hits[one.kind, one.size] += one.hits
        trials[one.kind, one.size] += one.trials
    rows: list[Rate] = []
    for kind, size in sorted(trials):
        count, told = trials[kind, size], hits[kind, size]
        low, high = wilson_interval(told, count)
        share = told / count if count else 0.0
        rows.append(
            {
                "kind": kind,
                "size": size,
                "hits": told,
                "trials": count,
                "rate": share,
                "low": low,
                "high": high,
            }
        )
    return rows
