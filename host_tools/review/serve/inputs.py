"""What a device's models were shown: each input in the second half of the time shown, beside the first."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis.output_drift import psi
from host_tools.review.serve.answers import InputRow
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import InputTable, Level, Selection

_MOST_INPUTS = 64


def input_rows(store: TelemetryStore, selection: Selection, level: Level) -> list[InputRow]:
    """Return the inputs that were told of, by name."""
    middle = (selection.start + selection.end) / 2
    middle -= middle % level.seconds
    first = store.inputs(replace(selection, end=middle), level=level, by=())
    second = store.inputs(replace(selection, start=middle), level=level, by=())
    before = {name: row for row, name in enumerate(first.name.tolist())}
    return [
        _row(second, row, first, before.get(name))
        for row, name in enumerate(second.name.tolist()[:_MOST_INPUTS])
    ]


def _row(now: InputTable, row: int, before: InputTable, other: int | None) -> InputRow:
    saturated = float(now.saturated[row])
    distance = stability = mean = None
    if other is not None:
        old, new = (one / one.sum() for one in (before.buckets[other], now.buckets[row]))
        told = (before.buckets[other] + now.buckets[row]) > 0
        stability = float(psi(before.buckets[other][told], now.buckets[row][told]))
        distance, mean = float(np.abs(np.cumsum(new - old)).max()), float(before.mean[other])
    return InputRow(
        name=harmless(str(now.name[row])),
        frames=int(now.frames[row]),
        mean=float(now.mean[row]),
        deviation=float(now.deviation[row]),
        minimum=float(now.minimum[row]),
        maximum=float(now.maximum[row]),
        saturated=saturated if math.isfinite(saturated) else None,
        mean_before=mean,
        stability=stability,
        distance=distance,
    )
