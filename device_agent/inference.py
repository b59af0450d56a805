"""The inference loop and what it measures. What it adds to the engine's own time is a few microseconds a frame, and no allocation.

`InferenceLoop.run` is called on the worker's thread; `Meter.close_window` on the agent's.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EngineError
from device_agent.sources.source import SourceEnded
from device_agent.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from device_agent.engines.engine import Engine
    from device_agent.results import ResultQueue
    from device_agent.sources.source import Source

_POLL_SECONDS: Final = 0.1
"""How long a stop can go unseen while no frame comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """Bounds of the loop.

    Attributes:
        rate_hz: Frames a second at most; 0: as fast as they come.
        max_frames: Stop after so many; 0: never.
        max_consecutive_errors: Give up after so many failed inferences in a row.
    """

    rate_hz: float
    max_frames: int
    max_consecutive_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was measured since the window before.

    Attributes:
        latencies: Of the window; valid until the next `Meter.close_window`.
        inferences_total: Since the start.
        errors_total: Since the start.
        errors: In the window.
        last_error: Message of the latest failure; empty when none ever failed.
    """

    latencies: Histogram
    inferences_total: int
    errors_total: int
    errors: int
    last_error: str


class Meter:
    """Counts on one thread, is read on another. Two histograms are all the memory it ever needs."""

    __slots__ = (
        "_active",
        "_errors_told",
        "_lock",
        "_spare",
        "errors_total",
        "inferences_total",
        "last_error",
    )

    def __init__(self) -> None:
        self.inferences_total = 0
        self.errors_total = 0
        self.last_error = ""
        self._errors_told = 0
        self._lock = threading.Lock()
        self._active = Histogram()
        self._spare = Histogram()

    def inferred(self, duration_ns: int) -> None:
        """Count one inference."""
        with self._lock:
            self._active.record(duration_ns)
            self.inferences_total += 1

    def failed(self, message: str) -> None:
        """Count one inference that failed."""
        with self._lock:
            self.errors_total += 1
            self.last_error = message

    def close_window(self) -> Window:
        """Return what was measured since the last call, and begin a new window."""
        self._spare.clear()
        with self._lock:
            self._active, self._spare = self._spare, self._active
            errors = self.errors_total - self._errors_told
            self._errors_told = self.errors_total
            return Window(
                latencies=self._spare,
                inferences_total=self.inferences_total,
                errors_total=self.errors_total,
                errors=errors,
                last_error=self.last_error,
            )


class InferenceLoop:
    """Takes frames, infers, counts, and offers results.

    Args:
        engine: Loaded and tested.
        source: Where frames come from.
        meter: Counts.
        results: Where outputs go; None: nowhere.
        limits: Bounds.
        stopping: Set when the loop is to be left.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        source: Source,
        meter: Meter,
        results: ResultQueue | None,
        limits: LoopLimits,
        stopping: threading.Event,
    ) -> None:
        self._engine = engine
        self._source = source
        self._meter = meter
        self._results = results
        self._limits = limits
        self._stopping = stopping

    def run(self) -> str:
        """Infer until stopped, or until there is nothing more to infer.

        Returns:
            Why there is nothing more; empty when the loop was stopped.

        Raises:
            EngineError: Too many inferences failed in a row.
            DeviceError: The source cannot go on.
        """
        try:
            return self._run()
        except SourceEnded:
            return f"the source has no more frames, after {self._meter.inferences_total} inferences"

    def _run(self) -> str:
        # Everything that is looked up for each frame is a local name: that is a good part of what the loop costs.
        next_frame, infer, inferred = self._source.next, self._engine.infer, self._meter.inferred
        stopped, results, most = self._stopping.is_set, self._results, self._limits.max_frames
        pace = _Pace(self._limits.rate_hz, self._stopping) if self._limits.rate_hz else None
        failures = taken = 0
        while not stopped():
            if pace is not None and not pace.wait():
                break
            frame = next_frame(_POLL_SECONDS)
            if frame is None:
                continue
            start = perf_counter_ns()
            try:
                outputs = infer(frame.inputs)
            except EngineError as error:
                failures += 1
                if frame.answer is not None:
                    frame.answer.refuse(str(error))
                self._failed(error, failures)
            else:
                end = perf_counter_ns()
                inferred(end - start)
                failures = 0
                if frame.answer is not None:
                    frame.answer.give(end - start, outputs)
                if results is not None and end >= results.due_ns:
                    results.offer(frame.id, end - start, outputs, now_ns=end)
            taken += 1
            if taken == most:
                return f"{taken} frames were inferred, as source.max_frames says"
        return ""

    def _failed(self, error: EngineError, failures: int) -> None:
        self._meter.failed(str(error))
        if failures >= self._limits.max_consecutive_errors:
            raise EngineError(f"{failures} inferences failed in a row, the last one with: {error}") from error


class _Pace:
    """Lets frames through at a rate; time that was lost is not made up for by a burst."""

    __slots__ = ("_due_seconds", "_period_seconds", "_stopping")

    def __init__(self, rate_hz: float, stopping: threading.Event) -> None:
        self._period_seconds = 1.0 / rate_hz
        self._due_seconds = monotonic()
        self._stopping = stopping

    def wait(self) -> bool:
        """Wait for the next turn; return False when stopped meanwhile."""
        now = monotonic()
        if now < self._due_seconds and self._stopping.wait(self._due_seconds - now):
            return False
        self._due_seconds = max(self._due_seconds + self._period_seconds, now)
        return True
