"""What goes on for days: memory that grows, devices that get hotter than their peers, batteries that hold less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from host_tools.review.analysis import estimates, series, wording
from host_tools.review.analysis.findings import Effect, Finding, FindingKind
from host_tools.review.analysis.multiplicity import benjamini_hochberg
from host_tools.review.analysis.regroup import regroup
from host_tools.review.analysis.sensor_faults import COLDEST, HOTTEST
from host_tools.review.analysis.slopes import Slopes, slopes
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.windows import ReadingSeries, WindowTable

FALSE_SHARE = 0.01
LEAST_LEAK_BYTES_A_DAY = 1e6
LEAST_LEAK_SHARE = 0.05
"""Growth over the span by what it began with."""
LEAST_HEAT_CELSIUS = 4.0
"""Over the span, beside peers."""
LEAST_WEAR = 0.03
"""Share of the capacity lost over the span."""
MIN_PEERS = 8
_LEAST_OF_LABEL = 4
"""Devices that a value of a label has on average, for it to say which go together."""
_LABEL_TELLS = 0.8
"""Spread of slopes around a label's medians by that around the group's, for it to say so."""
_MOST_POINTS = 48
_DAY = 86400.0
_LEAST_CHARGE = 0.15
"""Below it the quotient of energy and charge is mostly rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    kind: FindingKind
    measure: str
    unit: str
    what: str
    next_step: str


_LEAK = _Words(
    kind="memory_leak",
    measure="process_rss_bytes_per_day",
    unit="By",
    what="The agent's memory on {devices} of {group} grows by {slope} a day, between starts",
    next_step="See since which artifact or agent version; a support bundle of one device shows what is held.",
)
_HEAT = _Words(
    kind="heat_trend",
    measure="temperature_celsius_per_day",
    unit="Cel",
    what="{devices} of {group} gets hotter by {slope} a day, beside its peers",
    next_step="Look for dust, a fan that stands still or a new place in the sun before it has to slow down.",
)
_WEAR = _Words(
    kind="battery_wear",
    measure="battery_capacity_ratio_per_day",
    unit="1",
    what="The battery of {devices} of {group} loses {slope} of its capacity a day",
    next_step="Plan a new battery; see whether it is too hot or discharged too deeply.",
)


def memory_leaks(table: WindowTable, *, groups: Mapping[str, str]) -> tuple[tuple[Finding, ...], int]:
    """Find devices whose agent's memory grows from each start on.

    Args:
        table: Windows by device and time.
        groups: Group of each device.

    Returns:
        One finding a group, and how many devices were looked at.
    """
    whole = series.matrix(table, table.rss_max)
    starts = series.matrix(table, table.starts.astype(np.float64))
    began = np.nan_to_num(starts.values) > 0
    settled = np.where(began, np.nan, whole.values)  # the first window of a run is still warming up
    places = _thinned(len(whole.times))
    runs = np.cumsum(began, axis=1, dtype=np.int64)[:, places]
    found = slopes(whole.times[places] / _DAY, settled[:, places], runs)
    first = _first_known(whole.values)
    days = (whole.times[-1] - whole.times[0]) / _DAY if len(whole.times) else 0.0
    told = _sure(found, sign=1) & (found.slope >= LEAST_LEAK_BYTES_A_DAY)
    told &= found.slope * days >= LEAST_LEAK_SHARE * first
    return _findings(_LEAK, whole, found, told, groups), int(np.isfinite(found.p_value).sum())


def heat_trends(
    table: WindowTable,
    *,
    groups: Mapping[str, str],
    labels: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[tuple[Finding, ...], int]:
    """Find devices that get hotter than others of their group do.

    Weather makes devices of one place go together. So a slope is held against the spread of all slopes of the group, not
    only against its own noise; and where a label tells which go together, such as a site, it is held against those.

    Args:
        table: Windows by device and time.
        groups: Group of each device.
        labels: By device.

    Returns:
        One finding a group, and how many devices were looked at.
    """
    seconds = max(table.level.seconds, Level.HOUR.seconds)
    longer = regroup(
        table,
        ("device", "time"),
        level=next(one for one in Level if one.seconds >= seconds),
        with_hist=False,
    )
    means = np.divide(
        longer.celsius_sum,
        longer.celsius_count,
        out=np.full(len(longer.celsius_sum), np.nan),
        where=longer.celsius_count > 0,
    )
    means[(means < COLDEST) | (longer.celsius_max > HOTTEST)] = np.nan
    whole = series.matrix(longer, means)
    members = np.array([groups.get(one, "") for one in whole.devices], dtype=object)
    days = (whole.times[-1] - whole.times[0]) / _DAY if len(whole.times) else 0.0
    results = np.full((4, len(whole.devices)), np.nan)
    for group in sorted(set(members.tolist())):
        rows = np.flatnonzero(members == group)
        if len(rows) < MIN_PEERS:
            continue
        part = whole.only(members == group)
        apart = part.values - series.common_course(part.values, least=MIN_PEERS)
        binned, times = _daily(apart, part.times, part.seconds)
        one = slopes(times / _DAY, binned)
        known = np.isfinite(one.slope)
        if known.sum() < MIN_PEERS:
            continue
        usual = np.full(len(rows), np.nan)
        usual[known] = _usual_slopes(
            one.slope[known], [(labels or {}).get(whole.devices[row], {}) for row in rows[known]]
        )
        z = np.full(len(rows), np.nan)
        z[known] = estimates.robust_z((one.slope - usual)[known])[0]
        results[:, rows] = np.stack((one.slope - usual, one.low - usual, one.high - usual, special.ndtr(-z)))
    adjusted = benjamini_hochberg(results[3])
    told = (adjusted < FALSE_SHARE) & (results[1] > 0) & (results[0] * days >= LEAST_HEAT_CELSIUS)
    found = Slopes(
        slope=results[0], low=results[1], high=results[2], p_value=results[3], pairs=np.zeros(0, np.int64)
    )
    return _findings(_HEAT, whole, found, told, groups), int(np.isfinite(results[0]).sum())


def _usual_slopes(found: NDArray[np.float64], labels: list[Mapping[str, str]]) -> NDArray[np.float64]:
    """Return the median slope of each device's peers: of those with the same value of the label that tells most."""
    best = np.full(len(found), float(np.median(found)))
    least = _LABEL_TELLS * float(np.median(np.abs(found - best)))
    for key in sorted({key for one in labels for key in one}):
        values = np.array([one.get(key, "") for one in labels], dtype=object)
        counts = {value: int((values == value).sum()) for value in set(values.tolist())}
        if len(counts) < 2 or len(found) / len(counts) < _LEAST_OF_LABEL:
            continue
        medians = np.zeros(len(found))
        for value in counts:
            medians[values == value] = float(np.median(found[values == value]))
        spread = float(np.median(np.abs(found - medians)))
        if spread < least:
            best, least = medians, spread
    return best


def battery_wear(
    readings: Sequence[ReadingSeries], *, groups: Mapping[str, str]
) -> tuple[tuple[Finding, ...], int]:
    """Find batteries whose capacity shrinks: what they hold by how full they say they are.

    Args:
        readings: Series ``supply_<name>_charge_ratio`` and ``supply_<name>_stored_joules``, in any order, others too.
        groups: Group of each device.

    Returns:
        One finding a group, and how many batteries were looked at.
    """
    by_name = {(one.device, one.name): one for one in readings}
    names, rows, starts = [], [], []
    for (device, name), charge in sorted(by_name.items()):
        stored = by_name.get((device, name.removesuffix("_charge_ratio") + "_stored_joules"))
        if not name.endswith("_charge_ratio") or stored is None:
            continue
        common, mine, theirs = np.intersect1d(charge.times, stored.times, return_indices=True)
        full = charge.values[mine] >= _LEAST_CHARGE
        if full.sum() >= MIN_PEERS:
            names.append(device)
            rows.append((common[full], stored.values[theirs][full] / charge.values[mine][full]))
            starts.append(float(common[full].min()))
    if not rows:
        return (), 0
    first, last = min(starts), max(float(times.max()) for times, _ in rows)
    points = int(min(_MOST_POINTS, max(MIN_PEERS, (last - first) // (_DAY / 4))))
    edges = np.linspace(first, last + 1, points + 1)
    values = np.full((len(rows), points), np.nan)
    for row, (times, capacity) in enumerate(rows):
        slot = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, points - 1)
        for one in np.unique(slot):
            values[row, one] = np.median(capacity[slot == one])
    initial = _first_known(values)
    whole = series.Series(
        devices=tuple(names),
        times=(edges[:-1] + edges[1:]) / 2,
        values=values / initial[:, None],
        seconds=int(edges[1] - edges[0]),
    )
    found = slopes(whole.times / _DAY, whole.values)
    days = (last - first) / _DAY
    told = _sure(found, sign=-1) & (-found.slope * days >= LEAST_WEAR)
    return _findings(_WEAR, whole, found, told, groups), len(rows)


def _sure(found: Slopes, *, sign: int) -> NDArray[np.bool_]:
    adjusted = benjamini_hochberg(found.p_value)
    return np.asarray((adjusted < FALSE_SHARE) & (sign * found.slope > 0))


def _findings(
    words: _Words, whole: series.Series, found: Slopes, told: NDArray[np.bool_], groups: Mapping[str, str]
) -> tuple[Finding, ...]:
    members = np.array([groups.get(one, "") for one in whole.devices], dtype=object)
    adjusted = benjamini_hochberg(found.p_value)
    result = []
    for group in sorted(set(members[told].tolist())):
        rows = np.flatnonzero(told & (members == group))
        rows = rows[np.argsort(-np.abs(found.slope[rows]), kind="stable")]
        worst, devices = int(rows[0]), tuple(whole.devices[row] for row in rows)
        ends = sorted((abs(float(found.low[worst])), abs(float(found.high[worst]))))
        typical = float(np.median(found.slope[rows]))
        days = (whole.times[-1] - whole.times[0]) / _DAY
        sentence = words.what.format(
            devices=wording.devices(devices),
            group=group or "the fleet",
            slope=wording.quantity(abs(typical), words.unit),
        )
        result.append(
            Finding(
                kind=words.kind,
                severity="warning",
                what=(
                    f"{sentence} (the worst by {wording.quantity(abs(float(found.slope[worst])), words.unit)}, "
                    f"95 % confidence: {wording.quantity(ends[0], words.unit)} to {wording.quantity(ends[1], words.unit)})."
                ),
                next_step=words.next_step,
                devices=devices,
                artifacts=(),
                group=group,
                start=float(whole.times[0]),
                end=float(whole.times[-1]) + whole.seconds,
                effect=Effect(
                    measure=words.measure,
                    unit=words.unit,
                    before=0.0,
                    after=typical,
                    scale="difference",
                    change=typical,
                    low=float(np.median(found.low[rows])),
                    high=float(np.median(found.high[rows])),
                ),
                p_value=float(adjusted[rows].max()),
                evidence={
                    "devices": float(len(rows)),
                    "worst_per_day": float(found.slope[worst]),
                    "days": float(days),
                    "over_the_span": typical * float(days),
                },
            )
        )
    return tuple(result)


def _thinned(length: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, max(length - 1, 0), min(length, _MOST_POINTS)).astype(np.int64))


def _daily(
    values: NDArray[np.float64], times: NDArray[np.float64], seconds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians of whole days, so that hours of the day say nothing; as they are when windows are as long."""
    width = int(_DAY // seconds)
    days = values.shape[1] // width if width else 0
    if width <= 1 or not days:
        return values, times
    cut = values[:, : days * width].reshape(len(values), days, width)
    known = np.isfinite(cut).any(axis=2)
    result = np.full((len(values), days), np.nan)
    result[known] = np.nanmedian(cut[known], axis=1)
    return result, times[: days * width].reshape(days, width).mean(axis=1)


def _first_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    place = np.argmax(known, axis=1) if values.size else np.zeros(len(values), dtype=np.int64)
    first = values[np.arange(len(values)), place] if values.size else np.full(len(values), np.nan)
    return np.where(known.any(axis=1), first, np.nan)
