"""Jobs by device, and their counts by stage, kept as jobs change: counting 100,000 anew each minute would be the most of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.fleet.records.jobs import ENDED_JOBS, Job, JobCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = ("total", "absent", "open", "succeeded", "failed", "canceled")
_RESULTS = {"success": "succeeded", "failure": "failed", "none": "canceled"}


class Ledger:
    """The jobs of one rollout.

    Args:
        stages: How many stages it has.
    """

    def __init__(self, stages: int) -> None:
        self._jobs: dict[str, Job] = {}
        self._open: dict[str, None] = {}
        self._counts = [dict.fromkeys(_KINDS, 0) for _ in range(stages)]

    def __contains__(self, device: str) -> bool:
        """Say whether a device has a job."""
        return device in self._jobs

    def __getitem__(self, device: str) -> Job:
        """Return the job of a device."""
        return self._jobs[device]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Keep a job, in place of the one that its device had."""
        before = self._jobs.get(job.device)
        if before is job:
            return
        if before is not None:
            self._count(before, -1)
        self._count(job, 1)
        self._jobs[job.device] = job
        if job.state in ENDED_JOBS:
            self._open.pop(job.device, None)
        else:
            self._open[job.device] = None

    def open_jobs(self) -> Iterator[Job]:
        """Return the jobs that have not ended, as they are now."""
        return iter([self._jobs[device] for device in self._open])

    def counts(self, holding: int = 0) -> tuple[JobCounts, ...]:
        """Return the counts of every stage; ``holding`` of all devices is told with the first."""
        return tuple(
            JobCounts(**one, holding=holding if stage == 0 else 0) for stage, one in enumerate(self._counts)
        )

    def _count(self, job: Job, by: int) -> None:
        one = self._counts[job.stage]
        one["total"] += by
        if job.state in ENDED_JOBS:
            one[_RESULTS[job.result]] += by
            return
        one["open"] += by
        if job.heard_seconds is None:
            one["absent"] += by
