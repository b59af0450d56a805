"""Single steps of a rollout: what begins, passes, waits, stops, asks, and is taken back, and why."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout_world import (
    BEGIN,
    NEW,
    OLD,
    PROFILE,
    RELEASE,
    World,
    artifact,
    device,
    draft,
    finding,
    plan,
    running,
)

from device_agent.contract.desired import belongs
from host_tools.errors import InputError
from host_tools.fleet.records.gates import Gate, GateFinding
from host_tools.fleet.records.jobs import JobCounts
from host_tools.fleet.records.releases import ReleasedArtifact
from host_tools.fleet.records.rollouts import (
    PARTS_PER_MILLION,
    RolloutPlan,
    RolloutState,
    ScheduleWindow,
    Stage,
)
from host_tools.fleet.rollout import orders
from host_tools.fleet.rollout.machine import (
    Advance,
    CancelJobs,
    OfferTo,
    RetryJobs,
    Settle,
    TakeBack,
    advance,
    standing,
)
from host_tools.fleet.rollout.wanted import stage_of, wanted
from host_tools.fleet.rollout.windows import is_open, next_opening

GATE = Gate(measure="latency_p95", worst=0.1)
NONE = JobCounts()


def begun(of: RolloutPlan) -> World:
    """Return a world in whose rollout the first stage has begun."""
    world = World(running(of), 0)
    found = world.tick()
    assert [type(one) for one in found.steps] == [OfferTo]
    return world


def at(world: World, seconds: float, count: JobCounts, *findings: GateFinding) -> Advance:
    """Ask the machine later, with these jobs in the first stage."""
    return advance(
        world.rollout,
        [count, *[NONE] * (len(world.rollout.stages) - 1)],
        findings,
        world.now + seconds,
    )


def test_a_good_rollout_goes_stage_by_stage_to_its_end() -> None:
    world = World(running(plan()), 10)
    first = world.tick()
    assert first.steps == (OfferTo(stage=0, share_ppm=300_000, devices=()),)
    canaries = sorted(world.jobs)
    assert 0 < len(canaries) < 10
    world.succeed()
    world.now += 599
    assert world.tick().steps == ()
    world.now += 1
    second = world.tick()
    assert second.steps == (OfferTo(stage=1, share_ppm=PARTS_PER_MILLION, devices=()),)
    assert [one.action for one in second.said] == ["rollout.stage_passed", "rollout.stage_began"]
    assert len(world.jobs) == 10
    world.succeed()
    world.now += 600
    last = world.tick()
    assert [type(one) for one in last.steps] == [Settle, CancelJobs]
    assert world.rollout.state == "finished"
    assert wanted(world.rollout, RELEASE).artifacts[PROFILE].digest == NEW
    assert wanted(world.rollout, RELEASE).trial is None


def test_failures_stop_it_and_take_it_back() -> None:
    world = World(running(plan()), 20)
    world.tick()
    names = sorted(world.jobs)
    world.hears(names[0], "update_committed", running=NEW)
    world.hears(names[1], "update_rejected", running=OLD)
    stopped = world.tick()
    assert [type(one) for one in stopped.steps] == [TakeBack, CancelJobs]
    assert stopped.said[0].figures["failed"] == 1
    assert world.rollout.stages[0].state == "stopped"
    said = wanted(world.rollout, RELEASE)
    assert (said.artifacts[PROFILE].digest, said.trial, said.allow_downgrade) == (OLD, None, True)
    assert world.tick().rollout.state == "rolling_back"
    world.hears(names[0], running=OLD)
    assert world.tick().rollout.state == "rolled_back"


def test_what_is_new_for_a_profile_is_taken_back_too() -> None:
    rolled = orders.roll_back(running(plan()), "ann", BEGIN).rollout
    fresh = ReleasedArtifact(path="models/m/m-2-new.ewa", digest="sha256:" + "7" * 64, size_bytes=1)
    said = wanted(rolled, dataclasses.replace(RELEASE, artifacts={**RELEASE.artifacts, "new-board": fresh}))
    assert said.artifacts[PROFILE].digest == OLD
    assert said.trial is not None
    assert (set(said.trial.artifacts), said.trial.share_ppm, said.trial.devices) == ({"new-board"}, 0, ())


def test_a_device_that_never_goes_back_holds_nothing_up() -> None:
    world = World(orders.roll_back(running(plan()), "ann", BEGIN).rollout, 0)
    holding = [JobCounts(total=1, succeeded=1, holding=1), NONE]
    day = world.rollout.plan.absent_seconds
    assert advance(world.rollout, holding, (), BEGIN + day - 1).rollout.state == "rolling_back"
    late = advance(world.rollout, holding, (), BEGIN + day)
    assert late.rollout.state == "rolled_back"
    assert "1 device had not said so" in late.rollout.reason


def test_a_plan_that_does_not_roll_back_leaves_it_where_it_is() -> None:
    world = begun(plan(rolls_back=False, gates=(GATE,)))
    stopped = at(world, 60, JobCounts(total=9, succeeded=9), finding(GATE, "failed", 0.4))
    assert stopped.rollout.state == "aborted"
    assert [type(one) for one in stopped.steps] == [CancelJobs]
    said = wanted(stopped.rollout, RELEASE)
    assert said.trial is not None
    assert said.trial.share_ppm == 300_000


def test_a_group_that_had_nothing_has_nothing_to_go_back_to() -> None:
    world = begun(plan(gates=(GATE,)))
    first = dataclasses.replace(world.rollout, previous={})
    stopped = advance(first, [NONE, NONE], (finding(GATE, "failed", 0.4),), world.now)
    assert stopped.rollout.state == "aborted"
    with pytest.raises(InputError, match="had no artifact before") as refused:
        orders.roll_back(first, "ann", world.now)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("count", "seconds", "state", "reason"),
    [
        (JobCounts(total=10, open=1, succeeded=9), 600, "passed", "9 of 10 devices"),
        (JobCounts(total=10, open=2, succeeded=8), 600, "running", ""),
        (JobCounts(total=10, open=2, absent=2, succeeded=8), 86_399, "running", ""),
        (JobCounts(total=10, open=2, absent=2, succeeded=8), 86_400, "passed", "8 of 8 devices"),
        (JobCounts(total=10, canceled=2, succeeded=8), 600, "passed", "2 absent or canceled"),
        (JobCounts(total=30, failed=2, succeeded=20, open=8, absent=8), 86_400, "passed", "20 of 22"),
        (JobCounts(total=10, open=10, absent=10), 86_399, "running", ""),
        (JobCounts(total=10, open=10, absent=10), 86_400, "awaiting_approval", "none of its 10"),
        (JobCounts(total=10, canceled=10), 600, "awaiting_approval", "every job of its 10 devices was"),
        (JobCounts(), 600, "passed", "no device"),
        (JobCounts(total=40, succeeded=2, failed=3, canceled=5, open=30), 600, "running", ""),
        (
            JobCounts(total=33, succeeded=26, failed=3, open=4, absent=4),
            86_400,
            "stopped",
            "cannot be reached",
        ),
    ],
)
def test_what_becomes_of_a_stage(count: JobCounts, seconds: float, state: str, reason: str) -> None:
    world = begun(plan())
    stage = at(world, seconds, count).rollout.stages[0]
    assert stage.state == state
    if reason:
        assert reason in stage.reason


def test_the_last_stage_waits_for_devices_that_are_at_it_and_for_none_that_are_absent() -> None:
    world = begun(plan(stages=(Stage(name="all", share_ppm=PARTS_PER_MILLION),)))
    assert at(world, 900, JobCounts(total=20, succeeded=19, open=1)).rollout.state == "running"
    assert at(world, 900, JobCounts(total=20, succeeded=19, open=1, absent=1)).rollout.state == "finished"


def test_failures_of_earlier_stages_count_with_those_of_the_stage() -> None:
    rollout = running(plan())
    passed = dataclasses.replace(rollout.stages[0], state="passed", began_seconds=BEGIN)
    now = dataclasses.replace(rollout.stages[1], state="running", began_seconds=BEGIN)
    rollout = dataclasses.replace(rollout, stages=(passed, now))
    counts = [JobCounts(total=20, succeeded=15, failed=5), JobCounts(total=30, open=30)]
    found = advance(rollout, counts, (), BEGIN)
    assert found.rollout.state == "rolling_back"
    assert "all stages so far" in found.rollout.reason


DONE = JobCounts(total=20, succeeded=20)


@pytest.mark.parametrize(
    ("outcome", "estimate", "required", "verdict"),
    [
        ("passed", 0.0, True, "passed"),
        ("undecided", 0.05, False, "passed"),
        ("undecided", 0.05, True, "running"),
        ("undecided", 0.2, False, "running"),
        ("not_measured", None, False, "passed"),
        ("not_measured", None, True, "running"),
        ("failed", 0.4, False, "stopped"),
    ],
)
def test_a_gate_at_the_end_of_a_stage(
    outcome: str, estimate: float | None, required: bool, verdict: str
) -> None:
    gate = dataclasses.replace(GATE, required=required)
    world = begun(plan(gates=(gate,)))
    found = at(world, 600, DONE, finding(gate, outcome, estimate))
    assert found.rollout.stages[0].state == verdict
    if verdict == "passed":
        assert "latency_p95" in found.rollout.stages[0].reason


def test_a_gate_without_a_finding_is_not_measured() -> None:
    gate = dataclasses.replace(GATE, required=True)
    world = begun(plan(gates=(gate,)))
    assert at(world, 600, DONE).rollout.stages[0].state == "running"
    asked = at(world, 600 + 86_400, DONE)
    assert "not measured" in asked.rollout.reason


def test_a_stage_that_waits_too_long_for_a_gate_asks_and_a_person_decides() -> None:
    world = begun(plan(gates=(GATE,)))
    unsure = finding(GATE, "undecided", 0.2)
    asked = at(world, 600 + 86_400, DONE, unsure)
    assert asked.rollout.state == "paused"
    assert asked.rollout.stages[0].state == "awaiting_approval"
    assert asked.said[0].figures["gate"] == "latency_p95"
    now = world.now + 90_000
    approved = orders.approve_stage(asked.rollout, "bob", now)
    assert approved.rollout.stages[0].approved_by == "bob"
    assert "bob let it pass, although" in approved.rollout.stages[0].reason
    assert approved.steps == (OfferTo(stage=1, share_ppm=PARTS_PER_MILLION, devices=()),)
    resumed = orders.resume(asked.rollout, "bob", now).rollout
    assert resumed.stages[0].state == "running"
    assert advance(resumed, [DONE, NONE], (unsure,), now + 86_399).rollout.state == "running"
    assert advance(resumed, [DONE, NONE], (unsure,), now + 86_400).rollout.state == "paused"


def test_a_person_who_lets_the_last_stage_pass_finishes_it() -> None:
    world = begun(plan(stages=(Stage(name="all", share_ppm=PARTS_PER_MILLION),), gates=(GATE,)))
    asked = at(world, 600 + 86_400, DONE, finding(GATE, "undecided", 0.2))
    done = orders.approve_stage(asked.rollout, "bob", world.now)
    assert (done.rollout.state, done.steps[0]) == ("finished", Settle())


def test_a_paused_rollout_passes_nothing_and_is_still_stopped() -> None:
    world = begun(plan(gates=(GATE,)))
    paused = orders.pause(world.rollout, "ann", world.now).rollout
    assert advance(paused, [DONE, NONE], (), world.now + 9e5) == Advance(rollout=paused)
    stopped = advance(paused, [DONE, NONE], (finding(GATE, "failed", 0.4),), world.now)
    assert stopped.rollout.state == "rolling_back"


def test_a_stage_that_needs_approval_waits_for_it() -> None:
    stages = (Stage(name="all", share_ppm=PARTS_PER_MILLION, needs_approval=True),)
    rollout = running(plan(stages=stages))
    asks = advance(rollout, [NONE], (), BEGIN)
    assert asks.rollout.stages[0].state == "awaiting_approval"
    assert asks.said[0].action == "rollout.stage_awaits_approval"
    assert advance(asks.rollout, [NONE], (), BEGIN + 1) == Advance(rollout=asks.rollout)
    approved = orders.approve_stage(asks.rollout, "bob", BEGIN).rollout
    began = advance(approved, [NONE], (), BEGIN)
    assert began.rollout.stages[0].began_seconds == BEGIN
    assert "bob approved it" in began.said[0].reason


def test_stages_begin_in_windows_only() -> None:
    window = ScheduleWindow(weekdays=frozenset({0}), begin_seconds=3600, end_seconds=7200)
    rollout = running(plan(windows=(window,)))
    assert advance(rollout, [NONE, NONE], (), BEGIN).steps == ()
    assert advance(rollout, [NONE, NONE], (), BEGIN + 3600).steps != ()


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [(3600, 7200, {1}), (79_200, 7200, {22, 23, 24, 25}), (0, 86_400, set(range(24)))],
)
def test_windows_open_and_close(begin: int, end: int, hours: set[int]) -> None:
    """Monday's windows; hours count from Monday's midnight, and one that ends on the day after is Monday's still."""
    window = ScheduleWindow(weekdays=frozenset({0}), begin_seconds=begin, end_seconds=end)
    week = {hour for hour in range(168) if is_open((window,), BEGIN + 3600 * hour + 1)}
    assert week == hours
    for hour in range(168):
        opens = next_opening((window,), BEGIN + 3600.0 * hour)
        assert is_open((window,), opens)
        assert opens - BEGIN - 3600 * hour <= 7 * 86_400
    assert is_open((), BEGIN)


def test_a_device_belongs_to_the_first_stage_that_has_it() -> None:
    stages = (
        Stage(name="named", share_ppm=0, devices=("d3",)),
        Stage(name="half", share_ppm=500_000, devices=("d4",)),
        Stage(name="all", share_ppm=PARTS_PER_MILLION),
    )
    rollout = running(plan(stages=stages))
    assert {stage_of(rollout, f"d{number}") for number in range(30)} == {None}
    began = dataclasses.replace(rollout.stages[0], state="running", began_seconds=BEGIN)
    rollout = dataclasses.replace(rollout, stages=(began, *rollout.stages[1:]))
    assert [
        name for name in (f"d{number}" for number in range(30)) if stage_of(rollout, name) is not None
    ] == ["d3"]
    rollout = dataclasses.replace(rollout, stages=(began, began, began))
    found = [stage_of(rollout, f"d{number}") for number in range(200)]
    assert found[3] == 0
    assert found[4] == 1
    assert 60 < found.count(1) < 140
    assert None not in found
    said = wanted(rollout, RELEASE)
    assert said.trial is not None
    assert said.trial.devices == ("d3", "d4")


@given(device=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), share=st.integers(1, PARTS_PER_MILLION))
def test_server_and_device_agree_on_who_belongs(device: str, share: int) -> None:
    stages = (
        Stage(name="some", share_ppm=share, devices=("d7",)),
        Stage(name="all", share_ppm=PARTS_PER_MILLION),
    )
    rollout = running(plan(stages=stages))
    began = dataclasses.replace(rollout.stages[0], state="running", began_seconds=BEGIN)
    rollout = dataclasses.replace(rollout, stages=(began, rollout.stages[1]))
    trial = wanted(rollout, RELEASE).trial
    assert trial is not None
    for name in (device, "d7"):
        assert belongs(trial, name) == (stage_of(rollout, name) == 0)


def test_a_release_that_lacks_a_profile_leaves_what_was_there() -> None:
    rollout = dataclasses.replace(
        draft(plan()), previous={PROFILE: artifact(OLD), "x86_64-openvino": artifact(OLD)}, state="finished"
    )
    assert set(wanted(rollout, RELEASE).artifacts) == {PROFILE, "x86_64-openvino"}
    nothing = dataclasses.replace(draft(plan()), previous={})
    assert wanted(nothing, RELEASE).artifacts == {}


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        ("draft", ()),
        ("finished", (Settle, CancelJobs)),
        ("rolled_back", (TakeBack, CancelJobs)),
        ("aborted", (CancelJobs,)),
        ("running", (OfferTo,)),
        ("paused", (OfferTo,)),
    ],
)
def test_what_must_stand_in_a_state(state: RolloutState, steps: tuple[type, ...]) -> None:
    world = begun(plan())
    rollout = dataclasses.replace(world.rollout, state=state)
    if state == "draft":
        rollout = draft(plan())
    assert tuple(type(one) for one in standing(rollout)) == steps


def test_counts_of_another_plan_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2, one a stage, got 1"):
        advance(running(plan()), [NONE], (), BEGIN)


STATES: tuple[RolloutState, ...] = (
    "draft",
    "awaiting_approval",
    "running",
    "paused",
    "rolling_back",
    "finished",
    "rolled_back",
    "aborted",
)


@pytest.mark.parametrize(
    ("order", "allowed"),
    [
        (orders.submit, {"draft": "awaiting_approval"}),
        (orders.approve, {"awaiting_approval": "running"}),
        (orders.pause, {"running": "paused"}),
        (orders.resume, {"paused": "running"}),
        (orders.abort, dict.fromkeys(("draft", "awaiting_approval", "running", "paused"), "aborted")),
        (orders.roll_back, dict.fromkeys(("running", "paused"), "rolling_back")),
    ],
)
def test_orders_do_what_their_state_allows_and_are_refused_else(
    order: object, allowed: dict[str, str]
) -> None:
    assert callable(order)
    for state in STATES:
        rollout = dataclasses.replace(draft(plan(needs_approval=True)), state=state)
        if state in allowed:
            found = order(rollout, "ann", BEGIN + 5)
            assert found.rollout.state == allowed[state]
            assert found.rollout.changed_seconds == BEGIN + 5
            assert "ann" in found.rollout.reason
            continue
        with pytest.raises(InputError, match=f"got {state}") as refused:
            order(rollout, "ann", BEGIN)
        assert refused.value.hint


def test_a_plan_without_approval_runs_when_it_is_submitted() -> None:
    assert orders.submit(draft(plan()), "ann", BEGIN).rollout.state == "running"


def test_a_stage_that_does_not_wait_cannot_be_approved() -> None:
    with pytest.raises(InputError, match="no stage awaits approval"):
        orders.approve_stage(running(plan()), "ann", BEGIN)
    with pytest.raises(InputError, match="got finished"):
        orders.approve_stage(dataclasses.replace(draft(plan()), state="finished"), "ann", BEGIN)


def test_a_retry_begins_failed_jobs_anew_once() -> None:
    world = World(running(plan(stages=(Stage(name="all", share_ppm=PARTS_PER_MILLION, error_ratio=0.9),))), 4)
    with pytest.raises(InputError, match="no stage has begun"):
        orders.retry(world.rollout, "ann", world.now)
    world.tick()
    world.hears("d0", "update_rejected", running=OLD)
    world.hears("d1", "update_committed", running=NEW)
    world.now += 5
    found = world.take(orders.retry(world.rollout, "ann", world.now))
    assert [type(one) for one in found.steps] == [OfferTo, RetryJobs]
    job = world.jobs["d0"]
    assert (job.state, job.attempts, job.heard_seconds) == ("scheduled", 2, None)
    assert world.jobs["d1"].attempts == 1
    world.hears("d0", "update_rejected", running=OLD)
    world.run(found.steps)
    assert world.jobs["d0"].state == "rejected"
    with pytest.raises(InputError, match="got finished"):
        orders.retry(dataclasses.replace(world.rollout, state="finished"), "ann", world.now)


def test_a_device_added_in_the_middle_gets_a_job_with_its_stage() -> None:
    world = World(running(plan(stages=(Stage(name="all", share_ppm=PARTS_PER_MILLION),))), 2)
    world.tick()
    world.devices["late"] = device("late")
    world.now += 700
    world.succeed("d0", "d1")
    world.tick()
    assert world.jobs["late"].stage == 0
    assert world.jobs["late"].created_seconds == world.now
