"""`CommandDoor`: requests from the connection's thread to the loop's, bounded, so that a flood fills no memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.commands import MAX_STATE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.telemetry.subscription import Incoming

_WAITING: Final = 64


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message on a command's topic; ``payload`` is cut one byte after the longest that is looked at."""

    topic: str
    payload: bytes


class CommandDoor:
    """See the module's docstring.

    Args:
        wake: Wakes the loop, which then calls `take`.

    Attributes:
        turned_away: Messages that came while as many waited as may. They are still at the broker, and come again with the next
            connection.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.turned_away = 0
        self._wake = wake
        self._waiting: deque[Arrived] = deque()

    def offer(self, message: Incoming) -> None:
        """Hand in a message; called on the connection's thread."""
        if len(self._waiting) >= _WAITING:
            self.turned_away += 1
            return
        self._waiting.append(Arrived(message.topic, message.payload[: MAX_STATE_BYTES + 1]))
        self._wake()

    def take(self) -> Arrived | None:
        """Return the message that has waited longest; None when none waits."""
        return self._waiting.popleft() if self._waiting else None
