"""`Pauses`: how long to wait before another attempt: doubling, a part of it at random, anew after a good while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SHORTEST_SECONDS: Final = 0.1
_GOOD_SECONDS: Final = 30.0


class Pauses:
    """Of one thing that may fail. Times are monotonic seconds.

    Args:
        jitter: Returns a number from 0 to 1.
        longest_seconds: Where doubling ends.
    """

    def __init__(self, jitter: Callable[[], float], *, longest_seconds: float = 10.0) -> None:
        self._jitter = jitter
        self._longest_seconds = longest_seconds
        self._pause = _SHORTEST_SECONDS
        self._succeeded: float | None = None
        self._until = 0.0

    def is_over(self, now: float) -> bool:
        """Whether another attempt may be made."""
        return now >= self._until

    def succeeded(self, now: float) -> None:
        """Note that it works."""
        if self._succeeded is None:
            self._succeeded = now

    def failed(self, now: float) -> None:
        """Note that it failed; after a good while of success the pauses begin anew."""
        if self._succeeded is not None and now - self._succeeded >= _GOOD_SECONDS:
            self._pause = _SHORTEST_SECONDS
        self._succeeded = None
        self._until = now + self._pause * (0.5 + 0.5 * self._jitter())
        self._pause = min(self._pause * 2, self._longest_seconds)
