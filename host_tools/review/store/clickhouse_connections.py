"""Connections to ClickHouse: its engine in this process (`chdb`), and a server (`clickhouse-connect`)."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

import pyarrow as pa

from host_tools.errors import InputError, StoreError
from host_tools.review.store.clickhouse_engine import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAUSE = re.compile(r"Caused by \w+\([\"'](?:\w+\(.*?\): )?(.*?)[\"']\)\)")
"""Of what urllib3 says at length, the end that tells why."""
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # it is raised, too, and told once
_MISSING = "pip install 'edgewright[clickhouse]'"


class ProcessConnection:
    """The engine in this process: one database a process, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Open the database in a folder, or make it."""
        try:
            from chdb.session import Session  # noqa: PLC0415  a large library that few need
        except ImportError as error:
            raise StoreError("ClickHouse in this process needs chdb.", hint=_MISSING) from error
        self.where = f"chdb in {folder}"
        self._turn = threading.RLock()
        with self._told():
            self._session = Session(str(folder))
            for name, value in SETTINGS.items():
                self._session.query(f"SET {name} = {value}")

    def query(self, sql: str) -> pa.Table:
        """See `Connection.query`."""
        with self._turn, self._told():
            data = self._session.query(sql, "ArrowStream").bytes()
        with pa.ipc.open_stream(data) as stream:
            return stream.read_all()

    def command(self, sql: str) -> None:
        """See `Connection.command`."""
        with self._turn, self._told():
            self._session.query(sql)

    def insert(self, table: str, rows: pa.Table) -> None:
        """See `Connection.insert`."""
        with tempfile.TemporaryDirectory(prefix="edgewright-rows-") as folder:
            path = Path(folder) / "rows.arrow"
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as stream:
                stream.write_table(rows)
            names = ", ".join(f'"{name}"' for name in rows.column_names)
            self.command(f"INSERT INTO {table} ({names}) SELECT {names} FROM file('{path}', ArrowStream)")

    def close(self) -> None:
        """See `Connection.close`."""
        with self._turn, self._told():
            self._session.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # chdb raises bare RuntimeError
            raise StoreError(f"{self.where}: {_first_line(error)}") from error


class ServerConnection:
    """A server, by its address: ``clickhouse://user:password@host:port/database``, or ``clickhouses://`` with TLS."""

    def __init__(self, url: str) -> None:
        """Connect, and make the database if it is not there.

        Raises:
            InputError: It is no such address.
            StoreError: It cannot be reached, or refuses.
        """
        try:
            import clickhouse_connect  # noqa: PLC0415  as above
        except ImportError as error:
            raise StoreError(
                "A ClickHouse server is spoken to by clickhouse-connect.", hint=_MISSING
            ) from error
        parts, port = _parts(url)
        database = parts.path.strip("/") or "edgewright"
        host = parts.hostname or "localhost"
        self.where = f"{parts.scheme}://{host}:{port}/{database}"
        if not database.replace("_", "").isalnum() or not database.isascii():
            raise InputError(
                f"{self.where}: the name of a database has letters, digits and _, got {database!r}."
            )
        options: dict[str, Any] = {
            "host": host,
            "port": port,
            "username": unquote(parts.username or "default"),
            "password": unquote(parts.password or ""),
            "secure": parts.scheme == "clickhouses",
            "autogenerate_session_id": False,  # questions of several threads at once
        }
        with self._told():
            with contextlib.closing(clickhouse_connect.get_client(**options)) as client:
                client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
            self._client = clickhouse_connect.get_client(**options, database=database, settings=SETTINGS)

    def query(self, sql: str) -> pa.Table:
        """See `Connection.query`."""
        with self._told():
            return self._client.query_arrow(sql, use_strings=True)

    def command(self, sql: str) -> None:
        """See `Connection.command`."""
        with self._told():
            self._client.command(sql)

    def insert(self, table: str, rows: pa.Table) -> None:
        """See `Connection.insert`."""
        with self._told():
            self._client.insert_arrow(table, rows)

    def close(self) -> None:
        """See `Connection.close`."""
        with self._told():
            self._client.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # clickhouse-connect's, urllib3's and the socket's
            raise StoreError(
                f"{self.where}: {_first_line(error)}",
                hint="Is the server up, and are user and password right?",
            ) from error


def _parts(url: str) -> tuple[SplitResult, int]:
    """Return the parts of an address, and the port: what it says, or the usual one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # its words say what was there, and that may be a part of a password
        raise InputError(
            f"{url.partition('://')[0]}://…: expected a host and a port from 1 to 65535, got something else.",
            hint="In a user or password write % and two digits for each of / ? # [ ] @ : %.",
        ) from error
    return parts, port or (8443 if parts.scheme == "clickhouses" else 8123)


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    cause = _CAUSE.search(line)
    return (cause[1] if cause else line)[:500]
