"""Every kind of store, empty, for the tests that all of them pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.duckdb_engine import DuckDbEngine

Opener = Callable[[], AbstractContextManager[ColumnStore]]


@contextmanager
def duckdb_store() -> Iterator[ColumnStore]:
    engine = DuckDbEngine(Path(":memory:"), threads=1)
    engine.create()
    store = ColumnStore(engine)
    try:
        yield store
    finally:
        store.close()


STORES: tuple[Opener, ...] = (duckdb_store,)
