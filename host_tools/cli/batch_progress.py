"""The progress of a batch on standard error: one bar for all jobs and a line for each that runs; plain lines where that is no terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from host_tools.batch.table import Entry, rows

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID

    from host_tools.batch.job import JobResult


class BatchBar:
    """A `host_tools.batch.progress.BatchProgress` that draws; use it as a context."""

    def __init__(self, *, quiet: bool, console: Console | None = None) -> None:
        """Make it; ``quiet`` shows nothing; ``console`` is standard error by default."""
        self._console = console or Console(stderr=True, quiet=quiet)
        self._draws = not quiet and self._console.is_terminal
        self._prints = not quiet and not self._console.is_terminal
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._draws,
        )
        self._all: TaskID = self._bars.add_task("Reading what the jobs depend on", total=None)
        self._running: dict[str, TaskID] = {}
        self._total = self._ended = 0

    def __enter__(self) -> BatchBar:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def refresh(self) -> None:
        """Draw now; otherwise it is drawn ten times a second."""
        self._bars.refresh()

    def look(self, job: str) -> None:
        """See `BatchProgress.look`."""
        self._bars.update(self._all, description=f"Reading what {job} depends on")

    def begin(self, total: int, *, kept: int) -> None:
        """See `BatchProgress.begin`."""
        self._total, self._ended = total, kept
        self._bars.update(self._all, description="All jobs", total=total, completed=kept)
        if kept:
            self._print(f"{kept} of {total} kept from an earlier run")

    def stage(self, job: str, title: str) -> None:
        """See `BatchProgress.stage`."""
        if job in self._running:
            self._bars.update(self._running[job], description=f"  {job}: {title}")
        else:
            self._running[job] = self._bars.add_task(f"  {job}: {title}", total=None)

    def finish(self, result: JobResult) -> None:
        """See `BatchProgress.finish`."""
        self._ended += 1
        self._bars.update(self._all, completed=self._ended)
        task = self._running.pop(result.job, None)
        if task is not None:
            self._bars.remove_task(task)
        told = ", ".join(
            row.verdict if row.verdict == "failed" else f"{row.target} {row.verdict}"
            for row in rows([Entry(result=result, state="done")])
        )
        self._print(f"[{self._ended}/{self._total}] {result.job}: {told} ({result.seconds:.1f} s)")

    def _print(self, line: str) -> None:
        if self._draws:
            self._bars.console.print(line, markup=False, highlight=False)
        elif self._prints:
            print(line, file=sys.stderr, flush=True)
