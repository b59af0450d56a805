"""`Steps`: a device's steps of updates, done by the agent's own code on a thread of a pool, where the agent has a child process for each.

Nothing of a check, a download or a trial is left out or shared between devices: each has its own cache of metadata and its own store. Only the
shadow run, which needs inferences, is told a cosine; and a step has no deadline of its own but that of its network.
"""

from __future__ import annotations

import io
import resource
from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.update.child import do
from device_agent.update.children import Children
from device_agent.update.jobs import TrialJob
from device_agent.update.occurrences import Shadowed

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from device_agent.update.jobs import Answer, Job
    from device_agent.update.shadow import Tap


class Steps(Children):
    """See the module's docstring.

    Args:
        report: Called with a step's end, on a thread of the pool; never after `cancel`.
        pool: Does the steps.
        cosine: Returns what a shadow run finds.
    """

    def __init__(
        self, report: Callable[[Answer], None], *, pool: Executor, cosine: Callable[[], float]
    ) -> None:
        super().__init__(report)
        self._tell = report
        self._pool = pool
        self._cosine = cosine
        self._number = 0

    def start(self, job: Job, *, timeout_seconds: float) -> None:
        """Do a job."""
        del timeout_seconds
        self._number += 1
        self._pool.submit(self._do, self._number, job)

    def start_shadow(
        self, job: TrialJob, tap: Tap, *, frames: int, timeout_seconds: float, duty_ratio: float
    ) -> None:
        """Say what a shadow run would have found."""
        del job, tap, timeout_seconds, duty_ratio
        self._number += 1
        self._pool.submit(self._answer, self._number, Shadowed(frames=frames, cosine=self._cosine()))

    def cancel(self) -> None:
        """Report nothing of what is under way."""
        self._number += 1

    def _do(self, number: int, job: Job) -> None:
        if number == self._number:
            answer = do(
                _unlimited(job) if isinstance(job, TrialJob) else job,
                frames=io.BytesIO(),
                answers=io.BytesIO(),
            )
            self._answer(number, answer)

    def _answer(self, number: int, answer: Answer) -> None:
        if number == self._number:
            self._tell(answer)


def _unlimited(job: TrialJob) -> TrialJob:
    """Return the trial without bounds: they would be those of the whole process."""
    _, memory = resource.getrlimit(resource.RLIMIT_AS)
    _, seconds = resource.getrlimit(resource.RLIMIT_CPU)
    return replace(job, memory_max_bytes=memory, cpu_max_seconds=seconds)
