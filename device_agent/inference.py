"""The inference loop and what it measures. What it adds to the engine's own time is a few microseconds a frame.

`InferenceLoop.run` is called on the worker's thread; `Meter.close_window` on the agent's.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import count
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EngineError
from device_agent.results import NOWHERE
from device_agent.sources.source import SourceEnded
from device_agent.telemetry.histogram import Histogram
from device_agent.telemetry.input_sketch import InputSketcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.engines.engine import Engine
    from device_agent.results import ResultQueue
    from device_agent.sources.source import Frame, Source
    from device_agent.split import Split
    from device_agent.worker import StopEvent

_POLL_SECONDS: Final = 0.1
"""How long a stop can go unseen while no frame comes."""

_COUNT_EVERY: Final = 256
"""Frames between two turns of counting: the code that counts is then in the processor's caches for all but the first of them, where a large
model would have driven it out between any two frames."""


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
    """Counts on one thread, is read on another. Two histograms and what came since the last `attend` are all the memory it ever needs.

    Args:
        sketch_every_frames: One frame in so many is looked at for statistics of the inputs; 0: none.

    Attributes:
        inferred: Takes the duration of one inference, in nanoseconds. It is a deque's own method, so that no Python runs for each frame.
        due: Number of the frame, counted from 0 since `begin`, from which on one is to be given to `attend`.
        sketcher: Looks at inputs.
    """

    __slots__ = (
        "_active",
        "_counted",
        "_errors_told",
        "_lock",
        "_spare",
        "_uncounted",
        "due",
        "errors_total",
        "inferred",
        "last_error",
        "sketcher",
    )

    def __init__(self, *, sketch_every_frames: int = 0) -> None:
        self.sketcher = InputSketcher(sketch_every_frames)
        self._uncounted: deque[int] = deque()
        self.inferred = self._uncounted.append
        self.due = 0
        self._counted = 0
        self.errors_total = 0
        self.last_error = ""
        self._errors_told = 0
        self._lock = threading.Lock()
        self._active = Histogram()
        self._spare = Histogram()

    @property
    def inferences_total(self) -> int:
        """Inferences since the start."""
        with self._lock:
            return self._counted + len(self._uncounted)

    def begin(self, tensors: Sequence[PayloadTensor]) -> None:
        """Count frames anew; look at some of them for these inputs."""
        self.sketcher.begin(tensors)
        self.due = 0

    def attend(self, inputs: Sequence[NDArray[np.generic]], number: int) -> None:
        """Put into the histogram what was inferred since the last call, and look at a frame if its turn has come."""
        with self._lock:
            self._count()
        if number >= self.sketcher.due:
            self.sketcher.take(inputs, number)
        self.due = min(number + _COUNT_EVERY, self.sketcher.due)

    def _count(self) -> None:
        waiting = len(self._uncounted)  # more may come meanwhile: it waits for the next call
        take = self._uncounted.popleft
        self._active.record_all([take() for _ in range(waiting)])
        self._counted += waiting

    def failed(self, message: str) -> None:
        """Count one inference that failed."""
        with self._lock:
            self.errors_total += 1
            self.last_error = message

    def close_window(self) -> Window:
        """Return what was measured since the last call, and begin a new window."""
        self._spare.clear()
        with self._lock:
            self._count()
            self._active, self._spare = self._spare, self._active
            errors = self.errors_total - self._errors_told
            self._errors_told = self.errors_total
            return Window(
                latencies=self._spare,
                inferences_total=self._counted,
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
        pace: Holds frames back; by default at the rate of ``limits``.
        split: Says for every frame what infers it, in place of ``engine``, ``meter`` and ``results``; None: there is no other.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        source: Source,
        meter: Meter,
        results: ResultQueue | None,
        limits: LoopLimits,
        stopping: StopEvent,
        pace: Pace | None = None,
        split: Split | None = None,
    ) -> None:
        self._engine = engine
        self._source = source
        self._meter = meter
        self._results = results
        self._limits = limits
        self._stopping = stopping
        self._pace = pace or Pace(limits.rate_hz, stopping)
        self._split = split

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
            counted = self._meter if self._split is None else self._split
            return f"the source has no more frames, after {counted.inferences_total} inferences"

    def _run(self) -> str:
        # A large model drives everything else out of the processor's caches, so what costs is every object that a frame touches, two
        # cache lines each. What does not change, and what only this loop changes, is therefore a local name: module, meter and results
        # are looked at only when something is due.
        next_frame, infer, inferred = self._source.next, self._engine.infer, self._meter.inferred
        pace, stopping, split, meter = self._pace, self._stopping, self._split, self._meter
        results, most = self._results or NOWHERE, self._limits.max_frames
        result_due_ns, count_due = results.due_ns, meter.due
        clock_ns, poll_seconds = perf_counter_ns, _POLL_SECONDS
        failures = 0
        # A `for` on purpose: CPython 3.11 never specializes the instructions of a function that is called once and turns in a `while`.
        for taken in range(most) if most else count():
            frame = None
            while frame is None:
                if stopping.is_asked or not (pace.is_free or pace.wait()):
                    return ""
                frame = next_frame(poll_seconds)
            if split is not None:
                side = split.side_of(frame.id)
                infer, inferred, results, meter = side.infer, side.inferred, side.results, side.meter
                result_due_ns, count_due = results.due_ns, meter.due
            start = clock_ns()
            try:
                outputs = infer(frame.inputs)
            except EngineError as error:
                failures += 1
                self._failed(frame, error, failures)
            else:
                end = clock_ns()
                inferred(end - start)
                failures = 0
                if frame.answer is not None:
                    frame.answer.give(end - start, outputs)
                if end >= result_due_ns:
                    results.offer(frame.id, end - start, outputs, now_ns=end)
                    result_due_ns = results.due_ns
                if taken >= count_due:
                    meter.attend(frame.inputs, taken)
                    count_due = meter.due
        return f"{most} frames were inferred, as source.max_frames says"

    def _failed(self, frame: Frame, error: EngineError, failures: int) -> None:
        if frame.answer is not None:
            frame.answer.refuse(str(error))
        if self._split is not None:
            self._split.failed(frame.id, error)
            return
        self._meter.failed(str(error))
        if failures >= self._limits.max_consecutive_errors:
            raise EngineError(f"{failures} inferences failed in a row, the last one with: {error}") from error


class Pace:
    """Lets frames through at a rate, or none; told from the agent's thread. Time that was lost is not made up for by a burst.

    Args:
        rate_hz: Frames a second at most; 0: as fast as they come.
        stopping: Set when the loop is to be left.

    Attributes:
        is_free: Whether nothing holds frames back, so that `wait` need not be asked.
    """

    __slots__ = (
        "_due_seconds",
        "_leaving",
        "_own_rate_hz",
        "_paused",
        "_period_seconds",
        "_stopping",
        "is_free",
    )

    def __init__(self, rate_hz: float, stopping: StopEvent) -> None:
        self._own_rate_hz = rate_hz
        self._due_seconds = monotonic()
        self._stopping = stopping
        self._leaving = False
        self.hold(None, paused=False)

    def hold(self, rate_hz: float | None, *, paused: bool) -> None:
        """Let through at most ``rate_hz`` frames a second (None: the rate from the start), or none while ``paused``."""
        rate = self._own_rate_hz if rate_hz is None else rate_hz
        self._period_seconds = 1.0 / rate if rate else 0.0
        self._paused = paused
        self.is_free = not paused and not rate and not self._leaving

    def leave(self) -> None:
        """Have the loop left before its next frame; it can be run again."""
        self._leaving = True
        self.is_free = False

    def wait(self) -> bool:
        """Wait for the next turn; return False when the loop is to be left."""
        while True:
            now, period = monotonic(), self._period_seconds
            if self._leaving:
                self._leaving = False
                self.is_free = not period and not self._paused
                return False
            wait_seconds = min(self._due_seconds - now, period, _POLL_SECONDS)
            if self._paused:
                wait_seconds = _POLL_SECONDS
            elif wait_seconds <= 0.0:
                self._due_seconds = max(self._due_seconds + period, now)
                return True
            if self._stopping.wait(wait_seconds):
                return False
