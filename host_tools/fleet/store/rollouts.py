"""Rollouts. A change that was thought out on an older revision is refused, so that two of them never undo each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import func, insert, select, update

from host_tools.errors import ConflictError, NotFoundError, StaleError
from host_tools.fleet.records.gates import GateFinding
from host_tools.fleet.records.rollouts import Rollout, RolloutPlan, StageProgress
from host_tools.fleet.store.documents import read, read_artifacts, written, written_artifacts
from host_tools.fleet.store.tables import ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from host_tools.fleet.records.rollouts import RolloutState

OCCUPYING: Final[frozenset[RolloutState]] = frozenset({"running", "paused", "rolling_back"})
"""A rollout in one of these says what stands in its group's desired state."""


class Rollouts:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, rollout: Rollout) -> None:
        """Write down a new rollout.

        Raises:
            ConflictError: There is one with this id.
        """
        plan = rollout.plan
        if self._row(plan.id) is not None:
            raise ConflictError(f"rollout {plan.id}: there is one already.")
        self._connection.execute(
            insert(ROLLOUT).values(
                id=plan.id,
                group=plan.group,
                release=plan.release,
                plan=written(plan),
                created_by=rollout.created_by,
                created_seconds=rollout.created_seconds,
                findings="[]",
                **_progress(rollout),
            )
        )

    def save(self, rollout: Rollout) -> Rollout:
        """Write down a rollout's progress, and return it with its new revision.

        Raises:
            StaleError: Somebody has changed it since it was read.
            ConflictError: Another rollout has its group.
        """
        saved = replace(rollout, revision=rollout.revision + 1)
        if saved.state in OCCUPYING:
            self._require_group_free(saved)
        changed = self._connection.execute(
            update(ROLLOUT)
            .where(ROLLOUT.c.id == rollout.plan.id, ROLLOUT.c.revision == rollout.revision)
            .values(**_progress(saved))
        )
        if changed.rowcount != 1:
            raise StaleError(
                f"rollout {rollout.plan.id}: it has changed since it was read (revision {rollout.revision}).",
                hint="Look at it again.",
            )
        return saved

    def find_out(self, rollout: str, findings: Sequence[GateFinding]) -> None:
        """Write down what its gates found last."""
        self._connection.execute(
            update(ROLLOUT).where(ROLLOUT.c.id == rollout).values(findings=written(tuple(findings)))
        )

    def findings(self, rollout: str) -> tuple[GateFinding, ...]:
        """Return what its gates found last."""
        text = self._connection.execute(
            select(ROLLOUT.c.findings).where(ROLLOUT.c.id == rollout)
        ).scalar_one_or_none()
        return read(text or "[]", tuple[GateFinding, ...], where=f"rollout {rollout}: findings")

    def get(self, rollout: str) -> Rollout:
        """Return a rollout.

        Raises:
            NotFoundError: There is none.
        """
        row = self._row(rollout)
        if row is None:
            raise NotFoundError(f"rollout {rollout}: there is none with that id.")
        return _rollout(row)

    def in_states(self, states: frozenset[RolloutState]) -> tuple[Rollout, ...]:
        """Return every rollout in one of these states, the oldest first."""
        asked = (
            select(ROLLOUT)
            .where(ROLLOUT.c.state.in_(sorted(states)))
            .order_by(ROLLOUT.c.created_seconds, ROLLOUT.c.id)
        )
        return tuple(_rollout(row) for row in self._connection.execute(asked))

    def page(
        self, *, group: str | None = None, state: RolloutState | None = None, after: str = "", limit: int
    ) -> tuple[Rollout, ...]:
        """Return the next rollouts in the order of their ids."""
        asked = select(ROLLOUT).where(ROLLOUT.c.id > after).order_by(ROLLOUT.c.id).limit(limit)
        for column, value in ((ROLLOUT.c.group, group), (ROLLOUT.c.state, state)):
            if value is not None:
                asked = asked.where(column == value)
        return tuple(_rollout(row) for row in self._connection.execute(asked))

    def occupant(self, group: str) -> Rollout | None:
        """Return the rollout that says what stands in a group's desired state; None: none does."""
        row = self._connection.execute(
            select(ROLLOUT).where(ROLLOUT.c.group == group, ROLLOUT.c.state.in_(sorted(OCCUPYING)))
        ).one_or_none()
        return None if row is None else _rollout(row)

    def count(self, states: frozenset[RolloutState] | None = None) -> int:
        """Return how many there are, or how many in one of these states."""
        asked = select(func.count()).select_from(ROLLOUT)
        if states is not None:
            asked = asked.where(ROLLOUT.c.state.in_(sorted(states)))
        return int(self._connection.execute(asked).scalar_one())

    def _require_group_free(self, rollout: Rollout) -> None:
        other = self.occupant(rollout.plan.group)
        if other is not None and other.plan.id != rollout.plan.id:
            raise ConflictError(
                f"rollout {rollout.plan.id}: group {rollout.plan.group} has rollout {other.plan.id}, which is {other.state}.",
                hint="One rollout of a group at a time: let that one end, or abort it.",
            )

    def _row(self, rollout: str) -> Row[Any] | None:
        return self._connection.execute(select(ROLLOUT).where(ROLLOUT.c.id == rollout)).one_or_none()


def _progress(rollout: Rollout) -> dict[str, Any]:
    return {
        "previous": written_artifacts(rollout.previous),
        "state": rollout.state,
        "stages": written(rollout.stages),
        "reason": rollout.reason,
        "changed_seconds": rollout.changed_seconds,
        "revision": rollout.revision,
    }


def _rollout(row: Row[Any]) -> Rollout:
    where = f"rollout {row.id}"
    return Rollout(
        plan=read(row.plan, RolloutPlan, where=where),
        previous=read_artifacts(row.previous, where=where),
        state=cast("RolloutState", row.state),
        stages=read(row.stages, tuple[StageProgress, ...], where=where),
        reason=row.reason,
        created_by=row.created_by,
        created_seconds=row.created_seconds,
        changed_seconds=row.changed_seconds,
        revision=row.revision,
    )
