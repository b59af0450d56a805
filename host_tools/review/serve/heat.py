"""Histograms of many windows as one grid of time and latency. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.store.histograms import bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.windows import Histograms

_MOST_BINS = 64
"""A heat map has at most so many rows; finer buckets are merged by halving their scale."""
_OCTAVES = (-30, 17)
"""From a nanosecond to a day and a half, as powers of two. What a device tells beyond, which is no latency, counts at the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Latencies counted by window and by bin of latency.

    Attributes:
        edges: float64[bins + 1]: seconds, ascending; bin b holds (edges[b], edges[b + 1]].
        counts: int64[bins, windows].
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


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
    places = np.clip((hist.indices.astype(np.int64) >> shift) - low, 0, bins - 1)
    np.add.at(counts, (places, rows), hist.counts)
    return Heat(
        edges=bounds(np.arange(low, low + bins + 1, dtype=np.float64), hist.scale - shift), counts=counts
    )


def frame(hists: Sequence[Histograms]) -> tuple[int, int, int]:
    """Return shift, lowest bin and number of bins that hold all latencies of these, in at most 64 bins; all have one scale."""
    filled = [hist for hist in hists if len(hist.indices)]
    if not filled:
        return 0, 0, 0
    lowest, highest = (math.floor(octave * 2.0 ** filled[0].scale) for octave in _OCTAVES)
    low = min(max(min(int(one.indices.min()) for one in filled), lowest), highest)
    high = max(min(max(int(one.indices.max()) for one in filled), highest), low)
    shift = 0
    while (high >> shift) - (low >> shift) + 1 > _MOST_BINS:
        shift += 1
    return shift, low >> shift, (high >> shift) - (low >> shift) + 1
