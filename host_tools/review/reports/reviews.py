"""A device, and a week, as reports."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from host_tools.review.analysis import wording
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.reports.comparison import VERDICTS
from host_tools.review.reports.report import Report, Table, Tone, checks_table, found_texts
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.review.analysis.findings import Comparison, DeviceReview, Review, WeeklyReview

_NAMED = 12
_UNITS = (
    ("_seconds", "s"),
    ("_joules", "J"),
    ("_watts", "W"),
    ("_celsius", "Cel"),
    ("_ratio", "1"),
    ("_bytes", "By"),
    ("_per_second", "{inference}/s"),
)


def weekly_report(weekly: WeeklyReview) -> Report:
    """Return a week beside the week before."""
    review = weekly.review
    words, tone = _verdict(review)
    changes = [
        (name, names)
        for name, names in (("First heard this week", weekly.added), ("Not heard any more", weekly.gone))
        if names
    ]
    return Report(
        title="The week",
        subtitle=_span(review),
        verdict=words,
        tone=tone,
        facts=(
            ("Devices", f"{review.reporting} of {review.devices} reported"),
            ("Artifacts", ", ".join(wording.artifact(one) for one in review.artifacts) or "none"),
            *((name, _some(names)) for name, names in changes),
        ),
        findings=found_texts(review.findings),
        tables=tuple(
            table
            for table in (
                _totals(review.totals, weekly.before),
                _comparisons(review.comparisons),
                checks_table(review.checks),
            )
            if table.rows
        ),
        charts=(),
        notes=_notes(review),
    )


def fleet_report(review: Review) -> Report:
    """Return what is found of a fleet in a span of time."""
    words, tone = _verdict(review)
    return Report(
        title="What was found",
        subtitle=_span(review),
        verdict=words,
        tone=tone,
        facts=(("Devices", f"{review.reporting} of {review.devices} reported"),),
        findings=found_texts(review.findings),
        tables=tuple(
            table for table in (_comparisons(review.comparisons), checks_table(review.checks)) if table.rows
        ),
        charts=(),
        notes=_notes(review),
    )


def device_report(device: DeviceReview) -> Report:
    """Return a device alone, and beside others like it."""
    words, tone = _verdict(device.review)
    rows = tuple(
        (
            _title(name),
            _said(name, value),
            _said(name, device.peer_values.get(name, math.nan)),
            f"{100 * device.ranks[name]:.0f} %" if math.isfinite(device.ranks.get(name, math.nan)) else "–",
        )
        for name, value in device.values.items()
    )
    peers = Table(
        title=f"Beside {device.peers} others of the same target and artifact",
        columns=("Measure", "This device", "Median of the others", "Others that do better"),
        numbers=frozenset({"This device", "Median of the others", "Others that do better"}),
        rows=rows,
    )
    return Report(
        title=f"Device {harmless(device.device)}",
        subtitle=_span(device.review),
        verdict=words,
        tone=tone,
        facts=tuple((harmless(key), harmless(value)) for key, value in device.labels),
        findings=found_texts(device.review.findings),
        tables=tuple(table for table in (peers, checks_table(device.review.checks)) if table.rows),
        charts=(),
        notes=_notes(device.review),
    )


def _verdict(review: Review) -> tuple[str, Tone]:
    grave = sum(finding.severity == "error" for finding in review.findings)
    care = sum(finding.severity == "warning" for finding in review.findings)
    if not review.reporting:
        return "nothing was heard in this time", "marginal"
    if grave:
        return f"{_findings(grave)} somebody now, {care} somebody soon", "fail"
    if care:
        return f"{_findings(care)} somebody soon", "marginal"
    return "nothing was found that needs somebody", "pass"


def _findings(count: int) -> str:
    return "1 finding needs" if count == 1 else f"{count} findings need"


def _span(review: Review) -> str:
    return f"{wording.moment(review.selection.start)} to {wording.moment(review.selection.end)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    listed = ", ".join(harmless(name) for name in names[:_NAMED])
    return f"{listed} and {more} more" if more > 0 else listed


def _totals(now: Mapping[str, float], before: Mapping[str, float]) -> Table:
    return Table(
        title="Figures",
        columns=("Measure", "This week", "The week before", "Change"),
        numbers=frozenset({"This week", "The week before", "Change"}),
        rows=tuple(
            (
                _title(name),
                _said(name, value),
                _said(name, before.get(name, math.nan)),
                _change(name, value, before.get(name)),
            )
            for name, value in now.items()
        ),
    )


def _change(name: str, now: float, before: float | None) -> str:
    if before is None or not (math.isfinite(now) and math.isfinite(before)):
        return "–"
    if name in MEASURES and MEASURES[name].scale == "difference":  # 48 °C is not 2 % more than 47 °C
        change = now - before
        size = wording.difference(abs(change), MEASURES[name].unit)
    elif before == 0:
        return "–"
    else:
        change = now / before - 1
        size = f"{100 * abs(change):.1f} %"
    return f"{'+' if change > 0 else '−' if change < 0 else ''}{size}"


def _comparisons(comparisons: Sequence[Comparison]) -> Table:
    return Table(
        title="Artifacts against those before them",
        columns=("B", "A", "Devices with both", "Verdict"),
        numbers=frozenset({"Devices with both"}),
        rows=tuple(
            (
                wording.artifact(one.artifact_b),
                wording.artifact(one.artifact_a),
                str(one.devices_both),
                VERDICTS[one.verdict][0],
            )
            for one in comparisons
        ),
        tones=tuple(VERDICTS[one.verdict][1] for one in comparisons),
        note="`edgewright review compare A B` has each in full.",
    )


def _notes(review: Review) -> tuple[str, ...]:
    return tuple(dict.fromkeys(harmless(note) for one in review.comparisons for note in one.notes))


def _title(name: str) -> str:
    if name in MEASURES:
        return MEASURES[name].title
    percentile = re.fullmatch(r"latency_(p\d+)_seconds", name)
    return f"{percentile[1]} latency" if percentile else name.replace("_", " ")


def _said(name: str, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    unit = (
        MEASURES[name].unit
        if name in MEASURES
        else next((unit for end, unit in _UNITS if name.endswith(end)), None)
    )
    if unit is not None:
        return wording.quantity(value, unit)
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"
