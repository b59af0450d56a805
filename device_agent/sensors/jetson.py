"""Rails of NVIDIA Jetson boards: those of JetPack 4, which have no hwmon node, and the sum where no rail is the total.

From JetPack 5 on the INA3221 monitors are ordinary hwmon chips, read by `hwmon`. Which rail is the total differs from
board to board; boards of the AGX class have none, so their rails are summed, and called a sum.

Source: NVIDIA, Jetson Linux developer guide, "Power consumption" (``ina3221x``: mV, mA, mW).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from device_agent.sensors.board import board_model, is_jetson
from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, read_scaled, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from device_agent.contract.telemetry.measurements import Quality

TOTAL_RAILS: Final = ("VDD_IN", "POM_5V_IN")
"""Rails through which everything on the module is fed."""
_RAIL: Final = "rail:"
_MILLI: Final = 1e-3
_RAIL_NAME: Final = re.compile(r"rail_name_(\d+)")
_UNCONNECTED: Final = "NC"


def read_rails(sysfs_root: Path) -> list[Measured]:
    """Return the rails of JetPack 4's ``ina3221x`` driver in watts; none elsewhere."""
    readings = []
    for folder in _iio_devices(sysfs_root):
        for file in children(folder, "rail_name_"):
            match, name = _RAIL_NAME.fullmatch(file.name), read_text(file)
            if match is None or isinstance(name, Absent) or _UNCONNECTED in name:
                continue
            watts = read_scaled(folder / f"in_power{match[1]}_input", _MILLI)
            readings.append(_reading(f"ina3221x_{name}", watts, scope=f"rail:{name}"))
    return readings


class RailSum:
    """The sum of a Jetson's rails where none of them is the total.

    A rail that was there at the first read and is not any more makes the sum absent: without it the sum would be too small, and look
    like a saving.

    Args:
        sysfs_root: ``/sys``, or a tree that stands for it.
    """

    def __init__(self, sysfs_root: Path) -> None:
        self._is_jetson = is_jetson(board_model(sysfs_root))
        self._known: set[str] = set()

    def read(self, rails: Sequence[Measured]) -> list[Measured]:
        """Return the sum in watts; nothing on another board, or on one with a rail that is the total.

        Args:
            rails: What was read of them.
        """
        values = {rail.scope: rail.value for rail in rails if rail.scope.startswith(_RAIL)}
        self._known = self._known or set(values)
        totals = {f"{_RAIL}{name}" for name in TOTAL_RAILS}
        if not self._is_jetson or not self._known or self._known & totals:
            return []
        total = 0.0
        for scope in sorted(self._known):
            value = values.get(scope, Absent(f"{scope} is gone"))
            if isinstance(value, Absent):
                absent = Absent(f"not all rails could be read: {value.reason}")
                return [_reading("jetson_rails", absent, scope="rails_sum")]
            total += value
        return [_reading("jetson_rails", total, scope="rails_sum")]


def _iio_devices(sysfs_root: Path) -> list[Path]:
    """The driver's folder and the bus show the same devices; each is returned once."""
    found: dict[str, Path] = {}
    for place in ("bus/i2c/drivers/ina3221x", "bus/i2c/devices"):
        for device in children(sysfs_root / place):
            for folder in children(device, "iio:device"):
                found.setdefault(os.path.realpath(folder), folder)
    return list(found.values())


def _reading(stem: str, value: float | Absent, *, scope: str) -> Measured:
    quality: Quality = "estimated" if scope == "rails_sum" else "sampled"
    return Measured(name=f"{slug(stem)}_watts", value=value, source="jetson", scope=scope, quality=quality)
