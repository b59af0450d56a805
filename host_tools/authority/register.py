"""`Register`: claim tokens, certificates, groups. A token is spent in the same transaction that writes down what it bought."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Use = Literal["device", "server"]
RequestState = Literal["pending", "approved", "refused"]

_VERSION: Final = 4
_BUSY_SECONDS: Final = 10.0
_TABLES: Final = """
CREATE TABLE claim (
    digest TEXT PRIMARY KEY,        -- of the token's secret, which is kept nowhere
    device TEXT NOT NULL,           -- '' for any
    expires_seconds REAL NOT NULL,
    spent_serial TEXT REFERENCES certificate(serial),
    member_group TEXT NOT NULL DEFAULT '',
    needs_approval INTEGER NOT NULL DEFAULT 0,
    revoked_seconds REAL            -- NULL: it was not
) STRICT;
CREATE TABLE certificate (
    serial TEXT PRIMARY KEY,
    use TEXT NOT NULL,              -- 'device' or 'server'
    name TEXT NOT NULL,             -- device id, or the server's first name
    key_digest TEXT NOT NULL,
    pem TEXT NOT NULL,
    issued_seconds REAL NOT NULL,
    not_after_seconds REAL NOT NULL,
    revoked_seconds REAL,
    reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX certificate_of ON certificate(name, use);
"""
_TABLES_SINCE_2: Final = (
    """CREATE TABLE request (
        claim TEXT PRIMARY KEY REFERENCES claim(digest),
        device TEXT NOT NULL,
        key_digest TEXT NOT NULL,
        state TEXT NOT NULL,
        asked_seconds REAL NOT NULL,
        decided_seconds REAL,
        decided_by TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    """CREATE TABLE member (
        device TEXT PRIMARY KEY, member_group TEXT NOT NULL, since_seconds REAL NOT NULL
    ) STRICT""",
)
_TABLES_SINCE_4: Final = (
    "CREATE TABLE barred (device TEXT PRIMARY KEY, since_seconds REAL NOT NULL, reason TEXT NOT NULL) STRICT",
)
_FROM_1_TO_2: Final = (
    "ALTER TABLE claim ADD COLUMN member_group TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE claim ADD COLUMN needs_approval INTEGER NOT NULL DEFAULT 0",
    *_TABLES_SINCE_2,
)
_STEPS: Final = {
    1: _FROM_1_TO_2,
    2: ("ALTER TABLE claim ADD COLUMN revoked_seconds REAL",),
    3: _TABLES_SINCE_4,
}
"""By version, what brings a register to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim token, without its secret.

    Attributes:
        digest: Of the secret.
        device: The only device that may use it; empty: any.
        expires_seconds: Unix time.
        spent_serial: The certificate that it bought, empty while it is good.
        group: The group that it brings a device into; empty: none.
        needs_approval: Somebody has to say yes when it is used.
        revoked_seconds: Unix time at which it was revoked; None: it was not.
    """

    digest: str
    device: str
    expires_seconds: float
    spent_serial: str = ""
    group: str = ""
    needs_approval: bool = False
    revoked_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A device that asks to be let in by a token that needs approval.

    Attributes:
        claim: Digest of the token's secret.
        device: Device id.
        key_digest: Of the key that it wants certified.
        group: The token's.
        state: What was decided.
        asked_seconds: Unix time at which it first asked.
        decided_by: Who decided; empty: nobody yet.
    """

    claim: str
    device: str
    key_digest: str
    group: str
    state: RequestState
    asked_seconds: float
    decided_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A certificate and what became of it; ``revoked_seconds`` is None while it stands."""

    serial: str
    use: Use
    name: str
    key_digest: str
    pem: str
    issued_seconds: float
    not_after_seconds: float
    revoked_seconds: float | None = None
    reason: str = ""


class Book:
    """The register within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_claim(self, claim: Claim) -> None:
        """Write down a new token."""
        self._connection.execute(
            "INSERT INTO claim (digest, device, expires_seconds, member_group, needs_approval) VALUES (?, ?, ?, ?, ?)",
            (
                claim.digest,
                claim.device,
                claim.expires_seconds,
                claim.group,
                int(claim.needs_approval),
            ),
        )

    def claim(self, digest: str) -> Claim | None:
        """Return the token whose secret has this digest."""
        row = self._connection.execute("SELECT * FROM claim WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else _claim(row)

    def claims(self) -> list[Claim]:
        """Return every token, the one that ends first in front."""
        rows = self._connection.execute("SELECT * FROM claim ORDER BY expires_seconds, digest")
        return [_claim(row) for row in rows]

    def spend(self, claim: Claim, serial: str) -> None:
        """Write down what the token bought."""
        self._connection.execute("UPDATE claim SET spent_serial = ? WHERE digest = ?", (serial, claim.digest))

    def revoke_claim(self, claim: Claim, *, now_seconds: float) -> None:
        """Let a token be good no more; one that is revoked already keeps its first date."""
        self._connection.execute(
            "UPDATE claim SET revoked_seconds = ? WHERE digest = ? AND revoked_seconds IS NULL",
            (now_seconds, claim.digest),
        )

    def ask(self, claim: Claim, *, device: str, key_digest: str, now_seconds: float) -> Request:
        """Write down that a device asks by this token, and return what stands there: the first who asks has the token."""
        self._connection.execute(
            "INSERT OR IGNORE INTO request (claim, device, key_digest, state, asked_seconds) VALUES (?, ?, ?, 'pending', ?)",
            (claim.digest, device, key_digest, now_seconds),
        )
        return next(one for one in self.requests() if one.claim == claim.digest)

    def has_asked(self, claim: Claim) -> bool:
        """Whether a device asked by this token while it was good: approval may take its time."""
        found = self._connection.execute("SELECT 1 FROM request WHERE claim = ?", (claim.digest,))
        return found.fetchone() is not None

    def requests(self) -> list[Request]:
        """Return every request, the oldest first."""
        rows = self._connection.execute(
            "SELECT request.*, claim.member_group FROM request JOIN claim ON claim.digest = request.claim "
            "ORDER BY asked_seconds, claim"
        )
        return [_request(row) for row in rows]

    def decide(self, request: Request, state: RequestState, *, by: str, now_seconds: float) -> None:
        """Write down what was decided."""
        self._connection.execute(
            "UPDATE request SET state = ?, decided_by = ?, decided_seconds = ? WHERE claim = ?",
            (state, by, now_seconds, request.claim),
        )

    def group_of(self, device: str) -> str | None:
        """Return the group that a device was put into; None: never into any."""
        row = self._connection.execute("SELECT * FROM member WHERE device = ?", (device,)).fetchone()
        return None if row is None else str(row["member_group"])

    def set_group(self, device: str, group: str, *, now_seconds: float) -> None:
        """Put a device into a group, and out of the one that it was in."""
        self._connection.execute(
            "INSERT INTO member VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE SET "
            "member_group = excluded.member_group, since_seconds = excluded.since_seconds",
            (device, group, now_seconds),
        )

    def bar(self, device: str, *, now_seconds: float, reason: str) -> None:
        """Let a device have no certificate ever again; one that is barred already keeps its first date."""
        self._connection.execute(
            "INSERT OR IGNORE INTO barred VALUES (?, ?, ?)", (device, now_seconds, reason)
        )

    def is_barred(self, device: str) -> bool:
        """Whether a device gets no certificate any more, whatever token it has."""
        found = self._connection.execute("SELECT 1 FROM barred WHERE device = ?", (device,))
        return found.fetchone() is not None

    def add(self, entry: Entry) -> None:
        """Write down a new certificate."""
        self._connection.execute(
            "INSERT INTO certificate (serial, use, name, key_digest, pem, issued_seconds, not_after_seconds) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                entry.serial,
                entry.use,
                entry.name,
                entry.key_digest,
                entry.pem,
                entry.issued_seconds,
                entry.not_after_seconds,
            ),
        )

    def certificate(self, serial: str) -> Entry | None:
        """Return the certificate with this serial number."""
        row = self._connection.execute("SELECT * FROM certificate WHERE serial = ?", (serial,)).fetchone()
        return None if row is None else _entry(row)

    def certificates(self, name: str | None = None, *, use: Use = "device") -> list[Entry]:
        """Return the certificates of one device or server, or all, in the order in which they were made."""
        if name is None:
            rows = self._connection.execute("SELECT * FROM certificate ORDER BY issued_seconds, serial")
        else:
            rows = self._connection.execute(
                "SELECT * FROM certificate WHERE name = ? AND use = ? ORDER BY issued_seconds, serial",
                (name, use),
            )
        return [_entry(row) for row in rows]

    def revoke(self, serial: str, *, now_seconds: float, reason: str) -> None:
        """Revoke a certificate; one that is revoked already keeps its first date."""
        self._connection.execute(
            "UPDATE certificate SET revoked_seconds = ?, reason = ? WHERE serial = ? AND revoked_seconds IS NULL",
            (now_seconds, reason, serial),
        )


class Register:
    """The file. Any number of processes may use it; each transaction is whole or did not happen.

    Raises:
        InputError: The file is not a register, or of a newer version.
        OutputError: It cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """Make the file."""
        with self._connected() as connection:
            tables = ";".join((_TABLES, *_TABLES_SINCE_2, *_TABLES_SINCE_4))
            connection.executescript(
                f"PRAGMA journal_mode = WAL; BEGIN; {tables}; PRAGMA user_version = {_VERSION}; COMMIT;"
            )

    @contextmanager
    def transaction(self) -> Iterator[Book]:
        """Give the register to one writer; what it wrote is on the disk when the block has ended, or nowhere."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._require_version(connection)
                yield Book(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _require_version(self, connection: sqlite3.Connection) -> None:
        """Bring an older register up to date.

        Raises:
            InputError: It is of a newer version, or none.
        """
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        while version in _STEPS:
            for statement in _STEPS[version]:
                connection.execute(statement)
            version += 1
            connection.execute(f"PRAGMA user_version = {version}")
        if version != _VERSION:
            raise InputError(
                f"{self._path}: expected a register of version {_VERSION}, got {version}.",
                hint="Was the folder made by `edgewright ca init` of this version?",
            )

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.DatabaseError as error:
            raise OutputError(
                f"{self._path}: {error}.", hint="Is the disk full, or the file damaged?"
            ) from error


def _claim(row: sqlite3.Row) -> Claim:
    return Claim(
        digest=row["digest"],
        device=row["device"],
        expires_seconds=row["expires_seconds"],
        spent_serial=row["spent_serial"] or "",
        group=row["member_group"],
        needs_approval=bool(row["needs_approval"]),
        revoked_seconds=row["revoked_seconds"],
    )


def _request(row: sqlite3.Row) -> Request:
    return Request(
        claim=row["claim"],
        device=row["device"],
        key_digest=row["key_digest"],
        group=row["member_group"],
        state=row["state"],
        asked_seconds=row["asked_seconds"],
        decided_by=row["decided_by"],
    )


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(**{key: row[key] for key in row.keys()})  # noqa: SIM118  a Row iterates over its values
