"""Inferences that are drawn: what a device of its own speed sees in a window, and what its sensors read meanwhile."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

from device_agent.contract.telemetry.measurements import PowerSample, Reading, ThermalSample
from device_agent.telemetry.histogram import Histogram
from device_agent.telemetry.sampler import Counters, SpoolState, inference_window, system_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.contract.telemetry.measurements import Measurement
    from device_agent.contract.telemetry.message import Envelope

_MEDIAN_SECONDS: Final = 0.02
_SPREAD_OF_DEVICES: Final = 0.1
_SPREAD: Final = 0.25
_WATTS: Final = 4.0


class DrawnInference:
    """What one device infers.

    Args:
        device: Its id: the same one is as fast each time.
        rate_hz: Frames a second.
    """

    def __init__(self, device: str, *, rate_hz: float) -> None:
        self._chance = random.Random(device)
        self._median_ns = 1e9 * _MEDIAN_SECONDS * self._chance.lognormvariate(0.0, _SPREAD_OF_DEVICES)
        self._celsius = self._chance.uniform(40.0, 60.0)
        self._rate_hz = rate_hz
        self.total = 0

    def cosine(self) -> float:
        """Return what a shadow run finds."""
        return 1.0 - 0.004 * self._chance.random()

    def window(
        self, seconds: float, envelope: Callable[[], Envelope], spool: SpoolState
    ) -> tuple[Histogram, list[Measurement]]:
        """Return the latencies of a window of so many seconds, and its messages: inference, system, thermal and power."""
        latencies = Histogram()
        for _ in range(round(seconds * self._rate_hz)):
            latencies.record(int(self._median_ns * self._chance.lognormvariate(0.0, _SPREAD)))
        self.total += latencies.count
        counters = Counters(inferences=self.total, errors=0, dropped_frames=0)
        return latencies, [
            inference_window(
                envelope(),
                latencies=latencies,
                counters=counters,
                window_seconds=max(seconds, 1e-9),
                idle_reason="no frame came in this window",
            ),
            system_sample(envelope(), self._system(), spool),
            ThermalSample(envelope=envelope(), readings=self._heat()),
            PowerSample(envelope=envelope(), readings=self._power(latencies.count, seconds)),
        ]

    def _system(self) -> dict[str, float]:
        return {
            "cpu_ratio": self._chance.uniform(0.1, 0.4),
            "process_cpu_ratio": self._chance.uniform(0.1, 0.3),
            "process_rss_bytes": 40 << 20,
            "process_pss_bytes": 38 << 20,
            "memory_available_bytes": 1 << 30,
            "memory_total_bytes": 2 << 30,
            "swap_used_bytes": 0,
            "load_1m": self._chance.random(),
            "cpu_frequency_hertz": 1.5e9,
            "storage_available_bytes": 8 << 30,
        }

    def _heat(self) -> tuple[Reading, ...]:
        celsius = self._celsius + self._chance.gauss(0.0, 0.5)
        return (
            Reading(
                name="cpu_thermal_celsius",
                value=celsius,
                source="thermal_zone",
                scope="cpu-thermal",
                quality="sampled",
            ),
            Reading(
                name="cpu_cooling_state",
                value=0.0,
                source="cooling_device",
                scope="cpufreq-cpu0",
                quality="sampled",
            ),
        )

    def _power(self, inferences: int, seconds: float) -> tuple[Reading, ...]:
        watts = _WATTS * math.exp(self._chance.gauss(0.0, 0.02))
        sampled = Reading(
            name="vdd_in_watts", value=watts, source="hwmon", scope="rail:VDD_IN", quality="sampled"
        )
        if not inferences:
            return (sampled,)
        return (
            Reading(
                name="inference_gross_joules",
                value=watts * seconds / inferences,
                source="hwmon",
                scope="rail:VDD_IN",
                quality="sampled",
            ),
            sampled,
        )
