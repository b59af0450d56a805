"""The results in ``docs/benchmarks.md``, between two markers; what stands around them is written by hand.

Between the markers stand runs, each with its facts and the chapters that it measured. Writing a run replaces those chapters wherever they
stood, and leaves the others with the run that they were measured in: so a chapter can be measured and written alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from benchmarks.findings import said, said_limit, said_spread
from host_tools.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.findings import Chapter, Finding, Report

BEGIN: Final = "<!-- results: written by `python -m benchmarks --write-docs`, do not edit -->"
END: Final = "<!-- end of results -->"
_RUN: Final = "<!-- a run -->"
_CHAPTER: Final = re.compile(r"^<!-- chapter ([\w-]+) -->$", re.MULTILINE)


def _without_folders(command: str) -> str:
    """Leave out where on this machine things are: `--data /home/me/imagenet_cc` becomes `--data …/imagenet_cc`."""
    return re.sub(r"(?<=\s)/\S*/(?=\S)", "…/", command)


def write_results(path: Path, report: Report) -> None:
    """Put a run's chapters between the markers, in the place of the same chapters of earlier runs.

    Raises:
        OutputError: The file cannot be read or written, or has no markers.
    """
    try:
        text = path.read_text(encoding="utf-8")
        path.write_text(with_results(text, report), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}.", hint="Run at the root of the repository."
        ) from error
    except ValueError as error:
        raise OutputError(
            f"{path}: {error}.",
            hint=f"It needs the lines {BEGIN!r} and {END!r}, in this order, and between them runs that begin with {_RUN!r}.",
        ) from error


def with_results(text: str, report: Report) -> str:
    """Return a page with a run's chapters between its markers.

    Raises:
        ValueError: A marker is absent, or they stand the wrong way round; or what stands between them are no runs.
    """
    before, begin, rest = text.partition(BEGIN)
    content, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the markers of the results are not there")
    nothing, *runs = content.split(_RUN)
    if nothing.strip():
        raise ValueError(f"the results do not begin with {_RUN!r}")
    measured = {chapter.name for chapter in report.chapters}
    kept = [left for run in runs if (left := _without(run, measured))]
    blocks = "\n\n".join(f"{_RUN}\n\n{run.strip()}" for run in (*kept, results(report)))
    return f"{before}{BEGIN}\n\n{blocks}\n\n{END}{after}"


def _without(run: str, names: set[str]) -> str:
    """Return a run without some chapters; empty when none is left."""
    facts, *parts = _CHAPTER.split(run)
    chapters = [
        f"<!-- chapter {name} -->{text}"
        for name, text in zip(parts[::2], parts[1::2], strict=True)
        if name not in names
    ]
    return "".join((facts, *chapters)) if chapters else ""


def results(report: Report) -> str:
    """Return a run as Markdown: its facts, then its chapters."""
    facts = [
        ("command", f"`{_without_folders(report.command)}`"),
        ("date", report.date),
        *report.machine.items(),
    ]
    versions = ", ".join(f"{tool} {version}" for tool, version in report.versions.items())
    lines = [
        "| run | |",
        "|---|---|",
        *(f"| {_cell(name)} | {_cell(value)} |" for name, value in facts),
        f"| versions | {_cell(versions)} |",
        "",
    ]
    lines.extend(f"**{note}**\n" for note in report.notes)
    for chapter in report.chapters:
        lines.extend(_chapter(chapter))
    return "\n".join(lines)


def _chapter(chapter: Chapter) -> list[str]:
    rows = [
        f"<!-- chapter {chapter.name} -->",
        "",
        f"### {chapter.title}",
        "",
        "| subject | figure | result | spread | limit | sample |",
        "|---|---|---|---|---|---|",
        *(_row(finding) for finding in chapter.findings),
        "",
    ]
    return [*rows, *(f"- {note}" for note in chapter.notes), f"- Took {chapter.seconds:.0f} s.", ""]


def _row(finding: Finding) -> str:
    sample = f"{finding.sample}; {finding.note}" if finding.note else finding.sample
    limit = said_limit(finding)
    cells = (
        finding.subject,
        finding.figure,
        said(finding.value, finding.unit),
        f"not measured: {finding.missing}" if finding.missing else said_spread(finding),
        f"**{limit}**" if finding.is_met is False else limit,
        sample,
    )
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
