"""`Worker`: the thread that does what takes long or never ends (verify, load, test, infer), one step after another."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from device_agent.contract.errors import EdgewrightError
from device_agent.occurrences import Failed, WorkerStopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.occurrences import Occurrence

_LOG = logging.getLogger("edgewright.worker")


class StopEvent(threading.Event):
    """An event that can be looked at without a call, as the inference loop does before every frame.

    Attributes:
        is_asked: Whether it is set.
    """

    __slots__ = ("_changing", "is_asked")

    def __init__(self) -> None:
        super().__init__()
        self._changing = threading.Lock()
        self.is_asked = False

    def set(self) -> None:
        """See `threading.Event.set`."""
        with self._changing:
            super().set()
            self.is_asked = True

    def clear(self) -> None:
        """See `threading.Event.clear`."""
        with self._changing:
            super().clear()
            self.is_asked = False


class Worker:
    """Runs steps in order, each to its end, until stopped. What a step returns is reported; what it raises is reported as `Failed`.

    Args:
        report: Called on the worker's thread; the last report is `WorkerStopped`.

    Attributes:
        stopping: Set by `stop` and `interrupt`; a step that can take long looks at it.
    """

    def __init__(self, report: Callable[[Occurrence], None]) -> None:
        self.stopping = StopEvent()
        self._ended = False
        self._report = report
        self._steps: SimpleQueue[Callable[[], Occurrence | None] | None] = SimpleQueue()
        # A daemon, because nobody can interrupt an engine that hangs while it loads.
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def submit(self, step: Callable[[], Occurrence | None]) -> None:
        """Run a step after those before it."""
        self._steps.put(step)

    def interrupt(self) -> None:
        """Leave the running step as soon as it can be left; steps submitted from now on are done."""
        self.stopping.set()
        self._steps.put(self._go_on)

    def stop(self) -> None:
        """Leave the running step as soon as it can be left, and do no other. Calling twice is harmless."""
        self._ended = True
        self.stopping.set()
        self._steps.put(None)

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread to end; return whether it has."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _go_on(self) -> None:
        self.stopping.clear()
        if self._ended:  # `stop` may have come in between
            self.stopping.set()

    def _run(self) -> None:
        while (step := self._steps.get()) is not None and not self._ended:
            outcome = self._outcome(step)
            if outcome is not None:
                self._report(outcome)
        self._report(WorkerStopped())

    def _outcome(self, step: Callable[[], Occurrence | None]) -> Occurrence | None:
        try:
            return step()
        except EdgewrightError as error:
            return Failed(code=error.code, message=str(error))
        # The thread's last door: whatever is wrong is said, and not lost with the thread.
        except Exception as error:  # noqa: BLE001
            _LOG.error("a step failed in a way that nobody foresaw", exc_info=True)
            return Failed(code="unexpected", message=f"{type(error).__name__}: {error}")
