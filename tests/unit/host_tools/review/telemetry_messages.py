"""Messages of one device, and a history filled with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    ExponentialHistogram,
    InferenceWindow,
    Measurement,
    PowerSample,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.states import Birth, Health
from device_agent.contract.topics import DeviceTopics
from host_tools.review.history import History
from host_tools.review.listener import Delivery

if TYPE_CHECKING:
    from device_agent.contract.telemetry.message import Clock, Variant
    from device_agent.contract.telemetry.states import HealthStatus

RECEIVED = 1_700_000_100.0
TOPICS = DeviceTopics("lab-1")


def envelope(
    seq: int,
    *,
    boot: str = "boot-1",
    time: float | None = None,
    uptime: float | None = None,
    clock: Clock = "synced",
) -> Envelope:
    """By default one message a second, whose clock is right."""
    return Envelope(
        time=1_700_000_000.0 + seq if time is None else time,
        boot_id=boot,
        seq=seq,
        uptime_seconds=float(seq) if uptime is None else uptime,
        clock=clock,
        artifact=None,
    )


def window(
    seq: int, stamp: Envelope | None = None, *, model: str | None = None, variant: Variant | None = None
) -> InferenceWindow:
    return InferenceWindow(
        envelope=stamp or envelope(seq),
        model=model,
        variant=variant,
        window_seconds=1.0,
        inferences_total=seq + 1,
        errors_total=0,
        dropped_frames_total=0,
        throughput_per_second=1.0,
        latency_count=1,
        latency_sum_seconds=0.004,
        latency_min_seconds=0.004,
        latency_max_seconds=0.004,
        latency_p50_seconds=0.004,
        latency_p90_seconds=0.004,
        latency_p95_seconds=0.004,
        latency_p99_seconds=0.004,
        hist=ExponentialHistogram(scale=5, zero_count=0, counts={-255: 1}),
    )


def thermal(seq: int) -> ThermalSample:
    readings = tuple(
        Reading(
            name=f"zone_{index}_celsius",
            value=value,
            source="thermal_zone",
            scope=f"zone_{index}",
            quality="sampled",
        )
        for index, value in enumerate((41.5, 55.25))
    )
    return ThermalSample(envelope=envelope(seq), readings=readings)


def system(seq: int, *, pss_bytes: int | None) -> SystemSample:
    return SystemSample(
        envelope=envelope(seq),
        absent={}
        if pss_bytes is not None
        else {"process_pss_bytes": "read every 60 s, because it is costly"},
        cpu_ratio=0.25,
        process_cpu_ratio=0.1,
        process_rss_bytes=90 << 20,
        process_pss_bytes=pss_bytes,
        memory_available_bytes=1 << 30,
        memory_total_bytes=2 << 30,
        swap_used_bytes=0,
        load_1m=1.0,
        cpu_frequency_hertz=1e9,
        storage_available_bytes=1 << 30,
        spool_messages=0,
        spool_bytes=0,
        spool_dropped_total=0,
    )


def joules(value: float | None, *, name: str = "package_0") -> Reading:
    quality = "unavailable" if value is None else "counter"
    return Reading(name=f"{name}_joules_total", value=value, source="rapl", scope="package", quality=quality)


def watts(value: float, *, name: str = "ina3221_vdd_in", scope: str = "rail:VDD_IN") -> Reading:
    return Reading(name=f"{name}_watts", value=value, source="hwmon", scope=scope, quality="sampled")


def battery_watts(value: float) -> Reading:
    return watts(value, name="supply_bat0", scope="battery")


def power(seq: int, *readings: Reading, boot: str = "boot-1") -> PowerSample:
    absent = {reading.name: "EACCES" for reading in readings if reading.value is None}
    return PowerSample(envelope=envelope(seq, boot=boot), readings=readings, absent=absent)


def health(seq: int, status: HealthStatus = "up", reason: str = "") -> Health:
    return Health(envelope=envelope(seq), status=status, pid=7, reason=reason)


def event(seq: int, text: str, stamp: Envelope | None = None) -> Event:
    return Event(
        envelope=stamp or envelope(seq), device="lab-1", name="model_loaded", severity="info", text=text
    )


def birth(seq: int, *, model: str = "net", engine: str = "onnx") -> Birth:
    return Birth(
        envelope=envelope(seq),
        agent_version="0.1.0",
        python_version="3.11.7",
        engine=engine,
        engine_version="1.32.0",
        model_name=model,
        model_version="1.0.0",
        target="x86_64-onnxruntime",
        host={"machine": "x86_64"},
    )


def delivery(topic: str, payload: bytes, *, received: float = RECEIVED, retained: bool = False) -> Delivery:
    return Delivery(topic=topic, payload=payload, received=received, retained=retained)


def topic_of(message: Measurement | Birth | Health | Event) -> str:
    if isinstance(message, Measurement):
        return TOPICS.measurement(message.TYPE)
    if isinstance(message, Event):
        return TOPICS.event(message.name)
    return TOPICS.birth() if isinstance(message, Birth) else TOPICS.health()


def deliver(
    history: History,
    *messages: Measurement | Birth | Health | Event,
    received: float | None = None,
    retained: bool = False,
) -> History:
    """Add messages, each received when it was made unless it is said when."""
    for message in messages:
        at = message.envelope.time if received is None else received
        history.add(delivery(topic_of(message), encode(message), received=at, retained=retained))
    return history


def filled() -> History:
    history = deliver(History(), birth(1), health(2))
    deliver(history, *(window(seq) for seq in range(3, 9)), thermal(9))
    return deliver(history, event(10, "Loaded net <1.0>."))
