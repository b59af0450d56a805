"""The file below a spool: which one it is, what becomes of a damaged one, and what the operator hears of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.telemetry.store import CorruptStoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something about the storage that the operator must hear.

    Attributes:
        code: ``spool_set_aside``, ``spool_in_memory`` or ``spool_on_disk``.
        message: What happened, with the path.
    """

    code: str
    message: str


def file_id(path: Path) -> tuple[int, int] | None:
    """Tell a file from another one under its name; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def set_aside(path: Path, error: CorruptStoreError) -> Notice:
    """Keep the damaged file for a look, one of them at most, and make way for a new one.

    Raises:
        OSError: It cannot be moved.
    """
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside)
    for suffix in ("-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
    return Notice(
        code="spool_set_aside",
        message=f"{error} It was set aside as {aside}; the messages in it are lost.",
    )


def in_memory(path: Path, error: Exception) -> Notice:
    """Tell that messages wait in memory, and why."""
    return Notice(
        code="spool_in_memory", message=f"{path}: cannot be written, messages wait in memory: {error}"
    )
