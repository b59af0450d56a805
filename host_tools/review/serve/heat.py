"""Histograms of many windows as one grid of time and latency, and quantiles of merged buckets. Pure arithmetic.

Nothing here averages a quantile: rows are added up bucket by bucket, and a quantile is read from the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.windows import Histograms

_MOST_BINS = 64
"""A heat map has at most so many rows; finer buckets are merged by halving their scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Latencies counted by window and by bin of latency.

    Attributes:
        edges: float64[bins + 1]: seconds, ascending; bin b holds (edges[b], edges[b + 1]].
        counts: int64[bins, windows].
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


def summed(hist: Histograms, groups: NDArray[np.int64], count: int) -> Histograms:
    """Return histograms with rows of the same group added up.

    Args:
        hist: One row each.
        groups: int64[rows]: to which sum a row belongs, below ``count``; a negative one is left out.
        count: Number of sums.
    """
    from host_tools.review.store.windows import Histograms  # noqa: PLC0415 - a type elsewhere, a value here only

    rows = np.repeat(np.arange(len(hist.zero_counts)), np.diff(hist.offsets))
    owner = groups[rows] if rows.size else np.empty(0, np.int64)
    kept = owner >= 0
    owner, indices, counts = owner[kept], hist.indices[kept].astype(np.int64), hist.counts[kept]
    zero_counts = np.zeros(count, np.int64)
    np.add.at(zero_counts, groups[groups >= 0], hist.zero_counts[groups >= 0])
    if not owner.size:
        return Histograms(
            scale=hist.scale,
            offsets=np.zeros(count + 1, np.int64),
            indices=np.empty(0, np.int32),
            counts=np.empty(0, np.int64),
            zero_counts=zero_counts,
        )
    low = int(indices.min())
    width = int(indices.max()) - low + 1
    keys, places = np.unique(owner * width + (indices - low), return_inverse=True)
    totals = np.zeros(len(keys), np.int64)
    np.add.at(totals, places, counts)
    return Histograms(
        scale=hist.scale,
        offsets=np.searchsorted(keys, np.arange(count + 1, dtype=np.int64) * width).astype(np.int64),
        indices=(keys % width + low).astype(np.int32),
        counts=totals,
        zero_counts=zero_counts,
    )


def quantiles(hist: Histograms, shares: Sequence[float]) -> NDArray[np.float64]:
    """Return float64[rows, shares]: seconds below which that share of a row's values lies, NaN for an empty row.

    Within a bucket values are taken as spread evenly in the logarithm, so the error is below the bucket's width.
    """
    rows = len(hist.zero_counts)
    result = np.full((rows, len(shares)), np.nan)
    running = np.concatenate([[0], np.cumsum(hist.counts)]).astype(np.float64)
    before = running[hist.offsets[:-1]]
    totals = running[hist.offsets[1:]] - before + hist.zero_counts
    for column, share in enumerate(shares):
        rank = share * totals - hist.zero_counts
        in_zeros = (totals > 0) & ((rank <= 0) | (hist.offsets[1:] == hist.offsets[:-1]))
        result[in_zeros, column] = np.where(hist.zero_counts[in_zeros] > 0, 0.0, np.nan)
        in_buckets = np.flatnonzero((totals > 0) & ~in_zeros)
        if in_buckets.size:
            goal = before[in_buckets] + rank[in_buckets]
            bucket = np.searchsorted(running, goal, side="left") - 1
            bucket = np.clip(bucket, hist.offsets[in_buckets], hist.offsets[in_buckets + 1] - 1)
            part = np.clip((goal - running[bucket]) / hist.counts[bucket], 0.0, 1.0)
            result[in_buckets, column] = np.exp2((hist.indices[bucket] + part) * 2.0**-hist.scale)
    return result


def heat(hist: Histograms, *, shift: int | None = None, low: int = 0, bins: int = 0) -> Heat:
    """Return one column a row of ``hist``.

    Args:
        hist: One row a window.
        shift: How often buckets were halved, with ``low`` and ``bins`` from `frame`, so that two heat maps have one
            frame; None to have it found.
        low: Index of the lowest bin.
        bins: Number of bins.
    """
    if shift is None:
        shift, low, bins = frame([hist])
    rows = np.repeat(np.arange(len(hist.zero_counts)), np.diff(hist.offsets))
    counts = np.zeros((bins, len(hist.zero_counts)), np.int64)
    np.add.at(counts, ((hist.indices.astype(np.int64) >> shift) - low, rows), hist.counts)
    edges = np.exp2((np.arange(bins + 1) + low) * 2.0 ** (shift - hist.scale))
    return Heat(edges=edges, counts=counts)


def frame(hists: Sequence[Histograms]) -> tuple[int, int, int]:
    """Return shift, lowest bin and number of bins that hold all of these, in at most 64 bins."""
    filled = [hist.indices for hist in hists if len(hist.indices)]
    if not filled:
        return 0, 0, 0
    low, high = min(int(one.min()) for one in filled), max(int(one.max()) for one in filled)
    shift = 0
    while (high >> shift) - (low >> shift) + 1 > _MOST_BINS:
        shift += 1
    return shift, low >> shift, (high >> shift) - (low >> shift) + 1
