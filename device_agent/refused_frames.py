"""`RefusedFrames`: the frames that a source did not understand, each in the log up to a number a window, and the last one for the event."""

from __future__ import annotations

import logging
import threading
from typing import Final

_LOG = logging.getLogger("edgewright.agent")
_LOGGED_A_WINDOW: Final = 5
"""Whoever sends nothing but nonsense fills no disk with what is said of it."""


class RefusedFrames:
    """See the module's docstring. Told on the thread that takes frames, read on the agent's. How many there were the source counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = 0
        self._last = ""

    def __call__(self, reason: str) -> None:
        """Take in which frame was refused, and why."""
        with self._lock:
            self._told += 1
            told, self._last = self._told, reason
        if told <= _LOGGED_A_WINDOW:
            _LOG.warning("a frame was refused: %s", reason)
        if told == _LOGGED_A_WINDOW:
            _LOG.warning("further refused frames are only counted until the window ends")

    def close_window(self) -> str:
        """Return which frame was refused last, and why, and let frames into the log again."""
        with self._lock:
            self._told = 0
            return self._last
