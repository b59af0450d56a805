"""Sensors that cannot be right: a temperature that no board has, or one that does not move at all while others do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis import series, wording
from host_tools.review.analysis.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.review.store.windows import WindowTable

COLDEST, HOTTEST = -60.0, 150.0
"""Degrees Celsius; no processor reports from outside and works."""
STUCK_SECONDS = 12 * 3600.0
"""A sensor that says the same for so long is stuck, if the device worked more and less meanwhile."""
_LEAST_WINDOWS = 12
_LEAST_LOAD_SPREAD = 0.1


def sensor_faults(table: WindowTable, *, groups: Mapping[str, str]) -> tuple[tuple[Finding, ...], int]:
    """Find sensors of temperature that cannot be right.

    Args:
        table: Windows by device and time.
        groups: Group of each device.

    Returns:
        One finding for each way of being wrong and group, and how many devices have a temperature.
    """
    means = np.divide(
        table.celsius_sum,
        table.celsius_count,
        out=np.full(len(table.celsius_sum), np.nan),
        where=table.celsius_count > 0,
    )
    whole = series.matrix(table, means)
    load = series.matrix(table, table.inferences.astype(np.float64))
    known = np.isfinite(whole.values)
    wrong = known & ((whole.values < COLDEST) | (whole.values > HOTTEST))
    most = series.matrix(table, table.celsius_max)
    wrong |= np.isfinite(most.values) & (most.values > HOTTEST)
    impossible = wrong.any(axis=1)
    found = _told(
        whole,
        np.flatnonzero(impossible),
        since=np.argmax(wrong, axis=1) if wrong.size else np.zeros(0, dtype=np.int64),
        groups=groups,
        what="{devices} of {group} reports temperatures that cannot be, such as {value:.1f} °C, since {since}.",
        next_step="Check the sensor's wiring and driver; until then its heat steps cannot be trusted.",
        values=np.where(wrong, np.where(np.isfinite(most.values), most.values, whole.values), np.nan),
    )
    stuck, since = _stuck(whole, load)
    found += _told(
        whole,
        np.flatnonzero(stuck & ~impossible),
        since=since,
        groups=groups,
        what="The temperature of {devices} of {group} stands still at {value:.2f} °C since {since}, whatever the load.",
        next_step="Restart the device; if it still stands still the sensor or its driver is broken, and nothing guards its heat.",
        values=whole.values,
    )
    return tuple(found), int(known.any(axis=1).sum())


def _stuck(whole: series.Series, load: series.Series) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which devices' last values are all the same, and the place from which on they are."""
    stuck = np.zeros(len(whole.devices), dtype=bool)
    since = np.zeros(len(whole.devices), dtype=np.int64)
    least = max(_LEAST_WINDOWS, int(STUCK_SECONDS // whole.seconds))
    for row, values in enumerate(whole.values):
        places = np.flatnonzero(np.isfinite(values))
        if len(places) < least:
            continue
        told = values[places]
        moved = np.flatnonzero(np.abs(told - told[-1]) > 1e-9 * max(1.0, abs(float(told[-1]))))
        first = int(moved[-1]) + 1 if moved.size else 0
        if len(places) - first < least:
            continue
        worked = load.values[row, places[first:]]
        stuck[row] = float(np.std(worked)) > _LEAST_LOAD_SPREAD * max(float(np.mean(worked)), 1.0)
        since[row] = places[first]
    return stuck, since


def _told(
    whole: series.Series,
    rows: NDArray[np.int64],
    *,
    since: NDArray[np.int64],
    groups: Mapping[str, str],
    what: str,
    next_step: str,
    values: NDArray[np.float64],
) -> list[Finding]:
    found = []
    for group in sorted({groups.get(whole.devices[row], "") for row in rows}):
        mine = [row for row in rows if groups.get(whole.devices[row], "") == group]
        devices = tuple(whole.devices[row] for row in mine)
        start = float(min(whole.times[since[row]] for row in mine))
        shown = float(values[mine[0], since[mine[0]]])
        found.append(
            Finding(
                kind="sensor_fault",
                severity="warning",
                what=what.format(
                    devices=wording.devices(devices),
                    group=group or "the fleet",
                    value=shown,
                    since=wording.moment(start),
                ),
                next_step=next_step,
                devices=devices,
                artifacts=(),
                group=group,
                start=start,
                end=float(whole.times[-1]) + whole.seconds,
                effect=None,
                p_value=None,
                evidence={"devices": float(len(mine)), "celsius": shown},
            )
        )
    return found
