"""`open_store`: a file is DuckDB's, an address ``clickhouse://`` is a ClickHouse server's."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from host_tools.errors import InputError, StoreError
from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.duckdb_engine import DuckDbEngine
from host_tools.review.store.longer_windows import fill_level
from host_tools.review.store.schema import SCHEMA_VERSION, TABLES, fleet_table, window_table
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.limits import Limits

_ADDRESSES = ("clickhouse://", "clickhouses://")
_MADE_BY = "`edgewright ingest --store` makes one."
_ABSENT = ("does not exist", "unknown_table", "unknown table")
"""In what databases say of a table that is not there."""
_VERSION = "schema_version"


def _tell_own_models(engine: Engine) -> None:
    """What is there already told no models apart, or told them in windows that stay as they are."""
    engine.add_column("birth", "models", "'[]'")
    for level in Level:
        engine.add_column(window_table(level), "device_seconds", "covered_seconds")
        engine.add_column(fleet_table(level), "device_seconds", "covered_seconds")
        engine.add_column(fleet_table(level), "main_devices", "devices")


MIGRATIONS: Mapping[int, Sequence[str | Callable[[Engine], None]]] = {
    # Windows and results tell their model and variant, each with totals of its own.
    2: (
        *(
            f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS \"{name}\" VARCHAR DEFAULT ''"
            for table in ("inference", "output")
            for name in ("model", "variant")
        ),
        "INSERT INTO removed_totals (boot, model, variant, seq, inferences, errors, dropped) "
        "SELECT boot, '', '', totals_seq, totals_inferences, totals_errors, totals_dropped "
        "FROM boot WHERE totals_seq >= 0",
    ),
    3: tuple(
        f"ALTER TABLE boot DROP COLUMN IF EXISTS totals_{name}"
        for name in ("seq", "inferences", "errors", "dropped")
    ),
    # What is of a device's own model stands apart; births keep every model; windows of five days.
    4: (_tell_own_models, lambda engine: fill_level(engine, Level.DAYS_5)),
    # Quarters of a day, for rankings of days that do not begin at midnight.
    5: (lambda engine: fill_level(engine, Level.HOURS_6),),
    # Holes in a run's numbers are bounded; of none that is there one was closed.
    6: (lambda engine: engine.add_column("heard", "closed", "0"),),
    # What is known of a run's clock is always as many numbers.
    7: (lambda engine: engine.retype("boot", "clock"),),
}
"""By the version that they lead to: what is done to what is there, where all tables are. Forward only; each can be done twice."""


def open_store(
    where: str | Path,
    *,
    threads: int | None = None,
    memory_bytes: int | None = None,
    read_only: bool = False,
    limits: Limits | None = None,
) -> ColumnStore:
    """Open a store, or make it.

    Args:
        where: A file for DuckDB, ``clickhouse://user:password@host:port/database`` (``clickhouses://``: with TLS), or
            ``chdb:folder`` for ClickHouse's engine in this process.
        threads: Of DuckDB; by default one a core.
        memory_bytes: Of DuckDB; by default four fifths of the machine's.
        read_only: Whether it is only asked. Then it has to be there; several processes may have a file so at once, but
            none while another writes it.
        limits: How many names, holes and dead letters it takes; None for the usual ones.

    Raises:
        InputError: It is neither a file nor such an address.
        StoreError: It cannot be opened: not there, damaged, in use by another process, of a newer version, away.
    """
    text = str(where)
    scheme, is_address, _ = text.partition("://")
    if is_address and f"{scheme}://" not in _ADDRESSES:
        raise InputError(
            f"{scheme[:40]}://…: expected a DuckDB file, or an address that begins with {' or '.join(_ADDRESSES)}.",
            hint="A file is given by its path alone.",
        )
    if text.startswith((*_ADDRESSES, "chdb:")):
        if read_only and text.startswith("chdb:") and not Path(text.removeprefix("chdb:")).is_dir():
            raise StoreError(f"{where}: there is no such folder.", hint=_MADE_BY)
        engine: Engine = _clickhouse(text)
    else:
        _check_file(text, read_only=read_only)
        engine = DuckDbEngine(Path(where), threads=threads, memory_bytes=memory_bytes, read_only=read_only)
    try:
        return opened(engine, read_only=read_only, limits=limits)
    except BaseException:
        engine.close()
        raise


def _check_file(path: str, *, read_only: bool) -> None:
    if not path:
        raise InputError(
            "The store's address is empty: expected a DuckDB file, or clickhouse://host/database."
        )
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if read_only:
            raise StoreError(f"{path}: there is no such file.", hint=_MADE_BY) from None
    except (OSError, ValueError) as error:  # no right to look, a name too long, a zero byte in it
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise StoreError(f"{path}: {reason}.", hint="Give another path.") from error
    else:
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no file"
            raise StoreError(
                f"{path}: this is {kind}, and a store of telemetry is a file.", hint="Give another path."
            )


def opened(engine: Engine, *, read_only: bool = False, limits: Limits | None = None) -> ColumnStore:
    """Make the tables that are not there, bring older ones up to date, and refuse newer ones.

    Raises:
        StoreError: Made by a newer version, or by an older one and only to be read.
    """
    if not read_only:
        engine.create(("setting",))
    rows = _settings(engine)
    version = int(rows.column("value")[0].as_py()) if rows.num_rows else SCHEMA_VERSION
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{engine.where}: was made by a newer Edgewright (schema {version}; this one knows {SCHEMA_VERSION}).",
            hint="Upgrade Edgewright; the file is as it was.",
        )
    if read_only:
        if version < SCHEMA_VERSION:
            raise StoreError(
                f"{engine.where}: was made by an older Edgewright (schema {version}; this one reads {SCHEMA_VERSION}).",
                hint="`edgewright ingest` with this store brings it up to date.",
            )
        return ColumnStore(engine, limits)
    with engine.transaction():
        if version != SCHEMA_VERSION or not rows.num_rows:
            engine.create(TABLES)
        for step in range(version + 1, SCHEMA_VERSION + 1):
            for change in MIGRATIONS[step]:
                if isinstance(change, str):
                    engine.alter(change)
                else:
                    change(engine)
            _tell_version(engine, step)
        if not rows.num_rows:
            _tell_version(engine, SCHEMA_VERSION)
    return ColumnStore(engine, limits)


def _settings(engine: Engine) -> pa.Table:
    try:
        return engine.select(f'SELECT "value" FROM setting WHERE "name" = \'{_VERSION}\'')
    except StoreError as error:
        if any(words in str(error).lower() for words in _ABSENT):
            raise StoreError(
                f"{engine.where}: there is a database, and no store of telemetry in it.", hint=_MADE_BY
            ) from error
        raise


def _tell_version(engine: Engine, version: int) -> None:
    engine.replace("setting", pa.table({"name": [_VERSION], "value": [str(version)]}))


def _clickhouse(address: str) -> Engine:
    from host_tools.review.store.clickhouse_connections import (  # noqa: PLC0415  large, and only for those who use it
        ProcessConnection,
        ServerConnection,
    )
    from host_tools.review.store.clickhouse_engine import ClickHouseEngine  # noqa: PLC0415

    if address.startswith("chdb:"):
        return ClickHouseEngine(ProcessConnection(Path(address.removeprefix("chdb:"))))
    return ClickHouseEngine(ServerConnection(address))
