"""What DuckDB says that goes wrong, as a `StoreError` that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.errors import StoreDamagedError, StoreError, StoreInUseError

if TYPE_CHECKING:
    from collections.abc import Sequence

_IN_USE = "lock on file"
_IN_USE_HINT = (
    "Another process has it open, and one process at a time can write, or several read. While `edgewright ingest` writes, its "
    "--page serves the page, and its --backup makes copies to read. Else stop that process, or give another file."
)
_DAMAGED = (
    ("not a valid duckdb", "This is no store of telemetry; give another file, or restore a backup."),
    (
        "sqlite_scanner",
        "This is a SQLite database, and no store of telemetry; give another file, or restore a backup.",
    ),
    ("could not read enough bytes", "The file was cut off; restore a backup."),
    ("checksum", "The file is damaged; restore a backup."),
    ("corrupt", "The file is damaged; restore a backup."),
)
"""What to do about a file that no second attempt will read, by what the message says."""
_HINTS = (
    ("newer version", "It was written by a newer DuckDB: upgrade, pip install -U duckdb."),
    ("no space left", "Make room on the disk; what was committed is safe."),
    ("could not write", "Is the disk full? Make room; what was committed is safe."),
    ("permission denied", "Give this user the right to write there."),
    ("cannot open file", "Does the folder exist, and may this user write there?"),
)
"""What to do about the others, likewise."""


def store_error(where: str, error: Exception) -> StoreError:
    """Return what to tell of an error of the database, or of its file, at a place."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
    told = str(error).replace(where, "").lower()  # a folder may be called "corrupt"
    if _IN_USE in told:
        return StoreInUseError(f"{where}: {line}", hint=_IN_USE_HINT)
    if (damage := _hint(_DAMAGED, told)) is not None:
        return StoreDamagedError(f"{where}: {line}", hint=damage)
    return StoreError(f"{where}: {line}", hint=_hint(_HINTS, told) or "")


def _hint(hints: Sequence[tuple[str, str]], told: str) -> str | None:
    return next((hint for sign, hint in hints if sign in told), None)
