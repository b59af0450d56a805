"""What `edgewright watch` and `edgewright report` do: what devices say, live and as a page."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from host_tools.cli.progress import ProgressBars
from host_tools.errors import InputError, OutputError
from host_tools.output_folder import open_output_folder
from host_tools.review.broker_address import is_broker, parse_broker
from host_tools.review.history import History
from host_tools.review.listener import listen
from host_tools.review.recording import read_recording, write_delivery
from host_tools.review.telemetry_page import render_telemetry
from host_tools.review.watch import live_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    from host_tools.review.listener import Delivery

_LIVE_WINDOWS = 500
_REFRESH_PER_SECOND = 4.0


def run_watch(options: argparse.Namespace) -> int:
    """Listen and show until interrupted or the time is over."""
    history = History(root=options.root, keep=_LIVE_WINDOWS)
    console = Console()
    with (
        listen(parse_broker(options.broker), root=options.root) as listener,
        _recording(options.record) as record,
    ):
        live = (
            None
            if options.json
            else Live(live_table(history), console=console, refresh_per_second=_REFRESH_PER_SECOND)
        )
        with live or nullcontext():
            for delivery in _until_interrupted(listener.deliveries(seconds=options.seconds)):
                if delivery is not None:
                    history.add(delivery)
                    if record is not None:
                        write_delivery(record, delivery)
                    if options.json:
                        print(
                            json.dumps(
                                {
                                    "topic": delivery.topic,
                                    "payload": delivery.payload.decode(errors="replace"),
                                }
                            ),
                            flush=True,
                        )
                if live is not None:
                    live.update(live_table(history))
    return 0


def run_report(options: argparse.Namespace) -> int:
    """Collect and write the page."""
    history = History(root=options.root)
    if is_broker(options.origin):
        _collect(options, history)
    else:
        for delivery in read_recording(Path(options.origin)):
            history.add(delivery)
    if not history.devices:
        raise InputError(
            f"{options.origin}: no telemetry below {options.root!r}.",
            hint="Is an agent running, and is --root right?",
        )
    target = Path(options.out)
    with open_output_folder(target.parent) as folder:
        folder.write(target.name, render_telemetry(history, origin=options.origin).encode())
    counts = {
        "page": str(target),
        "devices": len(history.devices),
        "inference_windows": sum(len(device.inference) for device in history.devices.values()),
        "events": sum(len(device.events) for device in history.devices.values()),
        "duplicates": history.duplicate_count,
        "refused": history.refused_count,
    }
    print(
        json.dumps(counts)
        if options.json
        else "  ".join(f"{name}: {value}" for name, value in counts.items())
    )
    return 0


def _collect(options: argparse.Namespace, history: History) -> None:
    with (
        listen(parse_broker(options.origin), root=options.root) as listener,
        ProgressBars(quiet=options.quiet) as progress,
    ):
        start, told = time.monotonic(), 0
        progress.stage(f"Listening to {parse_broker(options.origin)}", max(int(options.seconds), 1))
        for delivery in _until_interrupted(listener.deliveries(seconds=options.seconds)):
            if delivery is not None:
                history.add(delivery)
            passed = int(time.monotonic() - start)
            progress.step(passed - told)
            told = passed


def _until_interrupted(deliveries: Iterator[Delivery | None]) -> Iterator[Delivery | None]:
    """Yield until the source ends or Ctrl-C comes, which is the ordinary way to end listening."""
    try:
        yield from deliveries
    except KeyboardInterrupt:
        return


def _recording(path: str | None) -> AbstractContextManager[TextIO | None]:
    if path is None:
        return nullcontext()
    try:
        return Path(path).open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}.", hint="Choose another --record FILE."
        ) from error
