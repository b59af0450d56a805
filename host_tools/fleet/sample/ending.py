"""`Ending`: Ctrl-C and SIGTERM as something that was asked for. An exception could come between a process's start and its being known."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PAUSE_SECONDS: Final = 0.05


class EndAsked(Exception):  # noqa: N818 - no error: somebody wants it
    """It shall end, and is not up yet."""


class Ending:
    """Counts how often the end was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def take(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self.asked += 1

    def pause(self, seconds: float = _PAUSE_SECONDS) -> None:
        """Wait, not longer than until the end is asked for.

        Raises:
            EndAsked: It is.
        """
        until = time.monotonic() + seconds
        while not self.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _PAUSE_SECONDS))
        if self.asked:
            raise EndAsked


@contextmanager
def listening() -> Iterator[Ending]:
    """Take signals until the block ends; one that is ignored, as a shell does for what runs in the background, stays so."""
    ending = Ending()
    before = {
        number: signal.signal(number, ending.take)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
