"""`FleetStore`: transactions. Whoever writes is alone, on SQLite by its own lock and on PostgreSQL by an advisory one."""

from __future__ import annotations

from contextlib import contextmanager
from time import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from host_tools.errors import StoreError
from host_tools.fleet.store.audit import Audit
from host_tools.fleet.store.changes import Changes
from host_tools.fleet.store.ddi import DdiActions, DdiTokens
from host_tools.fleet.store.devices import Devices
from host_tools.fleet.store.drift import Drift
from host_tools.fleet.store.effects import Effects
from host_tools.fleet.store.groups import Groups
from host_tools.fleet.store.jobs import Jobs
from host_tools.fleet.store.leadership import Leadership
from host_tools.fleet.store.pins import Pins
from host_tools.fleet.store.releases import Releases
from host_tools.fleet.store.rollouts import Rollouts
from host_tools.fleet.store.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine

    from device_agent.contract.telemetry.message import Scalar

WRITES: Final = "edgewright_writes"
"""Execution option of a connection whose transaction writes: it takes the lock when it begins, so that two can never wait for each other."""
FAILURES: Final = (DBAPIError, PoolTimeoutError)
"""What a database can be blamed for; everything else is a defect of ours."""
WRITER_LOCK: Final = 0x65776C74
"""Number of the advisory lock on PostgreSQL."""


class FleetBook:
    """The store within one transaction.

    Attributes:
        now_seconds: Unix time of the transaction, in whole milliseconds.
    """

    def __init__(self, connection: Connection, now_seconds: float) -> None:
        self.now_seconds = round(now_seconds, 3)
        self.audit = Audit(connection)
        self.changes = Changes(connection)
        self.ddi_actions = DdiActions(connection)
        self.ddi_tokens = DdiTokens(connection)
        self.devices = Devices(connection)
        self.drift = Drift(connection)
        self.effects = Effects(connection)
        self.groups = Groups(connection)
        self.jobs = Jobs(connection)
        self.pins = Pins(connection)
        self.releases = Releases(connection)
        self.rollouts = Rollouts(connection)
        self.tokens = Tokens(connection)

    def note(
        self, actor: str, action: str, subject: str, details: Mapping[str, Scalar] | None = None
    ) -> None:
        """Write down who did what, and let whoever looks on hear of it."""
        entry = self.audit.add(
            seconds=self.now_seconds, actor=actor, action=action, subject=subject, details=details or {}
        )
        self.changes.tell(
            self.now_seconds, "audit", subject, {"number": entry.number, "actor": actor, "action": action}
        )


class FleetStore:
    """The records of one fleet; any number of threads and processes may use it.

    Args:
        engine: Of a database with the newest schema.
        wall_seconds: Unix time.
    """

    def __init__(self, engine: Engine, *, wall_seconds: Callable[[], float] = time) -> None:
        self._engine = engine
        self._leadership = Leadership(engine)
        self.wall_seconds = wall_seconds

    @property
    def where(self) -> str:
        """Its address, without a password."""
        return where_of(self._engine)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[FleetBook]:
        """Look at the store as it is at one moment.

        Raises:
            StoreError: It cannot be read.
        """
        with _told(self._engine), self._engine.connect() as connection:
            if self.dialect == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
            with connection.begin():
                yield FleetBook(connection, self.wall_seconds())

    @contextmanager
    def writing(self) -> Iterator[FleetBook]:
        """Change the store alone; when the block has ended it is on the disk, or nothing of it is.

        Raises:
            StoreError: It cannot be written.
        """
        with _told(self._engine), writing_connection(self._engine) as connection:
            yield FleetBook(connection, self.wall_seconds())

    def leads(self) -> bool:
        """Return whether this process is the one that makes rollouts go on; where none does, it is from now on.

        Raises:
            StoreError: It cannot be told.
        """
        with _told(self._engine):
            return self._leadership.holds()

    def close(self) -> None:
        """End every connection, and let another process lead."""
        self._leadership.end()
        self._engine.dispose()


@contextmanager
def writing_connection(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that writes."""
    with engine.connect() as opened:
        connection = opened.execution_options(**{WRITES: True})
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITER_LOCK})
            yield connection


def where_of(engine: Engine) -> str:
    """Return the address of a database, without a password."""
    return engine.url.render_as_string(hide_password=True)


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise store_error(engine, error) from error


def store_error(engine: Engine, error: SQLAlchemyError) -> StoreError:
    """Return a database's failure in one line; no value that was written is in it."""
    reason = str(error.orig) if isinstance(error, DBAPIError) and error.orig else type(error).__name__
    line = next((line.strip() for line in reason.splitlines() if line.strip()), type(error).__name__)
    return StoreError(
        f"{where_of(engine)}: {line[:300]}.",
        hint="Is the database there, its disk full, or another program busy with it? Nothing was changed.",
    )
