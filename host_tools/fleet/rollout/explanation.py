"""`explain`: why each stage of a rollout advanced, waits or stopped, with the figures; typed, and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.fleet.records.rollouts import ENDED_ROLLOUTS
from host_tools.fleet.rollout import wording
from host_tools.fleet.rollout.members import Members
from host_tools.fleet.rollout.stage_end import of_gates, stage_end
from host_tools.fleet.rollout.wanted import last_begun
from host_tools.fleet.rollout.windows import is_open, next_opening
from host_tools.review.analysis.wording import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.fleet.records.gates import GateFinding
    from host_tools.fleet.records.jobs import JobCounts
    from host_tools.fleet.records.rollouts import Rollout, RolloutState, StageState

NOBODY_TOLD: Final = Members()
_ON: Final[frozenset[RolloutState]] = frozenset({"draft", "awaiting_approval", "running", "paused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StageExplanation:
    """One stage.

    Attributes:
        name: The stage's.
        state: Where it is.
        share_ppm: Share of the group that has the release once it has begun, in parts per million.
        began_seconds: Unix time; None: not yet.
        ended_seconds: Likewise.
        reason: Why it is where it is, or what it waits for.
        jobs: Its jobs.
    """

    name: str
    state: StageState
    share_ppm: int
    began_seconds: float | None
    ended_seconds: float | None
    reason: str
    jobs: JobCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A whole rollout.

    Attributes:
        rollout: Its id.
        release: What it brings.
        group: To whom.
        members: Who that is, and who came and left.
        state: Where it is.
        reason: Why.
        next_step: What has to happen, or what a person can do.
        stages: In order.
        gates: What each gate found, in the plan's order.
    """

    rollout: str
    release: str
    group: str
    members: Members
    state: RolloutState
    reason: str
    next_step: str
    stages: tuple[StageExplanation, ...]
    gates: tuple[GateFinding, ...]

    def text(self) -> str:
        """Return it as lines for a terminal."""
        lines = [
            f"rollout {self.rollout}: {self.release} to group {self.group}: {self.state.replace('_', ' ')}"
        ]
        if self.reason:
            lines.append("  why: " + self.reason.replace("\n", "\n       "))
        lines.append("  next: " + self.next_step.replace("\n", "\n        "))
        if told := self.members.text(self.group):
            lines.append(f"  who: {told}")
        for number, one in enumerate(self.stages, start=1):
            lines.append("")
            lines.append(
                f"stage {number} {one.name} ({wording.share(one.share_ppm)}): {one.state.replace('_', ' ')}"
            )
            if one.began_seconds is not None:
                ended = "" if one.ended_seconds is None else f", ended {moment(one.ended_seconds)}"
                lines.append(f"  began {moment(one.began_seconds)}{ended}")
                lines.append(f"  jobs: {_jobs(one.jobs)}")
            if one.reason:
                lines.append("  why: " + one.reason.replace("\n", "\n       "))
        if self.gates:
            lines += [
                "",
                "gates, over every device that has the release:",
                *(f"  {one.outcome.replace('_', ' ')}: {one.text}" for one in self.gates),
            ]
        return "\n".join(lines) + "\n"


def explain(
    rollout: Rollout,
    counts: Sequence[JobCounts],
    findings: Sequence[GateFinding],
    now_seconds: float,
    members: Members = NOBODY_TOLD,
) -> Explanation:
    """Explain a rollout.

    Args:
        rollout: Which.
        counts: Jobs of each stage.
        findings: Of its gates, as `advance` had them.
        now_seconds: Unix time.
        members: Who is in it.
    """
    plan = rollout.plan
    stages = tuple(
        StageExplanation(
            name=stage.name,
            state=progress.state,
            share_ppm=stage.share_ppm,
            began_seconds=progress.began_seconds,
            ended_seconds=progress.ended_seconds,
            reason=_stage_reason(rollout, place, count, findings, now_seconds),
            jobs=count,
        )
        for place, (stage, progress, count) in enumerate(
            zip(plan.stages, rollout.stages, counts, strict=True)
        )
    )
    return Explanation(
        rollout=plan.id,
        release=plan.release,
        group=plan.group,
        members=members,
        state=rollout.state,
        reason=rollout.reason,
        next_step=_next_step(rollout, now_seconds),
        stages=stages,
        gates=of_gates(plan.gates, findings),
    )


def _stage_reason(
    rollout: Rollout,
    stage: int,
    count: JobCounts,
    findings: Sequence[GateFinding],
    now_seconds: float,
) -> str:
    progress = rollout.stages[stage]
    if progress.state == "running" and rollout.state in _ON:
        end = stage_end(rollout, stage, count, findings, now_seconds)
        return f"{end.verdict}: {end.reason}"
    if progress.began_seconds is None and rollout.state not in _ON:
        return "it will not begin."
    if progress.state == "waiting":
        return progress.reason if stage == 0 else f"waits for stage {rollout.plan.stages[stage - 1].name}."
    return progress.reason


def _next_step(rollout: Rollout, now_seconds: float) -> str:
    plan = rollout.plan
    if rollout.state in ENDED_ROLLOUTS:
        return "nothing: it has ended."
    if rollout.state == "draft":
        return f"`edgewright fleet rollouts submit {plan.id}`."
    if rollout.state == "rolling_back":
        return f"devices go back to what they ran before; it ends when they have, or after {wording.duration(plan.absent_seconds)}."
    asks = next((place for place, one in enumerate(rollout.stages) if one.state == "awaiting_approval"), None)
    if asks is not None:
        begun = rollout.stages[asks].began_seconds is not None
        instead = ", `resume` to wait for more data, or `rollback`" if begun else ""
        return f"an approver: `edgewright fleet rollouts approve-stage {plan.id}`{instead}."
    if rollout.state == "awaiting_approval":
        return f"an approver: `edgewright fleet rollouts approve {plan.id}`."
    if rollout.state == "paused":
        return f"`edgewright fleet rollouts resume {plan.id}`, `abort` or `rollback`."
    begun_stage = last_begun(rollout)
    if begun_stage is None or rollout.stages[begun_stage].state == "passed":
        if not is_open(plan.windows, now_seconds):
            opens = moment(next_opening(plan.windows, now_seconds))
            return f"the next stage begins when a window opens: {opens}."
        return "the next stage begins."
    return f"stage {plan.stages[begun_stage].name} is looked at again within a minute."


def _jobs(count: JobCounts) -> str:
    parts = [
        f"{number} {name}"
        for name, number in (
            ("succeeded", count.succeeded),
            ("failed", count.failed),
            ("at it", count.open - count.absent),
            ("absent", count.absent),
            ("canceled", count.canceled),
        )
        if number
    ]
    return f"{count.total}: {', '.join(parts)}" if parts else "none"
