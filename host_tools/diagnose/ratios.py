"""Sums of squares as the numbers that a diagnosis holds: decibels, shares and gains, finite whatever went in."""

from __future__ import annotations

import math

from host_tools.verify.metrics import LOWEST_SQNR_DB

_DIGITS = 6
_LARGEST = 3.4e38


def decibels(signal: float, noise: float) -> float | None:
    """Return the SQNR, within 200 dB either way; the lowest where the noise is not finite, None where there is none."""
    if noise == 0.0:
        return None
    if signal == 0.0 or not math.isfinite(noise):
        return LOWEST_SQNR_DB
    return _bounded(signal, noise)


def gain(before: float, after: float) -> float:
    """Return by how many decibels the SQNR rises when the noise goes from ``before`` to ``after``; within 200 dB either way."""
    if before == after:
        return 0.0
    if after == 0.0 or not math.isfinite(before):
        return -LOWEST_SQNR_DB
    if before == 0.0 or not math.isfinite(after):
        return LOWEST_SQNR_DB
    return _bounded(before, after)


def _bounded(one: float, other: float) -> float:
    """Return the ratio in decibels; as a difference, since the quotient may be beyond any float."""
    ratio = 10.0 * (math.log10(one) - math.log10(other))
    return rounded(max(LOWEST_SQNR_DB, min(-LOWEST_SQNR_DB, ratio)))


def share(part: float, whole: float) -> float:
    """Return ``part / whole`` within 0 and 1; 0 of nothing, 1 where the part is not finite."""
    if not math.isfinite(part):
        return 1.0
    if not (math.isfinite(whole) and whole > 0.0):
        return 0.0
    return rounded(min(1.0, max(0.0, part / whole)))


def rounded(value: float) -> float:
    """Return a number with six digits, which is enough for people; what is not finite becomes the largest float32, or 0."""
    if math.isnan(value):
        return 0.0
    return float(f"{max(-_LARGEST, min(_LARGEST, value)):.{_DIGITS}g}")
