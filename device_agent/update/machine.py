"""The update's state machine: occurrences go in, effects come out. No clock, network, disk or thread.

::

    idle -> checking -> [taking] -> fetching -> trying -> shadowing -> restarting | switching -> idle, on probation
            every one of them, on failure  ------------------------------------------------->  idle

Whatever the order in which things happen, and wherever the power goes (tests hold it to both), of each model: exactly one
release is active, and it was verified, loaded and tested before it became so; the one known to be good stays until another has
proved itself; whatever is counted is written down before it is tried; the floor never goes down; every update ends. One release
of one model is on its way or on probation at a time, so that what goes wrong is held against the right one.

`way_in` has the steps up to an activation, `proving` what one model has shown, `book` what is durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update import notices, transitions
from device_agent.update.book import Book
from device_agent.update.effects import (
    Cancel,
    Check,
    Collect,
    Restart,
    Run,
    RunDelivered,
    Switch,
    TakeDelivered,
    WriteState,
)
from device_agent.update.occurrences import (
    CheckFailed,
    DeliveredTaken,
    Fetched,
    FetchFailed,
    NothingDesired,
    Observed,
    Offered,
    RunFailed,
    Shadowed,
    Started,
    StateUnwritten,
    Stopping,
    Switched,
    Tick,
    TrialFailed,
    TrialUnbegun,
    Tried,
    Undelivered,
    Unmet,
    Wanted,
)
from device_agent.update.proving import Proving
from device_agent.update.report import LastCheck, outcome_text
from device_agent.update.schedule import Schedule
from device_agent.update.way_in import WayIn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.update.effects import Effect
    from device_agent.update.limits import UpdateLimits
    from device_agent.update.occurrences import Moment, Occurrence
    from device_agent.update.state import UpdateState
    from device_agent.update.way_in import Step

Phase = Literal[
    "starting",
    "idle",
    "checking",
    "taking",
    "fetching",
    "trying",
    "shadowing",
    "switching",
    "restarting",
    "stopped",
]
_STEPS: Final = ("checking", "fetching", "trying", "shadowing")
_ALIVE: Final = ("idle", *_STEPS)
_DAMAGE: Final = ("digest_mismatch", "archive", "storage")
"""Codes that say that the file is at fault and not the model in it."""
_NEVER: Final = float("inf")


class UpdateMachine:
    """The state machine; one thread calls `handle`.

    Args:
        state: As it was read from the disk.
        limits: Bounds.
        models: Those that are updated, by their names in the configuration, the main one first.

    Attributes:
        phase: What is under way.
        last_check: How the last check of this run ended; None before it.
    """

    def __init__(
        self, state: UpdateState, limits: UpdateLimits, *, models: Sequence[str] = (MAIN_MODEL,)
    ) -> None:
        self._limits = limits
        self._book = Book(state)
        self._proving = Proving(self._book, limits.probation, models)
        self._way_in = WayIn(self._book, limits)
        self._schedule = Schedule(limits.check_interval_seconds)
        self._now_seconds = self._wall_seconds = 0.0
        self._answers: list[Offered | NothingDesired | Unmet] = []
        self._turning = MAIN_MODEL
        self.phase: Phase = "starting"
        self.last_check: LastCheck | None = None

    @property
    def state(self) -> UpdateState:
        """As it stands on the disk once the effects given out so far are carried out."""
        return self._book.state

    def evidence_inferences(self, model: str = MAIN_MODEL) -> int | None:
        """Results of a model's release on probation since this process began; None when there is none."""
        evidence = self._proving.shown[model].evidence
        return None if evidence is None else evidence.inferences

    @property
    def next_due_seconds(self) -> float:
        """Monotonic time at which the machine wants its next `Tick`; infinity when it waits for something else."""
        if self.phase != "idle":
            return _NEVER
        if self._proving.on_probation is None:
            return self._schedule.due_seconds
        _, evidence = self._proving.on_probation
        return evidence.due_seconds if evidence.due_seconds > self._now_seconds else _NEVER

    def handle(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        """Take in what happened and return what to do, in order. Late reports of a step that is over change nothing."""
        if self.phase == "stopped":
            return ()
        match occurrence:
            case Started(moment):
                return self._start(moment)
            case DeliveredTaken() | Undelivered():
                return self._delivered(occurrence)
            case Switched(model):
                return self._switched(model)
            case StateUnwritten():
                return self._unwritten(occurrence)
            case Stopping():
                return self._stop()
            case Tick(moment):
                return self._tick(moment)
            case Observed() | RunFailed():
                if occurrence.model not in self._proving.shown or self.phase not in _ALIVE:
                    return ()
                return (
                    self._observe(occurrence)
                    if isinstance(occurrence, Observed)
                    else self._run_failed(occurrence)
                )
            case _:
                return self._step(occurrence)

    # --- the start of a process ---

    def _start(self, moment: Moment) -> tuple[Effect, ...]:
        if self.phase != "starting":
            return ()
        self._take_time(moment)
        self._schedule.due_seconds = moment.now_seconds + self._limits.first_check_seconds
        others = sorted(set(self.state.models) - set(self._proving.shown))
        forgotten = tuple(effect for name in others for effect in self._way_in.forget(name))
        # The others are taken when they are first updated: until then their files may be exchanged by hand.
        is_new = self._book.of(MAIN_MODEL).active is None
        return (*forgotten, *((TakeDelivered(),) if is_new else self._begin_all()))

    def _begin_all(self) -> tuple[Effect, ...]:
        """Begin every model; then tell what waits to be told, and clean up what a power cut left."""
        effects: tuple[Effect, ...] = ()
        for name in self._proving.shown:
            counted = self._proving.count_start(name)
            active = self._book.of(name).active
            self._proving.run(name, active, self._now_seconds)
            effects = (*effects, *counted, RunDelivered(name) if active is None else Run(active, name))
        self.phase = "idle"
        return (*effects, *self._book.tell(), Collect(self.state.kept))

    def _delivered(self, occurrence: DeliveredTaken | Undelivered) -> tuple[Effect, ...]:
        """The delivered artifact of a model is in the store, or cannot be taken into it."""
        model, was = occurrence.model, self.phase
        if was not in ("starting", "taking", "idle") or self._book.of(model).active is not None:
            return ()
        if isinstance(occurrence, DeliveredTaken):
            self._book.put(model, transitions.delivered(self._book.of(model), occurrence.release))
            if was == "starting":
                return (*self._book.write(), *self._begin_all())
            taken = (*self._book.write(), Collect(self.state.kept))
            return (*taken, *(self._next_answer() if was == "taking" else ()))
        begun = self._begin_all() if was == "starting" else ()
        told = self._postpone("storage", occurrence.message)
        if was != "taking":
            return (*begun, *told)
        self._answers.pop(0)  # nothing is tried that could not be taken back; it is asked for again
        return (*told, *self._next_answer())

    # --- one update, up to its activation ---

    def _tick(self, moment: Moment) -> tuple[Effect, ...]:
        self._take_time(moment)
        if self.phase != "idle":
            return ()
        if self._proving.on_probation is not None:
            return self._judge()
        if moment.now_seconds < self._schedule.due_seconds:
            return ()
        if self._book.of(MAIN_MODEL).active is None:
            return (TakeDelivered(),)
        for name in self._proving.shown:
            if self._proving.runs_another(name):
                return self._begin_anew(name)
        if moment.wall_seconds < self.state.time_floor_seconds:
            return self._postpone("clock_behind", "the clock is behind a time that is known to be past.")
        if self._limits.require_synced_clock and not moment.synced:
            return self._postpone("clock_unsynced", "no time service vouches for the clock.")
        self.phase = "checking"
        return (Check(),)

    def _begin_anew(self, model: str) -> tuple[Effect, ...]:
        """The disk could not count the start of what is active. Once it takes the state, that can be started."""
        if model != MAIN_MODEL:
            return self._turn_over(model, "")
        self.phase = "restarting"
        return (WriteState(self.state), Restart("the active release can be started"))

    def _step(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        way_in = self._way_in
        match self.phase, occurrence:
            case "checking", (Offered() | NothingDesired()):
                return self._checked((occurrence,))
            case "checking", Wanted(answers):
                return self._checked(answers)
            case "checking", CheckFailed(code=code, message=message):
                self.last_check = LastCheck(seconds=self._now_seconds, outcome=f"{code}: {message}")
                return self._postpone(code, message)
            case "fetching", Fetched():
                return self._advance(way_in.fetched())
            case "fetching", FetchFailed():
                return self._advance(way_in.fetch_failed(occurrence))
            case "trying", Tried():
                return self._advance(way_in.tried(occurrence, self._proving.shown[way_in.model]))
            case "shadowing", Shadowed():
                return self._advance(way_in.shadowed(occurrence, self._proving.shown[way_in.model]))
            case (("trying" | "shadowing"), TrialFailed(code=code, message=message)):
                return self._advance(way_in.failed(code, message))
            case (("trying" | "shadowing"), TrialUnbegun(message)):
                return self._advance(way_in.unbegun(message))
            case _:
                return ()

    def _checked(self, answers: Sequence[Offered | NothingDesired | Unmet]) -> tuple[Effect, ...]:
        """The metadata are good, so the time is not before now. What is wanted is taken up model by model."""
        self.last_check = LastCheck(
            seconds=self._now_seconds, outcome="; ".join(outcome_text(one) for one in answers)
        )
        self._schedule.works()
        self._book.state = transitions.time_seen(self.state, self._wall_seconds)
        serials = [
            one.serial
            for one in answers
            if isinstance(one, Offered) or (isinstance(one, NothingDesired) and one.serial)
        ]
        serial = min(serials, default=self.state.desired_serial)
        if serial < self.state.desired_serial:
            older = (
                f"desired state {serial} is older than {self.state.desired_serial}, which was here before."
            )
            return self._postpone("desired_replayed", older)
        self._answers = [one for one in answers if one.model in self._proving.shown or isinstance(one, Unmet)]
        return self._next_answer()

    def _next_answer(self) -> tuple[Effect, ...]:
        """Take up what is wanted of the next model; when there is no other, rest until the next check."""
        self.phase = "idle"
        effects: tuple[Effect, ...] = ()
        while self._answers:
            answer = self._answers[0]
            if isinstance(answer, Offered) and self._way_in.lacks_delivered(answer):
                self.phase = "taking"
                return (*effects, TakeDelivered(answer.model))
            self._answers.pop(0)
            match answer:
                case Offered():
                    step = self._way_in.weigh(answer)
                case NothingDesired():
                    step = self._way_in.want_nothing(answer)
                case Unmet():
                    step = self._way_in.unmet(answer)
            effects = (*effects, *self._taken_up(step))
            if self.phase != "idle":
                return effects
        return (*effects, *self._rest())

    def _advance(self, step: Step) -> tuple[Effect, ...]:
        effects = self._taken_up(step)
        return effects if self.phase != "idle" else (*effects, *self._next_answer())

    def _taken_up(self, step: Step) -> tuple[Effect, ...]:
        """Do a step of the way in; the phase is ``idle`` after one that was the last."""
        if step.progress == "turning":
            active = self._book.of(self._way_in.model).active
            why = (
                "the trial was taken back" if active is None else f"update to {active.name} {active.version}"
            )
            return (*step.effects, *self._turn_over(self._way_in.model, why))
        told = () if step.trouble is None else self._postpone(*step.trouble)
        self.phase = "idle" if step.progress == "over" else step.progress
        return (*step.effects, *told)

    # --- what is active begins ---

    def _turn_over(self, model: str, reason: str) -> tuple[Effect, ...]:
        """Let a model begin with what is active: the main one with a new process, another one within this one."""
        if self._answers:
            self._answers = []
            self._schedule.again(self._now_seconds)
        self._turning = model
        if model == MAIN_MODEL:
            self.phase = "restarting"
            self._proving.spare_starts()
            return (*self._book.write(), Restart(reason))
        self.phase = "switching"
        counted = self._proving.count_start(model)
        if not self._proving.runs_another(model):  # it was begun too often, and what is good runs already
            return (*counted, Collect(self.state.kept), *self._rest())
        return (*counted, *self._book.write(), Switch(self._book.of(model).active, model))

    def _switched(self, model: str) -> tuple[Effect, ...]:
        if self.phase != "switching":
            return ()
        self._proving.run(model, self._book.of(model).active, self._now_seconds)
        return (Collect(self.state.kept), *self._rest())

    # --- probation ---

    def _observe(self, window: Observed) -> tuple[Effect, ...]:
        fault = self._proving.shown[window.model].observe(window)
        return self._fail_probation(window.model, fault) if fault else self._judge()

    def _judge(self) -> tuple[Effect, ...]:
        if self._proving.on_probation is None:
            return ()
        model, evidence = self._proving.on_probation
        keep, fault = evidence.verdict(self._now_seconds)
        if fault:
            return self._fail_probation(model, fault)
        return (*self._proving.commit(model, evidence.inferences), *self._rest()) if keep else ()

    def _run_failed(self, failure: RunFailed) -> tuple[Effect, ...]:
        """On probation: take it back. A damaged file: begin with the delivered one. Else it is begun again by whoever runs it."""
        model, fault = failure.model, f"{failure.code}: {failure.message}"
        active = self._book.of(model).active
        if self._proving.shown[model].evidence is not None:
            return self._fail_probation(model, fault)
        is_active = active is not None and self._proving.shown[model].running == active
        if active is None or not is_active or failure.code not in _DAMAGE:
            return ()
        if model == MAIN_MODEL and not active.counter:
            return ()  # it would be taken again and again: it may be the delivered artifact that is damaged
        cancel = self._cancel()
        self._book.put(model, transitions.undelivered(self._book.of(model)))
        told = self._book.note(notices.damaged(active, fault, model))
        self._schedule.again(self._now_seconds)
        return (*cancel, *told, Collect(self.state.kept), *self._turn_over(model, f"damaged store: {fault}"))

    def _fail_probation(self, model: str, fault: str) -> tuple[Effect, ...]:
        return (*self._proving.roll_back(model, fault), *self._turn_over(model, f"rollback: {fault}"))

    # --- waiting, and the end ---

    def _rest(self) -> tuple[Effect, ...]:
        self.phase = "idle"
        self._schedule.rest(self._now_seconds)
        return self._book.write()

    def _postpone(self, code: str, message: str) -> tuple[Effect, ...]:
        self.phase = "idle"
        return self._schedule.postpone(code, message, self._now_seconds)

    def _unwritten(self, failure: StateUnwritten) -> tuple[Effect, ...]:
        """Nothing is tried that cannot be counted, and nothing is begun that is not known to be good."""
        cancel, was = self._cancel(), self.phase
        self._book.back_to(failure.durable)
        self._answers = []
        told = self._postpone("storage", failure.message)
        begun: tuple[Effect, ...] = ()
        for name in self._proving.shown:
            if name in failure.begun:
                self._proving.begin(name, self._now_seconds)
                continue
            good = self._book.of(name).known_good
            self._proving.run(name, good, self._now_seconds)
            begun = (*begun, RunDelivered(name) if good is None else Run(good, name))
        if begun:
            return (*begun, *told)
        turned_back = (
            self._proving.runs_another(self._turning) and self._book.of(self._turning).probation is None
        )
        if was in ("restarting", "switching") and turned_back:
            # It was rolled back, and only that this was told could not be written.
            return (*told, *self._turn_over(self._turning, "the active release is another one"))
        return (*cancel, *told)

    def _stop(self) -> tuple[Effect, ...]:
        cancel = self._cancel()
        self.phase = "stopped"
        self._proving.spare_starts()
        return (*cancel, *self._book.write())

    # --- small parts ---

    def _take_time(self, moment: Moment) -> None:
        self._now_seconds = max(self._now_seconds, moment.now_seconds)
        self._wall_seconds = moment.wall_seconds

    def _cancel(self) -> tuple[Effect, ...]:
        return (Cancel(),) if self.phase in _STEPS else ()
