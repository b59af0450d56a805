"""`throttled_by`: what told while figures were taken that the processor was slowed down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.review.sensor_role import Role, thermal_role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from device_agent.contract.telemetry.measurements import ThermalSample


def throttled_by(samples: Iterable[ThermalSample]) -> list[str]:
    """Return the names of readings that say so, in order of the alphabet; empty when none does.

    A count says it by rising, a cap of the frequency by being lower than in the first sample: what was there before may be an operator's
    choice. A fan that runs says nothing of the processor.

    Args:
        samples: Of one start of the agent, in order.
    """
    first: dict[str, float] = {}
    found = set()
    for sample in samples:
        for reading in sample.readings:
            if reading.value is None:
                continue
            before = first.setdefault(reading.name, reading.value)
            says = {
                Role.THROTTLED: reading.value > 0.0,
                Role.THROTTLE_COUNT: reading.value > before,
                Role.FREQUENCY_CAP: reading.value < before,
            }
            if says.get(thermal_role(reading.name), False):
                found.add(reading.name)
    return sorted(found)
