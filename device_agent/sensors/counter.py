"""`EnergyCounter`: a counter that wraps, as joules that only grow. Pure arithmetic: raw values and times go in."""

from __future__ import annotations

from typing import Final

from device_agent.sensors.reading import Absent

_MICRO: Final = 1e-6
_LATE_SECONDS: Final = 0.01
"""How far a counter may be behind at one read and not at the next."""


class EnergyCounter:
    """Sums what one counter grew since its first read.

    A read that cannot be right adds nothing and is absent: the counter was reset, or it was read so rarely that it may
    have wrapped more than once. Counting goes on from there. Whoever could not read the counter does not call
    `advance`: a 0 in its place would look like a wrap, and add a whole range that nobody used.

    Args:
        range_uj: Microjoules after which the counter begins at 0 again, or why that is not known.
        most_watts: More than what it counts can draw.
    """

    __slots__ = ("_last_seconds", "_last_uj", "_most_watts", "_range_uj", "_total_uj")

    def __init__(self, *, range_uj: int | Absent, most_watts: float) -> None:
        self._range_uj = range_uj
        self._most_watts = most_watts
        self._last_uj: int | None = None
        self._last_seconds = 0.0
        self._total_uj = 0

    def advance(self, raw_uj: int, now_seconds: float) -> float | Absent:
        """Return the joules since the first read; the first is 0.

        Args:
            raw_uj: What the counter says, in microjoules.
            now_seconds: Monotonic time of that read.
        """
        last, self._last_uj = self._last_uj, raw_uj
        elapsed, self._last_seconds = max(0.0, now_seconds - self._last_seconds), now_seconds
        if last is None:
            return 0.0
        most_uj = self._most_watts * (elapsed + _LATE_SECONDS) / _MICRO
        grown = raw_uj - last
        if isinstance(self._range_uj, Absent):
            if grown < 0:
                return Absent(f"the counter wrapped and its range is unknown: {self._range_uj.reason}")
        elif most_uj >= self._range_uj:
            return Absent(
                f"the counter was not read for {elapsed:.0f} s and may have wrapped more than once: its range is "
                f"{self._range_uj * _MICRO:.0f} J, and up to {self._most_watts:.0f} W are plausible"
            )
        elif grown < 0:
            grown += self._range_uj
        if grown < 0 or grown > most_uj:
            return Absent(f"the counter went from {last} to {raw_uj} µJ in {elapsed:.1f} s: it was reset")
        self._total_uj += grown
        return self._total_uj * _MICRO
