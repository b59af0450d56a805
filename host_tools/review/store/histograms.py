"""Histograms in columns, merged exactly by adding buckets. Their quantiles: `analysis.percentiles`.

Source: OpenTelemetry metrics data model, "ExponentialHistogram" (bounds; merging into the lower scale).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.store.windows import Histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY_SCALE = 20
"""Scale of histograms in which nothing is counted: the finest there is, so that it lowers no other."""
_DENSE_CELLS = 1 << 23
"""Up to so many cells (64 MiB) are added up in a table; beyond it they are sorted."""
_MOST_OCTAVES = 1023.0
_BLOCK_BUCKETS = 1 << 17
"""Added up at once: what is made on the way stays in the processor's cache, and no memory is asked for again and again."""


def lowered(indices: NDArray[np.int32], by: int | NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the buckets that hold the given ones when the scale is lower by so much: 2**by of them become one."""
    return np.right_shift(indices, np.asarray(by, dtype=np.int32))


def bounds(places: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Return the values at which buckets begin; a device may name buckets beyond all that a float holds, and they stay finite.

    Args:
        places: float64: indices, or places within a bucket.
        scale: Of the buckets.
    """
    return np.asarray(np.exp2(np.minimum(places * 2.0**-scale, _MOST_OCTAVES)))


def merge(hist: Histograms, groups: NDArray[np.int64], count: int) -> Histograms:
    """Add up the rows of each group; exact.

    Args:
        hist: One row an element of ``groups``.
        groups: int64[rows]: group of each row, 0 to ``count`` - 1.
        count: Number of groups, empty ones included.
    """
    rows, indices, counts = _summed(groups, hist.offsets, hist.indices, hist.counts, count)
    zero_counts = np.zeros(count, dtype=np.int64)
    np.add.at(zero_counts, groups, hist.zero_counts)
    return Histograms(
        scale=hist.scale,
        offsets=_offsets(rows, count),
        indices=indices,
        counts=counts,
        zero_counts=zero_counts,
    )


def _summed(
    groups: NDArray[np.int64],
    offsets: NDArray[np.int64],
    indices: NDArray[np.int32],
    counts: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Add up what rows of one group counted in the same bucket; return groups and buckets, both ascending, and the sums."""
    if not len(indices):
        return groups[:0], indices[:0], counts[:0]
    lowest = int(indices.min())
    span = int(indices.max()) - lowest + 1
    begins = groups * span - lowest
    if count * span > max(_DENSE_CELLS, 4 * len(indices)):
        return _sorted_sums(np.repeat(begins, np.diff(offsets)) + indices, counts, span=span, lowest=lowest)
    sums = np.zeros(count * span, dtype=np.int64)
    ends = np.searchsorted(offsets, np.arange(_BLOCK_BUCKETS, len(indices) + _BLOCK_BUCKETS, _BLOCK_BUCKETS))
    first = 0
    for end in np.minimum(ends, len(groups)).tolist():
        block = slice(int(offsets[first]), int(offsets[end]))
        cells = np.repeat(begins[first:end], np.diff(offsets[first : end + 1]))
        cells += indices[block]
        np.add.at(sums, cells, counts[block])
        first = end
    filled = np.flatnonzero(sums != 0)
    row = filled // span
    return row, (filled - row * span + lowest).astype(np.int32), sums[filled]


def _sorted_sums(
    cells: NDArray[np.int64], counts: NDArray[np.int64], *, span: int, lowest: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The same, where a table of all cells would be too large."""
    order = np.argsort(cells, kind="stable")
    cells = cells[order]
    starts = np.flatnonzero(np.concatenate(([True], cells[1:] != cells[:-1])))
    filled = cells[starts]
    row = filled // span
    return row, (filled - row * span + lowest).astype(np.int32), np.add.reduceat(counts[order], starts)


def _offsets(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return where each row's buckets begin, of buckets whose rows ascend."""
    return np.searchsorted(rows, np.arange(count + 1)).astype(np.int64)
