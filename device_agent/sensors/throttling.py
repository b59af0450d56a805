"""Whether the processor is being slowed down now, from everything that says so.

Source: Linux, Documentation/driver-api/thermal/sysfs-api.rst (``cur_state`` above 0: the device cools);
arch/x86/kernel/cpu/mce/therm_throt.c (``thermal_throttle/*_throttle_count``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.sensors.reading import Absent, Measured
from device_agent.sensors.sysfs import children, is_there, read_integer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COUNTS: Final = ("core", "package")
_COUNT_NAMES: Final = tuple(f"cpu_{kind}_throttle_total" for kind in _COUNTS)
_PROCESSOR_COOLING: Final = ("cooling_cpufreq", "cooling_thermal_cpufreq", "cooling_cpu", "cooling_processor",
                             "cooling_thermal_devfreq")  # fmt: skip
_FLAGS: Final = {
    "rpi_under_voltage_state": "under-voltage",
    "rpi_frequency_capped_state": "the firmware caps the frequency",
    "rpi_throttled_state": "the firmware throttles",
    "rpi_soft_temperature_limit_state": "the soft temperature limit holds",
    "rpi_volt_under_voltage_state": "under-voltage",
}


def read_throttle_counts(sysfs_root: Path) -> list[Measured]:
    """Return how often Intel's processors were slowed down by heat since the start, summed over the logical ones."""
    folders = [
        core / "thermal_throttle"
        for core in children(sysfs_root / "devices/system/cpu", "cpu")
        if core.name[3:].isdigit() and is_there(core / "thermal_throttle")
    ]
    if not folders:
        return []
    return [_summed(name, [folder / f"{kind}_throttle_count" for folder in folders])
            for kind, name in zip(_COUNTS, _COUNT_NAMES, strict=True)]  # fmt: skip


class ThrottleWatch:
    """Says why a processor is throttled, from one reading of the sensors to the next.

    A frequency cap counts only when it became lower since the first reading: one that was there from the beginning is
    an operator's choice.
    """

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}
        self._first_cap: float | None = None

    def reasons(self, heat: Iterable[Measured]) -> tuple[str, ...]:
        """Return each reason, for people; empty when nothing says that it is throttled.

        Args:
            heat: What `Sensors.heat` gave.
        """
        found: dict[str, None] = {}
        for reading in heat:
            if not isinstance(reading.value, Absent):
                reason = self._reason(reading.name, reading.value)
                if reason:
                    found[reason] = None
        return tuple(found)

    def _reason(self, name: str, value: float) -> str:
        if name in _COUNT_NAMES:
            before = self._counts.get(name, value)
            self._counts[name] = value
            return f"{name} rose by {value - before:.0f}" if value > before else ""
        if name == "cpu_frequency_cap_ratio":
            if self._first_cap is None:
                self._first_cap = value
            return f"the frequency cap fell to {value:.0%}" if value < self._first_cap else ""
        if name in _FLAGS:
            return _FLAGS[name] if value else ""
        if name.startswith(_PROCESSOR_COOLING) and value > 0:
            return f"{name.removesuffix('_ratio')} is at {value:.0%}"
        return ""


def _count(file: Path) -> int | Absent:
    count = read_integer(file)
    return Absent(f"{file} holds {count}, which cannot be") if isinstance(count, int) and count < 0 else count


def _summed(name: str, files: list[Path]) -> Measured:
    values = [_count(file) for file in files]
    broken = next((value for value in values if isinstance(value, Absent)), None)
    total = broken or float(sum(value for value in values if not isinstance(value, Absent)))
    return Measured(name=name, value=total, source="thermal_throttle", scope="cpu", quality="counter")
