"""`open_store`: an address to a `FleetStore` with the newest schema."""

from __future__ import annotations

from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from host_tools.errors import InputError
from host_tools.fleet.store.fleet_store import (
    FAILURES,
    WRITES,
    FleetStore,
    store_error,
    where_of,
    writing_connection,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

_BUSY_SECONDS: Final = 30
"""So long a writer waits for another: a stage of a large group begins in one transaction."""
_CONNECT_SECONDS: Final = 10
_KEEPALIVES: Final = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
"""The database notices within half a minute that a server's machine has gone, and with it whoever led."""
_PRAGMAS: Final = ("foreign_keys = ON", "journal_mode = WAL", "synchronous = FULL")
_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def open_store(
    address: str, *, wall_seconds: Callable[[], float] = time, must_exist: bool = False
) -> FleetStore:
    """Open a fleet's store, or make it; bring its schema up to date.

    Args:
        address: A file for SQLite, or ``sqlite:///FILE``, or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
        wall_seconds: Unix time.
        must_exist: Make none: who asks what is in it wants no empty one.

    Raises:
        InputError: The address is none, the store was made by a newer version, or there is none and it must exist.
        StoreError: It cannot be opened.
    """
    engine = _engine(address)
    try:
        if must_exist:
            _require(engine)
        with writing_connection(engine) as connection:
            _migrate(connection, where_of(engine))
    except FAILURES as error:
        engine.dispose()
        raise store_error(engine, error) from error
    except InputError:
        engine.dispose()
        raise
    return FleetStore(engine, wall_seconds=wall_seconds)


def _require(engine: Engine) -> None:
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file is None or Path(file).exists():  # SQLite would make the file in order to look into it
        with engine.connect() as connection:
            if MigrationContext.configure(connection).get_current_revision() is not None:
                return
    raise InputError(
        f"{where_of(engine)}: there is no fleet in it.",
        hint="Is it the right one? `edgewright fleet token create --database …` makes one.",
    )


def schema_scripts() -> Config:
    """Return where the schema's versions are."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _migrate(connection: Connection, where: str) -> None:
    config = schema_scripts()
    newest = ScriptDirectory.from_config(config).get_current_head()
    if MigrationContext.configure(connection).get_current_revision() == newest:
        return
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise InputError(
            f"{where}: this store is of another version: {error}.",
            hint="Use the version of edgewright that wrote it last, or a newer one.",
        ) from error


def _engine(address: str) -> Engine:
    url = _url(address)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    milliseconds = _BUSY_SECONDS * 1000
    return create_engine(
        url,
        pool_pre_ping=True,  # after a restart of the database the first question finds a new connection
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "edgewright",
            "options": f"-c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout={6 * milliseconds} {_KEEPALIVES}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": milliseconds,
        },
    )


def _url(address: str) -> URL:
    try:
        address.encode()
    except UnicodeEncodeError as error:  # a byte of the command line that is no text
        raise InputError(
            f"--database: expected text in UTF-8, got another byte at place {error.start}."
        ) from error
    if "://" not in address:
        return URL.create("sqlite", database=address)
    try:
        url = make_url(address)
        driver = _DRIVERS[url.drivername]
    except (ArgumentError, KeyError, ValueError) as error:
        raise InputError(
            "--database: expected a file, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE, "
            f"got an address of kind {address.partition('://')[0][:40]!a}."
        ) from error
    return url.set(drivername=driver)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
