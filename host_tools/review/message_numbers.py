"""`MessageNumbers`: which numbers of one run of an agent were heard, in memory that does not grow with them."""

from __future__ import annotations

from bisect import bisect_right


class MessageNumbers:
    """A set of message numbers, kept as stretches without a hole: a watch may listen for months."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._count = 0

    def add(self, number: int) -> bool:
        """Take a number in; return whether it is new."""
        place = bisect_right(self._firsts, number)
        if place and number <= self._lasts[place - 1]:
            return False
        self._count += 1
        joins_left = place > 0 and self._lasts[place - 1] == number - 1
        joins_right = place < len(self._firsts) and self._firsts[place] == number + 1
        if joins_left and joins_right:
            self._lasts[place - 1] = self._lasts.pop(place)
            del self._firsts[place]
        elif joins_left:
            self._lasts[place - 1] = number
        elif joins_right:
            self._firsts[place] = number
        else:
            self._firsts.insert(place, number)
            self._lasts.insert(place, number)
        return True

    @property
    def missing(self) -> int:
        """How many numbers between the lowest and the highest were not heard."""
        return self._lasts[-1] - self._firsts[0] + 1 - self._count if self._firsts else 0
