"""Progress bars on standard error; plain lines where that is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID


class ProgressBars:
    """A `host_tools.progress.Progress` that draws; use it as a context."""

    def __init__(self, *, quiet: bool) -> None:
        """Make it; ``quiet`` shows nothing."""
        self._console = Console(stderr=True, quiet=quiet)
        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._quiet = quiet
        self._task: TaskID | None = None
        self._title = ""
        self._started = 0.0

    def __enter__(self) -> ProgressBars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()

    def stage(self, title: str, total: int | None) -> None:
        """See `Progress.stage`."""
        self._finish()
        self._title, self._started = title, time.monotonic()
        self._task = self._bars.add_task(title, total=total)

    def step(self, count: int = 1) -> None:
        """See `Progress.step`."""
        if self._task is not None:
            self._bars.advance(self._task, count)

    def _finish(self) -> None:
        if self._task is None:
            return
        if not self._quiet and not self._console.is_terminal:
            print(f"{self._title}: {time.monotonic() - self._started:.1f} s", file=sys.stderr, flush=True)
        task = self._bars.tasks[self._task]
        self._bars.update(self._task, total=task.total or 1, completed=task.total or 1)
        self._task = None
