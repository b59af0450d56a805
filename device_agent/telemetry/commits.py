"""`Commits`: when the spool is written to disk, and how it is closed."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

from device_agent.contract.errors import StorageError

if TYPE_CHECKING:
    from device_agent.config import SpoolSection
    from device_agent.telemetry.spool import Spool

_LOG = logging.getLogger("edgewright.agent")


class Commits:
    """See the module's docstring. The loop's thread calls it.

    Args:
        spool: What is written.
        section: How often, and where it lies.
    """

    def __init__(self, spool: Spool, section: SpoolSection) -> None:
        self._spool = spool
        self._section = section
        self._due_seconds = monotonic()

    @property
    def next_due_seconds(self) -> float:
        """Monotonic time at which `turn` wants to be called."""
        return self._due_seconds if self._spool.is_dirty else float("inf")

    def turn(self, now_seconds: float, *, at_once: bool) -> None:
        """Write what is new where that is due or wanted at once."""
        if self._spool.is_dirty and (now_seconds >= self._due_seconds or at_once):
            self._spool.commit()
            self._due_seconds = now_seconds + self._section.commit_interval_seconds

    def close(self) -> None:
        """Write what is new, close the spool, and log what waits there or is lost."""
        try:
            lost = self._spool.close()
        except StorageError as error:
            _LOG.error("messages are lost: the spool cannot be closed: %s", error)
            return
        if lost:
            _LOG.warning(
                "%d messages are lost: they were not delivered, and %s cannot be written",
                lost,
                self._section.path,
            )
        elif self._spool.rows:
            _LOG.info("%d messages wait in %s for the next start", self._spool.rows, self._section.path)
