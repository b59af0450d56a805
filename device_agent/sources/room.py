"""`Room`: how many bytes strangers may be sending at the same time. Who finds no room waits before anything of it is read."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Room:
    """Bytes that are taken and given back.

    Args:
        most_bytes: At most so many are taken at once.
        wait_seconds: How long somebody waits for them; None: until there is room, or the room is closed.

    Attributes:
        turned_away: How often there was none in time.
    """

    def __init__(self, most_bytes: int, wait_seconds: float | None) -> None:
        self.turned_away = 0
        self._free_bytes = most_bytes
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def taken(self, count: int) -> Iterator[bool]:
        """Hold ``count`` bytes, no more than the room has in all; give False, and hold none, when there is no room in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._free_bytes >= count or self._closed, self._wait_seconds)
            has_room = self._free_bytes >= count and not self._closed
            if has_room:
                self._free_bytes -= count
            else:
                self.turned_away += 1
        try:
            yield has_room
        finally:
            if has_room:
                with self._changed:
                    self._free_bytes += count
                    self._changed.notify_all()

    def close(self) -> None:
        """Turn away whoever waits, and whoever comes. Calling twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
