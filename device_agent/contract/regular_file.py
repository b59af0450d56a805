"""Files that are read, each a regular one: a named pipe would be waited for without end, and some devices act as soon as they are opened."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def require_regular_file(path: Path) -> None:
    """Hold a path that others will open to the same as `open_regular_file`; links are followed.

    Raises:
        OSError: There is nothing, or something else than a regular file; its ``strerror`` says what.
    """
    _require_regular(path.stat(), path)


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file to be read, without ever waiting for it; links are followed.

    Raises:
        OSError: It cannot be opened, or is something else than a regular file; its ``strerror`` says what.
    """
    require_regular_file(path)  # before it is opened: a watchdog's device begins to count then
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_regular(os.fstat(descriptor), path)  # another may have taken its place meanwhile
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular_file(path: Path, *, most_bytes: int) -> bytes:
    """Return the first ``most_bytes`` of a file, or all of it where it is shorter.

    Raises:
        OSError: As `open_regular_file`, or it cannot be read.
    """
    with open_regular_file(path) as stream:
        return stream.read(most_bytes)


def _require_regular(found: os.stat_result, path: Path) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
    raise OSError(errno.EINVAL, f"expected a regular file, found {kind}", str(path))
