"""`WindowRows`: windows as the store keeps them, in columns with integer keys, and how they are merged.

Every roll-up and every answer is `merged` rows: one arithmetic for all levels and databases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from host_tools.review.store import histograms
from host_tools.review.store.windows import Histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOAT_SUMS = (
    "covered_seconds",
    "device_seconds",
    "latency_sum",
    "energy_joules",
    "watts_sum",
    "celsius_sum",
    "cpu_ratio_sum",
)
COUNTS = (
    "inferences",
    "errors",
    "dropped",
    "latency_count",
    "energy_inferences",
    "watts_count",
    "celsius_count",
    "throttled",
    "throttle_samples",
    "cpu_ratio_count",
    "starts",
    "gaps",
)
SMALLEST = ("latency_min",)
LARGEST = ("latency_max", "celsius_max", "rss_max")
NUMBERS = (*FLOAT_SUMS, *COUNTS, *SMALLEST, *LARGEST)
HIST = ("hist_scale", "hist_zero_count", "hist_indices", "hist_counts")
COLUMNS = (*NUMBERS, *HIST)
"""What a window holds beside its keys."""


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Columns of windows; ``numbers`` has one array for each of `NUMBERS`, extremes NaN where there are none."""

    keys: dict[str, NDArray[np.int64]]
    numbers: dict[str, NDArray[Any]]
    hist: Histograms

    def __len__(self) -> int:
        return len(self.hist.zero_counts)


def read(table: pa.Table, keys: tuple[str, ...]) -> WindowRows:
    """Take rows from Arrow; histograms of different scales are lowered to the lowest."""
    numbers: dict[str, NDArray[Any]] = {name: column(table, name) for name in NUMBERS}
    return WindowRows(
        keys={name: column(table, name).astype(np.int64) for name in keys},
        numbers=numbers,
        hist=read_hist(table),
    )


def read_hist(table: pa.Table) -> Histograms:
    """Take the columns `HIST` from Arrow."""
    scales = column(table, "hist_scale").astype(np.int64)
    lengths, indices = lists(table, "hist_indices", np.int32)
    _, counts = lists(table, "hist_counts", np.int64)
    told = scales[lengths > 0]
    scale = int(told.min()) if len(told) else histograms.EMPTY_SCALE
    if len(told) and int(told.max()) != scale:
        indices = histograms.lowered(indices, np.repeat(scales - scale, lengths))
    return Histograms(
        scale=scale,
        offsets=np.concatenate(([0], np.cumsum(lengths))),
        indices=indices,
        counts=counts,
        zero_counts=column(table, "hist_zero_count"),
    )


def write(rows: WindowRows) -> pa.Table:
    """Return rows as Arrow, with the columns of their keys and of `COLUMNS`."""
    offsets = pa.array(rows.hist.offsets.astype(np.int32))
    columns: dict[str, pa.Array] = {name: pa.array(values) for name, values in rows.keys.items()}
    columns |= {name: pa.array(values) for name, values in rows.numbers.items()}
    columns["hist_scale"] = pa.array(np.full(len(rows), rows.hist.scale, dtype=np.int8))
    columns["hist_zero_count"] = pa.array(rows.hist.zero_counts)
    columns["hist_indices"] = pa.ListArray.from_arrays(offsets, pa.array(rows.hist.indices))
    columns["hist_counts"] = pa.ListArray.from_arrays(offsets, pa.array(rows.hist.counts))
    return pa.table(columns)


def as_table(rows: WindowRows, **more: int) -> pa.Table:
    """Return rows as the tables have them, with columns that are the same in all of them."""
    table = write(rows)
    for name in ("device", "artifact", "cohort"):
        if name in rows.keys:
            place = table.column_names.index(name)
            table = table.set_column(place, name, table.column(name).cast(pa.int32()))
    for name, value in more.items():
        table = table.append_column(name, pa.array(np.full(len(rows), value), pa.int32()))
    return table


def merged(rows: WindowRows, groups: NDArray[np.int64], keys: dict[str, NDArray[np.int64]]) -> WindowRows:
    """Merge the rows of each group.

    Args:
        rows: What to merge.
        groups: int64[rows]: group of each row.
        keys: Keys of the groups; their length says how many there are.
    """
    count = len(next(iter(keys.values())))
    numbers: dict[str, NDArray[Any]] = {}
    for name in FLOAT_SUMS:
        numbers[name] = np.bincount(groups, weights=rows.numbers[name], minlength=count)
    for name in COUNTS:
        numbers[name] = _added(groups, rows.numbers[name], count)
    for name in SMALLEST:
        numbers[name] = _extreme(np.fmin, groups, rows.numbers[name], count)
    for name in LARGEST:
        numbers[name] = _extreme(np.fmax, groups, rows.numbers[name], count)
    return WindowRows(keys=keys, numbers=numbers, hist=histograms.merge(rows.hist, groups, count))


def grouped(
    keys: dict[str, NDArray[np.int64]],
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Return each row's group and the groups' keys, ordered by the keys in their order."""
    arrays = list(keys.values())
    size = len(arrays[0])
    if not size:
        return np.zeros(0, dtype=np.int64), keys
    order = np.lexsort(arrays[::-1])
    is_first = np.zeros(size, dtype=bool)
    is_first[0] = True
    for values in arrays:
        in_order = values[order]
        is_first[1:] |= in_order[1:] != in_order[:-1]
    groups = np.empty(size, dtype=np.int64)
    groups[order] = np.cumsum(is_first) - 1
    firsts = order[is_first]
    return groups, {name: values[firsts] for name, values in keys.items()}


def concatenated(tables: list[pa.Table]) -> pa.Table:
    """Return tables of windows as one; of none, one without rows.

    A table that was brought up to date has its new columns last, one that was made since has them in their places.
    """
    if not tables:
        return write(empty(("device", "time", "artifact")))
    return pa.concat_tables([one.select(tables[0].column_names) for one in tables])


def column(table: pa.Table, name: str) -> NDArray[Any]:
    """Return a column of numbers without nulls as numpy."""
    return np.asarray(table.column(name).to_numpy())


def lists(
    table: pa.Table, name: str, kind: type[np.int32 | np.int64]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return how long the list of each row is, and all elements."""
    chunks = table.column(name).chunks
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in chunks]
    values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
    empty: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    return (
        np.concatenate(lengths or empty).astype(np.int64, copy=False),
        np.concatenate(values or empty).astype(kind, copy=False),
    )


def _added(groups: NDArray[np.int64], values: NDArray[Any], count: int) -> NDArray[np.int64]:
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, groups, values.astype(np.int64, copy=False))
    return sums


def _extreme(
    choose: np.ufunc, groups: NDArray[np.int64], values: NDArray[Any], count: int
) -> NDArray[np.float64]:
    found = np.full(count, np.nan)
    choose.at(found, groups, values.astype(np.float64, copy=False))
    return found


def chosen(rows: WindowRows, kept: NDArray[Any]) -> WindowRows:
    """Return some of the rows, by mask."""
    lengths = np.diff(rows.hist.offsets)
    of_bucket = np.repeat(kept, lengths)
    return WindowRows(
        keys={name: values[kept] for name, values in rows.keys.items()},
        numbers={name: values[kept] for name, values in rows.numbers.items()},
        hist=Histograms(
            scale=rows.hist.scale,
            offsets=np.concatenate(([0], np.cumsum(lengths[kept]))),
            indices=rows.hist.indices[of_bucket],
            counts=rows.hist.counts[of_bucket],
            zero_counts=rows.hist.zero_counts[kept],
        ),
    )


def empty(keys: tuple[str, ...]) -> WindowRows:
    """Return no rows."""
    numbers: dict[str, NDArray[Any]] = {
        name: np.zeros(0, dtype=np.int64 if name in COUNTS else np.float64) for name in NUMBERS
    }
    return WindowRows(
        keys={name: np.zeros(0, dtype=np.int64) for name in keys},
        numbers=numbers,
        hist=Histograms(
            scale=histograms.EMPTY_SCALE,
            offsets=np.zeros(1, dtype=np.int64),
            indices=np.zeros(0, dtype=np.int32),
            counts=np.zeros(0, dtype=np.int64),
            zero_counts=np.zeros(0, dtype=np.int64),
        ),
    )
