"""`judge`: the candidate against the previous artifact on the same devices, one gate at a time.

A gate has failed when its confidence sequence lies above what is allowed, has passed when it lies below, and is undecided in between;
what follows from that at the end of a stage is `stage_end`'s. A device is one value, however much it says: its own change, of
logarithms for latency and energy. What changed meanwhile on devices that kept the previous artifact (weather, load) is taken
off where there are enough of them. Each way the chance of a wrong decision is at most 1 − `confidence`, over all looks.

Shares of time and agreement of outputs lie at their best on nearly every device: there a mean says little of the device that has
not been seen. One more device at the worst value is counted in their upper end, so that few devices never show that all is well.

Crashes are counted over all devices: a Poisson rate before, exact, and one after, time-uniform; the interval of their difference
holds both, each at half the chance.

Where too few devices have figures of both artifacts, it is told how many have them of one: none with the candidate is an ingest that
was away, none before it a group without a history.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.fleet.records.gates import GateFinding
from host_tools.fleet.rollout import wording
from host_tools.fleet.rollout.confidence import mean_sequence, rate_lower, rate_sequence, rate_upper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.fleet.records.gates import Gate, GateMeasure, GateOutcome

LEAST_CONTROLS: Final = 8
"""With fewer devices that kept the previous artifact nothing is taken off."""
_CONTROLS_PART: Final = 0.2
"""Of the chance of a wrong decision, what the controls may use."""
_LEAST_SPREAD: Final[Mapping[GateMeasure, float]] = MappingProxyType(
    {
        "latency_p50": 0.005,
        "latency_p95": 0.005,
        "energy_per_inference": 0.005,
        "temperature": 0.1,
        "throttled_share": 0.001,
        "output_agreement": 0.001,
    }
)
"""Devices are not believed to be more alike than what is measured is exact: a histogram's bucket is 2.2 % wide."""
_RATE_SOUGHT: Final = 4.0
"""Crashes of so many times what is allowed are found soonest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Figures of devices with the previous artifact and with the candidate; NaN where there is too little to say.

    Attributes:
        before: float64[devices]: seconds, joules, °C; a share of 0 to 1 for `throttled_share`; for `output_agreement` the mean cosine
            of the shadow run's outputs to those of the previous artifact, which is 1 before.
        after: float64[devices], in the same order.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashes:
    """Crashes of devices with the previous artifact and with the candidate; starts that an update asks for are none.

    Attributes:
        before: int64[devices].
        after: int64[devices].
        before_hours: float64[devices]: time in which they were counted.
        after_hours: float64[devices].
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    before_hours: NDArray[np.float64]
    after_hours: NDArray[np.float64]


def judge(
    gate: Gate,
    figures: Pairs | Crashes,
    controls: Pairs | None = None,
    *,
    release: str = "the release",
) -> GateFinding:
    """Decide one gate on what is known now.

    Args:
        gate: What is allowed.
        figures: `Crashes` for the gate of crashes, else `Pairs`. Devices that have them of one artifact only are told of where there
            are too few of both, and count for nothing else.
        controls: Figures of devices that kept the previous artifact, before and after most others changed.
        release: What the candidate is called.

    Raises:
        ValueError: The figures are of the other kind.
    """
    if isinstance(figures, Crashes) != (gate.measure == "crashes"):
        raise ValueError(f"gate {gate.measure}: got {type(figures).__name__}")
    if isinstance(figures, Crashes):
        return _judge_crashes(gate, figures, release)
    worse = _worsening(gate.measure, figures)
    if len(worse) < max(2, gate.least_devices):
        sides = _Sides(
            before=_figures(gate.measure, figures.before),
            after=_figures(gate.measure, figures.after),
            release=release,
        )
        return _too_few(gate, sides, float(worse.mean()) if len(worse) else None)
    alpha = 1.0 - gate.confidence
    spread = _LEAST_SPREAD[gate.measure]
    others = _controls(gate, controls)
    if others is None:
        mean, low, high = mean_sequence(worse, alpha, least_spread=spread)
        high = max(high, _with_an_unseen_device(gate, worse, alpha))
        return _finding(gate, len(worse), (mean, low, high))
    mean, low, high = mean_sequence(worse, alpha * (1 - _CONTROLS_PART), least_spread=spread)
    high = max(high, _with_an_unseen_device(gate, worse, alpha * (1 - _CONTROLS_PART)))
    theirs = mean_sequence(others, alpha * _CONTROLS_PART, least_spread=spread)
    if not math.isfinite(theirs[1]):
        return _finding(gate, len(worse), (mean, low, high))
    taken_off = (mean - theirs[0], low - theirs[2], high - theirs[1])
    return _finding(gate, len(worse), taken_off, controls=len(others))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Which devices have figures of which artifact: bool[devices], in the same order."""

    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    release: str

    def said(self) -> str:
        """How many have them of each."""
        return f"{_count(self.after)} with {self.release}, {_count(self.before)} with what they ran before"

    def missing(self) -> str:
        """Of whom the other is missing; empty: of nobody."""
        alone = (
            (self.after & ~self.before, self.release),
            (self.before & ~self.after, "what they ran before"),
        )
        return "".join(f"; {_count(which)} with {name} only" for which, name in alone if which.any())


def _judge_crashes(gate: Gate, figures: Crashes, release: str) -> GateFinding:
    sides = _Sides(before=figures.before_hours > 0, after=figures.after_hours > 0, release=release)
    known = sides.before & sides.after
    before, after = int(figures.before[known].sum()), int(figures.after[known].sum())
    before_hours = float(figures.before_hours[known].sum())
    after_hours = float(figures.after_hours[known].sum())
    devices = int(known.sum())
    estimate = after / after_hours - before / before_hours if devices else None
    if devices < max(1, gate.least_devices):
        return _too_few(gate, sides, estimate)
    half = (1.0 - gate.confidence) / 2
    low, high = rate_sequence(after, after_hours, half, expected=_RATE_SOUGHT * gate.worst)
    ends = (
        after / after_hours - before / before_hours,
        low - rate_upper(before, before_hours, half),
        high - rate_lower(before, before_hours, half),
    )
    counted = f", {after} in {wording.digits(after_hours)} device-hours after {before} in {wording.digits(before_hours)}"
    return _finding(gate, devices, ends, counted=counted)


def _worsening(measure: GateMeasure, pairs: Pairs) -> NDArray[np.float64]:
    """Each device's own change, above 0 when it is worse; devices without both figures are left out."""
    before, after = pairs.before, pairs.after
    known = _figures(measure, before) & _figures(measure, after)
    if measure in wording.RATIOS:
        return np.log(after[known] / before[known])
    change = after[known] - before[known]
    return -change if measure == "output_agreement" else change


def _figures(measure: GateMeasure, side: NDArray[np.float64]) -> NDArray[np.bool_]:
    known = np.isfinite(side)
    return known & (side > 0) if measure in wording.RATIOS else known


def _controls(gate: Gate, controls: Pairs | None) -> NDArray[np.float64] | None:
    if controls is None or gate.measure == "output_agreement":
        return None
    others = _worsening(gate.measure, controls)
    return others if len(others) >= LEAST_CONTROLS else None


def _with_an_unseen_device(gate: Gate, worse: NDArray[np.float64], alpha: float) -> float:
    if gate.measure not in wording.SHARES:
        return -math.inf
    return mean_sequence(np.append(worse, 1.0), alpha)[2]


def _finding(
    gate: Gate,
    devices: int,
    ends: tuple[float, float, float],
    *,
    controls: int = 0,
    counted: str = "",
) -> GateFinding:
    if gate.measure in wording.SHARES and math.isfinite(ends[1]):
        ends = (ends[0], max(ends[1], -1.0), min(ends[2], 1.0))
    worst = math.log1p(gate.worst) if gate.measure in wording.RATIOS else gate.worst
    outcome: GateOutcome = "undecided"
    if ends[1] > worst:
        outcome = "failed"
    elif ends[2] <= worst:
        outcome = "passed"
    estimate, low, high = (_shown(gate.measure, one) for one in ends)
    is_sure = math.isfinite(ends[1]) and math.isfinite(ends[2])
    say = {
        "failed": "worse than the {limit} that are allowed",
        "passed": "within the {limit} that are allowed",
        "undecided": "undecided, {limit} are allowed",
    }[outcome].format(limit=wording.limit(gate.measure, gate.worst))
    beside = f" beside {controls} that kept the previous artifact" if controls else ""
    interval = (
        f"{100 * gate.confidence:g} % sure: {wording.interval(gate.measure, low, high)}"
        if is_sure
        else f"too few to be {100 * gate.confidence:g} % sure of anything"
    )
    return GateFinding(
        gate=gate,
        outcome=outcome,
        devices=devices,
        estimate=estimate,
        low=low if is_sure else None,
        high=high if is_sure else None,
        text=(
            f"{wording.MEASURES[gate.measure]}: {wording.worsening(gate.measure, estimate)} on {wording.devices(devices)}"
            f"{counted}{beside} ({interval}): {say}."
        ),
    )


def _too_few(gate: Gate, sides: _Sides, change: float | None) -> GateFinding:
    name = wording.MEASURES[gate.measure]
    if change is None:
        told = (
            f"no device has told how its outputs with {sides.release} agree with those before."
            if gate.measure == "output_agreement"
            else f"no device has figures of both artifacts: {sides.said()}."
        )
        return GateFinding(gate=gate, outcome="not_measured", text=f"{name}: {told}")
    estimate, devices = _shown(gate.measure, change), int((sides.before & sides.after).sum())
    return GateFinding(
        gate=gate,
        outcome="undecided",
        devices=devices,
        estimate=estimate,
        text=(
            f"{name}: {wording.worsening(gate.measure, estimate)} on {wording.devices(devices)} with figures of both artifacts:"
            f" undecided, it takes {gate.least_devices}{sides.missing()}."
        ),
    )


def _count(which: NDArray[np.bool_]) -> str:
    """Return how many, in words where it is none."""
    count = int(which.sum())
    return "none" if not count else "1 has them" if count == 1 else f"{count} have them"


def _shown(measure: GateMeasure, change: float) -> float:
    """A change as the gate's unit has it: a ratio's logarithm as the ratio less 1; infinity stays."""
    if measure not in wording.RATIOS:
        return change
    return math.expm1(change) if change < 700 else math.inf
