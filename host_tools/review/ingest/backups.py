"""`Backups`: copies of the store, each of one moment, made beside the writing by the only process that may read the file."""

from __future__ import annotations

import re
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from host_tools.errors import StoreError
from host_tools.review.ingest.channel import Note

if TYPE_CHECKING:
    from host_tools.review.ingest.settings import BackupSettings
    from host_tools.review.store.telemetry_store import TelemetryStore

_TIME: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"telemetry-(\d{8}T\d{6}Z)\.duckdb")
_UNFINISHED: Final = re.compile(r"telemetry-\d{8}T\d{6}Z\.duckdb\.part(\.wal)?")
_RETRY_SECONDS: Final = 300.0
_PATIENCE_SECONDS: Final = 10.0


class Backups:
    """Makes one copy at a time, when the newest in the folder is old enough, and removes the oldest of its own.

    Args:
        store: Opened, of DuckDB.
        settings: Where, how often and how many.
    """

    def __init__(self, store: TelemetryStore, settings: BackupSettings) -> None:
        self._store = store
        self._settings = settings
        self._folder = Path(settings.folder)
        self._thread: threading.Thread | None = None
        self._due: float | None = None
        self.note: Note | None = None
        """What went wrong with the last; None when nothing did."""

    def keep_up(self) -> None:
        """Begin the next copy when it is time, unless one is being made."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._due is None:
            self._due = self._newest() + self._settings.every_seconds
        if time.time() >= self._due:
            self._thread = threading.Thread(target=self._make, name="backup", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait a while for the copy that is being made; one that takes longer is none, and its part goes with the next."""
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)

    def _make(self) -> None:
        began = time.time()
        name = f"telemetry-{datetime.fromtimestamp(began, tz=timezone.utc).strftime(_TIME)}.duckdb"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._of(_UNFINISHED):  # by a process that was killed
                left.unlink()
            self._store.backup(self._folder / name)
            for old in self._of(_NAME)[: -self._settings.kept]:
                old.unlink()
        except (StoreError, OSError) as error:
            self.note = Note("backup", f"no backup: {error}")
            self._due = time.time() + min(_RETRY_SECONDS, self._settings.every_seconds)
        else:
            self.note = None
            self._due = began + self._settings.every_seconds

    def _newest(self) -> float:
        """Return when the newest copy was made, in Unix seconds; 0.0 when there is none."""
        try:
            names = [path.name for path in self._of(_NAME)]
        except OSError:  # no such folder yet, or one that cannot be read, which making a copy will tell
            return 0.0
        times = [match[1] for name in names if (match := _NAME.fullmatch(name))]
        if not times:
            return 0.0
        return datetime.strptime(times[-1], _TIME).replace(tzinfo=timezone.utc).timestamp()

    def _of(self, pattern: re.Pattern[str]) -> list[Path]:
        """Return the files of the folder that are called so, the oldest first."""
        return sorted(path for path in self._folder.iterdir() if pattern.fullmatch(path.name))
