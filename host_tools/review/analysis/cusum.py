"""Whether a series changed its mean, where, and how sure that is, when its values remember the ones before.

The statistic is the largest excursion of the cumulated sums (CUSUM) by the long-run standard deviation; where nothing
changed it is the largest excursion of a Brownian bridge, whose distribution is Kolmogorov's. The long-run deviation is that
of a first-order autoregression fitted to what is left when the best single change is taken out: otherwise the change
itself would be taken for noise and hide. Several changes are found by binary segmentation over the whole, its halves and
its quarters, so that what went up and came back is found too: the surest first, then each side.

Source: Robbins, Gallagher, Lund and Aue, "Mean shift testing in correlated data", J. Time Ser. Anal. 32 (2011); Scott
and Knott, Biometrics 30 (1974), binary segmentation; Kovács, Bühlmann, Li and Munk, Biometrika 110 (2023), over parts;
Marriott and Pope, Biometrika 41 (1954), the bias of the autocorrelation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_WINDOWS = 48
"""A shorter series is not looked at."""
_LEAST_SIDE = 6
_MOST_REMEMBERED = 0.97
_DOUBT = 1.0
"""Standard errors by which the autocorrelation is taken to be larger than it looks: short series look as if they forgot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One change of mean.

    Attributes:
        place: Index of the first value after it.
        change: Mean after less mean before.
        error: Its standard error.
        p_value: Of no change in the stretch that it was found in.
    """

    place: int
    change: float
    error: float
    p_value: float


def one_shift_each(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Look for one change in each row.

    Args:
        values: float64[rows, times]; NaN counts as the row's mean on that side, that is, says nothing.

    Returns:
        Of each row: first index after the change, change, its standard error, p-value; p is NaN for rows that are too short.
    """
    rows, length = values.shape
    nothing = np.full(rows, np.nan)
    if length < MIN_WINDOWS:
        return np.zeros(rows, dtype=np.int64), nothing, nothing.copy(), nothing.copy()
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    enough = counts >= MIN_WINDOWS
    filled = np.where(known, values, 0.0)
    total = filled.sum(axis=1)
    mean = total / np.maximum(counts, 1)
    sums = np.cumsum(np.where(known, values - mean[:, None], 0.0), axis=1)
    left = np.cumsum(known, axis=1)
    right = counts[:, None] - left
    allowed = (left >= _LEAST_SIDE) & (right >= _LEAST_SIDE)
    place = np.argmax(np.where(allowed, np.abs(sums), -1.0), axis=1)
    row = np.arange(rows)
    n_left, n_right = left[row, place], np.maximum(right[row, place], 1)
    sum_left = np.cumsum(filled, axis=1)[row, place]
    mean_left = sum_left / np.maximum(n_left, 1)
    mean_right = (total - sum_left) / n_right
    after = np.arange(length)[None, :] > place[:, None]
    residuals = np.where(known, values - np.where(after, mean_right[:, None], mean_left[:, None]), 0.0)
    deviation = _long_run_deviation(residuals, known, counts)
    excursion = np.abs(sums[row, place])
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = excursion / (deviation * np.sqrt(counts))
    statistic = np.where(excursion <= 1e-12 * np.abs(filled).sum(axis=1), 0.0, statistic)
    p_values = np.where(
        enough & allowed.any(axis=1), special.kolmogorov(np.nan_to_num(statistic, posinf=1e3)), np.nan
    )
    error = deviation * np.sqrt(1 / np.maximum(n_left, 1) + 1 / n_right)
    return place + 1, mean_right - mean_left, error, p_values


def shifts(values: NDArray[np.float64], *, alpha: float, most: int = 8) -> list[Shift]:
    """Return all changes of one series that are found at level ``alpha``, by place.

    Args:
        values: float64[times]; NaN says nothing.
        alpha: Chance of any change being found where there is none, shared out over what is looked at.
        most: How many at most.
    """
    found: list[Shift] = []
    waiting = [(0, len(values))]
    while waiting and len(found) < most:
        start, end = waiting.pop()
        shift = _surest(values[start:end])
        if shift is None or not shift.p_value < alpha:
            continue
        place = start + shift.place
        found.append(Shift(place=place, change=shift.change, error=shift.error, p_value=shift.p_value))
        waiting += [(start, place), (place, end)]
    return _measured_again(values, sorted(found, key=lambda one: one.place))


def _surest(values: NDArray[np.float64]) -> Shift | None:
    """The surest change in a stretch or in parts of it, its p-value corrected for how many parts were looked at.

    A value that went up and came back is no single change of the whole; of a part it is.
    """
    length = len(values)
    parts = [(0, length)]
    for divisor in (2, 4):
        size = length // divisor
        if size >= 2 * MIN_WINDOWS:  # a shorter part that remembers looks as if it changed too often
            parts += [(at, at + size) for at in range(0, length - size + 1, max(1, size // 2))]
    best: Shift | None = None
    surest = (0.0, 0.0)
    for start, end in parts:
        place, change, error, p_value = (float(one[0]) for one in one_shift_each(values[None, start:end]))
        if np.isnan(p_value):
            continue
        sure = (-p_value, abs(change) / error if error > 0 else np.inf)
        if best is None or sure > surest:
            surest = sure
            corrected = min(1.0, p_value * len(parts))
            best = Shift(place=start + int(place), change=change, error=error, p_value=corrected)
    return best


def _measured_again(values: NDArray[np.float64], found: list[Shift]) -> list[Shift]:
    """Take each change's size from the stretches next to it only."""
    bounds = [0, *(one.place for one in found), len(values)]
    again = []
    for number, one in enumerate(found):
        before = values[bounds[number] : one.place]
        after = values[one.place : bounds[number + 2]]
        if np.isfinite(before).any() and np.isfinite(after).any():
            change = float(np.nanmean(after) - np.nanmean(before))
            again.append(Shift(place=one.place, change=change, error=one.error, p_value=one.p_value))
    return again


def long_run(residuals: NDArray[np.float64]) -> tuple[float, float]:
    """Return the long-run standard deviation of one series whose mean is 0, and how many independent values it is worth."""
    known = np.ones((1, len(residuals)), dtype=bool)
    counts = np.array([len(residuals)])
    deviation = float(_long_run_deviation(residuals[None, :], known, counts)[0])
    spread = float(np.sqrt(np.sum(residuals**2) / max(len(residuals) - 2, 1)))
    return deviation, len(residuals) * (spread / deviation) ** 2 if deviation > 0 else float(len(residuals))


def _long_run_deviation(
    residuals: NDArray[np.float64], known: NDArray[np.bool_], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Standard deviation of the mean times the square root of the count, by a first-order autoregression."""
    pairs = known[:, 1:] & known[:, :-1]
    products = np.where(pairs, residuals[:, 1:] * residuals[:, :-1], 0.0).sum(axis=1)
    squares = (residuals**2).sum(axis=1)
    some = np.maximum(pairs.sum(axis=1), 1)
    variance = squares / np.maximum(counts - 2, 1)
    keeps = np.divide(products / some, variance, out=np.zeros_like(products), where=variance > 0)
    doubt = _DOUBT * np.sqrt(np.maximum(1 - keeps**2, 0.0) / np.maximum(counts, 1))
    keeps = np.clip(keeps + (1 + 4 * keeps) / np.maximum(counts, 1) + doubt, 0.0, _MOST_REMEMBERED)
    return np.asarray(np.sqrt(variance * (1 + keeps) / (1 - keeps)))
