"""`Report`: what terminal and page show alike. Texts are final and harmless; nothing is computed from here on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from host_tools.review.analysis import wording
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.pages.charts import Series
    from host_tools.review.analysis.findings import Check, Finding, Severity

Tone = Literal["pass", "marginal", "fail"]
"""How a verdict is coloured; its words say it too."""
_NAMED_DEVICES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts under columns; ``numbers`` names the columns that are aligned to the right."""

    title: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[Tone | None, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    """One finding in words; ``first_devices`` are the ids of those that ``devices`` names."""

    severity: Severity
    what: str
    next_step: str
    facts: tuple[str, ...]
    devices: str
    first_devices: tuple[str, ...]
    explanations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines to draw, with the names of the axes."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report, from top to bottom."""

    title: str
    subtitle: str
    verdict: str
    tone: Tone
    facts: tuple[tuple[str, str], ...]
    findings: tuple[FoundText, ...]
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]


def found_texts(findings: Sequence[Finding]) -> tuple[FoundText, ...]:
    """Return findings in words, in their order."""
    return tuple(_found_text(finding) for finding in findings)


def _found_text(finding: Finding) -> FoundText:
    facts = [f"{wording.moment(finding.start)} to {wording.moment(finding.end)}"]
    if finding.group:
        facts.append(finding.group)
    if finding.effect is not None:
        effect = finding.effect
        change = (
            f"{wording.quantity(effect.before, effect.unit)} → {wording.quantity(effect.after, effect.unit)}"
        )
        has_interval = effect.low < effect.high and math.isfinite(effect.low) and math.isfinite(effect.high)
        facts.append(f"{change} ({wording.interval(effect)})" if has_interval else change)
    if finding.p_value is not None:
        facts.append(wording.chance(finding.p_value))
    if finding.artifacts:
        facts.append("artifact " + ", ".join(wording.artifact(one) for one in finding.artifacts))
    named = ", ".join(finding.devices[:_NAMED_DEVICES])
    more = len(finding.devices) - _NAMED_DEVICES
    return FoundText(
        severity=finding.severity,
        what=harmless(finding.what),
        next_step=harmless(finding.next_step),
        facts=tuple(harmless(fact) for fact in facts),
        devices=harmless(f"{named} and {more} more" if more > 0 else named),
        first_devices=finding.devices[:_NAMED_DEVICES],
        explanations=tuple(harmless(one.what) for one in finding.explanations),
    )


def checks_table(checks: Sequence[Check]) -> Table:
    """Return what was looked for: that nothing was found is worth knowing only where something was looked at."""
    return Table(
        title="Looked for",
        columns=("What", "Looked at", "Found", "Note"),
        numbers=frozenset({"Looked at", "Found"}),
        rows=tuple(
            (check.kind.replace("_", " "), str(check.looked_at), str(check.found), harmless(check.note))
            for check in checks
        ),
    )
