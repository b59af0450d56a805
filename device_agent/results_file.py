"""Results as JSON lines in a file that does not grow without bound and never keeps half a line, or to whoever reads a pipe."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import StorageError
from device_agent.contract.regular_file import open_regular_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_UNREAD: Final = (errno.EPIPE, errno.ENXIO, errno.EAGAIN)
"""Of a pipe: closed at its other end, never opened there, or full."""
_PATIENCE_MILLISECONDS: Final = 1_000
"""How long a reader who takes nothing is waited for, once: the agent's loop has other work."""


class ResultsFile:
    """Appends lines; renames the file to ``….1`` when it is full. The name ``-`` is standard output.

    A file is opened with the first write, and again after a failure: a disk that was full is tried anew each time. One that was moved away
    or removed is begun anew under its name. Who reads a pipe or a terminal and stops holds nothing up: one write waits for them, the next
    ones fail.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._descriptor: int | None = sys.stdout.fileno() if str(path) == "-" else None
        self._is_own = self._descriptor is None
        self._after_half_a_line = False
        self._left = memoryview(b"")

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, all or none of them; to a reader who is slow the last of them later, with the next call.

        Raises:
            StorageError: The file cannot be opened or written; nothing of ``lines`` is in it.
        """
        data = b"".join(line + b"\n" for line in lines)
        try:
            self._append(data)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                self.close()
            where = self._path if self._is_own else "standard output"
            raise StorageError(
                f"results.jsonl: {where}: cannot be written: {error.strerror or error}.",
                hint="Does somebody read it?"
                if error.errno in _UNREAD
                else "Free space, or make the file writable.",
            ) from error

    def close(self) -> None:
        """Close the file. Calling twice is harmless."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                _taken(self._descriptor, self._left)
        self._left = memoryview(b"")
        if self._is_own and self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _append(self, data: bytes) -> None:
        descriptor = self._opened()
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            self._hand_over(descriptor, data)
            return
        size = found.st_size
        if self._is_own and size and size + len(data) > self._max_bytes:
            self.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            descriptor, size = self._opened(), 0
        try:
            _write_all(descriptor, b"\n" + data if self._after_half_a_line else data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        self._after_half_a_line = False

    def _hand_over(self, descriptor: int, data: bytes) -> None:
        """Give a reader as much as they take, and keep the rest of these lines for the next time.

        Raises:
            BlockingIOError: They have not taken all of the lines before.
        """
        self._left = _taken(descriptor, self._left, patience_milliseconds=0)
        if self._left:
            raise BlockingIOError(errno.EAGAIN, "who reads it is too slow, or has stopped")
        self._left = _taken(descriptor, memoryview(data))

    def _opened(self) -> int:
        if self._descriptor is not None and self._is_own and not _is_at(self._descriptor, self._path):
            self.close()
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Without waiting: a named pipe that nobody reads would hold up whoever opens it.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, 0o644)
            self._after_half_a_line = _ends_within_a_line(self._path)
        return self._descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file that is open is still the one under this name: what goes into another one would be lost without a word."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _ends_within_a_line(path: Path) -> bool:
    """Whether a power cut has left half a line, to which the next one would be added."""
    try:
        with open_regular_file(path) as stream:
            if not stream.seek(0, os.SEEK_END):
                return False
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) != b"\n"
    except OSError:  # a pipe, or a file that may only be written
        return False


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _taken(
    descriptor: int, data: memoryview, *, patience_milliseconds: int = _PATIENCE_MILLISECONDS
) -> memoryview:
    """Write as long as somebody takes it, in pieces that a pipe takes whole or not at all; return what is left."""
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    while data and room.poll(patience_milliseconds):
        data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
    return data
