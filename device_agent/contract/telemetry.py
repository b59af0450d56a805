"""What a device says: one frozen type a message.

`telemetry_codec` reads and writes them, `units` knows what the numbers mean. Every message carries an
`Envelope`. Measurements (`InferenceWindow`, `SystemSample`, `ThermalSample`, `PowerSample`) become flat JSON
numbers in base units. A value that could not be had is None, and `absent` says why under its name: never 0,
never a guess.

(device, ``boot_id``, ``seq``) names a message once and for all: ``boot_id`` changes with every start of the
agent, ``seq`` begins at 0, the farewell, and grows by one with every message of any type, so that a reader can
count what is missing. A state (health, birth) that is replaced before anybody could have it leaves its number to
its successor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

from device_agent.contract.document import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

TELEMETRY_VERSION = "1.2"
"""1.1: `InferenceWindow.model`, `.variant`, the same of `Result`, and `Birth.models`.

1.2: `Reported`, `InputWindow`, pressure in `SystemSample`.
"""

Clock = Literal["synced", "unsynced", "floor"]
Quality = Literal["counter", "sampled", "estimated", "unavailable"]
HealthStatus = Literal["up", "down", "degraded", "draining"]
Severity = Literal["info", "warning", "error"]
CommandStatus = Literal["executing", "successful", "failed"]
Variant = Literal["a", "b"]
"""Whose frames: the model's own artifact is `a`, the one that is tried beside it is `b`."""
Scalar = str | int | float | bool | None
"""What an event's details and a host's facts may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every message carries.

    Attributes:
        time: Unix time in seconds; trust it as far as ``clock`` says.
        boot_id: Id of this run of the agent.
        seq: Number of the message in this run, from 0.
        uptime_seconds: Monotonic time since the agent started.
        clock: `synced` by a time service, `unsynced`, or `floor`: known to be wrong and lifted to the last
            time that was known.
        artifact: Digest of the artifact that runs; None when none does.
    """

    time: float
    boot_id: str
    seq: int
    uptime_seconds: float
    clock: Clock
    artifact: str | None


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
class Message:
    """Base of every message; ``extra`` holds the fields of a newer minor version, kept as they came."""

    envelope: Envelope
    schema_version: str = TELEMETRY_VERSION
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make ``extra`` read-only."""
        object.__setattr__(self, "extra", frozen(self.extra))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """One of several models, or one side of an A/B split, as a birth message tells it; None: not known yet.

    Attributes:
        model: Its name in the device's configuration.
        variant: Which side of a split; None when there is none.
        artifact: Digest of its artifact.
        model_name: From the manifest, likewise the next two.
        model_version: The model's version.
        target: Capability profile id.
        engine: Engine that runs it.
        engine_version: Version of the library.
    """

    model: str
    variant: Variant | None
    artifact: str | None
    model_name: str | None
    model_version: str | None
    target: str | None
    engine: str | None
    engine_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth(Message):
    """What the agent is; retained, sent on every connect. Engine, model and target are those of the main model.

    Attributes:
        agent_version: Version of Edgewright.
        python_version: Version of the interpreter.
        engine: Engine that runs, None when none does.
        engine_version: Version of the library that runs.
        model_name: From the manifest, likewise the next two.
        model_version: The model's version.
        target: Capability profile id.
        host: Facts of the machine: ``machine``, ``kernel``, ``cpu_model``, ``cpu_count``, …
        models: Every model and variant, where there is more than one; else empty.
    """

    agent_version: str
    python_version: str
    engine: str | None
    engine_version: str | None
    model_name: str | None
    model_version: str | None
    target: str | None
    host: Mapping[str, Scalar]
    models: tuple[RunningModel, ...] = ()

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Message.__post_init__(self)
        object.__setattr__(self, "host", MappingProxyType(dict(self.host)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Message):
    """Whether the agent works; retained. With `down` it is the last will, written when the agent connects.

    Attributes:
        status: `up`, `degraded` (works, but ``reason``), `draining` (stops after what it holds) or `down`.
        pid: Process id of the agent; None when not known.
        reason: Why; empty when up.
    """

    status: HealthStatus
    pid: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Message):
    """What a device that takes updates follows; retained at ``…/twin/reported``, sent on every connect and whenever it changes.

    What runs is the envelope's ``artifact``.

    Attributes:
        group: The group whose desired state it reads; None: it has none.
        targets: Capability profiles that may run here, best first; empty: any.
        desired_serial: Serial of the desired state that it last followed; 0: none yet.
        desired: Digest of what that wants here; None: nothing.
        in_trial: Whether that is what its trial wants.
        on_probation: What runs is not known to be good yet.
        counter_floor: Releases below it are refused unless that is signed.
    """

    group: str | None
    targets: tuple[str, ...]
    desired_serial: int
    desired: str | None
    in_trial: bool
    on_probation: bool
    counter_floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(Message):
    """A state that needs care; retained at ``…/a/<alarm>`` until an empty payload says that it is over."""

    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Message):
    """Something that happened once. On the wire a CloudEvent; the envelope stands in its ``data``.

    Attributes:
        device: Device id; the CloudEvent's source is ``/device/<id>``.
        name: Lower snake case, as in the topic ``…/e/<name>``; the CloudEvent's type is
            ``edgewright.device.<name>``.
        severity: How grave.
        text: One sentence for people.
        details: What there is to know, by name.
    """

    device: str
    name: str
    severity: Severity
    text: str
    details: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Message.__post_init__(self)
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandState(Message):
    """How far a command is; retained at ``…/cmd/<op>/<cmd_id>`` in place of the request (`commands.CommandRequest`).

    Attributes:
        status: `executing`, or how it ended: `successful` or `failed`. Nothing else follows an end.
        code: Why it failed, for programs; empty unless it failed.
        reason: What there is to say, for people; empty when nothing.
        result: What the command gave, by name; only `snapshot` gives something.
    """

    status: CommandStatus
    code: str
    reason: str
    result: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Message.__post_init__(self)
        object.__setattr__(self, "result", MappingProxyType(dict(self.result)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """The k largest values of an output, largest first, by index into the flattened array."""

    name: str
    shape: tuple[int, ...]
    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """All values of an output, flattened in C order."""

    name: str
    shape: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Smallest, largest and mean value of an output."""

    name: str
    shape: tuple[int, ...]
    minimum: float
    maximum: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Message):
    """What one frame gave, in real units (dequantized) and the float model's layout.

    Attributes:
        frame: The frame's id.
        latency_seconds: Time in the engine.
        outputs: One entry an output, in the payload's order.
        model: Which of several models; None when there is only one.
        variant: Which side of an A/B split; None when there is none.
    """

    frame: str
    latency_seconds: float
    outputs: tuple[TopK | Raw | Summary, ...]
    model: str | None = None
    variant: Variant | None = None


MEASUREMENTS: Mapping[str, type[Measurement]] = MappingProxyType(
    {kind.TYPE: kind for kind in (InferenceWindow, InputWindow, SystemSample, ThermalSample, PowerSample)}
)
"""Measurement types by the last part of their topic."""

UPDATE_EVENTS = (
    "update_started",
    "update_tried",
    "update_activated",
    "update_committed",
    "update_rolled_back",
    "update_rejected",
    "update_postponed",
    "update_store_damaged",
    "update_state_damaged",
)
"""Every event of updates, in the order of an update; docs/updates.md says when each is told. An update that was started ends with
`update_committed`, `update_rolled_back` or `update_rejected`."""
