"""`BootClock`: when the messages of one run of an agent were made, whatever the device's clock says.

Many boards have no clock of their own: they start years behind and jump when a time service answers. The device's
monotonic time has neither fault, so where the clock is wrong its messages are placed by ``uptime_seconds``, counted
from the start that the quickest delivery allows: no message can be made after it was received.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.contract.telemetry.message import Envelope

_TOLERANCE_SECONDS = 5.0
"""A clock is called wrong from here on; delivery and two machines' clocks differ by less."""
_PACE_SECONDS = 2.0
"""Deliveries within this of the quickest were delivered at once; the agent may hold a message for a second."""
_LIVE_SECONDS = 8.0
"""Deliveries at one pace over so much uptime are live. A spool that is emptied holds less of it at one pace."""
_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(slots=True)
class BootClock:
    """Compares, message by message, the device's clock with the time of receipt; holds no message."""

    _start: float = math.inf
    _synced_start: float | None = None
    _pace_start: float = math.inf
    _pace_from: float = math.inf
    _pace_to: float = -math.inf
    _first_error: float | None = None
    _last_error: float = 0.0
    _most_ahead: float = -math.inf
    _is_live: bool = False
    _is_floor: bool = False
    _is_unsynced: bool = False

    def hear(self, envelope: Envelope, received: float) -> None:
        """Take in one message.

        Args:
            envelope: The message's.
            received: Unix time of receipt.
        """
        start, error = received - envelope.uptime_seconds, envelope.time - received
        self._start = min(self._start, start)
        self._most_ahead = max(self._most_ahead, error)
        self._is_floor |= envelope.clock == "floor"
        self._is_unsynced = envelope.clock != "synced"
        if not self._is_unsynced:
            self._synced_start = envelope.time - envelope.uptime_seconds
        if start < self._pace_start - _PACE_SECONDS:  # quicker than all before: those were late
            self._pace_start = start
            self._pace_from, self._pace_to = math.inf, -math.inf
            if not self._is_live:
                self._first_error = None
        if start <= self._pace_start + _PACE_SECONDS:
            self._pace_from = min(self._pace_from, envelope.uptime_seconds)
            self._pace_to = max(self._pace_to, envelope.uptime_seconds)
            self._is_live |= self._pace_to - self._pace_from >= _LIVE_SECONDS
            self._first_error = error if self._first_error is None else self._first_error
            self._last_error = error

    def moment(self, envelope: Envelope) -> float:
        """Return the Unix time at which a message of this run was made, as well as it can be known."""
        if not self.is_wrong:
            return envelope.time
        start = self._start
        if not self._is_live and self._synced_start is not None:
            start = min(start, self._synced_start)  # all came late: what a time service vouched for is nearer
        return start + envelope.uptime_seconds

    @property
    def is_wrong(self) -> bool:
        """Whether the device's clock was certainly wrong at some time of this run.

        A clock that is behind shows only when messages are live: otherwise they may just have been late.
        """
        behind = self._is_live and min(self._first_error or 0.0, self._last_error) < -_TOLERANCE_SECONDS
        return self._is_floor or behind or self._most_ahead > _TOLERANCE_SECONDS

    @property
    def note(self) -> str:
        """What a reader of times must know, in a sentence; empty when there is nothing."""
        if not self.is_wrong:
            if self._is_unsynced and not self._is_live:  # nothing to hold it against
                return "The device's clock is not set by a time service; times are as it says."
            return ""
        placed = "times here are by receipt and the device's uptime."
        if self._is_live and abs(self._last_error) > _TOLERANCE_SECONDS:
            return f"The device's clock is {_off(self._last_error)}; {placed}"
        if self._is_live and self._first_error is not None and abs(self._first_error) > _TOLERANCE_SECONDS:
            return f"The device's clock was {_off(self._first_error)} until it was set; {placed}"
        if self._most_ahead > _TOLERANCE_SECONDS:
            return f"The device's clock is at least {_off(self._most_ahead)}; {placed}"
        return f"The device had no clock at first; {placed}"


def _off(error: float) -> str:
    return f"{duration(abs(error))} {'ahead' if error > 0 else 'behind'}"


def duration(seconds: float) -> str:
    """Return a duration for people in its largest unit, e.g. ``10 min``."""
    size, unit = next((one for one in _UNITS if seconds >= 1.99 * one[0]), _UNITS[-1])
    return f"{seconds / size:.0f} {unit}"
