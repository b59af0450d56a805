"""When a device was off, and when it could not be heard: from when its messages were made and when they arrived. Pure.

A message that was made while the network was away waits on the device and arrives late. So an outage is a stretch of messages that were late,
up to the moment at which the first of them arrived; that the device says `reconnected` at its end tells it from an ingest that was away.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.review.store.message_table import MessageTable
    from host_tools.review.store.windows import StoredEvent

HELD_SECONDS = 2.0
"""A message that arrives so much later than the quickest was held back."""
JUMP_SECONDS = 5.0
"""What a clock is off by less, no reader of telemetry calls wrong (`host_tools.review.boot_clock`)."""
_NEAR_SECONDS = 5.0
"""How far an event may be from what it speaks of, at least."""
_USUAL_INTERVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the agent: Unix seconds of its start, its first and its last message."""

    start: float
    first: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Off:
    """A stretch without the agent, and whether it had ended in order."""

    begin: float
    end: float
    in_order: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """A stretch in which messages were held back.

    Attributes:
        begin: Half way between the last message that arrived at once and the first that did not.
        end: When the device was heard again.
        messages: How many were held back.
        told: What the device says of it; empty: nothing.
    """

    begin: float
    end: float
    messages: int
    told: str


def clock_jumps(messages: MessageTable) -> list[tuple[float, float]]:
    """Return when a device's clock jumped while its agent ran, and by how many seconds: against its uptime, in which no jump is."""
    found: list[tuple[float, float]] = []
    for number in np.unique(messages.run):
        own = np.flatnonzero(messages.run == number)
        own = own[np.argsort(messages.seq[own])]
        steps = np.diff(messages.time[own] - messages.uptime_seconds[own])
        places = np.flatnonzero(np.abs(steps) > JUMP_SECONDS)
        found += [(float(messages.moment[own[place + 1]]), float(steps[place])) for place in places]
    return sorted(found)


def interval_of(messages: MessageTable) -> float:
    """Return how often the device reports, in seconds: the length of its windows."""
    lengths = messages.window_seconds[~np.isnan(messages.window_seconds)]
    return float(np.median(lengths)) if len(lengths) else _USUAL_INTERVAL_SECONDS


def runs_of(messages: MessageTable) -> list[Run]:
    """Return the runs, by their start."""
    starts = messages.moment - messages.uptime_seconds
    found = []
    for number in np.unique(messages.run):
        own = messages.run == number
        moments = messages.moment[own]
        found.append(
            Run(start=float(np.median(starts[own])), first=float(moments.min()), last=float(moments.max()))
        )
    return sorted(found, key=lambda run: run.start)


def offs(runs: Sequence[Run], events: Sequence[StoredEvent], *, interval: float) -> list[Off]:
    """Return the stretches between runs; one begins half an interval after the last message, for there was no other after it."""
    stopped = [one.time for one in events if one.kind == "health" and one.name == "draining"]
    found = []
    for run, after in pairwise(runs):
        begin = run.last + min(interval, max(0.0, after.start - run.last)) / 2.0
        found.append(
            Off(
                begin=min(begin, after.start),
                end=after.start,
                in_order=any(max(run.start, run.last - interval) <= time <= after.start for time in stopped),
            )
        )
    return found


def outages(
    messages: MessageTable, runs: Sequence[Run], events: Sequence[StoredEvent], *, interval: float
) -> list[Away]:
    """Return the stretches in which messages were held back, in order.

    Left out is what was under way when an agent ended: it arrives when the next one is up.
    """
    delay = messages.received - messages.moment
    base = float(delay.min())
    arrived = messages.received - base
    late = arrived - messages.moment > HELD_SECONDS
    moments = messages.moment
    back = [one for one in events if one.kind == "event" and one.name == "reconnected"]
    near = max(_NEAR_SECONDS, interval)
    found: list[Away] = []
    place, drained = 0, -np.inf
    while place < len(moments):
        if not late[place]:
            place += 1
        elif arrived[place] - drained <= HELD_SECONDS:  # what had piled up is still coming
            drained, place = max(drained, float(arrived[place])), place + 1
        else:
            held = late & (moments >= moments[place]) & (moments < arrived[place])
            end = float(arrived[held].min())
            after = int(np.searchsorted(moments, end, side="left"))
            drained = float(arrived[held & (moments < end)].max())
            before = float(moments[place - 1]) if place else float(moments[0])
            told = min((one for one in back if abs(one.time - end) <= near), key=lambda one: abs(one.time - end), default=None)  # fmt: skip
            away = Away(
                begin=(before + float(moments[place])) / 2.0,
                end=end if told is None else told.time,
                messages=int((held & (moments < end)).sum()),
                told="" if told is None else told.text,
            )
            if told is not None or not _was_under_way(away, runs, interval):
                found.append(away)
            place = max(after, place + 1)
    return found


def _was_under_way(away: Away, runs: Sequence[Run], interval: float) -> bool:
    return any(
        away.begin >= run.last - 2.0 * interval and after.start <= away.end + HELD_SECONDS
        for run, after in pairwise(runs)
        if away.begin <= after.start
    )
