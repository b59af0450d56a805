"""Findings that say the same are told once: median and p95 of a latency that moved as a whole."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.review.analysis.findings import Finding

_MEDIAN, _TAIL = "latency_p50_seconds", "latency_p95_seconds"
_AS_MUCH = 1.5
"""A tail that moved by more than so many times what the median did is told by itself as well."""
_SHARED = 0.7
"""Share of the fewer devices that both are about."""


def told_once(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings without those of p95 latency that a finding of the median says already.

    The one that stays has the other's change in its evidence, as ``latency_p95_change``.
    """
    medians = [one for one in findings if one.effect is not None and one.effect.measure == _MEDIAN]
    tails = [one for one in findings if one.effect is not None and one.effect.measure == _TAIL]
    replaced: dict[int, Finding] = {}
    dropped: set[int] = set()
    for tail in tails:
        for median in medians:
            if _same(median, tail):
                dropped.add(id(tail))
                change = tail.effect.change if tail.effect is not None else 0.0
                evidence = {**median.evidence, "latency_p95_change": change}
                replaced[id(median)] = dataclasses.replace(median, evidence=evidence)
                break
    return tuple(replaced.get(id(one), one) for one in findings if id(one) not in dropped)


def _same(median: Finding, tail: Finding) -> bool:
    a, b = median.effect, tail.effect
    if a is None or b is None:
        return False
    if (median.kind, median.group, median.artifacts) != (tail.kind, tail.group, tail.artifacts):
        return False
    mine, theirs = set(median.devices), set(tail.devices)
    if len(mine & theirs) < _SHARED * min(len(mine), len(theirs)):
        return False
    near = abs(median.start - tail.start) <= 0.05 * max(tail.end - min(median.start, tail.start), 1.0)
    return near and a.change * b.change > 0 and abs(b.change) <= _AS_MUCH * abs(a.change)
