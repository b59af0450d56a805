"""`open_store`: a file is DuckDB's, an address ``clickhouse://`` is ClickHouse's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.duckdb_engine import DuckDbEngine

if TYPE_CHECKING:
    from host_tools.review.store.telemetry_store import TelemetryStore


def open_store(where: str | Path) -> TelemetryStore:
    """Open a store, or make it.

    Raises:
        StoreError: It cannot be opened.
    """
    engine = DuckDbEngine(Path(where))
    engine.create()
    return ColumnStore(engine)
