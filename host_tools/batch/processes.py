"""Processes of this machine, several at a time.

A thread waits for each; the processes themselves are `supervisor`'s. `concurrent.futures.ProcessPoolExecutor` would not do: one worker
that the kernel kills for its size breaks the whole pool, all jobs that run are lost with it, and it cannot say which one was to blame.
"""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

from host_tools.batch.executor import Stage, threads_of_a_job
from host_tools.batch.job import JobResult
from host_tools.batch.supervisor import NotWantedError, supervise

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from host_tools.batch.job import Job


class Processes:
    """See `Executor`."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.description = f"{count} process{'' if count == 1 else 'es'}"

    def run(self, jobs: Sequence[Job]) -> Generator[Stage | JobResult, None, None]:
        """See `Executor.run`."""
        stopped = threading.Event()
        happened: SimpleQueue[Stage | JobResult | BaseException] = SimpleQueue()
        threads = threads_of_a_job(self._count)

        def run_one(job: Job) -> None:
            try:
                happened.put(
                    supervise(
                        job if job.threads is not None else dataclasses.replace(job, threads=threads),
                        tell=lambda title: happened.put(Stage(job=job.name, title=title)),
                        is_wanted=lambda: not stopped.is_set(),
                    )
                )
            except NotWantedError:
                pass
            except BaseException as error:  # noqa: BLE001 - it is raised below, in the thread that waits
                happened.put(error)

        with ThreadPoolExecutor(self._count, thread_name_prefix="job") as pool:
            try:
                for job in jobs:
                    pool.submit(run_one, job)
                left = len(jobs)
                while left:
                    one = happened.get()
                    if isinstance(one, BaseException):
                        raise one
                    left -= isinstance(one, JobResult)
                    yield one
            finally:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def open_processes(count: int) -> Iterator[Processes]:
    """Return an executor of so many processes at a time."""
    yield Processes(count)
