"""What is measured of a device, by name, and how it is had from windows. Higher is worse, but for throughput."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from host_tools.review.analysis import percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from host_tools.review.analysis.findings import Scale
    from host_tools.review.store.windows import WindowTable

MIN_LATENCIES = 100
"""A median of fewer is not compared."""
MIN_TAIL_LATENCIES = 400
"""Nor a p95 of fewer: 20 values lie beyond it."""
MIN_SAMPLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure.

    Attributes:
        name: Lower snake case with its unit, as in `Effect.measure`.
        title: For people.
        unit: UCUM.
        scale: Whether two values are held against each other by their ratio or their difference.
        margin: Worse by less than this does not matter, on that scale.
        worse: 1 when higher is worse, -1 when lower is.
        method: `trimmed` mean of devices, or `plain`, for what nearly all devices have none of.
        values: float64 of each row; NaN where there is too little to say.
        follows_weather: Whether days differ by more than artifacts do: it is judged only against devices that kept A.
    """

    name: str
    title: str
    unit: str
    scale: Scale
    margin: float
    worse: Literal[-1, 1]
    method: Literal["trimmed", "plain"]
    values: Callable[[WindowTable], NDArray[np.float64]]
    follows_weather: bool = False

    def compared(self, after: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the differences to average: of logarithms where the scale is a ratio."""
        if self.scale == "difference":
            return after - before
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((after > 0) & (before > 0), np.log(after) - np.log(before), np.nan)

    def change(self, difference: float) -> float:
        """Return a difference of `compared` as the effect's change."""
        return float(np.expm1(difference)) if self.scale == "ratio" else difference


def _quantile(share: float, least: int) -> Callable[[WindowTable], NDArray[np.float64]]:
    def values(table: WindowTable) -> NDArray[np.float64]:
        found = percentiles.quantiles(
            table.hist, (share,), lowest=table.latency_min, highest=table.latency_max
        )
        return np.where(percentiles.totals(table.hist) >= least, found[:, 0], np.nan)

    return values


def _quotient(over: str, under: str, *, least: float) -> Callable[[WindowTable], NDArray[np.float64]]:
    def values(table: WindowTable) -> NDArray[np.float64]:
        top = np.asarray(getattr(table, over), dtype=np.float64)
        bottom = np.asarray(getattr(table, under), dtype=np.float64)
        return np.asarray(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom >= least))

    return values


def _share_of_frames(part: str) -> Callable[[WindowTable], NDArray[np.float64]]:
    def values(table: WindowTable) -> NDArray[np.float64]:
        some = np.asarray(getattr(table, part), dtype=np.float64)
        frames = some + table.inferences
        return np.asarray(
            np.divide(some, frames, out=np.full(len(some), np.nan), where=frames >= MIN_LATENCIES)
        )

    return values


_ALL = (
    Measure(
        name="latency_p50_seconds",
        title="median latency",
        unit="s",
        scale="ratio",
        margin=0.02,
        worse=1,
        method="trimmed",
        values=_quantile(0.5, MIN_LATENCIES),
    ),
    Measure(
        name="latency_p95_seconds",
        title="p95 latency",
        unit="s",
        scale="ratio",
        margin=0.03,
        worse=1,
        method="trimmed",
        values=_quantile(0.95, MIN_TAIL_LATENCIES),
    ),
    Measure(
        name="energy_per_inference_joules",
        title="energy per inference",
        unit="J",
        scale="ratio",
        margin=0.03,
        worse=1,
        method="trimmed",
        values=_quotient("energy_joules", "energy_inferences", least=MIN_LATENCIES),
    ),
    Measure(
        name="temperature_celsius",
        title="temperature",
        unit="Cel",
        scale="difference",
        margin=1.5,
        worse=1,
        method="trimmed",
        values=_quotient("celsius_sum", "celsius_count", least=MIN_SAMPLES),
        follows_weather=True,
    ),
    Measure(
        name="throttled_ratio",
        title="throttled share of time",
        unit="1",
        scale="difference",
        margin=0.01,
        worse=1,
        method="plain",
        values=_quotient("throttled", "throttle_samples", least=MIN_SAMPLES),
    ),
    Measure(
        name="failure_ratio",
        title="share of inferences that fail",
        unit="1",
        scale="difference",
        margin=0.0005,
        worse=1,
        method="plain",
        values=_share_of_frames("errors"),
    ),
    Measure(
        name="dropped_ratio",
        title="share of frames dropped",
        unit="1",
        scale="difference",
        margin=0.005,
        worse=1,
        method="plain",
        values=_share_of_frames("dropped"),
    ),
    Measure(
        name="inferences_per_second",
        title="throughput",
        unit="{inference}/s",
        scale="ratio",
        margin=0.1,
        worse=-1,
        method="trimmed",
        values=_quotient("inferences", "heard_seconds", least=60.0),
    ),
)
MEASURES: Mapping[str, Measure] = MappingProxyType({one.name: one for one in _ALL})
"""By name, in the order in which a reader asks."""
