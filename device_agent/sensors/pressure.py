"""Pressure stall information: the share of the last 10 seconds in which something waited for processor, memory or disk.

Source: Linux, Documentation/accounting/psi.rst (``some avg10=0.12 avg60=… avg300=… total=…``, in percent).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured
from device_agent.sensors.sysfs import read_text

if TYPE_CHECKING:
    from pathlib import Path

_PERCENT: Final = 0.01
_SOME: Final = re.compile(r"some avg10=(\d{1,3}\.\d{1,4}) ")
_RESOURCES: Final = ("cpu", "memory", "io")


def read_pressure(proc_root: Path) -> list[Measured]:
    """Return ``cpu_pressure_ratio``, ``memory_pressure_ratio`` and ``io_pressure_ratio``, 0 to 1."""
    return [
        Measured(
            name=f"{resource}_pressure_ratio",
            value=parse_pressure(read_text(proc_root / "pressure" / resource)),
            source="pressure",
            scope="system",
            quality="sampled",
        )
        for resource in _RESOURCES
    ]


def parse_pressure(text: str | Absent) -> float | Absent:
    """Return the share of the first line, "some"."""
    if isinstance(text, Absent):
        return text
    match = _SOME.match(text)
    return float(match[1]) * _PERCENT if match else Absent(f"pressure reads {text[:40]!r}")
