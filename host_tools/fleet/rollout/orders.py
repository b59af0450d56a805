"""What people do to a rollout. Who may is asked elsewhere; here an order is refused only where the state does not allow it.

Every order gives a reason with who gave it. `advance` does what follows from it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from host_tools.errors import InputError
from host_tools.fleet.records.rollouts import ENDED_ROLLOUTS
from host_tools.fleet.rollout.machine import (
    Advance,
    CancelJobs,
    RetryJobs,
    Said,
    Step,
    TakeBack,
    changed,
    passed,
    standing,
    with_stage,
)
from host_tools.fleet.rollout.stage_end import StageEnd
from host_tools.fleet.rollout.wanted import last_begun

if TYPE_CHECKING:
    from host_tools.fleet.records.rollouts import Rollout, RolloutState


def submit(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """Take a draft to its approver, or let it run where the plan needs none.

    Raises:
        InputError: It is no draft.
    """
    _require(rollout, "submit", ("draft",))
    if rollout.plan.needs_approval:
        return _to(
            rollout,
            "awaiting_approval",
            f"submitted by {actor}; it needs approval.",
            now_seconds,
            "rollout.submit",
        )
    return _to(rollout, "running", f"submitted by {actor}.", now_seconds, "rollout.submit")


def approve(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """Let a rollout run.

    Raises:
        InputError: It does not await approval.
    """
    _require(rollout, "approve", ("awaiting_approval",))
    return _to(rollout, "running", f"approved by {actor}.", now_seconds, "rollout.approve")


def approve_stage(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """Let a stage begin that needs approval, or let one pass that waits for a person's decision.

    Raises:
        InputError: No stage awaits approval.
    """
    _require(rollout, "approve a stage of", ("running", "paused"))
    place = next(
        (number for number, one in enumerate(rollout.stages) if one.state == "awaiting_approval"), None
    )
    if place is None:
        raise InputError(
            f"rollout {rollout.plan.id}: no stage awaits approval.",
            hint=f"`edgewright fleet rollouts explain {rollout.plan.id}` says what it waits for.",
        )
    name = rollout.plan.stages[place].name
    progress = rollout.stages[place]
    said = Said(
        action="rollout.approve_stage",
        reason=f"stage {name} approved by {actor}.",
        figures={"stage": place},
    )
    if progress.began_seconds is None:
        approved = dataclasses.replace(
            progress, state="waiting", approved_by=actor, reason=f"approved by {actor}."
        )
        return Advance(rollout=with_stage(rollout, place, approved), said=(said,))
    end = StageEnd(verdict="passes", reason=f"{actor} let it pass, although {progress.reason}")
    running = changed(rollout, "running", f"stage {name} approved by {actor}.", now_seconds)
    following = passed(running, place, end, now_seconds, approved_by=actor)
    return dataclasses.replace(following, said=(said, *following.said))


def pause(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """Let no stage begin or pass; devices of the stages so far go on, and it is still stopped when it must be.

    Raises:
        InputError: It does not run.
    """
    _require(rollout, "pause", ("running",))
    return _to(rollout, "paused", f"paused by {actor}.", now_seconds, "rollout.pause")


def resume(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """Let it go on; a stage that waited for a decision waits for its gates and devices anew.

    Raises:
        InputError: It is not paused.
    """
    _require(rollout, "resume", ("paused",))
    for place, one in enumerate(rollout.stages):
        if one.state == "awaiting_approval" and one.began_seconds is not None:
            rollout = with_stage(rollout, place, dataclasses.replace(one, state="running"))
    return _to(rollout, "running", f"resumed by {actor}.", now_seconds, "rollout.resume")


def abort(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """End it: no further stage begins, devices of the stages so far keep the release.

    Raises:
        InputError: It has ended, or is being taken back.
    """
    _require(rollout, "abort", ("draft", "awaiting_approval", "running", "paused"))
    reason = f"aborted by {actor}."
    return _to(
        _stage_stopped(rollout, reason, now_seconds),
        "aborted",
        reason,
        now_seconds,
        "rollout.abort",
        (CancelJobs(reason=reason),),
    )


def roll_back(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """Take the release back from every device that has it.

    Raises:
        InputError: It does not run and is not paused, or the group had nothing before.
    """
    _require(rollout, "roll back", ("running", "paused"))
    if not rollout.previous:
        raise InputError(
            f"rollout {rollout.plan.id}: cannot roll back: group {rollout.plan.group} had no artifact before it.",
            hint="Abort it: nobody else gets the release. Then roll out another.",
        )
    reason = f"rolled back by {actor}."
    return _to(
        _stage_stopped(rollout, reason, now_seconds),
        "rolling_back",
        reason,
        now_seconds,
        "rollout.roll_back",
        (TakeBack(), CancelJobs(reason=reason)),
    )


def retry(rollout: Rollout, actor: str, now_seconds: float) -> Advance:
    """Let devices whose jobs failed or were canceled try once more.

    Raises:
        InputError: It neither runs nor is paused, or no stage has begun.
    """
    _require(rollout, "retry", ("running", "paused"))
    if last_begun(rollout) is None:
        raise InputError(
            f"rollout {rollout.plan.id}: nothing to retry: no stage has begun.",
            hint=f"`edgewright fleet rollouts explain {rollout.plan.id}` says what it waits for.",
        )
    said = Said(action="rollout.retry", reason=f"failed and canceled jobs tried again by {actor}.")
    return Advance(
        rollout=rollout, steps=(*standing(rollout), RetryJobs(before_seconds=now_seconds)), said=(said,)
    )


def _to(
    rollout: Rollout,
    state: RolloutState,
    reason: str,
    now_seconds: float,
    action: str,
    steps: tuple[Step, ...] = (),
) -> Advance:
    return Advance(
        rollout=changed(rollout, state, reason, now_seconds),
        steps=steps,
        said=(Said(action=action, reason=reason),),
    )


def _stage_stopped(rollout: Rollout, reason: str, now_seconds: float) -> Rollout:
    begun = last_begun(rollout)
    if begun is None or rollout.stages[begun].state == "passed":
        return rollout
    stage = dataclasses.replace(
        rollout.stages[begun], state="stopped", ended_seconds=now_seconds, reason=reason
    )
    return with_stage(rollout, begun, stage)


def _require(rollout: Rollout, order: str, states: tuple[RolloutState, ...]) -> None:
    if rollout.state in states:
        return
    if rollout.state in ENDED_ROLLOUTS:
        hint = "It has ended and stays as it is; plan a new rollout, with allow_downgrade to go back to an older release."
    elif rollout.state == "draft":
        hint = f"`edgewright fleet rollouts submit {rollout.plan.id}` first."
    else:
        hint = f"`edgewright fleet rollouts explain {rollout.plan.id}` says what it waits for."
    raise InputError(
        f"rollout {rollout.plan.id}: cannot {order}: expected {' or '.join(states)}, got {rollout.state}.",
        hint=hint,
    )
