"""What a change of a rollout asks for, within the transaction that stores the change: jobs, effects, audit."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from host_tools.fleet.records.rollouts import ENDED_ROLLOUTS
from host_tools.fleet.rollout.jobs import canceled, job_for, retried
from host_tools.fleet.rollout.members import Members
from host_tools.fleet.rollout.steps import CancelJobs, OfferTo, Settle, TakeBack
from host_tools.fleet.rollout.wanted import stage_of
from host_tools.fleet.store.devices import DeviceFilter
from host_tools.fleet.store.rollouts import OCCUPYING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar
    from host_tools.fleet.records.jobs import JobCounts
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout
    from host_tools.fleet.rollout.steps import Advance, Step
    from host_tools.fleet.store.fleet_store import FleetBook


def carry_out(book: FleetBook, before: Rollout, advance: Advance, *, actor: str) -> Rollout:
    """Store what follows from an order or from the time, and return the rollout as it is stored.

    Args:
        book: The transaction in which ``before`` was read.
        before: The rollout as it was.
        advance: What follows.
        actor: Who gave the order; ``server`` where nobody did.

    Raises:
        ConflictError: Another rollout has the group.
    """
    rollout = advance.rollout
    if rollout.state in OCCUPYING and before.state not in OCCUPYING:
        # What the group runs is known only now: another rollout may have ended since this one was planned.
        rollout = replace(rollout, previous=book.groups.get(rollout.plan.group).artifacts)
    rollout = book.rollouts.save(rollout)
    release = book.releases.get(rollout.plan.release)
    for step in advance.steps:
        _do(book, rollout, release, step)
    for said in advance.said:
        book.note(
            actor, said.action, f"rollout/{rollout.plan.id}", finite({**said.figures, "reason": said.reason})
        )
    tell_rollout(book, rollout)
    return rollout


def make_jobs(book: FleetBook, rollout: Rollout, release: Release, *, placed_since_seconds: float) -> int:
    """Make the jobs of devices that belong to a stage that has begun and have none; return how many.

    Args:
        book: The transaction.
        rollout: Which.
        release: That it brings.
        placed_since_seconds: Only devices whose group, state or profiles changed at this Unix time or after it.
    """
    devices = book.devices.placed_since(rollout.plan.group, placed_since_seconds)
    jobs = (job_for(rollout, release, device, book.now_seconds) for device in devices)
    return book.jobs.add([job for job in jobs if job is not None])


def counts_of(book: FleetBook, rollout: Rollout) -> tuple[JobCounts, ...]:
    """Return the jobs of each stage. A device that has not said what it can run has no job yet, and is absent.

    Without it a stage of devices that were never heard would pass as one without devices, and they would get the release unseen.
    """
    counts = book.jobs.counts(rollout.plan.id, stages=len(rollout.stages))
    if rollout.state not in OCCUPYING:
        return counts
    unheard = Counter(stage_of(rollout, device) for device in book.devices.unheard(rollout.plan.group))
    return tuple(
        replace(
            one,
            total=one.total + unheard[stage],
            open=one.open + unheard[stage],
            absent=one.absent + unheard[stage],
        )
        for stage, one in enumerate(counts)
    )


def members_of(book: FleetBook, rollout: Rollout) -> Members:
    """Return who is in a rollout, and who came and left."""
    plan = rollout.plan
    came, left = book.jobs.came_and_left(
        plan.id, [one.began_seconds for one in rollout.stages if one.began_seconds is not None]
    )
    return Members(
        selector=book.groups.get(plan.group).selector,
        now=book.devices.count(DeviceFilter(group=plan.group, state="enrolled")),
        came=came,
        left=left,
        pinned=book.pins.count(plan.group),
    )


def publish(book: FleetBook, rollout: Rollout, *, ask_anew: bool = False) -> None:
    """Want the group's desired state to say what the rollout says; what was wanted before and is not done yet is part of it."""
    group = rollout.plan.group
    pending = book.effects.find("publish", group)
    asked = ask_anew or (pending is not None and bool(json.loads(pending.document)["ask_anew"]))
    document = json.dumps({"rollout": rollout.plan.id, "ask_anew": asked})
    book.effects.want("publish", group, document, now_seconds=book.now_seconds)


def tell_rollout(book: FleetBook, rollout: Rollout) -> None:
    """Let whoever looks on hear where a rollout is."""
    running = [number for number, stage in enumerate(rollout.stages) if stage.began_seconds is not None]
    book.changes.tell(
        book.now_seconds,
        "rollout",
        f"rollout/{rollout.plan.id}",
        {
            "state": rollout.state,
            "stage": running[-1] if running else None,
            "revision": rollout.revision,
            "ended": rollout.state in ENDED_ROLLOUTS,
        },
    )


def finite(figures: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return figures with None for what is not finite: JSON has no word for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _do(book: FleetBook, rollout: Rollout, release: Release, step: Step) -> None:
    if isinstance(step, OfferTo):
        make_jobs(book, rollout, release, placed_since_seconds=0.0)
        publish(book, rollout)
    elif isinstance(step, TakeBack):
        publish(book, rollout)
    elif isinstance(step, Settle):
        group = book.groups.get(rollout.plan.group)
        book.groups.put(replace(group, artifacts={**rollout.previous, **release.artifacts}))
        publish(book, rollout)
    elif isinstance(step, CancelJobs):
        for batch in book.jobs.open_in(rollout.plan.id):
            book.jobs.put([canceled(job, step.reason, book.now_seconds) for job in batch])
    else:
        for batch in book.jobs.failed_in(rollout.plan.id, before_seconds=step.before_seconds):
            book.jobs.put([retried(job, book.now_seconds) for job in batch])
        publish(book, rollout, ask_anew=True)
