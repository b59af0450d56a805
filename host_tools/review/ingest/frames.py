"""Batches on their way from workers to the writer, over a Unix socket, and the writer's word that they are committed."""

from __future__ import annotations

import contextlib
import queue
import struct
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from socket import socket

_HEAD: Final = struct.Struct("!QId")
"""Number of the batch, its length in bytes, Unix time of its oldest message."""
_NUMBER: Final = struct.Struct("!Q")
_READ_BYTES: Final = 1 << 16
_MOST_WAITING: Final = 64


class WriterLink:
    """A worker's end: sends without waiting, hears which batches are committed. Raises OSError when the writer is gone."""

    def __init__(self, connection: socket) -> None:
        connection.setblocking(False)  # noqa: FBT003  socket's own signature
        self._connection = connection
        self._waiting: deque[memoryview] = deque()
        self._heard = b""

    @property
    def descriptor(self) -> int:
        """What to wait for with `select`."""
        return self._connection.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits for room in the socket."""
        return bool(self._waiting)

    def send(self, number: int, batch: bytes, *, oldest: float) -> None:
        """Send a batch, now as much of it as there is room for."""
        self._waiting.append(memoryview(_HEAD.pack(number, len(batch), oldest)))
        self._waiting.append(memoryview(batch))
        self.write()

    def write(self) -> None:
        """Send what waits, as much as there is room for."""
        with contextlib.suppress(BlockingIOError):
            while self._waiting:
                sent = self._connection.send(self._waiting[0])
                if sent == len(self._waiting[0]):
                    self._waiting.popleft()
                else:
                    self._waiting[0] = self._waiting[0][sent:]

    def committed(self) -> list[int]:
        """Return the numbers of batches that were committed since the last call."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError("the writer is gone")
        data = self._heard + data
        whole = len(data) - len(data) % _NUMBER.size
        self._heard = data[whole:]
        return [number for (number,) in _NUMBER.iter_unpack(data[:whole])]

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One batch as it came; ``oldest`` is the Unix time of its oldest message."""

    worker: socket
    number: int
    oldest: float
    batch: bytearray

    def committed(self) -> None:
        """Tell the worker; one that is gone hears it from the ledger of the store, as duplicates."""
        with contextlib.suppress(OSError):
            self.worker.sendall(_NUMBER.pack(self.number))


class Inbox:
    """The writer's end: takes batches of every worker, one thread each, while another batch is being committed.

    Args:
        listener: Where workers connect.
    """

    def __init__(self, listener: socket) -> None:
        self._listener = listener
        self._frames: queue.Queue[Frame] = queue.Queue(_MOST_WAITING)
        self._workers = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    @property
    def workers(self) -> int:
        """How many are connected."""
        return self._workers

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._frames.empty()

    def take(self, *, timeout: float, most_bytes: int) -> list[Frame]:
        """Return what waits, in order, at most about so much; wait for the first of it."""
        frames: list[Frame] = []
        size = 0
        with contextlib.suppress(queue.Empty):
            while size < most_bytes:
                frames.append(self._frames.get(block=not frames, timeout=timeout))
                size += len(frames[-1].batch)
        return frames

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._workers += 1
            threading.Thread(target=self._read, args=(connection,), name="worker", daemon=True).start()

    def _read(self, connection: socket) -> None:
        try:
            with contextlib.suppress(OSError):
                while (head := _exactly(connection, _HEAD.size)) is not None:
                    number, size, oldest = _HEAD.unpack(head)
                    batch = _exactly(connection, size)
                    if batch is None:
                        return
                    self._frames.put(Frame(connection, number, oldest, batch))
        finally:
            connection.close()
            with self._lock:
                self._workers -= 1


def _exactly(connection: socket, size: int) -> bytearray | None:
    """Read so many bytes; None when the other end is gone before."""
    data = bytearray(size)
    view, place = memoryview(data), 0
    while place < size:
        count = connection.recv_into(view[place:])
        if count == 0:
            return None
        place += count
    return data
