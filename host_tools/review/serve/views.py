"""`TelemetryStore` -> what the page shows. Every query that the page makes is here, so that each can be timed.

Each function is one view. Answers are merged by the store: no view carries a row a device but `ranking`, which carries
a page of them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.telemetry import UPDATE_EVENTS
from host_tools.errors import InputError
from host_tools.review.analysis.artifacts import compare
from host_tools.review.analysis.percentiles import quantiles
from host_tools.review.analysis.regroup import chosen
from host_tools.review.analysis.review import examine_device, review_fleet
from host_tools.review.reports.comparison import comparison_report
from host_tools.review.reports.reviews import device_report, fleet_report
from host_tools.review.serve.answers import (
    ArtifactRow,
    DeadLetterRow,
    DeviceAnswer,
    DeviceRow,
    EventRow,
    FleetAnswer,
    Group,
    GroupsAnswer,
    RankingAnswer,
    ReadingLine,
    ShareLine,
    Shown,
    TimelineAnswer,
)
from host_tools.review.serve.heat import frame, heat
from host_tools.review.serve.inputs import input_rows
from host_tools.review.serve.markers import first_seen, markers_of
from host_tools.review.serve.measures import QUANTILES, lines_of, measures_of, merged, ratio_columns, total_of
from host_tools.review.serve.span import Span, coarser, of_ranking, picked_level
from host_tools.review.store.windows import Level, Selection
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.reports.report import Report
    from host_tools.review.serve.answers import Measures
    from host_tools.review.serve.directory import Roll
    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import Device, StoredEvent, WindowTable

SORTS = (
    "latency_p95",
    "latency_p99",
    "latency_p50",
    "error_share",
    "inferences",
    "joules",
    "watts",
    "celsius_max",
    "throttled_share",
    "gaps",
    "starts",
    "last_received",
    "device",
    "status",
)
"""Orders of the ranking."""
PAGE_SIZE = 20
MOST_EXPORTED = 1_000_000
"""Devices in one file."""
_MOST_GROUPS = 400
_MOST_LETTERS, _SHOWN_LETTERS = 100, 20
_LONGEST_TEXT = 300
_MOST_VALUES = 40
"""A label with more values than this is no menu."""
_MOST_EVENTS = 1000
_DEVICES_ASKED = 10
_ASKED_SECONDS = 1800.0
"""So many devices, and so much of their time, tell how long the windows of a fleet are."""
_MOST_ROLLOUT = 8
_SHOWN_EVENTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What is looked at: a time, and which devices and artifacts of it."""

    span: Span
    artifacts: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def selection(self, *, every_artifact: bool = False) -> Selection:
        """Return it as the store is asked for it."""
        return Selection(
            start=self.span.start,
            end=self.span.end,
            devices=self.devices,
            artifacts=self.artifacts if self.artifacts and not every_artifact else None,
            labels=self.labels,
        )


def fleet(store: TelemetryStore, roll: Roll, looked: Looked) -> FleetAnswer:
    """Return the fleet at a glance."""
    table = store.windows(looked.selection(), level=looked.span.level, by=("artifact",))
    rows = [
        ArtifactRow(artifact=artifact, name=roll.name(artifact), measures=measures)
        for artifact, measures in zip(_texts(table, "artifact"), measures_of(table), strict=True)
    ]
    devices = _chosen(roll, looked)
    letters = store.dead_letters(limit=_MOST_LETTERS)
    return FleetAnswer(
        shown=_shown(looked, roll),
        statuses=_statuses(roll, devices),
        total=total_of(table, devices=sum(device.last_received >= looked.span.start for device in devices)),
        artifacts=sorted(rows, key=lambda row: -row.measures.inferences),
        labels={harmless(key): len(known) for key, known in roll.labels.items()},
        label_values={
            harmless(key): [harmless(value) for value in known]
            for key, known in roll.labels.items()
            if len(known) <= _MOST_VALUES
        },
        dead_letters=len(letters),
        latest_dead_letters=[
            DeadLetterRow(
                received=letter.received,
                topic=harmless(letter.topic)[:_LONGEST_TEXT],
                reason=harmless(letter.reason)[:_LONGEST_TEXT],
                payload_bytes=letter.payload_bytes,
            )
            for letter in letters[:_SHOWN_LETTERS]
        ],
    )


def groups(
    store: TelemetryStore, roll: Roll, looked: Looked, *, by: str, inner: str | None = None
) -> GroupsAnswer:
    """Return the devices in groups by a label, and within these by a second one.

    Raises:
        InputError: The two are the same label, or a key is empty.
    """
    if not by or inner in (by, ""):
        raise InputError(f"groups: expected one label, or two that differ, got {by!r} and {inner!r}.")
    keys = (by,) if inner is None else (by, inner)
    axes = [f"label:{key}" for key in keys]
    table = store.windows(looked.selection(), level=looked.span.level, by=axes)
    statuses: dict[tuple[str, ...], Counter[str]] = {}
    for device in _chosen(roll, looked):
        labels = dict(device.labels)
        place = tuple(labels.get(key, "") for key in keys)
        statuses.setdefault(place, Counter())[roll.status(device)] += 1
    measured = {
        tuple(value or "" for value in place): measures
        for place, measures in zip(
            zip(*(_texts(table, axis) for axis in axes), strict=True), measures_of(table), strict=True
        )
    }
    found = [
        Group(
            value=harmless(place[0]),
            inner=harmless(place[1]) if inner is not None else None,
            devices=counted.total(),
            statuses=dict(counted),
            measures=measured.get(place) or total_of(None),
        )
        for place, counted in sorted(statuses.items(), key=lambda item: -item[1].total())
    ]
    return GroupsAnswer(
        shown=_shown(looked, roll),
        by=by,
        inner=inner,
        groups=found[:_MOST_GROUPS],
        left_out=max(len(found) - _MOST_GROUPS, 0),
    )


def timeline(store: TelemetryStore, roll: Roll, looked: Looked) -> TimelineAnswer:
    """Return latency, power, temperature, throttling and rollout over time, one set of lines for each artifact asked for.

    Where nobody asked for a level and the one that suits has nothing (it was not kept, or nothing came), the next
    coarser one that has something is shown. Nor is it finer than the windows that devices tell.
    """
    span = looked.span
    if not span.is_chosen:
        told_seconds = _told_seconds(store, roll, looked)
        level = picked_level(
            span.start, span.end, newest=roll.newest, told_seconds=told_seconds, kept=roll.kept
        )
        span = span.at(level)
    while True:
        looked = Looked(span=span, artifacts=looked.artifacts, devices=looked.devices, labels=looked.labels)
        table = store.windows(
            looked.selection(every_artifact=True), level=span.level, by=("time", "artifact")
        )
        above = coarser(span.level)
        if len(table.devices) or span.is_chosen or above is None:
            break
        span = span.at(above)
    windows = span.windows
    columns = ((table.key("time").astype(np.int64) - int(span.start)) // span.level.seconds).astype(np.int64)
    names = np.array([name if name is not None else "" for name in _texts(table, "artifact")], object)
    wanted: Sequence[str | None] = looked.artifacts or (None,)
    merges = [
        merged(table, np.where((names == one) if one is not None else True, columns, -1), windows)
        for one in wanted
    ]
    shift, low, bins = frame([one.hist for one in merges])
    heats = [heat(one.hist, shift=shift, low=low, bins=bins) for one in merges]
    events = store.events(looked.selection(every_artifact=True), names=UPDATE_EVENTS, limit=_MOST_EVENTS)
    rollout = _rollout(table, columns, names, windows, roll)
    return TimelineAnswer(
        shown=_shown(looked, roll),
        times=np.arange(windows, dtype=np.int64) * span.level.seconds + int(span.start),
        edges=heats[0].edges,
        lines=[
            lines_of(
                one,
                artifact=artifact,
                name="all" if artifact is None else roll.name(artifact),
                heat=grid.counts,
            )
            for artifact, one, grid in zip(wanted, merges, heats, strict=True)
        ],
        rollout=rollout,
        markers=sorted(
            [*markers_of(events, span), *first_seen(rollout, span)], key=lambda marker: marker.time
        ),
        markers_left_out=len(events) >= _MOST_EVENTS,
    )


def ranking(
    store: TelemetryStore,
    roll: Roll,
    looked: Looked,
    *,
    sort: str = "latency_p95",
    is_descending: bool = True,
    page: int = 1,
    page_size: int = PAGE_SIZE,
    search: str = "",
    status: str = "",
) -> RankingAnswer:
    """Return one page of the devices in an order; those that have no value come last in either direction.

    They are ranked over whole minutes, hours, quarters of a day or days, as few as `Shown` tells.

    Raises:
        InputError: The order is unknown.
    """
    if sort not in SORTS:
        raise InputError(f"sort: expected one of {', '.join(SORTS)}, got {sort!r}.")
    looked = replace(looked, span=of_ranking(looked.span))
    table = store.windows(looked.selection(), level=looked.span.level, by=("device",))
    places = {device: row for row, device in enumerate(_texts(table, "device"))}
    found = [
        device
        for device in _chosen(roll, looked)
        if (not looked.artifacts or device.device in places)
        and (not search or search.casefold() in device.device.casefold())
        and (not status or roll.status(device) == status)
    ]
    values = _sort_values(found, sort, places, table, roll)
    order = sorted(range(len(found)), key=lambda index: found[index].device)
    order.sort(key=lambda index: values[index], reverse=is_descending)
    order.sort(
        key=lambda index: values[index] != values[index]
    )  # what has no value is not a number, and comes last
    shown = order[(page - 1) * page_size : page * page_size]
    kept = [places.get(found[index].device, -1) for index in shown]
    measured = measures_of(chosen(table, np.array([row for row in kept if row >= 0], dtype=np.int64)))
    by_row = dict(zip([row for row in kept if row >= 0], measured, strict=True))
    return RankingAnswer(
        shown=_shown(looked, roll),
        sort=sort,
        is_descending=is_descending,
        page=page,
        page_size=page_size,
        count=len(found),
        rows=[
            _device_row(found[index], roll, by_row.get(row)) for index, row in zip(shown, kept, strict=True)
        ],
    )


def device(store: TelemetryStore, roll: Roll, looked: Looked, device_id: str) -> DeviceAnswer:
    """Return what is known of a device.

    Raises:
        InputError: No such device was heard.
    """
    known = roll.devices.get(device_id)
    if known is None:
        raise InputError(
            f"device {harmless(device_id)[:80]!r}: never heard.", hint="Search for it in the list of devices."
        )
    selection = Selection(start=looked.span.start, end=looked.span.end, devices=(device_id,))
    table = store.windows(selection, level=looked.span.level, by=("artifact",))
    readings = store.readings(selection, points=1000)
    events = store.events(selection, limit=_SHOWN_EVENTS)
    return DeviceAnswer(
        shown=_shown(looked, roll),
        row=_device_row(known, roll, total_of(table, devices=1)),
        first_received=known.first_received,
        clock_note=harmless(known.clock_note),
        missing=known.missing,
        artifacts=[
            ArtifactRow(artifact=artifact, name=roll.name(artifact), measures=measures)
            for artifact, measures in zip(_texts(table, "artifact"), measures_of(table), strict=True)
        ],
        readings=[
            ReadingLine(
                name=harmless(one.name),
                source=harmless(one.source),
                scope=harmless(one.scope),
                times=one.times,
                values=one.values,
            )
            for one in readings
        ],
        inputs=input_rows(store, selection, looked.span.level),
        events=[event_row(event) for event in reversed(events)],
    )


def findings(store: TelemetryStore, looked: Looked) -> Report:
    """Return what the analysis finds: of a device, of one artifact against another, or of the fleet.

    Raises:
        InputError: The device or an artifact is not there in this time.
    """
    selection = looked.selection()
    if looked.devices is not None:
        return device_report(examine_device(store, looked.devices[0], selection))
    if len(looked.artifacts) == 2:
        return comparison_report(compare(store, *looked.artifacts, looked.selection(every_artifact=True)))
    return fleet_report(review_fleet(store, selection))


def event_row(event: StoredEvent) -> EventRow:
    """Return an event as it is shown."""
    return EventRow(
        time=event.time,
        device=event.device,
        kind=event.kind,
        name=harmless(event.name),
        severity=event.severity,
        text=harmless(event.text),
    )


def _shown(looked: Looked, roll: Roll) -> Shown:
    span = looked.span
    return Shown(start=span.start, end=span.end, level=span.level.seconds, newest=roll.newest)


def _chosen(roll: Roll, looked: Looked) -> list[Device]:
    if not looked.labels and looked.devices is None:
        return list(roll.devices.values())
    wanted = set(looked.labels)
    return [
        device
        for device in roll.devices.values()
        if wanted <= set(device.labels) and (looked.devices is None or device.device in looked.devices)
    ]


def _told_seconds(store: TelemetryStore, roll: Roll, looked: Looked) -> float:
    """Return the usual length of the windows that some of these devices tell at the end of the time shown; 0.0 if none does."""
    span = looked.span
    if span.level not in (Level.SECONDS_10, Level.MINUTE):
        return 0.0  # no device tells longer ones
    end = min(span.end, roll.newest + span.level.seconds)
    recent = [one for one in _chosen(roll, looked) if one.last_received >= span.start]
    some = sorted(recent, key=lambda one: -one.last_received)[:_DEVICES_ASKED]
    if not some or end <= span.start:
        return 0.0
    asked = Selection(
        start=max(span.start, end - _ASKED_SECONDS), end=end, devices=tuple(one.device for one in some)
    )
    # In the shortest windows of the store one of a device is alone, and its length stands there.
    table = store.windows(asked, level=Level.SECONDS_10, by=("device", "time"))
    told = table.heard_seconds[table.heard_seconds > 0.0]
    return float(np.median(told)) if len(told) else 0.0


def _statuses(roll: Roll, devices: Sequence[Device]) -> Mapping[str, int]:
    return dict(Counter(roll.status(device) for device in devices).most_common())


def _texts(table: WindowTable, axis: str) -> list[str | None]:
    return [None if value is None else str(value) for value in table.key(axis).tolist()]


def _rollout(
    table: WindowTable, columns: NDArray[np.int64], names: NDArray[np.object_], windows: int, roll: Roll
) -> list[ShareLine]:
    lines = []
    for name in dict.fromkeys(names.tolist()):
        devices = np.zeros(windows, np.int64)
        mine = names == name
        np.add.at(devices, columns[mine], table.main_devices[mine])
        lines.append(ShareLine(artifact=name or None, name=roll.name(name or None), devices=devices))
    return sorted(lines, key=lambda line: -int(line.devices.sum()))[:_MOST_ROLLOUT]


def _device_row(device: Device, roll: Roll, measures: Measures | None) -> DeviceRow:
    return DeviceRow(
        device=device.device,
        status=roll.status(device),
        reason=harmless(device.reason),
        last_received=device.last_received,
        artifact=device.artifact,
        name=roll.name(device.artifact),
        labels={harmless(key): harmless(value) for key, value in device.labels},
        measures=measures,
    )


def _sort_values(
    found: Sequence[Device], sort: str, places: Mapping[str | None, int], table: WindowTable, roll: Roll
) -> list[float] | list[str]:
    if sort == "device":
        return [device.device for device in found]
    if sort == "status":
        return [roll.status(device) for device in found]
    if sort == "last_received":
        return [device.last_received for device in found]
    if sort.startswith("latency_p"):
        share = QUANTILES[("latency_p50", "latency_p95", "latency_p99").index(sort)]
        values = quantiles(table.hist, [share])[:, 0]
    else:
        ratios = ratio_columns(table)
        values = ratios[sort] if sort in ratios else getattr(table, sort).astype(np.float64)
    listed = values.tolist()
    return [listed[places[device.device]] if device.device in places else math.nan for device in found]
