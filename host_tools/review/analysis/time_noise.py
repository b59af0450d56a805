"""How far two stretches of time are apart by themselves: weather, load, and whatever else all devices have in common.

Devices that change from A to B at about the same time are not independent of each other: a warm week makes all of them
warmer. What their common course does within A and within B tells how much of that there is; its long-run deviation
becomes a second standard error beside that over devices. Where the course remembers for days, few days tell little, and
the interval says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis import cusum, series
from host_tools.review.analysis.estimates import Estimate
from host_tools.review.analysis.regroup import chosen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.review.analysis.measures import Measure
    from host_tools.review.store.windows import WindowTable

MIN_WINDOWS = 8
_HOUR, _DAY = 3600, 86400
_LEAST_DAYS = 3
"""Of fewer days the hours' means would take with them what is looked for."""
_LEAST_FREEDOM = 2.0


class TimeNoise:
    """The common course of paired devices in one measure, without the step from A to B.

    Args:
        table: Windows by device, artifact and time.
        measure: What is compared.
        switched_at: Unix time when B began to run, by paired device.
        artifacts: Digests of A and B.
    """

    def __init__(
        self,
        table: WindowTable,
        measure: Measure,
        switched_at: Mapping[str, float],
        artifacts: tuple[str, str],
    ) -> None:
        names = table.key("device").tolist()
        is_paired = np.array([name in switched_at for name in names], dtype=bool)
        rows = is_paired & np.isin(table.key("artifact").astype(str), artifacts)
        self._whole = series.of_measure(chosen(table, rows), measure)
        switched = np.array([switched_at[name] for name in self._whole.devices])
        self._is_after = self._whole.times[None, :] >= switched[:, None]
        self._residuals = _without_step(self._whole.values, self._is_after)

    def added_to(self, estimate: Estimate, devices: frozenset[str]) -> Estimate:
        """Return the estimate of these devices' mean difference with the error of time in it."""
        mine = np.array([name in devices for name in self._whole.devices], dtype=bool)
        if not mine.any():
            return estimate
        known = np.isfinite(self._residuals[mine])
        counts = known.sum(axis=0)
        heard = counts >= max(1, 0.5 * counts.max(initial=0))
        if heard.sum() < MIN_WINDOWS:
            return estimate
        course = np.where(known, self._residuals[mine], 0.0).sum(axis=0)[heard] / counts[heard]
        deviation, effective = cusum.long_run(self._without_hours(course, self._whole.times[heard]))
        after = float((known & self._is_after[mine]).sum(axis=1).mean())
        before = float(known.sum(axis=1).mean()) - after
        if deviation == 0 or min(after, before) <= 0:
            return estimate
        error = deviation * math.sqrt(1 / before + 1 / after)
        freedom = max(_LEAST_FREEDOM, effective - 2)
        total = estimate.error**2 + error**2
        parts = error**4 / freedom
        if estimate.error > 0:
            parts += estimate.error**4 / estimate.freedom
        return Estimate(
            value=estimate.value, error=math.sqrt(total), freedom=total**2 / parts, count=estimate.count
        )

    def _without_hours(self, course: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        """A course less the means of its hours of the day, which both sides have in common."""
        days = (times[-1] - times[0]) / _DAY
        if self._whole.seconds >= _DAY or days < _LEAST_DAYS:
            return course
        hours = times.astype(np.int64) % _DAY // max(_HOUR, self._whole.seconds)
        found, place = np.unique(hours, return_inverse=True)
        means = np.bincount(place, weights=course, minlength=len(found)) / np.bincount(place)
        return np.asarray(course - means[place])


def _without_step(values: NDArray[np.float64], is_after: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values less each device's mean before and after."""
    apart = values.copy()
    for phase in (is_after, ~is_after):
        known = np.isfinite(apart) & phase
        mean = np.where(known, apart, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        apart -= np.where(phase, mean[:, None], 0.0)
    return np.asarray(apart)
