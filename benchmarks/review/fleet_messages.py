"""What a fleet says, as quickly as it can be made: every message is the contract's own, with its numbers filled in."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.measurements import (
    ExponentialHistogram,
    InferenceWindow,
    PowerSample,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.topics import DeviceTopics

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.contract.telemetry.measurements import Measurement

_ARTIFACTS = tuple(f"sha256:{number:064x}" for number in range(3))
_NUMBERS = re.compile(rb'"(time|seq|uptime_seconds)":[0-9.]+')
_VARIANTS = 16
INTERVAL_SECONDS = 10.0
KINDS = ("inference", "system", "thermal", "power")
"""What devices send, in this order."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message: which device's, its number, topic and payload."""

    device: int
    seq: int
    topic: bytes
    payload: bytes


class Fleet:
    """Devices that send four messages every ten seconds: inference, system, thermal and power.

    Args:
        devices: How many.
        boot_id: Of all of them.
        start: Unix time of the first messages.
        prefix: Their ids begin so.
    """

    def __init__(self, devices: int, *, boot_id: str, start: float, prefix: str = "dev") -> None:
        self.devices = devices
        self._start = start
        chance = random.Random(0)
        self._templates = [
            [(made.TYPE.encode(), _template(made)) for made in _messages(chance, boot_id)]
            for _ in range(_VARIANTS)
        ]
        topics = [DeviceTopics(f"{prefix}-{number:05d}") for number in range(devices)]
        self._topics = [
            {kind: one.measurement(kind.decode()).encode() for kind in map(str.encode, KINDS)}
            for one in topics
        ]

    def said(self, number: int) -> Said:
        """Return message ``number`` of the fleet: all devices say one kind after the other; the first `seq` is 1."""
        turn, device = divmod(number, self.devices)
        window, kind_number = divmod(turn, 4)
        kind, template = self._templates[(device + window) % _VARIANTS][kind_number]
        uptime = INTERVAL_SECONDS * (window + 1) + device * INTERVAL_SECONDS / self.devices
        return Said(
            device,
            turn + 1,
            self._topics[device][kind],
            template % (self._start + uptime, turn + 1, uptime),
        )


def _template(message: Measurement) -> bytes:
    """Return the message with places for time, number and uptime."""
    forms = {b"time": b"%.3f", b"seq": b"%d", b"uptime_seconds": b"%.3f"}
    payload = encode(message).replace(b"%", b"%%")
    return _NUMBERS.sub(lambda found: b'"' + found[1] + b'":' + forms[found[1]], payload)


def _messages(chance: random.Random, boot_id: str) -> list[Measurement]:
    envelope = Envelope(
        time=1.5,
        boot_id=boot_id,
        seq=1,
        uptime_seconds=1.5,
        clock="synced",
        artifact=chance.choice(_ARTIFACTS),
    )
    count = chance.randint(100, 300)
    latencies = sorted(chance.lognormvariate(-4.0, 0.25) for _ in range(count))
    counts: dict[int, int] = {}
    for latency in latencies:
        index = _bucket(latency)
        counts[index] = counts.get(index, 0) + 1
    at: Callable[[float], float] = lambda share: latencies[min(int(share * count), count - 1)]  # noqa: E731
    window = InferenceWindow(
        envelope=envelope,
        window_seconds=INTERVAL_SECONDS,
        inferences_total=count * 7,
        errors_total=0,
        dropped_frames_total=chance.randint(0, 3),
        throughput_per_second=count / INTERVAL_SECONDS,
        latency_count=count,
        latency_sum_seconds=sum(latencies),
        latency_min_seconds=latencies[0],
        latency_max_seconds=latencies[-1],
        latency_p50_seconds=at(0.5),
        latency_p90_seconds=at(0.9),
        latency_p95_seconds=at(0.95),
        latency_p99_seconds=at(0.99),
        hist=ExponentialHistogram(scale=5, zero_count=0, counts=counts),
    )
    system = SystemSample(
        envelope=envelope,
        cpu_ratio=chance.random(),
        process_cpu_ratio=chance.random(),
        process_rss_bytes=chance.randint(20 << 20, 60 << 20),
        process_pss_bytes=None,
        memory_available_bytes=chance.randint(1 << 28, 1 << 31),
        memory_total_bytes=1 << 32,
        swap_used_bytes=0,
        load_1m=chance.random(),
        cpu_frequency_hertz=1.5e9,
        storage_available_bytes=chance.randint(1 << 30, 1 << 34),
        spool_messages=chance.randint(0, 9),
        spool_bytes=chance.randint(0, 9000),
        spool_dropped_total=0,
        absent={"process_pss_bytes": "EACCES"},
    )
    thermal = ThermalSample(
        envelope=envelope,
        readings=tuple(
            Reading(name=name, value=value, source=source, scope=scope, quality="sampled")
            for name, value, source, scope in (
                ("cpu_thermal_celsius", 40 + 20 * chance.random(), "thermal_zone", "cpu-thermal"),
                ("soc_thermal_celsius", 40 + 20 * chance.random(), "thermal_zone", "soc-thermal"),
                ("cpu_cooling_state", 0.0, "cooling_device", "cpufreq-cpu0"),
            )
        ),
    )
    power = PowerSample(
        envelope=envelope,
        readings=(
            Reading(
                name="vdd_in_watts",
                value=3 + chance.random(),
                source="hwmon",
                scope="rail:VDD_IN",
                quality="sampled",
            ),
            Reading(name="vdd_in_volts", value=5.0, source="hwmon", scope="rail:VDD_IN", quality="sampled"),
        ),
    )
    return [window, system, thermal, power]


def _bucket(value: float) -> int:
    """Return the index of the bucket of scale 5 that a value lies in."""
    return math.ceil(math.log2(value) * 32) - 1
