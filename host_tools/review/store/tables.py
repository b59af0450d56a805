"""What ingest writes: one Arrow table per kind of message, and the `Batch` that holds them.

A row has the number of its message, (device, boot_id, seq), which names it once and for all: a store takes a message
that it has already as a duplicate. `time` is what the device said, `received` what this machine's clock said; which of
them counts is for the store to decide once a run's clock is known (`host_tools.review.boot_clock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

TableName = Literal[
    "inference", "reading", "event", "birth", "health", "alarm", "output", "input", "other", "dead_letter"
]

_NUMBERED = (
    pa.field("device", pa.string(), nullable=False),
    pa.field("boot_id", pa.string(), nullable=False),
    pa.field("seq", pa.int64(), nullable=False),
    pa.field("time", pa.float64(), nullable=False),
    pa.field("uptime_seconds", pa.float64(), nullable=False),
    pa.field("clock", pa.string(), nullable=False),
    pa.field("received", pa.float64(), nullable=False),
    pa.field("retained", pa.bool_(), nullable=False),
    pa.field("artifact", pa.string()),
)
# Which of several models, and which side of a split; null where there is only one. Of one run each has totals of its own.
_WHOSE = (pa.field("model", pa.string()), pa.field("variant", pa.string()))

TABLES: Mapping[TableName, pa.Schema] = MappingProxyType(
    {
        # One row a window of inference; the buckets are those of `ExponentialHistogram`, indices ascending.
        "inference": pa.schema(
            [
                *_NUMBERED,
                *_WHOSE,
                pa.field("window_seconds", pa.float64(), nullable=False),
                pa.field("inferences_total", pa.int64(), nullable=False),
                pa.field("errors_total", pa.int64(), nullable=False),
                pa.field("dropped_frames_total", pa.int64(), nullable=False),
                pa.field("latency_count", pa.int64(), nullable=False),
                pa.field("latency_sum_seconds", pa.float64(), nullable=False),
                pa.field("latency_min_seconds", pa.float64()),
                pa.field("latency_max_seconds", pa.float64()),
                pa.field("hist_scale", pa.int8(), nullable=False),
                pa.field("hist_zero_count", pa.int64(), nullable=False),
                pa.field("hist_indices", pa.list_(pa.int32()), nullable=False),
                pa.field("hist_counts", pa.list_(pa.int64()), nullable=False),
            ]
        ),
        # One row a number of a system, thermal or power sample (`kind`). Readings without a value are not there.
        "reading": pa.schema(
            [
                *_NUMBERED,
                pa.field("kind", pa.string(), nullable=False),
                pa.field("name", pa.string(), nullable=False),
                pa.field("value", pa.float64(), nullable=False),
                pa.field("source", pa.string(), nullable=False),
                pa.field("scope", pa.string(), nullable=False),
                pa.field("quality", pa.string(), nullable=False),
            ]
        ),
        # `details` is a JSON object.
        "event": pa.schema(
            [
                *_NUMBERED,
                pa.field("name", pa.string(), nullable=False),
                pa.field("severity", pa.string(), nullable=False),
                pa.field("text", pa.string(), nullable=False),
                pa.field("details", pa.string(), nullable=False),
            ]
        ),
        # `host` is a JSON object, `models` a JSON list: every model and side, where there is more than one.
        "birth": pa.schema(
            [
                *_NUMBERED,
                pa.field("agent_version", pa.string(), nullable=False),
                pa.field("python_version", pa.string(), nullable=False),
                pa.field("engine", pa.string()),
                pa.field("engine_version", pa.string()),
                pa.field("model_name", pa.string()),
                pa.field("model_version", pa.string()),
                pa.field("target", pa.string()),
                pa.field("host", pa.string(), nullable=False),
                pa.field("models", pa.string(), nullable=False),
            ]
        ),
        "health": pa.schema(
            [
                *_NUMBERED,
                pa.field("status", pa.string(), nullable=False),
                pa.field("reason", pa.string(), nullable=False),
            ]
        ),
        # An alarm that is over has severity "cleared"; its message has no number, so boot_id is empty and seq -1, or -2 when the
        # broker may have sent it before.
        "alarm": pa.schema(
            [
                *_NUMBERED,
                pa.field("name", pa.string(), nullable=False),
                pa.field("severity", pa.string(), nullable=False),
                pa.field("text", pa.string(), nullable=False),
            ]
        ),
        # One row an output of a result: the largest value and where, for top-k and raw; the summary's numbers, where told.
        "output": pa.schema(
            [
                *_NUMBERED,
                *_WHOSE,
                pa.field("frame", pa.string(), nullable=False),
                pa.field("latency_seconds", pa.float64(), nullable=False),
                pa.field("name", pa.string(), nullable=False),
                pa.field("top_index", pa.int64()),
                pa.field("top_value", pa.float64()),
                pa.field("minimum", pa.float64()),
                pa.field("maximum", pa.float64()),
                pa.field("mean", pa.float64()),
            ]
        ),
        # One row an input of a window: `places` count buckets from that of 0, negative ones downwards.
        "input": pa.schema(
            [
                *_NUMBERED,
                *_WHOSE,
                pa.field("name", pa.string(), nullable=False),
                pa.field("frame_count", pa.int64(), nullable=False),
                pa.field("value_count", pa.int64(), nullable=False),
                pa.field("mean", pa.float64(), nullable=False),
                pa.field("deviation", pa.float64(), nullable=False),
                pa.field("minimum", pa.float64(), nullable=False),
                pa.field("maximum", pa.float64(), nullable=False),
                pa.field("saturated_ratio", pa.float64()),
                pa.field("places", pa.list_(pa.int32()), nullable=False),
                pa.field("counts", pa.list_(pa.int64()), nullable=False),
            ]
        ),
        # Messages with a number that nothing else is kept of (command states, twins): so that no number seems missing.
        "other": pa.schema([*_NUMBERED]),
        # What was not understood, as it came (at most 64 KiB of it), with the reason.
        "dead_letter": pa.schema(
            [
                pa.field("received", pa.float64(), nullable=False),
                pa.field("topic", pa.string(), nullable=False),
                pa.field("payload", pa.binary(), nullable=False),
                pa.field("payload_bytes", pa.int64(), nullable=False),
                pa.field("reason", pa.string(), nullable=False),
            ]
        ),
    }
)
"""Schemas by table. Times are Unix seconds, everything else as in `device_agent.contract.telemetry`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Messages in the order of arrival, by table; what a store commits as a whole or not at all.

    Attributes:
        rows: A record batch with the schema of `TABLES`, for each table that has rows.
    """

    rows: Mapping[TableName, pa.RecordBatch]

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))
