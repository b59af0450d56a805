"""Everything that a review looks for in a fleet, one function a kind, each with what it looked at and why it could not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
from host_tools.review.analysis.regroup import chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    windows = (fleet.selection.end - fleet.selection.start) / fleet.level.seconds
    if windows < cusum.MIN_WINDOWS:
        note = (
            f"{windows:.0f} windows of {fleet.level.seconds} s are too few to tell when something changed; "
            "choose a longer span, or fewer devices, which are read in shorter windows."
        )
        return (), Check(kind="change_point", looked_at=0, found=0, note=note)
    found, moments, looked_at = change_points.change_points(fleet.by_time, groups=fleet.groups)
    told = tuple(one.explained(_why_then(fleet, one, moments)) for one in found)
    note = (
        ""
        if looked_at
        else _too_few(change_points.MIN_DEVICES, "devices of one target, heard half of the time")
    )
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
    faults, _known = sensor_faults.sensor_faults(fleet.by_time, groups=fleet.groups)
    broken = frozenset(name for one in faults for name in one.devices)
    names = fleet.by_time.key("device").tolist()
    sound = chosen(fleet.by_time, np.array([name not in broken for name in names], dtype=bool))
    found, looked_at = trends.heat_trends(sound, groups=fleet.groups, labels=fleet.labels)
    note = (
        "" if looked_at else _too_few(trends.MIN_PEERS, "devices of one target with a temperature for a week")
    )
    return _labelled(fleet, found), Check(kind="heat_trend", looked_at=looked_at, found=len(found), note=note)


def _battery_wear(store: Answers, fleet: Fleet) -> Checked:
    names = _battery_names(store, fleet)
    readings = store.readings(fleet.selection, names=names, points=_BATTERY_POINTS) if names else ()
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


def _why_then(fleet: Fleet, finding: Finding, moments: Mapping[str, float]) -> tuple[Explanation, ...]:
    """What else changed when devices did: artifact, start, temperature, load; and which label they share."""
    peers = [name for name, group in fleet.groups.items() if group == finding.group]
    is_whole_group = len(finding.devices) >= 0.9 * len(peers)
    own = {name: finding.start if is_whole_group else moments[name] for name in finding.devices}
    span = fleet.selection.end - fleet.selection.start
    happened = (
        ("artifact", "changed their artifact", _switched(fleet)),
        ("start", "started", _starts(fleet, set(own))),
    )
    why: list[Explanation] = []
    for by, what, times in happened:
        # A rollout takes its time: what a whole group did within a day of its change counts as well.
        for tolerance in (2.0 * fleet.level.seconds, _DAY if is_whole_group and by == "artifact" else 0.0):
            one = explanation.by_moments(own, times, by=by, what=what, tolerance=tolerance, span=span)
            if one is not None and not why:
                why.append(one)
    conditions = explanation.by_conditions(fleet.by_time, set(own), finding.start, span=_DAY)
    return (*why, *conditions, *explanation.by_labels(set(own), peers, fleet.labels))


def _switched(fleet: Fleet) -> dict[str, list[float]]:
    return {name: [at for at, _, _ in told] for name, told in fleet.switches.items()}


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
