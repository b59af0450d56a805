"""Means, intervals and tests that a few wild devices do not decide.

The mean of devices is a trimmed one: a fifth at each end is left out. Its test and its interval are one statement, so
they never contradict each other, and equivalence is read off the same interval. Where nearly all devices say 0, as of
failures, trimming would leave nothing: there the plain mean is tested by flipping signs and its interval bootstrapped.

Source: Yuen, Biometrika 61 (1974), trimmed means with winsorized variances, after Tukey and McLaughlin, Sankhya A 25 (1963); Wilson, J. Am.
Statist. Assoc. 22 (1927), shares; Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987), equivalence by two one-sided tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRIM = 0.2
NORMAL_95 = 1.959963984540054
"""Half-width of a 95 % interval in standard errors."""
_MANY = 1000
_CELLS = 4_000_000
"""Most values of a resampling held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its standard error.

    Attributes:
        value: Estimate.
        error: Standard error; 0 when all values are the same.
        freedom: Degrees of freedom of Student's t.
        count: How many values; of two samples the fewer.
    """

    value: float
    error: float
    freedom: float
    count: int

    @property
    def p_value(self) -> float:
        """Two-sided, of 0."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / self.error))

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided confidence interval."""
        reach = float(special.stdtrit(self.freedom, 0.5 + level / 2)) * self.error
        return self.value - reach, self.value + reach


def trimmed_mean(values: NDArray[np.float64], *, trim: float = TRIM) -> Estimate:
    """Estimate the mean of at least two values without the ``trim`` smallest and largest shares of them.

    Raises:
        ValueError: There are fewer than two values, or one is not finite.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"trimmed mean: expected two finite values or more, got {len(values)}")
    value, error, kept = _trimmed(np.sort(values), trim)
    return Estimate(value=value, error=error, freedom=kept - 1.0, count=len(values))


def trimmed_difference(
    after: NDArray[np.float64], before: NDArray[np.float64], *, trim: float = TRIM
) -> Estimate:
    """Estimate ``after`` less ``before`` of two independent samples of at least two values each.

    Raises:
        ValueError: As `trimmed_mean`.
    """
    one, other = trimmed_mean(after, trim=trim), trimmed_mean(before, trim=trim)
    squares = (_welch(one), _welch(other))
    total = sum(squares)
    freedom = math.inf
    if total > 0:
        freedom = total**2 / sum(s**2 / e.freedom for s, e in zip(squares, (one, other), strict=True))
    return Estimate(
        value=one.value - other.value,
        error=math.sqrt(total),
        freedom=freedom if math.isfinite(freedom) else one.freedom + other.freedom,
        count=min(one.count, other.count),
    )


def robust_z(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
    """Return how far each value is from the median in standard deviations, the median, and that deviation.

    The deviation is that of a normal distribution with the same median absolute deviation, each side by itself: speeds
    of devices have a longer tail on one side. Where more than half are the same it is the mean absolute deviation's.
    """
    median = float(np.median(values))
    apart = values - median
    spreads = []
    for side in (apart[apart >= 0], -apart[apart <= 0]):
        spread = 1.482602218505602 * float(np.median(side))
        spreads.append(spread if spread > 0 else 1.2533141373155 * float(np.mean(side)))
    scale = np.where(apart >= 0, spreads[0], spreads[1])
    z = np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0)
    return z, median, max(spreads)


def sign_flip_p(differences: NDArray[np.float64], rng: np.random.Generator, *, draws: int = 4999) -> float:
    """Return the two-sided p-value of a mean of 0 when each difference could as well have had the other sign.

    Zeros say nothing and are left out. Of at most 12 others every combination is counted, of more ``draws`` are drawn.
    """
    values = differences[differences != 0]
    if not values.size:
        return 1.0
    observed = abs(float(values.sum())) * (1 - 1e-12)
    if values.size <= 12:
        signs = 1.0 - 2.0 * ((np.arange(1 << values.size)[:, None] >> np.arange(values.size)) & 1)
        return float(np.mean(np.abs(signs @ values) >= observed))
    reached, left = 0, draws
    while left:
        now = min(left, max(1, _CELLS // values.size))
        flipped = rng.integers(0, 2, (now, values.size), dtype=np.int8)
        reached += int(np.count_nonzero(np.abs(values.sum() - 2.0 * (flipped @ values)) >= observed))
        left -= now
    return (1 + reached) / (1 + draws)


def bootstrap_interval(
    values: NDArray[np.float64], rng: np.random.Generator, *, level: float, draws: int = 1999
) -> tuple[float, float]:
    """Return the percentile interval of the mean of devices drawn with replacement.

    Of `_MANY` values or more the mean is as good as normal, and its own standard error gives the interval.
    """
    if len(values) >= _MANY:
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
        reach = float(special.ndtri(0.5 + level / 2)) * error
        return float(values.mean()) - reach, float(values.mean()) + reach
    means = []
    left = draws
    while left:
        now = min(left, max(1, _CELLS // len(values)))
        means.append(values[rng.integers(0, len(values), (now, len(values)))].mean(axis=1))
        left -= now
    low, high = np.quantile(np.concatenate(means), [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def wilson_interval(hits: float, trials: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of a share; (0, 1) when nothing was tried."""
    if trials <= 0:
        return 0.0, 1.0
    z = float(special.ndtri(0.5 + level / 2))
    share = hits / trials
    middle = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    divisor = 1 + z * z / trials
    low, high = max(0.0, (middle - reach) / divisor), min(1.0, (middle + reach) / divisor)
    return (0.0 if hits == 0 else low), (1.0 if hits == trials else high)


def _trimmed(ascending: NDArray[np.float64], trim: float) -> tuple[float, float, int]:
    """Mean, standard error and number of the values that are left, from the winsorized variance."""
    count = len(ascending)
    cut = int(trim * count)
    kept = ascending[cut : count - cut]
    winsorized = np.clip(ascending, kept[0], kept[-1])
    spread = math.sqrt(float(np.var(winsorized, ddof=1)))
    if kept[0] == kept[-1]:
        return float(kept[0]), 0.0, len(kept)
    return float(kept.mean()), spread * math.sqrt((count - 1) / (len(kept) * (len(kept) - 1))), len(kept)


def _welch(one: Estimate) -> float:
    return one.error**2
