"""Whether models are shown something else than they were: other light, another scene, frames prepared otherwise.

Held against each other as outputs are (`output_drift`), on the sketches that devices make of their inputs: the population
stability index of the values' buckets beyond what chance gives, and the largest distance of their cumulated shares
(Kolmogorov and Smirnov's D), which on buckets is a lower bound of that on the values. Values of one frame are alike, and frames
of a camera are, so chance is played by swapping each device's two sides as a whole. The sides are two halves of a span in which
the artifact stayed, or two artifacts: frames that one of them prepares otherwise are other inputs, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis import wording
from host_tools.review.analysis.findings import Finding
from host_tools.review.analysis.multiplicity import holm
from host_tools.review.analysis.output_drift import (
    MODERATE,
    Drift,
    Subject,
    drift_of,
    on_both_sides,
    stability_effect,
)
from host_tools.review.analysis.regroup import codes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.windows import InputTable


def drifts(
    table: InputTable, sides: NDArray[np.int64], *, groups: Mapping[str, str], seed: int = 0
) -> tuple[Drift, ...]:
    """Hold what devices show their models now against what they showed before.

    Args:
        table: Inputs by device and whatever tells the sides apart.
        sides: Of each row 0 (before), 1 (after), or -1 (neither).
        groups: Group of each device.
        seed: Of what is drawn at random.

    Returns:
        One for each input and group of which there is enough; its means are of the values, in real units.
    """
    found: list[Drift] = []
    device, names = codes(table.keys[table.axes.index("device")])
    members = np.array([groups.get(one, "") for one in names], dtype=object)
    for name in sorted(set(table.name.tolist())):
        for group in sorted(set(members.tolist())):
            rows = np.flatnonzero((table.name == name) & (members[device] == group) & (sides >= 0))
            subject = _values(table, rows, device, sides)
            rng = np.random.default_rng([seed, len(found)])
            if subject is not None and subject.is_enough:
                before, after = (_mean(table, rows[sides[rows] == side]) for side in (0, 1))
                one = drift_of(subject, rng, group=group, output=name)
                found.append(replace(one, mean_before=before, mean_after=after))
    adjusted = holm([one.p_value for one in found])
    return tuple(replace(one, p_adjusted=float(p)) for one, p in zip(found, adjusted, strict=True))


def told(
    found: Sequence[Drift], *, artifacts: tuple[str, ...], start: float, end: float, since: str
) -> tuple[Finding, ...]:
    """Return the drifts that are surely there and large enough to matter, as findings; arguments as `output_drift.told`."""
    return tuple(_finding(one, artifacts, start, end, since) for one in found if one.is_to_be_told)


def _values(
    table: InputTable, rows: NDArray[np.int64], device: NDArray[np.int64], sides: NDArray[np.int64]
) -> Subject | None:
    if not rows.size:
        return None
    whose, devices = codes(device[rows])
    counts = np.zeros((2, len(devices), table.buckets.shape[1]))
    np.add.at(counts, (sides[rows], whose), table.buckets[rows])
    counts = on_both_sides(counts)
    bins = np.flatnonzero(counts.sum(axis=(0, 1)))
    return Subject(name="values", counts=counts[:, :, bins], bins=bins)


def _mean(table: InputTable, rows: NDArray[np.int64]) -> float:
    return float(np.average(table.mean[rows], weights=table.values[rows]))


def _finding(one: Drift, artifacts: tuple[str, ...], start: float, end: float, since: str) -> Finding:
    where = f" on {one.group}" if one.group else ""
    return Finding(
        kind="input_drift",
        severity="warning" if one.corrected >= MODERATE else "info",
        what=(
            f"The values of input {one.output}{where} moved {since}, on average {one.mean_before:.4g} → {one.mean_after:.4g} "
            f"(population stability index {one.corrected:.3f} beyond chance, largest distance {one.distance:.3f}; "
            f"{one.devices} devices, {wording.chance(one.p_adjusted)})."
        ),
        next_step="Look at frames of before and after: light, focus, position, or how frames are prepared.",
        devices=(),
        artifacts=artifacts,
        group=one.group,
        start=start,
        end=end,
        effect=stability_effect(one, "input_stability_index"),
        p_value=one.p_adjusted,
        evidence={
            "devices": float(one.devices),
            "values_before": float(one.frames_before),
            "values_after": float(one.frames_after),
            "mean_before": one.mean_before,
            "mean_after": one.mean_after,
            "psi": one.psi,
            "psi_beyond_chance": one.corrected,
            "largest_distance": one.distance,
        },
    )
