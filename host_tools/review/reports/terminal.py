"""A report in the terminal. Texts are `Text`, never markup: what a device said must not draw anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from host_tools.review.reports.report import FoundText, Report, Table, Tone

_STYLES: dict[Tone, str] = {"pass": "bold green", "marginal": "bold yellow", "fail": "bold red"}
_SEVERITIES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def terminal_report(report: Report) -> RenderableType:
    """Return what is printed."""
    parts: list[RenderableType] = [
        Text(report.title, style="bold"),
        Text(report.subtitle, style="dim"),
        Text(report.verdict, style=_STYLES[report.tone]),
    ]
    parts += [Text.assemble((f"{name}: ", "dim"), value) for name, value in report.facts]
    parts += [_found(one) for one in report.findings]
    parts += [Padding(_table(one), (1, 0, 0, 0)) for one in report.tables]
    parts += [Text(f"Note: {note}", style="dim") for note in report.notes]
    return Group(*parts)


def _found(found: FoundText) -> RenderableType:
    lines = [Text.assemble((f"{found.severity}: ", _SEVERITIES[found.severity]), found.what)]
    lines += [Text(f"  {'; '.join(found.facts)}", style="dim")]
    if found.devices:
        lines.append(Text(f"  devices: {found.devices}", style="dim"))
    lines += [Text(f"  goes with: {one}") for one in found.explanations]
    lines.append(Text(f"  next: {found.next_step}"))
    return Padding(Group(*lines), (1, 0, 0, 0))


def _table(table: Table) -> RenderableType:
    drawn = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note or None,
        caption_justify="left",
    )
    for column in table.columns:
        drawn.add_column(column, justify="right" if column in table.numbers else "left")
    for place, row in enumerate(table.rows):
        tone = table.tones[place] if table.tones else None
        drawn.add_row(*(Text(cell) for cell in row), style=None if tone in (None, "pass") else _STYLES[tone])
    return drawn
