"""What `edgewright ingest` does: the supervisor, a live line, and what goes wrong on standard error."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from device_agent.contract.topics import checked_root
from host_tools.cli.listening import tls_files
from host_tools.errors import InputError
from host_tools.review.broker_address import parse_broker
from host_tools.review.ingest.metrics import Metrics
from host_tools.review.ingest.settings import BackupSettings, IngestSettings, PageSettings
from host_tools.review.ingest.supervisor import Supervisor
from host_tools.review.serve.exposure import exposure_warning, is_loopback, page_url
from host_tools.review.store.limits import Limits
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    import argparse
    from contextlib import AbstractContextManager

    from host_tools.review.ingest.overview import Overview

_SILENT_SECONDS = 60.0


def run_ingest(options: argparse.Namespace) -> int:
    """Ingest until interrupted, told to end, or the time is over."""
    settings = IngestSettings(
        broker=parse_broker(options.broker),
        tls=tls_files(options),
        root=checked_root(options.root),
        name=options.name,
        store=options.store,
        workers=options.workers,
        receive_maximum=options.unacknowledged,
        store_memory_bytes=options.store_memory << 20,
        roll_up_seconds=options.roll_up_every,
        page=_page(options),
        limits=Limits(**dict(options.limit)),
        keep=dict(options.keep),
        backup=_backup(options),
    )
    metrics = None if options.metrics is None else Metrics(options.metrics)
    screen = _Screen(settings, as_json=options.json)
    supervisor = Supervisor(
        settings, say=lambda note: _say(note.text), show=lambda overview: _show(overview, screen, metrics)
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: supervisor.stop())
    with screen.shown():
        supervisor.run(seconds=options.seconds)
    screen.end()
    return 0


def _page(options: argparse.Namespace) -> PageSettings | None:
    if options.page is None:
        return None
    page = PageSettings(host=options.page_host, port=options.page, token=options.page_token)
    _say(f"the page: {page_url(page.host, page.port, page.token)}")
    if not is_loopback(page.host):
        _say(f"warning: {exposure_warning(page.host, page.token)}")
    return page


def _backup(options: argparse.Namespace) -> BackupSettings | None:
    if options.backup is None:
        return None
    if "://" in options.store or options.store.startswith("chdb:"):
        raise InputError(
            "--backup: expected a DuckDB file as the store, got a server's address.",
            hint="A ClickHouse server makes its own: BACKUP DATABASE.",
        )
    return BackupSettings(
        folder=options.backup, every_seconds=options.backup_every * 3600.0, kept=options.backups_kept
    )


def _show(overview: Overview, screen: _Screen, metrics: Metrics | None) -> None:
    screen.show(overview)
    if metrics is not None:
        metrics.show(overview)


def _say(line: str) -> None:
    print(f"edgewright: {harmless(line)}", file=sys.stderr, flush=True)


class _Screen:
    """The live line of a terminal, lines of JSON, or nothing but the sum at the end."""

    def __init__(self, settings: IngestSettings, *, as_json: bool) -> None:
        self._settings = settings
        self._as_json = as_json
        self._console = Console()
        self._live: Live | None = None
        self._latest: Overview | None = None
        self._told_silence = False

    def shown(self) -> AbstractContextManager[object]:
        """Return what the line is shown within."""
        if self._as_json or not self._console.is_terminal:
            return nullcontext()
        self._live = Live(console=self._console, auto_refresh=False)
        return self._live

    def show(self, overview: Overview) -> None:
        """Show how things are."""
        self._latest = overview
        if self._as_json:
            print(json.dumps(asdict(overview)), flush=True)
        elif self._live is not None:
            self._live.update(Text(_line(overview)), refresh=True)
        silent = overview.received == 0 and overview.connected and overview.seconds > _SILENT_SECONDS
        if silent and not self._told_silence:
            self._told_silence = True
            _say(
                f"nothing came below {self._settings.root!r} for {_SILENT_SECONDS:.0f} s. Is an agent running, and is "
                "--root right?"
            )

    def end(self) -> None:
        """Say what was done, where no line stands there already."""
        if self._latest is not None and not self._as_json and self._live is None:
            print("  ".join(_sums(self._latest)))


def _line(overview: Overview) -> str:
    """Return one line for people."""
    parts = [
        f"{overview.messages_per_second:,.0f}/s",
        *_sums(overview),
        f"lag {overview.lag_seconds:.1f} s",
        f"{overview.held:,} held",
        f"{overview.connected}/{overview.workers} workers",
    ]
    return "  ".join(parts)


def _sums(overview: Overview) -> list[str]:
    """Return what holds of an ingest that has ended, too."""
    sums = [
        f"{overview.messages:,} written",
        f"{overview.duplicates:,} known",
        f"{overview.dead_letters:,} refused",
    ]
    return [*sums, f"{overview.restarts} restarts"] if overview.restarts else sums
