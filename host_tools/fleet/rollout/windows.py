"""Schedule windows: when stages may begin. All times are UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.fleet.records.rollouts import ScheduleWindow

DAY_SECONDS = 86_400
_THURSDAY = 3
"""The weekday of Unix time 0."""


def is_open(windows: Sequence[ScheduleWindow], now_seconds: float) -> bool:
    """Say whether a stage may begin now; always without windows."""
    return not windows or any(_holds(one, now_seconds) for one in windows)


def next_opening(windows: Sequence[ScheduleWindow], now_seconds: float) -> float:
    """Return the Unix time from which on a stage may begin: now, or when the next window begins."""
    if is_open(windows, now_seconds):
        return now_seconds
    midnight = now_seconds - now_seconds % DAY_SECONDS
    return min(
        begin
        for one in windows
        for day in range(8)
        if (begin := midnight + day * DAY_SECONDS + one.begin_seconds) > now_seconds
        and _weekday(begin) in one.weekdays
    )


def _holds(window: ScheduleWindow, now_seconds: float) -> bool:
    second = now_seconds % DAY_SECONDS
    today, yesterday = _weekday(now_seconds), _weekday(now_seconds - DAY_SECONDS)
    if window.begin_seconds < window.end_seconds:
        return today in window.weekdays and window.begin_seconds <= second < window.end_seconds
    return (today in window.weekdays and second >= window.begin_seconds) or (
        yesterday in window.weekdays and second < window.end_seconds
    )


def _weekday(seconds: float) -> int:
    return int(seconds // DAY_SECONDS + _THURSDAY) % 7
