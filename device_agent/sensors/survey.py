"""`Sensors`: every sensor of the machine, asked together for one sample."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.telemetry.units import SUFFIXES
from device_agent.sensors import battery, cpufreq, hwmon, jetson, raspberry_pi, thermal, throttling
from device_agent.sensors.rapl import RaplCounters
from device_agent.sensors.reading import Measured, with_distinct_names
from device_agent.sensors.system import SystemSensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.sensors.reading import Absent

_UNITS: Final = tuple(sorted(SUFFIXES, key=len, reverse=True))
_MOST_READINGS: Final = 128
"""Half of the readings that one message may carry; a server board with more sensors says how many were left out. Whether
their names and scopes fit the bytes of a message is seen to by `telemetry.sampler.fitted`."""


class Sensors:
    """Reads everything under a sysfs root.

    Args:
        sysfs_root: ``/sys``, or a tree that stands for it.
        proc_root: ``/proc``, likewise.
        state_directory: The folder whose free space counts.
        pss_interval_seconds: How often the proportional memory is read.
        vcgencmd: Program that asks a Raspberry Pi's firmware; None: what only it knows is absent.
    """

    def __init__(
        self,
        *,
        sysfs_root: Path,
        state_directory: Path,
        pss_interval_seconds: float,
        proc_root: Path = Path("/proc"),
        vcgencmd: Path | None = None,
    ) -> None:
        self._root = sysfs_root
        self._vcgencmd = vcgencmd
        self._system = SystemSensor(
            sysfs_root=sysfs_root,
            proc_root=proc_root,
            state_directory=state_directory,
            pss_interval_seconds=pss_interval_seconds,
        )
        self._rapl = RaplCounters(sysfs_root)
        self._rail_sum = jetson.RailSum(sysfs_root)

    def system(self, now_seconds: float) -> Mapping[str, float | Absent]:
        """Return load, memory and frequency by their names in `SystemSample`; ``now_seconds`` is monotonic."""
        return self._system.read(now_seconds)

    def heat(self) -> tuple[Measured, ...]:
        """Return temperatures, cooling, throttling and frequency caps."""
        return _bounded(
            [
                *thermal.read_zones(self._root),
                *thermal.read_cooling(self._root),
                *throttling.read_throttle_counts(self._root),
                *raspberry_pi.read_throttling(self._root, self._vcgencmd),
                cpufreq.read_frequency_cap(self._root),
                *hwmon.read_temperatures(self._root),
                *battery.read_temperatures(self._root),
            ]
        )

    def power(self, now_seconds: float) -> tuple[Measured, ...]:
        """Return power, energy and battery; ``now_seconds`` is monotonic."""
        rails = [*hwmon.read_power(self._root), *jetson.read_rails(self._root)]
        return _bounded(
            [
                *self._rapl.read(now_seconds),
                *rails,
                *self._rail_sum.read(rails),
                *raspberry_pi.read_pmic(self._root, self._vcgencmd),
                *battery.read_supplies(self._root),
            ]
        )

    def zones(self) -> tuple[Measured, ...]:
        """Return the temperatures of the thermal zones alone."""
        return _bounded(thermal.read_zones(self._root))

    def temperatures(self) -> tuple[Measured, ...]:
        """Return the temperatures that `heat` has, by the same names, and nothing else."""
        return _bounded(
            [
                *thermal.read_zones(self._root),
                *hwmon.read_temperatures(self._root),
                *battery.read_temperatures(self._root),
            ]
        )

    def keep_counters(self, now_seconds: float) -> None:
        """Read the counters that wrap, so that no wrap is missed between two samples that are far apart."""
        self._rapl.keep(now_seconds)


def find_vcgencmd(named: Path | None, sysfs_root: Path) -> Path | None:
    """Return the program that is named, else the one in ``PATH``; a tree that stands for ``/sys`` is not asked by it."""
    if named is not None or sysfs_root != Path("/sys"):
        return named
    found = shutil.which("vcgencmd")
    return None if found is None else Path(found)


def _bounded(readings: list[Measured]) -> tuple[Measured, ...]:
    left_out = len(readings) - _MOST_READINGS
    if left_out > 0:
        note = Measured(
            name="readings_left_out_count",
            value=float(left_out + 1),
            source="agent",
            scope="agent",
            quality="counter",
        )
        readings = [*readings[: _MOST_READINGS - 1], note]
    return with_distinct_names(readings, units=_UNITS)
