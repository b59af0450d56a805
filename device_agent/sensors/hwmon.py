"""Hardware monitor chips: temperatures, power, energy, and the rails of INA2xx and INA3221 power monitors.

``hwmonN`` numbers change from boot to boot, so a chip is named after its ``name`` file. A channel whose ``*_fault``
is 1 is absent.

Source: Linux, Documentation/hwmon/sysfs-interface.rst (m°C, µW, µJ, mV, mA); Documentation/hwmon/ina3221.rst (no
power file).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, read_integer, read_scaled, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.contract.telemetry import Quality

_MILLI: Final = 1e-3
_MICRO: Final = 1e-6
_POWER_MONITORS: Final = ("ina",)
"""Chips whose voltage times current is the power of a rail; a mainboard's monitor has voltages that mean nothing here."""
_CHANNEL: Final = re.compile(r"(temp|power|energy|curr)(\d+)_(?:input|average)")


def read_temperatures(sysfs_root: Path) -> list[Measured]:
    """Return the temperature of every channel, in degrees Celsius."""
    return [
        _reading(chip, f"temp{number}", read_scaled(file, _MILLI), unit="celsius", quality="sampled")
        for chip in _chips(sysfs_root)
        for number, file in _channels(chip, "temp")
    ]


def read_power(sysfs_root: Path) -> list[Measured]:
    """Return power in watts and energy in joules of every channel; the rails of chips without a power file are V times A."""
    readings = []
    for chip in _chips(sysfs_root):
        power = _channels(chip, "power")
        for number, file in power:
            value = read_scaled(file, _MICRO)
            readings.append(_reading(chip, f"power{number}", value, unit="watts", quality="sampled"))
        for number, file in _channels(chip, "energy"):
            value = read_scaled(file, _MICRO)
            readings.append(_reading(chip, f"energy{number}", value, unit="joules_total", quality="counter"))
        if not power and _name(chip).startswith(_POWER_MONITORS):
            readings += [_rail(chip, number) for number, _ in _channels(chip, "curr")]
    return readings


def _rail(chip: Path, number: int) -> Measured:
    """Voltage times current of one rail: two reads that are not of the same instant, hence ``estimated``."""
    volts = read_scaled(chip / f"in{number}_input", _MILLI)
    amperes = read_scaled(chip / f"curr{number}_input", _MILLI)
    if isinstance(volts, Absent):
        watts: float | Absent = volts
    elif isinstance(amperes, Absent):
        watts = amperes
    else:
        watts = volts * amperes
    return _reading(chip, f"in{number}", watts, unit="watts", quality="estimated")


def _reading(chip: Path, channel: str, value: float | Absent, *, unit: str, quality: Quality) -> Measured:
    label = read_text(chip / f"{channel}_label")
    name = channel if isinstance(label, Absent) else label
    if read_integer(chip / f"{channel}_fault") == 1:
        value = Absent(f"{chip}/{channel}_fault is 1: the chip does not trust this channel")
    scope = f"rail:{name}" if channel.startswith("in") else f"chip:{_name(chip)}:{name}"
    stem = slug(f"{_name(chip)}_{name}")
    return Measured(name=f"{stem}_{unit}", value=value, source="hwmon", scope=scope, quality=quality)


def _chips(sysfs_root: Path) -> list[Path]:
    return children(sysfs_root / "class/hwmon", "hwmon")


def _name(chip: Path) -> str:
    name = read_text(chip / "name")
    return chip.name if isinstance(name, Absent) else name


def _channels(chip: Path, kind: str) -> list[tuple[int, Path]]:
    """Return number and file of every channel of a kind; ``power1_input`` goes before ``power1_average``."""
    found: dict[int, Path] = {}
    for file in children(chip, kind):
        match = _CHANNEL.fullmatch(file.name)
        if match and (int(match[2]) not in found or file.name.endswith("_input")):
            found[int(match[2])] = file
    return sorted(found.items())
