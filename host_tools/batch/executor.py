"""What runs jobs: the protocol, and which executor a text means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from host_tools.errors import InputError
from host_tools.processor import usable_processors

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager

    from host_tools.batch.job import Job, JobResult

DEFAULT = "processes"
_MOST_PROCESSES = 1024
_CORES_A_JOB = 2  # planning is one thread's work, running the model is as many as there are
_MOST_THREADS = 4
_PROCESSES = re.compile(r"processes(?::([0-9]{1,6}))?")
_ADDRESS = re.compile(r"dask://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running job has come to a stage; the first one tells that it runs."""

    job: str
    title: str


class Executor(Protocol):
    """Runs jobs side by side.

    Attributes:
        description: What it is, for people: ``2 processes``.
    """

    description: str

    def run(self, jobs: Sequence[Job]) -> Generator[Stage | JobResult, None, None]:
        """Run jobs; give what happens as it happens, in the end one result a job, in any order.

        Closing the iterator ends the jobs that run; none of them is left behind.

        Raises:
            TransferError: The cluster is lost.
        """
        ...


def require_executor(text: str) -> None:
    """Refuse a text that means no executor.

    Raises:
        InputError: It is neither ``processes``, ``processes:N``, ``dask`` nor ``dask://HOST:PORT``.
    """
    if match := _PROCESSES.fullmatch(text):
        _process_count(match[1], 1)
        return
    address = _ADDRESS.fullmatch(text)
    if text != "dask" and (address is None or not 0 < int(address[2]) < 1 << 16):
        raise InputError(
            f"--executor: expected processes, processes:N, dask or dask://HOST:PORT, got {text!r}.",
            hint="For example --executor processes:4.",
        )


def open_executor(text: str, *, jobs: Sequence[Job]) -> AbstractContextManager[Executor]:
    """Return the executor that a text means.

    Args:
        text: ``processes``, ``processes:N``, ``dask`` or ``dask://HOST:PORT``.
        jobs: What it will run: it opens no more than they need, and finds out whether their files can be reached.

    Raises:
        InputError: The text means none, or a package is missing.
        TransferError: The scheduler cannot be reached, or has no worker.
        OutputError: The folder of results is not shared with the workers.
    """
    require_executor(text)
    if match := _PROCESSES.fullmatch(text):
        from host_tools.batch.processes import open_processes  # noqa: PLC0415 - one executor is enough

        return open_processes(_process_count(match[1], len(jobs)))
    try:
        from host_tools.batch.dask_cluster import open_cluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InputError(
            f"--executor {text}: the package {error.name!r} is not installed.",
            hint="Install it: pip install 'edgewright[dask]'",
        ) from error
    if text == "dask":
        return open_cluster(None, jobs=jobs, processes=_process_count(None, len(jobs)))
    return open_cluster(text.replace("dask://", "tcp://"), jobs=jobs)


def _process_count(text: str | None, jobs: int) -> int:
    count = max(1, usable_processors() // _CORES_A_JOB) if text is None else int(text)
    if not 1 <= count <= _MOST_PROCESSES:
        raise InputError(f"--executor: expected 1 to {_MOST_PROCESSES} processes, got {count}.")
    return max(1, min(count, jobs))


def threads_of_a_job(side_by_side: int) -> int:
    """Return how many threads each of so many jobs on this machine may have."""
    return max(1, min(usable_processors() // side_by_side, _MOST_THREADS))
