"""The folder a conversion writes to: one run at a time, and no half-written file ever bears its final name."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from host_tools.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCK_NAME = ".edgewright.lock"


class OutputFolder:
    """A folder that this process alone writes to; made by `open_output_folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, data: bytes) -> Path:
        """Write one file whole or not at all.

        Args:
            name: Relative path below the folder; parents are made.
            data: The bytes.

        Raises:
            OutputError: The disk is full, read-only or failing, or what bears the name is no file.
        """

        def copy(stream: BinaryIO) -> None:
            stream.write(data)

        return self.write_with(name, copy)

    def write_with(self, name: str, write: Callable[[BinaryIO], None]) -> Path:
        """Write one file whole or not at all, by a function that fills a stream.

        Raises:
            OutputError: See `write`.
        """
        target = self.path / name
        partial = ""
        try:
            _check_replaceable(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(
                prefix=f".{target.name}.", suffix=".partial", dir=target.parent
            )
            with os.fdopen(descriptor, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            Path(partial).chmod(0o644)
            Path(partial).replace(target)
        except OSError as error:
            _discard(partial)
            raise _output_error(target, error) from error
        except BaseException:
            _discard(partial)
            raise
        return target

    def remove(self, name: str) -> None:
        """Remove a file of an earlier run; one that is not there is none to remove.

        Raises:
            OutputError: It cannot be removed.
        """
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise _output_error(self.path / name, error) from error


@contextmanager
def open_output_folder(path: Path) -> Iterator[OutputFolder]:
    """Make the folder if need be and hold it until the block ends.

    Raises:
        OutputError: It cannot be made or written, or another run holds it.
    """
    with _locked(path):
        try:
            yield OutputFolder(path)
        finally:
            with suppress(OSError):
                (path / _LOCK_NAME).unlink()


def _locked(path: Path) -> BinaryIO:
    """Return the lock file, held. One that its last holder removed between opening and locking is opened anew."""
    while True:
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / _LOCK_NAME).open("wb")
        except OSError as error:
            raise _output_error(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise OutputError(
                f"{path}: another run is writing here.", hint="Wait for it to end, or choose another --out."
            ) from error
        with suppress(OSError):
            if os.path.samestat(os.fstat(lock.fileno()), (path / _LOCK_NAME).stat()):
                return lock
        lock.close()


def _check_replaceable(target: Path) -> None:
    """Refuse to put a file in the place of a device, a pipe or a socket: as root, /dev/null would be gone for everybody.

    Raises:
        OutputError: It is one, or a link to one.
        OSError: It cannot be looked at.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or (
        target.is_symlink() and target.parent == Path("/dev")
    ):
        raise OutputError(
            f"{target}: this is no file but a device, a pipe or a socket, and a file would take its place.",
            hint="Name a file.",
        )


def _discard(partial: str) -> None:
    if partial:
        with suppress(OSError):
            Path(partial).unlink()


def _output_error(path: Path, error: OSError) -> OutputError:
    hints = {
        errno.ENOSPC: "Free some space or choose another --out.",
        errno.EACCES: "Choose an --out that you may write to.",
        errno.EROFS: "Choose an --out on a writable disk.",
        errno.ENOTDIR: "A part of the path is a file.",
        errno.EEXIST: "It is a file: choose another --out.",
    }
    return OutputError(f"{path}: {error.strerror or error}.", hint=hints.get(error.errno or 0, ""))
