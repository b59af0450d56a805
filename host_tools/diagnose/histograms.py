"""Numbers of a tensor in bins of equal width, for a chart with the chosen range drawn into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.diagnose.diagnosis import Histogram
from host_tools.diagnose.ratios import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.observe import statistics

    Float64 = NDArray[np.float64]

BINS = 64
BULK = 0.999
_POINTS = 8  # within a bin of the statistics: those near the top of a range are wider than ours


def from_statistics(
    seen: statistics.TensorStatistics, *, low: float, high: float
) -> tuple[Histogram, tuple[float, float]] | None:
    """Return the histogram of a tensor over all calibration samples, and the ends of its middle `BULK`; None when none was kept.

    Args:
        seen: What was observed.
        low: The bins reach at least down to here.
        high: The bins reach at least up to here.
    """
    if seen.histogram is None:
        return None
    bins = seen.histogram.bins.astype(np.uint32)
    lower = (bins << 16).view(np.float32).astype(np.float64)
    upper = ((bins << 16) | np.uint32(0xFFFF)).view(np.float32).astype(np.float64)
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    points = np.clip(lower[:, None] + (upper - lower)[:, None] * steps, seen.minimum, seen.maximum)
    counts = np.repeat(seen.histogram.counts / _POINTS, _POINTS)
    made = of_numbers(
        points.reshape(-1),
        low=min(low, seen.minimum),
        high=max(high, seen.maximum),
        counts=counts,
        origin="calibration samples",
    )
    return made, middle(points.reshape(-1), counts)


def of_numbers(
    numbers: Float64, *, low: float, high: float, origin: str, counts: Float64 | None = None
) -> Histogram:
    """Count numbers, each ``counts`` times.

    Args:
        numbers: Finite.
        low: The bins reach at least down to here.
        high: The bins reach at least up to here.
        origin: What is counted, for people.
        counts: Weight of each number; 1 where it is None.
    """
    low = min(low, float(numbers.min(initial=low)))
    high = max(high, float(numbers.max(initial=high)))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    found, _ = np.histogram(numbers, bins=BINS, range=(low, high), weights=counts)
    total = float(found.sum()) or 1.0
    return Histogram(
        low=rounded(low),
        high=rounded(high),
        shares=tuple(rounded(float(one) / total) for one in found),
        origin=origin,
    )


def middle(numbers: Float64, counts: Float64 | None = None) -> tuple[float, float]:
    """Return the ends of the middle `BULK` of some numbers; 0 and 0 of none."""
    if numbers.size == 0:
        return 0.0, 0.0
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    cumulated = np.arange(1, ordered.size + 1) if counts is None else np.cumsum(counts[order])
    first, last = _middle(cumulated)
    return float(ordered[first]), float(ordered[last])


def middle_of_rows(rows: Float64) -> tuple[Float64, Float64]:
    """Return what `middle` returns of every row, the lower ends and the upper ones, each of shape (rows,); 0 and 0 of empty rows."""
    count = rows.shape[1]
    if count == 0:
        return np.zeros(len(rows)), np.zeros(len(rows))
    ordered = np.sort(rows, axis=1)
    first, last = _middle(np.arange(1, count + 1))
    return ordered[:, first], ordered[:, last]


def _middle(cumulated: NDArray[np.generic]) -> tuple[int, int]:
    """Return where the middle `BULK` begins and ends, given how much lies up to each number."""
    tail = (1.0 - BULK) / 2 * cumulated[-1]
    first = int(np.searchsorted(cumulated, tail, side="right"))
    last = min(int(np.searchsorted(cumulated, cumulated[-1] - tail)), cumulated.size - 1)
    return min(first, last), last
