"""A group of devices and one rollout in it, in memory: what the store and the devices would do with steps."""

from __future__ import annotations

import dataclasses
from collections import Counter

from host_tools.fleet.records.devices import Device, Provides
from host_tools.fleet.records.gates import Gate, GateFinding
from host_tools.fleet.records.jobs import ENDED_JOBS, Job, JobCounts
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.fleet.records.rollouts import PARTS_PER_MILLION, Rollout, RolloutPlan, Stage, StageProgress
from host_tools.fleet.rollout import jobs
from host_tools.fleet.rollout.machine import Advance, CancelJobs, OfferTo, RetryJobs, Step, advance

PROFILE = "cortex-a-tflite"
OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
BEGIN = 1_785_715_200.0
"""A Monday, midnight UTC."""


def artifact(digest: str) -> ReleasedArtifact:
    return ReleasedArtifact(path=f"models/m/{digest[7:9]}.ewa", digest=digest, size_bytes=1)


RELEASE = Release(
    id="m-2",
    model="m",
    version="2",
    counter=2,
    artifacts={PROFILE: artifact(NEW)},
    created_by="ann",
    created_seconds=BEGIN,
)


def plan(**changes: object) -> RolloutPlan:
    made = RolloutPlan(
        id="r1",
        release="m-2",
        group="lab",
        stages=(
            Stage(name="canary", share_ppm=300_000, soak_seconds=600.0),
            Stage(name="all", share_ppm=PARTS_PER_MILLION, soak_seconds=600.0),
        ),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # fields of a plan


def draft(of: RolloutPlan) -> Rollout:
    return Rollout(
        plan=of,
        previous={PROFILE: artifact(OLD)},
        state="draft",
        stages=tuple(StageProgress() for _ in of.stages),
        created_by="ann",
        created_seconds=BEGIN,
        changed_seconds=BEGIN,
    )


def running(of: RolloutPlan) -> Rollout:
    return dataclasses.replace(draft(of), state="running")


def device(name: str) -> Device:
    return Device(id=name, group="lab", provides=Provides(targets=(PROFILE,)), artifact=OLD)


def finding(gate: Gate, outcome: str, estimate: float | None = None) -> GateFinding:
    return GateFinding(
        gate=gate,
        outcome=outcome,  # type: ignore[arg-type]  # an outcome
        devices=9,
        estimate=estimate,
        text=f"{gate.measure}: {outcome}.",
    )


class World:
    """Devices, jobs and the rollout; `run` does what steps ask, as a store would."""

    def __init__(self, rollout: Rollout, devices: int) -> None:
        self.rollout = rollout
        self.now = BEGIN
        self.devices = {f"d{number}": device(f"d{number}") for number in range(devices)}
        self.jobs: dict[str, Job] = {}
        self.findings: list[GateFinding] = []
        self.said: list[str] = []

    def counts(self) -> list[JobCounts]:
        found = [Counter[str]() for _ in self.rollout.stages]
        for job in self.jobs.values():
            one = found[job.stage]
            one["total"] += 1
            if job.state not in ENDED_JOBS:
                one["open"] += 1
                one["absent"] += job.heard_seconds is None
            else:
                one[{"success": "succeeded", "failure": "failed", "none": "canceled"}[job.result]] += 1
            one["holding"] += self.devices[job.device].artifact == job.wanted
        return [JobCounts(**one) for one in found]

    def tick(self) -> Advance:
        self.meet()
        for name, job in self.jobs.items():
            there = self.devices[name]
            self.jobs[name] = jobs.expire(
                job,
                self.rollout.plan,
                running=there.artifact,
                last_seen_seconds=there.last_seen_seconds,
                now_seconds=self.now,
            )
        return self.take(advance(self.rollout, self.counts(), self.findings, self.now))

    def take(self, found: Advance) -> Advance:
        self.rollout = found.rollout
        self.said += [one.reason for one in found.said]
        self.run(found.steps)
        return found

    def run(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if isinstance(step, OfferTo):
                self.meet()
            elif isinstance(step, CancelJobs):
                self.jobs = {
                    name: jobs.canceled(job, step.reason, self.now) for name, job in self.jobs.items()
                }
            elif isinstance(step, RetryJobs):
                for name, job in self.jobs.items():
                    if job.created_seconds < step.before_seconds:
                        self.jobs[name] = jobs.retried(job, self.now)

    def meet(self) -> None:
        """Make the jobs that are missing, while the rollout is on."""
        if self.rollout.state not in ("running", "paused"):
            return
        for name, one in self.devices.items():
            if name not in self.jobs:
                made = jobs.job_for(self.rollout, RELEASE, one, self.now)
                if made is not None:
                    self.jobs[name] = made

    def hears(
        self, name: str, event: str = "", *, running: str | None = None, committed: bool | None = None
    ) -> None:
        there = self.devices[name]
        self.devices[name] = dataclasses.replace(
            there, artifact=running or there.artifact, last_seen_seconds=self.now
        )
        if name in self.jobs:
            seen = jobs.Observation(
                seconds=self.now,
                event=event,
                about=NEW if event else None,
                running=running,
                committed=committed,
            )
            self.jobs[name] = jobs.observe(self.jobs[name], seen)

    def succeed(self, *names: str) -> None:
        for name in names or tuple(self.jobs):
            self.hears(name, "update_committed", running=NEW)
