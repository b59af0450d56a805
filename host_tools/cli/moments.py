"""Times as commands print them."""

from __future__ import annotations

from datetime import datetime, timezone


def to_the_second(unix_seconds: float) -> str:
    """Return a Unix time with its offset: ``2026-11-27 06:00:00+00:00``."""
    return datetime.fromtimestamp(unix_seconds, tz=timezone.utc).isoformat(" ", "seconds")


def moment(seconds: float | None) -> str:
    """Return a Unix time for people."""
    if seconds is None:
        return "never"
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # no year of the calendar
        return f"{seconds:g}"
