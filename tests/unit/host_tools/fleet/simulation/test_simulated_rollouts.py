"""Rollouts of simulated groups: good releases go through, bad ones are stopped, and the counts are those of the jobs."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.fleet.records.jobs import ENDED_JOBS, Job
from host_tools.fleet.records.rollouts import PARTS_PER_MILLION, RolloutPlan, Stage
from host_tools.fleet.rollout import jobs
from host_tools.fleet.rollout.plan_file import DEFAULT_GATES
from host_tools.fleet.simulation.candidate import GOOD, Candidate
from host_tools.fleet.simulation.ledger import Ledger
from host_tools.fleet.simulation.rollout import simulate_rollout

PLAN = RolloutPlan(
    id="r1",
    release="simulated-2",
    group="lab",
    stages=(
        Stage(name="canary", share_ppm=200_000, success_ratio=0.7, soak_seconds=1_800.0),
        Stage(name="all", share_ppm=PARTS_PER_MILLION, success_ratio=0.7, soak_seconds=600.0),
    ),
    gates=DEFAULT_GATES,
)


@pytest.mark.parametrize(
    ("candidate", "measure"),
    [
        (Candidate(slower=0.4), "latency_p50"),
        (Candidate(disagreeing=0.1), "output_agreement"),
        (Candidate(crash_share=0.3, crashes_per_hour=6.0), "crashes"),
        (Candidate(hungrier=0.6), "energy_per_inference"),
    ],
)
def test_a_bad_release_is_stopped_by_its_gate_in_the_canary_stage(candidate: Candidate, measure: str) -> None:
    found = simulate_rollout(3, PLAN, devices=150, candidate=candidate)
    assert found.rollout.state == "rolled_back"
    assert found.stopped_stage == 0
    assert measure in [one.gate.measure for one in found.findings if one.outcome == "failed"]
    assert found.had_candidate < 60
    assert found.counts[1].total == 0
    assert found.counts[0].open == 0


def test_a_good_release_goes_through_and_the_same_seed_is_the_same_rollout() -> None:
    found = simulate_rollout(4, PLAN, devices=150)
    assert found.rollout.state == "finished"
    assert found.stopped_stage is None
    assert found.have_candidate > 120
    assert found == simulate_rollout(4, PLAN, devices=150, candidate=GOOD)


def test_without_gates_only_failed_updates_stop_it() -> None:
    plan = dataclasses.replace(PLAN, gates=())
    assert simulate_rollout(5, plan, devices=80, candidate=Candidate(slower=0.4)).rollout.state == "finished"
    crashing = Candidate(crash_share=0.5, crashes_per_hour=60.0)
    stopped = simulate_rollout(5, plan, devices=80, candidate=crashing)
    assert stopped.rollout.state == "rolled_back"
    assert "failed" in stopped.rollout.reason


states = st.tuples(st.integers(0, 30), st.sampled_from(["hear", "commit", "reject", "cancel", "retry"]))


@given(st.lists(states, max_size=60))
def test_counts_are_those_of_the_jobs(acts: list[tuple[int, str]]) -> None:
    ledger, kept = Ledger(3), dict[str, Job]()
    for place, act in acts:
        name = f"d{place}"
        job = kept.get(name) or Job(
            rollout="r1",
            device=name,
            stage=place % 3,
            state="scheduled",
            result="none",
            wanted="n",
            previous=None,
        )
        if act == "cancel":
            job = jobs.canceled(job, "no", 1.0)
        elif act == "retry":
            job = jobs.retried(job, 2.0)
        else:
            event = {"hear": "", "commit": "update_committed", "reject": "update_rejected"}[act]
            job = jobs.observe(job, jobs.Observation(seconds=3.0, event=event, about="n" if event else None))
        kept[name] = job
        ledger.put(job)
    results = {"success": "succeeded", "failure": "failed", "none": "canceled"}
    for stage, count in enumerate(ledger.counts()):
        mine = [job for job in kept.values() if job.stage == stage]
        ended = Counter(results[job.result] for job in mine if job.state in ENDED_JOBS)
        still = [job for job in mine if job.state not in ENDED_JOBS]
        assert (count.total, count.open) == (len(mine), len(still))
        assert count.absent == sum(job.heard_seconds is None for job in still)
        assert (count.succeeded, count.failed, count.canceled) == tuple(
            ended[one] for one in results.values()
        )
    assert {job.device for job in ledger.open_jobs()} == {
        name for name, job in kept.items() if job.state not in ENDED_JOBS
    }
    assert len(ledger) == len(kept)
