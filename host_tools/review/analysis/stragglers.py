"""Devices that do worse than others of the same kind with the same artifact.

How far a device is from the median of its peers is told in robust standard deviations (median absolute deviation, each
side by itself), so that stragglers do not hide each other; the share of false ones among those told is bounded.

Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993), the modified z-score; Leys et al., J. Exp. Soc.
Psychol. 49 (2013), median absolute deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from host_tools.review.analysis import estimates, wording
from host_tools.review.analysis.findings import Effect, Finding
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.analysis.multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.review.analysis.measures import Measure
    from host_tools.review.store.windows import WindowTable

MIN_PEERS = 10
FALSE_SHARE = 0.01
WATCHED = ("latency_p50_seconds", "latency_p95_seconds", "energy_per_inference_joules", "failure_ratio")
LEAST = {
    "latency_p50_seconds": 0.15,
    "latency_p95_seconds": 0.15,
    "energy_per_inference_joules": 0.2,
    "failure_ratio": 0.005,
}
"""Nearer to the median than this is no straggler, however alike the others are."""


def stragglers(
    table: WindowTable, *, groups: Mapping[str, str], start: float, end: float
) -> tuple[tuple[Finding, ...], int]:
    """Find devices apart from their peers.

    Args:
        table: Windows by device and artifact, each device's latest artifact only, without windows in which heat slowed it
            down: those are told as throttling.
        groups: Group of each device; peers have the same group and artifact.
        start: Unix time of the span.
        end: Its end.

    Returns:
        One finding for each measure, group and artifact that has stragglers, and how many devices were looked at.
    """
    names = table.key("device")
    artifacts = table.key("artifact")
    peers = np.array(
        [f"{groups.get(name, '')}\0{artifact}" for name, artifact in zip(names, artifacts, strict=True)],
        dtype=object,
    )
    has_artifact = np.array([one is not None for one in artifacts], dtype=bool)
    found: list[Finding] = []
    looked_at = 0
    for name in WATCHED:
        measure = MEASURES[name]
        values = measure.values(table)
        for peer in sorted(set(peers[has_artifact].tolist())):
            rows = np.flatnonzero((peers == peer) & has_artifact & np.isfinite(values))
            if measure.scale == "ratio":
                rows = rows[values[rows] > 0]
            if len(rows) < MIN_PEERS:
                continue
            looked_at += len(rows)
            own = np.log(values[rows]) if measure.scale == "ratio" else values[rows]
            z, median, spread = estimates.robust_z(own)
            adjusted = benjamini_hochberg(special.ndtr(-measure.worse * z))
            apart = np.array([measure.change(one) for one in own - median])
            is_one = (adjusted < FALSE_SHARE) & (measure.worse * apart >= LEAST[name])
            if is_one.any():
                worst = np.flatnonzero(is_one)[np.argsort(-np.abs(apart[is_one]), kind="stable")]
                found.append(
                    _finding(
                        measure,
                        tuple(str(names[rows[one]]) for one in worst),
                        artifact=str(artifacts[rows[0]]),
                        group=groups.get(str(names[rows[0]]), ""),
                        median=float(np.exp(median)) if measure.scale == "ratio" else median,
                        values=values[rows[worst]],
                        evidence={
                            "peers": float(len(rows)),
                            "worst_z": float(abs(z[worst[0]])),
                            "spread": spread,
                        },
                        p_value=float(adjusted[worst].max()),
                        span=(start, end),
                    )
                )
    return tuple(found), looked_at


def _finding(
    measure: Measure,
    devices: tuple[str, ...],
    *,
    artifact: str,
    group: str,
    median: float,
    values: NDArray[np.float64],
    evidence: dict[str, float],
    p_value: float,
    span: tuple[float, float],
) -> Finding:
    changes = values / median - 1 if measure.scale == "ratio" else values - median
    effect = Effect(
        measure=measure.name,
        unit=measure.unit,
        before=median,
        after=float(np.median(values)),
        scale=measure.scale,
        change=float(np.median(changes)),
        low=float(changes.min()),
        high=float(changes.max()),
        level=1.0,
    )
    peers = f"{evidence['peers']:.0f} devices of {group or 'the fleet'} with {wording.artifact(artifact)}"
    return Finding(
        kind="straggler",
        severity="warning",
        what=(
            f"{measure.title[0].upper()}{measure.title[1:]} of {wording.devices(devices)} is {wording.change(effect)} "
            f"above the median of {peers}: {wording.quantity(effect.after, effect.unit)} beside "
            f"{wording.quantity(effect.before, effect.unit)}."
        ),
        next_step="Compare one of them with a peer: clock frequency, memory, other programs, power supply, cooling.",
        devices=devices,
        artifacts=(artifact,),
        group=group,
        start=span[0],
        end=span[1],
        effect=effect,
        p_value=p_value,
        evidence=evidence,
    )
