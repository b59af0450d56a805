"""`simulate_rollout`: one rollout from its first minute to its end, through the machine, jobs and gates that real ones go through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.fleet.records.rollouts import ENDED_ROLLOUTS, Rollout, RolloutPlan
from host_tools.fleet.rollout import jobs, orders
from host_tools.fleet.rollout.gates import Crashes, judge
from host_tools.fleet.rollout.machine import Advance, CancelJobs, OfferTo, TakeBack, advance
from host_tools.fleet.rollout.wanted import last_begun
from host_tools.fleet.simulation.candidate import GOOD, Candidate
from host_tools.fleet.simulation.fixtures import (
    BEGIN,
    NEW,
    OLD,
    new_rollout,
    release_of,
    simulated_device,
)
from host_tools.fleet.simulation.group import FETCHING, KEPT, PROBATION, TAKEN_BACK, SimulatedGroup
from host_tools.fleet.simulation.ledger import Ledger

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.fleet.records.gates import GateFinding
    from host_tools.fleet.records.jobs import JobCounts

_CLOSELY_SECONDS: Final = 7_200.0
_SELDOM_MINUTES: Final = 10
_EVENTS: Final = {
    FETCHING: "update_started",
    PROBATION: "update_activated",
    KEPT: "update_committed",
    TAKEN_BACK: "update_rolled_back",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRollout:
    """How a rollout went.

    Attributes:
        rollout: As it was at the end.
        counts: Of its jobs, by stage.
        findings: Of its gates, when it ended or stopped.
        said: What the audit log was told.
        minutes: How long it took.
        had_candidate: Devices that ever ran the candidate.
        have_candidate: Devices that run it at the end.
    """

    rollout: Rollout
    counts: tuple[JobCounts, ...]
    findings: tuple[GateFinding, ...]
    said: tuple[str, ...]
    minutes: int
    had_candidate: int
    have_candidate: int

    @property
    def stopped_stage(self) -> int | None:
        """Number of the stage that it stopped or asked in; None: it did neither."""
        states = [one.state for one in self.rollout.stages]
        return next(
            (place for place, one in enumerate(states) if one in ("stopped", "awaiting_approval")), None
        )


def simulate_rollout(
    seed: int, plan: RolloutPlan, *, devices: int, candidate: Candidate = GOOD, hours: float = 48.0
) -> SimulatedRollout:
    """Run a rollout until it has ended, needs a person, or ``hours`` have passed.

    Args:
        seed: Decides everything that is drawn, the hour of the day at which it begins included.
        plan: What is asked for; it needs no approval.
        devices: How many the group has.
        candidate: The new release.
        hours: For how long at most.
    """
    hour = float(np.random.default_rng([seed, 20]).integers(0, 24)) * 3_600.0
    group = SimulatedGroup(seed, devices, begin=BEGIN + hour, hours=hours, candidate=candidate)
    run = _Run(plan, group)
    while not run.is_over and run.minutes < hours * 60:
        run.minute()
    return run.result()


class _Run:
    def __init__(self, plan: RolloutPlan, group: SimulatedGroup) -> None:
        self._plan, self._group = plan, group
        self._names = [f"d{number:05d}" for number in range(group.count)]
        self._places = {name: place for place, name in enumerate(self._names)}
        self._release = release_of(plan)
        self._ledger = Ledger(len(plan.stages))
        self._rollout = orders.submit(new_rollout(plan), "simulation", group.now).rollout
        self._findings: tuple[GateFinding, ...] = ()
        self._said: list[str] = []
        self._had = np.zeros(group.count, dtype=bool)
        self.minutes = 0

    @property
    def is_over(self) -> bool:
        return self._rollout.state in ENDED_ROLLOUTS or self._rollout.state == "paused"

    def minute(self) -> None:
        self.minutes += 1
        changed = self._group.minute()
        self._had |= self._group.has_candidate
        self._hear(changed)
        self._expire()
        if self._rollout.state == "running" and self._is_looked_at():
            self._findings = self._judged()
        holding = int((self._group.has_candidate & self._group.there).sum())
        found = advance(self._rollout, self._ledger.counts(holding), self._findings, self._group.now)
        self._take(found)

    def result(self) -> SimulatedRollout:
        return SimulatedRollout(
            rollout=self._rollout,
            counts=self._ledger.counts(),
            findings=self._findings,
            said=tuple(self._said),
            minutes=self.minutes,
            had_candidate=int(self._had.sum()),
            have_candidate=int(self._group.has_candidate.sum()),
        )

    def _hear(self, changed: NDArray[np.bool_]) -> None:
        """Devices that are there say what has become of the update; for others it is said when they are back."""
        there, phase = self._group.there, self._group.phase
        for job in self._ledger.open_jobs():
            place = self._places[job.device]
            if not there[place]:
                continue
            event = _EVENTS.get(int(phase[place]), "")
            if not changed[place] and job.heard_seconds is not None and job.state != "proceeding":
                event = event if job.state == "scheduled" and event else ""
                if not event:
                    continue
            running = NEW if phase[place] in (PROBATION, KEPT) else OLD
            self._ledger.put(
                jobs.observe(
                    job,
                    jobs.Observation(
                        seconds=self._group.now, event=event, about=NEW if event else None, running=running
                    ),
                )
            )

    def _expire(self) -> None:
        there, phase, now = self._group.there, self._group.phase, self._group.now
        for job in self._ledger.open_jobs():
            place = self._places[job.device]
            running = NEW if phase[place] in (PROBATION, KEPT) else OLD
            seen = now if there[place] else job.heard_seconds
            self._ledger.put(
                jobs.expire(job, self._plan, running=running, last_seen_seconds=seen, now_seconds=now)
            )

    def _is_looked_at(self) -> bool:
        """Every minute of a stage's first hours, then, while it waits for devices that are away, every ten."""
        begun = last_begun(self._rollout)
        began = None if begun is None else self._rollout.stages[begun].began_seconds
        return (
            began is None
            or self._group.now - began <= _CLOSELY_SECONDS
            or self.minutes % _SELDOM_MINUTES == 0
        )

    def _judged(self) -> tuple[GateFinding, ...]:
        if not self._plan.gates or not self._had.any():
            return ()
        mine, others = self._group.compare()
        findings = []
        for gate in self._plan.gates:
            controls = others.pairs(gate.measure)
            findings.append(
                judge(gate, mine.pairs(gate.measure), None if isinstance(controls, Crashes) else controls)
            )
        return tuple(findings)

    def _take(self, found: Advance) -> None:
        self._rollout = found.rollout
        self._said += [one.reason for one in found.said]
        for step in found.steps:
            if isinstance(step, OfferTo):
                self._offer()
            elif isinstance(step, TakeBack):
                self._group.take_back()
            elif isinstance(step, CancelJobs):
                for job in self._ledger.open_jobs():
                    self._ledger.put(jobs.canceled(job, step.reason, self._group.now))

    def _offer(self) -> None:
        new = []
        for place, name in enumerate(self._names):
            if name in self._ledger:
                continue
            job = jobs.job_for(
                self._rollout, self._release, simulated_device(name, self._plan), self._group.now
            )
            if job is not None:
                self._ledger.put(job)
                new.append(place)
        self._group.offer(np.array(new, dtype=np.int64))
