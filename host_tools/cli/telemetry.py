"""`edgewright watch` and `edgewright report`: what devices say, live and as a page."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from device_agent.contract.topics import DEFAULT_ROOT
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
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    from host_tools.review.listener import Delivery

_LIVE_WINDOWS = 500
_REFRESH_PER_SECOND = 4.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    watch = commands.add_parser(
        "watch",
        help="show telemetry live in the terminal",
        description="Show what every device says, live. Ctrl-C ends it.",
        epilog="examples:\n  edgewright watch mqtt://localhost:1883\n  edgewright watch mqtt://broker --record today.jsonl --seconds 3600",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument("broker", metavar="BROKER", help="mqtt://[user:password@]host[:port], or mqtts://…")
    watch.add_argument("--root", default=DEFAULT_ROOT, help=f"topic root (default: {DEFAULT_ROOT})")
    watch.add_argument("--seconds", type=float, metavar="N", help="end after so long")
    watch.add_argument(
        "--record", metavar="FILE", help="append every message to FILE, for `edgewright report --from FILE`"
    )
    watch.add_argument(
        "--json", action="store_true", help="print every message as a JSON line instead of a table"
    )
    watch.set_defaults(run=run_watch)
    report = commands.add_parser(
        "report",
        help="write a page of latency, throughput, temperature and power over time",
        description="Write a self-contained page from a recording, or from listening to a broker.",
        epilog="examples:\n  edgewright report --from today.jsonl\n  edgewright report --from mqtt://localhost --seconds 120 --out fleet.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument(
        "--from", required=True, dest="origin", metavar="FILE|BROKER", help="a recording, or mqtt://host:port"
    )
    report.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        metavar="N",
        help="how long to listen to a broker (default: 60)",
    )
    report.add_argument(
        "--out", default="telemetry.html", metavar="FILE", help="the page (default: telemetry.html)"
    )
    report.add_argument("--root", default=DEFAULT_ROOT, help=f"topic root (default: {DEFAULT_ROOT})")
    report.add_argument("--quiet", action="store_true", help="no progress")
    report.add_argument("--json", action="store_true", help="print counts as JSON")
    report.set_defaults(run=run_report)


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
