"""What a device measures, window by window: inference, inputs, the machine, heat and power.

Flat JSON numbers in base units; `units` knows what they mean. A value that could not be had is None, and `absent` says why
under its name: never 0, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

from device_agent.contract.telemetry.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Variant

Quality = Literal["counter", "sampled", "estimated", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialHistogram:
    """Counts in base-2 exponential buckets; two of the same scale are merged by adding counts.

    Attributes:
        scale: Bucket i holds values in (base**i, base**(i + 1)] with base = 2**(2**-scale); -10 to 20.
        zero_count: How many values were 0.
        counts: Bucket index to count; empty buckets are left out.

    Source:
        OpenTelemetry metrics data model, "ExponentialHistogram".
    """

    scale: int
    zero_count: int
    counts: Mapping[int, int]

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Message):
    """Base of the measurements. ``TYPE`` is the last part of the topic ``…/m/<type>``.

    Attributes:
        absent: Name of a value that could not be had to the reason, e.g. ``{"process_pss_bytes": "EACCES"}``.
    """

    TYPE: ClassVar[str]
    absent: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Message.__post_init__(self)
        object.__setattr__(self, "absent", MappingProxyType(dict(self.absent)))


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceWindow(Measurement):
    """Inference over one window of time.

    Totals count since the agent started, so a lost message loses no count; everything else is of the window.
    The latencies are None, with a reason, when nothing was inferred. Quantiles of several windows are never
    averaged: merge ``hist``. Windows of two models, or of two variants, are never merged: each counts its own totals.

    Attributes:
        model: Which of several models, by its name in the device's configuration; None when there is only one.
        variant: Which side of an A/B split; None when there is none.
        window_seconds: Length of the window; > 0.
        inferences_total: Inferences that gave a result.
        errors_total: Inferences that failed.
        dropped_frames_total: Frames that came and were not inferred; with a split those of both, told by `a`.
        throughput_per_second: Inferences of the window by its length.
        latency_count: Latencies in the window.
        latency_sum_seconds: Their sum.
        latency_min_seconds: Shortest.
        latency_max_seconds: Longest.
        latency_p50_seconds: Median.
        latency_p90_seconds: 90th percentile.
        latency_p95_seconds: 95th percentile.
        latency_p99_seconds: 99th percentile.
        hist: The latencies of the window in seconds, mergeable.
    """

    TYPE: ClassVar[str] = "inference"
    model: str | None = None
    variant: Variant | None = None
    window_seconds: float
    inferences_total: int
    errors_total: int
    dropped_frames_total: int
    throughput_per_second: float | None
    latency_count: int
    latency_sum_seconds: float
    latency_min_seconds: float | None
    latency_max_seconds: float | None
    latency_p50_seconds: float | None
    latency_p90_seconds: float | None
    latency_p95_seconds: float | None
    latency_p99_seconds: float | None
    hist: ExponentialHistogram


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSketch:
    """What one input of a model looked like in the frames that were sampled, in real units.

    Sketches of the same name are merged by adding counts, whatever the payload's type and layout.

    Attributes:
        name: The float model's name of the input.
        value_count: Values that were looked at, of all sampled frames; >= 1.
        mean: Of the values.
        deviation: Their standard deviation; >= 0.
        minimum: Smallest.
        maximum: Largest.
        saturated_ratio: Share of values at either end of the payload's integer type; None for floats, which have none.
        zero_count: Values nearer to 0 than the smallest bucket.
        negative: Bucket index to count, of the magnitudes of negative values; empty buckets are left out.
        positive: The same of positive ones. Bucket i holds magnitudes in (2**(i / 2), 2**((i + 1) / 2)]; i is
            from -24 to 39, and the last also holds what is larger.
    """

    name: str
    value_count: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    saturated_ratio: float | None
    zero_count: int
    negative: Mapping[int, int]
    positive: Mapping[int, int]

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        for name in ("negative", "positive"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


INPUT_BUCKETS = range(-24, 40)
"""Bucket indices of `InputSketch`, half octaves from 2**-12 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputWindow(Measurement):
    """What a model's inputs looked like over one window, of a sample of its frames. Sent when there was one.

    Attributes:
        model: Which of several models, as in `InferenceWindow`.
        variant: Which side of an A/B split.
        frame_count: Frames that were sampled; >= 1.
        inputs: One sketch an input, in the payload's order; at least one.
    """

    TYPE: ClassVar[str] = "input"
    model: str | None = None
    variant: Variant | None = None
    frame_count: int
    inputs: tuple[InputSketch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSample(Measurement):
    """The machine and the agent's process at one moment.

    Numbers with a default are of a later minor version: where an older agent does not know them, `absent` is silent about them too.

    Attributes:
        cpu_ratio: Share of all cores in use since the last sample, 0 to 1.
        process_cpu_ratio: Processor time of the agent over wall time since the last sample; 1 is one core.
        process_rss_bytes: Resident memory of the agent.
        process_pss_bytes: The same with shared pages shared out.
        memory_available_bytes: What can be had without swapping.
        memory_total_bytes: All memory.
        swap_used_bytes: Swap in use.
        load_1m: Load average over a minute; tasks.
        cpu_frequency_hertz: Mean current frequency of the cores.
        storage_available_bytes: Free space where the agent keeps its state.
        spool_messages: Messages that wait for the broker.
        spool_bytes: Their size.
        spool_dropped_total: Messages lost since the agent started: the spool was full, the broker refused them, or
            they were too large.
        cpu_pressure_ratio: Share of the last 10 seconds in which some task waited for a processor, 0 to 1; since 1.2.
        memory_pressure_ratio: The same for memory: for pages that had been taken away.
        io_pressure_ratio: The same for a disk.
    """

    TYPE: ClassVar[str] = "system"
    cpu_ratio: float | None
    process_cpu_ratio: float | None
    process_rss_bytes: int | None
    process_pss_bytes: int | None
    memory_available_bytes: int | None
    memory_total_bytes: int | None
    swap_used_bytes: int | None
    load_1m: float | None
    cpu_frequency_hertz: float | None
    storage_available_bytes: int | None
    spool_messages: int | None
    spool_bytes: int | None
    spool_dropped_total: int | None
    cpu_pressure_ratio: float | None = None
    memory_pressure_ratio: float | None = None
    io_pressure_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number from a sensor.

    Attributes:
        name: Lower snake case; its suffix is its unit (`units.SUFFIXES`), e.g. ``cpu_thermal_celsius``,
            ``package_0_joules_total``.
        value: None exactly when ``quality`` is `unavailable`; then the sample's ``absent`` has the reason
            under ``name``.
        source: Where it was read, e.g. ``rapl``, ``hwmon``, ``thermal_zone``.
        scope: What it covers, e.g. ``package``, ``rail:VDD_IN``, ``pmic_rails``, ``battery``.
        quality: `counter` that only grows, `sampled`, `estimated`, or `unavailable`.
    """

    name: str
    value: float | None
    source: str
    scope: str
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalSample(Measurement):
    """Temperatures, throttling and cooling at one moment; which readings there are, the machine says."""

    TYPE: ClassVar[str] = "thermal"
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSample(Measurement):
    """Power, energy and battery at one moment; which readings there are, the machine says."""

    TYPE: ClassVar[str] = "power"
    readings: tuple[Reading, ...]


MEASUREMENTS: Mapping[str, type[Measurement]] = MappingProxyType(
    {kind.TYPE: kind for kind in (InferenceWindow, InputWindow, SystemSample, ThermalSample, PowerSample)}
)
"""Measurement types by the last part of their topic."""
