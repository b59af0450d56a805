"""`advance`: from a rollout, its jobs, its gates and the time to its next state and what must be done for it.

A pure function: no clock, no store, no memory beside the rollout. Called again with the same facts it changes nothing, so a
server that was killed calls it again. At most one stage begins in a call.

A rollout that has ended has no open jobs: whatever ends it also cancels what is still open.
A paused rollout begins nothing and passes nothing, but it is still stopped by a failed gate or too many failures.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from host_tools.fleet.rollout import wording
from host_tools.fleet.rollout.stage_end import StageEnd, stage_end, stop_reason
from host_tools.fleet.rollout.steps import (
    Advance,
    CancelJobs,
    OfferTo,
    RetryJobs,
    Said,
    Settle,
    Step,
    TakeBack,
)
from host_tools.fleet.rollout.wanted import devices_to, last_begun
from host_tools.fleet.rollout.windows import is_open

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.fleet.records.gates import GateFinding
    from host_tools.fleet.records.jobs import JobCounts
    from host_tools.fleet.records.rollouts import Rollout, RolloutState, StageProgress

__all__ = [
    "Advance",
    "CancelJobs",
    "OfferTo",
    "RetryJobs",
    "Said",
    "Settle",
    "Step",
    "TakeBack",
    "advance",
    "standing",
]

_SETTLED: Final[tuple[Step, ...]] = (
    Settle(),
    CancelJobs(
        reason="the rollout finished before the device was heard; it gets the release when it is there."
    ),
)


def advance(
    rollout: Rollout,
    counts: Sequence[JobCounts],
    findings: Sequence[GateFinding],
    now_seconds: float,
) -> Advance:
    """Return what follows.

    Args:
        rollout: As it is stored.
        counts: Jobs of each stage, in the plan's order. They must be made in the same transaction as the stage begins: a stage
            without jobs is one without devices.
        findings: Of the gates, over all devices that have the release so far; a gate without one is not measured.
        now_seconds: Unix time.

    Raises:
        ValueError: There are not as many counts as stages.
    """
    if len(counts) != len(rollout.stages):
        raise ValueError(f"counts: expected {len(rollout.stages)}, one a stage, got {len(counts)}")
    if rollout.state == "rolling_back":
        return _rolling_back(rollout, counts, now_seconds)
    if rollout.state not in ("running", "paused"):
        return Advance(rollout=rollout)
    begun = last_begun(rollout)
    if begun is not None:
        stop = stop_reason(rollout, begun, counts, findings)
        if stop is not None:
            return stopped(rollout, stop, now_seconds)
    if rollout.state == "paused":
        return Advance(rollout=rollout)
    if begun is None or rollout.stages[begun].state == "passed":
        return _begin_next(rollout, now_seconds)
    return _looked_at(
        rollout, begun, stage_end(rollout, begun, counts[begun], findings, now_seconds), now_seconds
    )


def standing(rollout: Rollout) -> tuple[Step, ...]:
    """Return the steps whose effects must be there in the state that a rollout is in, to repeat them after a kill."""
    begun = last_begun(rollout)
    if rollout.state == "finished":
        return _SETTLED
    if rollout.state in ("rolling_back", "rolled_back"):
        return (TakeBack(), CancelJobs(reason=rollout.reason))
    if rollout.state == "aborted":
        return (CancelJobs(reason=rollout.reason),)
    return () if begun is None else (_offer(rollout, begun),)


def passed(
    rollout: Rollout, stage: int, end: StageEnd, now_seconds: float, *, approved_by: str = ""
) -> Advance:
    """Return what follows when a stage passes: the next begins, or the rollout is finished."""
    progress = rollout.stages[stage]
    rollout = with_stage(
        rollout,
        stage,
        dataclasses.replace(
            progress,
            state="passed",
            ended_seconds=now_seconds,
            reason=end.reason,
            approved_by=approved_by or progress.approved_by,
        ),
    )
    name = rollout.plan.stages[stage].name
    said = Said(
        action="rollout.stage_passed", reason=f"stage {name} passed: {end.reason}", figures=end.figures
    )
    if stage == len(rollout.stages) - 1:
        finished = changed(rollout, "finished", "every stage passed.", now_seconds)
        done = Said(action="rollout.finished", reason=finished.reason)
        return Advance(rollout=finished, steps=_SETTLED, said=(said, done))
    following = _begin_next(rollout, now_seconds)
    return dataclasses.replace(following, said=(said, *following.said))


def stopped(rollout: Rollout, end: StageEnd, now_seconds: float) -> Advance:
    """Return what follows when the rollout stops by itself: the release is taken back, or left where it is.

    It is left where the plan says so, and where the group had nothing before that it could go back to.
    """
    begun = last_begun(rollout)
    if begun is not None:
        stage = dataclasses.replace(
            rollout.stages[begun], state="stopped", ended_seconds=now_seconds, reason=end.reason
        )
        rollout = with_stage(rollout, begun, stage)
    said = Said(action="rollout.stopped", reason=end.reason, figures=end.figures)
    cancel = CancelJobs(reason=f"the rollout stopped: {end.reason}")
    if rollout.plan.rolls_back and rollout.previous:
        back = changed(rollout, "rolling_back", end.reason, now_seconds)
        return Advance(rollout=back, steps=(TakeBack(), cancel), said=(said,))
    return Advance(
        rollout=changed(rollout, "aborted", end.reason, now_seconds), steps=(cancel,), said=(said,)
    )


def changed(rollout: Rollout, state: RolloutState, reason: str, now_seconds: float) -> Rollout:
    """Return the rollout in another state."""
    return dataclasses.replace(rollout, state=state, reason=reason, changed_seconds=now_seconds)


def with_stage(rollout: Rollout, stage: int, progress: StageProgress) -> Rollout:
    """Return the rollout with one stage changed."""
    stages = (*rollout.stages[:stage], progress, *rollout.stages[stage + 1 :])
    return dataclasses.replace(rollout, stages=stages)


def _looked_at(rollout: Rollout, stage: int, end: StageEnd, now_seconds: float) -> Advance:
    if end.verdict == "stops":
        return stopped(rollout, end, now_seconds)
    if end.verdict == "asks":
        return _asking(rollout, stage, end, now_seconds)
    if end.verdict == "passes":
        return passed(rollout, stage, end, now_seconds)
    return Advance(rollout=rollout)


def _begin_next(rollout: Rollout, now_seconds: float) -> Advance:
    begun = last_begun(rollout)
    stage = 0 if begun is None else begun + 1
    plan, progress = rollout.plan.stages[stage], rollout.stages[stage]
    if plan.needs_approval and not progress.approved_by:
        if progress.state == "awaiting_approval":
            return Advance(rollout=rollout)
        reason = f"stage {plan.name} needs approval before it begins."
        waiting = dataclasses.replace(progress, state="awaiting_approval", reason=reason)
        said = Said(action="rollout.stage_awaits_approval", reason=reason)
        return Advance(rollout=with_stage(rollout, stage, waiting), said=(said,))
    if not is_open(rollout.plan.windows, now_seconds):
        return Advance(rollout=rollout)
    reason = _begin_reason(rollout, stage)
    running = dataclasses.replace(progress, state="running", began_seconds=now_seconds, reason=reason)
    rollout = with_stage(rollout, stage, running)
    offer = _offer(rollout, stage)
    said = Said(
        action="rollout.stage_began",
        reason=f"stage {plan.name} began: {reason}",
        figures={"stage": stage, "share_ppm": offer.share_ppm, "named_devices": len(offer.devices)},
    )
    return Advance(rollout=rollout, steps=(offer,), said=(said,))


def _begin_reason(rollout: Rollout, stage: int) -> str:
    approver = rollout.stages[stage].approved_by
    before = "it is the first" if not stage else f"stage {rollout.plan.stages[stage - 1].name} passed"
    return f"{before}, and {approver} approved it." if approver else f"{before}."


def _asking(rollout: Rollout, stage: int, end: StageEnd, now_seconds: float) -> Advance:
    waiting = dataclasses.replace(rollout.stages[stage], state="awaiting_approval", reason=end.reason)
    reason = f"stage {rollout.plan.stages[stage].name} needs a decision: {end.reason}"
    paused = changed(with_stage(rollout, stage, waiting), "paused", reason, now_seconds)
    said = Said(action="rollout.paused", reason=reason, figures=end.figures)
    return Advance(rollout=paused, said=(said,))


def _rolling_back(rollout: Rollout, counts: Sequence[JobCounts], now_seconds: float) -> Advance:
    holding = sum(one.holding for one in counts)
    waited = now_seconds - rollout.changed_seconds
    if holding and waited < rollout.plan.absent_seconds:
        return Advance(rollout=rollout)
    rest = (
        f"{wording.devices(holding)} had not said so after {wording.duration(waited)} and will go back when they are there again."
        if holding
        else "no device runs the release any more."
    )
    reason = f"{rollout.reason} Taken back: {rest}"
    done = changed(rollout, "rolled_back", reason, now_seconds)
    said = Said(action="rollout.rolled_back", reason=reason, figures={"holding": holding})
    return Advance(rollout=done, said=(said,))


def _offer(rollout: Rollout, stage: int) -> OfferTo:
    return OfferTo(
        stage=stage,
        share_ppm=rollout.plan.stages[stage].share_ppm,
        devices=devices_to(rollout.plan, stage),
    )
