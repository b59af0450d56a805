"""What `ShiftedClock` puts on a board as ``sitecustomize.py``: it moves and hurries the clocks of every Python that starts there.

The file ``setting`` beside it says by how many seconds the wall clock is off, and how many seconds pass by it in one true second. Only a
process that is begun while that is not 1 follows it later, both up and down: all others keep the clocks and waits that Python gave them.

Hurried are ``time.monotonic``, ``time.time``, and whatever waits by them: ``time.sleep``, conditions and events of ``threading``, queues,
``select``. ``time.perf_counter`` is not, so a duration that is measured is a true one; neither are sockets, locks and the kernel.

It needs nothing but the standard library, for it runs with whatever Python the board has, before anything else is imported.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

SETTING: Final = "setting"
LOOK_SECONDS: Final = 0.02
"""True seconds from one look at the setting to the next."""
SLICE_SECONDS: Final = 0.25
"""True seconds that a queue is waited at without a look at the clock, which may be hurried meanwhile."""
_FOLDER: Final = Path(__file__).parent


def read_setting() -> tuple[float, float]:
    """Return by how many seconds the wall clock is off, and how many pass in a true one; (0, 1) where nothing is said."""
    try:
        jump, *rate = (float(word) for word in (_FOLDER / SETTING).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return 0.0, 1.0
    return jump, rate[0] if rate else 1.0


def shift_wall_clock() -> None:
    """Let ``time.time`` be off by what the setting says whenever it is asked."""
    true_time = time.time
    time.time = lambda: true_time() + read_setting()[0]


class HurriedClock:
    """A monotonic clock whose rate can change, and a wall clock that goes with it; never back, whoever asks at once.

    Args:
        rate: How many seconds pass in a true one, at first.
    """

    def __init__(self, rate: float) -> None:
        # Bound before they are replaced; so is the lock, which `threading` would bring with it.
        from _thread import allocate_lock  # noqa: PLC0415

        self._true_monotonic, self._true_time = time.monotonic, time.time
        self._lock = allocate_lock()
        self._since = self._told_since = self._looked = self._true_monotonic()
        self._jump = 0.0
        self.rate = rate

    def monotonic(self) -> float:
        """Return what ``time.monotonic`` tells."""
        return self._both()[1]

    def time(self) -> float:
        """Return what ``time.time`` tells: as far ahead of the true time as this clock has come, and the jump."""
        true, told = self._both()
        return self._true_time() + (told - true) + self._jump

    def true_seconds(self, seconds: float | None) -> float | None:
        """Return how long to wait in true time for so many seconds by this clock; None: for ever."""
        return None if seconds is None else seconds / self.rate

    def _both(self) -> tuple[float, float]:
        with self._lock:
            true = self._true_monotonic()
            told = self._told_since + (true - self._since) * self.rate
            if true - self._looked >= LOOK_SECONDS:
                self._looked, self._since, self._told_since = true, true, told
                self._jump, self.rate = read_setting()
            return true, told


def hurry(rate: float) -> HurriedClock:
    """Replace the clocks, and what waits by them; return the clock that they now are."""
    clock = HurriedClock(rate)
    time.monotonic, time.time = clock.monotonic, clock.time
    true_sleep = time.sleep
    time.sleep = lambda seconds: true_sleep(float(seconds) / clock.rate)
    # Only now: these modules take the clock as it is when they are imported.
    import queue  # noqa: PLC0415
    import select  # noqa: PLC0415
    import threading  # noqa: PLC0415

    true_wait, true_select = threading.Condition.wait, select.select

    def wait(self: threading.Condition, timeout: float | None = None) -> bool:
        return true_wait(self, clock.true_seconds(timeout))

    def select_(reading: Any, writing: Any, odd: Any, timeout: float | None = None) -> Any:
        return true_select(reading, writing, odd, clock.true_seconds(timeout))

    class HurriedQueue(queue.SimpleQueue):  # type: ignore[type-arg]
        """A queue at which nobody waits longer than the clock says, though it be hurried meanwhile."""

        def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  as the queue has it
            if not block or timeout is None:
                return super().get(block, timeout)
            due = clock.monotonic() + timeout
            while True:
                left = max(0.0, due - clock.monotonic())
                try:
                    return super().get(True, min(left / clock.rate, SLICE_SECONDS))
                except queue.Empty:
                    if clock.monotonic() >= due:
                        raise

    threading.Condition.wait = wait  # type: ignore[method-assign]
    select.select = select_
    queue.SimpleQueue = HurriedQueue  # type: ignore[misc]
    return clock


def begin() -> None:
    """Do what the setting says, once, as a process begins."""
    _, rate = read_setting()
    if rate == 1.0:
        shift_wall_clock()
    else:
        hurry(rate)


if __name__ == "sitecustomize":
    begin()
