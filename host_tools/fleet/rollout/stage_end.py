"""Whether a stage that runs passes, waits, stops or asks a person, in one place, with the figures that it follows from.

What happens when a gate stays undecided: more data may decide it, so a stage whose jobs are done waits for a gate that is
`required`, for one whose estimate is worse than what is allowed, and where telemetry cannot be asked, `hold_seconds` long; then a
person decides. A gate that is
undecided with an estimate within what is allowed is told and passed over, since it is looked at again, with more devices, in
the next stage: a canary of 20 devices can show that something is bad, seldom that nothing is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from host_tools.fleet.records.gates import GateFinding
from host_tools.fleet.rollout import wording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device_agent.contract.telemetry.message import Scalar
    from host_tools.fleet.records.gates import Gate
    from host_tools.fleet.records.jobs import JobCounts
    from host_tools.fleet.records.rollouts import Rollout

Verdict = Literal["waits", "passes", "stops", "asks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnd:
    """What becomes of a stage.

    Attributes:
        verdict: `asks`: a person has to decide.
        reason: For people; one line for the jobs, then one for each gate that matters.
        figures: What it follows from.
    """

    verdict: Verdict
    reason: str
    figures: Mapping[str, Scalar] = field(default_factory=dict, hash=False)


def stop_reason(
    rollout: Rollout, stage: int, counts: Sequence[JobCounts], findings: Sequence[GateFinding]
) -> StageEnd | None:
    """Return why the rollout must stop at once, whatever else is; None: nothing speaks for that."""
    plan = rollout.plan.stages[stage]
    for finding in of_gates(rollout.plan.gates, findings):
        if finding.outcome == "failed":
            return StageEnd(verdict="stops", reason=finding.text, figures=gate_figures(finding))
    begun = counts[: stage + 1]
    for where, failed, due in (
        (f"stage {plan.name}", counts[stage].failed, counts[stage].total - counts[stage].canceled),
        (
            "all stages so far",
            sum(one.failed for one in begun),
            sum(one.total - one.canceled for one in begun),
        ),
    ):
        if failed and failed >= plan.error_ratio * due:
            return StageEnd(
                verdict="stops",
                reason=f"{failed} of {wording.devices(due)} of {where} failed; it stops at {100 * plan.error_ratio:g} %.",
                figures={"failed": failed, "devices": due, "error_ratio": plan.error_ratio},
            )
    return None


def stage_end(
    rollout: Rollout,
    stage: int,
    count: JobCounts,
    findings: Sequence[GateFinding],
    now_seconds: float,
) -> StageEnd:
    """Return what becomes of a stage that has begun; see the module's docstring.

    Args:
        rollout: Whose.
        stage: Its number.
        count: Its jobs.
        findings: Of the gates, over all devices so far.
        now_seconds: Unix time.
    """
    plan, progress = rollout.plan, rollout.stages[stage]
    began = progress.began_seconds if progress.began_seconds is not None else now_seconds
    spent = now_seconds - began
    soak = plan.stages[stage].soak_seconds
    if spent < soak or now_seconds <= began:
        return _waits(f"it has run for {wording.duration(spent)} of {wording.duration(soak)}.", count)
    if not count.total:
        return StageEnd(verdict="passes", reason="no device of the group is in it.", figures=_figures(count))
    waited = now_seconds - max(began, rollout.changed_seconds) >= plan.absent_seconds
    jobs = _jobs_end(rollout, stage, count, waited=waited)
    if jobs.verdict != "passes":
        return jobs
    findings = of_gates(plan.gates, findings)
    blocking = [one for one in findings if _blocks(one)]
    if blocking:
        held = now_seconds - max(began + soak, rollout.changed_seconds)
        reason = "\n".join([jobs.reason, *(one.text for one in blocking)])
        if held < plan.hold_seconds:
            return StageEnd(
                verdict="waits",
                reason=f"{reason}\nIt waits for more data, at most {wording.duration(plan.hold_seconds)}.",
                figures=_figures(count),
            )
        return StageEnd(
            verdict="asks",
            reason=f"{reason}\n{wording.duration(plan.hold_seconds)} of waiting did not decide it.",
            figures={**_figures(count), **gate_figures(blocking[0])},
        )
    told = "\n".join([jobs.reason, *(one.text for one in findings)])
    return StageEnd(verdict="passes", reason=told, figures=_figures(count))


def of_gates(gates: Sequence[Gate], findings: Sequence[GateFinding]) -> tuple[GateFinding, ...]:
    """Return one finding for each gate, in the plan's order; `not_measured` where there is none."""
    found = {one.gate: one for one in findings}
    return tuple(
        found.get(gate)
        or GateFinding(
            gate=gate, outcome="not_measured", text=f"{wording.MEASURES[gate.measure]}: not measured."
        )
        for gate in gates
    )


def unavailable(gates: Sequence[Gate], why: str) -> tuple[GateFinding, ...]:
    """Return one finding for each gate where what devices measured cannot be asked now: none is passed over for that."""
    return tuple(
        GateFinding(
            gate=gate,
            outcome="unavailable",
            text=f"{wording.MEASURES[gate.measure]}: telemetry cannot be asked: {why}",
        )
        for gate in gates
    )


def gate_figures(finding: GateFinding) -> dict[str, Scalar]:
    """Return a finding as figures of the audit log."""
    return {
        "gate": finding.gate.measure,
        "outcome": finding.outcome,
        "devices": finding.devices,
        "estimate": finding.estimate,
        "low": finding.low,
        "high": finding.high,
        "worst": finding.gate.worst,
        "confidence": finding.gate.confidence,
    }


def _jobs_end(rollout: Rollout, stage: int, count: JobCounts, *, waited: bool) -> StageEnd:
    plan = rollout.plan
    away = 0 if waited else count.absent
    present = count.open - count.absent
    if not count.succeeded + count.failed + present:
        if away:
            return _waits(f"none of its {wording.devices(away)} has been heard yet.", count)
        reason = (
            f"none of its {wording.devices(count.absent)} was heard in {wording.duration(plan.absent_seconds)}."
            if count.absent
            else f"every job of its {wording.devices(count.canceled)} was canceled, since they left the group or were taken out."
        )
        return StageEnd(verdict="asks", reason=reason, figures=_figures(count))
    due = count.succeeded + count.failed + present + away
    ratio = plan.stages[stage].success_ratio
    needed = math.ceil(ratio * due - 1e-9)
    said = f"{count.succeeded} of {wording.devices(due)} succeeded"
    if count.succeeded + present + away < needed:
        return StageEnd(
            verdict="stops",
            reason=f"{said}, {count.failed} failed: {100 * ratio:g} % cannot be reached any more.",
            figures=_figures(count),
        )
    if count.succeeded < needed:
        return _waits(f"{said}; {needed} are needed, {present} are at it, {away} are absent.", count)
    if stage == len(plan.stages) - 1 and present:
        return _waits(f"{said}; the last {present} are at it.", count)
    left = count.total - due
    without = f", {left} absent or canceled" if left else ""
    return StageEnd(verdict="passes", reason=f"{said}{without}.", figures=_figures(count))


def _blocks(finding: GateFinding) -> bool:
    if finding.outcome == "unavailable" or (finding.gate.required and finding.outcome != "passed"):
        return True
    return (
        finding.outcome == "undecided"
        and finding.estimate is not None
        and finding.estimate > finding.gate.worst
    )


def _waits(reason: str, count: JobCounts) -> StageEnd:
    return StageEnd(verdict="waits", reason=reason, figures=_figures(count))


def _figures(count: JobCounts) -> dict[str, Scalar]:
    return {
        "devices": count.total,
        "succeeded": count.succeeded,
        "failed": count.failed,
        "open": count.open,
        "absent": count.absent,
        "canceled": count.canceled,
    }
