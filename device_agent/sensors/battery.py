"""Batteries and mains: charge, voltage, current, power, temperature.

Current and power are signed by ``status``, negative while discharging: the ABI asks drivers for that sign, many give
none.

Source: Linux, Documentation/ABI/testing/sysfs-class-power (µV, µA, µW, 0.1 °C, %).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, read_scaled, read_text

if TYPE_CHECKING:
    from pathlib import Path

_MICRO: Final = 1e-6
_SIGNED: Final = ("amperes", "watts")
_FILES: Final = (
    ("capacity", 0.01, "charge_ratio"),
    ("voltage_now", _MICRO, "volts"),
    ("current_now", _MICRO, "amperes"),
    ("power_now", _MICRO, "watts"),
)


def read_supplies(sysfs_root: Path) -> list[Measured]:
    """Return what every battery and mains supply says; nothing on a machine without any."""
    readings = []
    for supply in children(sysfs_root / "class/power_supply"):
        stem = f"supply_{slug(supply.name)[:40]}"
        if read_text(supply / "type") == "Battery":
            readings += _battery(supply, stem)
        elif (supply / "online").exists():
            value = read_scaled(supply / "online", 1.0)
            readings.append(_reading(f"{stem}_online_state", value, scope="mains"))
    return readings


def read_temperatures(sysfs_root: Path) -> list[Measured]:
    """Return the temperature of every battery that has one, in degrees Celsius."""
    return [
        _reading(
            f"supply_{slug(supply.name)[:40]}_celsius", read_scaled(supply / "temp", 0.1), scope="battery"
        )
        for supply in children(sysfs_root / "class/power_supply")
        if (supply / "temp").exists()
    ]


def _battery(supply: Path, stem: str) -> list[Measured]:
    """Files that a driver does not have are left out: which exist differs from driver to driver."""
    status = read_text(supply / "status")
    readings = []
    for file, factor, unit in _FILES:
        if (supply / file).exists():
            value = read_scaled(supply / file, factor)
            if unit in _SIGNED and not isinstance(value, Absent):
                value = -abs(value) if status == "Discharging" else abs(value)
            readings.append(_reading(f"{stem}_{unit}", value, scope="battery"))
    return readings


def _reading(name: str, value: float | Absent, *, scope: str) -> Measured:
    return Measured(name=name, value=value, source="power_supply", scope=scope, quality="sampled")
