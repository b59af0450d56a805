"""Whether models give something else than they did: another mix of classes, or another confidence.

Both are held against each other by the population stability index (PSI), confidence also by the largest distance of
the cumulated shares (Kolmogorov and Smirnov's D). Neither is read off a table: a PSI of few frames is large by chance, its
expectation without drift being (bins − 1) · (1/n + 1/m), and more than that when frames of a device are alike, as frames of
a camera are. So chance is played: each device's two sides are swapped at random, as a whole, which needs no frame to be
independent of another. The index less its mean under chance is the corrected one; its p-value counts the swaps that reach it.

Source: Yurdakul, "Statistical properties of population stability index" (2018), distribution and bias; Siddiqi, "Credit Risk
Scorecards" (2006), 0.1 and 0.25 as a moderate and a large shift; Ernst, Statist. Sci. 19 (2004), permutation tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from host_tools.review.analysis import wording
from host_tools.review.analysis.findings import Effect, Finding, Severity
from host_tools.review.analysis.multiplicity import holm
from host_tools.review.analysis.regroup import codes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from host_tools.review.store.windows import OutputTable

ALPHA = 0.01
MIN_DEVICES = 8
MIN_FRAMES = 200
"""On each side, all devices together."""
MODERATE, LARGE = 0.1, 0.25
LEAST = 0.02
"""A smaller corrected index is not told, however sure: 0.02 is about 2 frames of 100 moved to another class."""
_DRAWS = 1999
_MOST_CLASSES = 50
"""Commonest classes that are told apart; all others are one."""
_SMOOTHED = 0.5
RARE = -1
"""Stands for all classes that are not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One output of one group, now against before.

    Attributes:
        group: Which devices.
        output: Its name.
        subject: What drifted, or did not.
        psi: As it comes.
        corrected: Less what chance gives.
        distance: Largest distance of cumulated shares; NaN for classes, which have no order.
        p_value: As drawn.
        p_adjusted: After Holm's correction over all drifts looked at.
        devices: How many were looked at.
        frames_before: Results.
        frames_after: Results.
        mean_before: Mean confidence; NaN for classes.
        mean_after: Likewise.
        most_moved: Class whose share changed most; `RARE`: the rare ones together, or confidence.
        share_before: Its share before.
        share_after: Its share now.
    """

    group: str
    output: str
    subject: str
    psi: float
    corrected: float
    distance: float
    p_value: float
    p_adjusted: float
    devices: int
    frames_before: int
    frames_after: int
    mean_before: float
    mean_after: float
    most_moved: int
    share_before: float
    share_after: float

    @property
    def is_to_be_told(self) -> bool:
        """Whether it is surely there, and large enough to matter."""
        return self.p_adjusted < ALPHA and self.corrected >= LEAST


def psi(before: NDArray[np.floating[Any]], after: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the index over the last axis of counts, half a frame added to each bin so that none is empty."""
    p, q = (
        (one + _SMOOTHED) / (one + _SMOOTHED).sum(axis=-1, keepdims=True)
        for one in (np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64))
    )
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def drifts(
    table: OutputTable, sides: NDArray[np.int64], *, groups: Mapping[str, str], seed: int = 0
) -> tuple[Drift, ...]:
    """Hold what devices give now against what they gave before.

    Args:
        table: Outputs by device and whatever tells the sides apart.
        sides: Of each row 0 (before), 1 (after), or -1 (neither).
        groups: Group of each device.
        seed: Of what is drawn at random.

    Returns:
        One for classes and one for confidence, for each output and group of which there is enough.
    """
    found: list[Drift] = []
    device, names = codes(table.keys[table.axes.index("device")])
    members = np.array([groups.get(one, "") for one in names], dtype=object)
    for output in sorted(set(table.name.tolist())):
        for group in sorted(set(members.tolist())):
            rows = np.flatnonzero((table.name == output) & (members[device] == group) & (sides >= 0))
            for subject in (_classes(table, rows, device, sides), _confidence(table, rows, device, sides)):
                rng = np.random.default_rng([seed, len(found)])
                if subject is not None and subject.is_enough:
                    found.append(drift_of(subject, rng, group=group, output=output))
    adjusted = holm([one.p_value for one in found])
    return tuple(replace(one, p_adjusted=float(p)) for one, p in zip(found, adjusted, strict=True))


def told(
    found: Sequence[Drift], *, artifacts: tuple[str, ...], start: float, end: float, since: str
) -> tuple[Finding, ...]:
    """Return the drifts that are surely there and large enough to matter, as findings.

    Args:
        found: What `drifts` gave.
        artifacts: Digests that it is about.
        start: Unix time from which the later side is counted.
        end: Until when.
        since: How the sentence ends: ``with X against Y``, ``since …``.
    """
    return tuple(_finding(one, artifacts, start, end, since) for one in found if one.is_to_be_told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Counts float64[2, devices, bins] of devices that have something on both sides; what the bins are."""

    name: Literal["classes", "confidence", "values"]
    counts: NDArray[np.float64]
    bins: NDArray[np.int64]

    @property
    def is_enough(self) -> bool:
        """Whether there is enough on both sides."""
        frames = self.counts.sum(axis=(1, 2))
        enough = self.counts.shape[1] >= MIN_DEVICES and self.counts.shape[2] > 1
        return enough and float(frames.min()) >= MIN_FRAMES


def _classes(
    table: OutputTable, rows: NDArray[np.int64], device: NDArray[np.int64], sides: NDArray[np.int64]
) -> Subject | None:
    rows = rows[table.top_index[rows] >= 0]
    if not rows.size:
        return None
    places, known = codes(table.top_index[rows])
    whose, devices = codes(device[rows])
    counts = np.zeros((2, len(devices), len(known)))
    np.add.at(counts, (sides[rows], whose, places), table.count[rows])
    order = np.argsort(-counts.sum(axis=(0, 1)), kind="stable")
    kept, rare = order[:_MOST_CLASSES], order[_MOST_CLASSES:]
    bins = np.array([known[one] for one in kept], dtype=np.int64)
    if rare.size:
        counts = np.concatenate((counts[:, :, kept], counts[:, :, rare].sum(axis=2, keepdims=True)), axis=2)
        bins = np.append(bins, RARE)
    else:
        counts = counts[:, :, kept]
    return Subject(name="classes", counts=on_both_sides(counts), bins=bins)


def _confidence(
    table: OutputTable, rows: NDArray[np.int64], device: NDArray[np.int64], sides: NDArray[np.int64]
) -> Subject | None:
    rows = rows[table.top_index[rows] >= 0]
    if not rows.size:
        return None
    whose, devices = codes(device[rows])
    counts = np.zeros((2, len(devices), table.confidence.shape[1]))
    np.add.at(counts, (sides[rows], whose), table.confidence[rows])
    return Subject(
        name="confidence", counts=on_both_sides(counts), bins=np.arange(counts.shape[2], dtype=np.int64)
    )


def on_both_sides(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return counts of the devices that have some on both sides."""
    return np.asarray(counts[:, (counts.sum(axis=2) > 0).all(axis=0)])


def drift_of(subject: Subject, rng: np.random.Generator, *, group: str, output: str) -> Drift:
    """Hold one side of a subject against the other, and against chance."""
    # Each device counts once, however much it says: its shares, times the frames of a mean device.
    frames = subject.counts.sum(axis=(1, 2))
    devices = subject.counts.shape[1]
    shares = subject.counts / subject.counts.sum(axis=2, keepdims=True)
    scale = frames / devices
    before, after = shares[0].sum(axis=0) * scale[0], shares[1].sum(axis=0) * scale[1]
    observed = float(psi(before, after))
    signs = rng.integers(0, 2, (_DRAWS, devices)).astype(np.float64)
    moved = signs @ (shares[1] - shares[0])
    played = psi((shares[0].sum(axis=0) + moved) * scale[0], (shares[1].sum(axis=0) - moved) * scale[1])
    old, new = before / before.sum(), after / after.sum()
    most = int(np.argmax(np.abs(new - old)))
    is_confidence, is_ordered = subject.name == "confidence", subject.name != "classes"
    middles = (subject.bins + 0.5) / len(subject.bins)
    return Drift(
        group=group,
        output=output,
        subject=subject.name,
        psi=observed,
        corrected=max(0.0, observed - float(played.mean())),
        distance=float(np.abs(np.cumsum(new - old)).max()) if is_ordered else math.nan,
        p_value=(1 + int(np.count_nonzero(played >= observed * (1 - 1e-12)))) / (1 + _DRAWS),
        p_adjusted=math.nan,
        devices=devices,
        frames_before=int(frames[0]),
        frames_after=int(frames[1]),
        mean_before=float(old @ middles) if is_confidence else math.nan,
        mean_after=float(new @ middles) if is_confidence else math.nan,
        most_moved=int(subject.bins[most]) if not is_ordered else RARE,
        share_before=float(old[most]),
        share_after=float(new[most]),
    )


def _finding(one: Drift, artifacts: tuple[str, ...], start: float, end: float, since: str) -> Finding:
    severity: Severity = (
        "error" if one.corrected >= LARGE else "warning" if one.corrected >= MODERATE else "info"
    )
    where = f" on {one.group}" if one.group else ""
    if one.subject == "confidence":
        told_of = f"is {one.mean_before:.3f} → {one.mean_after:.3f} on average"
        next_step = "Look at frames that the model is least sure of, and at the cameras' light and focus."
    else:
        which = "the rare classes" if one.most_moved == RARE else f"class {one.most_moved}"
        told_of = f"moved, most of all {which}: {100 * one.share_before:.1f} → {100 * one.share_after:.1f} % of the frames"
        next_step = "Label some frames of before and after: tell whether the scene changed or the model."
    subject = "The confidence" if one.subject == "confidence" else "The mix of classes"
    return Finding(
        kind="output_drift",
        severity=severity,
        what=(
            f"{subject} of output {one.output}{where} {told_of} {since} (population stability index "
            f"{one.corrected:.3f} beyond chance; {one.devices} devices, {wording.chance(one.p_adjusted)})."
        ),
        next_step=next_step,
        devices=(),
        artifacts=artifacts,
        group=one.group,
        start=start,
        end=end,
        effect=stability_effect(one, "population_stability_index"),
        p_value=one.p_adjusted,
        evidence={
            "devices": float(one.devices),
            "frames_before": float(one.frames_before),
            "frames_after": float(one.frames_after),
            "psi": one.psi,
            "psi_beyond_chance": one.corrected,
            "largest_distance": one.distance,
        },
    )


def stability_effect(one: Drift, measure: str) -> Effect:
    """Return how far a drift goes beyond what chance gives."""
    return Effect(
        measure=measure,
        unit="1",
        before=one.psi - one.corrected,
        after=one.psi,
        scale="difference",
        change=one.corrected,
        low=-math.inf,
        high=math.inf,
    )
