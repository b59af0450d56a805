"""`Service`: speaks to systemd over ``NOTIFY_SOCKET``, with the standard library alone; silent where there is none.

The watchdog is fed from the loop and from nowhere else: when the loop stands still, systemd ends the agent and starts
it anew. Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEVER: Final = float("inf")
_LONGEST_STATUS: Final = 200


class Service:
    """See the module's docstring.

    Args:
        environment: Where systemd says how to reach it.
        pid: Of this process; a watchdog for another one is none for us.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, *, pid: int | None = None) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._period_seconds = _watchdog_seconds(environment, os.getpid() if pid is None else pid) / 2
        self._due_seconds = 0.0
        self._is_ready = False

    def ready(self) -> None:
        """The model runs. Said once."""
        if not self._is_ready:
            self._is_ready = True
            self._say("READY=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``."""
        self._say("STATUS=" + text.replace("\n", " ")[:_LONGEST_STATUS])

    def stopping(self) -> None:
        """The agent ends, and this is no fault."""
        self._say("STOPPING=1")

    def alive(self, now_seconds: float) -> float:
        """The loop turns: feed the watchdog when it is due; return when to call again at the latest."""
        if self._address is None or self._period_seconds == _NEVER:
            return _NEVER
        if now_seconds >= self._due_seconds:
            self._say("WATCHDOG=1")
            self._due_seconds = now_seconds + self._period_seconds
        return self._due_seconds

    def _say(self, line: str) -> None:
        if self._address is None:
            return
        # A service manager that does not listen must not hold up a device that works.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end,
        ):
            end.setblocking(False)  # noqa: FBT003  socket's own signature
            end.sendto(line.encode("utf-8", "backslashreplace"), self._address)


def _address(text: str) -> str | None:
    if text.startswith("/"):
        return text
    return "\0" + text[1:] if text.startswith("@") and len(text) > 1 else None


def _watchdog_seconds(environment: Mapping[str, str], pid: int) -> float:
    """Return the watchdog's period; infinity when there is none, or it is another process's."""
    try:
        period = int(environment.get("WATCHDOG_USEC", "")) / 1e6
        owner = int(environment.get("WATCHDOG_PID", pid))
    except ValueError:
        return _NEVER
    return period if owner == pid and period > 0 else _NEVER
