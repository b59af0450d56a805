"""Jobs: what each device owes a rollout. (rollout, device) is the key, so that no job is made twice. How one moves is `rollout.jobs`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import and_, bindparam, case, false, func, insert, or_, select, update

from host_tools.errors import NotFoundError
from host_tools.fleet.records.jobs import ENDED_JOBS, Job, JobCounts
from host_tools.fleet.store.pins import IS_PINNED
from host_tools.fleet.store.tables import DEVICE, JOB, ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from host_tools.fleet.records.jobs import JobResult, JobState
    from host_tools.fleet.records.rollouts import RolloutPlan

_OPEN: Final = JOB.c.state.not_in(sorted(ENDED_JOBS))
_SUCCEEDED: Final = and_(JOB.c.state == "closed", JOB.c.result == "success")
_FAILED: Final = or_(JOB.c.state == "rejected", and_(JOB.c.state == "closed", JOB.c.result == "failure"))
_IS_IN_GROUP: Final = and_(DEVICE.c.state == "enrolled", DEVICE.c.group == ROLLOUT.c.group)
_TAKES_PART: Final = and_(_IS_IN_GROUP, ~IS_PINNED)
_BATCH: Final = 1_000
_COLUMNS: Final = tuple(field.name for field in fields(Job))
_MOVES: Final = (
    "state",
    "result",
    "attempts",
    "reason",
    "created_seconds",
    "changed_seconds",
    "heard_seconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LateJob:
    """An open job whose deadline has passed, and what its device was last heard to run, and when."""

    job: Job
    running: str | None
    last_seen_seconds: float | None


class Jobs:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, jobs: Sequence[Job]) -> int:
        """Make jobs; where (rollout, device) has one already, that one stays. Return how many were made."""
        made = 0
        for begin in range(0, len(jobs), _BATCH):
            batch = jobs[begin : begin + _BATCH]
            keys = {(job.rollout, job.device) for job in batch}
            asked = select(JOB.c.rollout, JOB.c.device).where(
                JOB.c.rollout.in_(sorted({rollout for rollout, _ in keys})),
                JOB.c.device.in_(sorted({device for _, device in keys})),
            )
            known = {(row.rollout, row.device) for row in self._connection.execute(asked)}
            fresh = [_row(job) for job in batch if (job.rollout, job.device) not in known]
            if fresh:
                self._connection.execute(insert(JOB), fresh)
            made += len(fresh)
        return made

    def put(self, jobs: Sequence[Job]) -> None:
        """Write down where jobs are."""
        if jobs:
            self._connection.execute(
                update(JOB)
                .where(JOB.c.rollout == bindparam("b_rollout"), JOB.c.device == bindparam("b_device"))
                .values({name: bindparam(f"b_{name}") for name in _MOVES}),
                [{f"b_{name}": value for name, value in _row(job).items()} for job in jobs],
            )

    def get(self, rollout: str, device: str) -> Job:
        """Return a job.

        Raises:
            NotFoundError: There is none.
        """
        asked = select(JOB).where(JOB.c.rollout == rollout, JOB.c.device == device)
        row = self._connection.execute(asked).one_or_none()
        if row is None:
            raise NotFoundError(f"rollout {rollout}: device {device} has no job in it.")
        return _job(row)

    def page(
        self,
        rollout: str,
        *,
        stage: int | None = None,
        state: JobState | None = None,
        result: JobResult | None = None,
        after: str = "",
        limit: int,
    ) -> tuple[Job, ...]:
        """Return a rollout's next jobs in the order of their devices."""
        asked = select(JOB).where(JOB.c.rollout == rollout, JOB.c.device > after).order_by(JOB.c.device)
        for column, value in ((JOB.c.stage, stage), (JOB.c.state, state), (JOB.c.result, result)):
            if value is not None:
                asked = asked.where(column == value)
        return self._jobs(asked.limit(limit))

    def of_device(self, device: str, *, limit: int) -> tuple[Job, ...]:
        """Return a device's newest jobs."""
        asked = (
            select(JOB).where(JOB.c.device == device).order_by(JOB.c.created_seconds.desc(), JOB.c.rollout)
        )
        return self._jobs(asked.limit(limit))

    def open_of(self, devices: Sequence[str]) -> tuple[Job, ...]:
        """Return the open jobs of some devices."""
        return self._jobs(select(JOB).where(JOB.c.device.in_(devices), _OPEN)) if devices else ()

    def open_in(self, rollout: str) -> Iterator[tuple[Job, ...]]:
        """Give a rollout's open jobs, batch by batch."""
        yield from self._batches(select(JOB).where(JOB.c.rollout == rollout, _OPEN))

    def failed_in(self, rollout: str, *, before_seconds: float) -> Iterator[tuple[Job, ...]]:
        """Give a rollout's jobs that ended without success in an attempt that was made before a time, batch by batch.

        Those of devices that take no part any more, are in another group by now, or have a desired state of their own, have ended for good.
        """
        which = and_(JOB.c.rollout == rollout, JOB.c.created_seconds < before_seconds)
        joined = JOB.join(DEVICE, DEVICE.c.id == JOB.c.device).join(ROLLOUT, ROLLOUT.c.id == JOB.c.rollout)
        asked = select(JOB).select_from(joined).where(which, ~_OPEN, ~_SUCCEEDED, _TAKES_PART)
        yield from self._batches(asked)

    def late(self, plan: RolloutPlan, now_seconds: float, *, limit: int) -> tuple[LateJob, ...]:
        """Return open jobs of a rollout whose deadline has passed."""
        asked = (
            select(JOB, DEVICE.c.artifact.label("running"), DEVICE.c.last_seen_seconds)
            .select_from(JOB.join(DEVICE, DEVICE.c.id == JOB.c.device))
            .where(
                JOB.c.rollout == plan.id,
                _OPEN,
                or_(
                    JOB.c.heard_seconds <= now_seconds - plan.job_seconds,
                    and_(
                        JOB.c.heard_seconds.is_(None),
                        JOB.c.created_seconds <= now_seconds - plan.absent_seconds,
                    ),
                ),
            )
            .order_by(JOB.c.device)
            .limit(limit)
        )
        return tuple(
            LateJob(job=_job(row), running=row.running, last_seen_seconds=row.last_seen_seconds)
            for row in self._connection.execute(asked)
        )

    def counts(self, rollout: str, *, stages: int) -> tuple[JobCounts, ...]:
        """Return the jobs of each of so many stages by how they are, with one question."""
        asked = (
            select(
                JOB.c.stage,
                func.count().label("total"),
                _sum(and_(_OPEN, JOB.c.heard_seconds.is_(None))).label("absent"),
                _sum(_OPEN).label("open"),
                _sum(_SUCCEEDED).label("succeeded"),
                _sum(_FAILED).label("failed"),
                _sum(and_(DEVICE.c.artifact == JOB.c.wanted, _TAKES_PART)).label("holding"),
            )
            .select_from(
                JOB.join(DEVICE, DEVICE.c.id == JOB.c.device).join(ROLLOUT, ROLLOUT.c.id == JOB.c.rollout)
            )
            .where(JOB.c.rollout == rollout)
            .group_by(JOB.c.stage)
        )
        found = {row.stage: _counts(row) for row in self._connection.execute(asked)}
        return tuple(found.get(number, JobCounts()) for number in range(stages))

    def came_and_left(self, rollout: str, began_seconds: Sequence[float]) -> tuple[int, int]:
        """Return how many jobs a rollout made after their stage had begun, and how many are of devices that left its group.

        Args:
            rollout: Which.
            began_seconds: Unix times at which its stages began, of those that have.
        """
        # A job that was retried was made anew then.
        late = [
            and_(JOB.c.stage == stage, JOB.c.attempts == 1, JOB.c.created_seconds > seconds)
            for stage, seconds in enumerate(began_seconds)
        ]
        asked = (
            select(_sum(or_(false(), *late)), _sum(~_IS_IN_GROUP))
            .select_from(
                JOB.join(DEVICE, DEVICE.c.id == JOB.c.device).join(ROLLOUT, ROLLOUT.c.id == JOB.c.rollout)
            )
            .where(JOB.c.rollout == rollout)
        )
        came, left = self._connection.execute(asked).one()
        return int(came), int(left)

    def _batches(self, asked: Select[Any]) -> Iterator[tuple[Job, ...]]:
        after = ""
        ordered = asked.order_by(JOB.c.device).limit(_BATCH)
        while jobs := self._jobs(ordered.where(JOB.c.device > after)):
            yield jobs
            after = jobs[-1].device

    def _jobs(self, asked: Select[Any]) -> tuple[Job, ...]:
        return tuple(_job(row) for row in self._connection.execute(asked))


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _counts(row: Row[Any]) -> JobCounts:
    still, succeeded, failed = int(row.open), int(row.succeeded), int(row.failed)
    return JobCounts(
        total=int(row.total),
        absent=int(row.absent),
        open=still,
        succeeded=succeeded,
        failed=failed,
        canceled=int(row.total) - still - succeeded - failed,
        holding=int(row.holding),
    )


def _row(job: Job) -> dict[str, Any]:
    """Return a job's columns. `asdict` copies every value deeply, which a stage of a large group has no time for."""
    return {name: getattr(job, name) for name in _COLUMNS}


def _job(row: Row[Any]) -> Job:
    return Job(
        rollout=row.rollout,
        device=row.device,
        stage=row.stage,
        state=cast("JobState", row.state),
        result=cast("JobResult", row.result),
        wanted=row.wanted,
        previous=row.previous,
        attempts=row.attempts,
        reason=row.reason,
        created_seconds=row.created_seconds,
        changed_seconds=row.changed_seconds,
        heard_seconds=row.heard_seconds,
    )
