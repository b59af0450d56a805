"""What `edgewright watch` and `edgewright report` do: what devices say, live and as a page."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from host_tools.cli.progress import ProgressBars
from host_tools.errors import InputError
from host_tools.output_folder import open_output_folder
from host_tools.review.broker_address import TlsFiles, is_broker, parse_broker
from host_tools.review.history import History
from host_tools.review.listener import listen
from host_tools.review.recording import open_recording, read_recording
from host_tools.review.watch import live_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from host_tools.review.listener import Delivery, Listener
    from host_tools.review.recording import Recording

_LIVE_WINDOWS = 128
"""Of each device and type; a fleet of thousands must fit in memory."""
_REFRESH_SECONDS = 0.25
"""A table is drawn so often, not for every message: drawing costs more than reading a hundred of them."""
_MOST_DRAWING = 0.25
"""Share of the time that drawing may take, however many devices there are."""


def run_watch(options: argparse.Namespace) -> int:
    """Listen and show until interrupted or the time is over."""
    history = History(root=options.root, keep=_LIVE_WINDOWS)
    with (
        listen(parse_broker(options.broker), root=options.root, tls=tls_files(options)) as listener,
        _recording(options.record) as record,
    ):

        def warnings() -> list[str]:
            return [*_listening_warnings(listener), *_recording_warnings(record)]

        def take(delivery: Delivery) -> None:
            history.add(delivery)
            if record is not None:
                record.write(delivery)
            if options.json:
                payload = delivery.payload.decode(errors="replace")
                print(json.dumps({"topic": delivery.topic, "payload": payload}), flush=True)

        with nullcontext() if options.json else _live(history) as live:

            def refresh() -> None:
                if record is not None:
                    record.flush()
                if live is not None:
                    live.update(live_table(history, warnings=warnings()), refresh=live.console.is_terminal)

            _take_all(listener, options.seconds, take, refresh)
            refresh()
        _tell(warnings() if options.json else _recording_warnings(record))
    return 0


def run_report(options: argparse.Namespace) -> int:
    """Collect and write the page."""
    from host_tools.review.telemetry_page import render_telemetry  # noqa: PLC0415 - `watch` need not wait for Matplotlib

    history = History(root=options.root)
    if is_broker(options.origin):
        origin = str(parse_broker(options.origin))  # the page must not hold the password
        warnings = _collect(options, history)
    else:
        origin, warnings = options.origin, []
        if tls_files(options).is_given:
            raise InputError("--ca, --cert and --key are for a broker, not for a recording.")
        for delivery in read_recording(Path(options.origin), warn=warnings.append):
            history.add(delivery)
    if not history.devices:
        raise InputError(
            f"{origin}: no telemetry below {options.root!r}.",
            hint="Is an agent running, and is --root right?",
        )
    _tell(warnings)
    target = Path(options.out)
    with open_output_folder(target.parent) as folder:
        folder.write(target.name, render_telemetry(history, origin=origin, warnings=warnings).encode())
    counts = {
        "page": str(target),
        "devices": len(history.devices),
        "inference_windows": sum(len(device.all_inference) for device in history.devices.values()),
        "events": sum(len(device.events) for device in history.devices.values()),
        "duplicates": history.duplicate_count,
        "refused": history.refused_count,
        "missing": sum(device.missing_count for device in history.devices.values()),
    }
    print(
        json.dumps(counts)
        if options.json
        else "  ".join(f"{name}: {value}" for name, value in counts.items())
    )
    return 0


def _collect(options: argparse.Namespace, history: History) -> list[str]:
    """Listen for a while; return what the reader must know of it."""
    address = parse_broker(options.origin)
    with (
        listen(address, root=options.root, tls=tls_files(options)) as listener,
        ProgressBars(quiet=options.quiet) as progress,
    ):
        start, told = time.monotonic(), 0
        progress.stage(f"Listening to {address}", max(int(options.seconds), 1))

        def refresh() -> None:
            nonlocal told
            passed = int(time.monotonic() - start)
            progress.step(passed - told)
            told = passed

        _take_all(listener, options.seconds, lambda delivery: history.add(delivery), refresh)  # noqa: PLW0108
        return _listening_warnings(listener)


def _take_all(
    listener: Listener,
    seconds: float | None,
    take: Callable[[Delivery], object],
    refresh: Callable[[], None],
) -> None:
    """Take every delivery until the time is over or Ctrl-C comes, which is the ordinary way to end listening."""
    due = 0.0
    try:
        for delivery in listener.deliveries(seconds=seconds):
            if delivery is not None:
                take(delivery)
            start = time.monotonic()
            if start >= due:
                refresh()
                cost = time.monotonic() - start
                due = start + max(_REFRESH_SECONDS, cost / _MOST_DRAWING)
    except KeyboardInterrupt:
        for delivery in listener.waiting():
            take(delivery)


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Leave a reader that went away to `main`, which calls it no failure; rich would."""
        raise BrokenPipeError


def _live(history: History) -> Live:
    """Return a view that draws when it is told to, in this thread: nothing changes while it draws."""
    return Live(live_table(history), console=_Terminal(), auto_refresh=False)


def _listening_warnings(listener: Listener) -> list[str]:
    warnings = []
    if listener.dropped:
        warnings.append(
            f"{listener.dropped} messages came faster than they could be read, and were thrown away."
        )
    if not listener.is_connected:
        warnings.append("The connection to the broker is lost; trying again.")
    return warnings


def _recording_warnings(record: Recording | None) -> list[str]:
    if record is None or not record.left_out:
        return []
    return [f"{record.left_out} messages are too long for telemetry (frames?), and were not recorded."]


def _tell(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"edgewright: warning: {warning}", file=sys.stderr)


def _recording(path: str | None) -> AbstractContextManager[Recording | None]:
    return nullcontext() if path is None else open_recording(Path(path))


def tls_files(options: argparse.Namespace) -> TlsFiles:
    """Return the files of TLS that were named."""
    return TlsFiles(
        authority=None if options.ca is None else Path(options.ca),
        certificate=None if options.cert is None else Path(options.cert),
        key=None if options.key is None else Path(options.key),
    )
