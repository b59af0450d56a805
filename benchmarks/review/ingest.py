"""How many messages a second ingest takes: ``python -m benchmarks.review.ingest --workers 1 2 4``.

Broker, sender, workers and store are all on this machine. The sender stays so far ahead of the store as ``--ahead`` says,
so that what is measured is what the whole chain does, message by message committed and then acknowledged, with a queue
that does not grow. Rates are of the time after ``--warm-up``; processor time is of every process, by message.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.review.broker import Broker
from benchmarks.review.fleet_messages import Fleet
from benchmarks.review.kills import compare
from benchmarks.review.sender import Sender
from host_tools.review.broker_address import TlsFiles, parse_broker
from host_tools.review.ingest.settings import IngestSettings
from host_tools.review.ingest.supervisor import Supervisor

if TYPE_CHECKING:
    from host_tools.review.ingest.channel import Note
    from host_tools.review.ingest.overview import Overview

_SENDERS = 2
_READY_SECONDS = 60.0
_USUAL = ("writer_behind", "unmade")
"""What is said while the writer is behind, which is what a sender without a rate of its own brings about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run.

    Attributes:
        workers: Of ingest.
        messages: In the store at the end; none is missing or there twice, or the run fails.
        payload_bytes: Mean.
        messages_per_second: Committed and acknowledged, after the warm-up.
        slowest_second: The least that was committed in a second, as a mean of five.
        lag_seconds: Largest age of a message when it was committed, after the warm-up.
        roll_up_share: Share of the time in which the writer rolled up; the rate is with that.
        microseconds: Processor time by message: ``broker``, ``workers``, ``writer``, ``sender`` (with the supervisor).
        megabytes: Largest resident memory of ``workers`` (the largest), ``writer`` and ``broker``.
        store_bytes_per_message: Size of the file by message.
        load: Load average of the machine when the run began: other work makes figures worse.
    """

    workers: int
    messages: int
    payload_bytes: float
    messages_per_second: float
    slowest_second: float
    lag_seconds: float
    roll_up_share: float
    microseconds: dict[str, float]
    megabytes: dict[str, float]
    store_bytes_per_message: float
    load: float


class _Run:
    """A broker, an ingest in this process, and senders; what the supervisor shows, second by second."""

    def __init__(self, folder: Path, *, workers: int) -> None:
        self.broker = Broker(folder / "broker", autosave_seconds=3600)
        self.broker.start()
        self.store = folder / "telemetry.duckdb"
        settings = IngestSettings(
            broker=parse_broker(f"mqtt://127.0.0.1:{self.broker.port}"),
            tls=TlsFiles(),
            root="ew/v1",
            name="bench",
            store=str(self.store),
            workers=workers,
        )
        self.shown: list[Overview] = []
        self.said: list[Note] = []
        self.megabytes: dict[str, float] = {}
        self.supervisor = Supervisor(settings, say=self.said.append, show=self._show)
        self._thread = threading.Thread(target=self.supervisor.run)
        self._thread.start()

    @property
    def written(self) -> int:
        """Messages that are committed."""
        return self.shown[-1].messages if self.shown else 0

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by role."""
        found: dict[str, list[psutil.Process]] = {"broker": [psutil.Process(self.broker.process_id)]}
        for name, process_id in self.supervisor.process_ids.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                role = "writer" if name == "the writer" else "workers"
                found.setdefault(role, []).append(psutil.Process(process_id))
        return found

    def end(self) -> None:
        """End everything in order."""
        self.supervisor.stop()
        self._thread.join()
        self.broker.stop()

    def _show(self, overview: Overview) -> None:
        self.shown.append(overview)
        for role, processes in self.processes().items():
            for process in processes:
                try:
                    size = process.memory_info().rss / (1 << 20)
                except psutil.Error:
                    continue
                self.megabytes[role] = max(size, self.megabytes.get(role, 0.0))


def measure(options: argparse.Namespace, *, workers: int) -> Measured:
    """Run once.

    Raises:
        RuntimeError: Messages are missing or there twice, or a process died.
    """
    load = psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="edgewright-bench-ingest-") as name:
        run = _Run(Path(name), workers=workers)
        try:
            end = time.monotonic() + _READY_SECONDS
            while not (run.shown and run.shown[-1].connected == workers) and time.monotonic() < end:
                time.sleep(0.1)
            fleet = Fleet(options.devices, boot_id="b00c", start=time.time() - 600.0)
            senders = _send(run, fleet, options)
            time.sleep(options.warm_up)
            first, cpu = len(run.shown) - 1, _processor_seconds(run)
            time.sleep(options.seconds)
            last, cpu_after = len(run.shown) - 1, _processor_seconds(run)
            for sender in senders:
                sender.finish()
            sent = sum(sender.first_sent for sender in senders)
            end = time.monotonic() + _READY_SECONDS
            while run.written < sent and time.monotonic() < end:
                time.sleep(0.2)
            for sender in senders:
                sender.close()
        finally:
            run.end()
        measured = run.shown[first : last + 1]
        count = measured[-1].messages - measured[0].messages
        missing, doubled = _check(run.store, fleet, [sender.first_sent for sender in senders])
        if missing or doubled or any(note.code not in _USUAL for note in run.said):
            raise RuntimeError(f"{missing} missing, {doubled} there twice, said: {run.said[:5]}")
        return Measured(
            workers=workers,
            messages=sent,
            payload_bytes=run.shown[-1].received_bytes / run.shown[-1].received,
            messages_per_second=count / (measured[-1].seconds - measured[0].seconds),
            slowest_second=_slowest(measured),
            lag_seconds=max(one.lag_seconds for one in measured),
            roll_up_share=(measured[-1].roll_up_seconds - measured[0].roll_up_seconds)
            / (measured[-1].seconds - measured[0].seconds),
            microseconds={role: (cpu_after[role] - cpu[role]) / count * 1e6 for role in cpu},
            megabytes=run.megabytes,
            store_bytes_per_message=run.store.stat().st_size / sent,
            load=load,
        )


def _send(run: _Run, fleet: Fleet, options: argparse.Namespace) -> list[Sender]:
    """Begin to send: each sender every so manieth message, all of them together no further ahead than they may be."""
    began = time.monotonic()

    def may_send() -> int:
        most = int(run.written + options.ahead) // _SENDERS
        due = math.inf if options.rate is None else (time.monotonic() - began) * options.rate / _SENDERS
        return most if due > most else int(due)

    return [
        Sender(
            run.broker.port,
            client_id=f"sender-{place}",
            said=lambda number, place=place: fleet.said(number * _SENDERS + place),  # type: ignore[misc]
            total=1 << 40,
            may_send=may_send,
        )
        for place in range(_SENDERS)
    ]


def _check(store: Path, fleet: Fleet, sent: list[int]) -> tuple[int, int]:
    """Compare what all senders have sent for certain; one may have sent a little more than the other."""
    return compare(
        store,
        fleet,
        (number * _SENDERS + place for place, count in enumerate(sent) for number in range(count)),
    )


def _processor_seconds(run: _Run) -> dict[str, float]:
    own = psutil.Process().cpu_times()
    seconds = {"sender": own.user + own.system}
    for role, processes in run.processes().items():
        times = [process.cpu_times() for process in processes]
        seconds[role] = sum(one.user + one.system for one in times)
    return seconds


def _slowest(shown: list[Overview]) -> float:
    pairs = zip(shown, shown[5:], strict=False)
    rates = [(after.messages - before.messages) / (after.seconds - before.seconds) for before, after in pairs]
    return min(rates, default=0.0)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=60.0, help="measured (default: 60)")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds before (default: 10)")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument(
        "--ahead", type=int, default=60_000, help="messages not committed yet (default: 60000)"
    )
    parser.add_argument(
        "--rate", type=float, help="messages a second that are offered (default: as many as are taken)"
    )
    options = parser.parse_args()
    for workers in options.workers:
        print(json.dumps(asdict(measure(options, workers=workers)), indent=2), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
