"""Values of devices over time as a matrix, and what is left of them without the hours of the day and the fleet's own course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis.regroup import codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.analysis.measures import Measure
    from host_tools.review.store.windows import WindowTable

_DAY = 86400
_LEAST_SHARE = 0.5
"""A device is looked at when it has so much of the windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One measure of devices over time.

    Attributes:
        devices: Device ids, a row each.
        times: float64: Unix time of each window's start, evenly apart.
        values: float64[devices, times]; NaN where there is none. Logarithms where the measure is held by its ratio.
        seconds: Length of a window.
    """

    devices: tuple[str, ...]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    seconds: int

    def only(self, rows: NDArray[np.bool_]) -> Series:
        """Return some of the devices."""
        return Series(
            devices=tuple(name for name, keep in zip(self.devices, rows, strict=True) if keep),
            times=self.times,
            values=self.values[rows],
            seconds=self.seconds,
        )


def matrix(table: WindowTable, column: NDArray[np.float64]) -> Series:
    """Arrange one value a row of a table by device and time as a matrix; of two in one place the later row counts."""
    device, names = codes(table.key("device"))
    times = table.key("time").astype(np.int64)
    if not times.size:
        return Series(devices=(), times=np.zeros(0), values=np.zeros((0, 0)), seconds=table.level.seconds)
    first, seconds = int(times.min()), table.level.seconds
    places = (times - first) // seconds
    values = np.full((len(names), int(places.max()) + 1), np.nan)
    values[device, places] = column
    return Series(
        devices=tuple(names),
        times=first + seconds * np.arange(values.shape[1], dtype=np.float64),
        values=values,
        seconds=seconds,
    )


def of_measure(table: WindowTable, measure: Measure) -> Series:
    """Return a measure as `Series`, in logarithms where it is held by its ratio."""
    values = measure.values(table)
    if measure.scale == "ratio":
        values = np.log(values, out=np.full(len(values), np.nan), where=values > 0)
    return matrix(table, values)


def heard_enough(series: Series) -> NDArray[np.bool_]:
    """Return which devices have half of the windows or more."""
    if not series.values.size:
        return np.zeros(len(series.devices), dtype=bool)
    return np.asarray(np.isfinite(series.values).mean(axis=1) >= _LEAST_SHARE)


def levelled(series: Series) -> NDArray[np.float64]:
    """Return values less each device's median and less what its hours of the day have, common to all devices given.

    The day's course is the median over devices and days, so a change for good is not taken for it.
    """
    with np.errstate(all="ignore"):
        apart = series.values - _medians(series.values, axis=1)[:, None]
    if series.seconds >= _DAY or not apart.size:
        return apart
    slots = (series.times.astype(np.int64) % _DAY) // series.seconds
    detrended = apart - running_mean(apart, max(1, _DAY // series.seconds))
    for slot in np.unique(slots):
        column = detrended[:, slots == slot]
        known = column[np.isfinite(column)]
        if known.size:
            apart[:, slots == slot] -= np.median(known)
    return apart


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return each row's mean over ``width`` places around each, shorter at the ends, of what is known there."""
    known = np.isfinite(values)
    sums = np.cumsum(np.pad(np.where(known, values, 0.0), ((0, 0), (1, 0))), axis=1)
    counts = np.cumsum(np.pad(known, ((0, 0), (1, 0))), axis=1)
    places = np.arange(values.shape[1])
    low, high = np.maximum(places - width // 2, 0), np.minimum(places + width - width // 2, values.shape[1])
    total, count = sums[:, high] - sums[:, low], counts[:, high] - counts[:, low]
    return np.asarray(np.divide(total, count, out=np.full(values.shape, np.nan), where=count > 0))


def common_course(values: NDArray[np.float64], *, least: int) -> NDArray[np.float64]:
    """Return the median over devices at each time; NaN where fewer than ``least`` devices are known."""
    counts = np.isfinite(values).sum(axis=0)
    course = np.full(values.shape[1], np.nan)
    enough = counts >= least
    if enough.any():
        course[enough] = np.nanmedian(values[:, enough], axis=0)
    return course


def _medians(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    result = np.full(values.shape[1 - axis], np.nan)
    known = np.isfinite(values).any(axis=axis)
    if known.any():
        result[known] = np.nanmedian(values[known] if axis == 1 else values[:, known], axis=axis)
    return result
