"""`TelemetryStore` -> what the page shows. Every query that the page makes is here, in `timeline` or in `ranking`, so that each can be timed.

Each function is one view. Answers are merged by the store: no view carries a row a device but `ranking`, which carries
a page of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from host_tools.errors import InputError
from host_tools.review.analysis.artifacts import compare
from host_tools.review.analysis.review import examine_device, review_fleet
from host_tools.review.reports.comparison import comparison_report
from host_tools.review.reports.reviews import device_report, fleet_report
from host_tools.review.serve.answers import (
    ArtifactRow,
    DeadLetterRow,
    DeviceAnswer,
    EventRow,
    FleetAnswer,
    Group,
    GroupsAnswer,
    ReadingLine,
)
from host_tools.review.serve.inputs import input_rows
from host_tools.review.serve.looked import Looked, devices_of, shown_of
from host_tools.review.serve.measures import measures_of, texts_of, total_of
from host_tools.review.serve.ranking import device_row
from host_tools.review.store.windows import Selection
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.review.reports.report import Report
    from host_tools.review.serve.directory import Roll
    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import Device, StoredEvent

_MOST_GROUPS = 400
_MOST_LETTERS, _SHOWN_LETTERS = 100, 20
_LONGEST_TEXT = 300
_MOST_VALUES = 40
"""A label with more values than this is no menu."""
_SHOWN_EVENTS = 200


def fleet(store: TelemetryStore, roll: Roll, looked: Looked) -> FleetAnswer:
    """Return the fleet at a glance."""
    table = store.windows(looked.selection(), level=looked.span.level, by=("artifact",))
    rows = [
        ArtifactRow(artifact=artifact, name=roll.name(artifact), measures=measures)
        for artifact, measures in zip(texts_of(table, "artifact"), measures_of(table), strict=True)
    ]
    devices = devices_of(roll, looked)
    letters = store.dead_letters(limit=_MOST_LETTERS)
    return FleetAnswer(
        shown=shown_of(looked, roll),
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
    for device in devices_of(roll, looked):
        labels = dict(device.labels)
        place = tuple(labels.get(key, "") for key in keys)
        statuses.setdefault(place, Counter())[roll.status(device)] += 1
    measured = {
        tuple(value or "" for value in place): measures
        for place, measures in zip(
            zip(*(texts_of(table, axis) for axis in axes), strict=True), measures_of(table), strict=True
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
        shown=shown_of(looked, roll),
        by=by,
        inner=inner,
        groups=found[:_MOST_GROUPS],
        left_out=max(len(found) - _MOST_GROUPS, 0),
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
        shown=shown_of(looked, roll),
        row=device_row(known, roll, total_of(table, devices=1)),
        first_received=known.first_received,
        clock_note=harmless(known.clock_note),
        missing=known.missing,
        artifacts=[
            ArtifactRow(artifact=artifact, name=roll.name(artifact), measures=measures)
            for artifact, measures in zip(texts_of(table, "artifact"), measures_of(table), strict=True)
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


def _statuses(roll: Roll, devices: Sequence[Device]) -> Mapping[str, int]:
    return dict(Counter(roll.status(device) for device in devices).most_common())
