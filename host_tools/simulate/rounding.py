"""Sums of whole numbers times exact factors, rounded to whole numbers: the one place where the simulator leaves the whole numbers.

A factor such as input scale * weight scale / output scale is a fraction. The sum is computed in float64, and that is enough:

- where every factor is a multiple of one power of two and the sum fits 53 bits, as with power-of-two scales, float64 computes it
  exactly: a product is then the shift that hardware does;
- elsewhere float64 is off by less than `_ERROR` of the largest possible sum. Only numbers that near to the middle between two whole
  numbers can be rounded wrongly, and those few are computed again as fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from targets.profile import Rounding

    Float64 = NDArray[np.float64]

_ERROR = 2.0**-48
"""A factor is off by 2^-53 of itself, each product and each of a few sums by as much again: far less than this."""

_WHOLE = 2**53
"""Up to here float64 holds every whole number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """Exact factors, and the float64 nearest to each.

    Attributes:
        exact: At least one.
        nearest: float64, shape (len(exact),).
        denominator: The power of two of which all are multiples, or None.
        largest: The largest magnitude.
    """

    exact: tuple[Fraction, ...]
    nearest: Float64 = field(init=False)
    denominator: int | None = field(init=False)
    largest: Fraction = field(init=False)

    def __post_init__(self) -> None:
        """Work out the attributes that follow from the factors."""
        common = max(factor.denominator for factor in self.exact)
        is_dyadic = all(_is_power_of_two(factor.denominator) for factor in self.exact)
        object.__setattr__(self, "nearest", np.array([float(factor) for factor in self.exact]))
        object.__setattr__(self, "denominator", common if is_dyadic else None)
        object.__setattr__(self, "largest", max(abs(factor) for factor in self.exact))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """Numbers, each times one of a few factors.

    Attributes:
        numbers: Whole numbers below 2^53 in any type.
        factors: What they are multiplied with.
        which: Index into the factors, of a shape that broadcasts with ``numbers``; None where there is one factor.
    """

    numbers: NDArray[np.generic]
    factors: Factors
    which: NDArray[np.integer] | None = None

    def nearest(self) -> Float64:
        """Return the products in float64."""
        factor = self.factors.nearest[0] if self.which is None else self.factors.nearest[self.which]
        product: Float64 = np.multiply(self.numbers, factor, dtype=np.float64)
        return product

    def largest_number(self) -> int:
        """Return the largest magnitude of the numbers."""
        if not self.numbers.size:
            return 0
        return max(abs(int(self.numbers.max())), abs(int(self.numbers.min())))


def rounded_sum(terms: Sequence[Term], rounding: Rounding) -> Float64:
    """Return the sum of all terms, each element rounded to a whole number as if it had been computed exactly.

    Args:
        terms: At least one; their numbers broadcast against each other.
        rounding: What becomes of a sum half way between two whole numbers.

    Returns:
        Whole numbers in float64, of the broadcast shape.
    """
    value = terms[0].nearest()
    for term in terms[1:]:
        value = value + term.nearest()
    value = np.asarray(value)  # NumPy makes a number of what it computes of arrays without axes
    if _is_exact(terms):
        return rounded(value, rounding)
    largest = sum(float(term.factors.largest) * term.largest_number() for term in terms)
    whole = np.asarray(np.rint(value))
    distance = np.abs(np.subtract(value, whole, out=value), out=value)
    nearly_half = 0.5 - largest * _ERROR
    if distance.size and distance.max() >= nearly_half:
        _settle(whole, distance >= nearly_half, terms, rounding)
    return whole


def rounded(values: Float64, rounding: Rounding) -> Float64:
    """Round float64 numbers whose sum with a half is exact, as is that of every number with less than 52 bits behind the point.

    Args:
        values: Finite or infinite.
        rounding: As for `rounded_sum`.
    """
    if rounding == "half_even":
        whole = np.rint(values)
    elif rounding == "half_up":
        whole = np.floor(values + 0.5)
    else:
        whole = np.copysign(np.floor(np.abs(values) + 0.5), values)
    return np.asarray(whole)  # as above


def rounded_fraction(value: Fraction, rounding: Rounding) -> int:
    """Round one fraction, in whole numbers only."""
    if rounding == "half_even":
        return round(value)
    if rounding == "half_up":
        return math.floor(value + Fraction(1, 2))
    return int(math.copysign(1, value)) * math.floor(abs(value) + Fraction(1, 2))


def _is_exact(terms: Sequence[Term]) -> bool:
    """Tell whether float64 holds every product, every sum, and the sum with a half exactly."""
    denominators = [term.factors.denominator for term in terms]
    if any(denominator is None for denominator in denominators):
        return False
    common = max(denominator for denominator in denominators if denominator is not None)
    largest = sum(term.factors.largest * term.largest_number() for term in terms)
    return common * largest + common < _WHOLE


def _settle(whole: Float64, near: NDArray[np.bool_], terms: Sequence[Term], rounding: Rounding) -> None:
    """Write the exact result where float64 cannot decide. Few different numbers stand there, so each is computed once."""
    columns = [
        np.broadcast_to(part, whole.shape)[near].astype(np.int64)
        for term in terms
        for part in (term.numbers, 0 if term.which is None else term.which)
    ]
    rows, places = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    settled = [
        rounded_fraction(
            sum(
                (
                    int(row[2 * index]) * term.factors.exact[row[2 * index + 1]]
                    for index, term in enumerate(terms)
                ),
                start=Fraction(0),
            ),
            rounding,
        )
        for row in rows
    ]
    whole[near] = np.asarray(settled, np.float64)[places.reshape(-1)]


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
