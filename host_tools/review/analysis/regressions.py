"""`regressions`: what a comparison says is worse or better, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis import wording
from host_tools.review.analysis.comparison import of_group
from host_tools.review.analysis.findings import Finding, MeasureComparison, Severity
from host_tools.review.analysis.measures import MEASURES, Measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.review.analysis.comparison import WindowComparison


def regressions(
    comparison: WindowComparison,
    artifact_a: str,
    artifact_b: str,
    *,
    groups: Mapping[str, str],
    start: float,
    end: float,
) -> tuple[Finding, ...]:
    """Return what is worse or better with B, one finding a measure and group.

    Where every group is the same way, it is one finding about all devices.
    """
    found: list[Finding] = []
    for measure in MEASURES.values():
        rows = [one for one in comparison.measures if one.measure == measure.name]
        for verdict in ("worse", "better"):
            some = [one for one in rows if one.group and one.verdict == verdict]
            known = [one for one in rows if one.group and one.verdict != "too_few"]
            all_of_them = [one for one in rows if not one.group and one.verdict == verdict]
            everywhere = len(some) == len(known) or not some
            for one in all_of_them if everywhere and all_of_them else some:
                devices = _worst_first(one, comparison, groups)
                found.append(_finding(one, devices, (artifact_a, artifact_b), start=start, end=end))
    return tuple(found)


def _worst_first(
    one: MeasureComparison, comparison: WindowComparison, groups: Mapping[str, str]
) -> tuple[str, ...]:
    """Paired devices of the group that changed in the finding's direction, the most changed first."""
    if one.effect is None:
        return ()
    own = np.sign(one.effect.change) * comparison.own[one.measure]
    names = comparison.pairing.paired.devices
    rows = np.flatnonzero(of_group(names, one.group, groups) & (np.nan_to_num(own) > 0))
    return tuple(names[row] for row in rows[np.argsort(-own[rows], kind="stable")])


def _finding(
    one: MeasureComparison,
    devices: tuple[str, ...],
    artifacts: tuple[str, str],
    *,
    start: float,
    end: float,
) -> Finding:
    assert one.effect is not None  # noqa: S101  # a verdict of worse or better has an effect
    measure, effect = MEASURES[one.measure], one.effect
    is_worse = one.verdict == "worse"
    surely = min(measure.worse * effect.low, measure.worse * effect.high) >= one.margin
    severity: Severity = "info" if not is_worse else "error" if surely else "warning"
    higher = "higher" if effect.change > 0 else "lower"
    where = f" on {one.group}" if one.group else ""
    return Finding(
        kind="regression" if is_worse else "improvement",
        severity=severity,
        what=(
            f"{measure.title[0].upper()}{measure.title[1:]}{where} is {wording.change(effect)} {higher} with "
            f"{wording.artifact(artifacts[1])} than with {wording.artifact(artifacts[0])}: "
            f"{wording.quantity(effect.before, effect.unit)} → {wording.quantity(effect.after, effect.unit)} "
            f"({wording.interval(effect)}; {one.devices} devices, {one.design})."
        ),
        next_step=_next_step(measure, is_worse=is_worse, group=one.group),
        devices=devices,
        artifacts=artifacts,
        group=one.group,
        start=start,
        end=end,
        effect=effect,
        p_value=one.p_adjusted,
        evidence={"devices": float(one.devices), "margin": one.margin, "p_unadjusted": one.p_value},
    )


def _next_step(measure: Measure, *, is_worse: bool, group: str) -> str:
    where = f" for {group}" if group else ""
    if not is_worse:
        return "Nothing to mend; go on with the rollout."
    if measure.name.startswith("latency"):
        return f"Hold the rollout{where} and profile both artifacts on one device: `edgewright explain` shows which operators changed."
    if measure.name == "failure_ratio":
        return (
            f"Hold the rollout{where} and read the errors of a device that fails: `edgewright review device`."
        )
    return f"Hold the rollout{where} until {measure.title} is accounted for."
