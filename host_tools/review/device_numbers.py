"""Numbers of a device as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.contract.telemetry.measurements import SystemSample, ThermalSample


def short(value: float | None) -> str:
    """Return three digits, or all before the point: no column grows with its numbers."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value:.0e}".replace("e+0", "e")
    digits = 2 if abs(value) < 10.0 else 1 if abs(value) < 100.0 else 0
    return f"{value:.{digits}f}"


def latest_pss_bytes(samples: Sequence[SystemSample]) -> int | None:
    """Return the last proportional memory that this run of the agent told: it is read more rarely than the rest."""
    for sample in reversed(samples):
        if sample.envelope.boot_id != samples[-1].envelope.boot_id:
            return None
        if sample.process_pss_bytes is not None:
            return sample.process_pss_bytes
    return None


def hottest_celsius(sample: ThermalSample) -> float | None:
    """Return the highest temperature of a sample in degrees Celsius; None when it has none."""
    values = [one.value for one in sample.readings if one.name.endswith("_celsius") and one.value is not None]
    return max(values, default=None)
