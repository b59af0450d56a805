"""`Leadership`: of the servers of one fleet, one makes its rollouts go on; the others stand by and take over when it has gone.

On PostgreSQL it is an advisory lock of a session, and gone with it; on SQLite a lock on a file beside the database, gone with the process.
"""

from __future__ import annotations

import fcntl
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from host_tools.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

LEADER_LOCK: Final = 0x65776C64
"""Number of the advisory lock on PostgreSQL."""
_SUFFIX: Final = "-leader"


class Leadership:
    """Whether this store's process leads; asked before every round, since a session may have been lost since the one before.

    Args:
        engine: Of the fleet's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._one_asks = threading.Lock()
        self._session: Connection | None = None
        self._file: IO[bytes] | None = None

    def holds(self) -> bool:
        """Return whether this process leads now; where nobody does, it does from now on.

        Raises:
            DBAPIError: The database does not answer.
            StoreError: The file beside the database cannot be opened.
        """
        with self._one_asks:
            if self._engine.dialect.name == "postgresql":
                return self._holds_session()
            return self._holds_file()

    def end(self) -> None:
        """Let another lead."""
        with self._one_asks:
            if self._session is not None:
                with suppress(DBAPIError):
                    self._session.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LEADER_LOCK})
            self._end_session()
            if self._file is not None:
                self._file.close()
                self._file = None

    def _holds_session(self) -> bool:
        if self._session is not None:
            try:
                self._session.execute(text("SELECT 1"))
            except DBAPIError:
                self._end_session()  # the lock went with it; another may have it by now
            else:
                return True
        session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            asked = session.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
            if asked.scalar_one():
                self._session = session
        finally:
            if self._session is None:
                session.close()
        return self._session is not None

    def _end_session(self) -> None:
        """End the connection itself: one that goes back to the pool would keep the lock."""
        if self._session is not None:
            self._session.invalidate()
            self._session.close()
            self._session = None

    def _holds_file(self) -> bool:
        database = self._engine.url.database
        if self._file is not None or database in (None, "", ":memory:"):
            return True
        path = Path(f"{database}{_SUFFIX}")
        try:
            file = path.open("ab")
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened: {error.strerror or error}.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        except OSError as error:
            file.close()
            raise StoreError(f"{path}: cannot be locked: {error.strerror or error}.") from error
        self._file = file
        return True
