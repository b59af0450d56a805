"""`Stamper`: gives every message its envelope. The only place where the wall clock is read and `seq` is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.telemetry.message import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.contract.telemetry.message import Clock

FLOOR_SECONDS: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z, before this version was made: a clock that says less is wrong for certain."""


class Stamper:
    """Numbers the messages of one run of the agent, from 0, with no gap but those that were lost.

    (device, ``boot_id``, ``seq``) is unique because ``boot_id`` is new with every start: no counter has to survive a
    kill or a damaged disk for that.

    Args:
        boot_id: Id of this run.
        wall_seconds: Returns Unix time.
        monotonic_seconds: Returns monotonic time; the first call is the start of the agent.
        synchronized: Returns whether a time service vouches for the wall clock.
    """

    def __init__(
        self,
        *,
        boot_id: str,
        wall_seconds: Callable[[], float],
        monotonic_seconds: Callable[[], float],
        synchronized: Callable[[], bool],
    ) -> None:
        self.boot_id = boot_id
        self._wall_seconds = wall_seconds
        self._monotonic_seconds = monotonic_seconds
        self._synchronized = synchronized
        self._started_seconds = monotonic_seconds()
        self._next_seq = 0
        self.artifact: str | None = None
        """Digest of the artifact that runs."""

    @property
    def uptime_seconds(self) -> float:
        """Monotonic time since the agent started."""
        return max(0.0, self._monotonic_seconds() - self._started_seconds)

    def next(self) -> Envelope:
        """Return the envelope of a new message."""
        seq = self._next_seq
        self._next_seq += 1
        return self.again(seq)

    def again(self, seq: int) -> Envelope:
        """Return an envelope of now with a number that `next` has given out for this message before."""
        time, clock = self.wall()
        return Envelope(
            time=time,
            boot_id=self.boot_id,
            seq=seq,
            uptime_seconds=round(self.uptime_seconds, 6),
            clock=clock,
            artifact=self.artifact,
        )

    def wall(self) -> tuple[float, Clock]:
        """Return Unix time in seconds, and how far it can be trusted."""
        wall = self._wall_seconds()
        if wall < FLOOR_SECONDS:
            # Uptime keeps the messages of a machine without a clock in their order.
            return FLOOR_SECONDS + self.uptime_seconds, "floor"
        return wall, "synced" if self._synchronized() else "unsynced"
