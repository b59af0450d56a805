"""Figures of a report as a table shows them: in tables of one conversion and of a batch alike."""

from __future__ import annotations

NOTHING = "–"
"""For what there is not."""


def number_text(value: float | None, factor: float, digits: int) -> str:
    """Return a number in another unit, with so many digits after its point."""
    return NOTHING if value is None else f"{value * factor:.{digits}f}"


def quality_text(metric: str, value: float | None) -> str:
    """Return a quality: shares of right answers in percent, a metric of the user's as it is."""
    return number_text(value, 100.0, 1) if metric.startswith("top-") else number_text(value, 1.0, 4)
