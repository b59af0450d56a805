"""`Overview`: how an ingest is, over all of its processes, those that died included."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from host_tools.review.ingest.channel import Note, WorkerStatus, WriterStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

_RATE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How an ingest is. Counts are since it was started; what a killed process counted in its last second is missing.

    Attributes:
        seconds: Since the start.
        received: Messages that came.
        received_bytes: Their payloads.
        judged: Those that took the slow way to be decoded.
        refused: Those that were not understood.
        held: Received and not acknowledged.
        held_bytes: What they take.
        messages: New messages committed.
        duplicates: Messages that were there already.
        dead_letters: Committed.
        commits: Transactions.
        commit_seconds: Time in them.
        roll_up_seconds: Time in roll-ups and removals.
        store_failures: Attempts that the store refused.
        messages_per_second: Committed or found there already, in the last ten seconds.
        lag_seconds: Age of the oldest message of the latest commit.
        connected: Workers that are subscribed.
        workers: Workers that there ought to be.
        restarts: Processes that died and were replaced.
        notes: What is wrong.
    """

    seconds: float
    received: int
    received_bytes: int
    judged: int
    refused: int
    held: int
    held_bytes: int
    messages: int
    duplicates: int
    dead_letters: int
    commits: int
    commit_seconds: float
    roll_up_seconds: float
    store_failures: int
    messages_per_second: float
    lag_seconds: float
    connected: int
    workers: int
    restarts: int
    notes: tuple[Note, ...]


@dataclass(slots=True)
class Totals:
    """What processes that died had counted, and the rate of late."""

    worker: WorkerStatus = field(default_factory=WorkerStatus)
    writer: WriterStatus = field(default_factory=WriterStatus)
    _committed: deque[tuple[float, int]] = field(default_factory=deque)

    def add_dead(self, status: WorkerStatus | WriterStatus | None) -> None:
        """Keep the last counts of a process that died."""
        if isinstance(status, WorkerStatus):
            self.worker = _sum_workers([self.worker, status])
        elif isinstance(status, WriterStatus):
            self.writer = _sum_writers([self.writer, status])

    def overview(
        self,
        statuses: Sequence[WorkerStatus | WriterStatus | None],
        *,
        workers: int,
        restarts: int,
        seconds: float,
    ) -> Overview:
        """Add up the dead and the living, ``seconds`` after the start."""
        living = [status for status in statuses if isinstance(status, WorkerStatus)]
        writers = [status for status in statuses if isinstance(status, WriterStatus)]
        worker = _sum_workers([self.worker, *living])
        writer = _sum_writers([self.writer, *writers])
        done = writer.messages + writer.duplicates + writer.dead_letters
        self._committed.append((seconds, done))
        while len(self._committed) > 2 and seconds - self._committed[0][0] > _RATE_SECONDS:
            self._committed.popleft()
        since, before = self._committed[0]
        notes = [*(one.note for one in living), *(one.note for one in writers)]
        return Overview(
            seconds=seconds,
            received=worker.received,
            received_bytes=worker.received_bytes,
            judged=worker.judged,
            refused=worker.refused,
            held=sum(status.held for status in living),
            held_bytes=sum(status.held_bytes for status in living),
            messages=writer.messages,
            duplicates=writer.duplicates,
            dead_letters=writer.dead_letters,
            commits=writer.commits,
            commit_seconds=writer.commit_seconds,
            roll_up_seconds=writer.roll_up_seconds,
            store_failures=writer.failures,
            messages_per_second=(done - before) / (seconds - since) if seconds > since else 0.0,
            lag_seconds=max((status.lag_seconds for status in writers), default=0.0),
            connected=sum(status.connected for status in living),
            workers=workers,
            restarts=restarts,
            notes=tuple(dict.fromkeys(note for note in notes if note is not None)),
        )


def _sum_workers(several: Sequence[WorkerStatus]) -> WorkerStatus:
    return WorkerStatus(
        received=sum(one.received for one in several),
        received_bytes=sum(one.received_bytes for one in several),
        judged=sum(one.judged for one in several),
        refused=sum(one.refused for one in several),
    )


def _sum_writers(several: Sequence[WriterStatus]) -> WriterStatus:
    return WriterStatus(
        messages=sum(one.messages for one in several),
        duplicates=sum(one.duplicates for one in several),
        dead_letters=sum(one.dead_letters for one in several),
        commits=sum(one.commits for one in several),
        commit_seconds=sum(one.commit_seconds for one in several),
        roll_up_seconds=sum(one.roll_up_seconds for one in several),
        failures=sum(one.failures for one in several),
    )
