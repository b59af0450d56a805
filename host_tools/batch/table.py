"""All results of a batch as one table: model by target. Cells as text, for terminal and page; values, for CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from host_tools.verify.figure_text import NOTHING, number_text, quality_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.batch.job import JobResult, TargetResult

State = Literal["done", "kept", "failed", "not chosen"]
"""Of a job in this run: done now, kept from an earlier run, failed, or kept without a look because it was not chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One job in the table."""

    result: JobResult
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model on one target; a failed job has one row without a target.

    Attributes:
        model: Name of the job.
        target: Profile id; a dash when the job failed.
        verdict: ``pass``, ``marginal``, ``fail``, ``nonfinite``, ``refused`` or ``failed``.
        quality: The payload's value of each of `metrics`, as text.
        same: Share with the float model's top class in per cent, as text.
        sqnr: In dB, as text.
        latency: In milliseconds, as text; a star when the engine only stands in for the hardware.
        size: In MiB, as text.
        seconds: Of the whole job, as text.
        state: Of the job in this run.
        note: Reasons, refusal or error.
        link: Page of the job, relative to the batch's folder; empty when it failed.
    """

    model: str
    target: str
    verdict: str
    quality: tuple[str, ...]
    same: str
    sqnr: str
    latency: str
    size: str
    seconds: str
    state: State
    note: str
    link: str


def metrics(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the names of all metrics, in the order in which they first occur."""
    targets = (target for entry in entries for target in entry.result.targets)
    return tuple(dict.fromkeys(one.metric for target in targets for one in target.quality))


def rows(entries: Sequence[Entry]) -> tuple[Row, ...]:
    """Return the table, jobs and targets in the order in which they were asked for."""
    names = metrics(entries)
    return tuple(row for entry in entries for row in _rows(entry, names))


def _rows(entry: Entry, names: tuple[str, ...]) -> list[Row]:
    result = entry.result
    seconds = f"{result.seconds:.1f}"
    if result.failure is not None:
        nothing = (NOTHING,) * len(names)
        return [
            Row(
                model=result.job,
                target=NOTHING,
                verdict="failed",
                quality=nothing,
                same=NOTHING,
                sqnr=NOTHING,
                latency=NOTHING,
                size=NOTHING,
                seconds=seconds,
                state=entry.state,
                note=str(result.failure),
                link="",
            )
        ]
    return [_target_row(entry, target, names, seconds) for target in result.targets]


def _target_row(entry: Entry, target: TargetResult, names: tuple[str, ...], seconds: str) -> Row:
    values = {one.metric: one.payload_value for one in target.quality}
    star = " *" if target.is_stand_in and target.latency_seconds is not None else ""
    return Row(
        model=entry.result.job,
        target=target.target,
        verdict=target.verdict,
        quality=tuple(quality_text(name, values.get(name)) for name in names),
        same=number_text(target.same_top_class, 100.0, 1),
        sqnr="exact" if target.is_exact else number_text(target.sqnr_db, 1.0, 1),
        latency=number_text(target.latency_seconds, 1e3, 2) + star,
        size=number_text(target.payload_bytes, 2.0**-20, 2),
        seconds=seconds,
        state=entry.state,
        note="; ".join(target.reasons),
        link=f"{entry.result.job}/report.html#{target.target}",
    )


def encode_csv(entries: Sequence[Entry]) -> bytes:
    """Return the table as CSV with a heading: values in SI units and shares from 0 to 1, empty where there is none."""
    names = metrics(entries)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            "model",
            "target",
            "verdict",
            "state",
            *(heading for name in names for heading in (f"{name} (float)", name)),
            "same_top_class",
            "sqnr_db",
            "latency_seconds",
            "payload_bytes",
            "float_bytes",
            "job_seconds",
            "host",
            "artifact",
            "note",
        )
    )
    for entry in entries:
        result = entry.result
        if result.failure is not None:
            empty = ("",) * (2 * len(names) + 5)
            end = (f"{result.seconds:.3f}", result.host, "", str(result.failure))
            writer.writerow((result.job, "", "failed", entry.state, *empty, *end))
        for target in result.targets:
            quality = {one.metric: (one.float_value, one.payload_value) for one in target.quality}
            writer.writerow(
                (
                    result.job,
                    target.target,
                    target.verdict,
                    entry.state,
                    *(value for name in names for value in quality.get(name, ("", ""))),
                    target.same_top_class,
                    "inf" if target.is_exact else target.sqnr_db,
                    target.latency_seconds,
                    target.payload_bytes,
                    target.float_bytes,
                    f"{result.seconds:.3f}",
                    result.host,
                    "" if target.artifact is None else f"{result.job}/{target.artifact}",
                    "; ".join(target.reasons),
                )
            )
    return text.getvalue().encode()
