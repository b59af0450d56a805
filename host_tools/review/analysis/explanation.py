"""What goes together with a finding: a label that tells affected devices from the others, and what changed just then.

It is a hint where to look, never a proof of cause: two labels that always come together cannot be told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom, fisher_exact

from host_tools.review.analysis.estimates import trimmed_mean
from host_tools.review.analysis.findings import Explanation
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.analysis.multiplicity import holm
from host_tools.review.analysis.regroup import chosen, regroup

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.windows import WindowTable

_ALPHA = 0.01
_MOST_VALUES = 50
"""A label with more values is a name, and explains nothing."""
_LEAST_AFFECTED = 2
_LEAST_CONDITIONS = 4
_CONDITIONS = (
    ("temperature", MEASURES["temperature_celsius"], 4.0),
    ("load", MEASURES["inferences_per_second"], 0.2),
)
"""What may have changed, how it is measured, and by how much at least."""
_LEAST_LIFT = 0.25
"""The shares of affected and other devices differ by so much at least."""


def by_labels(
    affected: Collection[str],
    everyone: Sequence[str],
    labels: Mapping[str, Mapping[str, str]],
    *,
    most: int = 3,
) -> tuple[Explanation, ...]:
    """Return the label values that are commoner among affected devices than among the others, the surest first.

    Args:
        affected: Devices that a finding is about.
        everyone: Devices that were looked at, these among them.
        labels: By device.
        most: How many at most.
    """
    inside = np.array([one in affected for one in everyone])
    if inside.sum() < _LEAST_AFFECTED or inside.all():
        return ()
    tried: list[tuple[str, str, float, float, float]] = []
    seen: dict[bytes, int] = {}
    for key in sorted({key for one in everyone for key in labels.get(one, {})}):
        values = np.array([labels.get(one, {}).get(key, "") for one in everyone], dtype=object)
        distinct = sorted(set(values.tolist()) - {""})
        if not 2 <= len(distinct) <= _MOST_VALUES:
            continue
        for value in distinct:
            has = values == value
            if has.tobytes() in seen:  # another label says the same
                continue
            seen[has.tobytes()] = len(tried)
            tried.append(
                (key, value, float(has[inside].mean()), float(has[~inside].mean()), _fisher(inside, has))
            )
    adjusted = holm([one[4] for one in tried])
    found = [
        Explanation(
            what=f"{100 * share:.0f} % of the affected devices have {key} {value}, of the others {100 * other:.0f} %",
            by=f"label:{key}",
            value=value,
            affected_share=share,
            other_share=other,
            p_value=float(p),
        )
        for (key, value, share, other, _), p in zip(tried, adjusted, strict=True)
        if p < _ALPHA and share - other >= _LEAST_LIFT
    ]
    return tuple(
        sorted(found, key=lambda one: (one.p_value, -one.affected_share + one.other_share, one.by))[:most]
    )


def by_moments(
    changed_at: Mapping[str, float],
    moments: Mapping[str, Sequence[float]],
    *,
    by: str,
    what: str,
    tolerance: float,
    span: float,
    value: str = "",
) -> Explanation | None:
    """Return the explanation that devices changed when something happened to each of them, if more did than by chance.

    Args:
        changed_at: Unix time of the change, by device.
        moments: Unix times when it happened, by device.
        by: As `Explanation.by`.
        what: What happened, e.g. ``changed its artifact``.
        tolerance: Seconds between the two at most.
        span: Seconds that were looked at, for what chance would do.
        value: As `Explanation.value`.
    """
    if not changed_at:
        return None
    hits, expected = 0, []
    for device, at in changed_at.items():
        times = moments.get(device, ())
        hits += any(abs(at - one) <= tolerance for one in times)
        expected.append(min(1.0, 2 * tolerance * len(times) / span) if span > 0 else 1.0)
    chance = float(np.mean(expected))
    count = len(changed_at)
    p_value = _binomial_tail(hits, count, chance)
    if p_value >= _ALPHA or hits / count < 0.5:
        return None
    return Explanation(
        what=f"{hits} of {count} affected devices {what} just then",
        by=by,
        value=value,
        affected_share=hits / count,
        other_share=chance,
        p_value=p_value,
    )


def _fisher(inside: NDArray[np.bool_], has: NDArray[np.bool_]) -> float:
    table = [
        [int((inside & has).sum()), int((inside & ~has).sum())],
        [int((~inside & has).sum()), int((~inside & ~has).sum())],
    ]
    return float(fisher_exact(table, alternative="greater").pvalue)


def _binomial_tail(hits: int, count: int, chance: float) -> float:
    """Chance of at least so many hits."""
    return float(binom.sf(hits - 1, count, min(max(chance, 1e-12), 1.0)))


def by_conditions(
    table: WindowTable, devices: Collection[str], at: float, *, span: float
) -> tuple[Explanation, ...]:
    """Return whether devices became hotter, cooler, busier or idler when they changed.

    Args:
        table: Windows by device and time.
        devices: Affected ones.
        at: Unix time of the change.
        span: Seconds before and after it that are held against each other; whole days, best.
    """
    times = table.key("time").astype(np.float64)
    mine = np.array([name in devices for name in table.key("device").tolist()], dtype=bool)
    before = regroup(chosen(table, mine & (times >= at - span) & (times < at)), ("device",), with_hist=False)
    after = regroup(chosen(table, mine & (times >= at) & (times < at + span)), ("device",), with_hist=False)
    found = []
    for by, measure, least in _CONDITIONS:
        old = dict(zip(before.key("device").tolist(), measure.values(before).tolist(), strict=True))
        new = dict(zip(after.key("device").tolist(), measure.values(after).tolist(), strict=True))
        both = sorted(old.keys() & new.keys())
        change = measure.compared(np.array([new[one] for one in both]), np.array([old[one] for one in both]))
        change = change[np.isfinite(change)]
        if len(change) < _LEAST_CONDITIONS:
            continue
        mean = trimmed_mean(change)
        if mean.p_value < _ALPHA and abs(mean.value) >= least:
            direction = "rose" if mean.value > 0 else "fell"
            size = (
                f"{abs(mean.value):.1f} °C"
                if by == "temperature"
                else f"{100 * abs(np.expm1(mean.value)):.0f} %"
            )
            found.append(
                Explanation(
                    what=f"their {by} {direction} by {size} just then",
                    by=by,
                    value="",
                    affected_share=float(np.mean(np.sign(change) == np.sign(mean.value))),
                    other_share=float("nan"),
                    p_value=mean.p_value,
                )
            )
    return tuple(found)
