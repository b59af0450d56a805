"""From statistics to the range that is quantized, by method. Pure; every method reads the same statistics.

Ranges always contain 0, so that padding and Relu are exact.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from host_tools.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from host_tools.observe.statistics import Histogram, Method, TensorStatistics
    from targets.profile import ZeroPointRule

    FloatArray = NDArray[np.float64]
    Losses = Callable[[FloatArray, FloatArray, FloatArray, FloatArray, int], FloatArray]

DEFAULT_PERCENTILE: Final = 99.99
_CLIPS: Final = np.linspace(0.02, 1.0, 99)
"""Shares of the full range that the searches try as its clipped end."""
_GRID: Final = np.linspace(1.0 / 16.0, 1.0, 16)
"""Shares of either end that `search` tries together before it looks closer around the best."""
_CLOSER: Final = (1.0 / 64.0, 1.0 / 256.0)
"""How far apart the shares are when it does; eight more on each side."""
_TIE: Final = 1e-12
"""Of two ranges that are as similar as this the wider one is taken: similarity does not see a common factor."""
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
    zero_point: ZeroPointRule,
    percentile: float | None = None,
) -> Range:
    """Choose the range of one tensor.

    ``mse`` and ``cosine`` search one clip where the target is symmetric, else one end after the other; that is all there is for symmetric
    targets. ``search`` looks at both ends together, and where the target has its zero at the lowest or the middle code, at both schemes as
    they will be: it may give up what little is negative for all codes on the positive side.

    Args:
        seen: What was observed.
        method: ``minmax`` and ``moving_average`` need ranges only, the others a histogram.
        levels: How many codes there are, e.g. 256.
        zero_point: Where the target may have its zero, see `targets.profile.ActivationRules`.
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
    if method == "entropy":
        return _entropy(values, counts, full, levels)
    if method == "search":
        return _searched(values, counts, full, levels, zero_point)
    losses = _cosine_distances if method == "cosine" else _squared_errors
    return _least_loss(values, counts, full, levels, losses, symmetric=zero_point == "symmetric")


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


def _searched(
    values: FloatArray, counts: FloatArray, full: Range, levels: int, zero_point: ZeroPointRule
) -> Range:
    """Search scheme and clip for the least squared error of what the target will make of the range."""
    if zero_point != "midpoint":
        found = _least_loss(
            values, counts, full, levels, _squared_errors, symmetric=zero_point == "symmetric"
        )
        return found if zero_point == "symmetric" else _both_ends(values, counts, full, levels, found)
    one_sided = _least_loss(values, counts, Range(0.0, full.high), levels, _squared_errors, symmetric=False)
    balanced = _least_loss(values, counts, full, levels, _squared_errors, symmetric=True)
    bound = max(-balanced.low, balanced.high)
    lows, highs = np.array([0.0, -bound]), np.array([one_sided.high, bound])
    errors = _squared_errors(values, counts, lows, highs, levels - 1)
    return one_sided if full.low == 0.0 or errors[0] < errors[1] else balanced


def _both_ends(values: FloatArray, counts: FloatArray, full: Range, levels: int, found: Range) -> Range:
    """Search both ends together, from coarse to fine; what was found already is never lost."""
    if full.low == 0.0 or full.high == 0.0:
        return found
    best = found
    low_shares, high_shares = _GRID, _GRID
    for step in (*_CLOSER, 0.0):
        lows, highs = np.meshgrid(full.low * low_shares, full.high * high_shares, indexing="ij")
        best = _best(
            values,
            counts,
            np.append(best.low, lows),
            np.append(best.high, highs),
            levels - 1,
            _squared_errors,
        )
        near = step * np.arange(-8, 9)
        low_shares = np.clip(best.low / full.low + near, 0.0, 1.0)
        high_shares = np.clip(best.high / full.high + near, 0.0, 1.0)
    return best


def _least_loss(
    values: FloatArray, counts: FloatArray, full: Range, levels: int, losses: Losses, *, symmetric: bool
) -> Range:
    """Search the clip that loses least: both ends by one share when symmetric, else one end after the other."""
    if symmetric:
        bound = max(-full.low, full.high)
        best = _best(values, counts, -bound * _CLIPS, bound * _CLIPS, levels - 1, losses)
        return Range(max(best.low, full.low), min(best.high, full.high))
    best = full
    for _ in range(2):
        before = best
        best = _best(values, counts, np.full_like(_CLIPS, best.low), full.high * _CLIPS, levels - 1, losses)
        if full.low == 0.0:
            break  # one end is all there is
        best = _best(values, counts, full.low * _CLIPS, np.full_like(_CLIPS, best.high), levels - 1, losses)
        if best.low == before.low:
            break  # the search would only find the same again
    return best


def _best(
    values: FloatArray, counts: FloatArray, lows: FloatArray, highs: FloatArray, steps: int, losses: Losses
) -> Range:
    """Return the first range of least loss; lows and highs have shape (ranges,)."""
    at = int(np.argmin(losses(values, counts, lows, highs, steps)))
    return Range(float(lows[at]), float(highs[at]))


def _squared_errors(
    values: FloatArray, counts: FloatArray, lows: FloatArray, highs: FloatArray, steps: int
) -> FloatArray:
    """Return the squared error of rounding ``values`` in each range, shape (ranges,)."""
    errors = np.empty_like(lows)
    for rows, work in _quantized(values, lows, highs, steps):
        np.subtract(values, work, out=work)
        np.square(work, out=work)
        np.multiply(work, counts, out=work)
        errors[rows] = work.sum(axis=1)
    return errors


def _cosine_distances(
    values: FloatArray, counts: FloatArray, lows: FloatArray, highs: FloatArray, steps: int
) -> FloatArray:
    """Return 1 minus the cosine of the angle between ``values`` and what rounding in each range makes of them, shape (ranges,)."""
    weighted = counts * values
    power = np.sum(weighted * values)
    distances = np.empty_like(lows)
    for rows, work in _quantized(values, lows, highs, steps):
        products = (work * weighted).sum(axis=1)
        np.square(work, out=work)
        np.multiply(work, counts, out=work)
        lengths = np.sqrt(power * work.sum(axis=1))
        distances[rows] = 1.0 - np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0.0)
    widest = max(float((highs - lows).max()), np.finfo(np.float64).tiny)
    distances -= _TIE * (highs - lows) / widest
    return distances


def _quantized(
    values: FloatArray, lows: FloatArray, highs: FloatArray, steps: int
) -> Iterator[tuple[slice, FloatArray]]:
    """Yield what rounding makes of ``values``, shape (rows, n), a few ranges at a time: all at once would not stay in the cache.

    A range without a width makes everything 0.
    """
    scales = (highs - lows) / steps
    empty = scales <= 0.0
    scales = np.where(empty, 1.0, scales)
    offsets = np.rint(-lows / scales)
    count = max(1, _WORKSPACE // len(values))
    for start in range(0, len(scales), count):
        rows = slice(start, start + count)
        scale, offset = scales[rows, None], offsets[rows, None]
        work = values / scale
        np.rint(work, out=work)
        np.clip(work, -offset, steps - offset, out=work)
        work *= scale
        work[empty[rows]] = 0.0
        yield rows, work


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
