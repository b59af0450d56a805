"""Confidence sequences: intervals that hold the truth at every look at once, so that a rollout may look every minute.

An ordinary interval of 99 % is wrong at some of a hundred looks far more often than once in a hundred. A sequence inverts a
nonnegative martingale: by Ville's inequality the chance that it is ever above 1/a is at most a, however often it is looked at and
whenever it is stopped.

Means: Gaussian values of unknown variance, the martingale of the scale-invariant data with a Gaussian mixture over the mean in
standard deviations. Its statement is for devices that come one after the other. That figures of devices which are there
become more exact besides, it does not cover; `test_confidence_sequences.py` counts that, and `benchmarks/fleet/detection.py` the whole.

Rates: events of a Poisson process, the likelihood ratio mixed over the rate by an exponential distribution.

Source: Ville, "Étude critique de la notion de collectif" (1939); Wang and Ramdas, "Anytime-valid t-tests and confidence sequences for
Gaussian means with unknown variance", arXiv 2310.03722; Robbins, Ann. Math. Statist. 41 (1970), mixtures; Lindon and Kallus,
"Anytime-Valid Continuous-Time Confidence Processes for Inhomogeneous Poisson Processes", arXiv 2410.09282; Garwood, Biometrika 28 (1936).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from scipy import optimize, special

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

MIXTURE_DEVIATIONS: Final = 3.0
"""Spread of the mixture: shifts of about so many standard deviations of devices are found soonest."""


def mean_sequence(
    values: NDArray[np.float64], alpha: float, *, least_spread: float = 0.0
) -> tuple[float, float, float]:
    """Return mean, low and high of a time-uniform interval; infinite while there are too few values to say anything.

    Args:
        values: Finite, one a device, at least two.
        alpha: Chance that the mean is ever outside, above 0.
        least_spread: Smallest standard deviation to believe, the resolution of what was measured.

    Raises:
        ValueError: There are fewer than two values, or alpha is outside 0 to 1.
    """
    count = len(values)
    if count < 2 or not 0 < alpha < 1:
        raise ValueError(
            f"confidence sequence: expected 2 values or more and 0 < alpha < 1, got {count}, {alpha}"
        )
    mean = float(values.mean())
    spread = max(float(values.std(ddof=1)), least_spread)
    shrink = 1.0 + count * MIXTURE_DEVIATIONS**2
    bound = math.exp((0.5 * math.log(shrink) - math.log(alpha)) * 2.0 / count)
    if bound >= shrink:
        return mean, -math.inf, math.inf
    t_squared = (count - 1) * (bound - 1.0) / (1.0 - bound / shrink)
    reach = math.sqrt(t_squared / count) * spread
    return mean, mean - reach, mean + reach


def rate_sequence(events: int, exposure: float, alpha: float, *, expected: float) -> tuple[float, float]:
    """Return low and high of a time-uniform interval of a Poisson rate.

    Args:
        events: How many there were.
        exposure: In how much time, all devices together, above 0.
        alpha: Chance that the rate is ever outside, above 0.
        expected: Mean of the mixture, above 0: rates of about this size are found soonest.

    Raises:
        ValueError: One of them is outside its range.
    """
    if events < 0 or not exposure > 0 or not 0 < alpha < 1 or not expected > 0:
        raise ValueError(
            f"confidence sequence: expected events >= 0, exposure > 0, 0 < alpha < 1 and expected > 0,"
            f" got {events}, {exposure}, {alpha}, {expected}"
        )
    prior = 1.0 / expected
    fixed = math.log(prior) + float(special.gammaln(1 + events)) - (1 + events) * math.log(prior + exposure)

    def above(rate: float) -> float:
        return fixed + rate * exposure - (events * math.log(rate) if events else 0.0) + math.log(alpha)

    middle = events / exposure
    low = _root(above, middle * 1e-9, middle) if events and above(middle * 1e-9) > 0 else 0.0
    top = (events + 10.0 - 2.0 * math.log(alpha) + 2.0 * abs(fixed)) / exposure
    return low, _root(above, max(middle, 1e-12 / exposure), top)


def rate_upper(events: int, exposure: float, alpha: float) -> float:
    """Return the exact one-sided upper bound of a Poisson rate that is looked at once."""
    return float(special.gammaincinv(events + 1, 1 - alpha)) / exposure


def rate_lower(events: int, exposure: float, alpha: float) -> float:
    """Return the exact one-sided lower bound of a Poisson rate that is looked at once."""
    return float(special.gammaincinv(events, alpha)) / exposure if events else 0.0


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    while function(high) < 0 and function(low) < 0:
        high *= 2.0
    return float(optimize.brentq(function, low, high, xtol=1e-12, rtol=1e-9))
