"""Devices that heat slows down, and what it costs them. Counted, not inferred: the device says that it was slowed down.

A device that is hot stays hot for a while, so samples are taken to tell less than their number does.

Source: Wilson, J. Am. Statist. Assoc. 22 (1927), the interval of a share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.analysis import estimates, percentiles, wording
from host_tools.review.analysis.findings import Effect, Finding
from host_tools.review.analysis.regroup import chosen, regroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.review.store.windows import WindowTable

LEAST_SHARE = 0.05
"""A device that is slowed down for less of its time is not told."""
_GRAVE_SHARE = 0.3
_SAMPLES_ALIKE = 6.0
"""So many samples of 10 s tell as much as one that is independent."""


def throttling(table: WindowTable, *, groups: Mapping[str, str]) -> tuple[tuple[Finding, ...], int]:
    """Find devices that are slowed down for a share of their time that is surely above `LEAST_SHARE`.

    Args:
        table: Windows by device and time.
        groups: Group of each device.

    Returns:
        One finding a group, and how many devices told whether they are slowed down.
    """
    whole = regroup(table, ("device",), with_hist=False)
    names = whole.key("device").tolist()
    told = np.flatnonzero(whole.throttle_samples > 0)
    shares: dict[str, tuple[float, float, float]] = {}
    for row in told:
        trials = whole.throttle_samples[row] / _SAMPLES_ALIKE
        hits = whole.throttled[row] / _SAMPLES_ALIKE
        low, high = estimates.wilson_interval(hits, trials)
        if low > LEAST_SHARE:
            shares[names[row]] = (whole.throttled[row] / whole.throttle_samples[row], low, high)
    found = []
    for group in sorted({groups.get(one, "") for one in shares}):
        devices = [one for one in shares if groups.get(one, "") == group]
        devices.sort(key=lambda one: (-shares[one][0], one))
        peers = sum(groups.get(names[row], "") == group for row in told)
        found.append(_finding(table, tuple(devices), shares, group, peers))
    return tuple(found), len(told)


def _finding(
    table: WindowTable,
    devices: tuple[str, ...],
    shares: Mapping[str, tuple[float, float, float]],
    group: str,
    peers: int,
) -> Finding:
    own = chosen(table, np.isin(table.key("device").astype(str), devices))
    is_hot = own.throttled > 0.5 * own.throttle_samples
    is_cool = (own.throttled == 0) & (own.throttle_samples > 0)
    slow = _median(chosen(own, is_hot))
    fast = _median(chosen(own, is_cool))
    middle = sorted(shares[one][0] for one in devices)[len(devices) // 2]
    hot = own.key("time")[own.throttled > 0].astype(np.float64)
    cost = ""
    if np.isfinite(slow) and np.isfinite(fast):
        cost = f" Their median latency is {wording.quantity(slow, 's')} then and {wording.quantity(fast, 's')} otherwise."
    return Finding(
        kind="throttling",
        severity="error" if middle >= _GRAVE_SHARE else "warning",
        what=(
            f"Heat slows down {wording.devices(devices)} of {peers} of {group or 'the fleet'} for "
            f"{100 * middle:.0f} % of the time, up to {np.nanmax(own.celsius_max):.0f} °C.{cost}"
        ),
        next_step="Look at ventilation, sun and dust; else give them a lighter variant (`heat` in the agent's configuration) or fewer frames.",
        devices=devices,
        artifacts=(),
        group=group,
        start=float(hot.min()),
        end=float(hot.max()) + table.level.seconds,
        effect=Effect(
            measure="throttled_ratio",
            unit="1",
            before=0.0,
            after=middle,
            scale="difference",
            change=middle,
            low=min(shares[one][1] for one in devices),
            high=max(shares[one][2] for one in devices),
        ),
        p_value=None,
        evidence={
            "devices": float(len(devices)),
            "peers": float(peers),
            "latency_p50_seconds_throttled": slow,
            "latency_p50_seconds_otherwise": fast,
            "celsius_max": float(np.nanmax(own.celsius_max)),
        },
    )


def _median(table: WindowTable) -> float:
    if not len(table.inferences):
        return float("nan")
    return float(percentiles.quantiles(regroup(table, ()).hist, (0.5,))[0, 0])
