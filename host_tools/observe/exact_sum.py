"""Sums of float32 values that come out the same in any order: integers by groups of exponents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GROUP_BITS: Final = 16
_LOWEST_EXPONENT: Final = (
    -176
)  # below the exponent of the smallest float32 times 2**-24, and a multiple of the group
_GROUPS: Final = (128 - _LOWEST_EXPONENT) // _GROUP_BITS + 2
MAX_TERMS: Final = 1 << 22
"""How many values each sum may take: 24 bits of fraction and 15 of shift leave that much of an int64."""


class ExactSums:
    """Several independent sums of float32 values, each exact.

    Attributes:
        groups: int64, shape (sums, groups): what was added, by exponent; the whole state.
        count: How many values each sum took.
    """

    def __init__(self, size: int) -> None:
        self.groups: NDArray[np.int64] = np.zeros((size, _GROUPS), np.int64)
        self.count = 0
        self._rows = np.arange(size)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add one value to each sum; ``values`` has shape (sums,) and is finite.

        Raises:
            OverflowError: More than `MAX_TERMS` values.
        """
        if self.count >= MAX_TERMS:
            raise OverflowError(f"at most {MAX_TERMS} values can be summed exactly")
        fraction, exponent = np.frexp(values.astype(np.float64))
        digits = (fraction * (1 << 24)).astype(np.int64)  # exact: a float32 has 24 bits
        place = exponent.astype(np.int64) - 24 - _LOWEST_EXPONENT
        group, shift = place // _GROUP_BITS, place % _GROUP_BITS
        self.groups[self._rows, group] += digits << shift
        self.count += 1

    def means(self) -> NDArray[np.float64]:
        """Return each sum over the number of values, float64 of shape (sums,).

        Raises:
            ZeroDivisionError: Nothing was added.
        """
        if not self.count:
            raise ZeroDivisionError("the mean of nothing")
        weights = np.ldexp(1.0, np.arange(_GROUPS) * _GROUP_BITS + _LOWEST_EXPONENT)
        total = np.zeros(len(self.groups))
        for index in range(_GROUPS):  # a fixed order, so that the rounding is fixed too
            total += self.groups[:, index] * weights[index]
        return total / self.count
