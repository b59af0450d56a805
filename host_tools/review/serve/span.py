"""The time that is looked at, and which windows show it: as fine as a screen can show, and as are still kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from host_tools.errors import InputError
from host_tools.review.store.telemetry_store import Retention
from host_tools.review.store.tiles import windows_a_device
from host_tools.review.store.windows import SHOWN_LEVELS, Level, Selection

RANGES = {
    "1h": 3600.0,
    "6h": 21600.0,
    "24h": 86400.0,
    "7d": 7 * 86400.0,
    "30d": 30 * 86400.0,
    "90d": 90 * 86400.0,
}
"""Lengths that the page offers by name, in seconds."""
_MOST_WINDOWS = 1500
"""More columns than a screen has dots for are work for nothing."""
_MOST_RANKED_WINDOWS = 10
"""Of a device: merging more of 10,000 devices takes too long."""
_JITTER = 1.15
"""A device's windows are by so much longer than it was told, at times."""
_MOST_SPAN = 20 * 366 * 86400.0
LATEST = 253370764800.0
"""The year 9999, in Unix seconds: no time that is asked for lies beyond; in what is around it calendars end, and dates fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time in whole windows of a level.

    Attributes:
        start: Unix seconds, at a window's start.
        end: Unix seconds, exclusive, at a window's end.
        level: Length of the windows.
        is_chosen: Whether somebody asked for this level; if not, a coarser one may be shown where it has nothing.
    """

    start: float
    end: float
    level: Level
    is_chosen: bool

    @property
    def windows(self) -> int:
        """Number of windows."""
        return round((self.end - self.start) / self.level.seconds)

    def at(self, level: Level) -> Span:
        """Return the same time in windows of another length, which reach as far or farther."""
        step = level.seconds
        start, end = math.floor(self.start / step) * step, math.ceil(self.end / step) * step
        return Span(
            start=float(start), end=float(max(end, start + step)), level=level, is_chosen=self.is_chosen
        )


def span_of(
    start: float, end: float, *, newest: float, level: str | None = None, kept: Retention | None = None
) -> Span:
    """Return the span from ``start`` to ``end`` at the finest level that is kept for so long and fits a screen.

    Args:
        start: Unix seconds.
        end: Unix seconds.
        newest: When the newest message came: what was kept is counted back from there.
        level: Seconds of a window, as text, to have that level; None to have one picked.
        kept: How long the store keeps each level; None: as by default.

    Raises:
        InputError: The span is empty, of another world, or the level is unknown or has too many windows in it.
    """
    if not (math.isfinite(start) and math.isfinite(end) and 0.0 <= start < end <= LATEST):
        raise InputError(
            f"time: expected Unix seconds, start before end and before the year 9999, got {start!r} to {end!r}."
        )
    if end - start > _MOST_SPAN:
        raise InputError(f"time: at most 20 years are shown at once, got {(end - start) / 86400.0:.0f} days.")
    rough = Span(start=start, end=end, level=Level.DAY, is_chosen=level is not None)
    if level is None:
        return rough.at(picked_level(start, end, newest=newest, kept=kept))
    known = {str(one.seconds): one for one in SHOWN_LEVELS}
    if level not in known:
        raise InputError(f"level: expected one of {', '.join(known)} (seconds a window), got {level!r}.")
    chosen = rough.at(known[level])
    if chosen.windows > 4 * _MOST_WINDOWS:
        raise InputError(
            f"level: windows of {level} s over this time are {chosen.windows}, at most {4 * _MOST_WINDOWS} are shown.",
            hint="Choose a shorter time, or leave the level out.",
        )
    return chosen


def named_span(name: str, *, newest: float, level: str | None = None, kept: Retention | None = None) -> Span:
    """Return the last hour, day, … that has something in it: it ends with the newest message.

    Raises:
        InputError: The name is unknown.
    """
    if name not in RANGES:
        raise InputError(f"range: expected one of {', '.join(RANGES)}, got {name!r}.")
    end = newest + 1.0
    return span_of(max(end - RANGES[name], 0.0), end, newest=newest, level=level, kept=kept)


def picked_level(
    start: float, end: float, *, newest: float, told_seconds: float = 0.0, kept: Retention | None = None
) -> Level:
    """Return the finest level that has at most about 1,500 windows here, is kept as far back as ``start``, and has no holes.

    Args:
        start: Unix seconds.
        end: Unix seconds.
        newest: When the newest message came.
        told_seconds: Length of the windows that devices tell: in shorter ones most would be empty. 0 where it is unknown.
        kept: How long the store keeps each level; None: as by default.
    """
    kept = kept or Retention()
    days = {
        Level.SECONDS_10: kept.seconds_10_days,
        Level.MINUTE: kept.minute_days,
        Level.HOUR: kept.hour_days,
        Level.DAY: kept.day_days,
    }
    for level in SHOWN_LEVELS:
        limit = days[level]
        is_kept = limit is None or start >= newest - limit * 86400.0 - level.seconds
        has_holes = told_seconds > _JITTER * level.seconds
        if is_kept and not has_holes and (end - start) / level.seconds <= _MOST_WINDOWS:
            return level
    return Level.DAY


def of_ranking(span: Span) -> Span:
    """Return the time in whole windows that are long enough: the short ones at its ends would be most of what is merged."""
    for level in Level:
        if not span.level.seconds <= level.seconds <= Level.DAY.seconds:
            continue
        rounded = span.at(level)
        if windows_a_device(Selection(start=rounded.start, end=rounded.end), level) <= _MOST_RANKED_WINDOWS:
            return rounded
    return span.at(Level.DAY)


def coarser(level: Level) -> Level | None:
    """Return the next level up, None above days."""
    levels = list(SHOWN_LEVELS)
    place = levels.index(level) + 1
    return levels[place] if place < len(levels) else None
