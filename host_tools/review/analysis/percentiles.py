"""Merging histograms, and the quantiles of what was merged. Quantiles themselves are never averaged.

A quantile lies in the bucket that holds its rank, at the part of the bucket's (logarithmic) width that the rank has of
the bucket's count: as if the values in a bucket lay evenly. Where a bucket is finely filled on both sides that is nearer
than the bucket's middle, and never further away than the bucket is wide (2.2 % at the agent's scale).

Source: OpenTelemetry metrics data model, "ExponentialHistogram": bucket i holds (base**i, base**(i + 1)].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.store import histograms
from host_tools.review.store.windows import Histograms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def merge(hist: Histograms, groups: NDArray[np.int64], count: int) -> Histograms:
    """Return ``count`` histograms: row g holds everything of the rows whose group is g, exactly.

    Args:
        hist: Histograms.
        groups: Group of each row, 0 to ``count`` - 1; negative: the row is left out.
        count: How many groups.
    """
    if count == len(groups) and np.array_equal(groups, np.arange(count)):
        return hist
    kept = groups >= 0
    if not kept.all():
        hist, groups = picked(hist, np.flatnonzero(kept)), groups[kept]
    return histograms.merge(hist, groups, count)


def picked(hist: Histograms, rows: NDArray[np.int64]) -> Histograms:
    """Return some rows, in the order given."""
    sizes = np.diff(hist.offsets)[rows]
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    buckets = np.repeat(hist.offsets[:-1][rows], sizes) + within
    return Histograms(
        scale=hist.scale,
        offsets=offsets,
        indices=hist.indices[buckets],
        counts=hist.counts[buckets],
        zero_counts=hist.zero_counts[rows],
    )


def totals(hist: Histograms) -> NDArray[np.int64]:
    """Return how many values each row holds."""
    running = np.concatenate(([0], np.cumsum(hist.counts)))
    return np.asarray(running[hist.offsets[1:]] - running[hist.offsets[:-1]] + hist.zero_counts)


def quantiles(
    hist: Histograms,
    shares: Sequence[float],
    *,
    lowest: NDArray[np.float64] | None = None,
    highest: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return float64[rows, shares]: quantiles of each row, in its values' unit; NaN where a row is empty.

    Args:
        hist: Histograms.
        shares: 0 to 1; 0.95 for p95.
        lowest: Smallest value of each row, where it is known; a quantile is never below it.
        highest: Largest, likewise.

    Raises:
        ValueError: A share is outside 0 to 1.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"shares must be within 0 and 1, got {list(shares)}")
    counts = totals(hist)
    running = np.concatenate(([0], np.cumsum(hist.counts)))
    result = np.full((len(counts), len(wanted)), np.nan)
    filled = np.flatnonzero(counts > 0)
    if not filled.size:
        return result
    zero = hist.zero_counts[filled, None]
    ranks = np.maximum(wanted[None, :] * counts[filled, None], 1e-9)
    inside = np.maximum(ranks - zero, 1e-9) + running[hist.offsets[filled]][:, None]
    bucket = np.searchsorted(running, inside, side="left") - 1
    last = np.maximum(hist.offsets[filled + 1] - 1, hist.offsets[filled])[:, None]
    bucket = np.clip(bucket, hist.offsets[filled][:, None], last)
    if hist.counts.size:
        bucket = np.minimum(bucket, hist.counts.size - 1)
        part = np.clip((inside - running[bucket]) / hist.counts[bucket], 0.0, 1.0)
        values = histograms.bounds(hist.indices[bucket] + part, hist.scale)
        values = np.where(ranks <= zero, 0.0, values)
    else:
        values = np.zeros_like(ranks)
    if lowest is not None:
        values = np.fmax(values, lowest[filled, None])
    if highest is not None:
        values = np.fmin(values, highest[filled, None])
    result[filled] = values
    return result
