"""Batteries and mains: charge, voltage, current, power, energy, temperature.

Current and power are negative while discharging. The ABI asks drivers for that sign and many give none, so ``status``
decides where it says ``Charging`` or ``Discharging``; elsewhere the driver's own sign stands. The battery of a mouse
is no battery of this machine: its charge is told, under a scope of its own.

Source: Linux, Documentation/ABI/testing/sysfs-class-power (µV, µA, µW, µWh, 0.1 °C, %).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, is_there, read_celsius, read_integer, read_scaled, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.contract.telemetry.measurements import Quality

_MICRO: Final = 1e-6
_MICROWATTHOURS: Final = 3.6e-3
_SIGNED: Final = ("amperes", "watts")
_STATUSES: Final = ("Charging", "Discharging", "Not charging", "Full", "Unknown")
_FILES: Final = (
    ("capacity", 0.01, "charge_ratio"),
    ("voltage_now", _MICRO, "volts"),
    ("current_now", _MICRO, "amperes"),
    ("power_now", _MICRO, "watts"),
    ("energy_now", _MICROWATTHOURS, "stored_joules"),
)
_PERIPHERAL_SCOPE: Final = "peripheral"


def read_supplies(sysfs_root: Path) -> list[Measured]:
    """Return what every battery and mains supply says; nothing on a machine without any."""
    readings = []
    for supply in children(sysfs_root / "class/power_supply"):
        stem = f"supply_{slug(supply.name)[:40]}"
        if read_text(supply / "type") == "Battery":
            readings += _battery(supply, stem)
        elif is_there(supply / "online"):
            value = read_scaled(supply / "online", 1.0)
            readings.append(_reading(f"{stem}_online_state", value, scope="mains"))
    return readings


def read_temperatures(sysfs_root: Path) -> list[Measured]:
    """Return the temperature of every battery that has one, in degrees Celsius."""
    return [
        _reading(
            f"supply_{slug(supply.name)[:40]}_celsius",
            read_celsius(supply / "temp", 0.1),
            scope=_scope(supply),
        )
        for supply in children(sysfs_root / "class/power_supply")
        if is_there(supply / "temp")
    ]


def _battery(supply: Path, stem: str) -> list[Measured]:
    """Files that a driver does not have are left out: which exist differs from driver to driver."""
    if read_integer(supply / "present") == 0:
        empty = Absent(f"{supply}/present is 0: there is no battery in the bay")
        return [_reading(f"{stem}_charge_ratio", empty, scope=_scope(supply))]
    status, scope = read_text(supply / "status"), _scope(supply)
    values = {
        unit: _signed(read_scaled(supply / file, factor), unit, status)
        for file, factor, unit in _FILES
        if is_there(supply / file)
    }
    if scope == _PERIPHERAL_SCOPE:
        values = {unit: value for unit, value in values.items() if unit == "charge_ratio"}
    readings = [_reading(f"{stem}_{unit}", value, scope=scope) for unit, value in values.items()]
    if "watts" not in values and {"volts", "amperes"} <= values.keys():
        watts = _product(values["volts"], values["amperes"])
        readings.append(_reading(f"{stem}_watts", watts, scope=scope, quality="estimated"))
    return readings


def _signed(value: float | Absent, unit: str, status: str | Absent) -> float | Absent:
    if isinstance(value, Absent) or unit not in _SIGNED:
        return value
    if isinstance(status, Absent):
        return Absent(f"whether the battery gives or takes is not known: {status.reason}")
    if status not in _STATUSES:
        return Absent(f"whether the battery gives or takes is not known: its status is {status[:24]!r}")
    if status == "Discharging":
        return -abs(value)
    return abs(value) if status == "Charging" else value


def _product(volts: float | Absent, amperes: float | Absent) -> float | Absent:
    """Voltage times current, from two reads that are not of the same instant."""
    if isinstance(volts, Absent):
        return volts
    return amperes if isinstance(amperes, Absent) else volts * amperes


def _scope(supply: Path) -> str:
    return _PERIPHERAL_SCOPE if read_text(supply / "scope") == "Device" else "battery"


def _reading(name: str, value: float | Absent, *, scope: str, quality: Quality = "sampled") -> Measured:
    return Measured(name=name, value=value, source="power_supply", scope=scope, quality=quality)
