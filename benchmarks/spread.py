"""How much a figure can be trusted: medians, quartiles, and the bootstrap for paired ratios and means. Pure, with a fixed seed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

BOOTSTRAP = "95 % bootstrap"
_RESAMPLES = 2_000
_SEED = 20_261_123


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure between the ends of its spread, all in one unit."""

    value: float
    low: float
    high: float


def median_and_range(values: Sequence[float]) -> Estimate:
    """Return the median between the smallest and the largest value.

    Args:
        values: At least one.
    """
    return Estimate(value=statistics.median(values), low=min(values), high=max(values))


def median_and_quartiles(values: Sequence[float]) -> Estimate:
    """Return the median between the quartiles.

    Args:
        values: At least one.
    """
    low, middle, high = (float(cut) for cut in np.percentile(values, (25, 50, 75)))
    return Estimate(value=middle, low=low, high=high)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the median over rounds of ours / theirs, with its bootstrap interval.

    Args:
        ours: One figure a round, greater than 0.
        theirs: The same rounds.

    Example:
        >>> paired_ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
        Estimate(value=0.5, low=0.5, high=0.5)
    """
    ratios = np.asarray(ours, np.float64) / np.asarray(theirs, np.float64)
    return bootstrap(len(ratios), lambda chosen: np.median(ratios[chosen], axis=-1))


def median_of_differences(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the median over rounds of ours − theirs, with its bootstrap interval."""
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    return bootstrap(len(differences), lambda chosen: np.median(differences[chosen], axis=-1))


def bootstrap(count: int, figure: Callable[[NDArray[np.intp]], NDArray[np.float64]]) -> Estimate:
    """Return a figure over ``count`` samples, with the interval that 95 % of the resampled figures lie in.

    Args:
        count: Samples there are; at least 1.
        figure: Takes indices of shape (..., count) and gives figures of shape (...).
    """
    generator = np.random.default_rng(_SEED)
    resampled = figure(generator.integers(0, count, size=(_RESAMPLES, count)))
    # Not interpolated: between infinities (an exact result has infinite SQNR) there is nothing.
    low, high = (float(cut) for cut in np.percentile(resampled, (2.5, 97.5), method="inverted_cdf"))
    return Estimate(value=float(figure(np.arange(count))), low=low, high=high)
