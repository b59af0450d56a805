"""RAPL energy counters of x86 processors, each unwrapped with its own range and summed from the first read on.

A zone that cannot be read is absent with its reason and never 0. A package contains its cores and ``psys`` contains
the packages, so those are never added up; the packages of a machine with several are, as a reading of their own.

Source: Linux, Documentation/power/powercap/powercap.rst (``energy_uj``, ``max_energy_range_uj``); CVE-2020-8694
(root-only since 5.10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.sensors.counter import EnergyCounter
from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, read_integer, read_text

if TYPE_CHECKING:
    from pathlib import Path

_MICRO: Final = 1e-6
_LEAST_LIMIT_WATTS: Final = 100.0
"""Stated limits of a small processor are exceeded for moments, and by more than their double."""
_MOST_LIMIT_WATTS: Final = 2_000.0
"""More than any socket draws; some firmware states a limit that is none."""
_UPDATE_SECONDS: Final = 1e-3
_CONSTRAINT: Final = re.compile(r"constraint_\d+_(?:max_power|power_limit)_uw")
_INTERFACES: Final = ("intel-rapl:", "intel-rapl-mmio:")
"""The second counts the same energy again, so a zone is taken from the first that has it. AMD uses the first."""


@dataclass(slots=True)
class _Zone:
    """``untold``: why energy was missed by a read that nobody looked at; told by the next one."""

    folder: Path
    stem: str
    scope: str
    counter: EnergyCounter
    untold: str = ""


class RaplCounters:
    """Every RAPL zone of the machine; holds the last raw value of each, so that it can unwrap.

    A counter of 262 kJ wraps after 17 minutes at 250 W: read at least every few minutes, better every 10 seconds.

    Args:
        sysfs_root: ``/sys``, or a tree that stands for it.
    """

    def __init__(self, sysfs_root: Path) -> None:
        self._root = sysfs_root / "class/powercap"
        self._zones = _zones(self._root)

    def read(self, now_seconds: float) -> list[Measured]:
        """Return the joules of every zone since its first read, and of all packages together where there are several.

        Args:
            now_seconds: Monotonic time of this read.
        """
        if not self._zones:
            return [_reading("rapl_package", Absent(f"no RAPL zone under {self._root}"), scope="package")]
        readings = [_reading(zone.stem, _told(zone, now_seconds), scope=zone.scope) for zone in self._zones]
        packages = [reading.value for reading in readings if reading.scope == "package"]
        if len(packages) > 1:
            readings.append(_reading("rapl_packages", _summed(packages), scope="packages"))
        return readings

    def keep(self, now_seconds: float) -> None:
        """Read the counters so that no wrap is missed; what is missed all the same is told by the next `read`."""
        for zone in self._zones:
            raw = read_integer(zone.folder / "energy_uj")
            value = raw if isinstance(raw, Absent) else zone.counter.advance(raw, now_seconds)
            if isinstance(value, Absent) and value is not raw:
                zone.untold = value.reason


def _zones(root: Path) -> list[_Zone]:
    """Return one zone a name: ``intel-rapl:P`` before its parts ``intel-rapl:P:S``."""
    found: dict[str, _Zone] = {}
    for interface in _INTERFACES:
        for folder in children(root, interface):
            number, *sub = folder.name.removeprefix(interface).split(":")
            parent = root / f"{interface}{number}"
            name = _name(folder)
            stem = slug(f"{_name(parent)}_{name}" if sub else name)
            if stem in found:
                continue
            counter = EnergyCounter(
                range_uj=read_integer(folder / "max_energy_range_uj"), most_watts=_most_watts(parent)
            )
            found[stem] = _Zone(folder=folder, stem=stem, scope=_scope(name), counter=counter)
    return list(found.values())


def _name(folder: Path) -> str:
    name = read_text(folder / "name")
    return folder.name if isinstance(name, Absent) else name


def _scope(name: str) -> str:
    """``package-1-die-0`` is a package; ``core``, ``uncore``, ``dram`` and ``psys`` are what they are called."""
    return "package" if name.startswith("package") else slug(name)


def _most_watts(package: Path) -> float:
    """Return twice the highest limit that the zone states, within what is plausible at all."""
    limits = [
        value
        for file in children(package, "constraint_")
        if _CONSTRAINT.fullmatch(file.name) and isinstance(value := read_integer(file), int) and value > 0
    ]
    if not limits:
        return _MOST_LIMIT_WATTS
    return min(max(2.0 * max(limits) * _MICRO, _LEAST_LIMIT_WATTS), _MOST_LIMIT_WATTS)


def _told(zone: _Zone, now_seconds: float) -> float | Absent:
    raw = read_integer(zone.folder / "energy_uj")
    if isinstance(raw, Absent):
        return _with_remedy(raw)
    value = zone.counter.advance(raw, now_seconds)
    untold, zone.untold = zone.untold, ""
    if untold and not isinstance(value, Absent):
        value = Absent(untold)
    return Absent(f"{zone.folder}/energy_uj: {value.reason}") if isinstance(value, Absent) else value


def _summed(values: list[float | Absent]) -> float | Absent:
    total = 0.0
    for value in values:
        if isinstance(value, Absent):
            return Absent(f"not all packages could be read: {value.reason}")
        total += value
    return total


def _with_remedy(absent: Absent) -> Absent:
    if not absent.reason.startswith(("EACCES", "EPERM")):
        return absent
    return Absent(
        f"{absent.reason}: give the agent CAP_DAC_READ_SEARCH, or its group read access by a udev rule"
    )


def _reading(stem: str, value: float | Absent, *, scope: str) -> Measured:
    return Measured(
        name=f"{stem}_joules_total",
        value=value,
        source="rapl",
        scope=scope,
        quality="counter",
        update_seconds=_UPDATE_SECONDS,
    )
