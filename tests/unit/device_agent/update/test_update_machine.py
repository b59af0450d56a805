"""Single decisions of the machine; their interplay is in tests/property/test_update_schedules.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from device_agent.update import effects as do
from device_agent.update import occurrences as was
from device_agent.update.limits import UpdateLimits
from device_agent.update.machine import UpdateMachine
from device_agent.update.probation import Evidence, ProbationLimits
from device_agent.update.state import Probation, Release, Standing, UpdateState
from device_agent.update.state_file import decode, encode

PROBATION = ProbationLimits(
    seconds=10.0,
    inferences=20,
    longest_seconds=100.0,
    p95_ratio=2.0,
    error_ratio=0.5,
    bad_windows=2,
    starts=3,
)
LIMITS = UpdateLimits(
    first_check_seconds=1.0,
    check_interval_seconds=100.0,
    require_synced_clock=True,
    trials=2,
    mismatches=2,
    shadow=True,
    shadow_min_cosine=0.8,
    probation=PROBATION,
)
OLD = Release(digest="sha256:" + "0" * 64, name="m", version="1", counter=5)
NEW = Release(digest="sha256:" + "1" * 64, name="m", version="2", counter=6)
STATE = UpdateState(
    models={"main": Standing(active=OLD, known_good=OLD, counter_floor=5)},
    desired_serial=7,
    time_floor_seconds=1e9,
)


def changed(state: UpdateState, **fields: Any) -> UpdateState:
    """Return the state with the main model standing otherwise."""
    return state.having("main", replace(state.main, **fields))


ON_PROBATION = changed(
    STATE, active=NEW, probation=Probation(attempts=0, serial=8, baseline_p95_seconds=0.01)
)


def moment(now: float, *, wall: float = 2e9, synced: bool = True) -> was.Moment:
    return was.Moment(now_seconds=now, wall_seconds=wall, synced=synced)


def started(state: UpdateState = STATE) -> UpdateMachine:
    machine = UpdateMachine(state, LIMITS)
    machine.handle(was.Started(moment(0.0)))
    return machine


def offer(
    release: Release = NEW,
    *,
    serial: int = 8,
    since: int = 0,
    allow_downgrade: bool = False,
    is_in_trial: bool = False,
) -> was.Offered:
    return was.Offered(
        release=release,
        size_bytes=9,
        path="models/m/a",
        serial=serial,
        since=since or serial,
        allow_downgrade=allow_downgrade,
        is_in_trial=is_in_trial,
    )


def told(effects: tuple[do.Effect, ...]) -> list[tuple[str, object]]:
    return [
        (one.notice.name, one.notice.details.get("reason")) for one in effects if isinstance(one, do.Tell)
    ]


def checked(machine: UpdateMachine, found: was.Offered) -> tuple[do.Effect, ...]:
    assert do.Check() in machine.handle(was.Tick(moment(5.0)))
    return machine.handle(found)


def test_the_way_to_an_activation_in_order() -> None:
    machine = started()
    seen = [*checked(machine, offer())]
    for report in (
        was.Fetched(),
        was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1),
        was.Shadowed(frames=9, cosine=0.99),
    ):
        seen += machine.handle(report)
    kinds = [type(one).__name__ for one in seen if not isinstance(one, do.WriteState | do.Tell | do.Collect)]
    assert kinds == ["Fetch", "Try", "Shadow", "Restart"]
    assert machine.state.main.active == NEW
    assert machine.state.main.known_good == OLD
    assert machine.state.main.probation is not None
    assert machine.state.main.probation.attempts == 0


@pytest.mark.parametrize(
    ("now", "reason"),
    [(moment(5.0, synced=False), "clock_unsynced"), (moment(5.0, wall=1.0), "clock_behind")],
)
def test_a_clock_that_cannot_be_trusted_postpones_and_is_told_once(now: was.Moment, reason: str) -> None:
    machine = started()
    assert told(machine.handle(was.Tick(now))) == [("update_postponed", reason)]
    assert told(machine.handle(was.Tick(replace(now, now_seconds=500.0)))) == []
    assert do.Check() in machine.handle(was.Tick(moment(1_000.0)))


def test_an_older_desired_state_is_not_followed() -> None:
    effects = checked(started(), offer(serial=6))
    assert told(effects) == [("update_postponed", "desired_replayed")]


def test_a_release_below_the_floor_is_refused_unless_that_is_signed() -> None:
    older = replace(NEW, counter=4)
    assert told(checked(started(), offer(older))) == [("update_rejected", "below_floor")]
    assert told(checked(started(), offer(older, allow_downgrade=True))) == [("update_started", None)]


def test_what_failed_is_tried_again_only_for_a_newer_desired_state() -> None:
    machine = started()
    checked(machine, offer())
    machine.handle(was.Fetched())
    machine.handle(was.TrialFailed(code="self_test", message="no"))
    machine.handle(was.Tick(moment(200.0)))
    assert told(machine.handle(offer())) == []
    machine.handle(was.Tick(moment(400.0)))
    assert told(machine.handle(offer(serial=9))) == [("update_started", None)]


@pytest.mark.parametrize("reports", [(), (was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1),)])
def test_where_no_process_can_be_begun_a_trial_waits_and_is_not_counted(
    reports: tuple[was.Occurrence, ...],
) -> None:
    machine = started()
    for now in (5.0, 200.0, 400.0, 600.0):  # more often than a trial is made
        assert do.Check() in machine.handle(was.Tick(moment(now)))
        machine.handle(offer())
        for report in (was.Fetched(), *reports):
            machine.handle(report)
        effects = machine.handle(was.TrialUnbegun("no memory"))
        assert told(effects) == [("update_postponed", "child")]
        assert machine.phase == "idle"
        assert machine.state.main.rejected == ()
    machine.handle(was.Tick(moment(800.0)))
    machine.handle(offer())
    kinds = [type(effect) for effect in machine.handle(was.Fetched())]
    assert do.Try in kinds


def test_a_trial_that_takes_the_device_down_is_given_up() -> None:
    state = STATE
    for _ in range(2):
        machine = started(state)
        checked(machine, offer())
        machine.handle(was.Fetched())
        state = machine.state  # and the power goes
    assert told(checked(started(state), offer())) == [("update_rejected", "crash_loop")]


@pytest.mark.parametrize(
    ("shadowed", "said"),
    [
        (was.Shadowed(frames=9, cosine=0.99), "over 9 frames, the outputs' mean cosine was 0.9900"),
        (was.Shadowed(frames=0, cosine=None), "no frame came for a shadow run"),
        (
            was.Shadowed(frames=0, cosine=None, note="its outputs are other ones"),
            "cannot be held against the current model's: its outputs are other ones",
        ),
    ],
)
def test_an_activation_says_what_the_shadow_run_has_shown(shadowed: was.Shadowed, said: str) -> None:
    machine = started()
    checked(machine, offer())
    machine.handle(was.Fetched())
    machine.handle(was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1))
    (notice,) = (one.notice for one in machine.handle(shadowed) if isinstance(one, do.Tell))
    assert said in notice.text


def test_models_that_disagree_are_not_activated() -> None:
    machine = started()
    checked(machine, offer())
    machine.handle(was.Fetched())
    machine.handle(was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1))
    effects = machine.handle(was.Shadowed(frames=5, cosine=float("nan")))
    assert told(effects) == [("update_rejected", "shadow_disagrees")]
    assert machine.state.main.active == OLD


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (was.Observed(inferences=1, errors=9, p95_seconds=0.01), "inference_errors"),
        (was.Observed(inferences=10, errors=0, p95_seconds=0.03), "latency"),
        (was.Observed(inferences=10, errors=0, p95_seconds=0.01, nonfinite=1), "output_not_finite"),
        (was.Observed(inferences=10, errors=0, p95_seconds=0.01, heat="throttled"), "heat"),
        (was.Observed(inferences=0, errors=0, p95_seconds=None, heat="inference pauses"), "heat"),
    ],
)
def test_bad_windows_in_a_row_take_it_back_with_the_reason(window: was.Observed, reason: str) -> None:
    machine = started(ON_PROBATION)
    assert machine.handle(window) == ()
    effects = machine.handle(window)
    assert told(effects) == [("update_rolled_back", reason)]
    assert isinstance(effects[-1], do.Restart)
    assert machine.state.main.active == OLD
    assert machine.state.main.has_rejected(NEW.digest, 8)
    assert machine.state.main.counter_floor == 5


def test_heat_that_was_there_before_says_nothing_against_the_new_release() -> None:
    hot = was.Observed(inferences=10, errors=0, p95_seconds=0.01, heat="throttled")
    calm = replace(hot, heat="")
    for windows, was_hot in (((hot,), True), ((hot, calm), True), ((hot, calm, calm), False), ((), False)):
        machine = started()
        for window in windows:
            machine.handle(window)
        checked(machine, offer())
        for report in (
            was.Fetched(),
            was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1),
            was.Shadowed(frames=9, cosine=0.99),
        ):
            machine.handle(report)
        probation = machine.state.main.probation
        assert probation is not None
        assert probation.baseline_hot is was_hot, windows
        after = started(decode(encode(machine.state), where="state"))
        effects = [*after.handle(hot), *after.handle(hot)]
        assert told(tuple(effects)) == ([] if was_hot else [("update_rolled_back", "heat")])


def test_it_is_kept_after_its_time_and_results_and_the_floor_goes_up() -> None:
    machine = started(ON_PROBATION)
    machine.handle(was.Observed(inferences=30, errors=0, p95_seconds=0.01))
    assert machine.state.main.probation is not None
    assert machine.next_due_seconds == 10.0
    assert told(machine.handle(was.Tick(moment(11.0)))) == [("update_committed", None)]
    assert (machine.state.main.known_good, machine.state.main.counter_floor) == (NEW, 6)


def test_without_evidence_it_goes() -> None:
    machine = started(ON_PROBATION)
    assert machine.next_due_seconds == 100.0
    assert told(machine.handle(was.Tick(moment(101.0)))) == [("update_rolled_back", "no_evidence")]


def test_a_start_that_ends_in_order_is_not_counted_and_others_are() -> None:
    machine = started(ON_PROBATION)
    assert machine.state.main.probation == replace(ON_PROBATION.main.probation, attempts=1)  # type: ignore[type-var]
    machine.handle(was.Stopping())
    assert machine.state.main.probation == ON_PROBATION.main.probation
    worn = changed(ON_PROBATION, probation=Probation(attempts=3, serial=8, baseline_p95_seconds=None))
    machine = UpdateMachine(worn, LIMITS)
    effects = machine.handle(was.Started(moment(0.0)))
    assert told(effects) == [("update_rolled_back", "crash_loop")]
    assert do.Run(OLD) in effects


def test_a_damaged_file_leads_back_to_the_delivered_one_and_the_floor_stays() -> None:
    machine = started()
    effects = machine.handle(was.RunFailed(code="digest_mismatch", message="a bit"))
    assert told(effects) == [("update_store_damaged", "digest_mismatch")]
    assert isinstance(effects[-1], do.Restart)
    assert (machine.state.main.active, machine.state.main.counter_floor) == (None, 5)
    assert started().handle(was.RunFailed(code="engine", message="no")) == ()


def test_a_disk_that_cannot_count_a_start_runs_what_is_known_to_be_good() -> None:
    machine = UpdateMachine(ON_PROBATION, LIMITS)
    machine.handle(was.Started(moment(0.0)))
    effects = machine.handle(was.StateUnwritten(message="full", durable=ON_PROBATION, begun=frozenset()))
    assert effects[0] == do.Run(OLD)
    retry = machine.next_due_seconds
    assert 0.0 < retry < float("inf")
    assert machine.handle(was.Tick(moment(retry - 1.0))) == ()
    again = machine.handle(was.Tick(moment(retry)))
    assert again == (do.WriteState(ON_PROBATION), do.Restart("the active release can be started"))
    assert (
        machine.handle(was.StateUnwritten(message="full", durable=ON_PROBATION, begun=frozenset({"main"})))
        == ()
    )
    assert machine.next_due_seconds > retry, "nothing is restarted before the disk works"


def test_a_release_that_was_activated_and_not_told_waits_for_the_disk_and_one_that_was_rolled_back_does_not() -> (
    None
):
    good = changed(ON_PROBATION, active=OLD, probation=None)
    for durable, restarts in ((ON_PROBATION, False), (good, True)):
        machine = UpdateMachine(good if not restarts else ON_PROBATION, LIMITS)
        machine.handle(was.Started(moment(0.0)))
        if restarts:
            machine.handle(was.RunFailed(code="engine", message="no"))
        else:
            machine.phase = "restarting"
        effects = machine.handle(
            was.StateUnwritten(message="full", durable=durable, begun=frozenset({"main"}))
        )
        assert any(isinstance(effect, do.Restart) for effect in effects) == restarts


def test_a_disk_that_could_not_take_the_delivered_artifact_is_asked_again() -> None:
    machine = UpdateMachine(UpdateState(), LIMITS)
    assert machine.handle(was.Started(moment(0.0))) == (do.TakeDelivered(),)
    effects = machine.handle(was.Undelivered(message="full"))
    assert effects[0] == do.RunDelivered()
    assert machine.handle(was.Tick(moment(machine.next_due_seconds))) == (do.TakeDelivered(),)
    assert machine.handle(was.Undelivered(message="full")) == (), "told once"
    assert machine.handle(was.Tick(moment(machine.next_due_seconds))) == (do.TakeDelivered(),)
    delivered = replace(OLD, counter=0)
    effects = machine.handle(was.DeliveredTaken(delivered))
    assert machine.state.main.active == machine.state.main.known_good == delivered
    assert effects == (do.WriteState(machine.state), do.Collect(machine.state.kept))
    assert machine.handle(was.Tick(moment(machine.next_due_seconds))) == (do.Check(),)


def test_a_window_in_which_nothing_happened_is_neither_good_nor_bad() -> None:
    evidence = Evidence(PROBATION, since_seconds=0.0, baseline_p95_seconds=None)
    bad = was.Observed(inferences=0, errors=3, p95_seconds=None)
    assert evidence.add(bad) == ""
    assert evidence.add(was.Observed(inferences=0, errors=0, p95_seconds=None)) == ""
    assert evidence.add(bad).startswith("inference_errors")


def test_what_failed_in_a_trial_is_not_tried_again_because_the_share_has_grown() -> None:
    machine = started()
    checked(machine, offer(is_in_trial=True))
    machine.handle(was.Fetched())
    machine.handle(was.TrialFailed(code="self_test", message="no"))
    machine.handle(was.Tick(moment(200.0)))
    assert told(machine.handle(offer(serial=9, since=8, is_in_trial=True))) == []
    assert (machine.state.desired_serial, machine.state.main.is_in_trial) == (9, True)
    machine.handle(was.Tick(moment(400.0)))
    assert told(machine.handle(offer(serial=10, since=10, is_in_trial=True))) == [("update_started", None)]


def test_a_trial_that_takes_the_device_down_is_counted_over_growing_shares() -> None:
    state = STATE
    for serial in (8, 9):
        machine = started(state)
        checked(machine, offer(serial=serial, since=8))
        machine.handle(was.Fetched())
        state = machine.state  # and the power goes
    assert told(checked(started(state), offer(serial=10, since=8))) == [("update_rejected", "crash_loop")]


COMMITTED = replace(
    changed(STATE, active=NEW, known_good=NEW, counter_floor=6, is_in_trial=True), desired_serial=9
)


def test_a_trial_that_is_taken_back_leads_to_what_the_others_run_and_the_floor_stays() -> None:
    machine = started(COMMITTED)
    machine.handle(was.Observed(inferences=10, errors=0, p95_seconds=0.001))
    seen = [*checked(machine, offer(OLD, serial=10, since=3, allow_downgrade=True))]
    seen += machine.handle(was.Fetched())
    seen += machine.handle(was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1))
    kinds = [type(one).__name__ for one in seen if not isinstance(one, do.WriteState | do.Tell | do.Collect)]
    assert kinds == ["Fetch", "Try", "Restart"], "to disagree with what is not wanted is no fault"
    probation = machine.state.main.probation
    assert probation is not None
    assert probation.baseline_p95_seconds is None, "nor is to be slower than it"
    after = started(decode(encode(machine.state), where="state"))
    after.handle(was.Observed(inferences=30, errors=0, p95_seconds=0.01))
    assert told(after.handle(was.Tick(moment(11.0)))) == [("update_committed", None)]
    assert (after.state.main.known_good, after.state.main.counter_floor, after.state.main.is_in_trial) == (
        OLD,
        6,
        False,
    )


def test_without_the_signed_permission_nothing_goes_back_and_with_it_an_earlier_refusal_is_lifted() -> None:
    machine = started(COMMITTED)
    assert told(checked(machine, offer(OLD, serial=10, since=3))) == [("update_rejected", "below_floor")]
    machine.handle(was.Tick(moment(200.0)))
    assert told(machine.handle(offer(OLD, serial=11, since=3))) == []
    machine.handle(was.Tick(moment(400.0)))
    allowed = offer(OLD, serial=12, since=3, allow_downgrade=True)
    assert told(machine.handle(allowed)) == [("update_started", None)]


def test_what_is_on_its_way_and_not_wanted_any_more_ends_without_being_held_against_it() -> None:
    machine = started()
    checked(machine, offer())
    machine.handle(was.FetchFailed(code="transfer", message="away"))
    machine.handle(was.Tick(moment(200.0)))
    assert told(machine.handle(offer(OLD, serial=9))) == [("update_rejected", "withdrawn")]
    assert machine.state.main.candidate is None
    assert not machine.state.main.has_rejected(NEW.digest, 8)
    third = replace(NEW, digest="sha256:" + "2" * 64, counter=7)
    machine.handle(was.Tick(moment(400.0)))
    machine.handle(offer(serial=10))
    machine.handle(was.FetchFailed(code="transfer", message="away"))
    machine.handle(was.Tick(moment(600.0)))
    assert told(machine.handle(offer(third, serial=11))) == [
        ("update_rejected", "withdrawn"),
        ("update_started", None),
    ]


def test_a_first_trial_that_is_taken_back_leads_to_what_was_delivered() -> None:
    machine = started(changed(COMMITTED, desired_digest=NEW.digest))
    machine.handle(was.Tick(moment(5.0)))
    effects = machine.handle(was.NothingDesired("a trial of nobody", 10))
    assert told(effects) == [("update_rolled_back", "withdrawn")]
    assert isinstance(effects[-1], do.Restart)
    assert (machine.state.main.active, machine.state.main.counter_floor, machine.state.desired_serial) == (
        None,
        6,
        10,
    )
    after = UpdateMachine(decode(encode(machine.state), where="state"), LIMITS)
    assert after.handle(was.Started(moment(0.0))) == (do.TakeDelivered(),)
    after.handle(was.DeliveredTaken(replace(OLD, counter=0)))
    after.handle(was.Tick(moment(5.0)))
    assert told(after.handle(was.NothingDesired("a trial of nobody", 10))) == []
    assert after.state.main.active == replace(OLD, counter=0)


def test_a_trial_of_others_and_nothing_else_is_followed_and_not_replayed() -> None:
    machine = started(COMMITTED)
    machine.handle(was.Tick(moment(5.0)))
    machine.handle(was.NothingDesired("a trial that this device is not in", 10))
    assert (
        machine.state.desired_serial,
        machine.state.main.desired_digest,
        machine.state.main.is_in_trial,
    ) == (
        10,
        "",
        False,
    )
    assert machine.state.main.active == NEW
    machine.handle(was.Tick(moment(400.0)))
    effects = machine.handle(was.NothingDesired("an older one", 9))
    assert told(effects) == [("update_postponed", "desired_replayed")]
