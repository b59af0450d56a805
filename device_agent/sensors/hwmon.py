"""Hardware monitor chips: temperatures, power, energy, and the rails of INA2xx and INA3221 power monitors.

``hwmonN`` numbers change from boot to boot, so a chip goes by its ``name`` file, and chips of one name stand in the
order of the devices that they belong to. A channel whose ``*_fault`` is 1 is absent.

Source: Linux, Documentation/hwmon/sysfs-interface.rst (m°C, µW, µJ, mV, mA, ms); Documentation/hwmon/ina2xx.rst;
Documentation/hwmon/ina3221.rst (no power file; channels 1 to 3 are rails, the others are shunt voltages and sums).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, is_there, read_celsius, read_integer, read_scaled, read_text

if TYPE_CHECKING:
    from device_agent.contract.telemetry.measurements import Quality

_MILLI: Final = 1e-3
_MICRO: Final = 1e-6
_RAILS: Final = {"ina3221": range(1, 4)}
"""Channels that are rails; of other power monitors all with a current are."""
_POWER_MONITORS: Final = ("ina", "ltc", "max34")
"""Chips whose voltage times current is the power of a rail; a mainboard's monitor has voltages that mean nothing here."""
_UNCONNECTED: Final = "NC"
"""A label with this in it is a channel of a Jetson's INA3221 that nothing is connected to."""
_CHANNEL: Final = re.compile(r"(temp|power|energy|curr)(\d+)_(?:input|average)")
_ALARM: Final = "in0_lcrit_alarm"


@dataclass(frozen=True, slots=True)
class _Chip:
    """``folder`` holds the attributes; ``device`` is where the chip sits, e.g. ``1-0040``; ``twins``: others have its name."""

    folder: Path
    name: str
    device: str
    twins: bool


def read_temperatures(sysfs_root: Path) -> list[Measured]:
    """Return the temperature of every channel in degrees Celsius, and what a Raspberry Pi's supply alarm says."""
    readings = []
    for chip in _chips(sysfs_root):
        readings += [
            _reading(chip, f"temp{number}", read_celsius(file, _MILLI), unit="celsius", quality="sampled")
            for number, file in _channels(chip.folder, "temp")
        ]
        if chip.name == "rpi_volt" and is_there(chip.folder / _ALARM):
            alarm = read_scaled(chip.folder / _ALARM, 1.0)
            readings.append(_reading(chip, "under_voltage", alarm, unit="state", quality="sampled"))
    return readings


def read_power(sysfs_root: Path) -> list[Measured]:
    """Return power in watts and energy in joules of every channel; the rails of chips without a power file are V times A."""
    readings = []
    for chip in _chips(sysfs_root):
        power = _channels(chip.folder, "power")
        for number, file in power:
            value = read_scaled(file, _MICRO)
            readings.append(_reading(chip, f"power{number}", value, unit="watts", quality="sampled"))
        for number, file in _channels(chip.folder, "energy"):
            value = read_scaled(file, _MICRO)
            readings.append(_reading(chip, f"energy{number}", value, unit="joules_total", quality="counter"))
        if not power and chip.name.startswith(_POWER_MONITORS):
            readings += _rails(chip)
    return readings


def _rails(chip: _Chip) -> list[Measured]:
    readings = []
    channels = [number for number, _ in _channels(chip.folder, "curr")]
    if chip.name in _RAILS:  # a current that went missing is a rail that cannot be read, and not one less
        channels = [number for number in _RAILS[chip.name] if _has_rail(chip.folder, number)]
    for number in channels:
        label = read_text(chip.folder / f"in{number}_label")
        if isinstance(label, str) and _UNCONNECTED in label:
            continue
        watts = _rail_watts(chip.folder, number)
        readings.append(_reading(chip, f"in{number}", watts, unit="watts", quality="estimated"))
    return readings


def _has_rail(folder: Path, number: int) -> bool:
    files = (f"in{number}_input", f"curr{number}_input", f"in{number}_label")
    return any(is_there(folder / file) for file in files)


def _rail_watts(folder: Path, number: int) -> float | Absent:
    """Voltage times current of one rail: two reads that are not of the same instant, hence ``estimated``."""
    for switch, off in ((f"in{number}_enable", 0), (f"curr{number}_fault", 1)):
        if read_integer(folder / switch) == off:
            return Absent(f"{folder}/{switch} is {off}")
    volts = read_scaled(folder / f"in{number}_input", _MILLI)
    amperes = read_scaled(folder / f"curr{number}_input", _MILLI)
    if isinstance(volts, Absent):
        return volts
    return amperes if isinstance(amperes, Absent) else volts * amperes


def _reading(chip: _Chip, channel: str, value: float | Absent, *, unit: str, quality: Quality) -> Measured:
    label = read_text(chip.folder / f"{channel}_label")
    name = channel if isinstance(label, Absent) else label
    if read_integer(chip.folder / f"{channel}_fault") == 1:
        value = Absent(f"{chip.folder}/{channel}_fault is 1: the chip does not trust this channel")
    return Measured(
        name=f"{slug(f'{chip.name}_{name}')}_{unit}",
        value=value,
        source="hwmon",
        scope=_scope(chip, channel, name),
        quality=quality,
        update_seconds=_update_seconds(chip.folder, channel),
    )


def _scope(chip: _Chip, channel: str, name: str) -> str:
    """Name rail or chip, its device where several are called the same, and the shunt that an INA2xx's figures hang on."""
    if channel.startswith("in"):
        return f"rail:{name}"
    where = f"{chip.name}@{chip.device}" if chip.twins else chip.name
    shunt = read_integer(chip.folder / "shunt_resistor") if channel.startswith("power") else 0
    known = f":shunt={shunt}uohm" if isinstance(shunt, int) and shunt > 0 else ""
    return f"chip:{where}:{name}{known}"


def _update_seconds(folder: Path, channel: str) -> float | None:
    for file in (f"{channel}_average_interval", "update_interval"):
        interval = read_integer(folder / file)
        if isinstance(interval, int) and interval > 0:
            return interval * _MILLI
    return None


def _chips(sysfs_root: Path) -> list[_Chip]:
    """Return every chip once, in the order of names and devices, which unlike that of ``hwmonN`` outlasts a boot."""
    nodes = children(sysfs_root / "class/hwmon", "hwmon")
    for device in children(sysfs_root / "bus/i2c/devices"):
        nodes += children(device / "hwmon", "hwmon")
    found: dict[str, tuple[str, str, Path]] = {}
    for node in nodes:
        # Old drivers keep their attributes with the device.
        folder = node if is_there(node / "name") else node / "device"
        name = read_text(folder / "name")
        sits = os.path.realpath(node / "device") if is_there(node / "device") else ""
        label = node.name if isinstance(name, Absent) else name
        found.setdefault(os.path.realpath(node), (label, sits, folder))
    listed = sorted(found.values(), key=lambda one: one[:2])
    names = [name for name, _, _ in listed]
    return [
        _Chip(
            folder=folder,
            name=name,
            device=Path(sits).name or folder.name,
            twins=names.count(name) > 1,
        )
        for name, sits, folder in listed
    ]


def _channels(folder: Path, kind: str) -> list[tuple[int, Path]]:
    """Return number and file of every channel of a kind; ``power1_input`` goes before ``power1_average``."""
    found: dict[int, Path] = {}
    for file in children(folder, kind):
        match = _CHANNEL.fullmatch(file.name)
        if match and (int(match[2]) not in found or file.name.endswith("_input")):
            found[int(match[2])] = file
    return sorted(found.items())
