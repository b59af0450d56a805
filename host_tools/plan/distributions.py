"""Statistics of constants, and of several tensors together, so that values that share one scale are judged as one.

Merging is exact for minimum, maximum and histogram: bins are the same for every tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.observe.statistics import Histogram, TensorStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_POINTS = 4


def of_array(values: NDArray[np.generic]) -> TensorStatistics:
    """Return the statistics of a constant, of any shape but empty; finite."""
    flat = np.asarray(values, np.float32).reshape(-1)
    bins, counts = np.unique(flat.view(np.uint32) >> 16, return_counts=True)
    low, high = float(flat.min()), float(flat.max())
    return _whole(
        low,
        high,
        low,
        high,
        Histogram(bins=bins.astype(np.uint16), counts=counts.astype(np.int64), share=1.0),
    )


def merged(parts: Sequence[TensorStatistics]) -> TensorStatistics:
    """Return the statistics of all parts together, without channels; the histogram is None when a part has none.

    Args:
        parts: At least one.
    """
    if len(parts) == 1:
        return parts[0]
    histograms = [part.histogram for part in parts]
    present = [histogram for histogram in histograms if histogram is not None]
    return _whole(
        min(part.minimum for part in parts),
        max(part.maximum for part in parts),
        min(part.mean_minimum for part in parts),
        max(part.mean_maximum for part in parts),
        _added(present) if len(present) == len(parts) else None,
    )


def _added(histograms: Sequence[Histogram]) -> Histogram:
    totals = np.zeros(1 << 16, np.float64)
    for histogram in histograms:
        totals[histogram.bins] += histogram.counts / histogram.share  # as if every element had been counted
    bins = np.flatnonzero(totals)
    return Histogram(bins=bins.astype(np.uint16), counts=np.rint(totals[bins]).astype(np.int64), share=1.0)


def _whole(
    minimum: float, maximum: float, mean_minimum: float, mean_maximum: float, histogram: Histogram | None
) -> TensorStatistics:
    return TensorStatistics(
        minimum=minimum,
        maximum=maximum,
        mean_minimum=mean_minimum,
        mean_maximum=mean_maximum,
        channel_axis=None,
        channel_minimum=np.empty(0, np.float32),
        channel_maximum=np.empty(0, np.float32),
        channel_mean=np.empty(0, np.float64),
        channel_mean_square=None,
        histogram=histogram,
    )


def points_of(
    seen: TensorStatistics, histogram: Histogram
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values spread over each bin and their weights, each of shape (n,); none outside the exact range.

    Several points a bin: near the top of a range a bin is half a code wide, and its middle alone would see no rounding error.
    """
    low = histogram.bins.astype(np.uint32) << 16
    steps = (np.arange(_POINTS) * 2 + 1) * (0x10000 // (2 * _POINTS))
    values = (low[:, np.newaxis] + steps.astype(np.uint32)).view(np.float32).astype(np.float64).reshape(-1)
    return np.clip(values, seen.minimum, seen.maximum), np.repeat(histogram.counts / _POINTS, _POINTS)


def share_outside(seen: TensorStatistics, histogram: Histogram, low: float, high: float) -> float:
    """Return the share, 0 to 1, of counted values outside [low, high], to a fraction of a bin."""
    values, counts = points_of(seen, histogram)
    return float(counts[(values < low) | (values > high)].sum() / counts.sum())
