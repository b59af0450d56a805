"""The audit log. Entries are only ever added: the database itself refuses to change or to remove one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from host_tools.errors import StoreError
from host_tools.fleet.records.access import AuditEntry
from host_tools.fleet.store.chain import details_text, first_break, next_entry
from host_tools.fleet.store.tables import AUDIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, Row

    from device_agent.contract.telemetry.message import Scalar

_BATCH = 1_000


class Audit:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._newest: AuditEntry | None = None  # whoever adds is alone until the transaction ends

    def add(
        self, *, seconds: float, actor: str, action: str, subject: str, details: Mapping[str, Scalar]
    ) -> AuditEntry:
        """Write down what somebody did, behind what was done before."""
        entry = next_entry(
            self._newest or self.last(),
            seconds=seconds,
            actor=actor,
            action=action,
            subject=subject,
            details=details,
        )
        self._connection.execute(
            insert(AUDIT).values(
                number=entry.number,
                seconds=entry.seconds,
                actor=entry.actor,
                action=entry.action,
                subject=entry.subject,
                details=details_text(entry.details),
                previous=entry.previous,
                digest=entry.digest,
            )
        )
        self._newest = entry
        return entry

    def last(self) -> AuditEntry | None:
        """Return the newest entry, None where there is none yet."""
        row = self._connection.execute(select(AUDIT).order_by(AUDIT.c.number.desc()).limit(1)).one_or_none()
        return None if row is None else _entry(row)

    def page(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        after: int = 0,
        newest_first: bool = False,
        limit: int,
    ) -> tuple[AuditEntry, ...]:
        """Return the next entries in their order.

        Args:
            actor: Only this one's.
            action: Only this one; ending with a dot, all that begin so.
            subject: Only what was done to this.
            after: The last number of the page before; 0 for the first.
            newest_first: Backwards.
            limit: How many at most.
        """
        number = AUDIT.c.number
        asked = select(AUDIT).order_by(number.desc() if newest_first else number).limit(limit)
        if after or not newest_first:
            asked = asked.where(number < after if newest_first else number > after)
        if actor is not None:
            asked = asked.where(AUDIT.c.actor == actor)
        if subject is not None:
            asked = asked.where(AUDIT.c.subject == subject)
        if action is not None and action.endswith("."):
            asked = asked.where(AUDIT.c.action.startswith(action, autoescape=True))
        elif action is not None:
            asked = asked.where(AUDIT.c.action == action)
        return tuple(_entry(row) for row in self._connection.execute(asked))

    def all(self) -> Iterator[AuditEntry]:
        """Give every entry in its order, in constant memory."""
        after = 0
        while entries := self.page(after=after, limit=_BATCH):
            yield from entries
            after = entries[-1].number

    def broken(self) -> str:
        """Return where the chain is broken and how; empty: it is whole."""
        return first_break(self.all())

    def done_since(self, actor: str, seconds: float) -> int:
        """Return how many changes somebody made since a Unix time.

        What one transaction did is one, however many devices a list moved: its entries have the same time.
        """
        asked = select(func.count(AUDIT.c.seconds.distinct())).where(
            AUDIT.c.actor == actor, AUDIT.c.seconds > seconds
        )
        return int(self._connection.execute(asked).scalar_one())


def _entry(row: Row[Any]) -> AuditEntry:
    try:
        details = json.loads(row.details)
        return AuditEntry(
            number=row.number,
            seconds=row.seconds,
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            details=details,
            previous=row.previous,
            digest=row.digest,
        )
    except (ValueError, TypeError) as error:
        raise StoreError(f"audit entry {row.number}: its details are damaged: {error}.") from error
