"""What `edgewright batch` does: read the list, run it, show the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.batch.batch import run_batch
from host_tools.batch.expansion import expand
from host_tools.batch.jobs_file import read_jobs_file
from host_tools.batch.table import metrics, rows
from host_tools.cli.batch_progress import BatchBar
from host_tools.cli.conversion import summary_table, wide_console

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.table import Table

    from host_tools.batch.batch import Batch
    from host_tools.batch.job import JobResult
    from host_tools.batch.table import Entry

_INPUT = 2
_REFUSED = 3
_FAILED = 4
_DEVICE = 7
_NOT_THE_INPUTS_FAULT = (
    "crashed",
    "internal",
    "memory",
    "output",
    "engine",
    "device",
    "storage",
)
"""Codes of failures that no change to model, data or settings would mend for sure."""
_GRAVEST_FIRST = (_DEVICE, _INPUT, _FAILED, _REFUSED)


def run(options: argparse.Namespace) -> int:
    """Run the batch, print the table, and return the exit status of the gravest job."""
    path = Path(options.jobs_file)
    jobs = expand(
        read_jobs_file(path),
        folder=path.parent,
        out=Path(options.out),
        threads=options.threads,
        cache=None if options.cache is None else str(Path(options.cache).absolute()),
    )
    with BatchBar(quiet=options.quiet) as progress:
        batch = run_batch(
            jobs,
            out=options.out,
            executor=options.executor,
            chosen=options.chosen,
            redo=options.redo,
            progress=progress,
        )
    if options.json:
        print(batch.manifest.read_text(encoding="utf-8"), end="")
    else:
        _show(batch)
    statuses = {job_status(entry.result) for entry in batch.entries if entry.state != "not chosen"}
    return next((status for status in _GRAVEST_FIRST if status in statuses), 0)


def job_status(result: JobResult) -> int:
    """Return what `edgewright convert` would have returned."""
    failure = result.failure
    if failure is not None:
        if failure.code in ("capability", "lowering"):
            return _REFUSED
        if failure.code == "verification":
            return _FAILED
        return _DEVICE if failure.code in _NOT_THE_INPUTS_FAULT else _INPUT
    verdicts = {target.verdict for target in result.targets}
    if verdicts & {"fail", "nonfinite"}:
        return _FAILED
    return _REFUSED if "refused" in verdicts else 0


def _show(batch: Batch) -> None:
    console = wide_console()
    console.print(batch_table(batch.entries))
    if any(target.is_stand_in for entry in batch.entries for target in entry.result.targets):
        console.print(
            "  * ms is that of an engine on the machine that ran the job, which stands in for the hardware",
            markup=False,
        )
    for row in rows(batch.entries):
        if row.note:
            where = row.model if row.verdict == "failed" else f"{row.model}, {row.target}"
            console.print(f"  {where}: {row.verdict}: {row.note}", markup=False)
    console.print(f"table     {batch.table}", markup=False)
    console.print(f"report    {batch.page}", markup=False)


def batch_table(entries: Sequence[Entry]) -> Table:
    """Return all results as a table for the terminal; units stand in the headings."""
    table = summary_table(f"{len(entries)} model{'' if len(entries) == 1 else 's'}")
    for heading in ("Model", "Target", "Verdict"):
        table.add_column(heading, no_wrap=True)
    shares = [f"{name} %" if name.startswith("top-") else name for name in metrics(entries)]
    for heading in (*shares, "Same %", "SQNR dB", "ms", "MiB", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Job", no_wrap=True)
    last = ""
    for row in rows(entries):
        is_first, last = row.model != last, row.model
        table.add_row(
            row.model if is_first else "",
            row.target,
            row.verdict,
            *row.quality,
            row.same,
            row.sqnr,
            row.latency,
            row.size,
            row.seconds if is_first else "",
            row.state if is_first else "",
        )
    return table
