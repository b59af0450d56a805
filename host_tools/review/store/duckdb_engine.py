"""DuckDB: one file, one writing process, no server."""

from __future__ import annotations

import contextlib
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from host_tools.errors import StoreError
from host_tools.review.store.schema import TABLES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

_TYPES: dict[Kind, str] = {
    "int8": "TINYINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "text": "VARCHAR",
    "bytes": "BLOB",
    "int32[]": "INTEGER[]",
    "int64[]": "BIGINT[]",
    "double[]": "DOUBLE[]",
}


class _Cursors(threading.local):
    """Of one thread: the connection while it writes, and a cursor to read with."""

    writer: duckdb.DuckDBPyConnection | None = None
    reader: duckdb.DuckDBPyConnection | None = None


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
        config: dict[str, str | bool | int | float | list[str]] = {"checkpoint_threshold": "128MiB"}
        if threads is not None:
            config["threads"] = threads
        if memory_bytes is not None:
            config["memory_limit"] = f"{memory_bytes}B"
        self._turn = threading.RLock()
        self._local = _Cursors()
        if read_only and not path.is_file():
            raise StoreError(f"{path}: there is no such file.", hint="`edgewright ingest --store` makes one.")
        with self._told(), _held_told(path):
            self._connection = duckdb.connect(str(path), config=config, read_only=read_only)
            self._connection.execute("SET TimeZone = 'UTC'")

    def create(self) -> None:
        """Make the tables that are not there."""
        with self.transaction():
            for name, table in TABLES.items():
                columns = ", ".join(
                    f'"{column}" {_TYPES[kind]} NOT NULL' for column, kind in table.columns.items()
                )
                self._cursor().execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")

    def select(self, sql: str) -> pa.Table:
        """See `Engine.select`."""
        with self._told():
            return self._cursor().sql(sql).to_arrow_table()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Engine.transaction`."""
        with self._turn, self._told():
            cursor = self._connection
            self._local.writer = cursor
            try:
                cursor.execute("BEGIN")
                yield
                cursor.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
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
            )

    def compact(self) -> None:
        """See `Engine.compact`."""
        with self._turn, self._told():
            self._connection.execute("CHECKPOINT")

    def backup(self, path: Path, *, progress: Callable[[float], None] | None = None) -> None:
        """See `Engine.backup`."""
        raise NotImplementedError

    def close(self) -> None:
        """See `Engine.close`."""
        with self._turn, self._told():
            self._connection.close()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return the connection of this thread's transaction, else a cursor of this thread's."""
        if self._local.writer is not None:
            return self._local.writer
        if self._local.reader is None:
            self._local.reader = self._connection.cursor()
        return self._local.reader

    @contextmanager
    def _shown(self, rows: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._cursor()
        cursor.register("rows_to_write", rows)
        try:
            yield cursor
        finally:
            cursor.unregister("rows_to_write")

    def _roll_back(self) -> None:
        with contextlib.suppress(duckdb.Error):  # there may be no transaction any more: the failure ended it
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise StoreError(f"{self.where}: {error}") from error


@contextmanager
def _held_told(path: Path) -> Iterator[None]:
    """Say in our words that another process has the file: DuckDB lets one write, or several read, and never both."""
    try:
        yield
    except duckdb.IOException as error:
        holder = re.search(r"lock is held in .*?\(PID (\d+)\)", str(error))
        if holder is None:
            raise
        raise StoreError(
            f"{path}: process {holder.group(1)} has this file open.",
            hint="While `edgewright ingest` writes it, `ingest --page PORT` serves the page, reports included; a page or report that "
            "reads it has to be ended before something can write.",
        ) from error
