"""Columns of a `WindowTable` as the numbers that people ask for. Pure arithmetic; nothing measured becomes None, never 0."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.review.analysis.percentiles import merge, quantiles
from host_tools.review.analysis.regroup import COLUMNS
from host_tools.review.serve.answers import Lines, Measures
from host_tools.review.store.windows import WindowTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = (0.50, 0.95, 0.99)
_NOTHING = Measures(
    devices=0, inferences=0, errors=0, dropped=0, latency_p50=None, latency_p95=None, latency_p99=None,
    latency_max=None, error_share=None, joules=None, watts=None, celsius=None, celsius_max=None,
    throttled_share=None, cpu_share=None, starts=0, gaps=0,
)  # fmt: skip


def merged(table: WindowTable, groups: NDArray[np.int64], count: int) -> WindowTable:
    """Return a table of ``count`` rows without axes: rows of one group added up, extremes kept.

    ``devices`` is added up too: a device that is in two rows of a group counts twice.

    Args:
        table: One row each.
        groups: int64[rows]: the row that it goes into; a negative one is left out.
        count: Number of rows of the result.
    """
    kept = groups >= 0
    owner = groups[kept]
    columns: dict[str, Any] = {}
    for name, (how, kind) in {"devices": ("sum", np.int64), **COLUMNS}.items():
        values = getattr(table, name)[kept]
        result = np.zeros(count, kind) if how == "sum" else np.full(count, np.nan)
        {"sum": np.add, "least": np.fmin, "most": np.fmax}[how].at(result, owner, values)
        columns[name] = result
    return WindowTable(axes=(), keys=(), level=table.level, hist=merge(table.hist, groups, count), **columns)


def total_of(table: WindowTable | None, *, devices: int | None = None) -> Measures:
    """Return all rows together; None is an empty table.

    Args:
        table: Rows.
        devices: How many devices these are, where rows share some of them; None to add them up.
    """
    if table is None or not len(table.devices):
        return _NOTHING
    whole = measures_of(merged(table, np.zeros(len(table.devices), np.int64), 1))[0]
    if devices is None:
        return whole
    return replace(whole, devices=devices)


def measures_of(table: WindowTable) -> list[Measures]:
    """Return what each row says."""
    latencies = quantiles(table.hist, QUANTILES, lowest=table.latency_min, highest=table.latency_max)
    ratios = ratio_columns(table)
    return [
        Measures(
            devices=int(table.devices[row]),
            inferences=int(table.inferences[row]),
            errors=int(table.errors[row]),
            dropped=int(table.dropped[row]),
            latency_p50=_told(latencies[row, 0]),
            latency_p95=_told(latencies[row, 1]),
            latency_p99=_told(latencies[row, 2]),
            latency_max=_told(table.latency_max[row]),
            celsius_max=_told(table.celsius_max[row]),
            starts=int(table.starts[row]),
            gaps=int(table.gaps[row]),
            **{name: _told(values[row]) for name, values in ratios.items()},
        )
        for row in range(len(table.devices))
    ]


def ratio_columns(table: WindowTable) -> dict[str, NDArray[np.float64]]:
    """Return means and shares of each row, NaN where nothing was measured."""
    return {
        "error_share": _ratio(table.errors, table.errors + table.inferences),
        "joules": _ratio(table.energy_joules, table.energy_inferences),
        "watts": _ratio(table.watts_sum, table.watts_count),
        "celsius": _ratio(table.celsius_sum, table.celsius_count),
        "throttled_share": _ratio(table.throttled, table.throttle_samples),
        "cpu_share": _ratio(table.cpu_ratio_sum, table.cpu_ratio_count),
    }


def texts_of(table: WindowTable, axis: str) -> list[str | None]:
    """Return each row's place on an axis of texts; None where it has none."""
    return [None if value is None else str(value) for value in table.key(axis).tolist()]


def lines_of(table: WindowTable, *, artifact: str | None, name: str, heat: NDArray[np.int64]) -> Lines:
    """Return a table of one row a window as lines over time."""
    latencies, ratios = (
        quantiles(table.hist, QUANTILES, lowest=table.latency_min, highest=table.latency_max),
        ratio_columns(table),
    )
    return Lines(
        artifact=artifact,
        name=name,
        heat=heat,
        p50=latencies[:, 0],
        p95=latencies[:, 1],
        p99=latencies[:, 2],
        inferences=table.inferences,
        errors=table.errors,
        devices=table.devices,
        watts=ratios["watts"],
        joules=ratios["joules"],
        celsius=ratios["celsius"],
        celsius_max=table.celsius_max,
        throttled_share=ratios["throttled_share"],
        total=total_of(table, devices=int(table.devices.max(initial=0))),
    )


def _ratio(sums: NDArray[np.generic], counts: NDArray[np.generic]) -> NDArray[np.float64]:
    over, under = sums.astype(np.float64), counts.astype(np.float64)
    result = np.full(len(over), np.nan)
    np.divide(over, under, out=result, where=under > 0)
    return result


def _told(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
