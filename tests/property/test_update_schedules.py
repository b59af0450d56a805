"""The update's state machine under random faults: power cuts between any two effects, failing writes, failing steps, clocks that lie.

Each seed is one schedule; it ends with quiet weather, in which the next good release must become the one that runs.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from device_agent.update import effects as do
from device_agent.update import occurrences as was
from device_agent.update.machine import UpdateLimits, UpdateMachine
from device_agent.update.probation import ProbationLimits
from device_agent.update.state import Release, UpdateState
from device_agent.update.state_file import decode, encode

SCHEDULES = 1_500
STEPS = 120
PROBATION = ProbationLimits(
    seconds=50.0,
    inferences=20,
    longest_seconds=500.0,
    p95_ratio=2.0,
    error_ratio=0.5,
    bad_windows=2,
    starts=3,
)
LIMITS = UpdateLimits(
    first_check_seconds=1.0,
    check_interval_seconds=100.0,
    require_synced_clock=True,
    trials=3,
    mismatches=2,
    shadow=True,
    shadow_min_cosine=0.8,
    probation=PROBATION,
)
DELIVERED = Release(digest="sha256:" + "0" * 64, name="m", version="0", counter=0)


def release(counter: int, serial: int) -> Release:
    digest = f"sha256:{counter:032x}{serial:032x}"
    return Release(digest=digest, name="m", version=str(counter), counter=counter)


class PowerCutError(Exception):
    pass


class Device:
    """A disk that survives, and a process that does not."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.weather = 0.08
        self.disk = UpdateState()
        self.store: set[str] = set()
        self.tested: set[str] = {DELIVERED.digest}
        self.told: list[str] = []
        self.ended: dict[tuple[str, int], str] = {}
        self.serial, self.wanted, self.downgrade = 1, release(1, 1), False
        self.since, self.in_trial, self.highest = 1, False, 1
        self.now = 0.0
        self.bad = False
        self.begin()

    # --- the process ---

    def begin(self) -> None:
        self.machine = UpdateMachine(self.disk, LIMITS)
        self.runs: Release | None = None
        self.running = False
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

    def carry_out(self, effect: do.Effect) -> bool:  # noqa: PLR0912  one case an effect
        match effect:
            case do.WriteState(state):
                if self.bad_luck(0.5):
                    self.take_in(was.StateUnwritten(message="full", durable=self.disk, runs=self.running))
                    return False
                before, self.disk = self.disk, decode(encode(state), where="disk")
                assert self.disk == state
                assert state.counter_floor >= before.counter_floor
                assert state.desired_serial >= before.desired_serial
                assert state.time_floor_seconds >= before.time_floor_seconds
                if before.active and state.active and state.active != before.active:
                    assert state.active.digest in self.tested, "only what was tested is activated"
                if state.known_good != before.known_good and before.known_good and state.known_good:
                    assert self.runs == state.known_good, "only what runs can prove itself"
            case do.TakeDelivered():
                if self.bad_luck():
                    self.take_in(was.Undelivered(message="full"))
                else:
                    self.store.add(DELIVERED.digest)
                    self.take_in(was.DeliveredTaken(DELIVERED))
            case do.Run(one):
                assert not self.running, "once a process"
                assert one.digest in self.store
                assert one.digest in self.tested
                if self.disk.probation is not None and one == self.disk.active:
                    assert 1 <= self.disk.probation.attempts <= PROBATION.starts, (
                        "counted before it is started"
                    )
                self.runs, self.running = one, True
            case do.RunDelivered():
                assert not self.running
                self.running = True
            case do.Check() | do.Fetch() | do.Try() | do.Shadow():
                assert self.step is None, "one step at a time"
                if isinstance(effect, do.Try):
                    assert self.disk.candidate is not None
                    assert self.disk.candidate.trials >= 1, "counted before it is tried"
                    assert effect.release.digest in self.store
                self.step = effect
            case do.Cancel():
                self.step = None
            case do.Tell(notice):
                self.told.append(notice.name)
                if notice.name in ("update_committed", "update_rolled_back", "update_rejected"):
                    key = (str(notice.details["digest"]), int(notice.details["serial"] or 0))
                    self.ended[key] = notice.name
            case do.Collect(kept):
                assert self.disk.kept <= kept, "what the disk names is never collected"
                self.store &= kept
            case do.Restart():
                self.restart = True
        return True

    def check(self) -> None:
        for one in (self.disk.active, self.disk.known_good):
            if one is not None:
                assert one.digest in self.store
                assert one.digest in self.tested
        assert (self.disk.probation is None) == (self.disk.active == self.disk.known_good)

    # --- the world ---

    def answer(self) -> None:
        """End the step under way, one way or another."""
        step, self.step = self.step, None
        match step:
            case do.Check() if self.bad_luck(3):
                self.say(was.CheckFailed(code="transfer", message="away"))
            case do.Check() if self.bad_luck():
                self.say(was.NothingDesired("nobody says", self.chance.choice([0, self.serial])))
            case do.Check():
                serial = self.serial - (1 if self.bad_luck(2) else 0)
                self.say(
                    was.Offered(
                        release=self.wanted,
                        size_bytes=9,
                        path="a/b",
                        serial=serial,
                        since=min(self.since, serial),
                        allow_downgrade=self.downgrade,
                        is_in_trial=self.in_trial,
                    )
                )
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

    def ask(self) -> None:
        """Sign another state: a share has grown, a trial begins or is taken back, or something else is wanted."""
        self.serial += 1
        move = self.chance.choice(["grow", "begin", "take back", "other"])
        if move == "grow":
            return
        self.since = self.serial
        if move == "begin":
            self.highest = max(self.highest, self.serial) + 1
            self.wanted, self.in_trial = release(self.highest, self.serial), True
        else:
            self.in_trial = False
            self.wanted = release(self.chance.randrange(1, self.highest + 2), self.serial)
            self.highest = max(self.highest, self.wanted.counter)
        self.downgrade = move == "take back" or self.bad_luck(3)

    def live(self) -> None:
        """Let one thing happen."""
        self.now += self.chance.choice([0.0, 1.0, 20.0, 200.0])
        lucky = self.chance.random()
        if self.bad_luck(0.7):
            self.begin()  # a power cut in peace
        elif self.bad_luck(0.7):
            self.say(was.Stopping())
            self.begin()
        elif self.bad_luck(0.7):
            self.say(was.RunFailed(code=self.chance.choice(["engine", "digest_mismatch"]), message="broken"))
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
                )
            )
        else:
            self.say(was.Tick(self.moment()))


@pytest.mark.parametrize("block", range(10))
def test_random_fault_schedules_keep_every_promise_and_the_next_update_works(block: int) -> None:
    ends: set[str] = set()
    for seed in range(block, SCHEDULES, 10):
        device = Device(seed)
        for _ in range(STEPS):
            device.live()
        ends |= set(device.ended.values())
        device.weather = 0.0
        if seed % 2:  # with a new start, and without one: a disk that works again is enough
            device.begin()
        device.serial += 1
        device.since = device.serial
        way_back = seed % 2 == 1 and device.disk.counter_floor > 1
        counter = device.disk.counter_floor - 1 if way_back else device.serial + 1_000
        floor = device.disk.counter_floor
        device.wanted, device.in_trial = release(counter, device.serial), not way_back
        device.downgrade = way_back
        for _ in range(400):
            device.now += 20.0
            device.say(was.Tick(device.moment()))
            device.say(was.Observed(inferences=10, errors=0, p95_seconds=0.01))
            device.answer()
            if device.disk.known_good == device.wanted:
                break
        assert device.disk.active == device.disk.known_good == device.wanted, seed
        if way_back:
            assert device.disk.counter_floor >= floor > counter, "a way back leaves the floor where it is"
        else:
            assert device.disk.counter_floor == counter
        assert device.disk.is_in_trial is not way_back
        assert device.store == {device.wanted.digest}
        assert device.disk.candidate is None
        assert device.ended[device.wanted.digest, device.serial] == "update_committed"
    assert ends == {"update_committed", "update_rolled_back", "update_rejected"}, "the faults reach every end"


def test_a_state_that_is_replaced_keeps_every_field() -> None:
    state = replace(UpdateState(), active=DELIVERED, known_good=DELIVERED, counter_floor=7)
    assert decode(encode(state), where="x") == state
