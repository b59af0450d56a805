"""A record of the field as a scenario, with remarks: what each step came from, and what no bench can do again. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from hil.errors import FieldError
from hil.field.curves import agent_tables, loads, temperatures
from hil.field.faults import faults
from hil.field.notes import Notes, Stretch, shown
from hil.field.outages import clock_jumps, interval_of, runs_of
from hil.field.record import MOST_EVENTS
from hil.field.supplies import batteries, powers, rails
from hil.scenario.scenario import Expectation, Scenario
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.field.outages import Run
    from hil.field.record import FieldRecord

_SILENT_INTERVALS = 3.0
_MOST_JUMPS_TOLD = 20
_LOST_IN_A_CUT = 20
"""Messages that a power cut may cost: what was not committed yet."""
_SETTLE_SECONDS, _SETTLE_INTERVALS, _LONGEST_SETTLE = 30.0, 4.0, 3600.0
_KNOWN_EVENTS = ("artifact_verified", "self_test_absent", "reconnected", "heat_unknown", "heat_known")
"""What every start tells, and what is played."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A scenario out of the field.

    Attributes:
        scenario: What can be played.
        origin: Where it came from, as sentences.
        remarks: As in `Notes`.
        left_out: As in `Notes`.
    """

    scenario: Scenario
    origin: tuple[str, ...]
    remarks: Mapping[str, str]
    left_out: tuple[str, ...]

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "remarks", MappingProxyType(dict(self.remarks)))


def recover(record: FieldRecord, *, cores: int | None = None) -> Recovered:
    """Return what a device went through as a scenario, whose seconds count from the record's start.

    Within: temperatures `curves.CELSIUS_WITHIN`, power `supplies.WATTS_WITHIN` and charge `supplies.CHARGE_WITHIN` at the samples;
    beginnings of power cuts and outages, beginnings and ends of throttling and load, one interval of reporting, for nothing is known in
    between; ends of power cuts are the agent's own start, ends of outages the device's word `reconnected`. What is shorter than an
    interval, and outages in which no message was made, cannot be seen.

    Args:
        record: What the store has.
        cores: Processors of the device, which the store does not keep; None: the load is left out.

    Raises:
        FieldError: There is nothing to play, or too much for one scenario.
    """
    notes, runs = Notes(), runs_of(record.messages)
    stretch = _stretch(record, runs, notes)
    befallen = faults(record, stretch, runs, notes)
    cuts = sum(fault.kind == "power_cut" for fault in befallen)
    scenario = Scenario(
        name=f"{record.device.device} in the field",
        seed=0,
        duration_seconds=stretch.seconds,
        temperatures=temperatures(record, stretch, notes),
        powers=powers(record, stretch, notes),
        rails=rails(record, stretch, notes),
        batteries=batteries(record, stretch, notes),
        faults=befallen,
        loads=loads(record, stretch, cores, notes),
        agent=agent_tables(record, stretch, notes),
        expectation=Expectation(
            missing_messages_max=_LOST_IN_A_CUT * cuts,
            settle_seconds=min(_LONGEST_SETTLE, max(_SETTLE_SECONDS, _SETTLE_INTERVALS * stretch.interval)),
        ),
    )
    if cuts:
        notes.remarks["expect"] = (
            f"A power cut may cost what was not committed yet: {_LOST_IN_A_CUT} messages each."
        )
    _tell_the_rest(record, runs, stretch, notes)
    return Recovered(
        scenario=scenario,
        origin=(
            f"Device {record.device.device}, from {shown(stretch.begin)} to {shown(stretch.end)} UTC: "
            f"{len(record.messages)} messages of {len(runs)} runs of the agent.",
            f"It reported every {stretch.interval:g} s: what begins or ends between two reports is not known more closely.",
        ),
        remarks=notes.remarks,
        left_out=tuple(notes.left_out),
    )


def _stretch(record: FieldRecord, runs: Sequence[Run], notes: Notes) -> Stretch:
    """Return the time in which the device was heard.

    Raises:
        FieldError: That is less than one of its reports.
    """
    begin, end, interval = record.start, record.end, round(interval_of(record.messages), 3)
    heard, last = runs[0].first, float(record.messages.moment[-1])
    begin = max(begin, runs[0].start)
    if heard - begin > _SILENT_INTERVALS * interval:
        begin = heard - interval
    if begin > record.start:
        notes.leave_out(f"Before {shown(begin)} nothing was heard: the scenario begins there.")
    if end - last > _SILENT_INTERVALS * interval:
        notes.leave_out(f"After {shown(last)} nothing was heard: the scenario ends there.")
        end = last + interval
    if end - begin < max(1.0, interval):
        raise FieldError(
            f"device {record.device.device!r}: was heard for {end - begin:.1f} s of that time, which is less than one of its reports.",
            hint="Choose a longer time.",
        )
    return Stretch(begin=begin, end=end, interval=interval)


def _tell_the_rest(record: FieldRecord, runs: Sequence[Run], stretch: Stretch, notes: Notes) -> None:
    if len(record.events) >= MOST_EVENTS:
        notes.leave_out(
            f"Events before {shown(record.events[0].time)}: only the latest {MOST_EVENTS} were looked at."
        )
    grave = Counter(
        one.name
        for one in record.events
        if one.kind == "event" and one.severity in ("warning", "error") and one.name not in _KNOWN_EVENTS
    )
    for name, count in sorted(grave.items()):
        notes.leave_out(f"Event {harmless(name)}, {count} times: what brought it about is not known here.")
    _tell_of_clocks(record, notes)
    for run in runs:
        moments = record.messages.moment
        own = moments[(moments >= run.first) & (moments <= run.last)]
        own = np.concatenate(([max(run.start, stretch.begin)], own))
        for gap in np.flatnonzero(np.diff(own) > _SILENT_INTERVALS * stretch.interval).tolist():
            notes.leave_out(
                f"From {shown(own[gap])} to {shown(own[gap + 1])} the agent ran and nothing of it is here: it stood still, or they were lost."
            )


def _tell_of_clocks(record: FieldRecord, notes: Notes) -> None:
    jumps = clock_jumps(record.messages)
    for moment, seconds in jumps[:_MOST_JUMPS_TOLD]:
        notes.leave_out(
            f"At {shown(moment)} the device's clock had jumped by {seconds:+.0f} s; moments here are repaired, and no jump is played."
        )
    if len(jumps) > _MOST_JUMPS_TOLD:
        notes.leave_out(f"The device's clock jumped {len(jumps) - _MOST_JUMPS_TOLD} times more.")
    if record.device.clock_note:
        notes.leave_out(f"Clock, in the latest run that the store has: {harmless(record.device.clock_note)}")
