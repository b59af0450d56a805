"""Artifact B against A as a report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from host_tools.pages.charts import Series
from host_tools.review.analysis import wording
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.reports.report import Chart, Report, Table, Tone, found_texts
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from host_tools.review.analysis.findings import Comparison, MeasureComparison, Verdict

VERDICTS: dict[Verdict, tuple[str, Tone]] = {
    "worse": ("worse", "fail"),
    "better": ("better", "pass"),
    "no_worse": ("no worse", "pass"),
    "unclear": ("unclear", "marginal"),
    "too_few": ("too few devices", "marginal"),
}
"""What each verdict is called, and how it is coloured."""
_SENTENCES: dict[Verdict, str] = {
    "worse": "{b} is worse",
    "better": "{b} is better",
    "no_worse": "{b} is no worse",
    "unclear": "It is not clear whether {b} is worse: more devices or more time would tell",
    "too_few": "Too few devices ran both to tell whether {b} is worse",
}
_DESIGNS = {
    "controlled": "same devices, less what changed on those that kept A",
    "paired": "same devices, before and after",
    "unpaired": "different devices",
}


def comparison_report(comparison: Comparison) -> Report:
    """Return the report."""
    a, b = wording.artifact(comparison.artifact_a), wording.artifact(comparison.artifact_b)
    overall = [one for one in comparison.measures if not one.group]
    grouped = [one for one in comparison.measures if one.group]
    return Report(
        title=f"Artifact {b} against {a}",
        subtitle=f"{wording.moment(comparison.selection.start)} to {wording.moment(comparison.selection.end)}",
        verdict=_SENTENCES[comparison.verdict].format(b=b),
        tone=VERDICTS[comparison.verdict][1],
        facts=(
            ("A", comparison.artifact_a),
            ("B", comparison.artifact_b),
            (
                "Devices",
                f"{comparison.devices_both} ran both, {comparison.devices_a} ran A, {comparison.devices_b} ran B",
            ),
            (
                "Chance of any false difference",
                f"at most {100 * comparison.alpha:.3g} %, over all measures and groups together",
            ),
        ),
        findings=found_texts(comparison.findings),
        tables=tuple(
            _table(title, rows)
            for title, rows in (("All devices", overall), ("By kind of device", grouped))
            if rows
        ),
        charts=_charts(comparison),
        notes=tuple(harmless(note) for note in comparison.notes),
    )


def _table(title: str, rows: list[MeasureComparison]) -> Table:
    has_groups = any(row.group for row in rows)
    columns = ("Measure", "A", "B", "B against A", "Interval", "Chance", "Devices", "Compared", "Verdict")
    return Table(
        title=title,
        columns=(("Group", *columns) if has_groups else columns),
        numbers=frozenset({"A", "B", "B against A", "Chance", "Devices"}),
        rows=tuple(((harmless(row.group), *_cells(row)) if has_groups else _cells(row)) for row in rows),
        tones=tuple(VERDICTS[row.verdict][1] if row.verdict in ("worse", "better") else None for row in rows),
        note="Chance: of a difference as large, were there none, corrected for all that was asked.",
    )


def _cells(row: MeasureComparison) -> tuple[str, ...]:
    title = MEASURES[row.measure].title if row.measure in MEASURES else row.measure
    verdict = VERDICTS[row.verdict][0]
    if row.effect is None:
        return (title, "–", "–", "–", "–", "–", str(row.devices), _DESIGNS[row.design], verdict)
    effect = row.effect
    sign = "+" if effect.change > 0 else "−" if effect.change < 0 else ""
    return (
        title,
        wording.quantity(effect.before, effect.unit),
        wording.quantity(effect.after, effect.unit),
        f"{sign}{wording.change(effect)}",
        wording.interval(effect).partition(": ")[2],
        "–" if math.isnan(row.p_adjusted) else wording.chance(row.p_adjusted),
        str(row.devices),
        _DESIGNS[row.design],
        verdict,
    )


def _charts(comparison: Comparison) -> tuple[Chart, ...]:
    series = tuple(
        Series(
            label=f"{name}: {wording.artifact(curve.artifact)}, {curve.count:,} inferences",
            x=[100.0 * share for share in curve.shares],
            y=[1e3 * seconds for seconds in curve.seconds],
        )
        for name, curve in zip("AB", comparison.curves, strict=False)
        if curve.count
    )
    if not series:
        return ()
    return (
        Chart(
            title="Latency below which a share of all inferences lies",
            x_label="share of inferences, %",
            y_label="milliseconds",
            series=series,
        ),
    )
