"""The life of a rollout, whatever people, devices and the clock do: what always holds, and that it always ends."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rollout_world import BEGIN, NEW, OLD, RELEASE, World, device, draft, finding

from host_tools.errors import InputError
from host_tools.fleet.records.gates import Gate
from host_tools.fleet.records.jobs import ENDED_JOBS, Job
from host_tools.fleet.records.rollouts import (
    ENDED_ROLLOUTS,
    PARTS_PER_MILLION,
    Rollout,
    RolloutPlan,
    ScheduleWindow,
    Stage,
)
from host_tools.fleet.rollout import jobs, orders
from host_tools.fleet.rollout.machine import RetryJobs, advance, standing
from host_tools.fleet.rollout.wanted import wanted
from host_tools.fleet.rollout.windows import next_opening

GATES = (Gate(measure="latency_p95", worst=0.1), Gate(measure="crashes", worst=0.05, required=True))
ORDERS = {
    one.__name__: one
    for one in (
        orders.submit,
        orders.approve,
        orders.approve_stage,
        orders.pause,
        orders.resume,
        orders.abort,
        orders.roll_back,
        orders.retry,
    )
}
WEEK = 7 * 86_400.0

stages = st.lists(
    st.tuples(st.integers(0, PARTS_PER_MILLION), st.booleans(), st.sampled_from([0.0, 600.0, 7200.0])),
    max_size=3,
).map(
    lambda drawn: (
        *(
            Stage(name=f"s{number}", share_ppm=share, needs_approval=asks, soak_seconds=soak)
            for number, (share, asks, soak) in enumerate(sorted(drawn, key=lambda one: one[0]))
        ),
        Stage(name="all", share_ppm=PARTS_PER_MILLION, error_ratio=0.3, success_ratio=0.5),
    )
)
plans = st.builds(
    RolloutPlan,
    id=st.sampled_from(["r1", "r2", "r3"]),
    release=st.just("m-2"),
    group=st.just("lab"),
    stages=stages,
    gates=st.sampled_from([(), GATES]),
    windows=st.sampled_from(
        [(), (ScheduleWindow(weekdays=frozenset({1, 3}), begin_seconds=72_000, end_seconds=14_400),)]
    ),
    needs_approval=st.booleans(),
    rolls_back=st.booleans(),
)


class RolloutLife(RuleBasedStateMachine):
    """People, devices, gates and the clock do what they like."""

    @initialize(plan=plans, devices=st.integers(0, 9))
    def begin(self, plan: RolloutPlan, devices: int) -> None:
        self.world = World(draft(plan), devices)
        self.ended: dict[str, Job] = {}
        self.share = 0
        self.last = self.world.rollout

    @rule(seconds=st.sampled_from([1.0, 60.0, 700.0, 7200.0, 90_000.0, 3 * WEEK]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        paused = self.world.rollout.state == "paused"
        begun = _begun(self.world.rollout)
        before = self.world.rollout
        found = self.world.tick()
        if paused:
            assert _begun(found.rollout) == begun
        if found.rollout != before:
            assert found.said
            assert all(one.reason for one in found.said)
        else:
            assert not found.steps
        assert _begun(found.rollout) - begun <= 1

    @rule()
    def a_tick_is_repeated(self) -> None:
        """As after a kill: what was stored is asked again, and its steps are done once more."""
        world = self.world
        world.meet()
        before = (world.rollout, dict(world.jobs))
        again = advance(world.rollout, world.counts(), world.findings, world.now)
        if again.rollout == world.rollout:
            assert not again.steps
            assert not again.said
        world.run(standing(world.rollout))
        assert (world.rollout, world.jobs) == before

    @rule(name=st.sampled_from(sorted(ORDERS)))
    def a_person_orders(self, name: str) -> None:
        world = self.world
        try:
            found = ORDERS[name](world.rollout, "ann", world.now)
        except InputError as refused:
            assert world.rollout.plan.id in str(refused)
            assert refused.hint
            return
        assert world.rollout.state not in ENDED_ROLLOUTS
        assert "ann" in found.said[0].reason
        if any(isinstance(one, RetryJobs) for one in found.steps):
            self.ended = {name: job for name, job in self.ended.items() if job.result == "success"}
        world.take(found)

    @precondition(lambda self: self.world.devices)
    @rule(
        data=st.data(),
        event=st.sampled_from(
            ["started", "tried", "activated", "committed", "rolled_back", "rejected", "postponed", ""]
        ),
    )
    def a_device_speaks(self, data: st.DataObject, event: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.devices)))
        runs = NEW if event in ("activated", "committed") else OLD
        self.world.hears(name, f"update_{event}" if event else "", running=runs)

    @rule()
    def a_device_is_added(self) -> None:
        name = f"d{len(self.world.devices)}"
        self.world.devices[name] = device(name)

    @rule(
        outcome=st.sampled_from(["passed", "undecided", "not_measured", "passed", "failed"]),
        estimate=st.sampled_from([0.0, 0.2]),
    )
    def gates_find(self, outcome: str, estimate: float) -> None:
        gates = self.world.rollout.plan.gates
        self.world.findings = [finding(gate, outcome, estimate) for gate in gates]

    @invariant()
    def ended_rollouts_stay(self) -> None:
        if self.last.state in ENDED_ROLLOUTS:
            assert self.world.rollout == self.last
        self.last = self.world.rollout

    @invariant()
    def ended_jobs_stay_and_none_is_there_twice(self) -> None:
        for name, job in self.world.jobs.items():
            assert job.device == name
            if name in self.ended:
                assert job == self.ended[name]
            elif job.state in ENDED_JOBS:
                self.ended[name] = job
            assert (job.result == "none") or job.state in ENDED_JOBS
            assert job.reason

    @invariant()
    def what_has_ended_has_no_open_jobs(self) -> None:
        if self.world.rollout.state in (*ENDED_ROLLOUTS, "rolling_back"):
            assert all(job.state in ENDED_JOBS for job in self.world.jobs.values())

    @invariant()
    def a_share_shrinks_only_when_it_is_taken_back(self) -> None:
        said = wanted(self.world.rollout, RELEASE)
        if self.world.rollout.state in ("rolling_back", "rolled_back"):
            assert said.trial is None
            assert said.allow_downgrade
            return
        share = PARTS_PER_MILLION if self.world.rollout.state == "finished" else 0
        if said.trial is not None:
            share = said.trial.share_ppm
        assert share >= self.share
        self.share = share

    def teardown(self) -> None:
        """People approve and resume, nobody else does anything: it ends, and so does every job."""
        world = self.world
        for _ in range(8 * len(world.rollout.stages) + 8):
            for name in ("submit", "approve", "approve_stage", "resume"):
                try:
                    world.take(ORDERS[name](world.rollout, "ann", world.now))
                except InputError:
                    continue
            world.now = next_opening(world.rollout.plan.windows, world.now + WEEK / 2)
            world.tick()
            self.ended_rollouts_stay()
        assert world.rollout.state in ENDED_ROLLOUTS
        assert all(job.state in ENDED_JOBS for job in world.jobs.values())
        assert world.now > BEGIN
        for job in world.jobs.values():
            late = jobs.Observation(seconds=world.now, event="update_rejected", about=NEW, running=OLD)
            assert jobs.observe(job, late) == job


def _begun(rollout: Rollout) -> int:
    return sum(one.began_seconds is not None for one in rollout.stages)


TestRolloutLife = RolloutLife.TestCase
TestRolloutLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
