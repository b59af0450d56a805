"""What changes over time, out of a record: temperature, load, and how often frames came. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.field.spans import simplified, spans
from hil.scenario.scenario import MAX_ENTRIES, Load, TemperaturePoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hil.field.notes import Notes, Stretch
    from hil.field.record import FieldRecord, Samples

CELSIUS_WITHIN = 0.5
"""Degrees by which a recovered temperature may be off at a sample, unless that takes too many points."""
_COLDEST, _HOTTEST = -40.0, 200.0
_SHORTEST_SECONDS = 0.05
_FASTEST_HZ = 100_000.0
_MOST_PROCESSES = 256


def temperatures(record: FieldRecord, stretch: Stretch, notes: Notes) -> tuple[TemperaturePoint, ...]:
    """Return few points for the samples of the hottest sensor; the first is the scenario's beginning."""
    times, values = inside(record.celsius, stretch)
    if not len(times):
        notes.leave_out("Temperature: there are no samples of it.")
        return ()
    if values.min() < _COLDEST or values.max() > _HOTTEST:
        notes.leave_out(f"Temperature: below {_COLDEST:g} or above {_HOTTEST:g} °C it is played as that.")
        values = np.clip(values, _COLDEST, _HOTTEST)
    within = CELSIUS_WITHIN
    while len(places := simplified(times, values, within=within)) >= MAX_ENTRIES:
        within *= 2.0
    notes.remarks["temperature"] = (
        f"The hottest sensor: {len(places)} points for {len(times)} samples, within {within:g} °C of each."
    )
    points = [
        TemperaturePoint(at_seconds=float(times[one]), celsius=round(float(values[one]), 3)) for one in places
    ]
    if points[0].at_seconds > 0.0:
        points.insert(0, TemperaturePoint(at_seconds=0.0, celsius=points[0].celsius))
    return tuple(points)


def loads(record: FieldRecord, stretch: Stretch, cores: int | None, notes: Notes) -> tuple[Load, ...]:
    """Return how many processors were busy beside the agent."""
    times, values = inside(record.cpu_ratio, stretch)
    if not len(times):
        notes.leave_out("Load of other programs: there are no samples of it.")
        return ()
    if cores is None:
        notes.leave_out(
            f"Load of other programs: all processors were {100.0 * float(np.median(values)):.0f} % busy (median); "
            "how many there are the store does not keep: --cores N."
        )
        return ()
    own = record.process_cpu_ratio
    of_agent = np.interp(times, own.times - stretch.begin, own.values) if len(own) else np.zeros(len(times))
    others = np.clip(np.round(values * cores - of_agent), 0, _MOST_PROCESSES)
    found = [one for one in spans(times, others) if one.value and one.end - one.begin >= _SHORTEST_SECONDS]
    if len(found) > MAX_ENTRIES:
        notes.leave_out(f"Load of other programs: {len(found)} changes, more than {MAX_ENTRIES}.")
        return ()
    for place, one in enumerate(found):
        notes.remarks[f"load[{place}]"] = f"Beside the agent {one.value:g} of {cores} processors were busy."
    return tuple(
        Load(
            at_seconds=round(one.begin, 3),
            for_seconds=round(one.end - one.begin, 3),
            processes=int(one.value),
        )
        for one in found
    )


def agent_tables(record: FieldRecord, stretch: Stretch, notes: Notes) -> dict[str, dict[str, object]]:
    """Return tables of ``agent.toml``: how often it reports, and how often frames come."""
    reports: dict[str, object] = {"interval_seconds": stretch.interval}
    rates = _rates(record)
    if not len(rates):
        notes.leave_out("Frames: no two windows tell their rate.")
        return {"telemetry": reports}
    low, usual, high = (float(one) for one in np.percentile(rates, (10, 50, 90)))
    if usual <= 0.0:
        notes.leave_out(
            f"Frames: none came in half of the windows or more, at most {rates.max():.4g} a second; a scenario has one rate, which is not 0."
        )
        return {"telemetry": reports}
    source: dict[str, object] = {"kind": "null", "rate_hz": min(_FASTEST_HZ, round(usual, 3))}
    notes.remarks["agent"] = (
        f"Frames came at {low:.4g} to {high:.4g} a second (10th and 90th percentile); a scenario has one rate, which is the median. "
        "What was in them the store does not keep."
    )
    return {"source": source, "telemetry": reports}


def inside(samples: Samples, stretch: Stretch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return those samples that lie in the scenario, by its own seconds, to the millisecond."""
    seconds = np.round(samples.times - stretch.begin, 3)
    inside = (seconds >= 0.0) & (seconds < stretch.seconds) & np.isfinite(samples.values)
    times, first = np.unique(seconds[inside], return_index=True)
    return times, samples.values[inside][first]


def _rates(record: FieldRecord) -> NDArray[np.float64]:
    """Return frames a second between the windows of each run."""
    messages = record.messages
    found = [np.zeros(0)]
    for number in np.unique(messages.run):
        own = (messages.run == number) & (messages.frames_total >= 0)
        elapsed, frames = np.diff(messages.moment[own]), np.diff(messages.frames_total[own])
        found.append(frames[elapsed > 0.0] / elapsed[elapsed > 0.0])
    return np.concatenate(found)
