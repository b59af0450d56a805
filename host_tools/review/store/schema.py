"""The tables of a store, told once for every database: columns, what names a row, and what rows are ordered by.

Texts that repeat (device, artifact, run, sensor) are kept once and meant by a key. `moment` is when a message was made,
repaired (`clock_evidence`); what the device said stays beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from host_tools.review.store import window_rows
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 7

Kind = Literal["int8", "int32", "int64", "double", "bool", "text", "int32[]", "int64[]", "double[33]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        columns: Kind by name, none of which may be null.
        key: Columns that name a row once and for all, in the order that suits most questions; empty: rows have no name.
    """

    columns: Mapping[str, Kind]
    key: tuple[str, ...]


_MESSAGE: dict[str, Kind] = {
    "device": "int32",
    "boot": "int64",
    "seq": "int64",
    "artifact": "int32",
    "moment": "double",
    "time": "double",
    "uptime_seconds": "double",
    "received": "double",
}
_WHOSE: dict[str, Kind] = {"model": "text", "variant": "text"}
"""Which of several models, and which side of a split; empty where there is only one."""
_NUMBER_KINDS: dict[str, Kind] = {
    **dict.fromkeys((*window_rows.FLOAT_SUMS, *window_rows.SMALLEST, *window_rows.LARGEST), "double"),
    **dict.fromkeys(window_rows.COUNTS, "int64"),
}
_HIST: dict[str, Kind] = {
    "hist_scale": "int8",
    "hist_zero_count": "int64",
    "hist_indices": "int32[]",
    "hist_counts": "int64[]",
}
_WINDOW: dict[str, Kind] = {**{name: _NUMBER_KINDS[name] for name in window_rows.NUMBERS}, **_HIST}

MESSAGE_TABLES = ("inference", "reading", "event", "birth", "health", "alarm", "output", "input")
"""Tables whose rows are placed in time by `moment`."""


def window_table(level: Level | int) -> str:
    """Return the name of the table of a level's windows by device."""
    return f"window_{level if isinstance(level, int) else level.seconds}"


def fleet_table(level: Level | int) -> str:
    """Return the name of the table of a level's windows by cohort."""
    return f"fleet_{level if isinstance(level, int) else level.seconds}"


TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "setting": Table(columns={"name": "text", "value": "text"}, key=("name",)),
        "artifact": Table(columns={"id": "int32", "name": "text"}, key=("id",)),
        # Names of outputs, and of inputs.
        "output_name": Table(columns={"id": "int32", "name": "text"}, key=("id",)),
        # `name` is the JSON list of kind, name, source, scope and quality.
        "sensor": Table(columns={"id": "int32", "name": "text"}, key=("id",)),
        # What births call an artifact.
        "model_name": Table(
            columns={"artifact": "int32", "model": "text", "model_version": "text"}, key=("artifact",)
        ),
        # Latest health and birth, by time of receipt and number; `birth` is a JSON object of labels.
        "device": Table(
            columns={
                "id": "int32",
                "name": "text",
                "status": "text",
                "reason": "text",
                "status_received": "double",
                "status_seq": "int64",
                "birth": "text",
                "birth_received": "double",
                "birth_seq": "int64",
                "cohort": "int32",
            },
            key=("id",),
        ),
        # Users' own; a device need not have been heard.
        "label": Table(columns={"device": "text", "key": "text", "value": "text"}, key=("device", "key")),
        # Devices that share what fleets are told apart by; `name` is a JSON object of labels.
        "cohort": Table(columns={"id": "int32", "name": "text"}, key=("id",)),
        # One row a run of an agent. `placed_*` is what its rows' `moment` were made with, and
        # `is_moved` tells that more is known by now.
        "boot": Table(
            columns={
                "boot": "int64",
                "device": "int32",
                "boot_id": "text",
                "first_received": "double",
                "last_received": "double",
                "low_uptime": "double",
                "high_uptime": "double",
                "high_seq": "int64",
                "artifact": "int32",
                "cap_seq": "int64",
                "cap": "double",
                "placed_wrong": "bool",
                "placed_start": "double",
                "is_moved": "bool",
                "clock": "double[33]",  # `clock_evidence.WIDTH`
            },
            key=("boot",),
        ),
        # Totals of each stream of windows of a run in the last of its messages that was removed.
        "removed_totals": Table(
            columns={
                "boot": "int64",
                **_WHOSE,
                "seq": "int64",
                "inferences": "int64",
                "errors": "int64",
                "dropped": "int64",
            },
            key=("boot", "model", "variant"),
        ),
        # `closed` numbers of a stretch are missing for good: so many holes a run may not have.
        "heard": Table(
            columns={
                "boot": "int64",
                "first": "int64",
                "last": "int64",
                "time": "double",
                "uptime": "double",
                "artifact": "int32",
                "closed": "int64",
            },
            key=("boot", "first"),
        ),
        # Windows of 10 s whose rows changed since they were rolled up; `level` tells those of fleets, which follow.
        "dirty": Table(columns={"device": "int32", "time": "int64"}, key=("device", "time")),
        "dirty_fleet": Table(columns={"level": "int32", "time": "int64"}, key=("level", "time")),
        "inference": Table(
            columns={
                **_MESSAGE,
                **_WHOSE,
                "window_seconds": "double",
                "inferences_total": "int64",
                "errors_total": "int64",
                "dropped_frames_total": "int64",
                "latency_count": "int64",
                "latency_sum_seconds": "double",
                "latency_min_seconds": "double",
                "latency_max_seconds": "double",
                **_HIST,
            },
            key=("device", "boot", "seq"),
        ),
        "reading": Table(
            columns={**_MESSAGE, "sensor": "int32", "value": "double"},
            key=("device", "boot", "seq", "sensor"),
        ),
        "event": Table(
            columns={**_MESSAGE, "name": "text", "severity": "text", "text": "text", "details": "text"},
            key=("device", "boot", "seq"),
        ),
        "birth": Table(
            columns={**_MESSAGE, "labels": "text", "models": "text"}, key=("device", "boot", "seq")
        ),
        "health": Table(
            columns={**_MESSAGE, "status": "text", "reason": "text"}, key=("device", "boot", "seq")
        ),
        # One that is over has boot -1.
        "alarm": Table(
            columns={**_MESSAGE, "name": "text", "severity": "text", "text": "text"},
            key=("device", "boot", "seq", "name", "received"),
        ),
        "output": Table(
            columns={
                **_MESSAGE,
                **_WHOSE,
                "frame": "text",
                "latency_seconds": "double",
                "output": "int32",
                "top_index": "int64",
                "top_value": "double",
                "minimum": "double",
                "maximum": "double",
                "mean": "double",
            },
            key=("device", "boot", "seq", "output"),
        ),
        "input": Table(
            columns={
                **_MESSAGE,
                **_WHOSE,
                "output": "int32",
                "frame_count": "int64",
                "value_count": "int64",
                "mean": "double",
                "deviation": "double",
                "minimum": "double",
                "maximum": "double",
                "saturated_ratio": "double",
                "places": "int32[]",
                "counts": "int64[]",
            },
            key=("device", "boot", "seq", "output"),
        ),
        # `payload` in base64: no text column of every database holds any bytes.
        "dead_letter": Table(
            columns={
                "received": "double",
                "topic": "text",
                "payload": "text",
                "payload_bytes": "int64",
                "reason": "text",
            },
            key=(),
        ),
        # `part` 0 is made anew from what it was made of; a higher one is what stays when that was removed.
        **{
            window_table(level): Table(
                columns={"device": "int32", "time": "int64", "artifact": "int32", "part": "int32", **_WINDOW},
                key=("device", "time", "artifact", "part"),
            )
            for level in Level
        },
        # `artifact` -1 is all of them, with the devices counted once.
        **{
            fleet_table(level): Table(
                columns={
                    "time": "int64",
                    "cohort": "int32",
                    "artifact": "int32",
                    "devices": "int64",
                    "main_devices": "int64",
                    **_WINDOW,
                },
                key=("time", "cohort", "artifact"),
            )
            for level in Level
        },
    }
)
"""By name."""
