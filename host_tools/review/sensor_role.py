"""`Role`: what a reading means, by its name (as `power`, `watch` and the agent have it)."""

from __future__ import annotations

from enum import IntEnum

_COOLING = (
    "cooling_cpufreq",
    "cooling_thermal_cpufreq",
    "cooling_cpu",
    "cooling_processor",
    "cooling_thermal_devfreq",
)
_FLAGS = (
    "rpi_under_voltage_state",
    "rpi_frequency_capped_state",
    "rpi_throttled_state",
    "rpi_soft_temperature_limit_state",
    "rpi_volt_under_voltage_state",
)
_COUNTS = ("cpu_core_throttle_total", "cpu_package_throttle_total")


class Role(IntEnum):
    """What a reading is to a window."""

    NOTHING = 0
    CELSIUS = 1
    WATTS = 2
    JOULES_TOTAL = 3
    THROTTLED = 4
    """Above 0 while something slows the processor down."""
    THROTTLE_COUNT = 5
    """Rises when the processor is slowed down."""
    FREQUENCY_CAP = 6
    """Lower than in the run's first sample: the processor is slowed down."""
    CPU_RATIO = 7
    RSS_BYTES = 8
    JOULES_PER_INFERENCE = 9


def thermal_role(name: str) -> Role:
    """Return what a reading of a thermal sample is, by its name."""
    if name.endswith("_celsius"):
        return Role.CELSIUS
    if name in _COUNTS:
        return Role.THROTTLE_COUNT
    if name == "cpu_frequency_cap_ratio":
        return Role.FREQUENCY_CAP
    return Role.THROTTLED if name in _FLAGS or name.startswith(_COOLING) else Role.NOTHING
