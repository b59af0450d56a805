"""What goes together with a finding: a label that tells affected devices from the others, and what changed just then.

It is a hint where to look, never a proof of cause: two labels that always come together cannot be told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom, fisher_exact

from host_tools.review.analysis.findings import Explanation
from host_tools.review.analysis.multiplicity import holm

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

_ALPHA = 0.01
_MOST_VALUES = 50
"""A label with more values is a name, and explains nothing."""
_LEAST_AFFECTED = 2
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
