"""An archive in the format that Linux unpacks as its first root.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc": a header of 110 ASCII bytes, all padded to four).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = 0o040755
_FILE = 0o100755
_TRAILER = "TRAILER!!!"


def cpio_archive(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of files, root's and executable, with the folders that they are in.

    Args:
        files: Content by path, without a ``/`` at its beginning.
    """
    folders = sorted(
        {
            "/".join(parts[:end])
            for name in files
            for parts in [name.split("/")]
            for end in range(1, len(parts))
        }
    )
    entries = [(name, _FOLDER, b"") for name in folders]
    entries += [(name, _FILE, files[name]) for name in sorted(files)]
    return b"".join(
        _entry(name, mode, data, number)
        for number, (name, mode, data) in enumerate([*entries, (_TRAILER, 0, b"")], 1)
    )


def _entry(name: str, mode: int, data: bytes, inode: int) -> bytes:
    text = name.encode() + b"\0"
    links = 2 if mode == _FOLDER else 1
    numbers = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(text), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + text) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
