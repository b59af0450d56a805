"""What a store answers: windows of time, merged over devices, artifacts and time as asked, in columns.

Counts and histograms are added up, extremes are kept, means come as a sum and what to divide it by. A quantile is taken
from merged buckets and from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Level(Enum):
    """Length of the windows that a store keeps, in seconds; each is rolled up from the one before.

    Quarters of a day and days by the five are for answers over days and weeks, which have fewer windows to merge;
    `SHOWN_LEVELS` is what people see.
    """

    SECONDS_10 = 10
    MINUTE = 60
    HOUR = 3600
    HOURS_6 = 21600
    DAY = 86400
    DAYS_5 = 432000

    @property
    def seconds(self) -> int:
        """Length of a window."""
        return int(self.value)


SHOWN_LEVELS = (Level.SECONDS_10, Level.MINUTE, Level.HOUR, Level.DAY)
"""Lengths by which time is told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which windows are meant.

    Attributes:
        start: Unix time in seconds; the window that it lies in is the first.
        end: Unix time in seconds, exclusive.
        devices: Device ids; None for all.
        artifacts: Digests; None for all, also of windows in which no artifact ran.
        labels: Pairs of key and value that a device must have, all of them.
    """

    start: float
    end: float
    devices: tuple[str, ...] | None = None
    artifacts: tuple[str, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """Histograms of latency in seconds, one a row, in compressed rows.

    Attributes:
        scale: OpenTelemetry scale, one for all.
        offsets: int64[rows + 1]: row r has the buckets ``offsets[r]:offsets[r + 1]``.
        indices: int32[buckets]: bucket index, ascending within a row.
        counts: int64[buckets]: >= 1.
        zero_counts: int64[rows]: how many values were 0.
    """

    scale: int
    offsets: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[np.int64]
    zero_counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTable:
    """Merged windows, one a row, ordered by its axes in the order asked for. Arrays have one value a row.

    Attributes:
        axes: What was asked for; `keys` has one array each.
        keys: int64 Unix seconds of the window's start for ``time``, else texts (object); None where there is none.
        level: Length of the windows that ``time`` means.
        devices: int64: how many devices have something in the row.
        main_devices: int64: of these, devices that ran it as their own model; those of further models and of sides that are
            tried are left out, so that over all artifacts a device counts once.
        covered_seconds: float64: sum of the lengths of inference windows; two devices for a minute are 120, and so are two models.
        device_seconds: float64: the same of the own models alone: two models for a minute are 60.
        inferences: int64.
        errors: int64: failed inferences.
        dropped: int64: frames that came and were not inferred.
        latency_count: int64.
        latency_sum: float64 seconds.
        latency_min: float64 seconds, NaN when nothing was inferred.
        latency_max: float64 seconds, NaN likewise.
        hist: Latencies of each row.
        energy_joules: float64: gross energy of inference in windows that told it.
        energy_inferences: int64: inferences in those windows; joules an inference is the quotient.
        watts_sum: float64: sum of samples of the device's outermost power source; NaN-free, 0 without samples.
        watts_count: int64: how many samples.
        celsius_sum: float64: sum of samples, each the hottest sensor of its moment.
        celsius_count: int64.
        celsius_max: float64, NaN without samples.
        throttled: int64: thermal samples that told of throttling.
        throttle_samples: int64: thermal samples that could have.
        cpu_ratio_sum: float64.
        cpu_ratio_count: int64.
        rss_max: float64 bytes, the agent's resident memory; NaN without samples.
        starts: int64: runs of the agent that began in the window.
        gaps: int64: messages that are known to be missing by their numbers.
    """

    axes: tuple[str, ...]
    keys: tuple[NDArray[np.generic], ...]
    level: Level
    devices: NDArray[np.int64]
    main_devices: NDArray[np.int64]
    covered_seconds: NDArray[np.float64]
    device_seconds: NDArray[np.float64]
    inferences: NDArray[np.int64]
    errors: NDArray[np.int64]
    dropped: NDArray[np.int64]
    latency_count: NDArray[np.int64]
    latency_sum: NDArray[np.float64]
    latency_min: NDArray[np.float64]
    latency_max: NDArray[np.float64]
    hist: Histograms
    energy_joules: NDArray[np.float64]
    energy_inferences: NDArray[np.int64]
    watts_sum: NDArray[np.float64]
    watts_count: NDArray[np.int64]
    celsius_sum: NDArray[np.float64]
    celsius_count: NDArray[np.int64]
    celsius_max: NDArray[np.float64]
    throttled: NDArray[np.int64]
    throttle_samples: NDArray[np.int64]
    cpu_ratio_sum: NDArray[np.float64]
    cpu_ratio_count: NDArray[np.int64]
    rss_max: NDArray[np.float64]
    starts: NDArray[np.int64]
    gaps: NDArray[np.int64]

    @property
    def heard_seconds(self) -> NDArray[np.float64]:
        """Time that inference was heard of: by artifact each model's, else each device's, however many models it runs."""
        if "artifact" in self.axes:
            return self.covered_seconds
        return np.where(self.device_seconds > 0, self.device_seconds, self.covered_seconds)

    def key(self, axis: str) -> NDArray[np.generic]:
        """Return the array of one axis."""
        return self.keys[self.axes.index(axis)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTable:
    """What models gave, counted by axes: how often each index was the largest, and how sure it was.

    Attributes:
        axes: As in `WindowTable`, of ``time``, ``device``, ``artifact``.
        keys: One array each.
        name: Output name, object.
        top_index: int64; -1 where an output has no largest (a summary).
        count: int64.
        confidence: int64[rows, 20]: counts of `top_value` in twentieths of [0, 1]; values outside count at the ends.
    """

    axes: tuple[str, ...]
    keys: tuple[NDArray[np.generic], ...]
    name: NDArray[np.object_]
    top_index: NDArray[np.int64]
    count: NDArray[np.int64]
    confidence: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTable:
    """What models' inputs looked like in the frames that devices sampled, in real units, merged by axes.

    Attributes:
        axes: As in `OutputTable`.
        keys: One array each.
        name: Name of the input in the float model, object.
        frames: int64: sampled frames.
        values: int64: values that were looked at.
        mean: float64.
        deviation: float64: standard deviation.
        minimum: float64.
        maximum: float64.
        saturated: float64: share of values at either end of the payload's integers; NaN where it has none.
        buckets: int64[rows, 129]: counts of values, ascending: of `InputSketch` negative, 0, positive.
    """

    axes: tuple[str, ...]
    keys: tuple[NDArray[np.generic], ...]
    name: NDArray[np.object_]
    frames: NDArray[np.int64]
    values: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    saturated: NDArray[np.float64]
    buckets: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is known of one device.

    Attributes:
        device: Device id.
        first_received: Unix time of its first message, by this machine's clock.
        last_received: Of its last that was not retained; NaN when all were.
        status: Latest health status; empty when never told.
        reason: Why, as told.
        artifact: Digest that it ran last; None when none.
        labels: From its latest birth (``target``, ``engine``, ``engine_version``, ``model_name``, ``model_version``,
            ``agent_version``, and the texts of ``host``) and those that users gave, which win.
        clock_note: What a reader of its times must know; empty when nothing.
        missing: Messages that are known to be missing by their numbers.
    """

    device: str
    first_received: float
    last_received: float
    status: str
    reason: str
    artifact: str | None
    labels: tuple[tuple[str, str], ...]
    clock_note: str
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event, health change or alarm, at its repaired time (Unix seconds)."""

    device: str
    time: float
    artifact: str | None
    kind: Literal["event", "health", "alarm"]
    name: str
    severity: str
    text: str
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSeries:
    """One sensor of one device over time; times ascend (float64 Unix seconds), values are float64 in the name's unit."""

    device: str
    name: str
    source: str
    scope: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message that was not understood."""

    received: float
    topic: str
    payload: bytes
    payload_bytes: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a batch.

    Attributes:
        messages: New messages.
        duplicates: Messages that were there already.
        dead_letters: Messages that were not understood.
    """

    messages: int
    duplicates: int
    dead_letters: int


def check_axes(axes: Sequence[str]) -> tuple[str, ...]:
    """Return what windows are told apart by, when each is known and none stands twice.

    ``time``, ``device``, ``artifact``, or ``label:<key>`` for a label of the device, such as ``label:target``.

    Raises:
        ValueError: Another one.
    """
    checked = tuple(axes)
    for axis in checked:
        if axis not in ("time", "device", "artifact") and not (axis.startswith("label:") and axis[6:]):
            raise ValueError(f"axis: expected time, device, artifact or label:<key>, got {axis!r}")
    if len(set(checked)) != len(checked):
        raise ValueError(f"axes: each at most once, got {', '.join(checked)}")
    return checked
