"""`regroup`: a table of windows, told apart by fewer axes or in longer windows. Merging again, never averaging."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from host_tools.review.analysis import percentiles
from host_tools.review.store.windows import Histograms, Level, WindowTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Merging = Literal["sum", "least", "most"]

COLUMNS: dict[str, tuple[Merging, type[np.generic]]] = {
    "main_devices": ("sum", np.int64),
    "covered_seconds": ("sum", np.float64),
    "device_seconds": ("sum", np.float64),
    "inferences": ("sum", np.int64),
    "errors": ("sum", np.int64),
    "dropped": ("sum", np.int64),
    "latency_count": ("sum", np.int64),
    "latency_sum": ("sum", np.float64),
    "latency_min": ("least", np.float64),
    "latency_max": ("most", np.float64),
    "energy_joules": ("sum", np.float64),
    "energy_inferences": ("sum", np.int64),
    "watts_sum": ("sum", np.float64),
    "watts_count": ("sum", np.int64),
    "celsius_sum": ("sum", np.float64),
    "celsius_count": ("sum", np.int64),
    "celsius_max": ("most", np.float64),
    "throttled": ("sum", np.int64),
    "throttle_samples": ("sum", np.int64),
    "cpu_ratio_sum": ("sum", np.float64),
    "cpu_ratio_count": ("sum", np.int64),
    "rss_max": ("most", np.float64),
    "starts": ("sum", np.int64),
    "gaps": ("sum", np.int64),
}
"""Columns of `WindowTable` besides its keys, ``devices`` and ``hist``: how they are merged, and their type."""


def regroup(
    table: WindowTable, by: Sequence[str], *, level: Level | None = None, with_hist: bool = True
) -> WindowTable:
    """Return a table told apart by ``by``, in windows of ``level``.

    ``devices`` counts devices where the table tells them apart; elsewhere it is the most of any row, for the table
    cannot tell whether two rows mean the same devices.

    Args:
        table: Windows.
        by: Axes, some of the table's.
        level: At least as long as the table's; None: as they are.
        with_hist: Whether latencies are wanted; without them its histograms are empty, which is quicker.

    Raises:
        ValueError: An axis is not in the table, or the windows would be shorter.
    """
    unknown = [axis for axis in by if axis not in table.axes]
    level = table.level if level is None else level
    if unknown or level.seconds < table.level.seconds:
        raise ValueError(
            f"regroup: expected axes of {', '.join(table.axes)} and windows of {table.level.seconds} s or more, "
            f"got {', '.join(by)} and {level.seconds} s"
        )
    keys = [table.key(axis) for axis in by]
    if level is not table.level and "time" in by:
        place = list(by).index("time")
        times = keys[place].astype(np.int64)
        keys[place] = times - times % level.seconds
    rows = len(table.inferences)
    groups, representatives = group_rows(keys, rows)
    count = len(representatives)
    if "device" in table.axes and "device" not in by:
        devices = _distinct(groups, table.key("device"), count)
    else:
        devices = np.zeros(count, dtype=np.int64)
        np.maximum.at(devices, groups, table.devices)
    columns: dict[str, Any] = {
        name: _merged(getattr(table, name), groups, count, how, kind) for name, (how, kind) in COLUMNS.items()
    }
    return WindowTable(
        axes=tuple(by),
        keys=tuple(key[representatives] for key in keys),
        level=level,
        devices=devices,
        hist=percentiles.merge(table.hist, groups if with_hist else np.full(rows, -1), count),
        **columns,
    )


def chosen(table: WindowTable, rows: NDArray[np.bool_] | NDArray[np.int64]) -> WindowTable:
    """Return some rows of a table, in the order given."""
    places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
    columns: dict[str, Any] = {name: getattr(table, name)[places] for name in COLUMNS}
    return replace(
        table,
        keys=tuple(key[places] for key in table.keys),
        devices=table.devices[places],
        hist=percentiles.picked(table.hist, places),
        **columns,
    )


def joined(tables: Sequence[WindowTable]) -> WindowTable:
    """Return the rows of all tables, one after the other; they have the same axes, level and scale."""
    first = tables[0]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in tables]) for name in COLUMNS
    }
    sizes = np.concatenate([np.diff(one.hist.offsets) for one in tables])
    return replace(
        first,
        keys=tuple(np.concatenate([one.keys[axis] for one in tables]) for axis in range(len(first.keys))),
        devices=np.concatenate([one.devices for one in tables]),
        hist=Histograms(
            scale=first.hist.scale,
            offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
            indices=np.concatenate([one.hist.indices for one in tables]),
            counts=np.concatenate([one.hist.counts for one in tables]),
            zero_counts=np.concatenate([one.hist.zero_counts for one in tables]),
        ),
        **columns,
    )


def codes(values: NDArray[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """Return each value's place in the sorted distinct values, and those; None comes first."""
    if values.dtype != object:
        found, inverse = np.unique(values, return_inverse=True)
        return inverse.astype(np.int64), list(found)
    distinct = sorted(set(values.tolist()), key=lambda one: (one is not None, one or ""))
    place = {value: index for index, value in enumerate(distinct)}
    return np.fromiter((place[value] for value in values.tolist()), np.int64, len(values)), distinct


def group_rows(keys: Sequence[NDArray[Any]], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each row's group, and one row of each group; groups are in the order of their keys."""
    combined = np.zeros(rows, dtype=np.int64)
    for key in keys:
        code, distinct = codes(key)
        combined = combined * max(len(distinct), 1) + code
        combined = np.unique(combined, return_inverse=True)[1].astype(np.int64)
    _, representatives, groups = np.unique(combined, return_index=True, return_inverse=True)
    return groups.astype(np.int64), representatives.astype(np.int64)


def _merged(
    values: NDArray[Any], groups: NDArray[np.int64], count: int, how: Merging, kind: type[np.generic]
) -> NDArray[Any]:
    if how == "sum":
        if kind is np.float64:
            return np.bincount(groups, weights=values, minlength=count)
        total = np.zeros(count, dtype=np.int64)
        np.add.at(total, groups, values)
        return total
    extreme = np.full(count, np.nan)
    (np.fmin if how == "least" else np.fmax).at(extreme, groups, values)
    return extreme


def _distinct(groups: NDArray[np.int64], names: NDArray[Any], count: int) -> NDArray[np.int64]:
    code, distinct = codes(names)
    pairs = np.unique(groups * max(len(distinct), 1) + code)
    return np.bincount(pairs // max(len(distinct), 1), minlength=count).astype(np.int64)
