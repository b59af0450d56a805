"""Kill everything at random under load, and count.

    python -m benchmarks.review.kills --kills 200 --json out/kills.json
    python -m benchmarks.review.kills --kills 20 --rate 300 --pause 0.6     a minute or two

A fleet sends while workers, writer, supervisor and broker are killed with SIGKILL, one after the other. At the end every
message that was sent must be in the store once. The senders do as agents with ``mqtt.resend_seconds`` do. It may run beside
other work: it waits as long as anything moves. Exit status: 0 all is there once; 1 something is missing, or there twice;
3 nothing moved for a minute, so nothing can be said; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from benchmarks.review.broker import Broker
from benchmarks.review.fleet_messages import KINDS, Fleet
from benchmarks.review.ingest_service import Ingest
from benchmarks.review.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.review.ingest_service import Status

_STILL_SECONDS = 60.0
"""Nothing may move for so long before a run is given up. How much has to settle is the load's to say, and how fast the machine's."""
_QUIET_WORDS = 4
"""Ingest has to say so often, in a line a second, that it has nothing to do."""
_TOLD_SECONDS = 10.0
_VICTIMS = {"worker": 4, "writer": 4, "broker": 3, "supervisor": 1}
_ROWS = {"system": 12, "thermal": 3, "power": 2}
"""Rows of readings that a message of a kind is in the store."""
_BOOT_ID = "b00c"


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
        settling_seconds: Of these, after the last kill.
        load: Load average of the machine when the run began.
    """

    kills: dict[str, int]
    sent: int
    sent_again: int
    missing: int
    doubled: int
    seconds: float
    settling_seconds: float
    load: float


@dataclass(slots=True)
class Patience:
    """Waits as long as something moves.

    Attributes:
        seconds: Nothing may move for so long.
    """

    seconds: float = _STILL_SECONDS
    _seen: object = None
    _since: float = 0.0

    def look(self, seen: object, *, what: str, now: float | None = None) -> None:
        """Take note of what moves.

        Args:
            seen: What has changed whenever something moved.
            what: Is waited for.
            now: In seconds of a clock that goes on; None for the machine's.

        Raises:
            TimeoutError: It was the same all the time.
        """
        now = time.monotonic() if now is None else now
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since > self.seconds:
            raise TimeoutError(f"nothing moved for {self.seconds:.0f} s, waiting until {what}: {seen}")


def kill_everything(
    folder: Path,
    *,
    kills: int,
    rate: float,
    workers: int,
    seed: int,
    resend_seconds: float,
    pause: float,
    tell: Callable[[str], None] = lambda _: None,
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
        tell: Hears how far it is, every ten seconds.

    Raises:
        TimeoutError: Nothing moves any more, and not everything was acknowledged, or committed.
    """
    chance, load = random.Random(seed), os.getloadavg()[0]
    store = folder / "telemetry.duckdb"
    killed: Counter[str] = Counter()
    with contextlib.ExitStack() as running:
        broker = Broker(folder / "broker", autosave_seconds=1)
        running.callback(broker.stop)
        broker.start()
        ingest = Ingest(broker.port, store, workers=workers)
        running.callback(ingest.stop)
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
        running.callback(sender.close)
        progress = _Progress(tell, sender, killed, of=kills)
        while killed.total() < kills:
            time.sleep(pause * chance.uniform(0.4, 1.6))
            victim = chance.choices(list(_VICTIMS), list(_VICTIMS.values()))[0]
            if victim == "broker":
                broker.kill()
                time.sleep(chance.uniform(0.0, 0.5))
                broker.start()
                killed[victim] += 1
            else:
                killed[victim] += ingest.kill(victim, chance)
            progress.tell()
        sender.finish()
        settling = time.monotonic()
        _wait_until_acknowledged(sender, progress)
        _wait_until_quiet(ingest, workers, progress)
        ended = time.monotonic()
    missing, doubled = compare(store, fleet, range(sender.first_sent))
    return Outcome(
        kills=dict(killed),
        sent=sender.first_sent,
        sent_again=sender.sent_again,
        missing=missing,
        doubled=doubled,
        seconds=ended - began,
        settling_seconds=ended - settling,
        load=load,
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


class _Progress:
    """A line every ten seconds."""

    def __init__(self, tell: Callable[[str], None], sender: Sender, killed: Counter[str], *, of: int) -> None:
        self._tell, self._sender, self._killed, self._of = tell, sender, killed, of
        self._began = time.monotonic()
        self._due = self._began + _TOLD_SECONDS

    def tell(self) -> None:
        """Tell it when it is time."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _TOLD_SECONDS
        self._tell(
            f"{now - self._began:6.0f} s: {self._killed.total()} of {self._of} kills; {self._sender.first_sent:,} messages sent, "
            f"{self._sender.sent_again:,} times one again, {self._sender.waiting:,} not acknowledged"
        )


def _wait_until_acknowledged(sender: Sender, progress: _Progress) -> None:
    patience = Patience()
    while not sender.is_done:
        patience.look(sender.acknowledged, what="everything is acknowledged to the sender")
        progress.tell()
        time.sleep(0.05)


def _wait_until_quiet(ingest: Ingest, workers: int, progress: _Progress) -> None:
    """Wait until ingest says several times that it has nothing more to do; what it said before the last kill does not count."""
    patience, quiet = Patience(), 0
    last: Status = {}
    while quiet < _QUIET_WORDS:
        status = ingest.status
        if status is not last:
            rests = bool(status) and status["connected"] == workers and not status["held"]
            quiet = quiet + 1 if rests and status["received"] == last.get("received") else 0
            last = status
        moves = [status.get(name) for name in ("received", "held", "messages", "duplicates")]
        patience.look(moves, what=f"ingest rests with {workers} workers; it said {ingest.log[-20:]}")
        progress.tell()
        time.sleep(0.05)


def main() -> int:
    """Run from the command line; see above for the exit status."""
    options = _parser().parse_args()
    settings = {
        name: getattr(options, name)
        for name in ("kills", "rate", "workers", "seed", "resend_seconds", "pause")
    }
    with tempfile.TemporaryDirectory(prefix="edgewright-kills-") as folder:
        try:
            outcome = kill_everything(
                Path(folder), **settings, tell=lambda line: print(line, file=sys.stderr, flush=True)
            )
        except TimeoutError as error:
            print(f"error: {error}", file=sys.stderr)
            return 3
        except KeyboardInterrupt:
            print("interrupted: what it had started is stopped; there is no verdict", file=sys.stderr)
            return 130
    figures = json.dumps({**settings, **asdict(outcome)}, indent=2)
    print(figures)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(figures + "\n", encoding="utf-8")
    return int(bool(outcome.missing or outcome.doubled))


def _parser() -> argparse.ArgumentParser:
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
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
