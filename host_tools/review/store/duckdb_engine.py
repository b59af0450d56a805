"""DuckDB: one file, one writing process, no server."""

from __future__ import annotations

import contextlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from host_tools.errors import StoreDamagedError, StoreError
from host_tools.review.store.duckdb_errors import store_error
from host_tools.review.store.engine import ASKED
from host_tools.review.store.schema import TABLES, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_TYPES: dict[Kind, str] = {
    "int8": "TINYINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "text": "VARCHAR",
    "int32[]": "INTEGER[]",
    "int64[]": "BIGINT[]",
    "double[33]": "DOUBLE[33]",  # of a list it would log those of the rows before it, too
}


_STREAMED_ROWS = 100_000
_ANSWERED_ROWS = 8192
"""Rows of one piece of an answer. One piece of all of them is grown, and copied, over and over: half of the time of large ones."""


class _Cursors(threading.local):
    """Of one thread: the connection while it writes, a cursor to read with, and whether it reads one moment."""

    writer: duckdb.DuckDBPyConnection | None = None
    reader: duckdb.DuckDBPyConnection | None = None
    opened: int = 0
    is_snapshot: bool = False


class DuckDbEngine:
    """See `engine.Engine`. Reads run beside a write, each on a cursor of its thread."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        memory_bytes: int | None = None,
        read_only: bool = False,
    ) -> None:
        """Open the file, or make it where it is not only read."""
        self.where = str(path)
        self._path = path
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "checkpoint_threshold": "128MiB",
            "autoinstall_known_extensions": False,  # a file of another database has it fetch code from the network
        }
        if threads is not None:
            self._config["threads"] = threads
        if memory_bytes is not None:
            self._config["memory_limit"] = f"{memory_bytes}B"
        self._read_only = read_only
        self._turn = threading.RLock()
        self._local = _Cursors()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._opened = 0
        self._place: tuple[int, int] | None = None
        self._has_arranged = False
        with self._told():
            self._open()

    def create(self, tables: Iterable[str]) -> None:
        """See `Engine.create`."""
        for name in tables:
            columns = ", ".join(
                f'"{column}" {_TYPES[kind]} NOT NULL' for column, kind in TABLES[name].columns.items()
            )
            self.alter(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")

    def alter(self, statement: str) -> None:
        """See `Engine.alter`."""
        with self._told():
            self._cursor().execute(statement)

    def add_column(self, table: str, column: str, value: str) -> None:
        """See `Engine.add_column`."""
        kind = _TYPES[TABLES[table].columns[column]]
        self.alter(f'ALTER TABLE {table} ADD COLUMN IF NOT EXISTS "{column}" {kind}')
        self.alter(f'UPDATE {table} SET "{column}" = {value} WHERE "{column}" IS NULL')

    def retype(self, table: str, column: str) -> None:
        """See `Engine.retype`."""
        self.alter(f'ALTER TABLE {table} ALTER "{column}" TYPE {_TYPES[TABLES[table].columns[column]]}')

    def select(self, sql: str, asked: NDArray[np.int64] | None = None) -> pa.Table:
        """See `Engine.select`."""
        if asked is None:
            with self._told():
                return self._cursor().sql(sql).to_arrow_table(_ANSWERED_ROWS)
        keys = pa.table({"key": np.unique(asked)})
        with self._told(), self._shown(keys, "asked_keys") as cursor:
            found = cursor.sql(sql.replace(ASKED, "(SELECT key FROM asked_keys)"))
            return found.to_arrow_table(_ANSWERED_ROWS)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `Engine.snapshot`."""
        if self._local.writer is not None or self._local.is_snapshot:
            yield
            return
        with self._told():
            cursor = self._cursor()
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            self._local.is_snapshot = True
            try:
                yield
            finally:
                self._local.is_snapshot = False
                with contextlib.suppress(duckdb.Error):  # there is none any more: a failure ended it
                    cursor.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Engine.transaction`."""
        with self._turn, self._told():
            cursor = self._local.writer = self._open()
            try:
                self._check_place()
                cursor.execute("BEGIN")
                yield
                cursor.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            else:
                self._give_room_back(cursor)
            finally:
                self._local.writer = None

    def append(self, table: str, rows: pa.Table) -> None:
        """See `Engine.append`."""
        if rows.num_rows:
            with self._told(), self._shown(rows) as cursor:
                cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows_to_write")

    def replace(self, table: str, rows: pa.Table) -> None:
        """See `Engine.replace`."""
        self.remove(table, rows.select(list(TABLES[table].key)))
        self.append(table, rows)

    def remove(self, table: str, keys: pa.Table, *, also: str = "") -> None:
        """See `Engine.remove`."""
        if keys.num_rows:
            same = " AND ".join(f'{table}."{name}" = gone."{name}"' for name in keys.column_names)
            same += f" AND ({also})" if also else ""
            with self._told(), self._shown(keys) as cursor:
                cursor.execute(f"DELETE FROM {table} USING rows_to_write AS gone WHERE {same}")

    def remove_where(self, table: str, condition: str) -> int:
        """See `Engine.remove_where`."""
        with self._told():
            found = self._cursor().execute(f"DELETE FROM {table} WHERE {condition}").fetchone()
        return int(found[0]) if found else 0

    def place(self, table: str, boots: pa.Table) -> None:
        """See `Engine.place`."""
        with self._told(), self._shown(boots) as cursor:
            cursor.execute(
                f"UPDATE {table} SET moment = CASE WHEN placed.wrong THEN placed.start + {table}.uptime_seconds "
                f'ELSE {table}."time" END FROM rows_to_write AS placed WHERE {table}.boot = placed.boot'
                f"{' AND seq <> 0' if table == 'health' else ''}"
            )

    def arrange(self, table: str, start: int, end: int) -> None:
        """See `Engine.arrange`: then what a device has in that time lies in one place, not in each of its windows'."""
        within = f'"time" >= {start} AND "time" < {end}'
        with self._told():
            cursor = self._cursor()
            cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE arranged AS SELECT * FROM {table} WHERE {within} "
                'ORDER BY device, "time"'
            )
            cursor.execute(f"DELETE FROM {table} WHERE {within}")
            cursor.execute(f'INSERT INTO {table} SELECT * FROM arranged ORDER BY device, "time"')
            cursor.execute("DROP TABLE arranged")
        self._has_arranged = True

    def compact(self) -> None:
        """See `Engine.compact`."""
        with self._turn, self._told():
            self._open().execute("CHECKPOINT")

    def seal(self, table: str, condition: str, part: int) -> None:
        """See `Engine.seal`."""
        with self._told():
            self._cursor().execute(f"UPDATE {table} SET part = {part} WHERE part = 0 AND ({condition})")

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """See `Engine.stream`."""
        with self._told():
            yield from self._cursor().sql(sql).to_arrow_reader(_STREAMED_ROWS)

    def backup(self, path: Path) -> bool:
        """See `Engine.backup`: one transaction reads all tables, so the copy is of one moment."""
        if path.exists():
            raise StoreError(f"{path}: is there already.", hint="Name a file that is not there.")
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.unlink(missing_ok=True)
        quoted = str(unfinished).replace("'", "''")
        with self._told():
            cursor = self._open().cursor()
            try:
                source = cursor.execute("SELECT current_database()").fetchall()[0][0]
                cursor.execute(f"ATTACH '{quoted}' AS unfinished_copy (READ_WRITE)")
                try:
                    cursor.execute(f'COPY FROM DATABASE "{source}" TO unfinished_copy')
                finally:
                    cursor.execute("DETACH unfinished_copy")
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            finally:
                cursor.close()
        unfinished.rename(path)
        return True

    def close(self) -> None:
        """See `Engine.close`."""
        with self._turn, self._told():
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return the connection of this thread's transaction, else a cursor of this thread's."""
        if self._local.writer is not None:
            return self._local.writer
        connection = self._open()
        if self._local.reader is None or self._local.opened != self._opened:
            self._local.reader, self._local.opened = connection.cursor(), self._opened
        return self._local.reader

    def _open(self) -> duckdb.DuckDBPyConnection:
        """Return the connection; one that an error ended is opened again, with what was committed."""
        with self._turn:
            if self._connection is None:
                self._connection = duckdb.connect(
                    str(self._path), config=self._config, read_only=self._read_only
                )
                self._connection.execute("SET TimeZone = 'UTC'")
                self._opened += 1
                self._place = _place_of(self._path)
            return self._connection

    def _check_place(self) -> None:
        """Refuse to write what nobody will find: a file that was removed can be written as long as it is open."""
        if _place_of(self._path) != self._place:
            raise StoreDamagedError(
                f"{self.where}: the file was removed, or another one is in its place, while it was written.",
                hint="Put it back, or a backup, and start again; what was written to it is in the file that was open.",
            )

    @contextmanager
    def _shown(self, rows: pa.Table, name: str = "rows_to_write") -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._cursor()
        cursor.register(name, rows)
        try:
            yield cursor
        finally:
            with contextlib.suppress(
                duckdb.Error
            ):  # of an aborted transaction: what aborted it is what to tell
                cursor.unregister(name)

    def _give_room_back(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let the next rows lie where arranged ones lay before.

        DuckDB does that at a checkpoint alone, and counts to the next by its log, in which so many rows are next to nothing:
        a store with all of its windows to arrange came to lie in a file of 1.6 times its size.
        """
        if self._has_arranged:
            self._has_arranged = False
            cursor.execute("CHECKPOINT")

    def _roll_back(self) -> None:
        with contextlib.suppress(duckdb.Error):  # there may be no transaction any more: the failure ended it
            self._open().execute("ROLLBACK")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException | duckdb.InternalException):
                self._give_up()
            raise store_error(self.where, error) from error
        except OSError as error:
            raise store_error(self.where, error) from error

    def _give_up(self) -> None:
        """Close a connection that the database calls unusable: the file has what was committed."""
        with self._turn, contextlib.suppress(duckdb.Error):
            broken, self._connection = self._connection, None
            if broken is not None:
                broken.close()


def _place_of(path: Path) -> tuple[int, int] | None:
    """Return which file is there; None where there is none, as in memory."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
