"""What the commands of `edgewright review` do."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from device_agent.ending import end_at_once_when_asked_again
from host_tools.cli.until_ended import until_ended
from host_tools.errors import InputError, NothingHeardError
from host_tools.output_folder import open_output_folder
from host_tools.review.serve.directory import roll_of
from host_tools.review.serve.exposure import exposure_warning, is_loopback
from host_tools.review.serve.looked import Looked
from host_tools.review.serve.span import span_of
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from host_tools.review.reports.report import Report
    from host_tools.review.serve.directory import Roll
    from host_tools.review.store.telemetry_store import TelemetryStore

_DAY = 86400.0
_WEEK_DAYS = 7.0
_UNMADE_SECONDS = 60.0
_LEAST_DIGITS = 4
"""Fewer characters of a digest are a guess."""


def run_serve(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    end_at_once_when_asked_again("edgewright")
    from host_tools.review.serve.server import serving  # noqa: PLC0415 - the reports need no web server

    with (
        _opened(options.store) as store,
        serving(store, host=options.host, port=options.port, token=options.token) as address,
    ):
        print(f"The page of {options.store}: {address}\nCtrl-C ends it.", flush=True)
        if not is_loopback(options.host):
            _warn(exposure_warning(options.host, options.token))
        _warn_of_unmade(options.store, store, roll_of(store))
        with until_ended():
            threading.Event().wait()
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Compare two artifacts; exit status 0 no worse, 1 worse, 3 too little is known."""
    from host_tools.review.analysis.artifacts import compare  # noqa: PLC0415 - `serve` need not wait for it
    from host_tools.review.reports.comparison import comparison_report  # noqa: PLC0415 - likewise
    from host_tools.review.reports.status import comparison_status  # noqa: PLC0415 - likewise

    with _opened(options.store) as store:
        looked = _looked(options, _roll(options, store))
        known = store.artifacts(looked.selection())
        if not known:
            raise NothingHeardError(
                f"{options.store}: no artifact ran from {_moment(looked.span.start)} to {_moment(looked.span.end)}.",
                hint="See --days, --since and --until.",
            )
        a, b = (artifact_named(text, known) for text in (options.artifact_a, options.artifact_b))
        if a == b:
            raise InputError(f"A and B are the same artifact, {a}.")
        comparison = compare(store, a, b, looked.selection(), margins=_margins(options.margin))
    _tell(options, "comparison", comparison, comparison_report(comparison))
    return comparison_status(comparison)


def run_device(options: argparse.Namespace) -> int:
    """Review one device; exit status 0 fine, 1 a finding needs somebody now, 3 nothing was heard."""
    from host_tools.review.analysis.review import examine_device  # noqa: PLC0415 - as in `run_compare`
    from host_tools.review.reports.reviews import device_report  # noqa: PLC0415 - likewise
    from host_tools.review.reports.status import review_status  # noqa: PLC0415 - likewise

    with _opened(options.store) as store:
        roll = _roll(options, store)
        if options.device not in roll.devices:
            raise InputError(
                f"device {harmless(options.device)!r}: never heard.{_like(options.device, roll)}"
            )
        found = examine_device(store, options.device, _looked(options, roll).selection())
    _tell(options, "device", found, device_report(found))
    return review_status(found.review)


def run_weekly(options: argparse.Namespace) -> int:
    """Review the last seven days beside the seven before; exit status as of `run_device`."""
    from host_tools.review.analysis.review import weekly  # noqa: PLC0415 - as in `run_compare`
    from host_tools.review.reports.reviews import weekly_report  # noqa: PLC0415 - likewise
    from host_tools.review.reports.status import review_status  # noqa: PLC0415 - likewise

    options.days, options.since, options.usual_days = _WEEK_DAYS, None, _WEEK_DAYS
    with _opened(options.store) as store:
        looked = _looked(options, _roll(options, store))
        found = weekly(store, end=looked.span.end, labels=looked.labels)
    _tell(options, "weekly", found, weekly_report(found))
    return review_status(found.review)


def run_export(options: argparse.Namespace) -> int:
    """Write a file for other programs, or send metrics to a collector."""
    if options.grafana is not None:
        from host_tools.review.exports.grafana import dashboard_bytes  # noqa: PLC0415 - needs no store and no Arrow

        _write(options.grafana, dashboard_bytes())
        return 0
    if options.store is None:
        raise InputError("--store is missing: which store is to be exported?")
    with _opened(options.store) as store:
        if options.all is not None:
            store.export_parquet(Path(options.all))
            print(f"{options.all}: every table of {options.store}")
            return 0
        roll = _roll(options, store)
        looked = _looked(options, roll)
        known = store.artifacts(looked.selection())
        looked = replace(looked, artifacts=tuple(artifact_named(text, known) for text in options.artifact))
        if options.otlp is not None:
            return _send(options, store, roll, looked)
        is_timeline = options.timeline is not None
        name = options.timeline if is_timeline else options.devices
        _write(name, _table_bytes(store, roll, looked, name, is_timeline=is_timeline))
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Take an export of every table into a new store."""
    from host_tools.review.store.opening import open_store  # noqa: PLC0415 - as in `_opened`

    store = open_store(options.store)
    try:
        messages = store.import_parquet(Path(options.folder))
    finally:
        store.close()
    print(f"{options.store}: what {messages:,} messages said")
    return 0


def run_backup(options: argparse.Namespace) -> int:
    """Copy a store."""
    with _opened(options.store) as store:
        store.backup(Path(options.file))
    print(f"{options.file}: a copy of {options.store}")
    return 0


def _table_bytes(store: TelemetryStore, roll: Roll, looked: Looked, name: str, *, is_timeline: bool) -> bytes:
    from host_tools.review.exports.tables import ranking_table, table_bytes, timeline_table  # noqa: PLC0415 - Arrow
    from host_tools.review.serve.ranking import MOST_EXPORTED, ranking  # noqa: PLC0415 - beside it
    from host_tools.review.serve.timeline import timeline_of  # noqa: PLC0415 - beside it

    kind = Path(name).suffix.removeprefix(".")
    if is_timeline:
        return table_bytes(timeline_table(timeline_of(store, roll, looked)), kind)
    ranked = ranking(store, roll, looked, sort="device", is_descending=False, page_size=MOST_EXPORTED)
    return table_bytes(ranking_table(ranked), kind)


def _send(options: argparse.Namespace, store: TelemetryStore, roll: Roll, looked: Looked) -> int:
    from host_tools.review.exports.otlp import endpoint, send  # noqa: PLC0415 - needs the extra `otlp`

    address = endpoint(options.otlp)
    headers = dict(_pairs(options.header, "--header"))
    table = store.windows(looked.selection(), level=looked.span.level, by=("time", "artifact"))
    if not len(table.devices):
        raise NothingHeardError(
            f"{options.store}: nothing was measured from {_moment(looked.span.start)} on."
        )
    points = send(table, address, names=roll.names, headers=headers)
    print(f"{points} points of {len(table.devices)} windows sent to {address}")
    return 0


# --- arguments ---


@contextmanager
def _opened(address: str) -> Iterator[TelemetryStore]:
    from host_tools.review.store.opening import open_store  # noqa: PLC0415 - `export --grafana` needs no database

    store = open_store(address, read_only=True)
    try:
        yield store
    finally:
        store.close()


def artifact_named(text: str, known: Sequence[str]) -> str:
    """Return the one digest that begins so.

    Raises:
        InputError: None does, or several do, or the text is too short to tell.
    """
    digits = text.removeprefix("sha256:")
    found = [digest for digest in known if digest.removeprefix("sha256:").startswith(digits)]
    if len(digits) < _LEAST_DIGITS:
        raise InputError(
            f"artifact {harmless(text)!r}: expected at least {_LEAST_DIGITS} characters of its digest."
        )
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} artifacts begin so" if found else "no artifact that ran in this time begins so"
    listed = ", ".join(digest.removeprefix("sha256:")[:12] for digest in (found or known)[:10]) or "none"
    raise InputError(f"artifact {harmless(text)!r}: {problem}. There are: {listed}.")


def _roll(options: argparse.Namespace, store: TelemetryStore) -> Roll:
    """Return what the store knows of devices and artifacts.

    Raises:
        NothingHeardError: It has heard nothing at all.
    """
    roll = roll_of(store)
    if roll.newest == 0.0:
        raise NothingHeardError(
            f"{options.store}: there is no telemetry in it yet.", hint="`edgewright ingest` brings it."
        )
    _warn_of_unmade(options.store, store, roll)
    return roll


def _warn_of_unmade(where: str, store: TelemetryStore, roll: Roll) -> None:
    """Say that figures lack messages: of a store that is copied while it is written, those of the last seconds always wait."""
    since = store.unmade_since()
    if since is not None and since < roll.newest - _UNMADE_SECONDS:
        _warn(
            f"{where}: not all windows from {_moment(since)} on are made, so figures lack messages. "
            "`edgewright ingest` makes them when it runs with this store."
        )


def _looked(options: argparse.Namespace, roll: Roll) -> Looked:
    end = _time(options.until, "--until") if options.until else roll.newest + 1.0
    days = options.days if options.days is not None else options.usual_days
    start = _time(options.since, "--since") if options.since else end - days * _DAY
    if options.since and options.days is not None and not options.until:
        end = start + options.days * _DAY
    if not start < end:
        raise InputError(
            f"time: expected a start before the end, got {_moment(start)} to {_moment(end)}.",
            hint="See --since, --until and --days.",
        )
    level = getattr(options, "level", None)
    span = span_of(max(start, 0.0), end, newest=roll.newest, level=level, kept=roll.kept)
    return Looked(
        span=span,
        artifacts=(),
        labels=tuple(_pairs(options.label, "--label")),
    )


def _margins(texts: Sequence[str]) -> dict[str, float]:
    margins = {}
    for name, value in _pairs(texts, "--margin"):
        try:
            margins[name] = float(value)
        except ValueError:
            raise InputError(f"--margin {name}: expected a number, got {value!r}.") from None
    return margins


def _pairs(texts: Sequence[str], option: str) -> Iterator[tuple[str, str]]:
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise InputError(f"{option}: expected KEY=VALUE, got {text!r}.")
        yield key, value


def _time(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InputError(f"{option}: expected a time such as 2026-11-27T06:00, got {text!r}.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):  # no year of the calendar
        return f"{seconds:g}"


def _like(device: str, roll: Roll) -> str:
    found = [name for name in roll.devices if device.casefold() in name.casefold()][:5]
    return f" Did you mean {', '.join(harmless(name) for name in found)}?" if found else ""


# --- results ---


def _tell(options: argparse.Namespace, kind: str, analysis: object, report: Report) -> None:
    from host_tools.review.reports.document import document  # noqa: PLC0415 - as in `run_compare`
    from host_tools.review.reports.terminal import terminal_report  # noqa: PLC0415 - likewise

    if options.html is not None:
        from host_tools.review.reports.page import page_report  # noqa: PLC0415 - Matplotlib

        _write(options.html, page_report(report).encode(), quiet=options.json)
    if options.json:
        sys.stdout.write(document(kind, analysis).decode())
    else:
        Console().print(terminal_report(report))


def _write(name: str, content: bytes, *, quiet: bool = False) -> None:
    target = Path(name)
    with open_output_folder(target.parent) as folder:
        folder.write(target.name, content)
    if not quiet:
        print(f"{target}: {len(content):,} bytes")


def _warn(text: str) -> None:
    print(f"edgewright: warning: {text}", file=sys.stderr)
