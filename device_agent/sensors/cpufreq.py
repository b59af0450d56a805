"""Processor frequency: what the cores run at, and whether something holds them below what they can do.

Source: Linux, Documentation/admin-guide/pm/cpufreq.rst (kHz throughout).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured
from device_agent.sensors.sysfs import children, is_there, read_integer, read_text

if TYPE_CHECKING:
    from pathlib import Path

_KILO: Final = 1_000.0


def mean_frequency_hertz(sysfs_root: Path) -> float | Absent:
    """Return the mean current frequency of the cores in hertz."""
    values = [read_integer(folder / "scaling_cur_freq") for folder in _folders(sysfs_root)]
    numbers = [value for value in values if not isinstance(value, Absent)]
    if numbers:
        return sum(numbers) * _KILO / len(numbers)
    return next((value for value in values if isinstance(value, Absent)), _no_cpufreq(sysfs_root))


def read_frequency_cap(sysfs_root: Path) -> Measured:
    """Return the lowest share of its own highest frequency that any core may use now; below 1 something caps it."""
    ratios: list[float] = []
    reason = _no_cpufreq(sysfs_root)
    for folder in _folders(sysfs_root):
        allowed, possible = (
            read_integer(folder / "scaling_max_freq"),
            read_integer(folder / "cpuinfo_max_freq"),
        )
        if isinstance(allowed, Absent):
            reason = allowed
        elif isinstance(possible, Absent):
            reason = possible
        elif possible > 0:
            ratios.append(allowed / possible)
    return Measured(
        name="cpu_frequency_cap_ratio",
        value=min(ratios) if ratios else reason,
        source="cpufreq",
        scope="cpu",
        quality="sampled",
    )


def governors(sysfs_root: Path) -> tuple[str, ...]:
    """Return the governors in use, each once."""
    found = [read_text(folder / "scaling_governor") for folder in _folders(sysfs_root)]
    return tuple(sorted({governor for governor in found if not isinstance(governor, Absent)}))


def _folders(sysfs_root: Path) -> list[Path]:
    cores = [core for core in children(sysfs_root / "devices/system/cpu", "cpu") if core.name[3:].isdigit()]
    return [core / "cpufreq" for core in cores if is_there(core / "cpufreq")]


def _no_cpufreq(sysfs_root: Path) -> Absent:
    return Absent(f"no cpufreq under {sysfs_root}/devices/system/cpu")
