"""What sensors say of power: watts as they are, and joules as watts by their difference over the device's uptime.

Readings are never added up: a package contains its cores, a battery feeds every rail. So each has its name, and a
battery, whose sign says whether it is charged (+) or discharged (−), stands apart from what consumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.contract.telemetry.measurements import PowerSample, Reading

_JOULES = "_joules_total"
_WATTS = "_watts"
_RAIL = "rail:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """One source's power at one moment.

    Attributes:
        name: The reading's name without its unit, e.g. ``package_0``.
        label: For people, e.g. ``VDD_IN``, ``package_0``, ``battery``.
        watts: Drawn from the source; of a battery: into it, negative while it is discharged.
        is_battery: Whether it is one.
        from_energy: Whether it is the mean since the sample before, by an energy counter.
    """

    name: str
    label: str
    watts: float
    is_battery: bool
    from_energy: bool


def powers(samples: Sequence[PowerSample]) -> list[tuple[PowerSample, list[Power]]]:
    """Return every sample with the powers it tells of, in the order of the samples.

    A counter's first sample of a run tells of none; neither does one that went back.
    """
    counters: dict[tuple[str, str], tuple[float, float]] = {}
    found = []
    for sample in samples:
        told = [power for one in sample.readings if (power := _power(one, sample, counters)) is not None]
        found.append((sample, told))
    return found


def latest_powers(samples: Sequence[PowerSample]) -> list[Power]:
    """Return the powers that the last sample tells of, beside as many before as a counter may need."""
    return powers(samples[-8:])[-1][1] if samples else []


def consumption(told: Sequence[Power]) -> Power | None:
    """Return the largest power that is no battery's: of sources that contain each other that is the outermost."""
    return max((one for one in told if not one.is_battery), key=lambda one: one.watts, default=None)


def battery(told: Sequence[Power]) -> Power | None:
    """Return the power of the battery that gives or takes most."""
    return max((one for one in told if one.is_battery), key=lambda one: abs(one.watts), default=None)


def _power(
    reading: Reading, sample: PowerSample, counters: dict[tuple[str, str], tuple[float, float]]
) -> Power | None:
    if reading.value is None:
        return None
    if reading.name.endswith(_WATTS):
        return _told(reading, _WATTS, reading.value)
    if not reading.name.endswith(_JOULES):
        return None
    key = (sample.envelope.boot_id, reading.name)
    before = counters.get(key)
    counters[key] = now = (sample.envelope.uptime_seconds, reading.value)
    if before is None or now[0] <= before[0] or now[1] < before[1]:
        return None
    return _told(reading, _JOULES, (now[1] - before[1]) / (now[0] - before[0]))


def _told(reading: Reading, unit: str, watts: float) -> Power:
    name = reading.name.removesuffix(unit)
    is_battery = reading.scope == "battery"
    label = "battery" if is_battery else name
    if reading.scope.startswith(_RAIL):
        label = reading.scope.removeprefix(_RAIL)
    return Power(name=name, label=label, watts=watts, is_battery=is_battery, from_energy=unit == _JOULES)
