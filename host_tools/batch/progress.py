"""How a batch reports how far it is; the command line shows it, a library call is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from host_tools.batch.job import JobResult


class BatchProgress(Protocol):
    """Told what happens to the jobs of a batch, from one thread."""

    def look(self, job: str) -> None:
        """What a job depends on is read, to find out whether it is done already."""
        ...

    def begin(self, total: int, *, kept: int) -> None:
        """The batch has ``total`` jobs, of which ``kept`` are done from an earlier run."""
        ...

    def stage(self, job: str, title: str) -> None:
        """A running job has come to a stage; the first one tells that it runs."""
        ...

    def finish(self, result: JobResult) -> None:
        """A job has ended."""
        ...


class Silent:
    """Reports nothing."""

    def look(self, job: str) -> None:
        """See `BatchProgress.look`."""

    def begin(self, total: int, *, kept: int) -> None:
        """See `BatchProgress.begin`."""

    def stage(self, job: str, title: str) -> None:
        """See `BatchProgress.stage`."""

    def finish(self, result: JobResult) -> None:
        """See `BatchProgress.finish`."""
