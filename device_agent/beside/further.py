"""`FurtherModel`: one model beside the main one: begun, run, begun again after a failure, and switched to another artifact."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

from device_agent import events
from device_agent.backoff import Backoff
from device_agent.inbox import FromModel
from device_agent.model_results import ModelResults
from device_agent.model_runner import ModelRunner
from device_agent.occurrences import (
    ArtifactVerified,
    EngineLoaded,
    Failed,
    InferenceLeft,
    ModelFailed,
    SelfTestPassed,
    SourceEnded,
    VariantFailed,
    VariantStarted,
    WorkerStopped,
)
from device_agent.window_report import WindowReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.config import AgentConfig
    from device_agent.effects import RecordEvent
    from device_agent.frames import FrameDoor
    from device_agent.inbox import Inbox
    from device_agent.inference import Window
    from device_agent.occurrences import ModelOrdered, Occurrence
    from device_agent.telemetry.recorder import Recorder
    from device_agent.update.updated_model import UpdatedModel

_LOG = logging.getLogger("edgewright.agent")
_NEVER: Final = float("inf")

State = Literal["waiting", "starting", "running", "ended", "stopping", "stopped"]


class FurtherModel:
    """See the module's docstring. The loop's thread calls it.

    Args:
        name: In the configuration.
        config: As if it were the agent's only model.
        inbox: Where its worker reports.
        recorder: Takes what is told.
        door: Where frames from the broker come in.
        updated: Says which artifact is to run; None: the configured one, always.

    Attributes:
        name: In the configuration.
        state: `waiting` to be begun or begun again, `starting`, `running` (or paused), `ended`: no more frames, `stopping`
            or `stopped`.
        runner: Runs it.
        figures: Of the last window, for the status.
    """

    def __init__(
        self,
        name: str,
        config: AgentConfig,
        *,
        inbox: Inbox,
        recorder: Recorder,
        door: FrameDoor,
        updated: UpdatedModel | None = None,
    ) -> None:
        self.name = name
        self.state: State = "waiting"
        self._config = config
        self._recorder = recorder
        self.runner = ModelRunner(
            config, report=lambda one: inbox.put(FromModel(name, one)), door=door, updated=updated
        )
        self._updated = updated
        self._begun_with = config.artifact
        self._backoff = Backoff(
            min_seconds=config.engine.retry_min_seconds, max_seconds=config.engine.retry_max_seconds
        )
        self._windows = WindowReport(self.runner, recorder, model=name, now_seconds=monotonic())
        self._results = ModelResults(config, self.runner, recorder, inbox, model=name)
        self.figures: dict[str, object] = {"inferences_total": 0, "errors_total": 0}
        self._due_seconds = _NEVER
        self._paused = False
        self._done: Callable[[str, str], None] | None = None
        self._leaves_for_pause = self._leaves_for_switch = False
        self._failure = self._failing = self._side_b = ""
        self._artifact: ArtifactVerified | None = None
        self._loaded: EngineLoaded | None = None

    @property
    def trouble(self) -> str:
        """What is wrong; empty when nothing is."""
        paused = "paused by a command" if self._paused else ""
        return "; ".join(text for text in (self._failure, self._failing, self._side_b, paused) if text)

    def begin(self) -> None:
        """Begin it, or begin it again."""
        self._due_seconds = _NEVER
        self.state = "starting"
        if self._updated is not None:
            self._begun_with = self._updated.artifact
            self.runner.take(self._begun_with)
        self.runner.verify()

    def turn(self, now_seconds: float, *, may_begin: bool = True) -> float:
        """Do what is due; return when to call again at the latest."""
        if may_begin and self._is_outdated and self.state in ("waiting", "running", "ended"):
            self.switch(now_seconds)
        elif now_seconds >= self._due_seconds:
            self.begin()
        return self._due_seconds

    def switch(self, now_seconds: float) -> None:
        """Leave what runs, and begin with what is to run now. What the one before did is told under its own name."""
        is_inferring = self.state == "running" and not self._paused
        self._due_seconds = _NEVER
        self.state = "starting"
        if is_inferring:
            self._leaves_for_switch = True
            self.runner.leave()
        else:
            self._left_for_switch(now_seconds)

    def handle(self, occurrence: Occurrence, now_seconds: float) -> bool:
        """Take in what its worker reports; return whether what runs is another one now."""
        if isinstance(occurrence, WorkerStopped):
            self.state = "stopped"
        if self.state in ("stopping", "stopped"):
            return False
        if not self._leaves_for_switch:
            return self._take_in(occurrence, now_seconds)
        if isinstance(occurrence, InferenceLeft):  # how else the one before ends is of no interest any more
            self._left_for_switch(now_seconds)
        return False

    def _take_in(self, occurrence: Occurrence, now_seconds: float) -> bool:
        match occurrence:
            case ArtifactVerified():
                self._artifact = occurrence
                self.runner.load()
            case EngineLoaded():
                self._loaded = occurrence
                self.runner.test()
            case SelfTestPassed():
                self._started(occurrence, now_seconds)
                return True
            case Failed():
                self._failed(occurrence, now_seconds)
            case SourceEnded(reason):
                self.state = "ended"
                self._tell(events.model_ended(self.name, reason))
            case InferenceLeft() if self._leaves_for_pause:
                self._leaves_for_pause = False
                self._order_done()
            case VariantStarted() | VariantFailed():
                self._side_b_changed(occurrence)
                return True
        return False

    def order(self, order: ModelOrdered, done: Callable[[str, str], None]) -> None:
        """Begin a command.

        Args:
            order: What is wanted.
            done: Called once, with a code (empty: success) and a reason.
        """
        self._done = done
        match order.operation:
            case "restart_model" if self.state in ("running", "waiting"):
                if self.state == "running" and not self._paused:
                    self.runner.leave()
                self.begin()
            case _ if self.state != "running":
                self._order_done("not_running", f"it is not running: {self.state}")
            case "pause" if not self._paused:
                self._paused = self._leaves_for_pause = True
                self.runner.leave()
            case "resume" if self._paused:
                self._paused = False
                self.runner.infer(*self._results.queues())
                self._order_done()
            case _:
                self._order_done(reason="it was so already")

    def hold(self, rate_hz: float | None, *, paused: bool) -> None:
        """Take in what heat asks for: at most ``rate_hz`` frames a second (None: as configured), or none."""
        own = self._config.source.rate_hz
        if rate_hz is not None and own:
            rate_hz = min(rate_hz, own)
        self.runner.hold(rate_hz, paused=paused, variant=False)

    def write_results(self) -> bool:
        """Write results that wait; return whether more do."""
        return self._results.write()

    def close_window(self, now_seconds: float, *, final: bool) -> Window:
        """Record the window that ends now, and tell what went wrong in it.

        Returns:
            What was seen, of side `a` where its frames are split; valid until the next call.
        """
        if final:
            self._results.close()
        windows, _ = self._windows.close(now_seconds, model_runs=self.state == "running")
        self._windows.tell_refused_frames()
        self._results.report()
        inferences = sum(window.latencies.count for window in windows)
        errors = sum(window.errors for window in windows)
        if inferences:
            self._failing = ""
        elif errors:
            last = next(window.last_error for window in windows if window.errors)
            self._failing = f"every inference fails: {last}"
        self.figures = {
            "inferences_total": sum(window.inferences_total for window in windows),
            "errors_total": sum(window.errors_total for window in windows),
        }
        return windows[0]

    def stop(self) -> None:
        """Leave what can be left and begin nothing more; `WorkerStopped` follows."""
        self._due_seconds = _NEVER
        self.state = "stopping"
        self._order_done("interrupted", "the agent ends")
        self.runner.stop()

    def close(self, timeout_seconds: float) -> bool:
        """Free what it holds; return False when its engine does not come back."""
        comes_back = self.runner.close(timeout_seconds)
        if not comes_back:
            _LOG.warning("model %s: the engine does not come back; leaving without it", self.name)
        self._results.close()
        return comes_back

    @property
    def runs_what_is_wanted(self) -> bool:
        """Whether what a window shows is of the artifact that is to run, and not of one that is being left."""
        return not self._is_outdated and not self._leaves_for_switch

    @property
    def _is_outdated(self) -> bool:
        """Whether something else is to run than what it was begun with."""
        return self._updated is not None and self._updated.artifact != self._begun_with

    def _left_for_switch(self, now_seconds: float) -> None:
        self._leaves_for_switch = False
        while self.write_results():  # under the name of what gave them
            pass
        self._windows.close(now_seconds, model_runs=False)
        self.begin()

    def _started(self, test: SelfTestPassed, now_seconds: float) -> None:
        self.state = "running"
        self._failure = self._failing = self._side_b = ""
        self._backoff.works(now_seconds)
        if self._artifact is not None and self._loaded is not None:
            self._tell(events.model_started(self.name, self._artifact, self._loaded, test))
        self._windows.begin(now_seconds)
        if not self._paused:
            self.runner.infer(*self._results.queues())
        self._order_done()

    def _side_b_changed(self, change: VariantStarted | VariantFailed) -> None:
        if isinstance(change, VariantStarted):
            self._side_b = ""
            self._tell(events.variant_started(self.name, change))
        else:
            self._side_b = f"side b: {change.message}"
            self._tell(events.variant_failed(self.name, change))

    def _failed(self, failure: Failed, now_seconds: float) -> None:
        self.state = "waiting"
        pause = self._backoff.failed(now_seconds)
        self._due_seconds = now_seconds + pause
        self._failure = f"{failure.code}: {failure.message}"
        self._tell(
            events.model_failed(
                ModelFailed(code=failure.code, message=failure.message), retry_seconds=pause, model=self.name
            )
        )
        self._order_done("model_failed", failure.message)
        if self._updated is not None and not self._is_outdated:
            self._updated.failed(failure.code, failure.message)

    def _order_done(self, code: str = "", reason: str = "") -> None:
        done, self._done = self._done, None
        if done is not None:
            done(code, reason)

    def _tell(self, event: RecordEvent) -> None:
        self._recorder.event(event.name, event.severity, event.text, event.details)
