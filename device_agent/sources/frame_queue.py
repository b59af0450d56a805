"""`FrameQueue`: frames that wait between whoever brings them and the inference loop, bounded, with the policy that was chosen."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Item = TypeVar("_Item")

Overflow = Literal["drop_oldest", "drop_newest", "block"]


class FrameQueue(Generic[_Item]):
    """What to do when it is full: `drop_oldest`, so that the newest win; `drop_newest`; or `block` whoever brings more.

    Args:
        size: Items that wait; at least 1.
        overflow: What to do with one more.
        on_dropped: Called with every item that is thrown away, on the thread that brought the one too many.

    Attributes:
        dropped: Items that were thrown away.
    """

    def __init__(
        self, size: int, overflow: Overflow, on_dropped: Callable[[_Item], None] | None = None
    ) -> None:
        self.dropped = 0
        self._size = size
        self._overflow = overflow
        self._on_dropped = on_dropped
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: _Item) -> None:
        """Add an item; with `block`, wait until there is room. Once it is closed, everything is dropped."""
        with self._changed:
            if self._overflow == "block":
                self._changed.wait_for(lambda: len(self._items) < self._size or self._closed)
            gone = self._make_room(item)
            if gone is not item:
                self._items.append(item)
            if gone is not None:
                self.dropped += 1
            self._changed.notify_all()
        if gone is not None and self._on_dropped is not None:
            self._on_dropped(gone)

    def take(self, timeout_seconds: float) -> _Item | None:
        """Return the oldest item; None when none comes in time."""
        with self._changed:
            if not self._items:
                self._changed.wait_for(lambda: bool(self._items) or self._closed, timeout_seconds)
            if not self._items:
                return None
            self._changed.notify_all()
            return self._items.popleft()

    def close(self) -> None:
        """Drop what waits, and let go of everybody who waits. Calling twice is harmless."""
        with self._changed:
            self._closed = True
            gone = list(self._items)
            self.dropped += len(gone)
            self._items.clear()
            self._changed.notify_all()
        for item in gone:
            if self._on_dropped is not None:
                self._on_dropped(item)

    def _make_room(self, item: _Item) -> _Item | None:
        """Return the item that has to go, which may be the new one; None when there is room."""
        if self._closed:
            return item
        if len(self._items) < self._size:
            return None
        return self._items.popleft() if self._overflow == "drop_oldest" else item
