"""The agent's state machine: occurrences go in, effects come out. No clock, network, disk or thread.

::

    starting -> verifying -> loading -> self_test -> running -> draining -> stopped
                    any of them, on failure or a stop  ------->  draining -> failed | stopped

Beside other models the main one fails alone (`ModelFailed`): ``waiting`` until it is begun again with ``verifying``.

`agent` carries out the effects and reports back. Whatever the order in which things happen, this module promises
(and a state-machine test holds it to): nothing is inferred before the self-test was passed or is known to be absent;
there is exactly one goodbye and nothing is recorded after it; every message is recorded (in the spool), never sent
directly; draining always ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from device_agent import events
from device_agent.backoff import Backoff
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.effects import (
    ApplyHeat,
    CommandDone,
    Exit,
    Flush,
    LeaveInference,
    LoadEngine,
    ReadHeat,
    RecordBirth,
    RecordHealth,
    ReportLoss,
    RunSelfTest,
    Sample,
    StartInference,
    StopWorker,
    VerifyArtifact,
)
from device_agent.heat.policy import HeatPolicy
from device_agent.occurrences import (
    ArtifactVerified,
    EngineLoaded,
    Failed,
    Flushed,
    HeatRead,
    InferenceLeft,
    LinkDown,
    LinkUp,
    ModelFailed,
    ModelOrdered,
    ModelSwitched,
    RestartRequested,
    SelfTestPassed,
    SourceEnded,
    Started,
    StopRequested,
    StorageChanged,
    SwitchFailed,
    Tick,
    Trouble,
    WindowClosed,
    WorkerStopped,
)

if TYPE_CHECKING:
    from device_agent.effects import Effect
    from device_agent.heat.policy import HeatRules
    from device_agent.occurrences import ModelOperation, Occurrence

Phase = Literal[
    "starting", "verifying", "loading", "self_test", "running", "waiting", "draining", "stopped", "failed"
]
OVER: Final = ("stopped", "failed")
UP: Final = ("running", "waiting")
"""Phases in which the agent does its work, with the main model or without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Intervals of the machine, in seconds, each greater than 0; ``heat_seconds`` is infinite where nothing needs it.

    ``policy_seconds`` takes its place where the artifact declares what to do about heat.

    ``retry_min_seconds`` and ``retry_max_seconds`` are the pauses before the main one of several models is begun again.
    """

    window_seconds: float
    drain_timeout_seconds: float
    heat_seconds: float = float("inf")
    policy_seconds: float = float("inf")
    retry_min_seconds: float = float("inf")
    retry_max_seconds: float = float("inf")


class Core:
    """The state machine; one thread calls `handle`.

    Args:
        timing: Its intervals.
        heat: What to do about heat; None: what the artifact declares.
    """

    def __init__(self, timing: Timing, heat: HeatPolicy | None = None) -> None:
        self._timing = timing
        self._heat = heat
        self._heat_seconds = timing.heat_seconds
        self._backoff = Backoff(min_seconds=timing.retry_min_seconds, max_seconds=timing.retry_max_seconds)
        self._retry_due_seconds = float("inf")
        self._heat_due_seconds = float("inf")
        self._now_seconds = 0.0
        self._window_due_seconds = float("inf")
        self._deadline_seconds = float("inf")
        self._connected = False
        self._ever_lost_link = ""
        self._worker_stopped = False
        self._said_goodbye = False
        self._outcome: Failed | None = None
        self._farewell = ""
        self._restarts = False
        self._troubles: dict[str, str] = {}
        self._paused = False
        self._order: ModelOrdered | None = None
        self.phase: Phase = "starting"

    @property
    def next_due_seconds(self) -> float:
        """Monotonic time at which the machine wants its next `Tick`; infinity when it waits for something else."""
        return min(
            self._window_due_seconds, self._heat_due_seconds, self._deadline_seconds, self._retry_due_seconds
        )

    def tell_time(self, now_seconds: float) -> None:
        """Take in what time it is, in monotonic seconds, so that a deadline counts from now; what is due waits for a `Tick`."""
        self._now_seconds = max(self._now_seconds, now_seconds)

    def handle(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        """Take in what happened and return what to do, in order. Late reports of a phase that is over change nothing."""
        if self.phase in OVER:
            return ()
        match occurrence:
            case Started(now) | Tick(now):
                return self._time(now, first=isinstance(occurrence, Started))
            case StopRequested() | RestartRequested():
                return self._end(occurrence)
            case Failed() | ModelFailed():
                return self._fail(occurrence)
            case WorkerStopped():
                return self._worker_has_stopped()
            case LinkUp() | LinkDown() | Flushed():
                return self._link(occurrence)
            case StorageChanged():
                return self._storage(occurrence)
            case Trouble():
                return self._trouble(occurrence)
            case WindowClosed():
                return self._window_closed(occurrence)
            case _:
                return self._step(occurrence)

    # --- from start to running ---

    def _time(self, now_seconds: float, *, first: bool) -> tuple[Effect, ...]:
        self.tell_time(now_seconds)
        if first:
            if self.phase != "starting":
                return ()
            self.phase = "verifying"
            return (self._health(), VerifyArtifact())
        if self._now_seconds >= self._deadline_seconds:
            return self._drained()
        effects: tuple[Effect, ...] = ()
        if self._now_seconds >= self._retry_due_seconds:
            effects = self._begin_again()
        if self._now_seconds >= self._heat_due_seconds:
            self._heat_due_seconds = self._now_seconds + self._heat_seconds
            effects = (*effects, ReadHeat())
        if self._now_seconds >= self._window_due_seconds:
            self._window_due_seconds = self._now_seconds + self._timing.window_seconds
            effects = (*effects, Sample(final=False), *((ReportLoss(),) if self._connected else ()))
        return effects

    def _step(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        match self.phase, occurrence:
            case "verifying", ArtifactVerified() as verified:
                self.phase = "loading"
                self._declare_heat(verified.heat)
                return (events.artifact_verified(verified), self._health(), LoadEngine())
            case "loading", EngineLoaded() as loaded:
                self.phase = "self_test"
                return (events.engine_loaded(loaded), self._health(), RunSelfTest())
            case "self_test", SelfTestPassed() as tested:
                self.phase = "running"
                self._window_due_seconds = self._now_seconds + self._timing.window_seconds
                self._heat_due_seconds = self._now_seconds + self._heat_seconds
                self._backoff.works(self._now_seconds)
                self._troubles.pop("model", None)
                go = () if self._paused else (StartInference(),)
                return (events.self_tested(tested), RecordBirth(), self._health(), *go, *self._order_done())
            case "running", SourceEnded(reason):
                return self._drain(farewell=reason)
            case (("running" | "waiting"), HeatRead() as heat):
                return self._heat_read(heat)
            case "running", (ModelSwitched() | SwitchFailed()) as outcome:
                return self._switched(outcome)
            case _, ModelOrdered() as order:
                return self._ordered(order)
            case _, InferenceLeft():
                return self._order_done() if self._is_ordered("pause") else ()
            case _:
                return ()

    # --- heat ---

    def _declare_heat(self, rules: HeatRules | None) -> None:
        """Take on what the artifact declares, where nothing was configured."""
        if rules is not None and self._heat is None:
            self._heat = HeatPolicy(rules)
            self._heat_seconds = min(self._heat_seconds, self._timing.policy_seconds)

    def _heat_read(self, heat: HeatRead) -> tuple[Effect, ...]:
        if self._heat is None:
            return ()
        change = self._heat.read(heat.celsius, self._now_seconds, why_absent=heat.why_absent)
        if change is None:
            return ()
        event = events.heat_changed(change)
        if change.kind in ("blind", "seen"):
            return (event, *self._trouble(Trouble("heat", change.text if change.kind == "blind" else "")))
        paused = "it is too hot: inference pauses" if "pause" in change.measures else ""
        return (ApplyHeat(change.measures), event, *self._trouble(Trouble("paused", paused)))

    def _switched(self, outcome: ModelSwitched | SwitchFailed) -> tuple[Effect, ...]:
        if isinstance(outcome, SwitchFailed):
            return (events.model_switch_failed(outcome), *self._trouble(Trouble("switch", outcome.message)))
        return (events.model_switched(outcome), RecordBirth(), *self._trouble(Trouble("switch", "")))

    # --- commands about the model ---

    def _ordered(self, order: ModelOrdered) -> tuple[Effect, ...]:
        """Begin a command. They come one after another; a new one means that the one before was given up."""
        if self.phase == "waiting" and order.operation == "restart_model":
            self._order = order
            return self._begin_again()
        if self.phase != "running":
            return (CommandDone(order.key, "not_running", f"the agent is not running: {self.phase}"),)
        self._order = order
        match order.operation:
            case "pause" if not self._paused:
                self._paused = True
                return (events.inference_paused(order), self._health(), LeaveInference())
            case "resume" if self._paused:
                self._paused = False
                return (
                    events.inference_resumed(order),
                    self._health(),
                    StartInference(),
                    *self._order_done(),
                )
            case "restart_model":
                self.phase = "loading"
                return (self._health(), *(() if self._paused else (LeaveInference(),)), LoadEngine())
            case _:
                return self._order_done("it was so already")

    def _is_ordered(self, operation: ModelOperation) -> bool:
        return self._order is not None and self._order.operation == operation

    def _order_done(self, reason: str = "", *, code: str = "") -> tuple[Effect, ...]:
        order, self._order = self._order, None
        return () if order is None else (CommandDone(order.key, code, reason),)

    # --- the broker and the disk ---

    def _link(self, occurrence: LinkUp | LinkDown | Flushed) -> tuple[Effect, ...]:
        match occurrence:
            case LinkUp():
                self._connected = True
                reason, self._ever_lost_link = self._ever_lost_link, ""
                if self._said_goodbye:
                    return ()
                back = (events.reconnected(reason),) if reason else ()
                return (RecordBirth(), self._health(), *back, ReportLoss())
            case LinkDown(reason):
                if self._connected:
                    self._ever_lost_link = reason
                self._connected = False
                # What is recorded waits on the disk for the next start; nobody waits for a broker that is away.
                return self._drained() if self._worker_stopped and self.phase == "draining" else ()
            case Flushed():
                return self._drained() if self._worker_stopped and self.phase == "draining" else ()

    def _storage(self, change: StorageChanged) -> tuple[Effect, ...]:
        if change.on_disk:
            self._troubles.pop("storage", None)
        else:
            self._troubles["storage"] = change.message
        if self._said_goodbye:
            return ()
        return (events.storage_changed(change), self._health())

    # --- troubles ---

    def _window_closed(self, window: WindowClosed) -> tuple[Effect, ...]:
        if not window.inferences and not window.errors:
            return ()
        failing = not window.inferences
        if self.phase != "running" or failing == ("inference" in self._troubles):
            return ()
        if not failing:
            del self._troubles["inference"]
            return (events.inference_recovered(), self._health())
        self._troubles["inference"] = f"every inference fails: {window.last_error}"
        return (events.inference_failing(window), self._health())

    def _trouble(self, trouble: Trouble) -> tuple[Effect, ...]:
        if self._troubles.get(trouble.name, "") == trouble.text:
            return ()
        if trouble.text:
            self._troubles[trouble.name] = trouble.text
        else:
            del self._troubles[trouble.name]
        return (self._health(),) if self.phase in UP else ()

    # --- the main one of several models fails alone ---

    def _model_failed(self, failure: ModelFailed) -> tuple[Effect, ...]:
        self.phase = "waiting"
        pause = self._backoff.failed(self._now_seconds)
        self._retry_due_seconds = self._now_seconds + pause
        # The others are sampled and cooled all the same, also where this one never ran.
        self._window_due_seconds = min(
            self._window_due_seconds, self._now_seconds + self._timing.window_seconds
        )
        self._heat_due_seconds = min(self._heat_due_seconds, self._now_seconds + self._heat_seconds)
        self._troubles["model"] = f"model {MAIN_MODEL}: {failure.code}: {failure.message}"
        return (
            events.model_failed(failure, retry_seconds=pause),
            self._health(),
            *self._order_done(failure.message, code="model_failed"),
        )

    def _begin_again(self) -> tuple[Effect, ...]:
        self._retry_due_seconds = float("inf")
        self.phase = "verifying"
        return (self._health(), VerifyArtifact())

    # --- the end ---

    def _end(self, request: StopRequested | RestartRequested) -> tuple[Effect, ...]:
        if self.phase != "draining":
            self._restarts = isinstance(request, RestartRequested)
            return self._drain(farewell=request.reason)
        if isinstance(request, RestartRequested):
            return ()
        self._restarts = False
        return (*self._goodbye(), self._exit())

    def _fail(self, failure: Failed | ModelFailed) -> tuple[Effect, ...]:
        if self.phase == "draining":
            return ()
        if isinstance(failure, ModelFailed):
            return self._model_failed(failure)
        self._outcome = failure
        event = events.agent_failed(failure, self.phase)
        return (event, *self._drain(farewell=f"{failure.code}: {failure.message}"))

    def _drain(self, *, farewell: str) -> tuple[Effect, ...]:
        self.phase = "draining"
        self._farewell = farewell
        undone = self._order_done(f"the agent ends: {farewell}", code="interrupted")
        self._window_due_seconds = self._heat_due_seconds = self._retry_due_seconds = float("inf")
        self._deadline_seconds = self._now_seconds + self._timing.drain_timeout_seconds
        return (*undone, RecordHealth("draining", farewell), StopWorker())

    def _worker_has_stopped(self) -> tuple[Effect, ...]:
        if self.phase != "draining" or self._worker_stopped:
            return ()
        self._worker_stopped = True
        return (Sample(final=True), *(self._drained() if not self._connected else (ReportLoss(), Flush())))

    def _drained(self) -> tuple[Effect, ...]:
        """Everything has been delivered, or there is no more time for it: say goodbye, and once that has been delivered, end."""
        late = self._now_seconds >= self._deadline_seconds
        if self._said_goodbye or late or not self._connected:
            return (*self._goodbye(), self._exit())
        return (*self._goodbye(), Flush())

    def _goodbye(self) -> tuple[Effect, ...]:
        if self._said_goodbye:
            return ()
        self._said_goodbye = True
        return (RecordHealth("down", self._farewell),)

    def _exit(self) -> Exit:
        self.phase = "failed" if self._outcome else "stopped"
        self._deadline_seconds = float("inf")
        if self._outcome:
            return Exit(code=self._outcome.code, message=self._outcome.message)
        return Exit(code="restart" if self._restarts else "ok", message=self._farewell)

    def _health(self) -> RecordHealth:
        if self.phase == "draining":
            return RecordHealth("draining", self._farewell)
        if self.phase not in UP:
            return RecordHealth("degraded", f"not running yet: {self.phase}")
        if self._paused:
            return RecordHealth("degraded", "paused by a command")
        if self._troubles:
            return RecordHealth("degraded", "; ".join(self._troubles.values()))
        return RecordHealth("up", "")
