"""Messages as rows of `host_tools.review.store.tables`: what `fast_rows` does for the common ones, for all of them."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Protocol, TypeAlias

from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    INPUT_BUCKETS,
    InferenceWindow,
    InputWindow,
    PowerSample,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.result import Result, Summary
from device_agent.contract.telemetry.states import Alarm, Birth, CommandState, Health, Reported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.measurements import Reading
    from device_agent.contract.telemetry.message import Envelope, Message
    from device_agent.contract.telemetry.result import Raw, TopK
    from host_tools.review.store.tables import TableName

Row: TypeAlias = tuple[object, ...]
"""What a table has beside the envelope, in the order of its schema."""

SYSTEM_SOURCE = "system"
SYSTEM_NAMES = tuple(
    field.name for field in fields(SystemSample) if field.type in ("int | None", "float | None")
)
"""Numbers of a system sample, in the order of the contract."""
SYSTEM_LATER = frozenset(
    field.name
    for field in fields(SystemSample)
    if field.name in SYSTEM_NAMES and field.default is not MISSING
)
"""Those of a later minor version, which older agents leave out without a reason."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One message: its envelope, the table, and one row or more. A sample of nothing is a row of ``other``."""

    boot_id: str
    seq: int
    time: float
    uptime_seconds: float
    clock: str
    artifact: str | None
    table: TableName
    rows: list[Row]


def rows_of(message: Message, *, name: str) -> Rows:
    """Return the rows of a message that the contract has read.

    Args:
        message: Any message that a device sends.
        name: Last part of its topic: an alarm does not say its own.
    """
    table, rows = _content(message, name)
    return rows_with(message.envelope, table, rows)


def rows_with(envelope: Envelope, table: TableName, rows: list[Row]) -> Rows:
    """Return rows under an envelope."""
    return Rows(
        envelope.boot_id,
        envelope.seq,
        envelope.time,
        envelope.uptime_seconds,
        envelope.clock,
        envelope.artifact,
        table if rows else "other",
        rows or [()],
    )


def system_quality(name: str) -> str:
    """Return the quality of a number of a system sample, which does not say it itself."""
    return "counter" if name.endswith("_total") else "sampled"


def _content(message: Message, name: str) -> tuple[TableName, list[Row]]:
    match message:
        case InferenceWindow():
            return "inference", [_inference(message)]
        case SystemSample():
            return "reading", _system(message)
        case ThermalSample() | PowerSample():
            return "reading", _readings(message.TYPE, message.readings)
        case Result() | InputWindow():
            return _tensors(message)
        case Event():
            details = _json(message.details)
            return "event", [(message.name, message.severity, message.text, details)]
        case Birth():
            return "birth", [_birth(message)]
        case Health():
            return "health", [(message.status, message.reason)]
        case Alarm():
            return "alarm", [(name, message.severity, message.text)]
        case CommandState() | Reported():
            return "other", [()]
        case _:
            raise TypeError(f"no rows are known for {type(message).__name__}")


def _tensors(message: Result | InputWindow) -> tuple[TableName, list[Row]]:
    if isinstance(message, Result):
        return "output", [_output(message, output) for output in message.outputs]
    whose, frames = (message.model, message.variant), message.frame_count
    return "input", [(*whose, *sketch_row(one, frames=frames)) for one in message.inputs]


def _inference(window: InferenceWindow) -> Row:
    hist = window.hist
    indices = sorted(hist.counts)
    return (
        window.model,
        window.variant,
        window.window_seconds,
        window.inferences_total,
        window.errors_total,
        window.dropped_frames_total,
        window.latency_count,
        window.latency_sum_seconds,
        window.latency_min_seconds,
        window.latency_max_seconds,
        hist.scale,
        hist.zero_count,
        indices,
        [hist.counts[index] for index in indices],
    )


class Sketch(Protocol):
    """`InputSketch`, or what the fast way has in its place."""

    @property
    def name(self) -> str: ...  # noqa: D102  all as in the contract
    @property
    def value_count(self) -> float: ...  # noqa: D102
    @property
    def mean(self) -> float: ...  # noqa: D102
    @property
    def deviation(self) -> float: ...  # noqa: D102
    @property
    def minimum(self) -> float: ...  # noqa: D102
    @property
    def maximum(self) -> float: ...  # noqa: D102
    @property
    def saturated_ratio(self) -> float | None: ...  # noqa: D102
    @property
    def zero_count(self) -> float: ...  # noqa: D102
    @property
    def negative(self) -> Mapping[int, float]: ...  # noqa: D102
    @property
    def positive(self) -> Mapping[int, float]: ...  # noqa: D102


def sketch_row(sketch: Sketch, *, frames: float) -> Row:
    """Return the row of an input, without model and variant."""
    first = INPUT_BUCKETS[0]
    counts = {first - 1 - index: count for index, count in sketch.negative.items()}
    if sketch.zero_count:
        counts[0] = sketch.zero_count
    counts |= {1 + index - first: count for index, count in sketch.positive.items()}
    places = sorted(counts)
    return (
        sketch.name,
        frames,
        sketch.value_count,
        sketch.mean,
        sketch.deviation,
        sketch.minimum,
        sketch.maximum,
        sketch.saturated_ratio,
        places,
        [counts[place] for place in places],
    )


def _system(sample: SystemSample) -> list[Row]:
    values = ((name, getattr(sample, name)) for name in SYSTEM_NAMES)
    return [
        (sample.TYPE, name, float(value), SYSTEM_SOURCE, "", system_quality(name))
        for name, value in values
        if value is not None
    ]


def _readings(kind: str, readings: tuple[Reading, ...]) -> list[Row]:
    return [
        (kind, reading.name, reading.value, reading.source, reading.scope, reading.quality)
        for reading in readings
        if reading.value is not None
    ]


def _birth(birth: Birth) -> Row:
    return (
        birth.agent_version,
        birth.python_version,
        birth.engine,
        birth.engine_version,
        birth.model_name,
        birth.model_version,
        birth.target,
        _json(birth.host),
        json.dumps([asdict(one) for one in birth.models], ensure_ascii=False, separators=(",", ":")),
    )


def _output(result: Result, output: TopK | Raw | Summary) -> Row:
    base = (result.model, result.variant, result.frame, result.latency_seconds, output.name)
    if isinstance(output, Summary):
        return (*base, None, None, output.minimum, output.maximum, output.mean)
    largest = max(output.values)
    place = output.values.index(largest)
    indices: tuple[int, ...] | None = getattr(output, "indices", None)
    return (*base, place if indices is None else indices[place], largest, None, None, None)


def _json(values: Mapping[str, object]) -> str:
    return json.dumps(dict(values), ensure_ascii=False, separators=(",", ":"))
