"""`Children`: runs one step at a time in a child process, with a deadline, and reports how it ended.

A child takes what the model leaves of the processors. Where that is next to nothing the step begins anew with a share of its own, and so do all
after it: a device whose model never rests would not be updated otherwise.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from device_agent.update.child import command, environment
from device_agent.update.jobs import CheckJob, FetchJob, TrialJob, decode_answer, encode
from device_agent.update.occurrences import CheckFailed, FetchFailed, TrialFailed, TrialUnbegun
from device_agent.update.shadow import write_frame
from device_agent.update.starvation import is_starved, waited_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.update.jobs import Answer, Job
    from device_agent.update.shadow import Tap

_LOG = logging.getLogger("edgewright.update")
_JOIN_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 2.0
"""How often it is looked whether a child gets a processor at all."""
_MOST_STRETCHED: Final = 10.0
"""A step's time limit, where it waits for a processor all the time, in such limits."""


class Children:
    """Starts and ends child processes.

    Args:
        report: Called with a step's end, on a thread of its own; never after `cancel`.
    """

    def __init__(self, report: Callable[[Answer], None]) -> None:
        self._report = report
        self._step: _Step | None = None
        self._priority = _Priority()

    def start(self, job: Job, *, timeout_seconds: float) -> None:
        """Do a job."""
        self._step = _Step(job, self._report, self._priority, timeout_seconds=timeout_seconds)

    def start_shadow(
        self, job: TrialJob, tap: Tap, *, frames: int, timeout_seconds: float, duty_ratio: float
    ) -> None:
        """Do a trial's shadow run with ``frames`` frames, at ``duty_ratio`` of the time at most."""
        self._step = _Step(
            job,
            self._report,
            self._priority,
            timeout_seconds=timeout_seconds,
            feed=_Feed(tap, frames, duty_ratio=duty_ratio, until_seconds=monotonic() + timeout_seconds),
        )

    def cancel(self) -> None:
        """End what is under way, if anything is; nothing is reported of it."""
        if self._step is not None:
            self._step.cancel()
            self._step = None


class _Priority:
    """Whether children take a share of a processor that never rests; once one had to, all do."""

    def __init__(self) -> None:
        self.is_insisting = False


class _Feed:
    """Gives frames to a child, and time to the others."""

    def __init__(self, tap: Tap, frames: int, *, duty_ratio: float, until_seconds: float) -> None:
        self._tap = tap
        self._frames = frames
        self._duty_ratio = duty_ratio
        self._until_seconds = until_seconds

    def run(self, process: subprocess.Popen[bytes], cancelled: threading.Event) -> None:
        if process.stdin is None or process.stdout is None:
            return
        for _ in range(self._frames):
            frame = self._tap.next_frame(max(0.0, self._until_seconds - monotonic()))
            if frame is None or cancelled.is_set():
                return
            write_frame(process.stdin, frame)
            line = process.stdout.readline()
            if not line.startswith(b'{"busy_seconds"'):
                raise _EarlyAnswerError(line)
            busy = float(json.loads(line)["busy_seconds"])
            if cancelled.wait(busy * (1.0 / self._duty_ratio - 1.0)):
                return


class _EarlyAnswerError(Exception):
    """The child answered before it saw all frames."""


class _Step:
    """One step, its child process, and the thread that waits for it."""

    def __init__(
        self,
        job: Job,
        report: Callable[[Answer], None],
        priority: _Priority,
        *,
        timeout_seconds: float,
        feed: _Feed | None = None,
    ) -> None:
        self._job = job
        self._report = report
        self._priority = priority
        self._timeout_seconds = timeout_seconds
        self._feed = feed
        self._cancelled = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._timed_out = False
        self._thread = threading.Thread(target=self._run, name="update-step", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        self._cancelled.set()
        self._kill()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            answer = self._outcome()
        except OSError as error:
            answer = _unbegun(self._job, f"the child process cannot be started: {error}.")
        if not self._cancelled.is_set():
            self._report(answer)

    def _outcome(self) -> Answer:
        answer = self._attempt()
        while answer is None:  # once at most: the next one insists
            _LOG.info(
                "the model leaves updates next to nothing of the processor: they take a share of it from now on"
            )
            answer = self._attempt()
        return answer

    def _attempt(self) -> Answer | None:
        """Return the answer; None when the child got no processor, and the step is to begin anew with a share."""
        starved = threading.Event()
        with subprocess.Popen(
            (*command(is_insisting=self._priority.is_insisting), str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        ) as process:
            self._process = process
            if self._cancelled.is_set():
                process.kill()
            ended = threading.Event()
            watch = threading.Thread(
                target=self._watch, args=(process, ended, starved), name="update-watch", daemon=True
            )
            watch.start()
            try:
                line = self._talk(process)
            finally:
                ended.set()
                status = process.wait()
        answer = decode_answer(line)
        if answer is None and starved.is_set() and not self._cancelled.is_set():
            return None
        return answer or self._death(status)

    def _watch(
        self, process: subprocess.Popen[bytes], ended: threading.Event, starved: threading.Event
    ) -> None:
        """End the child when its time is over, or when it gets no processor to use it."""
        # A shadow run waits for frames as long as it may; what it does then has its own time.
        slack = self._timeout_seconds if self._feed is None else 2 * self._timeout_seconds
        begun, left = monotonic(), slack
        while not ended.wait(min(_LOOK_SECONDS, max(0.0, left))):
            # A model that is good does not become bad because the processor was somebody else's.
            extra = min(waited_seconds(process.pid), (_MOST_STRETCHED - 1.0) * slack)
            left = begun + slack + extra - monotonic()
            if left <= 0.0:
                self._timed_out = True
                process.kill()
                return
            if self._may_begin_anew() and is_starved(process.pid):
                self._priority.is_insisting = True
                starved.set()
                process.kill()
                return

    def _may_begin_anew(self) -> bool:
        """A shadow run has had frames that do not come again; the trial before it began anew where that was needed."""
        return self._feed is None and not self._priority.is_insisting

    def _talk(self, process: subprocess.Popen[bytes]) -> bytes:
        if process.stdin is None or process.stdout is None:
            return b""
        try:
            process.stdin.write(encode(self._job))
            process.stdin.flush()
            if self._feed is not None:
                self._feed.run(process, self._cancelled)
            process.stdin.close()
        except _EarlyAnswerError as early:
            return early.args[0] if isinstance(early.args[0], bytes) else b""
        except (BrokenPipeError, ValueError):
            _LOG.debug("the child process went before it was told everything")
        return process.stdout.readline()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _death(self, status: int) -> Answer:
        if self._timed_out:
            return _failure(self._job, "timeout", f"it took longer than {self._timeout_seconds:g} s.")
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return _failure(self._job, "died", f"its process ended {how} without an answer.")


def _unbegun(job: Job, message: str) -> Answer:
    return TrialUnbegun(message) if isinstance(job, TrialJob) else _failure(job, "child", message)


def _failure(job: Job, code: str, message: str) -> Answer:
    if isinstance(job, CheckJob):
        return CheckFailed(code=code, message=message)
    if isinstance(job, FetchJob):
        return FetchFailed(code=code, message=message)
    return TrialFailed(code=code, message=message)
