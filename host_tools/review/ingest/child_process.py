"""`start_child`: a writer or a worker as a process of its own, and `ChildProcess`, what its supervisor knows of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from host_tools.review.ingest.channel import Channel, Order

if TYPE_CHECKING:
    from host_tools.review.ingest.channel import Fatal, WorkerStatus, WriterStatus
    from host_tools.review.ingest.meeting_place import MeetingPlace
    from host_tools.review.ingest.settings import IngestSettings

Role = Literal["writer", "worker", "retire"]

_ROOT: Final = Path(__file__).resolve().parents[3]


@dataclass(slots=True, eq=False)
class ChildProcess:
    """One process and what is known of it; of its channel as long as it has not closed that."""

    role: Role
    slot: int
    process: subprocess.Popen[bytes]
    channel: Channel | None
    status: WorkerStatus | WriterStatus | None = None
    fatal: Fatal | None = None
    found_nothing: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return "the writer" if self.role == "writer" else f"worker {self.slot}"

    def let_go(self) -> None:
        """Close what a process that has ended need not be told by any more."""
        if self.process.stdin is not None:
            self.process.stdin.close()


def start_child(role: Role, slot: int, settings: IngestSettings, meeting_place: MeetingPlace) -> ChildProcess:
    """Start a process and tell it what to do.

    Args:
        role: What it is.
        slot: Which of the workers.
        settings: Of the whole ingest.
        meeting_place: Where workers find the writer.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        listener = meeting_place.listener.fileno()
        handed = [theirs.fileno(), *([listener] if role == "writer" else [])]
        where = str(listener) if role == "writer" else meeting_place.path
        paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "host_tools.review.ingest.child",
                role,
                str(theirs.fileno()),
                where,
            ],
            pass_fds=handed,
            stdin=subprocess.PIPE,  # its end is our death: a killed supervisor leaves nobody who has the store open
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is ours to hear: they are ended in order
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        )
    channel = Channel(ours)
    channel.send(Order(settings=settings, slot=slot))
    return ChildProcess(role, slot, process, channel)
