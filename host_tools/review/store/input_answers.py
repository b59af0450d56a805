"""Sketches of inputs, merged as asked: counts are added up, means and deviations come from sums, extremes are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from device_agent.contract.telemetry.measurements import INPUT_BUCKETS
from host_tools.review.store import window_rows
from host_tools.review.store.window_rows import column

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

_SIDE = len(INPUT_BUCKETS)
BUCKETS = 2 * _SIDE + 1


def merged_inputs(
    rows: pa.Table, axes: tuple[str, ...], keys: Mapping[str, NDArray[np.int64]], names: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.int64]], dict[str, Any]]:
    """Return the groups' keys, with ``name`` among them, and the columns of an `InputTable`.

    Args:
        rows: Of the table `input`.
        axes: What they are told apart by.
        keys: int64 of each row, by axis.
        names: int64 of each row: its input.
    """
    groups, found = window_rows.grouped({**{axis: keys[axis] for axis in axes}, "name": names})
    count = len(found["name"])
    values, mean = column(rows, "value_count"), column(rows, "mean")
    told = values.astype(np.float64)
    total = np.maximum(_added(groups, told, count), 1.0)
    middle = _added(groups, mean * told, count) / total
    # Around the merged mean, not around 0: differences of large numbers would be lost.
    spread = _added(groups, told * (column(rows, "deviation") ** 2 + (mean - middle[groups]) ** 2), count)
    ratio = column(rows, "saturated_ratio")
    has_ratio = np.isfinite(ratio)
    coded = _added(groups[has_ratio], told[has_ratio], count)
    ends = _added(groups[has_ratio], ratio[has_ratio] * told[has_ratio], count)
    lengths, places = window_rows.lists(rows, "places", np.int32)
    _, counts = window_rows.lists(rows, "counts", np.int64)
    buckets = np.zeros((count, BUCKETS), dtype=np.int64)
    np.add.at(buckets, (np.repeat(groups, lengths), places + _SIDE), counts)
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(lowest, groups, column(rows, "minimum"))
    np.maximum.at(highest, groups, column(rows, "maximum"))
    return found, {
        "frames": _added(groups, column(rows, "frame_count"), count).astype(np.int64),
        "values": _added(groups, told, count).astype(np.int64),
        "mean": middle,
        "deviation": np.sqrt(spread / total),
        "minimum": lowest,
        "maximum": highest,
        "saturated": np.divide(ends, coded, out=np.full(count, np.nan), where=coded > 0),
        "buckets": buckets,
    }


def _added(groups: NDArray[np.int64], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    return np.bincount(groups, weights=values, minlength=count).astype(np.float64)
