"""Everything that a review looks for in a fleet, one function a kind, each with what it looked at and why it could not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.review.analysis import (
    change_points,
    cusum,
    explanation,
    presence,
    sensor_faults,
    stragglers,
    throttling,
    trends,
)
from host_tools.review.analysis.findings import Check, Explanation, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.review.analysis.reading import Answers, Fleet

Checked = tuple[tuple[Finding, ...], Check]

_DAY = 86400.0
_SAMPLED = 3
"""Devices of each group that are asked which batteries they have."""
_CHARGE, _STORED = "_charge_ratio", "_stored_joules"
_BATTERY_POINTS = 240


def all_checks(store: Answers, fleet: Fleet) -> tuple[Checked, ...]:
    """Look for everything that needs no comparison of artifacts."""
    return tuple(check(store, fleet) for check in _CHECKS)


def _change_points(_: Answers, fleet: Fleet) -> Checked:
    found, moments, looked_at = change_points.change_points(fleet.by_time, groups=fleet.groups)
    told = tuple(one.explained(_why_then(fleet, one, moments)) for one in found)
    windows = (fleet.selection.end - fleet.selection.start) / fleet.level.seconds
    note = ""
    if windows < cusum.MIN_WINDOWS:
        note = (
            f"{windows:.0f} windows of {fleet.level.seconds} s are too few to tell when something changed; "
            "choose a longer span, or fewer devices, which are read in shorter windows."
        )
    elif not looked_at:
        note = _too_few(change_points.MIN_DEVICES, "devices of one target, heard for half of the time")
    return told, Check(kind="change_point", looked_at=looked_at, found=len(told), note=note)


def _stragglers(_: Answers, fleet: Fleet) -> Checked:
    span = fleet.selection
    found, looked_at = stragglers.stragglers(
        fleet.latest_cool, groups=fleet.groups, start=span.start, end=span.end
    )
    note = "" if looked_at else _too_few(stragglers.MIN_PEERS, "devices of one target with the same artifact")
    return _labelled(fleet, found), Check(kind="straggler", looked_at=looked_at, found=len(found), note=note)


def _throttling(_: Answers, fleet: Fleet) -> Checked:
    found, looked_at = throttling.throttling(fleet.by_time, groups=fleet.groups)
    note = "" if looked_at else "No device tells whether heat slows it down."
    return _labelled(fleet, found), Check(kind="throttling", looked_at=looked_at, found=len(found), note=note)


def _silent(_: Answers, fleet: Fleet) -> Checked:
    found = presence.silent(fleet.devices, fleet.by_time, groups=fleet.groups, now=fleet.selection.end)
    return _labelled(fleet, found), Check(kind="silent", looked_at=len(fleet.devices), found=len(found))


def _flapping(_: Answers, fleet: Fleet) -> Checked:
    updates = {name: len(told) for name, told in fleet.switches.items()}
    found, looked_at = presence.flapping(fleet.by_time, groups=fleet.groups, updates=updates)
    return _labelled(fleet, found), Check(kind="flapping", looked_at=looked_at, found=len(found))


def _memory_leaks(_: Answers, fleet: Fleet) -> Checked:
    found, looked_at = trends.memory_leaks(fleet.by_time, groups=fleet.groups)
    note = "" if looked_at else "Too few windows between two starts."
    return _labelled(fleet, found), Check(
        kind="memory_leak", looked_at=looked_at, found=len(found), note=note
    )


def _heat_trends(_: Answers, fleet: Fleet) -> Checked:
    found, looked_at = trends.heat_trends(fleet.by_time, groups=fleet.groups, labels=fleet.labels)
    note = (
        "" if looked_at else _too_few(trends.MIN_PEERS, "devices of one target with a temperature for a week")
    )
    return _labelled(fleet, found), Check(kind="heat_trend", looked_at=looked_at, found=len(found), note=note)


def _battery_wear(store: Answers, fleet: Fleet) -> Checked:
    names = _battery_names(store, fleet)
    readings = ()
    if names:
        readings = store.readings(fleet.selection, names=names, points=_BATTERY_POINTS)
    found, looked_at = trends.battery_wear(readings, groups=fleet.groups)
    note = "" if looked_at else "No battery tells both its charge and the energy that it holds."
    return _labelled(fleet, found), Check(
        kind="battery_wear", looked_at=looked_at, found=len(found), note=note
    )


def _sensor_faults(_: Answers, fleet: Fleet) -> Checked:
    found, looked_at = sensor_faults.sensor_faults(fleet.by_time, groups=fleet.groups)
    note = "" if looked_at else "No device has a temperature."
    return _labelled(fleet, found), Check(
        kind="sensor_fault", looked_at=looked_at, found=len(found), note=note
    )


_CHECKS: tuple[Callable[[Answers, Fleet], Checked], ...] = (
    _change_points,
    _stragglers,
    _throttling,
    _silent,
    _flapping,
    _memory_leaks,
    _heat_trends,
    _battery_wear,
    _sensor_faults,
)


def labelled(fleet: Fleet, finding: Finding, everyone: Sequence[str]) -> Finding:
    """Return a finding with the labels that tell its devices from the others looked at."""
    why = explanation.by_labels(set(finding.devices), everyone, fleet.labels)
    return finding.explained((*finding.explanations, *why))


def _labelled(fleet: Fleet, found: Sequence[Finding]) -> tuple[Finding, ...]:
    names = [one.device for one in fleet.devices]
    return tuple(
        labelled(fleet, one, [name for name in names if not one.group or fleet.groups.get(name) == one.group])
        for one in found
    )


def _why_then(fleet: Fleet, finding: Finding, moments: dict[str, float] | None) -> tuple[Explanation, ...]:
    """What else changed when devices did: artifact, start, temperature, load; and which label they share."""
    own = {name: (moments or {}).get(name, finding.start) for name in finding.devices}
    if len(finding.devices) == sum(group == finding.group for group in fleet.groups.values()):
        own = dict.fromkeys(finding.devices, finding.start)
    span = fleet.selection.end - fleet.selection.start
    tolerance = 2.0 * fleet.level.seconds
    switched = {name: [at for at, _, _ in told] for name, told in fleet.switches.items()}
    why = [
        explanation.by_moments(
            own, switched, by="artifact", what="changed their artifact", tolerance=tolerance, span=span
        )
    ]
    if why[0] is None:
        started = _starts(fleet, set(own))
        why.append(
            explanation.by_moments(own, started, by="start", what="started", tolerance=tolerance, span=span)
        )
    conditions = explanation.by_conditions(fleet.by_time, set(own), finding.start, span=_DAY)
    peers = [name for name, group in fleet.groups.items() if group == finding.group]
    labels = explanation.by_labels(set(own), peers, fleet.labels)
    return (*(one for one in why if one is not None), *conditions, *labels)


def _starts(fleet: Fleet, devices: set[str]) -> dict[str, list[float]]:
    table = fleet.by_time
    found: dict[str, list[float]] = {}
    for row in (table.starts > 0).nonzero()[0]:
        name = table.key("device")[row]
        if name in devices:
            found.setdefault(str(name), []).append(float(table.key("time")[row]))
    return found


def _battery_names(store: Answers, fleet: Fleet) -> tuple[str, ...]:
    """Names of the readings of batteries: which there are differs from board to board, so a few devices are asked."""
    asked: dict[str, list[str]] = {}
    for one in fleet.devices:
        mine = asked.setdefault(fleet.groups.get(one.device, ""), [])
        if len(mine) < _SAMPLED:
            mine.append(one.device)
    selection = fleet.selection
    names: set[str] = set()
    devices = tuple(name for mine in asked.values() for name in mine)
    short = type(selection)(
        start=max(selection.start, selection.end - _DAY), end=selection.end, devices=devices
    )
    for series in store.readings(short, points=2):
        if series.scope == "battery" and series.name.endswith((_CHARGE, _STORED)):
            names.add(series.name)
    return tuple(sorted(names))


def _too_few(least: int, of_what: str) -> str:
    return f"There are not {least} {of_what}."
