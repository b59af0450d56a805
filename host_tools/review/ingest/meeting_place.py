"""`MeetingPlace`: the socket where workers find the writer, in a folder of its own that the next ingest removes if this one cannot."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Final

from host_tools.errors import InputError

_PREFIX: Final = "edgewright-ingest-socket-"
_SOCKET: Final = "writer"
_BACKLOG: Final = 128
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class MeetingPlace:
    """A Unix socket that listens, in a new folder that is locked as long as this process lives.

    The lock tells the folder of an ingest that runs from that of one that was killed, which is removed here. Whoever removes a
    folder holds its lock; so whoever has just made one, and has its lock, looks whether it is still there.

    Args:
        parent: Where the folder is made; by default where temporary files are.

    Raises:
        InputError: There can be no such folder or socket.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        _remove_abandoned(parent)
        # Held here, so that workers that connect while the writer is being replaced wait for the next one.
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        """Where the writer accepts."""
        try:
            self._folder, self._lock = _locked_folder(parent)
        except OSError as error:
            self.listener.close()
            raise _unusable(parent, error) from error
        self.path = str(self._folder / _SOCKET)
        """Where workers connect; only processes of this user may."""
        try:
            self.listener.bind(self.path)
            self.listener.listen(_BACKLOG)
        except OSError as error:
            self.close()
            raise _unusable(parent, error) from error

    def close(self) -> None:
        """End listening and remove the folder."""
        self.listener.close()
        _remove(self._folder)
        os.close(self._lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder and lock it, and another where an ingest that starts took the first for abandoned before it was locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, _FOLDER)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.samestat(folder.lstat(), os.fstat(lock)):
                    return folder, lock
            except OSError:
                os.close(lock)
                raise
            os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # its ingest runs, it has just gone, or it is another user's
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.open(folder, _FOLDER)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    """Remove the socket and the folder; a folder with something else in it stays."""
    with contextlib.suppress(OSError):
        (folder / _SOCKET).unlink(missing_ok=True)
        folder.rmdir()


def _unusable(parent: Path, error: OSError) -> InputError:
    return InputError(
        f"{parent}: the socket of the ingest's processes cannot be made there: {error.strerror or error}.",
        hint="Set TMPDIR to a folder with a short path that this user may write to.",
    )
