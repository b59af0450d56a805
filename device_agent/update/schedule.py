"""`Schedule`: when the repository is asked again, and what was told of why that has to wait. No clock: who calls says what time it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.update import notices
from device_agent.update.effects import Tell

if TYPE_CHECKING:
    from device_agent.update.effects import Effect

_FIRST_RETRY_SECONDS: Final = 30.0
_NEVER: Final = float("inf")


class Schedule:
    """See the module's docstring.

    Args:
        interval_seconds: Between checks; after a failure it is shorter and doubles up to this.

    Attributes:
        due_seconds: Monotonic time of the next check.
    """

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._again_seconds = _NEVER
        self._trouble = ""
        self.due_seconds = _NEVER

    def works(self) -> None:
        """The repository can be asked, and was."""
        self._trouble, self._retry_seconds, self._again_seconds = "", _FIRST_RETRY_SECONDS, _NEVER

    def again(self, now_seconds: float) -> None:
        """More waits than could be done now: ask as soon as that can be."""
        self._again_seconds = now_seconds

    def rest(self, now_seconds: float) -> None:
        """Nothing is to be done before the next check."""
        self.due_seconds = min(now_seconds + self._interval_seconds, self._again_seconds)

    def postpone(self, code: str, message: str, now_seconds: float) -> tuple[Effect, ...]:
        """Try again later, and tell once what is in the way."""
        self.due_seconds = now_seconds + min(self._retry_seconds, self._interval_seconds)
        self._again_seconds = self.due_seconds
        self._retry_seconds = min(2 * self._retry_seconds, self._interval_seconds)
        if self._trouble == code:
            return ()
        self._trouble = code
        return (Tell(notices.postponed(code, message)),)
