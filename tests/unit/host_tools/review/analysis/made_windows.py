"""Tables of windows with what a test wants to know of them, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_tools.review.analysis.regroup import COLUMNS
from host_tools.review.store.windows import Histograms, Level, WindowTable

SCALE = 5


def histograms(rows: list[np.ndarray]) -> Histograms:
    """Histograms of raw values, counted as the agent does."""
    indices, counts, offsets, zeros = [], [], [0], []
    for values in rows:
        positive = np.asarray(values)[np.asarray(values) > 0]
        found, count = np.unique(
            np.ceil(np.log2(positive) * 2**SCALE).astype(np.int64) - 1, return_counts=True
        )
        indices.append(found)
        counts.append(count)
        offsets.append(offsets[-1] + len(found))
        zeros.append(len(values) - len(positive))
    return Histograms(
        scale=SCALE,
        offsets=np.array(offsets, dtype=np.int64),
        indices=np.concatenate(indices).astype(np.int32) if indices else np.zeros(0, np.int32),
        counts=np.concatenate(counts).astype(np.int64) if counts else np.zeros(0, np.int64),
        zero_counts=np.array(zeros, dtype=np.int64),
    )


def table(
    axes: dict[str, list[Any]],
    *,
    level: Level = Level.HOUR,
    latencies: list[np.ndarray] | None = None,
    **columns: Any,
) -> WindowTable:
    """A table with these axes and columns; every other column is 0, or NaN where there is none."""
    rows = len(next(iter(axes.values()))) if axes else 1
    values: dict[str, Any] = {}
    for name, (how, kind) in COLUMNS.items():
        empty = 0 if how == "sum" else np.nan
        values[name] = np.asarray(columns.get(name, np.full(rows, empty)), dtype=kind)
    latencies = latencies if latencies is not None else [np.zeros(0)] * rows
    values["latency_count"] = np.array([len(one) for one in latencies])
    if "inferences" not in columns:
        values["inferences"] = values["latency_count"]
    keys = tuple(np.array(one, dtype=np.int64 if axis == "time" else object) for axis, one in axes.items())
    return WindowTable(
        axes=tuple(axes),
        keys=keys,
        level=level,
        devices=np.ones(rows, np.int64),
        hist=histograms(latencies),
        **values,
    )
