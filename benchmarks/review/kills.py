"""Kill everything at random under load, and count: ``python -m benchmarks.review.kills --kills 200``.

A fleet sends while workers, writer, supervisor and broker are killed with SIGKILL, one after the other. At the end every
message that was sent must be in the store once. The senders do as agents with ``mqtt.resend_seconds`` do.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import duckdb
import psutil

from benchmarks.review.broker import Broker
from benchmarks.review.fleet_messages import KINDS, Fleet
from benchmarks.review.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ROOT = Path(__file__).resolve().parents[2]
_SETTLE_SECONDS = 240.0
_QUIET_SECONDS = 3.0
_VICTIMS = {"worker": 4, "writer": 4, "broker": 3, "supervisor": 1}
_ROWS = {"system": 12, "thermal": 3, "power": 2}
"""Rows of readings that a message of a kind is in the store."""
_BOOT_ID = "b00c"

Status: TypeAlias = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was sent, and what the store has.

    Attributes:
        kills: By victim.
        sent: Messages, each counted once.
        sent_again: Messages that were sent a second time.
        missing: Rows that are not in the store.
        doubled: Rows that are there twice.
        seconds: From the first message to the last commit.
    """

    kills: dict[str, int]
    sent: int
    sent_again: int
    missing: int
    doubled: int
    seconds: float


class Ingest:
    """``edgewright ingest`` as a process that is started again whenever it ends, as a service is."""

    def __init__(self, port: int, store: Path, *, workers: int) -> None:
        self._command = [
            *(sys.executable, "-m", "host_tools", "ingest", "--broker", f"mqtt://127.0.0.1:{port}"),
            *("--store", str(store), "--workers", str(workers), "--json"),
        ]
        self._stopping = False
        self._process: subprocess.Popen[str] | None = None
        self.status: Status = {}
        self.log: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, claim: Callable[[Status], bool], *, what: str, seconds: float = 180.0) -> None:
        """Wait until the latest status says so."""
        end = time.monotonic() + seconds
        while not (self.status and claim(self.status)):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}; {self.status}; {self.log[-20:]}")
            time.sleep(0.05)

    def kill(self, role: str, chance: random.Random) -> bool:
        """Kill a process of a role; return whether there was one."""
        assert self._process is not None
        try:
            main = psutil.Process(self._process.pid)
            victims = (
                [main]
                if role == "supervisor"
                else [child for child in main.children() if role in child.cmdline()]
            )
            if victims:
                chance.choice(victims).kill()
        except psutil.Error:
            return False
        return bool(victims)

    def stop(self) -> None:
        """End it as a service is ended."""
        self._stopping = True
        if self._process is not None:
            self._process.terminate()
        self._thread.join(120.0)

    def _run(self) -> None:
        while not self._stopping:
            with subprocess.Popen(
                self._command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                self._process = process
                complaints = threading.Thread(target=self._log, args=(process,), daemon=True)
                complaints.start()
                assert process.stdout is not None
                for line in process.stdout:
                    document = json.loads(line)
                    if "error" not in document:
                        self.status = document
                complaints.join()
            time.sleep(0.2)

    def _log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.log += [line.rstrip() for line in process.stderr]


def kill_everything(
    folder: Path, *, kills: int, rate: float, workers: int, seed: int, resend_seconds: float, pause: float
) -> Outcome:
    """Run and return what came of it.

    Args:
        folder: For broker and store.
        kills: How many.
        rate: Messages a second.
        workers: Of ingest.
        seed: Who is killed when.
        resend_seconds: So long the senders keep what was acknowledged.
        pause: Mean time between two kills in seconds.
    """
    chance = random.Random(seed)
    broker = Broker(folder / "broker", autosave_seconds=1)
    broker.start()
    store = folder / "telemetry.duckdb"
    ingest = Ingest(broker.port, store, workers=workers)
    ingest.wait_for(lambda status: status["connected"] == workers, what="all workers are subscribed")
    time.sleep(2.5)  # the broker saves the subscriptions
    fleet = Fleet(200, boot_id=_BOOT_ID, start=time.time())
    began = time.monotonic()
    sender = Sender(
        broker.port,
        client_id="fleet",
        said=fleet.said,
        total=1 << 40,
        may_send=lambda: int((time.monotonic() - began) * rate),
        resend_seconds=resend_seconds,
    )
    killed: Counter[str] = Counter()
    try:
        while sum(killed.values()) < kills:
            time.sleep(pause * chance.uniform(0.4, 1.6))
            victim = chance.choices(list(_VICTIMS), list(_VICTIMS.values()))[0]
            if victim == "broker":
                broker.kill()
                time.sleep(chance.uniform(0.0, 0.5))
                broker.start()
                killed[victim] += 1
            else:
                killed[victim] += ingest.kill(victim, chance)
        sender.finish()
        _wait_until(lambda: sender.is_done, what="everything is acknowledged to the sender")
        _wait_until_quiet(ingest, workers)
        seconds = time.monotonic() - began
    finally:
        sender.close()
        ingest.stop()
        broker.stop()
    missing, doubled = compare(store, fleet, range(sender.first_sent))
    return Outcome(
        kills=dict(killed),
        sent=sender.first_sent,
        sent_again=sender.sent_again,
        missing=missing,
        doubled=doubled,
        seconds=seconds,
    )


def compare(store: Path, fleet: Fleet, numbers: Iterable[int]) -> tuple[int, int]:
    """Return how many of these messages (or rows of theirs) are missing in a store, and how many rows are there twice."""
    kinds = Counter(number // fleet.devices % len(KINDS) for number in numbers)
    sent = {kind: kinds[place] for place, kind in enumerate(KINDS)}
    with duckdb.connect(str(store), read_only=True) as connection:
        windows, distinct = _counts(
            connection, "SELECT count(*), count(DISTINCT (device, boot, seq)) FROM inference"
        )
        readings, of_sensors = _counts(
            connection, "SELECT count(*), count(DISTINCT (device, boot, seq, sensor)) FROM reading"
        )
    rows = sum(_ROWS[kind] * sent[kind] for kind in _ROWS)
    return (
        sent["inference"] - distinct + rows - of_sensors,
        windows - distinct + readings - of_sensors,
    )


def _counts(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    found = connection.execute(sql).fetchone()
    assert found is not None
    return tuple(found)


def _wait_until(claim: Callable[[], bool], *, what: str) -> None:
    end = time.monotonic() + _SETTLE_SECONDS
    while not claim():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {_SETTLE_SECONDS:.0f} s: {what}")
        time.sleep(0.05)


def _wait_until_quiet(ingest: Ingest, workers: int) -> None:
    """Wait until ingest has nothing more to do."""
    before, since = -1.0, time.monotonic()
    end = since + _SETTLE_SECONDS
    while time.monotonic() - since < _QUIET_SECONDS:
        status = ingest.status
        is_still = status["connected"] == workers and not status["held"] and status["received"] == before
        if not is_still:
            before, since = status["received"], time.monotonic()
        if time.monotonic() > end:
            raise TimeoutError(f"ingest does not come to rest: {status}; {ingest.log[-20:]}")
        time.sleep(0.2)


def main() -> int:
    """Run from the command line; the exit status is 1 when anything is missing or there twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1500.0, help="messages a second (default: 1500)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resend-seconds", type=float, default=60.0)
    parser.add_argument(
        "--pause", type=float, default=1.5, help="mean seconds between two kills (default: 1.5)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgewright-kills-") as folder:
        outcome = kill_everything(
            Path(folder),
            kills=options.kills,
            rate=options.rate,
            workers=options.workers,
            seed=options.seed,
            resend_seconds=options.resend_seconds,
            pause=options.pause,
        )
    print(json.dumps(asdict(outcome), indent=2))
    return int(bool(outcome.missing or outcome.doubled))


if __name__ == "__main__":
    sys.exit(main())
