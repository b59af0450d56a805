"""Effects: what must follow in the world from what is stored. One of a kind and subject: a newer one takes the place of the older.

An effect says what is wanted, not what to do, so that doing it twice costs nothing: it stays until the world has been seen to take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy import delete as delete_from

from host_tools.fleet.store.tables import COUNTER, EFFECT

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

EffectKind = Literal["publish", "move", "pin", "approve", "revoke"]
_COUNTER: Final = "effect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect.

    Attributes:
        kind: ``publish``: sign what a group shall run; ``move``: let a device follow another group; ``pin``: sign what one device
            shall run, or let it follow its group again; ``approve``: let a device in; ``revoke``: take its certificates back.
        subject: The group's name, or the device's id.
        number: Grows with every effect; tells a newer one from the one that is being done.
        document: JSON, what is wanted.
        wanted_seconds: Unix time at which it was wanted.
        attempts: How often it failed.
        failure: Why, the last time.
        due_seconds: Unix time before which it is not tried again.
    """

    kind: EffectKind
    subject: str
    number: int
    document: str
    wanted_seconds: float
    attempts: int = 0
    failure: str = ""
    due_seconds: float = 0.0


class Effects:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def want(self, kind: EffectKind, subject: str, document: str, *, now_seconds: float) -> Effect:
        """Ask for an effect, in the place of an older one of this kind and subject."""
        effect = Effect(
            kind=kind,
            subject=subject,
            number=self._next_number(),
            document=document,
            wanted_seconds=now_seconds,
            due_seconds=now_seconds,
        )
        self._connection.execute(delete_from(EFFECT).where(_key(effect)))
        self._connection.execute(
            insert(EFFECT).values(
                kind=kind,
                subject=subject,
                number=effect.number,
                document=document,
                wanted_seconds=now_seconds,
                attempts=0,
                failure="",
                due_seconds=now_seconds,
            )
        )
        return effect

    def due(self, now_seconds: float, *, limit: int) -> tuple[Effect, ...]:
        """Return the effects whose time has come, the oldest first."""
        asked = (
            select(EFFECT).where(EFFECT.c.due_seconds <= now_seconds).order_by(EFFECT.c.number).limit(limit)
        )
        return tuple(_effect(row) for row in self._connection.execute(asked))

    def open(self, *, limit: int) -> tuple[Effect, ...]:
        """Return the effects that the world has not taken yet, the oldest first."""
        asked = select(EFFECT).order_by(EFFECT.c.number).limit(limit)
        return tuple(_effect(row) for row in self._connection.execute(asked))

    def find(self, kind: EffectKind, subject: str) -> Effect | None:
        """Return what is still to be done of this kind for this subject."""
        row = self._connection.execute(
            select(EFFECT).where(EFFECT.c.kind == kind, EFFECT.c.subject == subject)
        ).one_or_none()
        return None if row is None else _effect(row)

    def done(self, effect: Effect) -> None:
        """The world has taken it; a newer one in its place stays."""
        self._connection.execute(delete_from(EFFECT).where(_key(effect), EFFECT.c.number == effect.number))

    def failed(self, effect: Effect, failure: str, *, due_seconds: float) -> None:
        """Write down why it could not be done, and when it is tried again."""
        self._connection.execute(
            update(EFFECT)
            .where(_key(effect), EFFECT.c.number == effect.number)
            .values(attempts=effect.attempts + 1, failure=failure, due_seconds=due_seconds)
        )

    def count(self) -> int:
        """Return how many are still to be done."""
        return int(self._connection.execute(select(func.count()).select_from(EFFECT)).scalar_one())

    def _next_number(self) -> int:
        """Numbers are never used again, even when their effect is gone: who does an old one must not end a new one."""
        known = self._connection.execute(
            select(COUNTER.c.value).where(COUNTER.c.name == _COUNTER)
        ).scalar_one_or_none()
        if known is None:
            self._connection.execute(insert(COUNTER).values(name=_COUNTER, value=1))
            return 1
        self._connection.execute(
            update(COUNTER).where(COUNTER.c.name == _COUNTER).values(value=COUNTER.c.value + 1)
        )
        return int(known) + 1


def _key(effect: Effect) -> Any:
    return and_(EFFECT.c.kind == effect.kind, EFFECT.c.subject == effect.subject)


def _effect(row: Row[Any]) -> Effect:
    return Effect(
        kind=cast("EffectKind", row.kind),
        subject=row.subject,
        number=row.number,
        document=row.document,
        wanted_seconds=row.wanted_seconds,
        attempts=row.attempts,
        failure=row.failure,
        due_seconds=row.due_seconds,
    )
