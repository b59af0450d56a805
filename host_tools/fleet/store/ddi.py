"""What is kept of devices that poll over hawkBit's DDI: the digests of their tokens, and the actions that they were offered."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from sqlalchemy import delete, func, insert, select, update

from device_agent.contract.digest import digest_of
from host_tools.errors import NotFoundError
from host_tools.fleet.store.tables import DDI_ACTION, DDI_TOKEN

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from host_tools.fleet.records.releases import ReleasedArtifact

DdiTokenKind = Literal["target", "gateway"]
"""`target`: of one device; `gateway`: of every device of one group."""
ActionResult = Literal["none", "success", "failure", "canceled"]
PREFIX: Final = "ewd_"
"""So that a scanner for secrets finds one where it should not be; another than a user's, so that neither is taken for the other."""
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DdiToken:
    """Whom a token speaks for; its secret is kept nowhere."""

    kind: DdiTokenKind
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DdiAction:
    """One offer of one artifact to one device.

    Attributes:
        number: Its id at the device.
        device: Whose.
        digest: Of the artifact.
        path: Its signed name in the repository.
        size_bytes: Its length.
        name: The model's.
        version: The release's.
        made_seconds: Unix time at which it was offered first.
        ended_seconds: Unix time at which the device said that it is over; None: it has not.
        result: How it ended; `none` while it has not.
        is_fetched: The device has asked for its file.
        is_kept: The device was asked to cancel it and will not.
    """

    number: int
    device: str
    digest: str
    path: str
    size_bytes: int
    name: str
    version: str
    made_seconds: float
    ended_seconds: float | None = None
    result: ActionResult = "none"
    is_fetched: bool = False
    is_kept: bool = False


class DdiTokens:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def make(self, kind: DdiTokenKind, subject: str, *, created_by: str, now_seconds: float) -> str:
        """Make a token, in place of the one before, and return its secret, which is told this once and kept nowhere."""
        secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        self.remove(kind, subject)
        self._connection.execute(
            insert(DDI_TOKEN).values(
                kind=kind,
                subject=subject,
                digest=digest_of(secret.encode()),
                created_by=created_by,
                created_seconds=now_seconds,
            )
        )
        return secret

    def of_secret(self, kind: DdiTokenKind, secret: str) -> DdiToken | None:
        """Return the token of this kind with this secret; None where there is none."""
        digest = digest_of(secret.encode("utf-8", "surrogateescape"))
        asked = select(DDI_TOKEN).where(DDI_TOKEN.c.digest == digest, DDI_TOKEN.c.kind == kind)
        row = self._connection.execute(asked).one_or_none()
        return None if row is None else DdiToken(kind=kind, subject=row.subject)

    def remove(self, kind: DdiTokenKind, subject: str) -> bool:
        """Take a token back; return whether there was one."""
        gone = delete(DDI_TOKEN).where(DDI_TOKEN.c.kind == kind, DDI_TOKEN.c.subject == subject)
        return self._connection.execute(gone).rowcount > 0


class DdiActions:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self, device: str, artifact: ReleasedArtifact, *, name: str, version: str, now_seconds: float
    ) -> DdiAction:
        """Make the next action of a device; whoever writes is alone, so that no number is given twice."""
        newest = self._connection.execute(select(func.coalesce(func.max(DDI_ACTION.c.number), 0)))
        action = DdiAction(
            number=int(newest.scalar_one()) + 1,
            device=device,
            digest=artifact.digest,
            path=artifact.path,
            size_bytes=artifact.size_bytes,
            name=name,
            version=version,
            made_seconds=now_seconds,
        )
        self._connection.execute(
            insert(DDI_ACTION).values(
                number=action.number,
                device=device,
                digest=action.digest,
                path=action.path,
                size_bytes=action.size_bytes,
                name=name,
                version=version,
                made_seconds=now_seconds,
                result=action.result,
                is_fetched=action.is_fetched,
                is_kept=action.is_kept,
            )
        )
        return action

    def get(self, device: str, number: int) -> DdiAction:
        """Return an action of a device.

        Raises:
            NotFoundError: It has none with this number.
        """
        asked = select(DDI_ACTION).where(DDI_ACTION.c.number == number, DDI_ACTION.c.device == device)
        row = self._connection.execute(asked).one_or_none()
        if row is None:
            raise NotFoundError(f"action {number}: device {device} has none with this number.")
        return _action(row)

    def newest(self, device: str) -> DdiAction | None:
        """Return the newest action of a device; None: it never had one."""
        asked = (
            select(DDI_ACTION)
            .where(DDI_ACTION.c.device == device)
            .order_by(DDI_ACTION.c.number.desc())
            .limit(1)
        )
        row = self._connection.execute(asked).one_or_none()
        return None if row is None else _action(row)

    def end(self, number: int, result: ActionResult, *, now_seconds: float) -> None:
        """Write down how an action ended; one that has ended stays as it is."""
        self._connection.execute(
            update(DDI_ACTION)
            .where(DDI_ACTION.c.number == number, DDI_ACTION.c.ended_seconds.is_(None))
            .values(ended_seconds=now_seconds, result=result)
        )

    def fetch(self, number: int) -> None:
        """Write down that the device has asked for its file."""
        self._connection.execute(
            update(DDI_ACTION).where(DDI_ACTION.c.number == number).values(is_fetched=True)
        )

    def keep(self, number: int) -> None:
        """Write down that the device will not cancel an action."""
        self._connection.execute(update(DDI_ACTION).where(DDI_ACTION.c.number == number).values(is_kept=True))


def _action(row: Row[Any]) -> DdiAction:
    return DdiAction(
        number=row.number,
        device=row.device,
        digest=row.digest,
        path=row.path,
        size_bytes=row.size_bytes,
        name=row.name,
        version=row.version,
        made_seconds=row.made_seconds,
        ended_seconds=row.ended_seconds,
        result=cast("ActionResult", row.result),
        is_fetched=bool(row.is_fetched),
        is_kept=bool(row.is_kept),
    )
