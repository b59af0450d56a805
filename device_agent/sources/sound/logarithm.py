"""Logarithms of arrays, in operations that IEEE 754 fixes to the last bit.

Source:
    The parts of ln 2 are fdlibm's (``e_log.c``): the upper one has so few digits that its product with an exponent is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LN2_UPPER: Final = float.fromhex("0x1.62e42feep-1")
_LN2_LOWER: Final = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_HALF: Final = float.fromhex("0x1.6a09e667f3bcdp-1")
_PER_LN10: Final = float.fromhex("0x1.bcb7b1526e50ep-2")
_TERMS: Final = 12
"""Of the series of the inverse hyperbolic tangent: up to 0.1716, what follows is less than half a last digit."""


def natural(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the natural logarithm, within two units in the last place.

    Args:
        values: Finite, each at least 1e-300.
    """
    mantissas, exponents = np.frexp(values)
    low = mantissas < _SQRT_HALF
    mantissas = np.where(low, mantissas + mantissas, mantissas)
    powers = (exponents - low).astype(np.float64)
    above = mantissas - 1.0  # exact
    ratio = above / (mantissas + 1.0)
    square = ratio * ratio
    series = np.full_like(ratio, 1.0 / (2 * _TERMS + 1))
    for term in range(_TERMS - 1, 0, -1):
        series *= square
        series += 1.0 / (2 * term + 1)
    small = ratio + ratio
    return powers * _LN2_UPPER + (small + (small * square * series + powers * _LN2_LOWER))


def decimal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm to base 10, within three units in the last place; see `natural`."""
    return natural(values) * _PER_LN10
