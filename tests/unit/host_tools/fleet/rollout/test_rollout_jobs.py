"""One job: what moves it, what ends it, and that nothing moves one that has ended."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout_world import BEGIN, NEW, OLD, PROFILE, RELEASE, artifact, device, plan, running

from device_agent.contract.telemetry.event import UPDATE_EVENTS
from host_tools.fleet.records.devices import Provides
from host_tools.fleet.records.jobs import ENDED_JOBS, Job
from host_tools.fleet.records.rollouts import PARTS_PER_MILLION, Rollout, Stage
from host_tools.fleet.rollout.jobs import Observation, canceled, expire, job_for, observe, retried

PLAN = plan(stages=(Stage(name="all", share_ppm=PARTS_PER_MILLION),))
JOB = Job(
    rollout="r1",
    device="d1",
    stage=0,
    state="scheduled",
    result="none",
    wanted=NEW,
    previous=OLD,
    reason="stage all has it.",
    created_seconds=BEGIN,
    changed_seconds=BEGIN,
)


def seen(event: str = "", *, after: float = 10.0, **more: object) -> Observation:
    return Observation(seconds=BEGIN + after, event=event, about=NEW if event else None, **more)  # type: ignore[arg-type]  # its fields


def begun() -> Rollout:
    rollout = running(PLAN)
    first = dataclasses.replace(rollout.stages[0], state="running", began_seconds=BEGIN)
    return dataclasses.replace(rollout, stages=(first,))


def test_an_update_as_the_device_tells_it() -> None:
    job, states = JOB, []
    for place, event in enumerate(UPDATE_EVENTS[:4]):
        job = observe(job, seen(event, after=10.0 * place))
        states.append((job.state, job.result))
    assert states == [
        ("download", "none"),
        ("downloaded", "none"),
        ("proceeding", "none"),
        ("closed", "success"),
    ]
    assert job.changed_seconds == BEGIN + 30
    assert job.heard_seconds == BEGIN


@pytest.mark.parametrize(
    ("event", "state"), [("update_rolled_back", "closed"), ("update_rejected", "rejected")]
)
def test_a_failure_in_the_devices_words(event: str, state: str) -> None:
    job = observe(JOB, seen(event, reason="golden sample 3 is off by 4 LSB"))
    assert (job.state, job.result, job.reason) == (state, "failure", "golden sample 3 is off by 4 LSB")


def test_what_it_runs_decides_when_events_are_lost() -> None:
    runs = observe(JOB, seen(running=NEW))
    assert (runs.state, runs.result) == ("proceeding", "none")
    assert observe(runs, seen(running=NEW, committed=True, after=20)).result == "success"
    back = observe(runs, seen(running=OLD, after=20))
    assert (back.state, back.result) == ("closed", "failure")
    assert "did not say why" in back.reason
    assert observe(JOB, seen(running=OLD, after=20)).state == "scheduled"
    restarts = observe(runs, seen(running=OLD, committed=False, after=20))
    assert restarts.state == "proceeding", "the old process ends while the release is on probation already"
    assert observe(restarts, seen(running=OLD, committed=True, after=30)).result == "failure"


def test_what_was_said_before_it_or_of_another_artifact_is_nothing() -> None:
    early = Observation(seconds=BEGIN - 1, event="update_rejected", about=NEW)
    assert observe(JOB, early) is JOB
    other = observe(JOB, Observation(seconds=BEGIN + 1, event="update_committed", about=OLD))
    assert other.state == "scheduled"
    assert other.heard_seconds == BEGIN + 1


def test_late_events_do_not_move_it_backwards() -> None:
    job = observe(JOB, seen("update_activated"))
    assert observe(job, seen("update_started", after=20)) == job


def test_a_postponed_update_keeps_its_state_and_says_why() -> None:
    job = observe(JOB, seen("update_postponed", reason="the clock is not set"))
    assert (job.state, job.reason) == ("scheduled", "the clock is not set")


@pytest.mark.parametrize(
    ("events", "runs", "silent", "after", "state", "result"),
    [
        ((), OLD, True, 86_399.0, "scheduled", "none"),
        ((), OLD, True, 86_400.0, "canceled", "none"),
        (("",), OLD, False, 3_599.0, "scheduled", "none"),
        (("",), OLD, False, 3_600.0, "closed", "failure"),
        (("",), OLD, True, 3_600.0, "canceled", "none"),
        (("update_started",), OLD, True, 3_600.0, "canceled", "none"),
        (("update_tried",), OLD, True, 3_600.0, "closed", "failure"),
        (("update_activated",), NEW, True, 3_600.0, "closed", "success"),
        (("update_tried",), NEW, True, 3_600.0, "closed", "success"),
    ],
)
def test_deadlines_end_every_job(
    events: tuple[str, ...], runs: str, silent: bool, after: float, state: str, result: str
) -> None:
    job = JOB
    for event in events:
        job = observe(job, seen(event, after=0.0))
    found = expire(
        job,
        PLAN,
        running=runs,
        last_seen_seconds=BEGIN if silent else BEGIN + after,
        now_seconds=BEGIN + after,
    )
    assert (found.state, found.result) == (state, result)
    assert found.reason
    never = expire(job, PLAN, running=None, last_seen_seconds=None, now_seconds=BEGIN + 1e9)
    assert never.state in ENDED_JOBS


def test_a_device_that_comes_back_after_weeks_has_its_own_time() -> None:
    long = dataclasses.replace(PLAN, absent_seconds=40 * 86_400.0)
    month = 30 * 86_400.0
    job = observe(JOB, seen(after=month))
    assert (
        expire(job, long, running=OLD, last_seen_seconds=BEGIN + month, now_seconds=BEGIN + month + 3_599)
        is job
    )
    assert observe(job, seen("update_committed", after=month + 3_000)).result == "success"


def test_a_job_is_made_for_devices_that_have_a_part_in_it() -> None:
    rollout = begun()
    job = job_for(rollout, RELEASE, device("d1"), BEGIN + 3)
    assert job is not None
    assert (job.wanted, job.previous, job.stage, job.created_seconds) == (NEW, OLD, 0, BEGIN + 3)
    away = (
        dataclasses.replace(device("d1"), state="revoked"),
        dataclasses.replace(device("d1"), group="other"),
        dataclasses.replace(device("d1"), provides=Provides(targets=("x86_64-openvino",))),
        dataclasses.replace(device("d1"), provides=Provides()),
    )
    assert [job_for(rollout, RELEASE, one, BEGIN) for one in away] == [None] * 4
    assert job_for(running(PLAN), RELEASE, device("d1"), BEGIN) is None
    assert job_for(dataclasses.replace(rollout, state="aborted"), RELEASE, device("d1"), BEGIN) is None


def test_mixed_hardware_gets_its_own_artifacts_best_first() -> None:
    other = "sha256:" + "7" * 64
    release = dataclasses.replace(
        RELEASE, artifacts={PROFILE: artifact(NEW), "x86_64-openvino": artifact(other)}
    )
    both = dataclasses.replace(device("d1"), provides=Provides(targets=("hailo", "x86_64-openvino", PROFILE)))
    job = job_for(begun(), release, both, BEGIN)
    assert job is not None
    assert job.wanted == other


def test_a_device_that_runs_it_already_has_succeeded() -> None:
    job = job_for(begun(), RELEASE, dataclasses.replace(device("d1"), artifact=NEW), BEGIN)
    assert job is not None
    assert (job.state, job.result) == ("closed", "success")


def test_a_retry_counts_and_leaves_success_alone() -> None:
    failed = observe(JOB, seen("update_rejected"))
    again = retried(failed, BEGIN + 99)
    assert (again.state, again.attempts, again.created_seconds) == ("scheduled", 2, BEGIN + 99)
    assert retried(again, BEGIN + 100) is again
    done = observe(JOB, seen("update_committed"))
    assert retried(done, BEGIN) is done
    assert retried(canceled(JOB, "stopped", BEGIN), BEGIN).attempts == 2


def test_words_of_a_device_do_not_grow_without_end() -> None:
    job = JOB
    for place in range(4):
        job = observe(job, seen("update_rejected", reason="x" * 1024, after=20.0 + place))
        job = retried(job, BEGIN)
    assert len(job.reason) <= 1024


observations = st.builds(
    Observation,
    seconds=st.floats(BEGIN - 100, BEGIN + 1e6),
    event=st.sampled_from(["", *UPDATE_EVENTS]),
    about=st.sampled_from([None, OLD, NEW]),
    running=st.sampled_from([None, OLD, NEW]),
    committed=st.sampled_from([None, True, False]),
    reason=st.sampled_from(["", "why"]),
)


@given(st.lists(observations, max_size=12), observations)
def test_a_job_only_goes_forward_and_stays_at_its_end(before: list[Observation], last: Observation) -> None:
    order = ("scheduled", "download", "downloaded", "proceeding")
    job = JOB
    for one in before:
        new = observe(job, one)
        assert observe(new, one) == new
        if job.state in ENDED_JOBS:
            assert new is job
        elif new.state not in ENDED_JOBS:
            assert order.index(new.state) >= order.index(job.state)
        assert (new.result != "none") <= (new.state in ENDED_JOBS)
        job = new
    if job.state in ENDED_JOBS:
        assert observe(job, last) is job
        assert expire(job, PLAN, running=NEW, last_seen_seconds=None, now_seconds=1e12) is job
        assert canceled(job, "no", 1e12) is job
