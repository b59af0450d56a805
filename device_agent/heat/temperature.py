"""Which temperature the policy goes by, and the rules that the configuration declares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from device_agent.heat.policy import HeatRules, HeatStep, Measure
from device_agent.sensors.reading import Absent, Measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from device_agent.config import HeatSection
    from device_agent.contract.manifest import Heat
    from device_agent.sensors.survey import Sensors

_PROCESSOR_CHIPS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")
"""hwmon chips that measure a processor; an SSD is hotter and is no reason to infer less."""


def in_force(section: HeatSection, declared: Heat | None) -> HeatSection:
    """Return what holds: the artifact's declaration where the configuration has no step of its own and does not decline it."""
    own = (section.slow_celsius, section.variant_celsius, section.pause_celsius)
    if declared is None or not section.from_artifact or any(step is not None for step in own):
        return section
    return replace(
        section,
        slow_celsius=declared.slow_celsius,
        slow_rate_hz=declared.slow_rate_hz or section.slow_rate_hz,
        pause_celsius=declared.pause_celsius,
        hysteresis_celsius=declared.hysteresis_celsius,
        hold_seconds=declared.hold_seconds,
    )


def declared_rules(section: HeatSection) -> HeatRules | None:
    """Return the rules of the configuration, steps in the order of their temperatures; None when there is no step."""
    thresholds: tuple[tuple[Measure, float | None], ...] = (
        ("slow", section.slow_celsius),
        ("variant", section.variant_celsius),
        ("pause", section.pause_celsius),
    )
    steps = [
        HeatStep(celsius=celsius, measure=measure) for measure, celsius in thresholds if celsius is not None
    ]
    if not steps:
        return None
    return HeatRules(
        steps=tuple(sorted(steps, key=lambda step: step.celsius)),
        hysteresis_celsius=section.hysteresis_celsius,
        hold_seconds=section.hold_seconds,
    )


def read_hottest(sensors: Sensors, names: Sequence[str]) -> float | Absent:
    """Return the temperature to go by; reads no more than it takes, for it is read often. See `hottest`."""
    if not names:
        zones = hottest(sensors.zones(), ())
        if not isinstance(zones, Absent):
            return zones
    return hottest(sensors.temperatures(), names)


def hottest(readings: Iterable[Measured], names: Sequence[str]) -> float | Absent:
    """Return the highest temperature of those that count.

    Args:
        readings: What `Sensors.temperatures` gave.
        names: Those that count; empty: every thermal zone, or the processor's chips where no zone can be read.
    """
    heat = [one for one in readings if one.name.endswith("_celsius")]
    if names:
        missing = [name for name in names if all(one.name != name for one in heat)]
        if missing:
            return Absent(f"there is no reading {missing[0]!r}")
        return _highest([one for one in heat if one.name in names], every=True)
    zones = _highest([one for one in heat if one.source == "thermal_zone"], every=False)
    if not isinstance(zones, Absent):
        return zones
    chips = [one for one in heat if one.source == "hwmon" and one.name.startswith(_PROCESSOR_CHIPS)]
    return _highest(chips, every=False) if chips else zones


def _highest(readings: Sequence[Measured], *, every: bool) -> float | Absent:
    """Of named sensors ``every`` one must speak: the hottest may be the one that is silent. Zones that are off are usual."""
    values = [one.value for one in readings]
    known = [value for value in values if not isinstance(value, Absent)]
    broken = next((value for value in values if isinstance(value, Absent)), None)
    if not known or (every and broken is not None):
        return broken or Absent("there is no temperature")
    return max(known)
