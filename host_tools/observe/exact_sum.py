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
        self._starts = np.arange(size) * _GROUPS

    def add(self, values: NDArray[np.float32]) -> None:
        """Add one value to each sum; ``values`` has shape (sums,) and is finite.

        Raises:
            OverflowError: More than `MAX_TERMS` values.
        """
        if self.count >= MAX_TERMS:
            raise OverflowError(f"at most {MAX_TERMS} values can be summed exactly")
        bits = np.ascontiguousarray(values, np.float32).view(np.int32)
        exponent = (bits >> 23) & 0xFF
        fraction = np.where(exponent > 0, (bits & 0x7FFFFF) | 0x800000, bits & 0x7FFFFF)
        # The value is fraction * 2**(max(exponent, 1) - 150), exactly.
        place = np.maximum(exponent, 1) - (150 + _LOWEST_EXPONENT)
        digits = np.where(bits < 0, -fraction, fraction).astype(np.int64) << (place % _GROUP_BITS)
        self.groups.reshape(-1)[self._starts + place // _GROUP_BITS] += digits
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
