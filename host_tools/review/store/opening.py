"""`open_store`: a file is DuckDB's, an address ``clickhouse://`` is ClickHouse's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.duckdb_engine import DuckDbEngine

if TYPE_CHECKING:
    from host_tools.review.store.telemetry_store import TelemetryStore


def open_store(where: str | Path, *, read_only: bool = False) -> TelemetryStore:
    """Open a store, or make it.

    Args:
        where: A file, or an address.
        read_only: Whether it is only asked. Then it has to be there; several processes may have it so at once, but none
            while another writes.

    Raises:
        StoreError: It cannot be opened.
    """
    engine = DuckDbEngine(Path(where), read_only=read_only)
    if not read_only:
        engine.create()
    return ColumnStore(engine)
