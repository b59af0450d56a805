"""The agent's state machine: occurrences go in, effects come out. No clock, network, disk or thread.

::

    starting -> verifying -> loading -> self_test -> running -> draining -> stopped
                    any of them, on failure or a stop  ------->  draining -> failed | stopped

`agent` carries out the effects and reports back. Whatever the order in which things happen, this module promises
(and a state-machine test holds it to): nothing is inferred before the self-test was passed or is known to be absent;
there is exactly one goodbye and nothing is recorded after it; every message is recorded (in the spool), never sent
directly; draining always ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from device_agent.effects import (
    ApplyHeat,
    CommandDone,
    Exit,
    Flush,
    LeaveInference,
    LoadEngine,
    ReadHeat,
    RecordBirth,
    RecordEvent,
    RecordHealth,
    ReportLoss,
    RunSelfTest,
    Sample,
    StartInference,
    StopWorker,
    VerifyArtifact,
)
from device_agent.occurrences import (
    ArtifactVerified,
    EngineLoaded,
    Failed,
    Flushed,
    HeatRead,
    InferenceLeft,
    LinkDown,
    LinkUp,
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
    from device_agent.contract.telemetry import Scalar, Severity
    from device_agent.effects import Effect
    from device_agent.heat.policy import HeatChange, HeatPolicy
    from device_agent.occurrences import ModelOperation, Occurrence

Phase = Literal["starting", "verifying", "loading", "self_test", "running", "draining", "stopped", "failed"]
OVER: Final = ("stopped", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Intervals of the machine, in seconds, each greater than 0; ``heat_seconds`` is infinite where nothing needs it."""

    window_seconds: float
    drain_timeout_seconds: float
    heat_seconds: float = float("inf")


class Core:
    """The state machine; one thread calls `handle`.

    Args:
        timing: Its intervals.
        heat: What to do about heat; None: nothing.
    """

    def __init__(self, timing: Timing, heat: HeatPolicy | None = None) -> None:
        self._timing = timing
        self._heat = heat
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
        return min(self._window_due_seconds, self._heat_due_seconds, self._deadline_seconds)

    def handle(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        """Take in what happened and return what to do, in order. Late reports of a phase that is over change nothing."""
        if self.phase in OVER:
            return ()
        match occurrence:
            case Started(now) | Tick(now):
                return self._time(now, first=isinstance(occurrence, Started))
            case StopRequested() | RestartRequested():
                return self._end(occurrence)
            case Failed():
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
        self._now_seconds = max(self._now_seconds, now_seconds)
        if first:
            if self.phase != "starting":
                return ()
            self.phase = "verifying"
            return (self._health(), VerifyArtifact())
        if self._now_seconds >= self._deadline_seconds:
            return self._drained()
        effects: tuple[Effect, ...] = ()
        if self._now_seconds >= self._heat_due_seconds:
            self._heat_due_seconds = self._now_seconds + self._timing.heat_seconds
            effects = (ReadHeat(),)
        if self._now_seconds >= self._window_due_seconds:
            self._window_due_seconds = self._now_seconds + self._timing.window_seconds
            effects = (*effects, Sample(final=False), *((ReportLoss(),) if self._connected else ()))
        return effects

    def _step(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        match self.phase, occurrence:
            case "verifying", ArtifactVerified() as verified:
                self.phase = "loading"
                return (_verified_event(verified), self._health(), LoadEngine())
            case "loading", EngineLoaded() as loaded:
                self.phase = "self_test"
                return (_loaded_event(loaded), self._health(), RunSelfTest())
            case "self_test", SelfTestPassed() as tested:
                self.phase = "running"
                self._window_due_seconds = self._now_seconds + self._timing.window_seconds
                self._heat_due_seconds = self._now_seconds + self._timing.heat_seconds
                go = () if self._paused else (StartInference(),)
                return (_tested_event(tested), RecordBirth(), self._health(), *go, *self._order_done())
            case "running", SourceEnded(reason):
                return self._drain(farewell=reason)
            case "running", HeatRead() as heat:
                return self._heat_read(heat)
            case "running", ModelSwitched() | SwitchFailed():
                return self._switched(occurrence)
            case _, ModelOrdered() as order:
                return self._ordered(order)
            case _, InferenceLeft():
                return self._order_done() if self._is_ordered("pause") else ()
            case _:
                return ()

    # --- heat ---

    def _heat_read(self, heat: HeatRead) -> tuple[Effect, ...]:
        if self._heat is None:
            return ()
        change = self._heat.read(heat.celsius, self._now_seconds, why_absent=heat.why_absent)
        if change is None:
            return ()
        event = _heat_event(change)
        if change.kind in ("blind", "seen"):
            return (event, *self._trouble(Trouble("heat", change.text if change.kind == "blind" else "")))
        paused = "it is too hot: inference pauses" if "pause" in change.measures else ""
        return (ApplyHeat(change.measures), event, *self._trouble(Trouble("paused", paused)))

    def _switched(self, outcome: Occurrence) -> tuple[Effect, ...]:
        if isinstance(outcome, ModelSwitched):
            details = {"digest": outcome.digest, "model": outcome.name, "version": outcome.version}
            text = f"{outcome.name} {outcome.version} runs now."
            event = RecordEvent(name="model_switched", severity="info", text=text, details=details)
            return (event, RecordBirth(), *self._trouble(Trouble("switch", "")))
        message = outcome.message if isinstance(outcome, SwitchFailed) else ""
        event = RecordEvent(name="model_switch_failed", severity="error", text=message)
        return (event, *self._trouble(Trouble("switch", message)))

    def _window_closed(self, window: WindowClosed) -> tuple[Effect, ...]:
        if not window.inferences and not window.errors:
            return ()
        failing = not window.inferences
        if self.phase != "running" or failing == ("inference" in self._troubles):
            return ()
        if not failing:
            del self._troubles["inference"]
            event = RecordEvent(
                name="inference_recovered", severity="info", text="Inference gives results again."
            )
            return (event, self._health())
        self._troubles["inference"] = f"every inference fails: {window.last_error}"
        return (
            RecordEvent(
                name="inference_failing",
                severity="error",
                text=f"All {window.errors} inferences of the last window failed: {window.last_error}",
                details={"errors": window.errors},
            ),
            self._health(),
        )

    # --- commands about the model ---

    def _ordered(self, order: ModelOrdered) -> tuple[Effect, ...]:
        """Begin a command. They come one after another; a new one means that the one before was given up."""
        if self.phase != "running":
            return (CommandDone(order.key, "not_running", f"the agent is not running: {self.phase}"),)
        self._order = order
        match order.operation:
            case "pause" if not self._paused:
                self._paused = True
                return (_paused_event(order), self._health(), LeaveInference())
            case "resume" if self._paused:
                self._paused = False
                return (_resumed_event(order), self._health(), StartInference(), *self._order_done())
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
                back = (_reconnected_event(reason),) if reason else ()
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
        severity: Severity = "info" if change.code == "spool_on_disk" else "error"
        return (RecordEvent(name=change.code, severity=severity, text=change.message), self._health())

    def _trouble(self, trouble: Trouble) -> tuple[Effect, ...]:
        if self._troubles.get(trouble.name, "") == trouble.text:
            return ()
        if trouble.text:
            self._troubles[trouble.name] = trouble.text
        else:
            del self._troubles[trouble.name]
        return (self._health(),) if self.phase == "running" else ()

    # --- the end ---

    def _end(self, request: StopRequested | RestartRequested) -> tuple[Effect, ...]:
        if self.phase != "draining":
            self._restarts = isinstance(request, RestartRequested)
            return self._drain(farewell=request.reason)
        if isinstance(request, RestartRequested):
            return ()
        self._restarts = False
        return (*self._goodbye(), self._exit())

    def _fail(self, failure: Failed) -> tuple[Effect, ...]:
        if self.phase == "draining":
            return ()
        self._outcome = failure
        event = RecordEvent(
            name="agent_failed",
            severity="error",
            text=failure.message,
            details={"code": failure.code, "phase": self.phase},
        )
        return (event, *self._drain(farewell=f"{failure.code}: {failure.message}"))

    def _drain(self, *, farewell: str) -> tuple[Effect, ...]:
        self.phase = "draining"
        self._farewell = farewell
        undone = self._order_done(f"the agent ends: {farewell}", code="interrupted")
        self._window_due_seconds = self._heat_due_seconds = float("inf")
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
        if self.phase != "running":
            return RecordHealth("degraded", f"not running yet: {self.phase}")
        if self._paused:
            return RecordHealth("degraded", "paused by a command")
        if self._troubles:
            return RecordHealth("degraded", "; ".join(self._troubles.values()))
        return RecordHealth("up", "")


def _verified_event(verified: ArtifactVerified) -> RecordEvent:
    return RecordEvent(
        name="artifact_verified",
        severity="warning" if verified.verdict == "unverified" or verified.unchecked else "info",
        text=(
            f"{verified.name} {verified.version} for {verified.target} is whole; "
            f"the host's verdict: {verified.verdict}. {verified.unchecked}"
        ).rstrip(),
        details={
            "digest": verified.digest,
            "model": verified.name,
            "version": verified.version,
            "target": verified.target,
            "verdict": verified.verdict,
        },
    )


def _loaded_event(loaded: EngineLoaded) -> RecordEvent:
    return RecordEvent(
        name="engine_loaded",
        severity="info",
        text=f"Engine {loaded.engine} {loaded.engine_version} loaded the payload in {loaded.seconds:.3f} s.",
        details={"engine": loaded.engine, "version": loaded.engine_version, "load_seconds": loaded.seconds},
    )


def _tested_event(tested: SelfTestPassed) -> RecordEvent:
    if not tested.samples:
        return RecordEvent(
            name="self_test_absent",
            severity="warning",
            text="The artifact brings no golden samples: whether the engine computes rightly is not known.",
        )
    return RecordEvent(
        name="self_test_passed",
        severity="info",
        text=f"{tested.samples} golden samples: within {tested.largest_lsb:g} LSB.",
        details={
            "samples": tested.samples,
            "largest_lsb": tested.largest_lsb,
            "smallest_equal_share": tested.smallest_equal_share,
        },
    )


def _paused_event(order: ModelOrdered) -> RecordEvent:
    return RecordEvent(
        name="inference_paused",
        severity="warning",
        text="A command has paused inference; it goes on with the command `resume`, or when the agent starts anew.",
        details={"command": order.key[1]},
    )


def _resumed_event(order: ModelOrdered) -> RecordEvent:
    return RecordEvent(
        name="inference_resumed",
        severity="info",
        text="A command lets inference go on.",
        details={"command": order.key[1]},
    )


def _reconnected_event(reason: str) -> RecordEvent:
    return RecordEvent(
        name="reconnected",
        severity="info",
        text=f"The broker is back; the connection had been lost: {reason}",
    )


def _heat_event(change: HeatChange) -> RecordEvent:
    text = change.text
    details: dict[str, Scalar] = {"measures": ",".join(change.measures)}
    if change.celsius is not None:
        details["celsius"] = round(change.celsius, 3)
    match change.kind:
        case "hotter":
            return RecordEvent(name="heat_measures_taken", severity="warning", text=text, details=details)
        case "cooler":
            return RecordEvent(name="heat_measures_lifted", severity="info", text=text, details=details)
        case "blind":
            return RecordEvent(name="heat_unknown", severity="warning", text=text, details=details)
        case "seen":
            return RecordEvent(name="heat_known", severity="info", text=text, details=details)
