"""Edgewright, through `host_tools.convert`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task

_RUNNING = "Running float and int8 side by side"
_WRITING = "Writing"
VERIFICATION = "verification"
"""The lap that holds everything between lowering and writing: what the peers do not do."""


class Laps:
    """A `host_tools.progress.Progress` that books laps: ``conversion`` to the last lowering, ``verification``, ``conversion`` again.

    The pipeline tells of a step after each lowering, so the last one before the files are run is the end of converting: engines are loaded
    after it.
    """

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        self._stepped = stopwatch.latest

    def stage(self, title: str, total: int | None) -> None:
        """See `Progress.stage`."""
        del total
        if title == _RUNNING:
            self._stopwatch.lap_at("conversion", self._stepped)
        if title == _WRITING:
            self._stopwatch.lap(VERIFICATION)

    def step(self, count: int = 1) -> None:
        """See `Progress.step`."""
        del count
        self._stepped = time.monotonic()


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Convert for all of the task's targets, with a cache that nobody has filled."""
    from benchmarks.options import THREADS  # noqa: PLC0415 - imports are a lap of their own, here and below
    from host_tools.pipeline import convert  # noqa: PLC0415
    from host_tools.recipe import KeepFloat, Recipe  # noqa: PLC0415
    from host_tools.verify.verification_report import Budget  # noqa: PLC0415

    stopwatch.lap("imports")
    recipe = Recipe(method=task.method or None)  # type: ignore[arg-type]  # the command line offers methods only
    if task.is_float:
        recipe = Recipe(method="minmax", keep_float=KeepFloat(ops=_operators(task)))
        stopwatch.lap("preparation")
    convert(
        task.model,
        data=task.data,
        preprocess=task.preprocess,
        targets=task.targets,
        out=task.out,
        recipe=recipe,
        budget=Budget(min_agreement=0.0, min_sqnr_db=-100.0),
        latency=False,
        threads=THREADS,
        cache=task.out / "cache",
        progress=Laps(stopwatch),
    )
    stopwatch.lap("conversion")


def _operators(task: Task) -> frozenset[str]:
    """Return every operator type of the canonical model."""
    from host_tools.model import load  # noqa: PLC0415 - as above

    return frozenset(node.op_type for node in load(task.model).graph.graph)
