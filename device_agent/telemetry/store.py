"""`Store`: the SQLite table below the spool. One connection, one thread; no policy.

`spool` decides what is dropped, what is sent and what happens when this fails.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeVar

from device_agent.contract.errors import DeviceError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_Result = TypeVar("_Result")

_APPLICATION_ID: Final = 0x45775370
"""ASCII "EwSp": tells our file from another program's database."""
_SCHEMA_VERSION: Final = 1
_ROW_OVERHEAD_BYTES: Final = 72
"""Header, index entries and page slack of one row, rounded up from measured files."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL, retain INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS message_by_kind ON message (kind, id);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

_TOPIC: Final = re.compile(r"[A-Za-z0-9_/.-]{1,1024}")
"""Of every message that was ever put in. A broker ends the connection for others, each time that they are sent."""
_HIGHEST_ID: Final = 1 << 62
"""More than are ever given out; one that was damaged leaves no number for the next."""
_DAMAGED: Final = re.compile(
    r"no such (table|column)|has \d+ columns|has no column|decode to UTF-8|file format", re.I
)
"""What SQLite takes for a mistake in the query, which is ours and has none: the file's schema or a text is not what was written."""


class Kind(IntEnum):
    """What a message is; the number orders sending (low first) and dropping (high first)."""

    STATE = 0
    """Retained truth of now: a newer one of the same topic replaces it, and it is never dropped."""
    EVENT = 1
    MEASUREMENT = 2
    RESULT = 3


@dataclass(frozen=True, slots=True)
class SpooledMessage:
    """One message as it goes on the wire, QoS 1.

    Attributes:
        id: Place in the spool; rises with time, across restarts.
        kind: What it is.
        topic: MQTT topic.
        payload: Body as sent.
        retain: Whether the broker keeps it for later subscribers.
    """

    id: int
    kind: Kind
    topic: str
    payload: bytes
    retain: bool

    @property
    def size_bytes(self) -> int:
        """What the message costs in the spool, in bytes."""
        return len(self.payload) + len(self.topic) + _ROW_OVERHEAD_BYTES


class CorruptStoreError(StorageError):
    """The file is not a database of ours, or is damaged; it can be set aside and begun anew."""

    code = "spool_corrupt"


class StoreLockedError(DeviceError):
    """Another process holds the file: two agents on one spool."""

    code = "spool_locked"


class Store:
    """Rows of messages and a few counters.

    Args:
        path: Database file; None for memory.

    Raises:
        CorruptStoreError: The file is damaged or another program's.
        StoreLockedError: Another process has it.
        StorageError: It cannot be opened or written.
    """

    def __init__(self, path: Path | None) -> None:
        self._where = "memory" if path is None else str(path)
        try:
            self._db = sqlite3.connect(
                ":memory:" if path is None else path, isolation_level=None, timeout=0.2
            )
        except sqlite3.Error as error:
            raise self._wrapped(error) from error
        try:
            self._guarded(self._prepare)
        except DeviceError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        # EXCLUSIVE keeps a second agent off the file, and needs no shared-memory file beside it.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        owner = self._db.execute("PRAGMA application_id").fetchone()[0]
        is_empty = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if (owner, version) != (_APPLICATION_ID, _SCHEMA_VERSION) and not (
            (owner, version) == (0, 0)
            and is_empty  # what others made of their own may have no version at all
        ):
            raise CorruptStoreError(
                f"{self._where}: a database of another program or version ({owner:#x}, {version})."
            )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "wal_autocheckpoint=256",
            "journal_size_limit=1048576",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("PRAGMA cache_size=-256")
        self._db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        self._db.executescript(_SCHEMA)
        # An index that has come apart from its table hides messages without a word; a spool is small, and mostly empty.
        found = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise CorruptStoreError(f"{self._where}: damaged: {found}.")

    def write(
        self, *, add: Iterable[SpooledMessage], remove: Iterable[int], counters: Mapping[str, int]
    ) -> None:
        """Add and remove rows and set counters in one transaction: all or nothing.

        Raises:
            CorruptStoreError: The file is damaged.
            StorageError: Disk full, read-only or failing.
        """

        def transaction() -> None:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("DELETE FROM message WHERE id = ?", ((row,) for row in remove))
                self._db.executemany(
                    "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
                    ((row.id, int(row.kind), row.topic, row.payload, int(row.retain)) for row in add),
                )
                self._db.executemany("INSERT OR REPLACE INTO counter VALUES (?, ?)", counters.items())
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

        self._guarded(transaction)

    def page(self, kind: Kind, *, after: int, limit: int) -> list[SpooledMessage]:
        """Return up to ``limit`` messages of one kind with an id above ``after``, oldest first.

        Raises:
            CorruptStoreError: The file is damaged.
            StorageError: It cannot be read.
        """
        query = "SELECT id, topic, payload, retain FROM message WHERE kind = ? AND id > ? ORDER BY id LIMIT ?"
        rows = self._guarded(lambda: self._db.execute(query, (int(kind), after, limit)).fetchall())
        return [self._message(kind, *columns) for columns in rows]

    def oldest_sizes(self, kind: Kind, *, after: int, limit: int) -> list[tuple[int, int]]:
        """Return ``(id, size in bytes)`` of the oldest messages of a kind above ``after``.

        Raises:
            CorruptStoreError: The file is damaged.
            StorageError: It cannot be read.
        """
        query = (
            f"SELECT id, length(payload) + length(topic) + {_ROW_OVERHEAD_BYTES} "  # noqa: S608  a constant of ours
            "FROM message WHERE kind = ? AND id > ? ORDER BY id LIMIT ?"
        )
        return self._guarded(lambda: self._db.execute(query, (int(kind), after, limit)).fetchall())

    def totals(self) -> tuple[int, int, int]:
        """Return number of rows, their size in bytes, and the highest id; zeros when empty.

        Raises:
            CorruptStoreError: The file is damaged.
            StorageError: It cannot be read.
        """
        query = (
            "SELECT count(*), ifnull(sum(length(payload) + length(topic)), 0), ifnull(max(id), 0), "
            "ifnull(sum(kind BETWEEN ? AND ?), 0) FROM message"
        )
        rows, size, highest, of_a_kind = self._guarded(
            lambda: self._db.execute(query, (int(min(Kind)), int(max(Kind)))).fetchone()
        )
        if of_a_kind != rows or highest > _HIGHEST_ID:
            raise CorruptStoreError(f"{self._where}: damaged: a message of no kind, or whose number is none.")
        return rows, size + rows * _ROW_OVERHEAD_BYTES, highest

    def counters(self) -> dict[str, int]:
        """Return every counter.

        Raises:
            CorruptStoreError: The file is damaged.
            StorageError: It cannot be read.
        """
        found = self._guarded(lambda: self._db.execute("SELECT name, value FROM counter").fetchall())
        if not all(isinstance(name, str) and isinstance(value, int) for name, value in found):
            raise CorruptStoreError(f"{self._where}: damaged: a counter that is no number.")
        return dict(found)

    def close(self) -> None:
        """Close the file. A failing disk does not matter any more."""
        try:
            self._db.close()
        except sqlite3.Error:  # nothing is left to save: every write was its own transaction
            return

    def _message(
        self, kind: Kind, row: int, topic: object, payload: object, retain: object
    ) -> SpooledMessage:
        """Take a row for what was written, unless it cannot be: SQLite notices neither a flipped bit nor another type.

        Raises:
            CorruptStoreError: It is damaged.
        """
        if isinstance(topic, str) and _TOPIC.fullmatch(topic) and isinstance(payload, bytes):
            return SpooledMessage(row, kind, topic, payload, bool(retain))
        raise CorruptStoreError(f"{self._where}: damaged: message {row} is none.")

    def _guarded(self, action: Callable[[], _Result]) -> _Result:
        try:
            return action()
        except sqlite3.Error as error:
            raise self._wrapped(error) from error
        except UnicodeDecodeError as error:  # in SQLite's own message, which quotes what is damaged
            raise CorruptStoreError(f"{self._where}: damaged: {error}.") from error

    def _wrapped(self, error: sqlite3.Error) -> DeviceError:
        """Tell damage (a plain `DatabaseError`, but for `_DAMAGED`) from a disk that is full, read-only or failing (`OperationalError`)."""
        if not isinstance(error, sqlite3.OperationalError) or _DAMAGED.search(str(error)):
            return CorruptStoreError(f"{self._where}: damaged: {error}.")
        if "locked" in str(error):
            return StoreLockedError(
                f"{self._where}: another process has it open.",
                hint="Stop the other agent, or give each agent its own spool.path.",
            )
        return StorageError(f"{self._where}: {error}.", hint="Free space, or make the file writable.")
