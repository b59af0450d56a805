"""Every kind of store, empty, for the tests that all of them pass."""

from __future__ import annotations

import atexit
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path

from host_tools.review.store.clickhouse_connections import ProcessConnection, ServerConnection
from host_tools.review.store.clickhouse_engine import ClickHouseEngine
from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.duckdb_engine import DuckDbEngine
from host_tools.review.store.opening import opened

Opener = Callable[[], AbstractContextManager[ColumnStore]]
_NUMBERS = itertools.count()


@contextmanager
def duckdb_store() -> Iterator[ColumnStore]:
    store = opened(DuckDbEngine(Path(":memory:"), threads=1))
    try:
        yield store
    finally:
        store.close()


@lru_cache
def _process() -> ProcessConnection:
    """The engine can be started once in a process."""
    folder = tempfile.TemporaryDirectory(prefix="edgewright-chdb-")
    connection = ProcessConnection(Path(folder.name))

    def end() -> None:
        connection.close()  # first: the engine crashes the process whose folder went before it
        folder.cleanup()

    atexit.register(end)
    return connection


@contextmanager
def clickhouse_store() -> Iterator[ColumnStore]:
    connection = _process()
    database = f"test_{next(_NUMBERS)}"
    connection.command(f"CREATE DATABASE {database}")
    connection.command(f"USE {database}")
    try:
        yield opened(ClickHouseEngine(connection))
    finally:
        connection.command(f"DROP DATABASE {database}")


@contextmanager
def server_store() -> Iterator[ColumnStore]:
    """A server, where the environment tells of one: ``EDGEWRIGHT_CLICKHOUSE=clickhouse://user@host:8123``."""
    url = os.environ["EDGEWRIGHT_CLICKHOUSE"]
    database = f"edgewright_test_{os.getpid()}_{next(_NUMBERS)}"
    connection = ServerConnection(f"{url.rstrip('/')}/{database}")
    try:
        yield opened(ClickHouseEngine(connection))
    finally:
        connection.command(f"DROP DATABASE {database}")
        connection.close()


STORES: tuple[Opener, ...] = (
    duckdb_store,
    clickhouse_store,
    *([server_store] if "EDGEWRIGHT_CLICKHOUSE" in os.environ else []),
)
