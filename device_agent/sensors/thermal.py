"""Heat: thermal zones with their trip points, and cooling devices.

Thermal zones are read here and not through psutil, which looks at them only on machines without any hwmon
temperature.

Source: Linux, Documentation/driver-api/thermal/sysfs-api.rst (m°C; a zone that is off answers EINVAL or EAGAIN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, read_celsius, read_integer, read_scaled, read_text

if TYPE_CHECKING:
    from pathlib import Path

_MILLI: Final = 1e-3
_TRIPS: Final = ("passive", "hot", "critical")
"""Where the processor is slowed down, where the owner is warned, where the machine is switched off."""


def read_zones(sysfs_root: Path) -> list[Measured]:
    """Return the temperature of every thermal zone, in degrees Celsius; one absent reading when there is no zone."""
    folder = sysfs_root / "class/thermal"
    zones = children(folder, "thermal_zone")
    if not zones:
        reason = Absent(f"no thermal zone under {folder}")
        return [_zone_reading("thermal_zone", reason, scope="zone")]
    readings = []
    for zone in zones:
        kind = read_text(zone / "type")
        name = zone.name if isinstance(kind, Absent) else kind
        readings.append(_zone_reading(slug(name), read_celsius(zone / "temp", _MILLI), scope=f"zone:{name}"))
    return readings


def trip_points(sysfs_root: Path) -> dict[str, float]:
    """Return where every zone's kernel policy acts, in degrees Celsius: ``cpu_thermal_passive_celsius`` and the like.

    Of several trip points of one type the lowest counts. They change with the firmware and not with the weather, so
    they are facts of the machine and no readings.
    """
    found: dict[str, float] = {}
    for zone in children(sysfs_root / "class/thermal", "thermal_zone"):
        kind = read_text(zone / "type")
        stem = slug(zone.name if isinstance(kind, Absent) else kind)
        for file in children(zone, "trip_point_"):
            trip = read_text(zone / file.name.replace("_temp", "_type"))
            value = read_scaled(file, _MILLI) if file.name.endswith("_temp") else Absent("its type")
            if (
                trip in _TRIPS and not isinstance(value, Absent) and value > 0
            ):  # unset ones are 0 or far below
                name = f"{stem}_{trip}_celsius"
                found[name] = min(value, found.get(name, value))
    return found


def _zone_reading(stem: str, value: float | Absent, *, scope: str) -> Measured:
    return Measured(
        name=f"{stem}_celsius", value=value, source="thermal_zone", scope=scope, quality="sampled"
    )


def read_cooling(sysfs_root: Path) -> list[Measured]:
    """Return how far every cooling device is engaged, 0 to 1; above 0 on a processor's device means it is being slowed down."""
    readings = []
    for device in children(sysfs_root / "class/thermal", "cooling_device"):
        kind = read_text(device / "type")
        name = device.name if isinstance(kind, Absent) else kind
        readings.append(
            Measured(
                name=f"cooling_{slug(name)[:40]}_ratio",
                value=_engaged(device),
                source="cooling_device",
                scope=f"device:{name}",
                quality="sampled",
            )
        )
    return readings


def _engaged(device: Path) -> float | Absent:
    current, most = read_integer(device / "cur_state"), read_integer(device / "max_state")
    if isinstance(current, Absent):
        return current
    if isinstance(most, Absent):
        return most
    if current < 0:  # what intel_powerclamp says when it is not engaged, and errors of drivers
        return Absent(f"{device}/cur_state is {current}")
    return current / most if most > 0 else Absent(f"{device}/max_state is {most}")
