"""`read_frame_file`: the bytes of a frame that is a file, of a regular one only, and never more of them than such a frame may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.regular_file import read_regular_file
from device_agent.sources.adapt import FrameError

if TYPE_CHECKING:
    from pathlib import Path

MAX_FRAME_BYTES: Final = 256 << 20
"""Of a recording or an ``.npy``."""


def read_frame_file(path: Path, *, what: str, most_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Return what a file holds.

    Args:
        path: The file.
        what: What it should be, for messages: ``a text``.
        most_bytes: A larger one is refused once so much of it was read.

    Raises:
        FrameError: It cannot be read, is no regular file, or is larger; the message names it.
    """
    try:
        data = read_regular_file(path, most_bytes=most_bytes + 1)
    except OSError as error:
        raise FrameError(f"{path.name}: cannot be read: {error.strerror or error}.") from error
    if len(data) > most_bytes:
        raise FrameError(f"{path.name}: expected {what} of at most {most_bytes} bytes, got more.")
    return data
