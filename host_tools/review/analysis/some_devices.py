"""`worse_on_some`: devices that a new artifact makes worse while it does nothing to others of their kind.

A mean over devices hides them; here each paired device's own difference is held against the spread of all of its group.
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

    from host_tools.review.analysis.comparison import WindowComparison

FALSE_SHARE = 0.01
MIN_DEVICES = 12
LEAST = {"latency_p50_seconds": 0.05, "latency_p95_seconds": 0.05, "energy_per_inference_joules": 0.15}
"""What is watched, and by how much more than its group a device changes at least. Energy follows a device's load."""
_LEAST_DEVICES = 2
"""One device that changed is that device's matter: change points and stragglers tell of it."""


def worse_on_some(
    comparison: WindowComparison,
    artifact_a: str,
    artifact_b: str,
    *,
    groups: Mapping[str, str],
    start: float,
    end: float,
) -> tuple[Finding, ...]:
    """Find devices that are worse by much more than their group is, one finding a measure and group."""
    names = comparison.pairing.paired.devices
    members = np.array([groups.get(one, "") for one in names], dtype=object)
    found = []
    for name, least in LEAST.items():
        measure, own = MEASURES[name], comparison.own[name]
        for group in sorted(set(members.tolist())):
            rows = np.flatnonzero((members == group) & np.isfinite(own))
            if len(rows) < MIN_DEVICES:
                continue
            z, median, _ = estimates.robust_z(own[rows])
            adjusted = benjamini_hochberg(special.ndtr(-measure.worse * z))
            apart = np.expm1(own[rows] - median)
            told = np.flatnonzero((adjusted < FALSE_SHARE) & (measure.worse * apart >= least))
            if told.size < _LEAST_DEVICES:
                continue
            told = told[np.argsort(-np.abs(apart[told]), kind="stable")]
            devices = tuple(names[row] for row in rows[told])
            change = measure.change(float(np.median(own[rows[told]])))
            before = measure.values(comparison.pairing.paired.before)[rows[told]]
            after = measure.values(comparison.pairing.paired.after)[rows[told]]
            changes = np.expm1(own[rows[told]])
            effect = Effect(
                measure=name,
                unit=measure.unit,
                before=float(np.median(before)),
                after=float(np.median(after)),
                scale="ratio",
                change=change,
                low=float(changes.min()),
                high=float(changes.max()),
                level=1.0,
            )
            found.append(
                Finding(
                    kind="regression",
                    severity="warning",
                    what=(
                        f"{measure.title[0].upper()}{measure.title[1:]} of {wording.devices(devices)} only is "
                        f"{wording.change(effect)} higher with {wording.artifact(artifact_b)} than with "
                        f"{wording.artifact(artifact_a)}; of all {len(rows)} of {group or 'the fleet'} it is "
                        f"{100 * measure.change(median):+.1f} %."
                    ),
                    next_step="See what these devices have in common before the rollout goes on.",
                    devices=devices,
                    artifacts=(artifact_a, artifact_b),
                    group=group,
                    start=start,
                    end=end,
                    effect=effect,
                    p_value=float(adjusted[told].max()),
                    evidence={"devices": float(len(devices)), "peers": float(len(rows))},
                )
            )
    return tuple(found)
