"""`FieldRecord`: what a store of telemetry has of one device in one stretch of time."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hil.errors import FieldError
from hil.scenario.scenario import LONGEST_SECONDS
from host_tools.review.sensor_role import Role, thermal_role
from host_tools.review.store.windows import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.column_store import ColumnStore
    from host_tools.review.store.message_table import MessageTable
    from host_tools.review.store.windows import Device, ReadingSeries, StoredEvent

MOST_POINTS = 20_000
"""Of a sensor; more are thinned by the mean of equal intervals."""
_RAIL, _BATTERY = "rail:", "battery"
"""Scopes of readings."""
MOST_EVENTS = 10_000
"""The latest of them; more are not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A number over time: float64 Unix seconds, ascending, and float64 values of the same length."""

    times: NDArray[np.float64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRecord:
    """One device from one time to another.

    Attributes:
        device: What is known of it.
        start: Unix seconds.
        end: Unix seconds, exclusive.
        messages: At least one.
        celsius: The hottest sensor.
        watts: The largest source that is no battery.
        rails: Watts of every power rail, by its label.
        charge: Of the battery, 0 to 1; of several, the one that was told most often.
        battery_watts: What it took, or (negative) gave.
        throttled: 1 where something said that the processor is slowed down, else 0.
        cpu_ratio: Share of all cores in use, 0 to 1.
        process_cpu_ratio: Of the agent; 1 is one core.
        waiting: Messages that the broker had not taken yet.
        events: Events and changes of health, oldest first.
    """

    device: Device
    start: float
    end: float
    messages: MessageTable
    celsius: Samples
    watts: Samples
    rails: Mapping[str, Samples]
    charge: Samples
    battery_watts: Samples
    throttled: Samples
    cpu_ratio: Samples
    process_cpu_ratio: Samples
    waiting: Samples
    events: tuple[StoredEvent, ...]


def read_record(store: ColumnStore, device: str, start: float, end: float) -> FieldRecord:
    """Read a record.

    Args:
        store: Where telemetry is.
        device: Id.
        start: Unix seconds.
        end: Unix seconds, exclusive.

    Raises:
        FieldError: The device is unknown, the time is empty, upside down or too long.
        StoreError: The store cannot be read.
    """
    if end <= start:
        raise FieldError(f"--to: expected a time after --from, got {end - start:g} s after it.")
    if end - start > LONGEST_SECONDS:
        raise FieldError(
            f"from {start:.0f} to {end:.0f} are {(end - start) / 86_400.0:.1f} days, expected at most {LONGEST_SECONDS / 86_400.0:g}.",
            hint="Choose the hours around the failure.",
        )
    known = {one.device: one for one in store.devices()}
    if device not in known:
        close = difflib.get_close_matches(device, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"It has {len(known)} devices."
        raise FieldError(f"device {device[:80]!r}: the store has none of that name.", hint=hint)
    selection = Selection(start=start, end=end, devices=(device,))
    messages = store.messages(selection)
    if not len(messages):
        raise FieldError(
            f"device {device!r}: the store has no messages of that time.",
            hint=_heard(known[device]),
        )
    series = store.readings(selection, points=MOST_POINTS)
    return FieldRecord(
        device=known[device],
        start=start,
        end=end,
        messages=messages,
        celsius=_largest([_samples(one) for one in series if one.name.endswith("_celsius")]),
        watts=_watts(series),
        rails=_rails(series),
        charge=_of_the_battery(series, "_charge_ratio"),
        battery_watts=_of_the_battery(series, "_watts"),
        throttled=_throttled(series),
        cpu_ratio=_named(series, "cpu_ratio"),
        process_cpu_ratio=_named(series, "process_cpu_ratio"),
        waiting=_named(series, "spool_messages"),
        events=store.events(selection, limit=MOST_EVENTS),
    )


def _heard(device: Device) -> str:
    return (
        f"It was heard from {device.first_received:.0f} to {device.last_received:.0f} (Unix seconds); "
        "single messages are kept for three days, unless `edgewright ingest` was told otherwise."
    )


def _samples(series: ReadingSeries) -> Samples:
    return Samples(times=series.times, values=series.values)


def _named(series: Sequence[ReadingSeries], name: str) -> Samples:
    return _largest([_samples(one) for one in series if one.name == name])


def _largest(found: Sequence[Samples]) -> Samples:
    """Return the largest value of each moment."""
    if not found:
        return Samples(times=np.zeros(0), values=np.zeros(0))
    times = np.concatenate([one.times for one in found])
    values = np.concatenate([one.values for one in found])
    moments, place = np.unique(times, return_inverse=True)
    largest = np.full(len(moments), -np.inf)
    np.maximum.at(largest, place, values)
    return Samples(times=moments, values=largest)


def _watts(series: Sequence[ReadingSeries]) -> Samples:
    """Return power: as sensors tell it; where none does, from counters of energy."""
    sources = [one for one in series if one.scope != _BATTERY]
    told = [_samples(one) for one in sources if one.name.endswith("_watts")]
    if told:
        return _largest(told)
    return _largest(
        [_risen(one) for one in sources if one.name.endswith("_joules_total") and len(one.times) > 1]
    )


def _rails(series: Sequence[ReadingSeries]) -> dict[str, Samples]:
    found = [one for one in series if one.scope.startswith(_RAIL) and one.name.endswith("_watts")]
    return {one.scope.removeprefix(_RAIL): _samples(one) for one in found}


def _of_the_battery(series: Sequence[ReadingSeries], ending: str) -> Samples:
    """Return what one battery told, by a name that ends so: what several tell cannot be put together."""
    charges = [one for one in series if one.scope == _BATTERY and one.name.endswith("_charge_ratio")]
    if not charges:
        return _largest(())
    stem = max(charges, key=lambda one: len(one.times)).name.removesuffix("_charge_ratio")
    return _named([one for one in series if one.scope == _BATTERY], f"{stem}{ending}")


def _risen(series: ReadingSeries) -> Samples:
    """Return what a counter rose by a second; a counter that began anew tells nothing there."""
    rise, elapsed = np.diff(series.values), np.diff(series.times)
    told = (rise >= 0.0) & (elapsed > 0.0)
    return Samples(times=series.times[1:][told], values=rise[told] / elapsed[told])


def _throttled(series: Sequence[ReadingSeries]) -> Samples:
    found = []
    for one in series:
        role = thermal_role(one.name)
        if role is Role.THROTTLED:
            says = one.values > 0.0
        elif role is Role.THROTTLE_COUNT:
            says = np.concatenate(([False], np.diff(one.values) > 0.0))
        elif role is Role.FREQUENCY_CAP:
            says = one.values < one.values.max()
        else:
            continue
        found.append(Samples(times=one.times, values=says.astype(np.float64)))
    return _largest(found)
