"""From readings to messages. Pure: what it is given decides what it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.measurements import (
    ExponentialHistogram,
    InferenceWindow,
    PowerSample,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.units import encode_units, units_of
from device_agent.sensors.reading import Absent
from device_agent.telemetry.histogram import SCALE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from device_agent.contract.telemetry.message import Envelope, Variant
    from device_agent.sensors.reading import Measured
    from device_agent.telemetry.histogram import Histogram

_Sample = TypeVar("_Sample", ThermalSample, PowerSample)

_LONGEST_REASON: Final = 300
_LEFT_OUT: Final = "readings_left_out_count"
_SHARES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Totals since the agent started.

    Attributes:
        inferences: Inferences that gave a result.
        errors: Inferences that failed.
        dropped_frames: Frames that came and were not inferred.
    """

    inferences: int
    errors: int
    dropped_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolState:
    """What the spool holds, and what it lost since the agent started."""

    messages: int
    size_bytes: int
    dropped: int


def inference_window(
    envelope: Envelope,
    *,
    latencies: Histogram,
    counters: Counters,
    window_seconds: float,
    idle_reason: str,
    model: str | None = None,
    variant: Variant | None = None,
) -> InferenceWindow:
    """Describe one window of inference.

    Args:
        envelope: Of the new message.
        latencies: Of the window; read, not kept.
        counters: Totals at the window's end.
        window_seconds: Its length; greater than 0.
        idle_reason: Why there are no latencies, if there are none.
        model: Which of several models; None when there is only one.
        variant: Which side of a split; None when there is none.
    """
    count = latencies.count
    measured: dict[str, float | None] = {
        "latency_min_seconds": latencies.min_ns * 1e-9 if count else None,
        "latency_max_seconds": latencies.max_ns * 1e-9 if count else None,
        **{f"latency_{name}_seconds": latencies.quantile_seconds(share) for name, share in _SHARES.items()},
    }
    return InferenceWindow(
        envelope=envelope,
        model=model,
        variant=variant,
        window_seconds=window_seconds,
        inferences_total=counters.inferences,
        errors_total=counters.errors,
        dropped_frames_total=counters.dropped_frames,
        throughput_per_second=count / window_seconds,
        latency_count=count,
        latency_sum_seconds=latencies.sum_ns * 1e-9,
        **measured,  # type: ignore[arg-type]  # the keys are field names of one type
        hist=ExponentialHistogram(scale=SCALE, zero_count=0, counts=dict(latencies.buckets())),
        absent={} if count else dict.fromkeys(measured, idle_reason[:_LONGEST_REASON]),
    )


def system_sample(
    envelope: Envelope, values: Mapping[str, float | Absent], spool: SpoolState
) -> SystemSample:
    """Describe the machine and the spool.

    Args:
        envelope: Of the new message.
        values: By their names in `SystemSample`; negative ones cannot be and are left out as such.
        spool: What the spool holds.
    """
    fields: dict[str, float | None] = {}
    absent: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Absent):
            fields[name], absent[name] = None, value.reason[:_LONGEST_REASON]
        elif value < 0:
            fields[name], absent[name] = None, f"read as {value}, which cannot be"
        else:
            fields[name] = value
    return SystemSample(
        envelope=envelope,
        **fields,  # type: ignore[arg-type]  # the keys are field names of one type
        spool_messages=spool.messages,
        spool_bytes=spool.size_bytes,
        spool_dropped_total=spool.dropped,
        absent=absent,
    )


def thermal_sample(envelope: Envelope, measured: Iterable[Measured]) -> ThermalSample:
    """Describe heat, cooling and caps."""
    readings, absent = _readings(measured)
    return ThermalSample(envelope=envelope, readings=readings, absent=absent)


def power_sample(envelope: Envelope, measured: Iterable[Measured]) -> PowerSample:
    """Describe power, energy and supplies."""
    readings, absent = _readings(measured)
    return PowerSample(envelope=envelope, readings=readings, absent=absent)


def fitted(sample: _Sample, *, max_bytes: int) -> _Sample:
    """Leave out the last readings, as many as must be for the message and its units to fit, and say how many.

    Args:
        sample: What was measured.
        max_bytes: Longest message; at least some hundred bytes, for a message without a reading.
    """
    if _fits(sample, max_bytes):
        return sample
    fits, too_many = 0, len(sample.readings)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _fits(_cut(sample, middle), max_bytes):
            fits = middle
        else:
            too_many = middle
    return _cut(sample, fits)


def _fits(sample: ThermalSample | PowerSample, max_bytes: int) -> bool:
    return len(encode(sample)) <= max_bytes and len(encode_units(units_of(sample))) <= max_bytes


def _cut(sample: _Sample, count: int) -> _Sample:
    """Keep the first ``count`` readings, and count the others together with what had been left out before."""
    of_sensors = [reading for reading in sample.readings if reading.name != _LEFT_OUT]
    before = sum(reading.value or 0.0 for reading in sample.readings if reading.name == _LEFT_OUT)
    kept: list[Reading] = of_sensors[:count]
    left_out = Reading(
        name=_LEFT_OUT,
        value=len(of_sensors) - len(kept) + before,
        source="agent",
        scope="agent",
        quality="counter",
    )
    names = {reading.name for reading in kept}
    absent = {name: reason for name, reason in sample.absent.items() if name in names}
    return replace(sample, readings=(*kept, left_out), absent=absent)


def _readings(measured: Iterable[Measured]) -> tuple[tuple[Reading, ...], dict[str, str]]:
    readings = []
    absent: dict[str, str] = {}
    for one in measured:
        missing = isinstance(one.value, Absent)
        if isinstance(one.value, Absent):
            absent[one.name] = one.value.reason[:_LONGEST_REASON]
        readings.append(
            Reading(
                name=one.name,
                value=None if isinstance(one.value, Absent) else float(one.value),
                source=one.source,
                scope=one.scope[:_LONGEST_REASON],
                quality="unavailable" if missing else one.quality,
            )
        )
    return tuple(readings), absent
