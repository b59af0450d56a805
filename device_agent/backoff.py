"""`Backoff`: pauses between attempts that grow, until something has worked for long."""

from __future__ import annotations


class Backoff:
    """See the module's docstring. Time is passed in.

    Args:
        min_seconds: First pause; doubled each time.
        max_seconds: Longest pause; what has worked for so long begins anew with the first.
    """

    def __init__(self, *, min_seconds: float, max_seconds: float) -> None:
        self._min_seconds = min_seconds
        self._max_seconds = max_seconds
        self._next_seconds = min_seconds
        self._works_since_seconds = float("inf")

    def works(self, now_seconds: float) -> None:
        """It works from now on."""
        self._works_since_seconds = now_seconds

    def failed(self, now_seconds: float) -> float:
        """It has failed; return how long to wait before the next attempt."""
        if now_seconds - self._works_since_seconds >= self._max_seconds:
            self._next_seconds = self._min_seconds
        self._works_since_seconds = float("inf")
        pause, self._next_seconds = self._next_seconds, min(2.0 * self._next_seconds, self._max_seconds)
        return pause
