"""One device's job: what it says about its update moves it, what it reports to run decides, deadlines end it.

A job that has ended never changes, whatever is still said; only `retried`, a person's order, begins it anew. So every function
here may be called again with the same facts, in any order of arrival.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.fleet.records.jobs import ENDED_JOBS, Job
from host_tools.fleet.rollout import wording
from host_tools.fleet.rollout.wanted import stage_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.fleet.records.devices import Device
    from host_tools.fleet.records.jobs import JobResult, JobState
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout, RolloutPlan

_MOVES: Final[Mapping[str, JobState]] = MappingProxyType(
    {"update_started": "download", "update_tried": "downloaded", "update_activated": "proceeding"}
)
_ENDS: Final[Mapping[str, tuple[JobState, JobResult]]] = MappingProxyType(
    {
        "update_committed": ("closed", "success"),
        "update_rolled_back": ("closed", "failure"),
        "update_rejected": ("rejected", "failure"),
    }
)
_ORDER: Final[tuple[JobState, ...]] = ("scheduled", "download", "downloaded", "proceeding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was heard of a device at one time.

    Attributes:
        seconds: Unix time at which it was so, by the server's clock.
        event: One of `device_agent.contract.telemetry.event.UPDATE_EVENTS`; empty: none.
        about: Digest of the artifact that the event is about; None: not told.
        running: Digest of what it reports to run; None: not told, or none.
        committed: Whether it says that it keeps what it runs; None: not told.
        reason: In its words.
    """

    seconds: float
    event: str = ""
    about: str | None = None
    running: str | None = None
    committed: bool | None = None
    reason: str = ""


def job_for(rollout: Rollout, release: Release, device: Device, now_seconds: float) -> Job | None:
    """Make the job of a device that belongs to a stage that has begun; None: it has no part in it.

    A device whose profiles the release does not bring has none, neither has one that is not enrolled, and there are none in
    a rollout that does not go on. For a device that
    runs the artifact already the job is born with its end.
    """
    if rollout.state not in ("running", "paused"):
        return None
    if device.state != "enrolled" or device.group != rollout.plan.group:
        return None
    stage = stage_of(rollout, device.id)
    profile = next((one for one in device.provides.targets if one in release.artifacts), None)
    if stage is None or profile is None:
        return None
    job = Job(
        rollout=rollout.plan.id,
        device=device.id,
        stage=stage,
        state="scheduled",
        result="none",
        wanted=release.artifacts[profile].digest,
        previous=device.artifact,
        reason=f"stage {rollout.plan.stages[stage].name} has it.",
        created_seconds=now_seconds,
        changed_seconds=now_seconds,
    )
    if device.artifact == job.wanted:
        return _ended(job, "closed", "success", "it ran the release already.", now_seconds)
    return job


def observe(job: Job, seen: Observation) -> Job:
    """Return the job after what was heard; the same one when nothing follows from it.

    What was so before this attempt was made says nothing about it.
    """
    if job.state in ENDED_JOBS or seen.seconds < job.created_seconds:
        return job
    if job.heard_seconds is None or seen.seconds < job.heard_seconds:
        job = dataclasses.replace(job, heard_seconds=seen.seconds)
    if seen.about == job.wanted and seen.event in _ENDS:
        state, result = _ENDS[seen.event]
        return _ended(job, state, result, seen.reason or _told(seen.event), seen.seconds)
    if seen.running == job.wanted and seen.committed:
        return _ended(job, "closed", "success", "it runs the release and keeps it.", seen.seconds)
    if _went_back(job, seen):
        return _ended(
            job,
            "closed",
            "failure",
            seen.reason or "it runs what it ran before again and did not say why.",
            seen.seconds,
        )
    reached: JobState | None = _MOVES.get(seen.event) if seen.about == job.wanted else None
    if seen.running == job.wanted:
        reached = "proceeding"
    if reached is not None and _ORDER.index(reached) > _ORDER.index(job.state):
        return dataclasses.replace(
            job,
            state=reached,
            reason=seen.reason or _told(seen.event or "runs it"),
            changed_seconds=seen.seconds,
        )
    if seen.event == "update_postponed" and seen.reason and seen.reason != job.reason:
        return dataclasses.replace(job, reason=seen.reason)
    return job


def expire(
    job: Job,
    plan: RolloutPlan,
    *,
    running: str | None,
    last_seen_seconds: float | None,
    now_seconds: float,
) -> Job:
    """Return the job after its deadlines; the same one when none has passed.

    A device that was never heard ends without a result. One that was heard has `job_seconds` from then on: if it runs
    the release it has succeeded, whatever got lost on the way; if it fell silent before it had the artifact, its network went and
    nothing is known; else it has failed, silence after the artifact was there included: it may have died of it.

    Args:
        job: Which.
        plan: Its deadlines.
        running: Digest of what the device was last heard to run.
        last_seen_seconds: Unix time at which it was last heard.
        now_seconds: Unix time.
    """
    if job.state in ENDED_JOBS:
        return job
    if job.heard_seconds is None:
        if now_seconds - job.created_seconds < plan.absent_seconds:
            return job
        reason = f"it was not heard for {wording.duration(plan.absent_seconds)}."
        return _ended(job, "canceled", "none", reason, now_seconds)
    deadline = job.heard_seconds + plan.job_seconds
    if now_seconds < deadline:
        return job
    within = wording.duration(plan.job_seconds)
    if running == job.wanted:
        return _ended(
            job, "closed", "success", f"it runs the release; it did not say so within {within}.", now_seconds
        )
    is_silent = last_seen_seconds is None or last_seen_seconds < deadline - plan.job_seconds / 2
    if is_silent and job.state in ("scheduled", "download"):
        return _ended(
            job,
            "canceled",
            "none",
            "it went away before it had the release and did not come back.",
            now_seconds,
        )
    return _ended(job, "closed", "failure", f"it did not finish within {within}: {job.reason}", now_seconds)


def canceled(job: Job, reason: str, now_seconds: float) -> Job:
    """Return the job ended without a result, unless it has ended."""
    if job.state in ENDED_JOBS:
        return job
    return _ended(job, "canceled", "none", reason, now_seconds)


def retried(job: Job, now_seconds: float) -> Job:
    """Return a failed or canceled job begun anew; any other stays as it is."""
    if job.state not in ENDED_JOBS or job.result == "success":
        return job
    return dataclasses.replace(
        job,
        state="scheduled",
        result="none",
        attempts=job.attempts + 1,
        reason=f"tried again after: {job.reason}"[:_LONGEST_REASON],
        created_seconds=now_seconds,
        changed_seconds=now_seconds,
        heard_seconds=None,
    )


_LONGEST_REASON = 1024


def _went_back(job: Job, seen: Observation) -> bool:
    """It had the release running and, later, runs another: what it ran before, or a fallback.

    A process that ends so that its successor begins the release is on probation already, and still names what itself ran.
    """
    return (
        job.state == "proceeding"
        and seen.running is not None
        and seen.running != job.wanted
        and seen.committed is not False
        and seen.seconds > job.changed_seconds
    )


def _ended(job: Job, state: JobState, result: JobResult, reason: str, seconds: float) -> Job:
    return dataclasses.replace(
        job, state=state, result=result, reason=reason[:_LONGEST_REASON], changed_seconds=seconds
    )


def _told(event: str) -> str:
    return f"the device said: {event.replace('_', ' ')}."
