"""What whoever looks on shall hear: the newest changes, numbered, for `GET /api/v1/events`. A short memory; `audit` is the long one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, cast

from sqlalchemy import delete, func, insert, select

from host_tools.fleet.store.tables import CHANGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from device_agent.contract.telemetry.message import Scalar

ChangeKind = Literal["audit", "rollout", "jobs", "devices"]
KEPT: Final = 10_000
"""So many changes are remembered; whoever was away for longer reads anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change: its number, from 1; Unix time; of what kind; of what, e.g. ``rollout/r1``; and a few figures."""

    number: int
    seconds: float
    kind: ChangeKind
    subject: str
    document: Mapping[str, Scalar] = field(hash=False)

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "document", MappingProxyType(dict(self.document)))


class Changes:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._number: int | None = None  # whoever tells is alone until the transaction ends

    def tell(self, seconds: float, kind: ChangeKind, subject: str, document: Mapping[str, Scalar]) -> None:
        """Add a change; the oldest are forgotten."""
        self._number = number = 1 + (self.newest() if self._number is None else self._number)
        self._connection.execute(
            insert(CHANGE).values(
                number=number,
                seconds=seconds,
                kind=kind,
                subject=subject,
                document=json.dumps(dict(document)),
            )
        )
        if number % 100 == 0:
            self._connection.execute(delete(CHANGE).where(CHANGE.c.number <= number - KEPT))

    def newest(self) -> int:
        """Return the newest number, 0 where nothing has changed yet."""
        return int(self._connection.execute(select(func.coalesce(func.max(CHANGE.c.number), 0))).scalar_one())

    def oldest(self) -> int:
        """Return the oldest number that is remembered, 0 where nothing has changed yet."""
        return int(self._connection.execute(select(func.coalesce(func.min(CHANGE.c.number), 0))).scalar_one())

    def after(self, number: int, *, limit: int) -> tuple[Change, ...]:
        """Return the next changes after a number."""
        asked = select(CHANGE).where(CHANGE.c.number > number).order_by(CHANGE.c.number).limit(limit)
        return tuple(
            Change(
                number=row.number,
                seconds=row.seconds,
                kind=cast("ChangeKind", row.kind),
                subject=row.subject,
                document=json.loads(row.document),
            )
            for row in self._connection.execute(asked)
        )
