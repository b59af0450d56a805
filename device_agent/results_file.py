"""Results as JSON lines in a file that does not grow without bound and never keeps half a line."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from device_agent.contract.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ResultsFile:
    """Appends lines; renames the file to ``….1`` when it is full. The name ``-`` is standard output.

    A file is opened with the first write, and again after a failure: a disk that was full is tried anew each time.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._descriptor: int | None = sys.stdout.fileno() if str(path) == "-" else None
        self._is_file = self._descriptor is None

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, all or none of them.

        Raises:
            StorageError: The file cannot be opened or written; nothing of ``lines`` is in it.
        """
        data = b"".join(line + b"\n" for line in lines)
        try:
            self._append(data)
        except OSError as error:
            self.close()
            raise StorageError(
                f"results.jsonl: {self._path}: cannot be written: {error.strerror or error}.",
                hint="Free space, or make the file writable.",
            ) from error

    def close(self) -> None:
        """Close the file. Calling twice is harmless."""
        if self._is_file and self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _append(self, data: bytes) -> None:
        if not self._is_file:
            _write_all(sys.stdout.fileno(), data)
            return
        descriptor = self._opened()
        size = os.fstat(descriptor).st_size
        if size and size + len(data) > self._max_bytes:
            self.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            descriptor, size = self._opened(), 0
        try:
            _write_all(descriptor, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise

    def _opened(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o644)
        return self._descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
