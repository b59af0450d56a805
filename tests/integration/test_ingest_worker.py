"""A worker by itself, between a real broker and a writer that the test plays: what it holds, and what it acknowledges when."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host_tools.review.broker_address import TlsFiles, parse_broker
from host_tools.review.ingest.batching import unpack
from host_tools.review.ingest.channel import Channel, Order, WorkerStatus, read_report
from host_tools.review.ingest.frames import Inbox
from host_tools.review.ingest.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.support import Mosquitto

ROOT = Path(__file__).parents[2]
SIZE = 16 << 10


class WorkerProcess:
    """A worker as the supervisor starts it; what it sends to the writer is committed when the test says so."""

    def __init__(self, port: int, folder: Path, *, behind_seconds: float) -> None:
        settings = IngestSettings(
            broker=parse_broker(f"mqtt://127.0.0.1:{port}"),
            tls=TlsFiles(),
            root="ew/v1",
            name="ingest",
            store="the test is the writer",
            workers=1,
            held_bytes=20 * SIZE,
            behind_seconds=behind_seconds,
        )
        self.port = port
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "writer"))
        self._listener.listen()
        self._inbox = Inbox(self._listener)
        ours, theirs = socket.socketpair()
        child = [sys.executable, "-m", "host_tools.review.ingest.child", "worker", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [*child, str(folder / "writer")], cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE
            )
        self._channel = Channel(ours)
        self._channel.send(Order(settings=settings))

    def wait(self, claim: Callable[[WorkerStatus], bool], what: str) -> WorkerStatus:
        """Return the first of the statuses that come from now on of which it is true; there is one a second."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if (status := self._told(claim)) is not None:
                return status
        raise AssertionError(what)

    def publish(self, first: int, count: int) -> list[bytes]:
        """Send it so many payloads that are no messages, each of `SIZE` bytes and unlike the others."""
        payloads = [f"{number:08}".encode().ljust(SIZE, b".") for number in range(first, first + count)]
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-q", "1", "-l"]
        subprocess.run(
            [*command, "-t", "ew/v1/device/d///m/inference"],
            input=b"".join(one + b"\n" for one in payloads),
            timeout=90,
            check=True,
        )
        return payloads

    def commit_until(self, claim: Callable[[WorkerStatus], bool], what: str) -> list[bytes]:
        """Commit what comes, batch by batch, until one of the statuses makes it true; return the payloads."""
        came: list[bytes] = []
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for frame in self._inbox.take(timeout=0.1, most_bytes=1 << 30):
                came += unpack(frame.batch)["dead_letter"].column("payload").to_pylist()
                frame.committed()
            if select.select([self._channel.descriptor], [], [], 0.0)[0] and self._told(claim):
                return came
        raise AssertionError(what)

    def _told(self, claim: Callable[[WorkerStatus], bool]) -> WorkerStatus | None:
        lines = self._channel.lines()
        assert lines is not None, "the worker has ended"
        told = (read_report(line) for line in lines)
        return next((status for status in told if isinstance(status, WorkerStatus) and claim(status)), None)

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.terminate()
        self._process.wait(60)
        self._process.stdin.close()
        self._channel.close()
        self._listener.shutdown(socket.SHUT_RDWR)  # the inbox waits on it
        self._listener.close()


@pytest.fixture
def worker(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(*, behind_seconds: float) -> WorkerProcess:
        started.append(WorkerProcess(mosquitto.start().port, tmp_path, behind_seconds=behind_seconds))
        started[0].wait(lambda status: status.connected, "subscribed")
        return started[0]

    yield start
    for one in started:
        one.end()


def test_a_worker_that_holds_too_much_reads_no_more_until_half_of_it_is_committed(
    worker: Callable[..., WorkerProcess],
) -> None:
    process = worker(behind_seconds=3600.0)
    sent = process.publish(0, 30)
    full = process.wait(lambda status: status.note is not None, "it says that it is full")
    assert full.note is not None
    assert full.note.code == "writer_behind"
    sent += process.publish(30, 30)
    for _ in range(2):
        later = process.wait(lambda status: True, "it says how it is")
        assert (later.received, later.connected) == (full.received, True)

    came = process.commit_until(
        lambda status: (status.received, status.held) == (60, 0), "all is acknowledged"
    )
    assert came == sent, "each came once: the connection that brought it was there to acknowledge it"
    assert process.wait(lambda status: True, "it says how it is").note is None


def test_a_worker_that_stays_full_leaves_the_broker_and_gets_again_what_it_could_not_acknowledge(
    worker: Callable[..., WorkerProcess],
) -> None:
    process = worker(behind_seconds=0.5)
    sent = process.publish(0, 30)
    away = process.wait(lambda status: not status.connected, "it leaves the broker")
    assert away.note is not None
    assert away.note.code == "writer_behind"
    came = process.commit_until(
        lambda status: status.connected and status.held == 0 and status.received >= away.received + 30,
        "all is acknowledged",
    )
    assert came[: away.received] == sent[: away.received], "what it held comes to the writer all the same"
    assert set(came[away.received :]) == set(sent), (
        "none of it could be acknowledged, so all of it came again"
    )
