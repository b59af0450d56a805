"""Slopes of many series at once: the median of the slopes of all pairs of values, with its interval and test.

Pairs are taken within runs only, so what a restart resets is no slope.

Source: Theil (1950) and Sen, J. Am. Statist. Assoc. 63 (1968), slope and interval; Mann, Econometrica 13 (1945) and Kendall
(1975), the test; Hirsch, Slack and Smith, Water Resour. Res. 18 (1982), adding the statistic over parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_VALUES = 6
_PAIRS = 3_000_000
"""Most pairs held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """One slope a row; NaN where a row has too few values in one run.

    Attributes:
        slope: Per unit of time.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p_value: Two-sided, of no trend.
        pairs: How many pairs there were.
    """

    slope: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p_value: NDArray[np.float64]
    pairs: NDArray[np.int64]


def slopes(
    times: NDArray[np.float64], values: NDArray[np.float64], runs: NDArray[np.int64] | None = None
) -> Slopes:
    """Estimate the slope of each row.

    Args:
        times: float64[times], ascending.
        values: float64[rows, times]; NaN where there is none.
        runs: int64[rows, times]: pairs of values of different runs are not taken; None: each row is one run.
    """
    rows, length = values.shape
    result = {name: np.full(rows, np.nan) for name in ("slope", "low", "high", "p_value")}
    pairs = np.zeros(rows, dtype=np.int64)
    first, second = np.triu_indices(length, 1)
    if not rows or not len(first):
        return Slopes(**result, pairs=pairs)
    apart = times[second] - times[first]
    step = max(1, _PAIRS // len(first))
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows))
        value = values[part]
        run = np.zeros(value.shape, dtype=np.int64) if runs is None else runs[part]
        rise = value[:, second] - value[:, first]
        rise = np.where(run[:, second] == run[:, first], rise, np.nan)
        known = np.isfinite(rise)
        count = known.sum(axis=1)
        ordered = np.sort(rise / apart, axis=1)
        signs = np.where(known, np.sign(rise), 0.0).sum(axis=1)
        variance = _variance(value, run)
        enough = (count >= MIN_VALUES * (MIN_VALUES - 1) // 2) & (variance > 0)
        z = np.divide(signs - np.sign(signs), np.sqrt(variance), out=np.zeros(len(value)), where=variance > 0)
        reach = 1.959963984540054 * np.sqrt(variance)
        places = np.stack([(count - reach) / 2 - 1, (count - 1) / 2, (count + reach) / 2])
        picked = _at(ordered, places, count)
        for name, row in zip(("low", "slope", "high"), picked, strict=True):
            result[name][part] = np.where(enough, row, np.nan)
        result["p_value"][part] = np.where(enough, 2 * special.ndtr(-np.abs(z)), np.nan)
        pairs[part] = count
    return Slopes(**result, pairs=pairs)


def _variance(values: NDArray[np.float64], runs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Variance of the sum of signs without trend, over runs; ties make it a little smaller, which is left out."""
    known = np.isfinite(values)
    base = runs - runs.min(axis=1, keepdims=True)
    width = int(base.max(initial=0)) + 1
    flat = (np.arange(len(values))[:, None] * width + base)[known]
    n = np.bincount(flat, minlength=len(values) * width).reshape(len(values), width).astype(np.float64)
    return np.asarray((n * (n - 1) * (2 * n + 5) / 18).sum(axis=1))


def _at(
    ordered: NDArray[np.float64], places: NDArray[np.float64], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Values of each row at fractional places among its first ``count``."""
    limit = np.maximum(count - 1, 0)
    place = np.clip(places, 0, limit)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, limit)
    rows = np.arange(len(ordered))
    part = place - low
    below, above = ordered[rows, low], ordered[rows, high]
    return np.asarray(below + (above - below) * part)
