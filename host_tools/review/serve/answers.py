"""What the page is told: one frozen type a view; NumPy arrays become JSON lists, NaN becomes null.

Times are Unix seconds; everything else is in base units (seconds, watts, joules, °C, shares from 0 to 1). Texts that
came from devices are `harmless` to show; they are still only texts, and the page puts them nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Which time an answer is of.

    Attributes:
        start: Start of the first window.
        end: End of the last window.
        level: Seconds of a window.
        newest: When the newest message of the whole store came.
    """

    start: float
    end: float
    level: int
    newest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What windows say together; None (or null) is what nobody measured.

    Attributes:
        devices: Devices that have something.
        inferences: Inferences that gave a result.
        errors: Inferences that failed.
        dropped: Frames that were not inferred.
        latency_p50: Seconds, like the next three, of merged histograms.
        latency_p95: 95th percentile.
        latency_p99: 99th percentile.
        latency_max: Longest.
        error_share: Of all that were begun.
        joules: An inference.
        watts: Mean.
        celsius: Mean of the hottest sensors.
        celsius_max: Hottest.
        throttled_share: Of the thermal samples that could tell.
        cpu_share: Mean.
        starts: Runs of the agent that began.
        gaps: Messages that are known to be missing.
    """

    devices: int
    inferences: int
    errors: int
    dropped: int
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    latency_max: float | None
    error_share: float | None
    joules: float | None
    watts: float | None
    celsius: float | None
    celsius_max: float | None
    throttled_share: float | None
    cpu_share: float | None
    starts: int
    gaps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRow:
    """One artifact in the time shown; ``artifact`` is None for windows in which none ran."""

    artifact: str | None
    name: str
    measures: Measures


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterRow:
    """One message that was not understood, and why; ``received`` in Unix seconds."""

    received: float
    topic: str
    reason: str
    payload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAnswer:
    """The fleet at a glance.

    Attributes:
        shown: The time.
        statuses: How many devices have each status; a device that was not heard for five minutes before the newest
            message counts as ``silent``, whatever it said last.
        total: All artifacts together.
        artifacts: Most inferences first.
        labels: Keys by which the devices of the store can be told apart, with how many values each has.
        label_values: The values of those that have few, to choose from.
        dead_letters: How many messages were not understood; a hundred means a hundred or more.
        latest_dead_letters: The latest twenty of them.
    """

    shown: Shown
    statuses: Mapping[str, int]
    total: Measures
    artifacts: Sequence[ArtifactRow]
    labels: Mapping[str, int]
    label_values: Mapping[str, Sequence[str]]
    dead_letters: int
    latest_dead_letters: Sequence[DeadLetterRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Devices that share a label's value; ``inner`` is the second label's."""

    value: str
    inner: str | None
    devices: int
    statuses: Mapping[str, int]
    measures: Measures


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsAnswer:
    """The map of groups: largest first, at most 400; ``left_out`` says how many more there are."""

    shown: Shown
    by: str
    inner: str | None
    groups: Sequence[Group]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """One artifact's (or everything's) measures over time, one value a window; float64 with NaN, or int64.

    Attributes:
        artifact: Digest; None when all are together.
        name: Model and version, or a short digest.
        heat: int64[bins, windows]: latencies by bin of `TimelineAnswer.edges`.
    """

    artifact: str | None
    name: str
    heat: NDArray[np.int64]
    p50: NDArray[np.float64]
    p95: NDArray[np.float64]
    p99: NDArray[np.float64]
    inferences: NDArray[np.int64]
    errors: NDArray[np.int64]
    devices: NDArray[np.int64]
    watts: NDArray[np.float64]
    joules: NDArray[np.float64]
    celsius: NDArray[np.float64]
    celsius_max: NDArray[np.float64]
    throttled_share: NDArray[np.float64]
    total: Measures


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLine:
    """How many devices ran one artifact, window by window: how a rollout goes."""

    artifact: str | None
    name: str
    devices: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """Something that happened, ``count`` times in this window.

    Attributes:
        time: Start of the window, or the moment when there is one only.
        name: Event's name, or ``first_seen`` of an artifact.
        severity: The gravest.
        count: How often.
        text: One of them.
        device: Of which device, when of one.
    """

    time: float
    name: str
    severity: str
    count: int
    text: str
    device: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineAnswer:
    """Latency, power, temperature and throttling on one axis of time.

    Attributes:
        shown: The time.
        times: int64[windows]: start of each window.
        edges: float64[bins + 1]: bounds of the heat map's bins in seconds.
        lines: One, or as many as artifacts were asked for.
        rollout: Devices by artifact, those with most first.
        markers: Events, oldest first.
        markers_left_out: Whether there were more events than are read for one view.
    """

    shown: Shown
    times: NDArray[np.int64]
    edges: NDArray[np.float64]
    lines: Sequence[Lines]
    rollout: Sequence[ShareLine]
    markers: Sequence[Marker]
    markers_left_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """One device of the ranking."""

    device: str
    status: str
    reason: str
    last_received: float
    artifact: str | None
    name: str
    labels: Mapping[str, str]
    measures: Measures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingAnswer:
    """A page of the devices in an order; ``count`` is how many there are on all pages."""

    shown: Shown
    sort: str
    is_descending: bool
    page: int
    page_size: int
    count: int
    rows: Sequence[DeviceRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLine:
    """One sensor over time."""

    name: str
    source: str
    scope: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event, change of health or alarm."""

    time: float
    device: str
    kind: str
    name: str
    severity: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRow:
    """One input of a device's models in the second half of the time shown, beside the first; real units.

    ``stability`` is the population stability index between the two and ``distance`` the largest distance of their cumulated
    shares; None where the first half told nothing.
    """

    name: str
    frames: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    saturated: float | None
    mean_before: float | None
    stability: float | None
    distance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAnswer:
    """All that is known of one device but its timeline, which `TimelineAnswer` has."""

    shown: Shown
    row: DeviceRow
    first_received: float
    clock_note: str
    missing: int
    artifacts: Sequence[ArtifactRow]
    readings: Sequence[ReadingLine]
    inputs: Sequence[InputRow]
    events: Sequence[EventRow]
