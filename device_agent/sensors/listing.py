"""``edgewright-agent sensors``: what this machine can measure, and why the rest is missing."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from device_agent.contract.telemetry.units import unit_of
from device_agent.sensors import throttling
from device_agent.sensors.board import board_model
from device_agent.sensors.pressure import read_pressure
from device_agent.sensors.reading import Absent, Measured
from device_agent.sensors.survey import Sensors, find_vcgencmd
from device_agent.sensors.thermal import trip_points

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PAUSE_SECONDS: Final = 0.5
"""Between two reads of the counters, which say nothing at their first."""
_PLACES: Final = {
    "thermal_zone": "class/thermal/thermal_zone*",
    "cooling_device": "class/thermal/cooling_device*",
    "thermal_throttle": "devices/system/cpu/cpu*/thermal_throttle",
    "cpufreq": "devices/system/cpu/cpu*/cpufreq",
    "hwmon": "class/hwmon",
    "rapl": "class/powercap/intel-rapl:*",
    "jetson": "bus/i2c/drivers/ina3221x",
    "raspberry_pi": "devices/platform/*/*firmware*/get_throttled",
    "power_supply": "class/power_supply",
}
"""Every source, and where below the sysfs root it would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What was found.

    Attributes:
        board: The board's model by its device tree; empty when there is none.
        readings: All that the machine has, those that failed included.
        missing: Source to why it gives nothing here.
        trip_points: Where the kernel's own heat policy acts, in degrees Celsius.
        throttled: Why the processor is being slowed down now; empty when nothing says so.
    """

    board: str
    readings: tuple[Measured, ...]
    missing: Mapping[str, str]
    trip_points: Mapping[str, float]
    throttled: tuple[str, ...]


def take_inventory(sysfs_root: Path, *, vcgencmd: Path | None, proc_root: Path) -> Inventory:
    """Read every sensor; takes half a second, for counters are read twice.

    Args:
        sysfs_root: ``/sys``, or a tree that stands for it.
        vcgencmd: As in `Sensors`; None: the one in ``PATH``, for ``/sys`` alone.
        proc_root: ``/proc``, or a tree that stands for it.
    """
    sensors = Sensors(
        sysfs_root=sysfs_root,
        proc_root=proc_root,
        state_directory=proc_root,
        pss_interval_seconds=1.0,
        vcgencmd=find_vcgencmd(vcgencmd, sysfs_root),
    )
    watch = throttling.ThrottleWatch()
    watch.reasons(sensors.heat())
    sensors.power(monotonic())
    sleep(_PAUSE_SECONDS)
    heat, power = sensors.heat(), sensors.power(monotonic())
    readings = (*heat, *power, *read_pressure(proc_root))
    return Inventory(
        board=board_model(sysfs_root),
        readings=readings,
        missing=_missing(sysfs_root, proc_root, readings),
        trip_points=trip_points(sysfs_root),
        throttled=watch.reasons(heat),
    )


def as_json(inventory: Inventory) -> dict[str, object]:
    """Return plain JSON values; a reading without a value has its ``reason``."""
    return {
        "board": inventory.board,
        "readings": [_plain(reading) for reading in inventory.readings],
        "missing": dict(inventory.missing),
        "trip_points": dict(inventory.trip_points),
        "throttled": list(inventory.throttled),
    }


def as_text(inventory: Inventory) -> str:
    """Return a table for people."""
    lines = [f"board: {inventory.board or 'no device tree'}", ""]
    widest = max((len(reading.name) for reading in inventory.readings), default=0)
    for reading in inventory.readings:
        origin = f"{reading.source}, {reading.scope}"
        if isinstance(reading.value, Absent):
            lines.append(f"{reading.name:<{widest}}  absent: {reading.value.reason}  ({origin})")
        else:
            shown = f"{reading.value:.6g} {unit_of(reading.name).unit}"
            lines.append(f"{reading.name:<{widest}}  {shown:<16}  {reading.quality}  ({origin})")
    lines += _section("missing", [f"{source}: {why}" for source, why in inventory.missing.items()])
    points = [f"{name} {celsius:g}" for name, celsius in inventory.trip_points.items()]
    lines += _section("the kernel acts at", points)
    lines += _section("throttled", list(inventory.throttled))
    return "\n".join(lines)


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {entry}" for entry in entries)] if entries else []


def _missing(sysfs_root: Path, proc_root: Path, readings: Sequence[Measured]) -> dict[str, str]:
    """A source that is there and cannot be read says its own reason; one that is not there, where it would be."""
    missing = {}
    places = {source: f"{sysfs_root}/{place}" for source, place in _PLACES.items()}
    for source, place in {**places, "pressure": f"{proc_root}/pressure"}.items():
        values = [reading.value for reading in readings if reading.source == source]
        reasons = [value.reason for value in values if isinstance(value, Absent)]
        if len(reasons) == len(values):
            missing[source] = reasons[0] if reasons else f"nothing at {place}"
    return missing


def _plain(reading: Measured) -> dict[str, object]:
    plain: dict[str, object] = {"name": reading.name, "unit": unit_of(reading.name).unit}
    if isinstance(reading.value, Absent):
        plain |= {"value": None, "reason": reading.value.reason, "quality": "unavailable"}
    else:
        plain |= {"value": reading.value, "quality": reading.quality}
    return {
        **plain,
        "source": reading.source,
        "scope": reading.scope,
        "update_seconds": reading.update_seconds,
    }
