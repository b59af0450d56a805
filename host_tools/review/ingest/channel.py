"""What supervisor and children say to each other: lines of JSON over a pair of sockets. Its end is the other's death."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from host_tools.review.ingest.settings import IngestSettings  # noqa: TC001  msgspec reads it

if TYPE_CHECKING:
    from socket import socket

    from device_agent.contract.errors import EdgewrightError

_READ_BYTES = 1 << 16


NoteCode = Literal[
    "broker", "writer_away", "writer_behind", "store", "restart", "session", "killed", "backup", "unmade"
]
"""What a note is about: the broker is away or refuses; the writer is away, or takes less than comes; the store refuses; a process
ended and another is started; an earlier session was emptied; a process did not end in time; a backup could not be made;
at the end windows were left unmade."""


@dataclass(frozen=True, slots=True)
class Note:
    """What an operator has to read, and for programs what it is about."""

    code: NoteCode
    text: str


class Order(Struct, frozen=True, kw_only=True):
    """What a child is started with."""

    settings: IngestSettings
    slot: int = 0


class WorkerStatus(Struct, frozen=True, kw_only=True, tag="worker"):
    """How a worker is; counts are since it was started.

    Attributes:
        received: Messages.
        received_bytes: Their payloads.
        judged: Messages that the contract read, not the fast way.
        refused: Dead letters.
        held: Messages received and not acknowledged.
        held_bytes: Their rows as bytes.
        connected: Whether it is subscribed.
        note: What is wrong; None when nothing is.
    """

    received: int = 0
    received_bytes: int = 0
    judged: int = 0
    refused: int = 0
    held: int = 0
    held_bytes: int = 0
    connected: bool = False
    note: Note | None = None


class WriterStatus(Struct, frozen=True, kw_only=True, tag="writer"):
    """How the writer is; counts are since it was started.

    Attributes:
        messages: New messages committed.
        duplicates: Messages that were there already.
        dead_letters: Dead letters committed.
        commits: Transactions.
        commit_seconds: Time spent in them.
        roll_up_seconds: Time spent in roll-ups and removals.
        failures: Transactions that the store refused; each was tried again.
        lag_seconds: Age of the oldest message of the last commit when that was done; of the one that cannot be done, now.
        note: What is wrong; None when nothing is.
    """

    messages: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    roll_up_seconds: float = 0.0
    failures: int = 0
    lag_seconds: float = 0.0
    note: Note | None = None


class Fatal(Struct, frozen=True, kw_only=True, tag="fatal"):
    """Why a child ends: what another attempt would not change."""

    code: str
    message: str
    hint: str = ""


class Nothing(Struct, frozen=True, kw_only=True, tag="nothing"):
    """There was no session in the slot that was to be emptied."""


Report = WorkerStatus | WriterStatus | Fatal | Nothing

_ENCODER = msgspec.json.Encoder(enc_hook=str)
_ORDER = msgspec.json.Decoder(Order, dec_hook=lambda kind, text: kind(text) if kind is Path else text)
_REPORT: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


class Channel:
    """One end. Not for several threads."""

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._rest = b""

    @property
    def descriptor(self) -> int:
        """What to wait for with `select`."""
        return self._connection.fileno()

    def send(self, message: Order | Report) -> bool:
        """Send one line; return whether the other end is still there to have it."""
        try:
            self._connection.sendall(_ENCODER.encode(message) + b"\n")
        except OSError:
            return False
        return True

    def lines(self) -> list[bytes] | None:
        """Wait for lines and return them; None when the other end is gone."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


def read_order(channel: Channel) -> Order | None:
    """Wait for what a child is started with; None when the supervisor is gone already."""
    while (lines := channel.lines()) is not None:
        if lines:
            order: Order = _ORDER.decode(lines[0])
            return order
    return None


def read_report(line: bytes) -> Report:
    """Read what a child says."""
    return _REPORT.decode(line)


def fatal(error: EdgewrightError) -> Fatal:
    """Say why a child ends."""
    return Fatal(code=error.code, message=str(error.args[0]), hint=error.hint)
