"""The update's state machine: occurrences go in, effects come out. No clock, network, disk or thread.

::

    idle -> checking -> fetching -> trying -> shadowing -> restarting -> (next process, on probation) -> idle
            every one of them, on failure  -------------------------------------------------------->  idle

Whatever the order in which things happen, and wherever the power goes (tests hold it to both): exactly one release is
active, and it was verified, loaded and tested before it became so; the one known to be good stays until another has
proved itself; whatever is counted is written down before it is tried; the floor never goes down; every update ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from device_agent.update import notices, transitions
from device_agent.update.effects import (
    Cancel,
    Check,
    Collect,
    Fetch,
    Restart,
    Run,
    RunDelivered,
    Shadow,
    TakeDelivered,
    Tell,
    Try,
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
    Tick,
    TrialFailed,
    Tried,
    Undelivered,
)
from device_agent.update.probation import Evidence
from device_agent.update.report import LastCheck
from device_agent.update.state import BELOW_FLOOR

if TYPE_CHECKING:
    from device_agent.update.effects import Effect
    from device_agent.update.occurrences import Moment, Occurrence
    from device_agent.update.probation import ProbationLimits
    from device_agent.update.state import Notice, Release, UpdateState

Phase = Literal["starting", "idle", "checking", "fetching", "trying", "shadowing", "restarting", "stopped"]
_STEPS: Final = ("checking", "fetching", "trying", "shadowing")
_ALIVE: Final = ("idle", *_STEPS)
_FIRST_RETRY_SECONDS: Final = 30.0
_DAMAGE: Final = ("digest_mismatch", "archive", "storage")
"""Codes that say that the file is at fault and not the model in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLimits:
    """Bounds of the machine.

    Attributes:
        first_check_seconds: From the start to the first check.
        check_interval_seconds: Between checks; after a failure it is shorter and doubles up to this.
        require_synced_clock: Check only while a time service vouches for the clock.
        trials: A candidate is tried so often; more means that its trial takes the device down.
        mismatches: A candidate may come with wrong bytes so often.
        shadow: Whether there is a shadow run.
        shadow_min_cosine: Least agreement with the current model's outputs.
        probation: What an activated release must show.
    """

    first_check_seconds: float
    check_interval_seconds: float
    require_synced_clock: bool
    trials: int
    mismatches: int
    shadow: bool
    shadow_min_cosine: float
    probation: ProbationLimits


class UpdateMachine:
    """The state machine; one thread calls `handle`.

    Args:
        state: As it was read from the disk.
        limits: Bounds.

    Attributes:
        state: As it stands on the disk once the effects given out so far are carried out.
        phase: What is under way.
        last_check: How the last check of this run ended; None before it.
    """

    def __init__(self, state: UpdateState, limits: UpdateLimits) -> None:
        self._limits = limits
        self._now_seconds = self._wall_seconds = 0.0
        self._check_due_seconds = float("inf")
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._trouble = ""
        self._running: Release | None = None
        self._evidence: Evidence | None = None
        self._p95_seconds: float | None = None
        self._windows_since_heat = float("inf")
        self._written = self.state = state
        self.phase: Phase = "starting"
        self.last_check: LastCheck | None = None

    @property
    def evidence_inferences(self) -> int | None:
        """Results of the release on probation since this process began; None when there is none."""
        return None if self._evidence is None else self._evidence.inferences

    @property
    def next_due_seconds(self) -> float:
        """Monotonic time at which the machine wants its next `Tick`; infinity when it waits for something else."""
        if self.phase != "idle":
            return float("inf")
        if self.state.probation is None or self._running != self.state.active:
            return self._check_due_seconds
        due = float("inf") if self._evidence is None else self._evidence.due_seconds
        return due if due > self._now_seconds else float("inf")

    def handle(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        """Take in what happened and return what to do, in order. Late reports of a step that is over change nothing."""
        if self.phase == "stopped":
            return ()
        match occurrence:
            case Started(moment):
                return self._start(moment)
            case DeliveredTaken() | Undelivered():
                return self._delivered(occurrence)
            case StateUnwritten():
                return self._unwritten(occurrence)
            case Stopping():
                return self._stop()
            case Tick(moment):
                return self._tick(moment)
            case Observed():
                return self._observe(occurrence)
            case RunFailed():
                return self._run_failed(occurrence)
            case _:
                return self._step(occurrence)

    # --- the start of a process ---

    def _start(self, moment: Moment) -> tuple[Effect, ...]:
        if self.phase != "starting":
            return ()
        self._take_time(moment)
        self._check_due_seconds = moment.now_seconds + self._limits.first_check_seconds
        probation = self.state.probation
        if self.state.active is None:
            return (TakeDelivered(),)
        if probation is None:
            return self._run(self.state.active)
        if probation.attempts >= self._limits.probation.starts:
            fault = f"crash_loop: {probation.attempts} starts did not live through the probation"
            return (*self._roll_back(fault), *self._run(self.state.active))
        self.state = transitions.start_counted(self.state, +1)
        return (*self._write(), *self._run(self.state.active))

    def _delivered(self, occurrence: DeliveredTaken | Undelivered) -> tuple[Effect, ...]:
        at_start = self.phase == "starting"
        if not at_start and (self.phase != "idle" or self.state.active is not None):
            return ()
        if isinstance(occurrence, Undelivered):
            run = (RunDelivered(),) if at_start else ()
            return (*run, *self._postpone("storage", occurrence.message))
        self.state = transitions.delivered(self.state, occurrence.release)
        if at_start:
            return (*self._write(), *self._run(occurrence.release))
        self._running = occurrence.release  # its very bytes run already, from where they were delivered
        return (*self._write(), Collect(self.state.kept))

    def _run(self, release: Release | None) -> tuple[Effect, ...]:
        """Run a release; then tell what waits to be told, and clean up what a power cut left."""
        self.phase = "idle"
        if release is None:
            return (RunDelivered(),)
        self._running = release
        self._begin_probation()
        return (Run(release), *self._tell(), Collect(self.state.kept))

    # --- one update, up to its activation ---

    def _tick(self, moment: Moment) -> tuple[Effect, ...]:
        self._take_time(moment)
        if self.phase != "idle":
            return ()
        if self.state.probation is not None and self._running == self.state.active:
            return self._judge()
        if moment.now_seconds < self._check_due_seconds:
            return ()
        if self.state.active is None:
            return (TakeDelivered(),)
        if self._running != self.state.active:
            return self._begin_anew()
        if moment.wall_seconds < self.state.time_floor_seconds:
            return self._postpone("clock_behind", "the clock is behind a time that is known to be past.")
        if self._limits.require_synced_clock and not moment.synced:
            return self._postpone("clock_unsynced", "no time service vouches for the clock.")
        self.phase = "checking"
        return (Check(),)

    def _begin_anew(self) -> tuple[Effect, ...]:
        """The disk could not count the start of the active release. Once it takes the state, that can be started."""
        self.phase = "restarting"
        return (WriteState(self.state), Restart("the active release can be started"))

    def _step(self, occurrence: Occurrence) -> tuple[Effect, ...]:
        match self.phase, occurrence:
            case "checking", NothingDesired(reason, serial):
                self._checked(reason)
                return self._want_nothing(serial)
            case "checking", Offered(release=release):
                self._checked(f"{release.name} {release.version} is wanted")
                return self._weigh(occurrence)
            case "checking", CheckFailed(code=code, message=message):
                self.last_check = LastCheck(seconds=self._now_seconds, outcome=f"{code}: {message}")
                return self._postpone(code, message)
            case "fetching", Fetched():
                return self._try()
            case "fetching", FetchFailed():
                return self._fetch_failed(occurrence)
            case "trying", Tried():
                return self._tried(occurrence)
            case "shadowing", Shadowed():
                return self._shadowed(occurrence)
            case (("trying" | "shadowing"), TrialFailed(code=code, message=message)):
                return self._reject(f"{code}: {message}")
            case _:
                return ()

    def _checked(self, outcome: str) -> None:
        """The metadata are good, so the time is not before now."""
        self.last_check = LastCheck(seconds=self._now_seconds, outcome=outcome)
        self._trouble, self._retry_seconds = "", _FIRST_RETRY_SECONDS
        self.state = transitions.time_seen(self.state, self._wall_seconds)

    def _want_nothing(self, serial: int) -> tuple[Effect, ...]:
        if not serial:
            return self._rest()
        if serial < self.state.desired_serial:
            return self._postpone_replay(serial)
        came_by_trial = self.state.runs_trial
        self.state = transitions.followed(self.state, serial=serial, digest="", is_in_trial=False)
        told = self._withdraw()
        return (*told, *(self._go_back_to_delivered() if came_by_trial else self._rest()))

    def _go_back_to_delivered(self) -> tuple[Effect, ...]:
        """The trial was taken back, and its group had nothing before it."""
        active = self.state.active
        if active is None:
            return self._rest()
        self.phase = "restarting"
        self.state = transitions.undelivered(self.state)
        told = self._note(notices.taken_back(active, self.state.desired_serial))
        return (*told, Collect(self.state.kept), Restart("the trial was taken back"))

    def _weigh(self, offer: Offered) -> tuple[Effect, ...]:
        state, release = self.state, offer.release
        if offer.serial < state.desired_serial:
            return self._postpone_replay(offer.serial)
        self.state = transitions.followed(
            state, serial=offer.serial, digest=release.digest, is_in_trial=offer.is_in_trial
        )
        runs = state.active is not None and release.digest == state.active.digest
        if runs or state.has_rejected(release.digest, offer.since, allow_downgrade=offer.allow_downgrade):
            return (*self._withdraw(), *self._rest())
        told = () if state.candidate is None or state.candidate.release == release else self._withdraw()
        self.state = transitions.offered(self.state, offer)
        candidate = self.state.candidate
        if candidate is None:
            return self._rest()
        if state.is_way_back(release) and not offer.allow_downgrade:
            below = f"release counter {release.counter} is below {state.counter_floor}, which ran here"
            return (*told, *self._reject(f"{BELOW_FLOOR}: {below}"))
        if candidate.trials >= self._limits.trials:
            return (
                *told,
                *self._reject(f"crash_loop: {candidate.trials} trials did not come to their end"),
            )
        self.phase = "fetching"
        if candidate != state.candidate:
            told = (*told, *self._note(notices.started(candidate)))
        return (*self._write(), *told, Collect(self.state.kept), Fetch(candidate))

    def _withdraw(self) -> tuple[Effect, ...]:
        """Let go of a candidate that is not asked for any more: its update ends here."""
        candidate = self.state.candidate
        if candidate is None:
            return ()
        self.state = transitions.withdrawn(self.state)
        return (*self._note(notices.withdrawn(candidate)), Collect(self.state.kept))

    def _fetch_failed(self, failure: FetchFailed) -> tuple[Effect, ...]:
        if not failure.mismatch:
            return self._postpone(failure.code, failure.message)
        self.state = transitions.mismatch_counted(self.state)
        candidate = self.state.candidate
        if candidate is None or candidate.mismatches >= self._limits.mismatches:
            return self._reject(f"{failure.code}: {failure.message}")
        return (*self._write(), *self._postpone(failure.code, failure.message))

    def _try(self) -> tuple[Effect, ...]:
        self.state = transitions.trial_counted(self.state)
        if self.state.candidate is None:
            return self._rest()
        self.phase = "trying"
        return (*self._write(), Try(self.state.candidate.release))

    def _tried(self, tried: Tried) -> tuple[Effect, ...]:
        candidate = self.state.candidate
        if candidate is None:
            return self._rest()
        told = self._note(notices.tried(candidate, tried))
        # On the way back the model that runs is the one that is not wanted: to disagree with it is no fault.
        if not self._limits.shadow or self.state.is_way_back(candidate.release):
            return (*told, *self._activate(None))
        self.phase = "shadowing"
        return (*told, Shadow(candidate.release))

    def _shadowed(self, shadowed: Shadowed) -> tuple[Effect, ...]:
        cosine, least = shadowed.cosine, self._limits.shadow_min_cosine
        if shadowed.frames and cosine is not None and not cosine >= least:
            return self._reject(
                f"shadow_disagrees: over {shadowed.frames} frames the outputs' mean cosine is {cosine:.4f}; "
                f"{least:g} is asked for"
            )
        return self._activate(shadowed)

    def _activate(self, shadowed: Shadowed | None) -> tuple[Effect, ...]:
        candidate = self.state.candidate
        if candidate is None:
            return self._rest()
        self.phase = "restarting"
        self.state = transitions.activated(
            self.state,
            baseline_p95_seconds=None if self.state.is_way_back(candidate.release) else self._p95_seconds,
            baseline_hot=self._windows_since_heat < self._limits.probation.bad_windows,
        )
        told = self._note(notices.activated(candidate, shadowed))
        return (*told, Restart(f"update to {candidate.release.name} {candidate.release.version}"))

    # --- probation ---

    def _begin_probation(self) -> None:
        probation = self.state.probation
        self._evidence = None
        if probation is not None and self._running == self.state.active:
            self._evidence = Evidence(
                self._limits.probation,
                since_seconds=self._now_seconds,
                baseline_p95_seconds=probation.baseline_p95_seconds,
                baseline_hot=probation.baseline_hot,
            )

    def _observe(self, window: Observed) -> tuple[Effect, ...]:
        if self.phase not in _ALIVE:
            return ()
        if self._evidence is None:
            self._p95_seconds = window.p95_seconds or self._p95_seconds
            self._windows_since_heat = 0.0 if window.heat else self._windows_since_heat + 1.0
            return ()
        fault = self._evidence.add(window)
        return self._fail_probation(fault) if fault else self._judge()

    def _judge(self) -> tuple[Effect, ...]:
        if self._evidence is None:
            return ()
        keep, fault = self._evidence.verdict(self._now_seconds)
        if fault:
            return self._fail_probation(fault)
        return self._commit(self._evidence.inferences) if keep else ()

    def _commit(self, inferences: int) -> tuple[Effect, ...]:
        active, probation = self.state.active, self.state.probation
        if active is None or probation is None:
            return ()
        self._evidence = None
        self.state = transitions.committed(self.state)
        told = self._note(notices.committed(active, probation, inferences))
        return (*told, Collect(self.state.kept), *self._rest())

    def _run_failed(self, failure: RunFailed) -> tuple[Effect, ...]:
        """On probation: take it back. A damaged file: begin with the delivered one. Else the agent ends and is started again."""
        if self.phase not in _ALIVE:
            return ()
        fault, active = f"{failure.code}: {failure.message}", self.state.active
        if self._evidence is not None:
            return self._fail_probation(fault)
        if active is None or not active.counter or failure.code not in _DAMAGE:
            return ()
        cancel = self._cancel()
        self.phase = "restarting"
        self.state = transitions.undelivered(self.state)
        told = self._note(notices.damaged(active, fault))
        return (*cancel, *told, Collect(self.state.kept), Restart(f"damaged store: {fault}"))

    def _fail_probation(self, fault: str) -> tuple[Effect, ...]:
        self.phase = "restarting"
        return (*self._roll_back(fault), Restart(f"rollback: {fault}"))

    def _roll_back(self, fault: str) -> tuple[Effect, ...]:
        active, good, probation = self.state.active, self.state.known_good, self.state.probation
        if active is None or good is None or probation is None:
            return ()
        self._evidence = None
        self.state = transitions.rolled_back(self.state, fault)
        return self._note(notices.rolled_back(active, good, fault, probation))

    # --- every update ends ---

    def _reject(self, fault: str) -> tuple[Effect, ...]:
        candidate = self.state.candidate
        if candidate is None:
            return self._rest()
        self.state = transitions.rejected(self.state, fault)
        told = self._note(notices.rejected(candidate, fault))
        return (*told, Collect(self.state.kept), *self._rest())

    def _rest(self) -> tuple[Effect, ...]:
        self.phase = "idle"
        self._check_due_seconds = self._now_seconds + self._limits.check_interval_seconds
        return self._write()

    def _postpone(self, code: str, message: str) -> tuple[Effect, ...]:
        """Try again later, and tell once what is in the way."""
        self.phase = "idle"
        longest = self._limits.check_interval_seconds
        self._check_due_seconds = self._now_seconds + min(self._retry_seconds, longest)
        self._retry_seconds = min(2 * self._retry_seconds, longest)
        if self._trouble == code:
            return ()
        self._trouble = code
        return (Tell(notices.postponed(code, message)),)

    def _postpone_replay(self, serial: int) -> tuple[Effect, ...]:
        older = f"desired state {serial} is older than {self.state.desired_serial}, which was here before."
        return self._postpone("desired_replayed", older)

    def _unwritten(self, failure: StateUnwritten) -> tuple[Effect, ...]:
        """Nothing is tried that cannot be counted, and nothing is run that is not known to be good."""
        cancel, was = self._cancel(), self.phase
        self._written = self.state = failure.durable
        told = self._postpone("storage", failure.message)
        if not failure.runs:
            self._running = self.state.known_good
            self._evidence = None
            run = RunDelivered() if self._running is None else Run(self._running)
            return (run, *told)
        self._begin_probation()
        if was == "restarting" and self._running != self.state.active and self.state.probation is None:
            # It was rolled back, and only that this was told could not be written.
            self.phase = "restarting"
            return (*told, Restart("the active release is another one"))
        return (*cancel, *told)

    def _stop(self) -> tuple[Effect, ...]:
        """A start that ends in order is not held against the release."""
        cancel, restarting = self._cancel(), self.phase == "restarting"
        self.phase = "stopped"
        if restarting or self._evidence is None:
            return cancel
        self.state = transitions.start_counted(self.state, -1)
        return (*cancel, *self._write())

    # --- small parts ---

    def _take_time(self, moment: Moment) -> None:
        self._now_seconds = max(self._now_seconds, moment.now_seconds)
        self._wall_seconds = moment.wall_seconds

    def _cancel(self) -> tuple[Effect, ...]:
        return (Cancel(),) if self.phase in _STEPS else ()

    def _write(self) -> tuple[Effect, ...]:
        if self.state == self._written:
            return ()
        self._written = self.state
        return (WriteState(self.state),)

    def _note(self, notice: Notice) -> tuple[Effect, ...]:
        """Write the state with a notice, tell it, write that it was told: told at least once, wherever the power goes."""
        self.state = transitions.noted(self.state, notice)
        return (*self._write(), *self._tell())

    def _tell(self) -> tuple[Effect, ...]:
        waiting = self.state.notices
        self.state = replace(self.state, notices=())
        return (*(Tell(notice) for notice in waiting), *self._write())
