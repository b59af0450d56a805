"""An answer of the page as a table: CSV for people and spreadsheets, Parquet for programs.

Column names have their units. In CSV, texts that a spreadsheet would run as a formula are led by an apostrophe: a label is
whatever its device says.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from host_tools.errors import InputError
from host_tools.spreadsheet_text import as_spreadsheet_text

if TYPE_CHECKING:
    from host_tools.review.serve.answers import RankingAnswer, TimelineAnswer

TABLE_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
"""Media types by the ending of a file's name."""
_MEASURES = {
    "devices": "devices",
    "inferences": "inferences",
    "errors": "errors",
    "dropped": "dropped_frames",
    "latency_p50": "latency_p50_seconds",
    "latency_p95": "latency_p95_seconds",
    "latency_p99": "latency_p99_seconds",
    "latency_max": "latency_max_seconds",
    "error_share": "error_ratio",
    "joules": "joules_per_inference",
    "watts": "mean_watts",
    "celsius": "mean_celsius",
    "celsius_max": "max_celsius",
    "throttled_share": "throttled_ratio",
    "cpu_share": "cpu_ratio",
    "starts": "starts",
    "gaps": "missing_messages",
}


def timeline_table(answer: TimelineAnswer) -> pa.Table:
    """Return one row a window and line."""
    parts = []
    for line in answer.lines:
        windows = len(answer.times)
        parts.append(
            pa.table(
                {
                    "time_seconds": answer.times,
                    "window_seconds": np.full(windows, answer.shown.level, np.int64),
                    "artifact": pa.array([line.artifact or ""] * windows, pa.string()),
                    "inferences": line.inferences,
                    "errors": line.errors,
                    "devices": line.devices,
                    **{
                        name: pa.array(values, from_pandas=True)
                        for name, values in (
                            ("latency_p50_seconds", line.p50),
                            ("latency_p95_seconds", line.p95),
                            ("latency_p99_seconds", line.p99),
                            ("joules_per_inference", line.joules),
                            ("mean_watts", line.watts),
                            ("mean_celsius", line.celsius),
                            ("max_celsius", line.celsius_max),
                            ("throttled_ratio", line.throttled_share),
                        )
                    },
                }
            )
        )
    return pa.concat_tables(parts)


def ranking_table(answer: RankingAnswer) -> pa.Table:
    """Return one row a device."""
    rows = answer.rows
    texts = {
        "device": [row.device for row in rows],
        "status": [row.status for row in rows],
        "reason": [row.reason for row in rows],
        "artifact": [row.artifact or "" for row in rows],
        "model": [row.name for row in rows],
    }
    numbers = {
        column: [None if row.measures is None else getattr(row.measures, field) for row in rows]
        for field, column in _MEASURES.items()
        if field != "devices"
    }
    whole = {"inferences", "errors", "dropped_frames", "starts", "missing_messages"}
    return pa.table(
        {
            **{name: pa.array(values, pa.string()) for name, values in texts.items()},
            "last_received_seconds": pa.array(
                [row.last_received for row in rows], pa.float64(), from_pandas=True
            ),
            **{
                name: pa.array(values, pa.int64() if name in whole else pa.float64())
                for name, values in numbers.items()
            },
        }
    )


def table_bytes(table: pa.Table, kind: str) -> bytes:
    """Return a table as a file.

    Raises:
        InputError: The kind is not one of `TABLE_TYPES`.
    """
    if kind not in TABLE_TYPES:
        raise InputError(f"export: expected one of {', '.join(TABLE_TYPES)}, got {kind[:20]!r}.")
    sink = io.BytesIO()
    if kind == "parquet":
        pyarrow.parquet.write_table(table, sink, compression="zstd")
    else:
        pyarrow.csv.write_csv(_for_spreadsheets(table), sink)
    return sink.getvalue()


def _for_spreadsheets(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = [as_spreadsheet_text(text) for text in table.column(place).to_pylist()]
            table = table.set_column(place, field.name, pa.array(cells, pa.string()))
    return table
