"""A device whose updates are the real state machine, and whose disk, processes, network and clock fail at random.

What must hold after every effect is asserted here; `test_update_schedules` and `test_agent_schedules` let it live.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update import effects as do
from device_agent.update import occurrences as was
from device_agent.update.limits import UpdateLimits
from device_agent.update.machine import UpdateMachine
from device_agent.update.probation import ProbationLimits
from device_agent.update.state import Release, UpdateState
from device_agent.update.state_file import decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.update.state import Notice

PROBATION: Final = ProbationLimits(
    seconds=50.0,
    inferences=20,
    longest_seconds=500.0,
    p95_ratio=2.0,
    error_ratio=0.5,
    bad_windows=2,
    starts=3,
)
LIMITS: Final = UpdateLimits(
    first_check_seconds=1.0,
    check_interval_seconds=100.0,
    require_synced_clock=True,
    trials=3,
    mismatches=2,
    shadow=True,
    shadow_min_cosine=0.8,
    probation=PROBATION,
)
ENDS: Final = ("update_committed", "update_rolled_back", "update_rejected")


def delivered(model: str = MAIN_MODEL) -> Release:
    """What a model was delivered with."""
    return Release(digest=f"sha256:{model.encode().hex():0>64}", name=model, version="0", counter=0)


def release(counter: int, serial: int, model: str = MAIN_MODEL) -> Release:
    """A release of a model; another serial is another file."""
    digest = f"sha256:{model.encode().hex():0>16}{counter:024x}{serial:024x}"
    return Release(digest=digest, name=model, version=str(counter), counter=counter)


class PowerCutError(Exception):
    """The process is gone."""


@dataclass(kw_only=True)
class Wish:
    """What is wanted of one model now."""

    release: Release
    since: int = 1
    allow_downgrade: bool = False
    in_trial: bool = False
    highest: int = 1


class Device:
    """A disk that survives, and a process that does not."""

    def __init__(self, seed: int, models: Sequence[str] = (MAIN_MODEL,)) -> None:
        self.chance = random.Random(seed)
        self.weather = 0.08
        self.models = tuple(models)
        self.disk = UpdateState()
        self.store: set[str] = set()
        self.tested: set[str] = {delivered(model).digest for model in models}
        self.told: list[str] = []
        self.under_way: set[tuple[str, str]] = set()
        self.ended: dict[tuple[str, str, int], str] = {}
        self.serial = 1
        self.wishes = {model: Wish(release=release(1, 1, model)) for model in models}
        self.now = 0.0
        self.begin()

    # --- the process ---

    def begin(self) -> None:
        self.machine = UpdateMachine(self.disk, LIMITS, models=self.models)
        self.runs: dict[str, Release | None] = {}
        self.step: object = None
        self.restart = False
        self.say(was.Started(self.moment()))

    def moment(self) -> was.Moment:
        return was.Moment(now_seconds=self.now, wall_seconds=1e9 + self.now, synced=not self.bad_luck())

    def bad_luck(self, factor: float = 1.0) -> bool:
        return self.chance.random() < self.weather * factor

    def say(self, occurrence: was.Occurrence) -> None:
        try:
            self.take_in(occurrence)
        except PowerCutError:
            self.begin()
        else:
            if self.restart:
                self.begin()

    def take_in(self, occurrence: was.Occurrence) -> None:
        for effect in self.machine.handle(occurrence):
            if self.bad_luck(0.5):
                raise PowerCutError
            if not self.carry_out(effect):
                return
            self.check()

    def carry_out(self, effect: do.Effect) -> bool:
        match effect:
            case do.WriteState(state):
                if self.bad_luck(0.5):
                    begun = frozenset(self.runs)
                    self.take_in(was.StateUnwritten(message="full", durable=self.disk, begun=begun))
                    return False
                self.write(state)
            case do.TakeDelivered(model):
                if self.bad_luck():
                    self.take_in(was.Undelivered(message="full", model=model))
                else:
                    self.store.add(delivered(model).digest)
                    self.take_in(was.DeliveredTaken(delivered(model), model))
            case do.Run(one, model):
                self.run(model, one)
            case do.RunDelivered(model):
                self.run(model, None)
            case do.Switch(one, model):
                assert model != MAIN_MODEL, "the main model changes with the process"
                assert model in self.runs
                assert one != self.runs[model], "only a model that is to run something else is begun anew"
                del self.runs[model]
                self.run(model, one)
                self.take_in(was.Switched(model))
            case do.Check() | do.Fetch() | do.Try() | do.Shadow():
                assert self.step is None, "one step at a time"
                assert self.on_probation == [], "nothing else is on its way beside a probation"
                if isinstance(effect, do.Try):
                    candidate = self.disk.of(effect.model).candidate
                    assert candidate is not None
                    assert candidate.trials >= 1, "counted before it is tried"
                    assert effect.release.digest in self.store
                self.step = effect
            case do.Cancel():
                self.step = None
            case do.Tell(notice):
                self.hear(notice)
            case do.Collect(kept):
                assert self.disk.kept <= kept, "what the disk names is never collected"
                self.store &= kept
            case do.Restart():
                main, runs = self.disk.main.active, self.runs[MAIN_MODEL]
                assert main != runs, "the process begins anew for the main model alone"
                self.restart = True
        return True

    def write(self, state: UpdateState) -> None:
        before, self.disk = self.disk, decode(encode(state), where="disk")
        assert self.disk == state
        assert state.desired_serial >= before.desired_serial
        assert state.time_floor_seconds >= before.time_floor_seconds
        changed = [model for model in self.models if state.of(model).active != before.of(model).active]
        assert len(changed) <= 1, "no other model is touched"
        for model in self.models:
            old, new = before.of(model), state.of(model)
            assert new.counter_floor >= old.counter_floor
            if old.active and new.active and new.active != old.active:
                assert new.active.digest in self.tested, "only what was tested is activated"
            if new.known_good != old.known_good and old.known_good and new.known_good:
                assert self.runs.get(model) == new.known_good, "only what runs can prove itself"

    def run(self, model: str, one: Release | None) -> None:
        assert model not in self.runs, "once a process, or by a switch"
        standing = self.disk.of(model)
        if one is not None:
            assert one.digest in self.store
            assert one.digest in self.tested
            if standing.probation is not None and one == standing.active:
                assert 1 <= standing.probation.attempts <= PROBATION.starts, "counted before it is started"
        self.runs[model] = one

    def hear(self, notice: Notice) -> None:
        self.told.append(notice.name)
        if "digest" in notice.details and "serial" in notice.details:
            model = str(notice.details.get("slot", MAIN_MODEL))
            key = (model, str(notice.details["digest"]), int(notice.details["serial"] or 0))
            if notice.name == "update_started":
                self.under_way.add(key[:2])
            if notice.name in ENDS:
                self.under_way.discard(key[:2])
                self.ended[key] = notice.name

    @property
    def on_probation(self) -> list[str]:
        return [model for model in self.models if self.disk.of(model).probation is not None]

    def check(self) -> None:
        assert len(self.on_probation) <= 1, "one at a time"
        for model in self.models:
            standing = self.disk.of(model)
            assert (standing.probation is None) == (standing.active == standing.known_good)
            for one in (standing.active, standing.known_good):
                if one is not None:
                    assert one.digest in self.store
                    assert one.digest in self.tested

    # --- the world ---

    def answer(self) -> None:
        """End the step under way, one way or another."""
        step, self.step = self.step, None
        match step:
            case do.Check() if self.bad_luck(3):
                self.say(was.CheckFailed(code="transfer", message="away"))
            case do.Check():
                serial = self.serial - (1 if self.bad_luck(2) else 0)
                answers = tuple(self.wanted_of(model, serial) for model in self.models)
                first = answers[0]
                self.say(was.Wanted(answers) if self.models[1:] or isinstance(first, was.Unmet) else first)
            case do.Fetch() if self.bad_luck(3):
                self.say(was.FetchFailed(code="digest_mismatch", message="no", mismatch=self.bad_luck(6)))
            case do.Fetch(candidate):
                self.store.add(candidate.release.digest)
                self.say(was.Fetched())
            case do.Try() | do.Shadow() if self.bad_luck(2):
                self.say(was.TrialFailed(code="trial", message="dies"))
            case do.Try(one):
                self.tested.add(one.digest)
                self.say(was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1))
            case do.Shadow():
                cosine = self.chance.choice([None, 0.1]) if self.bad_luck(2) else 0.99
                self.say(was.Shadowed(frames=self.chance.choice([0, 9]), cosine=cosine))

    def wanted_of(self, model: str, serial: int) -> was.Offered | was.NothingDesired | was.Unmet:
        """Return what a check finds of a model."""
        wish = self.wishes[model]
        if self.bad_luck():
            return was.NothingDesired("nobody says", self.chance.choice([0, serial]), model)
        if self.bad_luck():
            return was.Unmet(code="wrong_target", message="for another", model=model)
        return was.Offered(
            release=wish.release,
            size_bytes=9,
            path="a/b",
            serial=serial,
            since=min(wish.since, serial),
            allow_downgrade=wish.allow_downgrade,
            is_in_trial=wish.in_trial,
            model=model,
        )

    def ask(self) -> None:
        """Sign another state: a share has grown, a trial begins or is taken back, or something else is wanted of a model."""
        self.serial += 1
        move = self.chance.choice(["grow", "begin", "take back", "other"])
        if move == "grow":
            return
        model = self.chance.choice(self.models)
        wish = self.wishes[model]
        wish.since = self.serial
        if move == "begin":
            wish.highest = max(wish.highest, self.serial) + 1
            wish.release, wish.in_trial = release(wish.highest, self.serial, model), True
        else:
            wish.in_trial = False
            wish.release = release(self.chance.randrange(1, wish.highest + 2), self.serial, model)
            wish.highest = max(wish.highest, wish.release.counter)
        wish.allow_downgrade = move == "take back" or self.bad_luck(3)

    def live(self) -> None:
        """Let one thing happen."""
        self.now += self.chance.choice([0.0, 1.0, 20.0, 200.0])
        lucky, model = self.chance.random(), self.chance.choice(self.models)
        if self.bad_luck(0.7):
            self.begin()  # a power cut in peace
        elif self.bad_luck(0.7):
            self.say(was.Stopping())
            self.begin()
        elif self.bad_luck(0.7):
            code = self.chance.choice(["engine", "digest_mismatch"])
            self.say(was.RunFailed(code=code, message="broken", model=model))
        elif self.bad_luck(0.7):
            self.ask()
        elif lucky < 0.4 and self.step is not None:
            self.answer()
        elif lucky < 0.7:
            failing = self.bad_luck(3)
            self.say(
                was.Observed(
                    inferences=0 if failing else 10,
                    errors=10 if failing else 0,
                    p95_seconds=0.01,
                    nonfinite=0,
                    heat="throttled" if self.bad_luck(2) else "",
                    model=model,
                )
            )
        else:
            self.say(was.Tick(self.moment()))

    def live_in_quiet(self, turns: int) -> None:
        """Let nothing fail, until every model has kept what is wanted of it."""
        self.weather = 0.0
        for _ in range(turns):
            self.now += 20.0
            self.say(was.Tick(self.moment()))
            for model in self.models:
                self.say(was.Observed(inferences=10, errors=0, p95_seconds=0.01, model=model))
            self.answer()
            if all(self.disk.of(one).known_good == self.wishes[one].release for one in self.models):
                return
