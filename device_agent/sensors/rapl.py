"""RAPL energy counters of x86 processors, each unwrapped with its own range and summed from the first read on.

A zone that cannot be read is absent with its reason and never 0: a 0 between two readings would look like a wrapped
counter, and add a whole range of energy that nobody used. Zones are not added up: a package contains its cores,
``psys`` contains everything.

Source: Linux, Documentation/power/powercap/powercap.rst (``energy_uj``, ``max_energy_range_uj``); CVE-2020-8694
(root-only since 5.10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured, slug
from device_agent.sensors.sysfs import children, read_integer, read_text

if TYPE_CHECKING:
    from pathlib import Path

_MICRO: Final = 1e-6
_MOST_WATTS: Final = 2_000.0
"""More than any socket draws: a faster rise is a counter that was reset, not energy."""


@dataclass(slots=True)
class _Zone:
    folder: Path
    name: str
    range_uj: int | Absent
    last_uj: int | None = None
    last_seconds: float = 0.0
    total_uj: int = 0


class RaplCounters:
    """Every RAPL zone of the machine; holds the last raw value of each, so that it can unwrap.

    A counter of 262 kJ wraps after 17 minutes at 250 W: read at least every few minutes.
    """

    def __init__(self, sysfs_root: Path) -> None:
        self._root = sysfs_root / "class/powercap"
        self._zones = [_zone(folder, self._root) for folder in self._folders()]

    def read(self, now_seconds: float) -> list[Measured]:
        """Return the joules of every zone since its first read.

        Args:
            now_seconds: Monotonic time of this read.
        """
        if not self._zones:
            reason = Absent(f"no RAPL zone under {self._root}")
            return [_reading("rapl_package", reason, scope="package")]
        return [
            _reading(zone.name, _advance(zone, now_seconds), scope=zone.name.rsplit("_", 1)[0])
            for zone in self._zones
        ]

    def _folders(self) -> list[Path]:
        """``intel-rapl:P`` and ``intel-rapl:P:S``; the ``intel-rapl-mmio`` ones count the same energy again."""
        return children(self._root, "intel-rapl:")


def _zone(folder: Path, root: Path) -> _Zone:
    name = read_text(folder / "name")
    own = folder.name if isinstance(name, Absent) else name
    number, *sub = folder.name.removeprefix("intel-rapl:").split(":")
    if sub:
        parent = read_text(root / f"intel-rapl:{number}" / "name")
        own = f"{number if isinstance(parent, Absent) else parent}_{own}"
    return _Zone(folder=folder, name=slug(own), range_uj=read_integer(folder / "max_energy_range_uj"))


def _advance(zone: _Zone, now_seconds: float) -> float | Absent:
    """Read one counter and add what it grew; a reading that cannot be right adds nothing and is absent."""
    raw = read_integer(zone.folder / "energy_uj")
    if isinstance(raw, Absent):
        return _with_remedy(raw)
    last, zone.last_uj = zone.last_uj, raw
    elapsed, zone.last_seconds = now_seconds - zone.last_seconds, now_seconds
    if last is None:
        return 0.0
    grown = raw - last
    if grown < 0:
        if isinstance(zone.range_uj, Absent):
            return Absent(f"the counter wrapped and its range is unknown: {zone.range_uj.reason}")
        grown += zone.range_uj
    if grown < 0 or grown * _MICRO > _MOST_WATTS * max(elapsed, 0.0):
        return Absent(
            f"{zone.folder}/energy_uj went from {last} to {raw} in {elapsed:.1f} s: the counter was reset"
        )
    zone.total_uj += grown
    return zone.total_uj * _MICRO


def _with_remedy(absent: Absent) -> Absent:
    if not absent.reason.startswith(("EACCES", "EPERM")):
        return absent
    return Absent(
        f"{absent.reason}: give the agent CAP_DAC_READ_SEARCH, or its group read access by a udev rule"
    )


def _reading(stem: str, value: float | Absent, *, scope: str) -> Measured:
    return Measured(name=f"{stem}_joules_total", value=value, source="rapl", scope=scope, quality="counter")
