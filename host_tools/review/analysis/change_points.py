"""When something changed: for a whole group of devices, and for single devices apart from their group.

A group's course is the median over its devices, each less its own median and its hours of the day, so devices that come
and go do not look like a change. A device is looked at less its group's course: what happens to all is told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis import cusum, estimates, series, wording
from host_tools.review.analysis.findings import Effect, Finding
from host_tools.review.analysis.measures import MEASURES, Measure
from host_tools.review.analysis.multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.windows import WindowTable

ALPHA = 0.001
"""Chance of a change of any group, as the test says it; short series that remember long make it some times that."""
FALSE_SHARE = 0.01
"""Expected share of false ones among single devices that are said to have changed."""
MIN_DEVICES = 5
WATCHED = ("latency_p50_seconds", "latency_p95_seconds", "energy_per_inference_joules")
_LEAST_OF_GROUP = 0.015
_LEAST_OF_DEVICE = 0.05
"""Smaller relative changes are not told."""
_TOGETHER_WINDOWS = 3
"""Devices whose changes are so near each other, and in the same direction, are told together."""


def change_points(
    table: WindowTable, *, groups: Mapping[str, str]
) -> tuple[tuple[Finding, ...], Mapping[str, float], int]:
    """Find changes.

    Args:
        table: Windows by device and time.
        groups: Group of each device.

    Returns:
        Findings, the Unix time of each affected device's own change, and how many series were looked at.
    """
    found: list[Finding] = []
    moments: dict[str, float] = {}
    looked_at = 0
    for name in WATCHED:
        measure = MEASURES[name]
        whole = series.of_measure(table, measure)
        whole = whole.only(series.heard_enough(whole))
        members = np.array([groups.get(one, "") for one in whole.devices], dtype=object)
        names = sorted(set(members.tolist()))
        for group in names:
            part = whole.only(members == group)
            if len(part.devices) < MIN_DEVICES:
                continue
            apart = series.levelled(part)
            course = series.common_course(apart, least=MIN_DEVICES)
            looked_at += 1 + len(part.devices)
            alpha = ALPHA / (len(WATCHED) * len(names))
            found += _of_group(measure, part, group, course, alpha)
            findings, when = _of_devices(measure, part, group, apart - course)
            found += findings
            moments.update(when)
    return tuple(found), moments, looked_at


def _of_group(
    measure: Measure, part: series.Series, group: str, course: NDArray[np.float64], alpha: float
) -> list[Finding]:
    found = []
    shifts = [one for one in cusum.shifts(course, alpha=alpha) if abs(one.change) >= _LEAST_OF_GROUP]
    for number, shift in enumerate(shifts):
        end = shifts[number + 1].place if number + 1 < len(shifts) else len(part.times)
        begin = shifts[number - 1].place if number else 0
        effect = _effect(measure, part.values, shift, begin, end)
        at = float(part.times[shift.place])
        direction = "higher" if shift.change > 0 else "lower"
        found.append(
            Finding(
                kind="change_point",
                severity="warning" if measure.worse * shift.change > 0 else "info",
                what=(
                    f"{measure.title[0].upper()}{measure.title[1:]} of {group or 'all devices'} is "
                    f"{wording.change(effect)} {direction} since {wording.moment(at)} ({wording.interval(effect)})."
                ),
                next_step="See what else changed then: rollouts, agent and system updates, cameras and load.",
                devices=part.devices,
                artifacts=(),
                group=group,
                start=at,
                end=float(part.times[min(end, len(part.times)) - 1]) + part.seconds,
                effect=effect,
                p_value=min(1.0, shift.p_value * ALPHA / alpha),
                evidence={"devices": float(len(part.devices)), "windows": float(len(part.times))},
            )
        )
    return found


def _of_devices(
    measure: Measure, part: series.Series, group: str, apart: NDArray[np.float64]
) -> tuple[list[Finding], dict[str, float]]:
    place, change, error, p_values = cusum.one_shift_each(apart)
    adjusted = benjamini_hochberg(p_values)
    rows = np.flatnonzero((adjusted < FALSE_SHARE) & (np.abs(change) >= _LEAST_OF_DEVICE))
    found = []
    for cluster in _clusters(rows, place, change):
        worst = cluster[np.argsort(-np.abs(change[cluster]), kind="stable")]
        middle = int(np.median(place[cluster]))
        size = float(np.median(change[cluster]))
        shift = cusum.Shift(
            place=middle,
            change=size,
            error=float(np.median(error[cluster])),
            p_value=float(adjusted[cluster].max()),
        )
        effect = _effect(measure, part.values[cluster], shift, 0, len(part.times))
        devices = tuple(part.devices[row] for row in worst)
        at = float(part.times[min(middle, len(part.times) - 1)])
        direction = "higher" if size > 0 else "lower"
        own = _own_change(part.values[cluster], middle)
        stayed = own * size < 0.5 * size * size  # less than half of it is theirs
        found.append(
            Finding(
                kind="change_point",
                severity="warning" if measure.worse * size > 0 and not stayed else "info",
                what=(
                    f"{measure.title[0].upper()}{measure.title[1:]} of {wording.devices(devices)} is "
                    f"{wording.change(effect)} {direction} since about {wording.moment(at)}, beside "
                    f"{len(part.devices)} devices of {group or 'the fleet'} ({wording.interval(effect)})"
                    + (": the others changed, more than these." if stayed else ".")
                ),
                next_step="See what changed on the others then, and not on these devices."
                if stayed
                else "See what changed on these devices then, and not on the others.",
                devices=devices,
                artifacts=(),
                group=group,
                start=at,
                end=float(part.times[-1]) + part.seconds,
                effect=effect,
                p_value=shift.p_value,
                evidence={"devices": float(len(devices)), "peers": float(len(part.devices))},
            )
        )
    return found, {part.devices[row]: float(part.times[min(place[row], len(part.times) - 1)]) for row in rows}


def _clusters(
    rows: NDArray[np.int64], place: NDArray[np.int64], change: NDArray[np.float64]
) -> Sequence[NDArray[np.int64]]:
    """Rows whose changes are near each other in time and in the same direction."""
    clusters: list[NDArray[np.int64]] = []
    for sign in (1, -1):
        same = rows[np.sign(change[rows]) == sign]
        same = same[np.argsort(place[same], kind="stable")]
        cuts = np.flatnonzero(np.diff(place[same]) > _TOGETHER_WINDOWS) + 1
        clusters += [one for one in np.split(same, cuts) if one.size]
    return clusters


def _own_change(values: NDArray[np.float64], place: int) -> float:
    """Return the median change of the devices themselves, NaN where one side is not known."""
    before, after = values[:, :place], values[:, place:]
    if not (np.isfinite(before).any() and np.isfinite(after).any()):
        return np.nan
    return float(np.nanmedian(after) - np.nanmedian(before))


def _effect(
    measure: Measure, values: NDArray[np.float64], shift: cusum.Shift, begin: int, end: int
) -> Effect:
    before = values[:, begin : shift.place]
    after = values[:, shift.place : end]
    old, new = (float(np.nanmedian(one)) if np.isfinite(one).any() else np.nan for one in (before, after))
    natural = np.exp if measure.scale == "ratio" else float
    reach = estimates.NORMAL_95 * shift.error
    return Effect(
        measure=measure.name,
        unit=measure.unit,
        before=float(natural(old)),
        after=float(natural(new)),
        scale=measure.scale,
        change=measure.change(shift.change),
        low=measure.change(shift.change - reach),
        high=measure.change(shift.change + reach),
    )
