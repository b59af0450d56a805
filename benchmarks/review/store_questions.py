"""What a page and its reader ask a large store, how long each answer takes, and the tables of docs/telemetry-store.md."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from benchmarks.marked import write_marked
from host_tools.review.serve import views
from host_tools.review.serve.directory import roll_of
from host_tools.review.serve.looked import Looked
from host_tools.review.serve.ranking import ranking
from host_tools.review.serve.span import RANGES, named_span, of_ranking, span_of
from host_tools.review.serve.timeline import timeline_of
from host_tools.review.store.windows import Level, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.review.store.column_store import ColumnStore

DOCUMENT = Path(__file__).parents[2] / "docs" / "telemetry-store.md"
_MARK = "telemetry store"
_NEWEST_BEFORE_END = 18_997
"""Seconds: a page is looked at whenever, not at midnight."""
_PAGE_RANGES = ("1h", "6h", "24h", "7d", "30d")
_LIMIT_MS = 300.0


class Took(TypedDict):
    """Milliseconds of one question, warm: by the clock, and of the processor (median)."""

    p50_ms: float
    p95_ms: float
    processor_ms: float


class Report(TypedDict):
    """One run."""

    devices: int
    rounds: int
    machine: dict[str, str]
    duckdb: str
    size: dict[str, int | float]
    questions: dict[str, Took]


def questions(
    store: ColumnStore, devices: int, *, end: int, target: str
) -> Mapping[str, Callable[[], object]]:
    """Return what is asked, by name: of the store alone, and whole answers of the page.

    Args:
        store: As `telemetry_store.generate` makes it.
        devices: In it.
        end: Unix seconds of its last window's end.
        target: One of its targets.
    """
    return {**_of_store(store, devices, end=end, target=target), **_of_page(store, devices)}


def _of_store(store: ColumnStore, devices: int, *, end: int, target: str) -> dict[str, Callable[[], object]]:
    month, day, hour = end - 30 * 86400, end - 86400, end - 3600
    one = f"device-{devices // 2:05d}"
    old, new = ("sha256:" + digit * 64 for digit in "ab")

    def asked(start: int, level: Level, by: tuple[str, ...], **chosen: object):  # type: ignore[no-untyped-def]
        selection = Selection(start=float(start), end=float(end), **chosen)  # type: ignore[arg-type]
        return lambda: store.windows(selection, level=level, by=by)

    def ranked(seconds: float):  # type: ignore[no-untyped-def]
        newest = float(end - _NEWEST_BEFORE_END)
        span = of_ranking(span_of(newest - seconds, newest, newest=newest))
        selection = Selection(start=span.start, end=span.end)
        return lambda: store.windows(selection, level=span.level, by=("device",))

    return {
        "fleet, 30 days by the hour": asked(month, Level.HOUR, ("time",)),
        "fleet, a day by the minute": asked(day, Level.MINUTE, ("time",)),
        "fleet, an hour in 10 s": asked(hour, Level.SECONDS_10, ("time",)),
        "fleet by artifact, 30 days by the hour": asked(month, Level.HOUR, ("time", "artifact")),
        "fleet by target, 30 days by the hour": asked(month, Level.HOUR, ("label:target", "time")),
        "fleet by target and group, 30 days": asked(month, Level.DAY, ("label:target", "label:group")),
        "one target, a day by the minute": asked(day, Level.MINUTE, ("time",), labels=(("target", target),)),
        "two artifacts, 30 days in all": asked(month, Level.DAY, ("artifact",)),
        "devices, the last hour": asked(hour, Level.HOUR, ("device",)),
        "devices, the last day": asked(day, Level.HOUR, ("device",)),
        "devices, 30 days": asked(month, Level.DAY, ("device",)),
        **{f"devices, {name} as the page asks": ranked(RANGES[name]) for name in _PAGE_RANGES},
        "devices by artifact, 30 days": asked(month, Level.DAY, ("device", "artifact"), artifacts=(old, new)),
        "one device, 30 days by the hour": asked(month, Level.HOUR, ("time",), devices=(one,)),
        "one device, a day by the minute": asked(day, Level.MINUTE, ("time",), devices=(one,)),
        "one device, an hour in 10 s": asked(hour, Level.SECONDS_10, ("time",), devices=(one,)),
        "list of devices": store.devices,
    }


def _of_page(store: ColumnStore, devices: int) -> dict[str, Callable[[], object]]:
    roll = roll_of(store)
    old, new = (f"sha256:{digit * 64}" for digit in "ab")
    one = f"device-{devices // 2:05d}"
    found: dict[str, Callable[[], object]] = {}

    def ask(name: str, answer: Callable[[Looked], object], **chosen: object) -> None:
        for length in _PAGE_RANGES:
            looked = Looked(span=named_span(length, newest=roll.newest), **chosen)  # type: ignore[arg-type]
            found[f"page, {length}: {name}"] = lambda looked=looked: answer(looked)  # type: ignore[misc]

    ask("fleet at a glance", lambda looked: views.fleet(store, roll, looked))
    ask("fleet over time", lambda looked: timeline_of(store, roll, looked))
    ask("map of groups", lambda looked: views.groups(store, roll, looked, by="target", inner="group"))
    ask("devices in order", lambda looked: ranking(store, roll, looked))
    ask("an artifact over time", lambda looked: timeline_of(store, roll, looked), artifacts=(new,))
    ask("two artifacts over time", lambda looked: timeline_of(store, roll, looked), artifacts=(old, new))
    ask("a device over time", lambda looked: timeline_of(store, roll, looked), devices=(one,))
    ask("a device", lambda looked: views.device(store, roll, looked, one))
    return found


def measured(asked: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Took]:
    """Print and return how long each question takes, warm: the first round is left out."""
    found: dict[str, Took] = {}
    for name, question in asked.items():
        question()
        took, worked = [], []
        for _ in range(rounds):
            began, before = time.perf_counter(), time.process_time()
            question()
            took.append(1e3 * (time.perf_counter() - began))
            worked.append(1e3 * (time.process_time() - before))
        found[name] = told = Took(
            p50_ms=float(np.quantile(took, 0.5)),
            p95_ms=float(np.quantile(took, 0.95)),
            processor_ms=float(np.median(worked)),
        )
        print(
            f"{name:42} p50 {told['p50_ms']:7.1f} ms   p95 {told['p95_ms']:7.1f} ms   "
            f"processor {told['processor_ms']:7.1f} ms",
            flush=True,
        )
    return found


def tables(report: Report) -> str:
    """Return the figures as Markdown."""
    size, machine = report["size"], report["machine"]
    fleets = sum(int(rows) for table, rows in size.items() if table.startswith("fleet"))
    slow = [name for name, took in report["questions"].items() if took["p95_ms"] > _LIMIT_MS]
    lines = [
        f"{report['devices']:,} devices: {int(size['windows']):,} windows of devices and {fleets:,} of fleets, "
        f"{size['bytes'] / 1e9:.2f} GB in use ({size['free_bytes'] / 1e9:.2f} GB of the file are free for what comes next), "
        f"{size['bytes_per_window']:.0f} bytes a window; a device-day in windows of a minute and longer "
        f"{size['bytes_per_device_day'] / 1e3:.0f} kB. {machine['processor']}, "
        f"{machine['cores']} cores; DuckDB {report['duckdb']}; warm, {report['rounds']} rounds of each.",
        "",
        f"p95 above {_LIMIT_MS:.0f} ms: {'; '.join(slow) or 'none'}.",
        "",
        "| question | p50, ms | p95, ms | processor, ms |",
        "|---|---|---|---|",
        *(
            f"| {name} | {took['p50_ms']:.0f} | {took['p95_ms']:.0f} | {took['processor_ms']:.0f} |"
            for name, took in report["questions"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


def write_tables(report: Report, *, document: Path = DOCUMENT) -> None:
    """Put the tables between their marks in the document."""
    write_marked(document, _MARK, tables(report))
