"""A report in the terminal. Texts are `Text`, never markup: what a device said must not draw anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from host_tools.review.reports.report import FoundText, Report, Table, Tone

_STYLES: dict[Tone, str] = {"pass": "bold green", "marginal": "bold yellow", "fail": "bold red"}
_ANY_WIDTH = 10_000
_MOST_WORDS_WIDTH = 26
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
    parts += [Padding(_Fitting(one), (1, 0, 0, 0)) for one in report.tables]
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


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A table as wide as the terminal allows: columns of which every row says the same go below it; else a paragraph a row."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in (self.table, _without_repetition(self.table)):
            for widths in ([None] * len(table.columns), _widths(table)):
                drawn = _drawn(table, widths)
                whole = options.update(width=_ANY_WIDTH, max_width=_ANY_WIDTH)
                if Measurement.get(console, whole, drawn).maximum <= options.max_width:
                    yield drawn
                    return
        yield _paragraphs(self.table)


def _widths(table: Table) -> list[int | None]:
    """Return how narrow each column may be: words are folded, numbers never."""
    widths: list[int | None] = []
    for place, column in enumerate(table.columns):
        longest = max((cell_len(row[place]) for row in table.rows), default=0)
        said = longest if column in table.numbers else min(longest, _MOST_WORDS_WIDTH)
        widths.append(max(said, *(cell_len(word) for word in column.split())))
    return widths


def _without_repetition(table: Table) -> Table:
    """Tell once, below the table, what every row of a column says."""
    same = [
        place
        for place in range(1, len(table.columns))
        if len(table.rows) > 1 and len({row[place] for row in table.rows}) == 1
    ]
    kept = [place for place in range(len(table.columns)) if place not in same]
    told = "; ".join(f"{table.columns[place]}: {table.rows[0][place]}" for place in same)
    return replace(
        table,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        note=" ".join(filter(None, (f"All rows: {told}." if told else "", table.note))),
    )


def _paragraphs(table: Table) -> RenderableType:
    lines: list[RenderableType] = [Text(table.title, style="bold")]
    for place, row in enumerate(table.rows):
        tone = table.tones[place] if table.tones else None
        lines.append(Text(row[0], style="" if tone in (None, "pass") else _STYLES[tone]))
        said = "; ".join(
            f"{name}: {cell}" for name, cell in zip(table.columns[1:], row[1:], strict=True) if cell
        )
        lines.append(Padding(Text(said), (0, 0, 0, 2)))
    if table.note:
        lines.append(Text(table.note, style="dim italic"))
    return Group(*lines)


def _drawn(table: Table, widths: Sequence[int | None]) -> RenderableType:
    drawn = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note or None,
        caption_justify="left",
    )
    for column, width in zip(table.columns, widths, strict=True):
        drawn.add_column(column, justify="right" if column in table.numbers else "left", max_width=width)
    for place, row in enumerate(table.rows):
        tone = table.tones[place] if table.tones else None
        drawn.add_row(*(Text(cell) for cell in row), style=None if tone in (None, "pass") else _STYLES[tone])
    return drawn
