"""`compare_windows`: artifact B against A, measure by measure, on all devices and on each kind of them.

Ratios are averaged as logarithms by trimmed means over devices; a device is one value, however much it says. Holm's
correction runs over all measures and groups together. Without devices that kept A, the interval also holds what time alone
does (`time_noise`). Equivalence is asked with the same estimate: B is `no_worse` when
the interval of twice the error rate, which is a one-sided bound at the confidence told, stays within the margin.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis import estimates, percentiles
from host_tools.review.analysis.estimates import Estimate
from host_tools.review.analysis.findings import (
    Effect,
    LatencyCurve,
    MeasureComparison,
    Verdict,
)
from host_tools.review.analysis.measures import MEASURES, Measure
from host_tools.review.analysis.multiplicity import holm
from host_tools.review.analysis.pairing import Pairing, Sides, pair
from host_tools.review.analysis.regroup import regroup
from host_tools.review.analysis.time_noise import TimeNoise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from numpy.typing import NDArray

    from host_tools.review.store.windows import WindowTable

MIN_DEVICES = 8
"""With fewer there is no verdict."""
ALPHA = 0.05
CURVE_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowComparison:
    """What windows alone say of B against A; `review.compare` adds outputs and labels.

    Attributes:
        measures: All devices first, then group by group.
        curves: Of A and of B.
        pairing: What was compared.
        own: By measure, each paired device's difference as `Measure.compared` gives it; NaN where unknown.
        notes: What a reader must know.
    """

    measures: tuple[MeasureComparison, ...]
    curves: tuple[LatencyCurve, ...]
    pairing: Pairing
    own: Mapping[str, NDArray[np.float64]]
    notes: tuple[str, ...]


def compare_windows(
    table: WindowTable,
    artifact_a: str,
    artifact_b: str,
    *,
    groups: Mapping[str, str],
    margins: Mapping[str, float] | None = None,
    alpha: float = ALPHA,
    seed: int = 0,
) -> WindowComparison:
    """Compare two artifacts.

    Args:
        table: Windows by device, artifact and, for the same hours of the day and for controls, time.
        artifact_a: Digest of what B is held against.
        artifact_b: Digest.
        groups: Group of each device, e.g. ``target pi5``; devices without one count only among all.
        margins: Margin by measure, where it is to be another than the measure's own.
        alpha: Chance of any false difference in the whole comparison.
        seed: Of what is drawn at random.

    Raises:
        ValueError: The table has no axis ``device`` or ``artifact``, or a margin is of no measure or not above 0.
    """
    wanted = _margins(margins or {})
    pairing = pair(table, artifact_a, artifact_b)
    names = ["", *sorted(set(groups.values()))]
    found: list[MeasureComparison] = []
    own: dict[str, NDArray[np.float64]] = {}
    for measure in MEASURES.values():
        time_noise = None
        if pairing.switched_at and measure.method == "trimmed":
            time_noise = TimeNoise(table, measure, pairing.switched_at, (artifact_a, artifact_b))
        question = _Question(measure, pairing, np.random.default_rng([seed, len(own)]), time_noise)
        own[measure.name] = question.differences
        found += [
            row
            for name in names
            if (row := question.answer(name, groups, wanted[measure.name], alpha)) is not None
        ]
    adjusted = holm([one.p_value for one in found])
    measures = tuple(
        dataclasses.replace(one, p_adjusted=float(p), verdict=_verdict(one, float(p), alpha))
        for one, p in zip(found, adjusted, strict=True)
    )
    order = {name: place for place, name in enumerate(names)}
    return WindowComparison(
        measures=tuple(sorted(measures, key=lambda one: order[one.group])),
        curves=_curves(table, artifact_a, artifact_b),
        pairing=pairing,
        own=own,
        notes=_notes(pairing),
    )


class _Question:
    """One measure: what devices say of it, and what that comes to for a group of them."""

    def __init__(
        self, measure: Measure, pairing: Pairing, rng: np.random.Generator, time_noise: TimeNoise | None
    ) -> None:
        self._time_noise = time_noise
        self._measure = measure
        self._pairing = pairing
        self._rng = rng
        self._before, self._after = _both(measure, pairing.paired)
        self.differences = measure.compared(self._after, self._before)
        self._control_differences = measure.compared(*reversed(_both(measure, pairing.controls)))
        self._only_a, self._only_b = measure.values(pairing.only_a), measure.values(pairing.only_b)

    def answer(
        self, group: str, groups: Mapping[str, str], margin: float, alpha: float
    ) -> MeasureComparison | None:
        """Compare within one group; None when no device there has this measure."""
        pairing, measure = self._pairing, self._measure
        mine = of_group(pairing.paired.devices, group, groups) & np.isfinite(self.differences)
        differences = self.differences[mine]
        controls = self._control_differences[of_group(pairing.controls.devices, group, groups)]
        controls = controls[np.isfinite(controls)]
        design: Literal["controlled", "paired", "unpaired"] = "paired"
        if len(differences) >= 2:
            before, after = self._before[mine], self._after[mine]
            if len(controls) >= MIN_DEVICES:
                design = "controlled"
        else:
            design = "unpaired"
            before = self._side(self._only_a, pairing.only_a, group, groups)
            after = self._side(self._only_b, pairing.only_b, group, groups)
            if measure.scale == "ratio":
                before, after = before[before > 0], after[after > 0]
            if min(len(before), len(after)) < 2:
                return None
        if measure.method == "plain" and design != "unpaired":
            if design == "controlled":
                differences = differences - controls.mean()
            estimate, p_value, interval = self._plain(differences, 1 - alpha)
        else:
            estimate = self._trimmed(design, differences, controls, before, after)
            if design == "paired" and self._time_noise is not None:
                names = frozenset(np.array(pairing.paired.devices, dtype=object)[mine].tolist())
                estimate = self._time_noise.added_to(estimate, names)
            p_value, interval = estimate.p_value, estimate.interval(1 - alpha)
        return MeasureComparison(
            group=group,
            measure=measure.name,
            effect=Effect(
                measure=measure.name,
                unit=measure.unit,
                before=float(np.median(before)) if measure.method == "trimmed" else float(before.mean()),
                after=float(np.median(after)) if measure.method == "trimmed" else float(after.mean()),
                scale=measure.scale,
                change=measure.change(estimate.value),
                low=measure.change(interval[0]),
                high=measure.change(interval[1]),
                level=1 - alpha,
            ),
            devices=estimate.count,
            design=design,
            p_value=p_value if estimate.count >= MIN_DEVICES else math.nan,
            p_adjusted=math.nan,
            margin=margin,
            verdict="too_few",
        )

    def _trimmed(
        self,
        design: str,
        differences: NDArray[np.float64],
        controls: NDArray[np.float64],
        before: NDArray[np.float64],
        after: NDArray[np.float64],
    ) -> Estimate:
        if design == "unpaired":
            if self._measure.scale == "ratio":
                before, after = np.log(before), np.log(after)
            return estimates.trimmed_difference(after, before)
        if design == "controlled":
            less = estimates.trimmed_difference(differences, controls)
            return dataclasses.replace(less, count=len(differences))
        return estimates.trimmed_mean(differences)

    def _plain(
        self, differences: NDArray[np.float64], level: float
    ) -> tuple[Estimate, float, tuple[float, float]]:
        p_value = estimates.sign_flip_p(differences, self._rng)
        interval = estimates.bootstrap_interval(differences, self._rng, level=level)
        value = Estimate(
            value=float(differences.mean()), error=math.nan, freedom=math.nan, count=len(differences)
        )
        return value, p_value, interval

    @staticmethod
    def _side(
        values: NDArray[np.float64], table: WindowTable, group: str, groups: Mapping[str, str]
    ) -> NDArray[np.float64]:
        names = tuple(table.key("device").tolist())
        return values[of_group(names, group, groups) & np.isfinite(values)]


def _both(measure: Measure, sides: Sides) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return measure.values(sides.before), measure.values(sides.after)


def of_group(devices: tuple[str, ...], group: str, groups: Mapping[str, str]) -> NDArray[np.bool_]:
    """Return which devices are of a group; all are of the one without a name."""
    return np.array([not group or groups.get(one) == group for one in devices], dtype=bool)


def _margins(margins: Mapping[str, float]) -> dict[str, float]:
    for name, margin in margins.items():
        if name not in MEASURES or not margin > 0:
            raise ValueError(
                f"margins: expected a margin above 0 of one of {', '.join(MEASURES)}, got {name!r}: {margin}"
            )
    return {name: margins.get(name, measure.margin) for name, measure in MEASURES.items()}


def _verdict(one: MeasureComparison, p_adjusted: float, alpha: float) -> Verdict:
    if one.effect is None or one.devices < MIN_DEVICES:
        return "too_few"
    worse = MEASURES[one.measure].worse
    if MEASURES[one.measure].follows_weather and one.design == "paired":
        p_adjusted = 1.0  # a warm week is no doing of B, and few days tell little of how warm weeks get
    ends = sorted((worse * one.effect.low, worse * one.effect.high))
    if p_adjusted < alpha and worse * one.effect.change > 0 and ends[1] >= one.margin:
        return "worse"
    if p_adjusted < alpha and worse * one.effect.change < 0 and ends[0] <= -one.margin:
        return "better"
    return "no_worse" if ends[1] < one.margin else "unclear"


def _curves(table: WindowTable, *artifacts: str) -> tuple[LatencyCurve, ...]:
    whole = regroup(table, ("artifact",))
    values = percentiles.quantiles(
        whole.hist, CURVE_SHARES, lowest=whole.latency_min, highest=whole.latency_max
    )
    rows = {digest: row for row, digest in enumerate(whole.key("artifact").tolist())}
    return tuple(
        LatencyCurve(
            artifact=digest,
            shares=CURVE_SHARES,
            seconds=tuple(float(one) for one in values[rows[digest]]),
            count=int(whole.latency_count[rows[digest]]),
        )
        for digest in artifacts
        if digest in rows
    )


def _notes(pairing: Pairing) -> tuple[str, ...]:
    notes = []
    both, controls = len(pairing.paired.devices), len(pairing.controls.devices)
    if both >= 2 and controls < MIN_DEVICES:
        notes.append(
            f"{controls} devices kept A all the time, too few to tell what B did from what the time did: weather and load "
            "count as B's. Keep some devices on A to know."
        )
    if both < 2:
        notes.append(
            "No two devices ran both artifacts: different devices are compared, and whatever else makes them different "
            "counts as B's."
        )
    return tuple(notes)
