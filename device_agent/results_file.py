"""Results as JSON lines in a file that does not grow without bound."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

from device_agent.contract.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


class ResultsFile:
    """Appends lines; renames the file to ``….1`` when it is full. ``-`` is standard output.

    Raises:
        StorageError: The file cannot be opened or written.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._is_stdout = path.name == "-"
        self._stream: BinaryIO = self._open()

    def write(self, line: bytes) -> None:
        """Append one line."""
        try:
            self._stream.write(line.rstrip(b"\n") + b"\n")
            self._stream.flush()
            if not self._is_stdout and self._stream.tell() >= self._max_bytes:
                self._stream.close()
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._stream = self._open()
        except OSError as error:
            raise StorageError(
                f"{self._path}: results cannot be written: {error.strerror or error}."
            ) from error

    def close(self) -> None:
        """Close the file. Calling twice is harmless."""
        if not self._is_stdout:
            self._stream.close()

    def _open(self) -> BinaryIO:
        if self._is_stdout:
            return sys.stdout.buffer
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._path.open("ab")
        except OSError as error:
            raise StorageError(
                f"{self._path}: results cannot be written: {error.strerror or error}."
            ) from error
