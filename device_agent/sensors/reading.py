"""What sensors give: `Measured`, a number or `Absent`, with its name, source, scope and quality."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from device_agent.contract.telemetry.measurements import Quality

_LONGEST_STEM: Final = 56
"""Leaves room for the longest unit suffix and a number within the 80 characters of a reading's name."""
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Absent:
    """A value that could not be had, and why, in a few words for the operator."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One number of one sensor.

    Attributes:
        name: Lower snake case, ending in its unit, e.g. ``cpu_thermal_celsius``.
        value: In the unit that the name says, or why there is none.
        source: Where it was read: ``thermal_zone``, ``cooling_device``, ``thermal_throttle``, ``cpufreq``, ``hwmon``,
            ``rapl``, ``jetson``, ``raspberry_pi``, ``power_supply``, ``pressure``.
        scope: What it covers, e.g. ``package``, ``rail:VDD_IN``, ``pmic_rails``, ``battery``.
        quality: How good the number is when it is there.
        update_seconds: How often the sensor makes a new number, where it says so.
    """

    name: str
    value: float | Absent
    source: str
    scope: str
    quality: Quality
    update_seconds: float | None = None


def slug(text: str) -> str:
    """Return ``text`` as lower snake case that can begin a reading's name; ``unnamed`` when nothing is left."""
    plain = _NOT_IN_NAMES.sub("_", text.strip().lower()).strip("_")[:_LONGEST_STEM].strip("_")
    if not plain:
        return "unnamed"
    return plain if plain[0].isalpha() else f"n{plain}"[:_LONGEST_STEM]


def with_distinct_names(measured: Iterable[Measured], *, units: Sequence[str]) -> tuple[Measured, ...]:
    """Number the names that stand there more than once: ``a_celsius``, ``a_2_celsius``, in the order they came.

    Args:
        measured: Readings, each name ending in one of ``units``.
        units: Unit suffixes, longest first, e.g. ``_celsius``.
    """
    seen: set[str] = set()
    distinct = []
    for reading in measured:
        unit = next((suffix for suffix in units if reading.name.endswith(suffix)), "")
        stem = reading.name.removesuffix(unit)
        name, number = reading.name, 1
        while name in seen:
            number += 1
            name = f"{stem}_{number}{unit}"
        seen.add(name)
        distinct.append(reading if name == reading.name else replace(reading, name=name))
    return tuple(distinct)
