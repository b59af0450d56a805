"""`StoredEvidence`: what the gates of a rollout find, from the store of telemetry.

Every device is held against itself, in the hours of the day that it ran both artifacts in; where the history is too short for that,
in all hours. What changed on devices that kept the previous artifact is taken off by `judge`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from host_tools.fleet.rollout.gates import Crashes, Pairs, judge
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.analysis.pairing import pair
from host_tools.review.analysis.reading import level_for
from host_tools.review.analysis.regroup import chosen, regroup
from host_tools.review.store.windows import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.fleet.records import Gate, GateFinding, GateMeasure, Release, Rollout
    from host_tools.review.analysis.pairing import Pairing, Sides
    from host_tools.review.analysis.reading import Answers
    from host_tools.review.store.windows import WindowTable

PREVIOUS, CANDIDATE = "previous", "candidate"
LOOKBACK_SECONDS: Final = 7 * 86_400.0
"""How long before the first stage figures of the previous artifact count."""
LOOK_SECONDS: Final = 30.0
"""How often the store is asked at most, for each rollout."""
_MOST_EVENTS: Final = 20_000
_NAMES: Final[Mapping[GateMeasure, str]] = {
    "latency_p50": "latency_p50_seconds",
    "latency_p95": "latency_p95_seconds",
    "energy_per_inference": "energy_per_inference_joules",
    "temperature": "temperature_celsius",
    "throttled_share": "throttled_ratio",
}
_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What was found last, and when."""

    seconds: float
    findings: tuple[GateFinding, ...]


class StoredEvidence:
    """Gates of rollouts, judged on telemetry.

    Args:
        telemetry: What the devices said.
        members: Gives the ids of a group's devices.
        look_seconds: A rollout that was looked at less long ago has the findings of then.
    """

    def __init__(
        self,
        telemetry: Answers,
        members: Callable[[str], Sequence[str]],
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._telemetry = telemetry
        self._members = members
        self._look_seconds = look_seconds
        self._looked: dict[str, _Looked] = {}

    def __call__(self, rollout: Rollout, release: Release, now_seconds: float) -> tuple[GateFinding, ...]:
        """Return a finding for each gate of a rollout whose first stage has begun.

        Raises:
            StoreError: The store of telemetry cannot answer.
        """
        plan, began = rollout.plan, rollout.stages[0].began_seconds
        if began is None or not plan.gates:
            return ()
        last = self._looked.get(plan.id)
        if last is not None and 0.0 <= now_seconds - last.seconds < self._look_seconds:
            return last.findings
        devices = tuple(self._members(plan.group))
        findings: tuple[GateFinding, ...] = ()
        if devices:
            figures = self._figures(rollout, release, devices, began, now_seconds)
            findings = tuple(figures.judged(gate) for gate in plan.gates)
        self._looked[plan.id] = _Looked(seconds=now_seconds, findings=findings)
        return findings

    def _figures(
        self, rollout: Rollout, release: Release, devices: tuple[str, ...], began: float, now: float
    ) -> _Figures:
        span = Selection(start=began - LOOKBACK_SECONDS, end=now, devices=devices)
        level = level_for(span, devices=len(devices))
        table = self._telemetry.windows(span, level=level, by=("device", "artifact", "time"))
        named = _named(table, rollout, release)
        measures = {gate.measure for gate in rollout.plan.gates}
        shadowed = (
            self._shadowed(replace(span, start=began), release)
            if "output_agreement" in measures
            else np.zeros(0)
        )
        least = max((gate.least_devices for gate in rollout.plan.gates), default=1)
        by_hours = pair(named, PREVIOUS, CANDIDATE)
        pairing = by_hours
        if len(by_hours.paired.devices) < least:
            either = chosen(named, np.isin(named.key("artifact").astype(str), (PREVIOUS, CANDIDATE)))
            anyhow = pair(regroup(either, ("device", "artifact")), PREVIOUS, CANDIDATE)
            if len(anyhow.paired.devices) > len(by_hours.paired.devices):
                pairing = replace(anyhow, switched_at=by_hours.switched_at)
        return _Figures(pairing=pairing, table=named, shadowed=shadowed)

    def _shadowed(self, span: Selection, release: Release) -> NDArray[np.float64]:
        """Return, for each device that tried the release beside what it ran, how much both agreed: 1 is wholly."""
        digests = {one.digest for one in release.artifacts.values()}
        events = self._telemetry.events(span, names=("update_activated",), limit=_MOST_EVENTS)
        agreed: dict[str, float] = {}
        for event in events:
            cosine = _cosine(event.details)
            if cosine is not None and (event.artifact is None or event.artifact in digests):
                agreed[event.device] = min(max(cosine, 0.0), 1.0)
        return np.array(list(agreed.values()), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """What one look at the telemetry gave."""

    pairing: Pairing
    table: WindowTable
    shadowed: NDArray[np.float64]

    def judged(self, gate: Gate) -> GateFinding:
        if gate.measure == "crashes":
            return judge(gate, self._crashes())
        if gate.measure == "output_agreement":
            return judge(gate, Pairs(before=np.ones(len(self.shadowed)), after=self.shadowed))
        return judge(
            gate,
            _pairs(gate.measure, self.pairing.paired),
            _pairs(gate.measure, self.pairing.controls),
        )

    def _crashes(self) -> Crashes:
        """Starts that nobody asked for, before and after a device switched; the switch itself is a start."""
        switched = self.pairing.switched_at
        places = {device: place for place, device in enumerate(sorted(switched))}
        starts = np.zeros((2, len(places)), dtype=np.int64)
        seconds = np.zeros((2, len(places)))
        rows = zip(
            self.table.key("device").tolist(),
            self.table.key("time").tolist(),
            self.table.starts.tolist(),
            self.table.covered_seconds.tolist(),
            strict=True,
        )
        for device, at, started, covered in rows:
            place = places.get(device)
            if place is not None:
                side = int(at >= switched[device])
                starts[side, place] += started
                seconds[side, place] += covered
        starts[1] = np.maximum(starts[1] - 1, 0)
        return Crashes(
            before=starts[0],
            after=starts[1],
            before_hours=seconds[0] / _HOUR,
            after_hours=seconds[1] / _HOUR,
        )


def _named(table: WindowTable, rollout: Rollout, release: Release) -> WindowTable:
    """Return the table with the digests of all profiles told as one: previous or candidate."""
    names = {one.digest: PREVIOUS for one in rollout.previous.values()}
    names |= {one.digest: CANDIDATE for one in release.artifacts.values()}
    digests: Sequence[Any] = table.key("artifact").tolist()
    told = np.array([names.get(one) for one in digests], dtype=object)
    keys = tuple(
        told if axis == "artifact" else values for axis, values in zip(table.axes, table.keys, strict=True)
    )
    return replace(table, keys=keys)


def _pairs(measure: GateMeasure, sides: Sides) -> Pairs:
    values = MEASURES[_NAMES[measure]].values
    return Pairs(before=values(sides.before), after=values(sides.after))


def _cosine(details: str) -> float | None:
    try:
        document = json.loads(details)
    except ValueError:
        return None
    cosine = document.get("shadow_cosine") if isinstance(document, dict) else None
    if isinstance(cosine, bool) or not isinstance(cosine, int | float) or not math.isfinite(cosine):
        return None
    return float(cosine)
