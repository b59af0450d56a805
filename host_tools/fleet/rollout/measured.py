"""From telemetry to what gates found: windows of devices with both artifacts, each device against itself at the same hours.

The pairing is that of `host_tools.review.analysis`: only hours of the day that a device has on both sides count, and devices that kept
the previous artifact tell what time alone did. Where the history is too short for that, all hours count. A group of mixed hardware has
one pair of artifacts for each capability profile; a device counts with its own. Devices with figures of one artifact only are handed
on with them, so that a finding can say which side is missing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.fleet.records.gates import GateFinding
from host_tools.fleet.rollout import wording
from host_tools.fleet.rollout.gates import Crashes, Pairs, judge
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.analysis.pairing import pair
from host_tools.review.analysis.regroup import chosen, codes, regroup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from host_tools.fleet.records.gates import Gate, GateMeasure
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout
    from host_tools.review.analysis.pairing import Pairing, Sides
    from host_tools.review.store.windows import WindowTable

    _Figures: TypeAlias = Callable[[WindowTable], NDArray[np.float64]]

_HOUR: Final = 3_600.0
_LATEST: Final = np.iinfo(np.int64).max
_NAMES: Final[Mapping[GateMeasure, str]] = MappingProxyType(
    {
        "latency_p50": "latency_p50_seconds",
        "latency_p95": "latency_p95_seconds",
        "energy_per_inference": "energy_per_inference_joules",
        "temperature": "temperature_celsius",
        "throttled_share": "throttled_ratio",
    }
)


def versions_of(rollout: Rollout, release: Release) -> tuple[tuple[str, str], ...]:
    """Return the digests of previous artifact and candidate, for each profile that has both and whose artifact changes."""
    pairs = {
        (rollout.previous[profile].digest, artifact.digest)
        for profile, artifact in release.artifacts.items()
        if profile in rollout.previous
    }
    return tuple(sorted((before, after) for before, after in pairs if before != after))


def find(
    gates: Sequence[Gate],
    table: WindowTable | None,
    versions: Sequence[tuple[str, str]],
    agreements: Mapping[str, float],
    *,
    release: str = "the release",
    since_seconds: float = 0.0,
) -> tuple[GateFinding, ...]:
    """Judge every gate of a plan on what is stored.

    Args:
        gates: Of the plan.
        table: Windows of at most an hour by device, artifact and time, of all devices of the group, from a day before the first
            stage began; None: there is nothing.
        versions: As `versions_of`.
        agreements: By device, the mean cosine of its outputs with the candidate to those before. The agent tells it of every update that it
            activates, as ``shadow_cosine``.
        release: What the candidate is called.
        since_seconds: Unix time at which the table begins; what ran before is not in it.

    Raises:
        ValueError: The table has no axis ``device`` or ``artifact``.
    """
    if table is None:
        return tuple(_nothing_to_compare(gate, release) for gate in gates)
    table = _without_first_starts(table, since_seconds)
    at_same_hours = [pair(table, before, after) for before, after in versions]
    least = max((gate.least_devices for gate in gates), default=0)
    if sum(len(one.paired.devices) for one in at_same_hours) >= least:
        return tuple(_judged(gate, at_same_hours, agreements, release) for gate in gates)
    at_any_hour = _at_any_hour(table, versions)
    return tuple(_judged(gate, at_any_hour, agreements, release) for gate in gates)


def _at_any_hour(table: WindowTable, versions: Sequence[tuple[str, str]]) -> list[Pairing]:
    """Pair whatever the hour: of devices that are younger than a day no hour has both artifacts, and the rest would not be judged at all."""
    digests = {digest for version in versions for digest in version}
    known = chosen(table, np.array([one in digests for one in table.key("artifact").tolist()], dtype=bool))
    by_artifact = regroup(known, ("device", "artifact"))
    return [pair(by_artifact, before, after) for before, after in versions]


def _nothing_to_compare(gate: Gate, release: str) -> GateFinding:
    told = f"nothing to compare: before {release} the group ran nothing, or the same, or it has no device."
    return GateFinding(gate=gate, outcome="not_measured", text=f"{wording.MEASURES[gate.measure]}: {told}")


def _judged(
    gate: Gate, pairings: Sequence[Pairing], agreements: Mapping[str, float], release: str
) -> GateFinding:
    if gate.measure == "output_agreement":
        after = np.array([agreements[device] for device in sorted(agreements)])
        return judge(gate, Pairs(before=np.ones(len(after)), after=after), release=release)
    if gate.measure == "crashes":
        return judge(gate, _crashes(pairings), release=release)
    values = MEASURES[_NAMES[gate.measure]].values
    controls = _paired([one.controls for one in pairings], values, values)
    return judge(gate, _pairs(pairings, values, values, missing=math.nan), controls, release=release)


def _pairs(pairings: Sequence[Pairing], before: _Figures, after: _Figures, *, missing: float) -> Pairs:
    """Return the figures of devices with both artifacts, then of those with the previous one only, then with the candidate only."""
    both = _paired([one.paired for one in pairings], before, after)
    only_before = _joined([before(one.only_a) for one in pairings])
    only_after = _joined([after(one.only_b) for one in pairings])
    return Pairs(
        before=np.concatenate([both.before, only_before, np.full(len(only_after), missing)]),
        after=np.concatenate([both.after, np.full(len(only_before), missing), only_after]),
    )


def _paired(sides: Sequence[Sides], before: _Figures, after: _Figures) -> Pairs:
    return Pairs(
        before=_joined([before(one.before) for one in sides]),
        after=_joined([after(one.after) for one in sides]),
    )


def _crashes(pairings: Sequence[Pairing]) -> Crashes:
    """Starts of the agent but for those with which a device begins an artifact, which are in the table no more."""
    counts = _pairs(pairings, _starts, _starts, missing=0.0)
    hours = _pairs(pairings, _hours, _hours, missing=0.0)
    return Crashes(
        before=counts.before.astype(np.int64),
        after=counts.after.astype(np.int64),
        before_hours=hours.before,
        after_hours=hours.after,
    )


def _without_first_starts(table: WindowTable, since_seconds: float) -> WindowTable:
    """Return the table without the start with which a device begins an artifact: it is asked for, and no crash.

    It is in the first window of that artifact on that device. An artifact that is there in the table's first hour ran before, and what
    starts then is a crash.

    Raises:
        ValueError: The table has no axis ``device`` or ``artifact``.
    """
    if "device" not in table.axes or "artifact" not in table.axes:
        raise ValueError(f"find: expected windows by device and artifact, got axes {', '.join(table.axes)}.")
    count = len(table.starts)
    times = table.key("time").astype(np.int64) if "time" in table.axes else np.full(count, _LATEST)
    device, artifact = codes(table.key("device"))[0], codes(table.key("artifact"))[0]
    order = np.lexsort((times, artifact, device))
    is_first = np.ones(count, dtype=bool)
    is_first[1:] = (np.diff(device[order]) != 0) | (np.diff(artifact[order]) != 0)
    begins = np.zeros(count, dtype=bool)
    begins[order] = is_first
    begins &= times >= since_seconds + _HOUR
    return replace(table, starts=np.maximum(table.starts - begins, 0))


def _starts(table: WindowTable) -> NDArray[np.float64]:
    return table.starts.astype(np.float64)


def _hours(table: WindowTable) -> NDArray[np.float64]:
    return table.covered_seconds / _HOUR


def _joined(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *parts])
