"""`timeline_of`: the fleet over time, and who runs what of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.telemetry.event import UPDATE_EVENTS
from host_tools.review.serve.answers import ShareLine, TimelineAnswer
from host_tools.review.serve.heat import frame, heat
from host_tools.review.serve.looked import Looked, devices_of, shown_of
from host_tools.review.serve.markers import first_seen, markers_of
from host_tools.review.serve.measures import lines_of, merged, texts_of
from host_tools.review.serve.span import coarser, picked_level
from host_tools.review.store.windows import Level, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.review.serve.directory import Roll
    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import WindowTable

_MOST_EVENTS = 1000
_DEVICES_ASKED = 10
_ASKED_SECONDS = 1800.0
"""So many devices, and so much of their time, tell how long the windows of a fleet are."""
_MOST_ROLLOUT = 8


def timeline_of(store: TelemetryStore, roll: Roll, looked: Looked) -> TimelineAnswer:
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
    names = np.array([name if name is not None else "" for name in texts_of(table, "artifact")], object)
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
        shown=shown_of(looked, roll),
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


def _told_seconds(store: TelemetryStore, roll: Roll, looked: Looked) -> float:
    """Return the usual length of the windows that some of these devices tell at the end of the time shown; 0.0 if none does."""
    span = looked.span
    if span.level not in (Level.SECONDS_10, Level.MINUTE):
        return 0.0  # no device tells longer ones
    end = min(span.end, roll.newest + span.level.seconds)
    recent = [one for one in devices_of(roll, looked) if one.last_received >= span.start]
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
