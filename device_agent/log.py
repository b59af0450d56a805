"""The log: lines on standard error, for people, as JSON, or for the journal."""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Final

from device_agent.contract.document import visible, visible_json

if TYPE_CHECKING:
    from device_agent.config import LogSection

_KEPT_TROUBLES: Final = 20
_LONGEST_TROUBLE: Final = 400
_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class TextLines(logging.Formatter):
    """Lines for people; see `visible`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and those of a trace."""
        return visible(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time`` (Unix seconds), ``level``, ``logger``, ``text``, and ``trace`` of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return visible_json(line)


class JournalLines(logging.Formatter):
    """One line with the priority in front that systemd's journal takes off again; it stamps the time itself. Source: sd-daemon(3).

    For people, so see `visible`; and `journalctl` shows a line with control characters as ``[blob data]``, and nothing of what it says.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; those of a trace bear the priority too."""
        priority = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(priority + line for line in visible(super().format(record)).split("\n"))


class RecentTroubles(logging.Handler):
    """Keeps the last warnings and errors in memory, for the status."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: deque[tuple[float, str, str]] = deque(maxlen=_KEPT_TROUBLES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._last.append((record.created, record.levelname.lower(), record.getMessage()[:_LONGEST_TROUBLE]))

    @property
    def last(self) -> list[dict[str, object]]:
        """The lines, oldest first: ``time`` (Unix seconds), ``level``, ``text``."""
        return [
            {"time": round(time, 3), "level": level, "text": text} for time, level, text in tuple(self._last)
        ]


def set_level(level: str) -> None:
    """Write lines of at least this level from now on."""
    logging.getLogger().setLevel(level.upper())


def start_log(wanted: LogSection) -> None:
    """Send every log line of this process to standard error, in the form that is configured."""
    handler = logging.StreamHandler(sys.stderr)
    forms = {
        "text": TextLines("%(asctime)s %(levelname)-7s %(message)s"),
        "json": JsonLines(),
        "journal": JournalLines("%(message)s"),
    }
    handler.setFormatter(forms[wanted.format])
    logging.basicConfig(level=wanted.level.upper(), handlers=[handler], force=True)
