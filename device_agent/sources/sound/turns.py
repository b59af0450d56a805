"""Cosines and sines of parts of a turn, by integers: no library of mathematics gives the same last bit everywhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_BITS: Final = 160
"""Of fraction. A float64 keeps 53 of them, so that what is lost on the way is never seen."""
_ONE: Final = 1 << _BITS


def turn(part: int, whole: int) -> tuple[float, float]:
    """Return cosine and sine of ``part / whole`` of a turn, each the nearest float64; zeros, halves and ones are exact.

    Args:
        part: Any integer.
        whole: At least 1.
    """
    octant, rest = divmod(8 * (part % whole), whole)
    if octant % 2:
        rest = whole - rest  # measured from the octant's other end, so that every angle is at most an eighth
    cosine, sine = _eighth(rest, whole)
    if octant in (1, 2, 5, 6):
        cosine, sine = sine, cosine
    return (-cosine if octant in (2, 3, 4, 5) else cosine), (-sine if octant >= 4 else sine)


def cosines(count: int, whole: int) -> list[float]:
    """Return the cosines of 0, 1, …, ``count - 1`` parts of a turn in ``whole`` parts."""
    return [turn(part, whole)[0] for part in range(count)]


@lru_cache(maxsize=1 << 14)
def _eighth(part: int, whole: int) -> tuple[float, float]:
    """Return cosine and sine of ``part / (8 * whole)`` of a turn, at most an eighth, by their series."""
    angle = _PI * part // (4 * whole)
    square = angle * angle >> _BITS
    cosine = sine = 0
    even, odd, step = _ONE, angle, 0
    while even or odd:
        cosine, sine = cosine + even, sine + odd
        even = -(even * square >> _BITS) // ((step + 1) * (step + 2))
        odd = -(odd * square >> _BITS) // ((step + 2) * (step + 3))
        step += 2
    return cosine / _ONE, sine / _ONE  # a quotient of integers is rounded once, and correctly


def _arctangent(inverse: int) -> int:
    """Return the arc tangent of 1 / ``inverse``, in `_ONE`."""
    power, total, divisor, sign = _ONE // inverse, 0, 1, 1
    while power:
        total += sign * (power // divisor)
        power //= inverse * inverse
        divisor, sign = divisor + 2, -sign
    return total


_PI: Final = 4 * (4 * _arctangent(5) - _arctangent(239))
"""Machin's formula."""
