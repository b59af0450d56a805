"""ClickHouse: for fleets that one file and one writing process cannot hold.

Rows are never changed in place: what is written later under the same key counts (`ReplacingMergeTree`, read with
`FINAL`), and what is removed is written as gone. There are no transactions over tables; the store writes in an order in
which whatever is cut off is done again, with the same result.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from host_tools.review.store.engine import ASKED, integer_list, one_of
from host_tools.review.store.schema import TABLES, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_TYPES: dict[Kind, str] = {
    "int8": "Int8",
    "int32": "Int32",
    "int64": "Int64",
    "double": "Float64",
    "bool": "Bool",
    "text": "String",
    "int32[]": "Array(Int32)",
    "int64[]": "Array(Int64)",
    "double[33]": "Array(Float64)",
}
_CODECS = {"moment": "Delta, ZSTD", "time": "Delta, ZSTD", "received": "Delta, ZSTD", "seq": "Delta, ZSTD"}
SETTINGS = {
    "final": "1",
    "prefer_column_name_to_alias": "1",
    "max_query_size": "268435456",
    "output_format_arrow_string_as_string": "1",
}
"""What every statement is run with."""


class Connection(Protocol):
    """The ClickHouse engine in this process, or a server. Every method raises `StoreError`."""

    where: str

    def query(self, sql: str) -> pa.Table:
        """Return what a question gives."""

    def command(self, sql: str) -> None:
        """Do what a statement says."""

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows; the names of the columns are the table's."""

    def close(self) -> None:
        """End the connection."""


class ClickHouseEngine:
    """See `engine.Engine`."""

    def __init__(self, connection: Connection) -> None:
        self.where = connection.where
        self._connection = connection
        self._turn = threading.RLock()
        self._version = 0

    def create(self, tables: Iterable[str]) -> None:
        """See `Engine.create`."""
        for name in tables:
            self._connection.command(create_statement(name))
            if TABLES[name].key:
                latest = self._connection.query(
                    f"SELECT max(version) AS latest FROM {name} SETTINGS final = 0"
                )
                self._version = max(self._version, int(latest.column("latest")[0].as_py() or 0))

    def alter(self, statement: str) -> None:
        """See `Engine.alter`."""
        self._connection.command(statement)

    def add_column(self, table: str, column: str, value: str) -> None:
        """See `Engine.add_column`."""
        kind = _TYPES[TABLES[table].columns[column]]
        self._connection.command(
            f'ALTER TABLE {table} ADD COLUMN IF NOT EXISTS "{column}" {kind} DEFAULT {value} CODEC(ZSTD)'
        )

    def retype(self, table: str, column: str) -> None:
        """See `Engine.retype`."""
        kind = _TYPES[TABLES[table].columns[column]]
        self._connection.command(f'ALTER TABLE {table} MODIFY COLUMN "{column}" {kind} CODEC(ZSTD)')

    def select(self, sql: str, asked: NDArray[np.int64] | None = None) -> pa.Table:
        """See `Engine.select`."""
        if asked is not None:
            sql = sql.replace(ASKED, f"({integer_list(asked) or 'NULL'})")
        return self._connection.query(sql)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `Engine.snapshot`; ClickHouse has none: what is written between two questions counts in the second."""
        yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Engine.transaction`; here what is done within is not one, but can be repeated."""
        with self._turn:
            yield

    def append(self, table: str, rows: pa.Table) -> None:
        """See `Engine.append`."""
        if rows.num_rows:
            columns = list(TABLES[table].columns)
            self._insert(table, rows.select(columns), gone=False)

    def replace(self, table: str, rows: pa.Table) -> None:
        """See `Engine.replace`."""
        self.append(table, rows)

    def remove(self, table: str, keys: pa.Table, *, also: str = "") -> None:
        """See `Engine.remove`."""
        if not keys.num_rows:
            return
        if set(keys.column_names) == set(TABLES[table].key) and not also:
            self._insert(table, keys, gone=True)
            return
        listed = [f"[{','.join(map(str, keys.column(name).to_pylist()))}]" for name in keys.column_names]
        names = ", ".join(f'"{name}"' for name in keys.column_names)
        # One array a column: a list of tuples would be an expression a tuple.
        arrays = listed[0] if len(listed) == 1 else f"arrayZip({', '.join(listed)})"
        condition = f"({names}) IN (SELECT arrayJoin({arrays}))"
        self._tell_gone(table, f"{condition} AND ({also})" if also else condition)

    def remove_where(self, table: str, condition: str) -> int:
        """See `Engine.remove_where`."""
        size = self._connection.query(f"SELECT count(*) AS size FROM {table} WHERE {condition}")
        count = int(size.column("size")[0].as_py())
        if not count:
            return 0
        if TABLES[table].key:
            self._tell_gone(table, condition)
        else:
            self._connection.command(f"DELETE FROM {table} WHERE {condition}")
        return count

    def place(self, table: str, boots: pa.Table) -> None:
        """See `Engine.place`."""
        boot, wrong = (boots.column(name).to_pylist() for name in ("boot", "wrong"))
        start = [one if np.isfinite(one) else 0.0 for one in boots.column("start").to_pylist()]
        is_wrong = f"transform(boot, {boot}, {[int(one) for one in wrong]}, 0)"
        moment = f'if({is_wrong} = 1, transform(boot, {boot}, {start}, 0.0) + uptime_seconds, "time")'
        self._connection.command(
            f"INSERT INTO {table} SELECT * REPLACE({moment} AS moment, {self._next()} AS version) "
            f"FROM {table} WHERE {one_of('boot', boot)}{' AND seq <> 0' if table == 'health' else ''}"
        )

    def arrange(self, table: str, start: int, end: int) -> None:
        """See `Engine.arrange`: the tables are ordered by device."""

    def compact(self) -> None:
        """See `Engine.compact`."""
        for name, table in TABLES.items():
            self._connection.command(f"OPTIMIZE TABLE {name} FINAL{' CLEANUP' if table.key else ''}")

    def seal(self, table: str, condition: str, part: int) -> None:
        """See `Engine.seal`: both under one statement's version, first what stays."""
        self._connection.command(
            f"INSERT INTO {table} SELECT * REPLACE({part} AS part, {self._next()} AS version) "
            f"FROM (SELECT * FROM {table} WHERE part = 0 AND ({condition}))"  # within, part is the column still
        )
        self._tell_gone(table, f"part = 0 AND ({condition})")

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """See `Engine.stream`."""
        yield from self.select(sql).to_batches()

    def backup(self, path: Path) -> bool:
        """See `Engine.backup`: ``BACKUP DATABASE`` is the server's, and where it may write is the server's to say."""
        del path
        return False

    def close(self) -> None:
        """See `Engine.close`."""
        self._connection.close()

    def _insert(self, table: str, rows: pa.Table, *, gone: bool) -> None:
        if TABLES[table].key:
            size = rows.num_rows
            rows = rows.append_column("version", pa.array(np.full(size, self._next()), pa.uint64()))
            rows = rows.append_column("gone", pa.array(np.full(size, int(gone)), pa.uint8()))
        self._connection.insert(table, rows)

    def _tell_gone(self, table: str, condition: str) -> None:
        names = ", ".join(f'"{name}"' for name in TABLES[table].key)
        self._connection.command(
            f"INSERT INTO {table} ({names}, version, gone) SELECT {names}, {self._next()}, 1 FROM {table} "
            f"WHERE {condition}"
        )

    def _next(self) -> int:
        """Return a number above all before it, also when the clock is set back."""
        with self._turn:
            self._version = max(self._version + 1, time.time_ns())
            return self._version


def create_statement(name: str) -> str:
    """Return the statement that makes a table when it is not there."""
    table = TABLES[name]
    columns = [
        f'"{column}" {_TYPES[kind]} CODEC({_CODECS.get(column, "ZSTD")})'
        for column, kind in table.columns.items()
    ]
    if not table.key:
        return (
            f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)}) ENGINE = MergeTree ORDER BY received"
        )
    columns += ["version UInt64", "gone UInt8"]
    key = ", ".join(f'"{column}"' for column in table.key)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)}) "
        f"ENGINE = ReplacingMergeTree(version, gone) ORDER BY ({key}) "
        "SETTINGS allow_experimental_replacing_merge_with_cleanup = 1"
    )
