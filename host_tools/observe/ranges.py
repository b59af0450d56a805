"""From statistics to the range that is quantized, by method. Pure; every method reads the same statistics.

Ranges always contain 0, so that padding and Relu are exact.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from host_tools.errors import StatisticsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.observe.statistics import Histogram, Method, TensorStatistics

    FloatArray = NDArray[np.float64]

DEFAULT_PERCENTILE: Final = 99.99
_CLIPS: Final = np.linspace(0.02, 1.0, 99)
"""Shares of the full range that the searches try as its clipped end."""
_POINTS: Final = 4
"""Points within a bin: near the top of a range a bin is half a code wide, and its middle alone would see no rounding error."""
_WORKSPACE: Final = 1 << 15  # numbers: 256 KiB
_KL_BINS: Final = 2048
_KL_START: Final = 128


class Range(NamedTuple):
    """The real values to be told apart; low <= 0 <= high."""

    low: float
    high: float


# Every target asks for the same tensors (compared by identity), mostly with the same number of codes.
@lru_cache(maxsize=1024)
def choose_range(
    seen: TensorStatistics,
    method: Method,
    *,
    levels: int,
    symmetric: bool,
    percentile: float | None = None,
) -> Range:
    """Choose the range of one tensor.

    Args:
        seen: What was observed.
        method: ``minmax`` and ``moving_average`` need ranges only, the others a histogram.
        levels: How many codes there are, e.g. 256.
        symmetric: Whether the range will be made symmetric around 0 by the target.
        percentile: For ``percentile``: share of values, 50 to 100 per cent, that each end keeps; `DEFAULT_PERCENTILE` when None.

    Raises:
        StatisticsError: The method needs a histogram and there is none.

    Source:
        ``entropy``: S. Migacz, "8-bit inference with TensorRT", GTC 2017.
    """
    if method == "minmax":
        return _with_zero(seen.minimum, seen.maximum)
    if method == "moving_average":
        return _with_zero(seen.mean_minimum, seen.mean_maximum)
    if seen.histogram is None:
        raise StatisticsError(
            f"method {method!r} needs histograms, which these statistics lack.",
            hint="Observe with histograms.",
        )
    full = _with_zero(seen.minimum, seen.maximum)
    if full.high == full.low:
        return full
    values, counts = _points(seen.histogram, full)
    if method == "percentile":
        return _percentile(values, counts, full, DEFAULT_PERCENTILE if percentile is None else percentile)
    if method == "mse":
        return _least_error(values, counts, full, levels, symmetric=symmetric)
    return _entropy(values, counts, full, levels)


def _with_zero(low: float, high: float) -> Range:
    return Range(min(low, 0.0), max(high, 0.0))


def _points(histogram: Histogram, full: Range) -> tuple[FloatArray, FloatArray]:
    """Return values spread over each bin and their weights, in rising order, none outside the exact range."""
    bins = histogram.bins.astype(np.uint32)
    low = (bins << 16).view(np.float32).astype(np.float64)
    high = ((bins << 16) | np.uint32(0xFFFF)).view(np.float32).astype(np.float64)
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    values = (low[:, None] + (high - low)[:, None] * steps).reshape(-1)
    counts = np.repeat(histogram.counts / _POINTS, _POINTS)
    order = np.argsort(values, kind="stable")
    return np.clip(values[order], full.low, full.high), counts[order]


def _percentile(values: FloatArray, counts: FloatArray, full: Range, percentile: float) -> Range:
    cumulated = np.cumsum(counts)
    tail = (1.0 - percentile / 100.0) * cumulated[-1]
    high = values[min(int(np.searchsorted(cumulated, cumulated[-1] - tail)), len(values) - 1)]
    low = values[int(np.searchsorted(cumulated, tail, side="right"))] if tail else full.low
    if not tail:
        high = full.high
    return _with_zero(float(max(low, full.low)), float(min(high, full.high)))


def _least_error(
    values: FloatArray, counts: FloatArray, full: Range, levels: int, *, symmetric: bool
) -> Range:
    """Search the clip that leaves the least squared error: both ends together when symmetric, else one end after the other."""
    if symmetric:
        bound = max(-full.low, full.high)
        best = _best(values, counts, -bound * _CLIPS, bound * _CLIPS, levels - 1)
        return Range(max(best.low, full.low), min(best.high, full.high))
    best = full
    for _ in range(2):
        before = best
        best = _best(values, counts, np.full_like(_CLIPS, best.low), full.high * _CLIPS, levels - 1)
        if full.low == 0.0:
            break  # one end is all there is
        best = _best(values, counts, full.low * _CLIPS, np.full_like(_CLIPS, best.high), levels - 1)
        if best.low == before.low:
            break  # the search would only find the same again
    return best


def _best(values: FloatArray, counts: FloatArray, lows: FloatArray, highs: FloatArray, steps: int) -> Range:
    """Return the first range of least squared error; lows and highs have shape (ranges,)."""
    at = int(np.argmin(_squared_errors(values, counts, lows, highs, steps)))
    return Range(float(lows[at]), float(highs[at]))


def _squared_errors(
    values: FloatArray, counts: FloatArray, lows: FloatArray, highs: FloatArray, steps: int
) -> FloatArray:
    """Return the squared error of rounding ``values`` in each range, shape (ranges,)."""
    scales = (highs - lows) / steps
    empty = scales <= 0.0
    scales = np.where(empty, 1.0, scales)
    offsets = np.rint(-lows / scales)
    errors = np.empty_like(scales)
    rows = max(1, _WORKSPACE // len(values))
    for start in range(
        0, len(scales), rows
    ):  # a few ranges at a time: all at once would not stay in the cache
        scale, offset = scales[start : start + rows, None], offsets[start : start + rows, None]
        work = values / scale
        np.rint(work, out=work)
        np.clip(work, -offset, steps - offset, out=work)
        work *= scale
        np.subtract(values, work, out=work)
        np.square(work, out=work)
        work *= counts
        errors[start : start + rows] = work.sum(axis=1)
    errors[empty] = np.sum(counts * values**2)
    return errors


def _entropy(values: FloatArray, counts: FloatArray, full: Range, levels: int) -> Range:
    """Clip each side where the divergence between the clipped distribution and its quantized image is least."""
    magnitudes = np.abs(values)
    top = float(magnitudes.max())
    linear, _ = np.histogram(magnitudes, bins=_KL_BINS, range=(0.0, top), weights=counts)
    linear[0] = (
        0.0 if linear[1:].any() else linear[0]
    )  # zeros have a code of their own and drown everything else
    targets = max(levels // 2 if full.low < 0.0 else levels, 2)
    best_bins, best_divergence = _KL_BINS, np.inf
    for bins in range(max(_KL_START, targets), _KL_BINS + 1, 8):
        divergence = _divergence(linear, bins, targets)
        if divergence < best_divergence:
            best_bins, best_divergence = bins, divergence
    bound = top * best_bins / _KL_BINS
    return Range(max(full.low, -bound), min(full.high, bound))


def _divergence(linear: FloatArray, bins: int, targets: int) -> float:
    reference = linear[:bins].copy()
    reference[-1] += linear[bins:].sum()
    total = reference.sum()
    if total <= 0.0:
        return float("inf")
    inside = linear[:bins]
    group = np.minimum(np.arange(bins) * targets // bins, targets - 1)
    filled = inside > 0
    sums = np.bincount(group, weights=inside, minlength=targets)
    sizes = np.bincount(group, weights=filled, minlength=targets)
    image = np.where(filled, sums[group] / np.maximum(sizes[group], 1.0), 0.0)
    if image.sum() <= 0.0:
        return float("inf")
    p, q = reference / total, image / image.sum()
    missing = (p > 0) & (q <= 0)
    q = np.where(missing, 1e-12, q)
    mask = p > 0
    return float(np.sum(p[mask] * np.log(p[mask] / q[mask])))
