"""A chapter in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from benchmarks.findings import said, said_limit, said_spread

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.findings import Chapter, Finding, Report

_STYLES = {True: "green", False: "bold red", None: ""}


def show_chapter(console: Console, chapter: Chapter) -> None:
    """Print a chapter as a table, with its notes."""
    table = Table(title=f"{chapter.title} ({chapter.seconds:.0f} s)", title_justify="left")
    for heading, justify in (
        ("Subject", "left"),
        ("Figure", "left"),
        ("", "right"),
        ("Spread", "left"),
        ("Limit", "left"),
        ("Sample", "left"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # both words are justifications
    latest = ""
    for finding in chapter.findings:
        if latest and finding.subject != latest:
            table.add_section()
        table.add_row(Text("" if finding.subject == latest else finding.subject), *_cells(finding))
        latest = finding.subject
    console.print(table)
    for note in chapter.notes:
        console.print(f"  {note}", style="dim", markup=False)


def show_verdict(console: Console, report: Report) -> None:
    """Print how many limits are met, which are not, and what could not be measured."""
    limited = [finding for finding in report.findings if finding.limit is not None]
    unmet = [finding for finding in limited if finding.is_met is False]
    missing = [finding for finding in report.findings if finding.missing]
    console.print(
        f"{len(limited)} limits: {sum(finding.is_met is True for finding in limited)} met, {len(unmet)} NOT met",
        style="bold",
    )
    for finding in unmet:
        console.print(
            f"  NOT met: {finding.subject}, {finding.figure}: {said(finding.value, finding.unit)} ({said_limit(finding)})",
            style="red",
            markup=False,
        )
    for finding in missing:
        console.print(
            f"  not measured: {finding.subject}, {finding.figure}: {finding.missing}",
            style="yellow",
            markup=False,
        )
    for note in report.notes:
        console.print(f"  {note}", style="yellow", markup=False)


def _cells(finding: Finding) -> tuple[Text, ...]:
    limit = Text(said_limit(finding), style=_STYLES[finding.is_met])
    if finding.missing:
        reason = Text(f"not measured: {finding.missing}", style="yellow")
        return (Text(finding.figure), Text("–"), reason, limit, Text(""))
    note = f"{finding.sample}; {finding.note}" if finding.note else finding.sample
    return (
        Text(finding.figure),
        Text(said(finding.value, finding.unit)),
        Text(said_spread(finding)),
        limit,
        Text(note),
    )
