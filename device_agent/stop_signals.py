"""`StopSignals`: the signals that ask the agent to stop, none of which is lost, whenever it comes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopSignals:
    """Turns signals into requests to stop; those that come before there is an agent wait for it.

    Attributes:
        is_asked: Whether any has come.
    """

    def __init__(self) -> None:
        self._request_stop: Callable[[str], None] | None = None
        self._waiting: list[str] = []
        self.is_asked = False
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._handle)
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, _STOP_SIGNALS
        )  # what `hold` kept for this process comes now

    def hand_to(self, request_stop: Callable[[str], None]) -> None:
        """Hand every signal to ``request_stop``, those that came before included."""
        self._request_stop = request_stop
        for reason in self._waiting:
            request_stop(reason)

    def hold(self) -> None:
        """From now on keep signals for the process that takes this one's place; `is_asked` knows of all that came before."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)

    def _handle(self, number: int, _frame: object) -> None:
        self.is_asked = True
        reason = f"stopped by {signal.Signals(number).name}"
        if self._request_stop is None:
            self._waiting.append(reason)
        else:
            self._request_stop(reason)
