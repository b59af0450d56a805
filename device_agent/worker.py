"""The inference loop, on a thread of its own: next frame, infer, count. What it adds to the engine's own time is measured in microseconds."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.errors import EdgewrightError
from device_agent.sources.source import SourceEnded
from device_agent.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.engines.engine import Engine
    from device_agent.results import ResultQueue
    from device_agent.sources.source import Source

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class SourceDone:
    """The source ended, or enough frames were taken."""

    reason: str


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The loop cannot go on."""

    error: EdgewrightError


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """The thread is at its end."""


WorkerReport = SourceDone | WorkerFailed | WorkerLeft


class Worker:
    """See the module's docstring. `take_window` is called by another thread; everything else happens on the worker's own.

    Args:
        engine: Loaded and tested.
        source: Frames.
        results: Where outputs go; None: nowhere.
        rate_hz: Frames a second at most; 0: as fast as they come.
        max_frames: Stop after so many; 0: never.
        max_consecutive_errors: Give up after so many failures in a row.
        report: Called on the worker's thread.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        source: Source,
        results: ResultQueue | None,
        rate_hz: float,
        max_frames: int,
        max_consecutive_errors: int,
        report: Callable[[WorkerReport], None],
    ) -> None:
        self.inferences = 0
        self.errors = 0
        self.last_error = ""
        self._engine = engine
        self._source = source
        self._results = results
        self._pause_seconds = 1.0 / rate_hz if rate_hz else 0.0
        self._max_frames = max_frames
        self._max_consecutive_errors = max_consecutive_errors
        self._report = report
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._window = Histogram()
        self._spare = Histogram()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    @property
    def dropped(self) -> int:
        """Frames that came and were not inferred."""
        return self._source.dropped + self._source.refused

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Leave the loop soon; `WorkerLeft` follows."""
        self._stop.set()

    def take_window(self) -> Histogram:
        """Return the latencies since the last call. Valid until the call after the next."""
        self._spare.clear()
        with self._lock:
            self._window, self._spare = self._spare, self._window
        return self._spare

    def _run(self) -> None:
        try:
            self._loop()
        except SourceEnded:
            self._report(SourceDone("the source has no more frames"))
        except EdgewrightError as error:
            self._report(WorkerFailed(error))
        finally:
            self._source.close()
            self._report(WorkerLeft())

    def _loop(self) -> None:
        due, failures, taken = time.monotonic(), 0, 0
        while not self._stop.is_set():
            if self._pause_seconds:
                now = time.monotonic()
                if now < due and self._stop.wait(due - now):
                    return
                due = max(due + self._pause_seconds, now - self._pause_seconds)
            frame = self._source.next(_POLL_SECONDS)
            if frame is None:
                continue
            failures = 0 if self._infer(frame.id, frame.inputs) else failures + 1
            taken += 1
            if failures >= self._max_consecutive_errors:
                raise EdgewrightError(f"{failures} inferences failed in a row: {self.last_error}")
            if taken == self._max_frames:
                self._report(SourceDone(f"{taken} frames were inferred, as configured"))
                return

    def _infer(self, frame: str, inputs: object) -> bool:
        start = time.perf_counter_ns()
        try:
            outputs = self._engine.infer(inputs)  # type: ignore[arg-type]  # a frame's inputs
        except EdgewrightError as error:
            self.errors += 1
            self.last_error = str(error)
            return False
        duration = time.perf_counter_ns() - start
        with self._lock:
            self._window.record(duration)
        self.inferences += 1
        if self._results is not None and self._results.wants(start * 1e-9):
            self._results.offer(frame, duration * 1e-9, outputs)
        return True
