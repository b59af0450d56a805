"""Faults out of a record: power cuts, outages of the network, throttling, sensors that were gone. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.errors import FieldError
from hil.field.notes import shown
from hil.field.outages import offs, outages
from hil.field.spans import spans
from hil.scenario.scenario import MAX_ENTRIES, Fault
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.field.notes import Notes, Stretch
    from hil.field.outages import Away, Run
    from hil.field.record import FieldRecord
    from hil.scenario.scenario import FaultKind

    Found = tuple[FaultKind, float, float, str]

_FEWEST_WAITING, _SHARE_WAITING = 2.0, 0.5
"""So many of the messages that were late must have waited in the device; else it had delivered them."""
_OF_HEAT = ("heat_unknown", "heat_known")
_SHORTEST_SECONDS = 0.05
_BEFORE_THE_END = 0.001
"""A fault ends so much before the scenario does, so that its end is played."""


def faults(record: FieldRecord, stretch: Stretch, runs: Sequence[Run], notes: Notes) -> tuple[Fault, ...]:
    """Return what befell the device, by time; each has its remark.

    Raises:
        FieldError: There are too many for one scenario.
    """
    sources = (
        _power_cuts(record, stretch, runs),
        _of_the_line(record, stretch, runs, notes),
        _throttling(record),
        _sensor_losses(record, stretch, runs),
    )
    placed = [one for found in sources for one in _placed(found, stretch, notes)]
    if len(placed) > MAX_ENTRIES:
        raise FieldError(
            f"device {record.device.device!r}: {len(placed)} faults in that time, expected at most {MAX_ENTRIES}.",
            hint="Choose a shorter time.",
        )
    placed.sort(key=lambda one: one[0].at_seconds)
    for place, (_, remark) in enumerate(placed):
        notes.remarks[f"fault[{place}]"] = remark
    return tuple(fault for fault, _ in placed)


def _placed(found: Iterator[Found], stretch: Stretch, notes: Notes) -> Iterator[tuple[Fault, str]]:
    """Yield stretches of one thing as faults: inside the scenario, one after another."""
    free, last = 0.0, stretch.seconds - _BEFORE_THE_END
    for kind, begin, end, remark in found:
        at, until = max(free, round(begin - stretch.begin, 3)), min(last, round(end - stretch.begin, 3))
        if until - at < _SHORTEST_SECONDS:
            notes.leave_out(
                f"{kind} at {shown(begin)}: shorter than {_SHORTEST_SECONDS:g} s, or at the very end."
            )
            continue
        yield Fault(kind=kind, at_seconds=at, for_seconds=round(until - at, 3)), remark
        free = until


def _power_cuts(record: FieldRecord, stretch: Stretch, runs: Sequence[Run]) -> Iterator[Found]:
    for off in offs(runs, record.events, interval=stretch.interval):
        how = (
            "it had ended in order, which is played as a power cut"
            if off.in_order
            else "nothing was said before; a crash of the agent looks the same"
        )
        remark = f"The agent was off until it began anew at {shown(off.end)}: {how}."
        yield "power_cut", off.begin, off.end, remark


def _of_the_line(record: FieldRecord, stretch: Stretch, runs: Sequence[Run], notes: Notes) -> Iterator[Found]:
    """Yield outages that the device shows: by its word, by what waited in it, or by a start without a network."""
    for away in outages(record.messages, runs, record.events, interval=stretch.interval):
        held = f"{away.messages} messages arrived up to {away.end - away.begin:.0f} s late"
        waited = _waited(record, away)
        if away.told:
            remark = f"{held}; the device said at {shown(away.end)}: {harmless(away.told)}"
            yield "network_cut", away.begin, away.end, remark
        elif any(away.begin < run.start < away.end for run in runs):
            yield "network_cut", away.begin, away.end, f"{held}, from before and after a start of the agent."
        elif waited >= max(_FEWEST_WAITING, away.messages * _SHARE_WAITING):
            remark = f"{held}; up to {waited:.0f} waited in the device, and it told of no lost connection."
            yield "network_silent", away.begin, away.end, remark
        else:
            notes.leave_out(
                f"From {shown(away.begin)} to {shown(away.end)} {held}, and nothing had waited in the device: "
                "what listens behind the broker was away."
            )


def _waited(record: FieldRecord, away: Away) -> float:
    times = record.waiting.times
    found = record.waiting.values[(times >= away.begin) & (times <= away.end)]
    return float(found.max()) if len(found) else 0.0


def _throttling(record: FieldRecord) -> Iterator[Found]:
    for one in spans(record.throttled.times, record.throttled.values):
        if one.value:
            yield "throttled", one.begin, one.end, "The processor said that it was slowed down."


def _sensor_losses(record: FieldRecord, stretch: Stretch, runs: Sequence[Run]) -> Iterator[Found]:
    """Yield when the agent said that the temperature was unknown; one that began anew says so again, if it still is."""
    since, remark = None, "The agent said that the temperature was unknown."
    ends = [*(run.start for run in runs[1:]), math.inf]
    for place, (run, end) in enumerate(zip(runs, ends, strict=True)):
        begin = run.start if place else -math.inf
        told = [one for one in record.events if one.name in _OF_HEAT and begin <= one.time < end]
        if since is not None and not told:
            yield "sensor_gone", since, run.start, f"{remark} Begun anew, it did not."
            since = None
        for event in told:
            if event.name == "heat_unknown":
                since = event.time if since is None else since
            elif since is not None:
                yield "sensor_gone", since, event.time, remark
                since = None
            else:
                known = "The agent said that the temperature was known again; since when it had been unknown is not here."
                yield "sensor_gone", max(stretch.begin, run.start), event.time, known
    if since is not None:
        yield "sensor_gone", since, stretch.end, remark
