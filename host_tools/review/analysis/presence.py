"""Devices that are silent, and devices that start again and again.

Silence is counted: nothing came for longer than the device was ever silent before. What was delayed by the network looks the
same until it arrives. Starts are counts: a device is told when it has more than chance would give one that starts as often as
the median of its group (Poisson), the share of false ones among those told being bounded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import poisson

from host_tools.review.analysis import series, wording
from host_tools.review.analysis.findings import Effect, Finding, Severity
from host_tools.review.analysis.multiplicity import benjamini_hochberg
from host_tools.review.analysis.regroup import regroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.review.store.windows import Device, WindowTable

LEAST_SILENT_SECONDS = 3600.0
_LONGEST_BEFORE = 1.5
"""So many times its longest silence before."""
_GRAVE_SECONDS = 86400.0
_TOGETHER_SECONDS = 900.0
_TOGETHER_DEVICES = 3
FALSE_SHARE = 0.01
LEAST_STARTS = 4
_LEAST_STARTS_A_DAY = 0.1
"""A healthy device is taken to start at least so often."""
_DAY = 86400.0


def silent(
    devices: Sequence[Device], table: WindowTable, *, groups: Mapping[str, str], now: float
) -> tuple[Finding, ...]:
    """Find devices that nothing comes from.

    Args:
        devices: All that are known.
        table: Windows by device and time, for how long each was silent before.
        groups: Group of each device.
        now: Unix time of the question.

    Returns:
        One finding for devices that fell silent together, and one for all others that are silent.
    """
    before = _longest_gaps(table)
    since: dict[str, float] = {}
    for one in devices:
        heard = one.last_received if math.isfinite(one.last_received) else one.first_received
        # Shorter silences before do not show in long windows.
        least = max(LEAST_SILENT_SECONDS, float(table.level.seconds))
        if now - heard >= max(least, _LONGEST_BEFORE * before.get(one.device, 0.0)):
            since[one.device] = heard
    status = {one.device: one.status for one in devices}
    artifacts = {one.device: one.artifact for one in devices}
    order = sorted(since, key=lambda one: (since[one], one))
    clusters: list[list[str]] = []
    for name in order:
        if clusters and since[name] - since[clusters[-1][-1]] <= _TOGETHER_SECONDS:
            clusters[-1].append(name)
        else:
            clusters.append([name])
    together = [one for one in clusters if len(one) >= _TOGETHER_DEVICES]
    alone = [name for one in clusters if len(one) < _TOGETHER_DEVICES for name in one]
    found = []
    for names in (*together, alone):
        if names:
            ran = tuple(sorted({digest for name in names if (digest := artifacts[name]) is not None}))
            down = sum(status[name] == "down" for name in names)
            at_once = names is not alone
            found.append(
                _silent(names, since, ran, down, len(devices), now=now, at_once=at_once, groups=groups)
            )
    return tuple(found)


def flapping(
    table: WindowTable, *, groups: Mapping[str, str], updates: Mapping[str, int]
) -> tuple[tuple[Finding, ...], int]:
    """Find devices that start more often than others.

    Args:
        table: Windows by device and time.
        groups: Group of each device.
        updates: Starts of each device that an update accounts for.

    Returns:
        One finding a group, and how many devices were looked at.
    """
    whole = regroup(table, ("device",), with_hist=False)
    names = whole.key("device").tolist()
    days = whole.heard_seconds / _DAY
    starts = np.array(
        [max(0, int(n) - updates.get(name, 0)) for name, n in zip(names, whole.starts, strict=True)]
    )
    members = np.array([groups.get(one, "") for one in names], dtype=object)
    usual = np.zeros(len(names))
    for group in set(members.tolist()):
        mine = members == group
        usual[mine] = max(_LEAST_STARTS_A_DAY, float(np.median(starts[mine] / np.maximum(days[mine], 1e-3))))
    p_values = benjamini_hochberg(poisson.sf(starts - 1, np.maximum(usual * days, 1e-6)))
    told = (p_values < FALSE_SHARE) & (starts >= LEAST_STARTS)
    found = []
    for group in sorted(set(members[told].tolist())):
        rows = np.flatnonzero(told & (members == group))
        rows = rows[np.argsort(-starts[rows], kind="stable")]
        a_day = starts[rows] / days[rows]
        found.append(
            Finding(
                kind="flapping",
                severity="error" if float(np.median(a_day)) >= 6 else "warning",
                what=(
                    f"{wording.devices([names[row] for row in rows])} of {group or 'the fleet'} started "
                    f"{starts[rows].sum()} times without an update, {float(np.median(a_day)):.2g} times a day; its peers "
                    f"{float(np.median(starts[members == group] / days[members == group])):.2g} times."
                ),
                next_step="Read the journal around a start (`edgewright-agent diag`): power supply, memory, watchdog, crashes of the engine.",
                devices=tuple(names[row] for row in rows),
                artifacts=(),
                group=group,
                start=float(table.key("time").min()),
                end=float(table.key("time").max()) + table.level.seconds,
                effect=Effect(
                    measure="starts_per_day",
                    unit="1/d",
                    before=float(usual[rows[0]]),
                    after=float(np.median(a_day)),
                    scale="difference",
                    change=float(np.median(a_day) - usual[rows[0]]),
                    low=float(a_day.min() - usual[rows[0]]),
                    high=float(a_day.max() - usual[rows[0]]),
                    level=1.0,
                ),
                p_value=float(p_values[rows].max()),
                evidence={"starts": float(starts[rows].sum()), "peers": float((members == group).sum())},
            )
        )
    return tuple(found), len(names)


def _silent(
    names: list[str],
    since: Mapping[str, float],
    artifacts: tuple[str, ...],
    down: int,
    known: int,
    *,
    now: float,
    at_once: bool,
    groups: Mapping[str, str],
) -> Finding:
    longest = now - since[names[0]]
    severity: Severity = "error" if longest >= _GRAVE_SECONDS or at_once else "warning"
    of_groups = {groups.get(name, "") for name in names}
    said = f" {down} said that they would be." if down else ""
    together = f" together since {wording.moment(since[names[0]])}" if at_once else ""
    is_one = len(names) == 1
    return Finding(
        kind="silent",
        severity=severity,
        what=(
            f"{wording.devices(names)} of {known} {'is' if is_one else 'are'} silent{together}, "
            f"{'' if is_one else 'the longest '}for {longest / 3600:.1f} h.{said}"
        ),
        next_step=(
            "Look for what they share: site, network, power, broker."
            if at_once
            else "See whether the device has power and network; its spool sends what was missed when it is back."
        ),
        devices=tuple(names),
        artifacts=artifacts,
        group=of_groups.pop() if len(of_groups) == 1 else "",
        start=since[names[0]],
        end=now,
        effect=None,
        p_value=None,
        evidence={"devices": float(len(names)), "longest_seconds": longest, "status_down": float(down)},
    )


def _longest_gaps(table: WindowTable) -> dict[str, float]:
    """Longest stretch without a window, in seconds, of each device; 0 when there was none."""
    whole = series.matrix(table, table.covered_seconds)
    gaps = {}
    for name, row in zip(whole.devices, np.isfinite(whole.values), strict=True):
        places = np.flatnonzero(row)
        gaps[name] = float((np.diff(places).max(initial=1) - 1) * whole.seconds)
    return gaps
