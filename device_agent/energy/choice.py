"""Which readings can tell the energy of an inference, and which of them is the one to quote.

Nothing is added up here: a rail that feeds the module contains the rails behind it, ``psys`` contains the packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.sensors.jetson import TOTAL_RAILS
from device_agent.sensors.reading import Absent, Measured

if TYPE_CHECKING:
    from collections.abc import Iterable

JOULES: Final = "_joules_total"
WATTS: Final = "_watts"
_BEST_FIRST: Final = (
    *(f"rail:{name}" for name in TOTAL_RAILS),
    "packages",
    "package",
    "rails_sum",
    "pmic_rails",
    "chip:",
    "psys",
    "battery",
    "rail:",
    "dram",
    "core",
    "uncore",
)
"""Scopes in the order in which they are preferred: what feeds the whole module, then the processor, then parts."""


def meters(readings: Iterable[Measured]) -> list[Measured]:
    """Return the readings that tell energy or power, the one to quote first; a battery counts while it discharges."""
    found = [
        one for one in readings if one.name.endswith((JOULES, WATTS)) and not isinstance(one.value, Absent)
    ]
    usable = [one for one in found if one.scope != "battery" or _drawn(one) > 0.0]
    return sorted(usable, key=_rank)


def drawn(reading: Measured) -> float | Absent:
    """Return joules or watts that are drawn: a battery that discharges says them with a minus."""
    return reading.value if isinstance(reading.value, Absent) else _drawn(reading)


def _drawn(reading: Measured) -> float:
    value = 0.0 if isinstance(reading.value, Absent) else reading.value
    return -value if reading.scope == "battery" else value


def _rank(reading: Measured) -> int:
    return next(
        (rank for rank, scope in enumerate(_BEST_FIRST) if reading.scope.startswith(scope)), len(_BEST_FIRST)
    )
