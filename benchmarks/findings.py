"""`Finding`: one figure with its spread, sample and limit. A benchmark gives a `Chapter` of them, a run a `Report`."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.spread import BOOTSTRAP, median_and_range

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.spread import Estimate

Unit = Literal["ratio", "share", "points", "decibels", "seconds", "bytes", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a figure must reach.

    Attributes:
        bound: In the finding's unit.
        at_most: True when the figure must not be above, False when it must not be below.
    """

    bound: float
    at_most: bool

    def is_met(self, value: float) -> bool:
        """Say whether a value keeps the limit; what is not a number does not."""
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure.

    Attributes:
        subject: Who or what was measured.
        figure: What was measured of it.
        unit: Unit of ``value``, ``low``, ``high`` and the limit.
        value: The figure; None when it could not be measured, and then ``missing`` says why and what to do.
        low: Lower end of the spread.
        high: Upper end of the spread.
        spread: What low and high are, e.g. ``quartiles``.
        sample: How many of what.
        limit: What the figure must reach, if anything.
        note: What a reader must know beside it.
        missing: Why there is no figure.
    """

    subject: str
    figure: str
    unit: Unit
    value: float | None = None
    low: float | None = None
    high: float | None = None
    spread: str = ""
    sample: str = ""
    limit: Limit | None = None
    note: str = ""
    missing: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the limit is met; None without limit or figure."""
        return None if self.limit is None or self.value is None else self.limit.is_met(self.value)


def ranged_finding(
    *, subject: str, figure: str, unit: Unit, values: Sequence[float], sample: str, limit: Limit | None = None
) -> Finding:
    """Return the median of values, at least one, between the smallest and the largest."""
    estimate = median_and_range(values)
    return Finding(
        subject=subject,
        figure=figure,
        unit=unit,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread="smallest to largest",
        sample=sample,
        limit=limit,
    )


def estimated(
    subject: str, figure: str, unit: Unit, estimate: Estimate, sample: str, limit: Limit | None = None
) -> Finding:
    """Return a figure whose spread is a bootstrap's interval; arguments as of `Finding`."""
    return Finding(
        subject=subject,
        figure=figure,
        unit=unit,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread=BOOTSTRAP,
        sample=sample,
        limit=limit,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """What one benchmark found.

    Attributes:
        name: As in ``--only``.
        title: For people.
        findings: In the order of the tables.
        notes: How it was measured, one sentence each.
        seconds: How long it took.
    """

    name: str
    title: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run.

    Attributes:
        command: The command line.
        date: UTC, ISO 8601.
        machine: Facts of the machine, by name.
        versions: Versions of the tools, by name.
        chapters: One a benchmark.
        notes: What holds for the whole run, e.g. that it was too small to count.
    """

    command: str
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    chapters: tuple[Chapter, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding."""
        return tuple(finding for chapter in self.chapters for finding in chapter.findings)


def encode(record: Chapter | Report) -> str:
    """Return a record as JSON; a figure that is not finite is written as text, since JSON has none."""
    return (
        json.dumps(_plain(dataclasses.asdict(record)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def decode_chapter(path: Path) -> Chapter:
    """Read what `encode` wrote of a chapter."""
    document = json.loads(path.read_text(encoding="utf-8"))
    findings = tuple(_finding(entry) for entry in document.pop("findings"))
    return Chapter(findings=findings, notes=tuple(document.pop("notes")), **document)


def _finding(entry: dict[str, Any]) -> Finding:
    limit = entry.pop("limit")
    value, low, high = (_number(entry.pop(name)) for name in ("value", "low", "high"))
    return Finding(value=value, low=low, high=high, limit=None if limit is None else Limit(**limit), **entry)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def fresh_processes(count: int) -> str:
    """Return the sample of a figure that each time came from a process of its own."""
    return f"{count} fresh process{'' if count == 1 else 'es'}"


def said(value: float | None, unit: Unit) -> str:
    """Return a figure with its unit, to as many digits as mean something."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    match unit:
        case "ratio":
            return f"{value:.3f} ×"
        case "share":
            return f"{100.0 * value:.2f} %"
        case "points":
            return f"{value:+.2f} points"
        case "decibels":
            return f"{value:.2f} dB"
        case "bytes":
            return f"{value / 2**20:.1f} MiB"
        case "count":
            return f"{value:.0f}"
        case "seconds":
            return _seconds(value)


def _seconds(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= 1.0:
        return f"{value:.2f} s"
    return f"{1e3 * value:.3f} ms" if magnitude >= 1e-3 else f"{1e6 * value:.1f} µs"


def said_spread(finding: Finding) -> str:
    """Return the spread, e.g. ``0.98 × to 1.02 × (quartiles)``; empty when there is none."""
    if finding.low is None or finding.high is None:
        return ""
    return f"{said(finding.low, finding.unit)} to {said(finding.high, finding.unit)} ({finding.spread})"


def said_limit(finding: Finding) -> str:
    """Return the limit and whether it is met; empty when there is none."""
    if finding.limit is None:
        return ""
    bound = f"{'≤' if finding.limit.at_most else '≥'} {said(finding.limit.bound, finding.unit)}"
    verdict = {True: "met", False: "NOT met", None: "not measured"}[finding.is_met]
    return f"{bound}: {verdict}"
